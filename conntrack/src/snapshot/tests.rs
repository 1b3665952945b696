//! What is saved comes back as it was, or not at all.

use super::record::Family;
use super::*;
use crate::config::Config;
use crate::packet::{Packet, Tracked};
use crate::rig::{Fate, O, O_MAC, O_VLAN, R, Rig, seg};
use crate::terms::{Epoch, RuleKey, Terms};
use crate::time::Tick;
use crate::tracker::Tracker;
use classifier::addr::{PortId, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::wire::{SctpChunk, Transport, protocol};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The clock of the process that starts; another than that of the one that has ended.
const START: Tick = Tick(1_000_000_000_000);

fn names() -> Names<'static> {
    Names { ports: vec!["trunk", "uplink"], stitches: vec!["floor"], rules: vec!["web", "db"] }
}

fn saved(tracker: Tracker) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stamp = Stamp { unix_millis: 1_700_000_000_000, uptime_millis: 77, boot: [9; 16] };
    write(&[tracker], &names(), &stamp, 42, &mut bytes).unwrap();
    bytes
}

fn tracker(max_flows: u32) -> Tracker {
    Tracker::new(&Config { max_flows, ..Config::default() }, [5; 16])
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

/// The records of a file in a tracker, and the causes of those that are not.
fn restored(
    bytes: &[u8],
    max_flows: u32,
    now: &Names<'_>,
    away: Duration,
) -> Result<(Tracker, Vec<Skip>), Broken> {
    let snapshot = Snapshot::open(bytes)?;
    let translation = Translation::new(snapshot.names(), now);
    let mut tracker = tracker(max_flows);
    tracker.advance(START);
    let mut skipped = vec![Skip::Missing; snapshot.missing() as usize];
    for index in snapshot.order(max_flows as usize) {
        let record = snapshot.record(index as usize, &translation).and_then(|record| record.aged(away));
        let flow = record.and_then(|record| tracker.restore(START, &record, &terms(&record)).map(|_| ()));
        skipped.extend(flow.err());
    }
    Ok((tracker, skipped))
}

/// The flows of a tracker, in an order that does not depend on it.
fn records(tracker: &Tracker) -> Vec<FlowRecord> {
    let mut records: Vec<_> = tracker.flows().map(|flow| tracker.record(flow)).collect();
    records.sort_by_key(|record| format!("{:?}", record.key()));
    records
}

fn v6_packet(tail: u16) -> Packet<'static> {
    let address = |last: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    let (key, sender) = FlowKey::of_ports(Domain(1), protocol::UDP, (address(tail), 4000), (address(1), 53));
    Packet { key, sender, vlan: O_VLAN, source_mac: O_MAC, transport: Transport::Udp }
}

/// A flow of each kind that there is: eight of them.
fn sample() -> Rig {
    let mut rig = Rig::new();
    rig.tracker.reserve_rules(2);
    rig.establish();
    rig.wait(1500);
    rig.tcp(R, seg("A", 5001, 1001).len(700));
    rig.terms.rule = Some(RuleKey(1));
    rig.terms.idle_timeout = Some(Duration::from_secs(90));
    rig.port(40_001);
    rig.tcp(O, seg("S", 77, 0).options(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0]));
    rig.wait(200);
    rig.udp(O);
    rig.udp(R);
    rig.terms.responder_vlan = None;
    rig.port(40_002);
    rig.udp(O);
    rig.ping(O, true, 9);
    rig.sctp(O, 0, SctpChunk::Init(0x1234));
    rig.other(O, protocol::GRE);
    let packet = v6_packet(2);
    let Tracked::New(opening) = rig.tracker.track(rig.now, &packet) else { panic!("it begins a flow") };
    rig.tracker.open(rig.now, opening, rig.terms).unwrap();
    rig.wait(10);
    assert_eq!(rig.tracker.len(), 8);
    rig
}

#[test]
fn every_kind_of_flow_comes_back_as_it_was() {
    let rig = sample();
    let before = records(&rig.tracker);
    let bytes = saved(rig.tracker);
    let (after, skipped) = restored(&bytes, 64, &names(), Duration::ZERO).unwrap();
    assert_eq!(skipped, []);
    assert_eq!(records(&after), before);
    assert_eq!((after.statistics().restored, after.statistics().opened, after.statistics().peak), (8, 0, 8));
}

