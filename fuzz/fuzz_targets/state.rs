//! No file of saved flows brings the reader or the tracker down, and what is restored can be saved again as it is.
//!
//! `cargo +nightly fuzz run state`. The first two bytes say how the file is made: the rest is the file as it is, or with its
//! checksums made right, so that the fuzzer gets past them; or it is a list of changes to a sound file, three bytes each.
#![no_main]

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, End, FlowKey};
use classifier::wire::{SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol};
use conntrack::config::Config;
use conntrack::snapshot::{FlowRecord, Names, Snapshot, Stamp, Translation, write};
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, RuleKey, Terms, Tracked, Tracker};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const START: Tick = Tick(1_000_000_000_000);
/// Beyond this a tracker begins anew: clocks have an end.
const LATEST: Tick = Tick(1 << 62);
const HEADER: usize = 84;

fn names() -> Names<'static> {
    Names { ports: vec!["trunk", "uplink"], stitches: vec!["floor"], rules: vec!["web", "db"] }
}

/// A tracker that lives as long as the fuzzer, in an array as `write` takes them, and its time. It is emptied before each
/// restoration.
struct Bench {
    tracker: [Tracker; 1],
    now: Tick,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
    static SOUND: Vec<u8> = sound_file();
}

impl Bench {
    fn new() -> Bench {
        let mut tracker = Tracker::new(&Config { max_flows: 64, ..Config::default() }, [3; 16]);
        tracker.reserve_rules(2);
        tracker.advance(START);
        Bench { tracker: [tracker], now: START }
    }

    fn clear(&mut self) {
        let [tracker] = &mut self.tracker;
        let flows: Vec<_> = tracker.flows().collect();
        flows.into_iter().for_each(|flow| tracker.remove(flow));
        // What is left has had its time, or was ended by its last packet. Timers have a grain.
        self.now = self.now + Duration::from_millis(64);
        tracker.advance(self.now);
        assert!(tracker.is_empty(), "every flow ends");
        if self.now > LATEST {
            *self = Bench::new();
        }
    }
}

fn word(file: &[u8], at: usize) -> usize {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize
}

/// Makes the checksums of a file right, as far as it has places for them.
fn mend(file: &mut [u8]) {
    if file.len() < HEADER {
        return;
    }
    file[..12].copy_from_slice(b"BULKFLOW\x01\0\x02\0");
    let end = HEADER.saturating_add(word(file, 20)).min(file.len());
    let crc = crc32c::crc32c(&file[HEADER..end]).to_le_bytes();
    file[76..80].copy_from_slice(&crc);
    let crc = crc32c::crc32c(&file[..80]).to_le_bytes();
    file[80..84].copy_from_slice(&crc);
    let (v4, mut at) = (word(file, 24), end);
    for number in 0.. {
        let length = if number < v4 { 100 } else { 124 };
        let Some(record) = file.get_mut(at..at + length) else { break };
        let (content, crc) = record.split_at_mut(length - 4);
        crc.copy_from_slice(&crc32c::crc32c(content).to_le_bytes());
        at += length;
    }
}

/// Addresses and ports of an end of the flows in the sound file.
fn host(number: u8, port: u16, v6: bool) -> (IpAddr, u16) {
    let v6_address = Ipv6Addr::from(0xfd_u128 << 120 | u128::from(number));
    (if v6 { v6_address.into() } else { Ipv4Addr::new(10, 0, 0, number).into() }, port)
}

/// A file with flows of each protocol and of several states.
fn sound_file() -> Vec<u8> {
    let mut bench = Bench::new();
    let Bench { tracker: [tracker], now } = &mut bench;
    let vlans = [VlanKey::new(PortId(0), 10), VlanKey::new(PortId(1), 20)];
    for number in 0..24 {
        let protocol = [protocol::TCP, protocol::UDP, protocol::SCTP, 47][usize::from(number % 4)];
        let (near, far) = if protocol == 47 { (0, 0) } else { (40_000, 80) };
        let (from, to) = (host(number, near, number % 3 == 0), host(99, far, number % 3 == 0));
        // How far it gets: the opening alone, the answer, what follows.
        for step in 0..=number / 4 % 4 {
            let is_back = step == 1;
            let (source, destination) = if is_back { (to, from) } else { (from, to) };
            let (key, sender) = FlowKey::of_ports(Domain::ROUTED, protocol, source, destination);
            let segment = |flags, sequence, acknowledgment| {
                let flags = TcpFlags(flags);
                let (window, payload_length) = (8192, 0);
                TcpSegment { flags, sequence, acknowledgment, window, options: &[], payload_length }
            };
            let transport = match (protocol, step) {
                (protocol::TCP, 0) => Transport::Tcp(segment(0x02, 1000, 0)),
                (protocol::TCP, 1) => Transport::Tcp(segment(0x12, 2000, 1001)),
                (protocol::TCP, 2) => Transport::Tcp(segment(0x10, 1001, 2001)),
                (protocol::TCP, _) => Transport::Tcp(segment(0x11, 1001, 2001)),
                (protocol::UDP, _) => Transport::Udp,
                (protocol::SCTP, _) => Transport::Sctp(SctpPacket {
                    tag: u32::from(step != 0) * 7,
                    first: [SctpChunk::Init(7), SctpChunk::InitAck(7), SctpChunk::CookieEcho]
                        [usize::from(step % 3)],
                    is_only_chunk: true,
                    is_tag_reflected: false,
                }),
                _ => Transport::Other,
            };
            let vlan = vlans[usize::from(is_back)];
            let packet = Packet { key, sender, vlan, source_mac: Mac([2, 0, 0, 0, 0, 1]), transport };
            if let Tracked::New(opening) = tracker.track(*now, &packet) {
                let rule = (number % 2 == 0).then_some(RuleKey(u32::from(number / 2 % 2)));
                let terms = Terms {
                    epoch: Epoch(1),
                    rule,
                    idle_timeout: None,
                    max_flows: None,
                    responder_vlan: (number % 5 != 0).then_some(vlans[1]),
                };
                tracker.open(*now, opening, terms).expect("there is room");
            }
        }
    }
    assert!(tracker.len() >= 20, "{} flows were opened", tracker.len());
    save(&bench)
}

