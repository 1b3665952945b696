//! No file of saved flows brings the reader or the tracker down, and what is restored can be saved again as it is.
//!
//! `cargo +nightly fuzz run state`. With an odd first byte the rest is a file as it is; with an even one its
//! checksums are made right first, so that the fuzzer gets past them.
#![no_main]

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::End;
use classifier::wire::{SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol};
use conntrack::config::Config;
use conntrack::snapshot::{FlowRecord, Names, Snapshot, Stamp, Translation, write};
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, Terms, Tracker};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

const START: Tick = Tick(1_000_000_000_000);
const HEADER: usize = 84;

fn names() -> Names<'static> {
    Names { ports: vec!["trunk", "uplink"], stitches: vec!["floor"], rules: vec!["web", "db"] }
}

fn tracker() -> Tracker {
    let mut tracker = Tracker::new(&Config { max_flows: 64, ..Config::default() }, [3; 16]);
    tracker.reserve_rules(2);
    tracker.advance(START);
    tracker
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

fn terms(record: &FlowRecord) -> Terms {
    Terms {
        epoch: Epoch(1),
        rule: record.rule(),
        idle_timeout: record.idle_timeout(),
        max_flows: None,
        responder_vlan: record.responder_vlan(),
    }
}

/// All that can be restored of a file.
fn restore(file: &[u8], away: Duration) -> Option<Tracker> {
    let snapshot = Snapshot::open(file).ok()?;
    let translation = Translation::new(snapshot.names(), &names());
    let mut tracker = tracker();
    let (mut flows, mut skipped) = (0, 0);
    for index in snapshot.order(tracker.capacity()) {
        let record = snapshot.record(index as usize, &translation).and_then(|record| record.aged(away));
        match record.and_then(|record| tracker.restore(START, &record, &terms(&record))) {
            Ok(_) => flows += 1,
            Err(_) => skipped += 1,
        }
    }
    assert_eq!(flows + skipped, snapshot.len());
    assert_eq!(flows, tracker.len());
    Some(tracker)
}

fn save(tracker: Tracker) -> Vec<u8> {
    let mut file = Vec::new();
    write(&[tracker], &names(), &Stamp::default(), 0, &mut file).unwrap();
    file
}

/// Packets of the restored flows, of both sides: whatever a record says, the tracker answers.
fn traffic(tracker: &mut Tracker, seed: &[u8]) {
    let flows: Vec<_> = tracker.flows().map(|flow| tracker.flow(flow)).collect();
    let mut seed = seed.iter().copied().cycle();
    let mut next = || u32::from_le_bytes([(); 4].map(|()| seed.next().unwrap_or(0)));
    let mut now = START;
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
            let _ = tracker.track(now, &packet);
            now = now + Duration::from_millis(u64::from(next() % 10_000));
        }
    }
    tracker.advance(now + Duration::from_secs(20_000_000));
    assert!(tracker.is_empty(), "every flow ends");
}

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (mode, mut file) = input;
    if mode & 1 == 0 {
        mend(&mut file);
    }
    let away = Duration::from_secs(u64::from(mode >> 8));
    let Some(tracker) = restore(&file, away) else { return };
    let once = save(tracker);
    let again = restore(&once, Duration::ZERO).expect("what was just saved");
    let twice = save(again);
    assert_eq!(once.len(), twice.len(), "what is restored can be saved and restored again");
    let mut last = restore(&twice, Duration::ZERO).expect("what was just saved");
    traffic(&mut last, &file);
});