#[test]
fn a_rule_has_as_many_flows_as_before() {
    let rig = sample();
    let bytes = saved(rig.tracker);
    let snapshot = Snapshot::open(&bytes).unwrap();
    let translation = Translation::new(snapshot.names(), &names());
    let mut after = tracker(64);
    after.reserve_rules(2);
    after.advance(START);
    for index in 0..snapshot.len() {
        let record = snapshot.record(index, &translation).unwrap();
        after.restore(START, &record, &terms(&record)).unwrap();
    }
    assert_eq!((after.rule_flows(RuleKey(0)), after.rule_flows(RuleKey(1))), (Some(0), Some(7)));
}

/// What no two runs have in common: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_restored_connection_takes_every_segment_as_the_one_that_was_saved_would() {
    for round in 1..=60 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ round);
        let mut rig = Rig::new();
        rig.establish();
        let segment = |random: &mut Random| {
            let flags = ["A", "A", "A", "PA", "FA", "R", "S", "SA", "RA"][random.below(9) as usize];
            let from_o = random.below(2) == 0;
            let jitter = [0, 0, 0, 1, 500, 66_001, 70_000, u32::MAX - 300][random.below(8) as usize];
            let (own, peer) = if from_o { (1001, 5001) } else { (5001, 1001) };
            let acknowledgment = if flags.contains('A') { peer + random.below(3) as u32 * 100 } else { 0 };
            let sequence = jitter.wrapping_add(own);
            (
                if from_o { O } else { R },
                seg(flags, sequence, acknowledgment).len(random.below(3) as u16 * 100),
            )
        };
        for _ in 0..random.below(20) {
            let (host, segment) = segment(&mut random);
            rig.tcp(host, segment);
            rig.wait(random.below(3000));
        }
        let mut bytes = Vec::new();
        let stamp = Stamp::default();
        write(std::slice::from_ref(&rig.tracker), &names(), &stamp, 0, &mut bytes).unwrap();
        let mut other = Rig::new();
        other.now = START;
        other.tracker = restored(&bytes, 64, &names(), Duration::ZERO).unwrap().0;
        for step in 0..40 {
            let (host, segment) = segment(&mut random);
            let wait = random.below(2000);
            assert_eq!(
                other.tcp(host, segment),
                rig.tcp(host, segment),
                "round {round}, step {step}: {segment:?}"
            );
            assert_eq!(records(&other.tracker), records(&rig.tracker), "round {round}, step {step}");
            rig.wait(wait);
            other.wait(wait);
        }
    }
}

#[test]
fn a_byte_that_changed_costs_one_flow_at_most_and_brings_back_no_other() {
    let rig = sample();
    let good = records(&rig.tracker);
    let bytes = saved(rig.tracker);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let (tracker, skipped) = restored(&bytes, 64, &names(), Duration::ZERO)
                .unwrap_or_else(|broken| panic!("byte {at}: {broken}"));
            assert!(skipped.is_empty() || skipped == [Skip::Damaged], "byte {at}: {skipped:?}");
            let there = records(&tracker);
            assert_eq!(there.len() + skipped.len(), good.len(), "byte {at}");
            assert!(there.iter().all(|record| good.contains(record)), "byte {at}");
        }
    }
}

#[test]
fn a_file_that_was_cut_off_is_good_up_to_the_cut() {
    let rig = sample();
    let good = records(&rig.tracker);
    let bytes = saved(rig.tracker);
    let preamble = (bytes.len() - TAIL - 7 * u32::RECORD - u128::RECORD) / 2;
    for length in 0..bytes.len() {
        match restored(&bytes[..length], 64, &names(), Duration::ZERO) {
            Ok((tracker, skipped)) => {
                let there = length - preamble;
                let whole =
                    (there / u32::RECORD).min(7) + usize::from(there >= 7 * u32::RECORD + u128::RECORD);
                assert_eq!(tracker.len(), whole, "{length}");
                assert_eq!(skipped, vec![Skip::Missing; good.len() - whole], "{length}");
                assert!(records(&tracker).iter().all(|record| good.contains(record)), "{length}");
            }
            Err(broken) => assert!(length < preamble, "{length}: {broken}"),
        }
    }
}