/// The sound file with changes: a place in two bytes, and what is added there.
fn changed(changes: &[u8]) -> Vec<u8> {
    let mut file = SOUND.with(Vec::clone);
    for change in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match file.len() {
            0 => {}
            // The file ends there.
            length if change[1] == 0xff => file.truncate(length * usize::from(change[0]) / 256),
            length => {
                let byte = &mut file[place % length];
                *byte = byte.wrapping_add(change[2]);
            }
        }
    }
    file
}

fn terms(record: &FlowRecord) -> Terms {
    Terms {
        epoch: Epoch(1),
        rule: record.rule(),
        idle_timeout: record.idle_timeout(),
        max_flows: None,
        responder_vlan: record.responder_vlan(),
    }
}

/// Restores all that can be of a file into an empty tracker; whether it is one.
fn restore(bench: &mut Bench, file: &[u8], away: Duration) -> bool {
    let Ok(snapshot) = Snapshot::open(file) else { return false };
    let translation = Translation::new(snapshot.names(), &names());
    bench.clear();
    let Bench { tracker: [tracker], now } = bench;
    let (mut flows, mut skipped) = (0, 0);
    for index in snapshot.order(tracker.capacity()) {
        let record = snapshot.record(index as usize, &translation).and_then(|record| record.aged(away));
        match record.and_then(|record| tracker.restore(*now, &record, &terms(&record))) {
            Ok(_) => flows += 1,
            Err(_) => skipped += 1,
        }
    }
    assert_eq!(flows + skipped, snapshot.len());
    assert_eq!(flows, tracker.len());
    true
}

fn save(bench: &Bench) -> Vec<u8> {
    let mut file = Vec::new();
    write(&bench.tracker, &names(), &Stamp::default(), 0, &mut file).unwrap();
    file
}

/// Packets of the restored flows, of both sides: whatever a record says, the tracker answers.
fn traffic(bench: &mut Bench, seed: &[u8], is_patient: bool) {
    let Bench { tracker: [tracker], now } = bench;
    let flows: Vec<_> = tracker.flows().map(|flow| tracker.flow(flow)).collect();
    let mut seed = seed.iter().copied().cycle();
    let mut next = || u32::from_le_bytes([(); 4].map(|()| seed.next().unwrap_or(0)));
    for view in flows {
        for sender in [End::First, End::Second] {
            let transport = match view.key.protocol() {
                protocol::TCP => Transport::Tcp(TcpSegment {
                    flags: TcpFlags([0x02, 0x10, 0x11, 0x04, 0x12][next() as usize % 5]),
                    sequence: next(),
                    acknowledgment: next(),
                    window: next() as u16,
                    options: &[],
                    payload_length: 10,
                }),
                protocol::SCTP => Transport::Sctp(SctpPacket {
                    tag: next(),
                    first: SctpChunk::Abort,
                    is_only_chunk: true,
                    is_tag_reflected: false,
                }),
                protocol::UDP => Transport::Udp,
                _ => Transport::Other,
            };
            let vlan = VlanKey::new(PortId(next() as u8 % 2), 10);
            let packet =
                Packet { key: view.key, sender, vlan, source_mac: Mac([2, 0, 0, 0, 0, 1]), transport };
            let _ = tracker.track(*now, &packet);
            *now = *now + Duration::from_millis(u64::from(next() % 10_000));
        }
    }
    // A turn of the wheel for each input would be most of the work.
    if is_patient && !tracker.is_empty() {
        *now = *now + Duration::from_secs(20_000_000);
        tracker.advance(*now);
        assert!(tracker.is_empty(), "every flow ends");
    }
}

fn play(bench: &mut Bench, [mode, away]: [u8; 2], content: &[u8]) {
    let mut file = if mode & 4 == 0 { changed(content) } else { content.to_vec() };
    if mode & 1 == 0 {
        mend(&mut file);
    }
    if !restore(bench, &file, Duration::from_secs(u64::from(away))) {
        return;
    }
    let once = save(bench);
    assert!(restore(bench, &once, Duration::ZERO), "what was just saved");
    let twice = save(bench);
    assert_eq!(once.len(), twice.len(), "what is restored can be saved and restored again");
    assert!(restore(bench, &twice, Duration::ZERO), "what was just saved");
    traffic(bench, content, mode >> 4 == 15);
}

fuzz_target!(|input: &[u8]| {
    let Some((how, content)) = input.split_first_chunk() else { return };
    BENCH.with_borrow_mut(|bench| play(bench, *how, content));
});