#[test]
fn what_is_no_snapshot_is_said_to_be_none() {
    let bytes = saved(sample().tracker);
    assert_eq!(Snapshot::open(b"").unwrap_err(), Broken::Foreign);
    assert_eq!(Snapshot::open(&[0; 4096]).unwrap_err(), Broken::Foreign);
    // The next version, with its checksum right.
    let mut other = bytes.clone();
    other[8] = 2;
    let crc = crc32c::crc32c(&other[..80]).to_le_bytes();
    other[80..84].copy_from_slice(&crc);
    assert_eq!(Snapshot::open(&other).unwrap_err(), Broken::Version(2));
    // Both copies damaged.
    let mut other = bytes.clone();
    let end = other.len() - TAIL - 1;
    (other[30], other[end]) = (!other[30], !other[end]);
    assert_eq!(Snapshot::open(&other).unwrap_err(), Broken::Preamble);
}

#[test]
fn a_preamble_that_promises_more_than_there_is_brings_nothing_down() {
    let mut bytes = saved(sample().tracker);
    for count in [u64::MAX, u64::MAX / 100, 1 << 40, 8] {
        bytes[24..32].copy_from_slice(&count.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..80]).to_le_bytes();
        bytes[80..84].copy_from_slice(&crc);
        let snapshot = Snapshot::open(&bytes).unwrap();
        assert!(snapshot.len() < 20);
        assert!(snapshot.missing() <= count);
        let translation = Translation::new(snapshot.names(), &names());
        let good = (0..snapshot.len()).filter(|index| snapshot.record(*index, &translation).is_ok()).count();
        assert!(good >= 7, "{count}");
    }
}

#[test]
fn ports_and_rules_are_found_by_name_under_other_numbers() {
    let bytes = saved(sample().tracker);
    let now = Names { ports: vec!["new", "uplink", "trunk"], stitches: vec!["floor"], rules: vec!["db"] };
    let (tracker, skipped) = restored(&bytes, 64, &now, Duration::ZERO).unwrap();
    assert_eq!(skipped, []);
    for record in records(&tracker) {
        assert_eq!(record.opener_vlan(), VlanKey::new(PortId(2), O_VLAN.vid()));
        assert!(record.responder_vlan().is_none_or(|vlan| vlan == VlanKey::new(PortId(1), 20)));
        assert!(record.rule().is_none_or(|rule| rule == RuleKey(0)));
    }
    // The names of the rule and the stitch are gone: the rule is for the policy to find, the flow of the stitch not.
    let now = Names { stitches: vec![], rules: vec![], ..now };
    let (tracker, skipped) = restored(&bytes, 64, &now, Duration::ZERO).unwrap();
    assert_eq!(skipped, [Skip::Network]);
    assert!(records(&tracker).iter().all(|record| record.rule().is_none()));
    let now = Names { ports: vec!["trunk"], ..now };
    let (tracker, skipped) = restored(&bytes, 64, &now, Duration::ZERO).unwrap();
    assert!(records(&tracker).iter().all(|record| record.responder_vlan().is_none()));
    assert_eq!(tracker.len() + skipped.len(), 8);
}

#[test]
fn flows_age_while_the_gateway_is_away() {
    let rig = sample();
    let left = |tracker: &Tracker, port: u16| {
        let mut flows = tracker.flows().map(|flow| tracker.flow(flow));
        let of =
            flows.find(|view| view.key.protocol() == protocol::TCP && view.key.port(view.opener) == port);
        of.map(|view| (view.expires_in, view.age))
    };
    let before = left(&rig.tracker, 40_001).unwrap();
    let bytes = saved(rig.tracker);
    let away = Duration::from_millis(12_345);
    let (tracker, _) = restored(&bytes, 64, &names(), away).unwrap();
    assert_eq!(left(&tracker, 40_001), Some((before.0 - away, before.1 + away)));
    // To the millisecond: the SYN's time is up, that of the connection is not.
    let (tracker, _) = restored(&bytes, 64, &names(), before.0 - Duration::from_millis(1)).unwrap();
    assert_eq!(left(&tracker, 40_001).unwrap().0, Duration::from_millis(1));
    let (tracker, skipped) = restored(&bytes, 64, &names(), before.0).unwrap();
    assert_eq!(left(&tracker, 40_001), None);
    assert!(skipped.contains(&Skip::Expired) && left(&tracker, 40_000).is_some());
    for away in [Duration::from_secs(11 * 86_400), Duration::MAX] {
        let (tracker, skipped) = restored(&bytes, 64, &names(), away).unwrap();
        assert_eq!((tracker.len(), skipped), (0, vec![Skip::Expired; 8]));
    }
}

#[test]
fn a_timeout_that_was_made_shorter_counts() {
    let mut rig = Rig::new();
    rig.establish();
    let bytes = saved(rig.tracker);
    let snapshot = Snapshot::open(&bytes).unwrap();
    let record = snapshot.record(0, &Translation::new(snapshot.names(), &names())).unwrap();
    let mut config = Config { max_flows: 4, ..Config::default() };
    config.timeouts.tcp_established = Duration::from_secs(60);
    let mut tracker = Tracker::new(&config, [5; 16]);
    tracker.advance(START);
    let flow = tracker.restore(START, &record, &terms(&record)).unwrap();
    assert_eq!(tracker.flow(flow).expires_in, Duration::from_secs(60));
}

#[test]
fn where_there_is_not_room_for_all_the_youngest_are_restored() {
    let mut rig = Rig::new();
    for port in 0..20 {
        rig.port(1000 + port);
        rig.udp(O);
        rig.wait(1000);
    }
    let bytes = saved(rig.tracker);
    let (tracker, skipped) = restored(&bytes, 5, &names(), Duration::ZERO).unwrap();
    assert_eq!(skipped, vec![Skip::NoRoom; 15]);
    let mut ports: Vec<u16> =
        tracker.flows().map(|flow| tracker.flow(flow)).map(|view| view.key.port(view.opener)).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1015, 1016, 1017, 1018, 1019]);
}

#[test]
fn a_flow_that_is_there_twice_is_restored_once() {
    let mut bytes = Vec::new();
    let two = [sample().tracker, sample().tracker];
    write(&two, &names(), &Stamp::default(), 0, &mut bytes).unwrap();
    let (tracker, skipped) = restored(&bytes, 64, &names(), Duration::ZERO).unwrap();
    assert_eq!((tracker.len(), skipped), (8, vec![Skip::Duplicate; 8]));
}

/// One record of the sample, by its number, after a change and with its checksum made right again.
fn forged(bytes: &[u8], change: impl FnOnce(&mut [u8])) -> Result<FlowRecord, Skip> {
    let mut record = bytes.to_vec();
    let end = record.len() - 4;
    change(&mut record[..end]);
    let crc = crc32c::crc32c(&record[..end]).to_le_bytes();
    record[end..].copy_from_slice(&crc);
    FlowRecord::take::<u32>(&record, &Translation::new(&names(), &names()))
}

#[test]
fn a_record_that_no_tracker_would_have_written_is_not_believed() {
    let mut rig = Rig::new();
    rig.establish();
    let flow = rig.id(protocol::TCP).unwrap();
    let mut tcp = Vec::new();
    rig.tracker.record(flow).put(&mut tcp);
    assert_eq!(tcp.len(), u32::RECORD);
    assert!(forged(&tcp, |_| {}).is_ok());
    let set = |at: usize, bytes: &'static [u8]| {
        forged(&tcp, |record| record[at..at + bytes.len()].copy_from_slice(bytes))
    };
    for (what, at, bytes) in [
        ("a protocol that the state is not of", 12, &[17_u8][..]),
        ("an unknown kind of key", 13, &[5]),
        ("a query that is not ICMP", 13, &[1]),
        ("a key in disorder", 0, &[0xff; 4]),
        ("a stitch without a name", 14, &[2, 0]),
        ("a port without a name", 16, &[2, 0]),
        ("no port at all", 16, &[0xff, 0xff]),
        ("a VID that is none", 18, &[0, 0x10]),
        ("a state that is none", 30, &[16]),
        ("a state of SCTP", 30, &[13]),
        ("a flag that is none", 31, &[8]),
        ("a rule without an id", 32, &[2, 0, 0, 0]),
        ("an idle timeout over ten days", 36, &[0xff; 4]),
        ("a deadline farther than ten days", 40, &[0xff; 4]),
        ("a window that can't be offered", 56, &[0xff; 4]),
        ("a scale that can't be offered", 92, &[0xf0]),
    ] {
        assert_eq!(set(at, bytes), Err(Skip::Implausible), "{what}");
    }
}

#[test]
fn no_record_with_a_right_checksum_brings_the_tracker_down() {
    let mut rig = Rig::new();
    rig.establish();
    let flow = rig.id(protocol::TCP).unwrap();
    let mut tcp = Vec::new();
    rig.tracker.record(flow).put(&mut tcp);
    let mut random = Random(0x0dd0_ba11);
    let mut believed = 0;
    for _ in 0..20_000 {
        // The key stays, so that the segments below find the flow.
        let changes = random.below(12);
        let record = forged(&tcp, |record| {
            for _ in 0..changes {
                let at = 22 + random.below(record.len() as u64 - 22) as usize;
                record[at] = random.below(256) as u8;
            }
        });
        let Ok(record) = record else { continue };
        believed += 1;
        let mut rig = Rig::new();
        rig.now = START;
        rig.tracker.advance(START);
        let _ = rig.tracker.restore(START, &record, &terms(&record));
        for _ in 0..6 {
            let flags = ["A", "FA", "R", "S", "SA"][random.below(5) as usize];
            let (sequence, acknowledgment) = (random.below(1 << 32) as u32, random.below(1 << 32) as u32);
            let acknowledgment = if flags.contains('A') { acknowledgment } else { 0 };
            rig.tcp(if random.below(2) == 0 { O } else { R }, seg(flags, sequence, acknowledgment).len(10));
            rig.wait(random.below(100_000));
        }
    }
    assert!(believed > 2_000, "most of what is tried is not even read: {believed}");
}

#[test]
fn a_flow_on_old_terms_is_known_by_its_epoch() {
    let bytes = saved(sample().tracker);
    let snapshot = Snapshot::open(&bytes).unwrap();
    let record = snapshot.record(0, &Translation::new(snapshot.names(), &names())).unwrap();
    let mut rig = Rig::new();
    rig.now = START;
    rig.tracker.advance(START);
    rig.tracker.restore(START, &record, &Terms { epoch: Epoch(0), ..terms(&record) }).unwrap();
    assert_eq!(rig.tcp(O, seg("A", 1001, 5701)), Fate::Forward);
    assert_eq!(rig.view().unwrap().epoch, Epoch(0));
}

/// The format is for other versions too: these bytes must not change while the version does not.
#[test]
fn a_record_of_version_one_has_these_bytes() {
    let mut rig = Rig::new();
    rig.terms.rule = Some(RuleKey(1));
    rig.terms.idle_timeout = Some(Duration::from_secs(600));
    rig.establish();
    rig.wait(2500);
    let flow = rig.id(protocol::TCP).unwrap();
    let mut bytes = Vec::new();
    rig.tracker.record(flow).put(&mut bytes);
    // All but the digest of the last segment, which is the tracker's own, and the checksum.
    let hex = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!((hex(0..88), hex(92..96)), (GOLDEN.0.concat(), GOLDEN.1.to_owned()));
}

const GOLDEN: ([&str; 5], &str) = (
    [
        "0a00010a0a00020a409c50000600000000000a00",
        "0100140002000000000103020100000058020000",
        "fc1d0900c4090000e9030000e8030100",
        "ffff0000891300008913000088130100",
        "ffff0000e9030000e803000000000000",
    ],
    "00202002",
);
