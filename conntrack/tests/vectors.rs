//! Plays the conntrack vectors (frames and what must become of them) through the tracker alone.
//!
//! The parser here is the least that these frames need: it trusts lengths and checksums, which are the
//! packet parser's business. Scenarios about those are skipped, each with its reason.

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, End, FlowKey, KeyKind, Query};
use classifier::wire::{
    Icmp, QuotedPacket, SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol,
};
use conntrack::config::Config;
use conntrack::fragment::{DatagramKey, Examined, Place, Table};
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, Terms, Tracked, Tracker};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Scenarios that are not the tracker's: the beginning of their names, and whose they are.
const NOT_OURS: [(&str, &str); 11] = [
    ("frag", "fragments have a test of their own below"),
    ("ip4_", "IPv4 header sanity comes before the flow table"),
    ("ip6_", "IPv6 header and extension sanity comes before the flow table"),
    ("tcp_doff_", "the packet parser checks the data offset"),
    ("udp_csum_", "the packet parser checks the checksum"),
    ("udp_port0", "the packet parser refuses port 0"),
    ("icmp_echo_code1", "the packet parser refuses codes of queries"),
    ("icmp_trunc_", "the packet parser refuses a header that is cut off"),
    ("proto_proto0", "the packet parser refuses protocol 0"),
    ("proto_proto255", "the packet parser refuses protocol 255"),
    ("arp_", "ARP is no flow"),
];

fn vectors() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|dir| dir.join("shared/vectors/conntrack.json")).find(|path| path.exists())
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    payload: &'a [u8],
}

/// `None`: not what an ICMP error may quote (bad header length, a later fragment).
fn ip(bytes: &[u8]) -> Option<Ip<'_>> {
    if bytes[0] >> 4 == 4 {
        let header = usize::from(bytes[0] & 15) * 4;
        if header < 20 || be16(&bytes[6..]) & 0x1fff != 0 {
            return None;
        }
        let total = usize::from(be16(&bytes[2..])).min(bytes.len());
        let address = |at: usize| IpAddr::V4(Ipv4Addr::from(be32(&bytes[at..])));
        let payload = &bytes[header..total];
        return Some(Ip { source: address(12), destination: address(16), protocol: bytes[9], payload });
    }
    let address = |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap()));
    let mut protocol = bytes[6];
    let mut payload = &bytes[40..];
    while protocol == 60 {
        protocol = payload[0];
        payload = &payload[(usize::from(payload[1]) + 1) * 8..];
    }
    Some(Ip { source: address(8), destination: address(24), protocol, payload })
}

fn query(packet: &Ip<'_>) -> Option<Query> {
    let (kind, is_request) = match (packet.protocol, packet.payload[0]) {
        (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => (KeyKind::Echo, true),
        (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => (KeyKind::Echo, false),
        (protocol::ICMP, kind @ (13 | 14)) => (KeyKind::Timestamp, kind == 13),
        (protocol::ICMP, kind @ (15 | 16)) => (KeyKind::Information, kind == 15),
        (protocol::ICMP, kind @ (17 | 18)) => (KeyKind::Mask, kind == 17),
        _ => return None,
    };
    Some(Query { kind, is_request, identifier: be16(&packet.payload[4..]) })
}

fn key(packet: &Ip<'_>) -> (FlowKey, End) {
    if let (protocol::ICMP | protocol::ICMPV6, Some(query)) = (packet.protocol, query(packet)) {
        let Ip { protocol, source, destination, .. } = *packet;
        return FlowKey::of_query(Domain::ROUTED, protocol, source, destination, query);
    }
    let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let port = |at: usize| if has_ports { be16(&packet.payload[at..]) } else { 0 };
    let source = (packet.source, port(0));
    FlowKey::of_ports(Domain::ROUTED, packet.protocol, source, (packet.destination, port(2)))
}

fn quoted(outer: &Ip<'_>) -> Option<QuotedPacket> {
    let inner = ip(&outer.payload[8..])?;
    let is_error = matches!(inner.protocol, protocol::ICMP | protocol::ICMPV6) && query(&inner).is_none();
    if inner.payload.len() < 8 || is_error || inner.source != outer.destination {
        return None;
    }
    let (key, sender) = key(&inner);
    let tcp_sequence = (inner.protocol == protocol::TCP).then(|| be32(&inner.payload[4..]));
    Some(QuotedPacket { key, sender, tcp_sequence })
}

fn icmp(packet: &Ip<'_>) -> Icmp {
    if let Some(query) = query(packet) {
        return Icmp::Query(query);
    }
    match (packet.protocol, packet.payload[0]) {
        (protocol::ICMP, 3 | 11 | 12) | (protocol::ICMPV6, 1..=4) => Icmp::Error(quoted(packet)),
        (protocol::ICMP, 4 | 5) => Icmp::Error(None),
        _ => Icmp::Other,
    }
}

fn sctp(payload: &[u8]) -> SctpPacket {
    let length = usize::from(be16(&payload[14..])).next_multiple_of(4);
    let first = match payload[12] {
        1 => SctpChunk::Init(be32(&payload[16..])),
        2 => SctpChunk::InitAck(be32(&payload[16..])),
        6 => SctpChunk::Abort,
        7 => SctpChunk::Shutdown,
        8 => SctpChunk::ShutdownAck,
        10 => SctpChunk::CookieEcho,
        11 => SctpChunk::CookieAck,
        14 => SctpChunk::ShutdownComplete,
        _ => SctpChunk::Other,
    };
    let is_only_chunk = payload.len() <= 12 + length;
    SctpPacket { tag: be32(&payload[4..]), first, is_only_chunk, is_tag_reflected: payload[13] & 1 != 0 }
}

fn transport<'a>(packet: &Ip<'a>) -> Transport<'a> {
    let payload = packet.payload;
    match packet.protocol {
        protocol::TCP => {
            let header = usize::from(payload[12] >> 4) * 4;
            Transport::Tcp(TcpSegment {
                flags: TcpFlags(payload[13]),
                sequence: be32(&payload[4..]),
                acknowledgment: be32(&payload[8..]),
                window: be16(&payload[14..]),
                options: &payload[20..header],
                payload_length: (payload.len() - header) as u16,
            })
        }
        protocol::UDP => Transport::Udp,
        protocol::ICMP | protocol::ICMPV6 => Transport::Icmp(icmp(packet)),
        protocol::SCTP => Transport::Sctp(sctp(payload)),
        _ => Transport::Other,
    }
}

/// Whether the frame gets through: the client's side may open flows, the server's may not.
fn passes(tracker: &mut Tracker, now: Tick, frame: &[u8], from_client: bool) -> bool {
    let (client, server) = (VlanKey::new(PortId(0), 0), VlanKey::new(PortId(1), 0));
    let (vlan, other) = if from_client { (client, server) } else { (server, client) };
    let packet = ip(&frame[14..]).expect("the outer header is sound");
    let (key, sender) = key(&packet);
    let transport = transport(&packet);
    let source_mac = Mac(frame[6..12].try_into().unwrap());
    tracker.advance(now);
    match tracker.track(now, &Packet { key, sender, vlan, source_mac, transport }) {
        Tracked::Drop(_) => false,
        Tracked::Flow { .. } | Tracked::Related { .. } => true,
        Tracked::New(_) if !from_client => false,
        Tracked::New(opening) => {
            let terms = Terms {
                epoch: Epoch(1),
                rule: None,
                idle_timeout: None,
                max_flows: None,
                responder_vlan: Some(other),
            };
            tracker.open(now, opening, terms).is_ok()
        }
    }
}

#[test]
fn the_tracker_gives_every_frame_of_the_vectors_what_it_must_get() {
    let Some(path) = vectors() else {
        eprintln!("skipped: there are no shared vectors beside the project");
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let scenarios: serde_json::Value = serde_json::from_str(&text).unwrap();
    let config = Config { max_flows: 1000, ..Config::default() };
    let (mut played, mut failures) = (0, Vec::new());
    for (name, scenario) in scenarios.as_object().unwrap() {
        if let Some((_, reason)) = NOT_OURS.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            eprintln!("skipped {name}: {reason}");
            continue;
        }
        played += 1;
        let mut tracker = Tracker::new(&config, [7; 16]);
        let mut now = Tick(1_700_000_000_000_000_000);
        for (number, frame) in scenario["frames"].as_array().unwrap().iter().enumerate() {
            let bytes = hex(frame["frame"].as_str().unwrap());
            let passed = passes(&mut tracker, now, &bytes, frame["port"] == "c");
            if passed != (frame["expect"] == "pass") {
                failures.push(format!("{name}, frame {}: expected {}", number + 1, frame["expect"]));
            }
            now = now + Duration::from_millis(2);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(played >= 70, "only {played} scenarios were played");
    eprintln!("played {played} scenarios");
}

/// Which fragments get through, were every first let through: by where they lie in their datagrams alone.
fn passing(frames: &[Vec<u8>]) -> Vec<bool> {
    let mut table: Table<(), usize> = Table::new(Duration::from_secs(5), [7; 16]);
    let now = Tick(1_700_000_000_000_000_000);
    let mut passed = vec![false; frames.len()];
    for (at, frame) in frames.iter().enumerate() {
        let packet = classifier::wire::Packet::parse(frame);
        let (Some(fragment), true) = (packet.fragment, packet.faults.is_empty()) else { continue };
        let key = DatagramKey {
            addresses: packet.addresses,
            identification: fragment.identification,
            vlan: VlanKey::new(PortId(0), 0),
            protocol: packet.protocol,
        };
        let place = Place { offset: fragment.offset, length: packet.upper_length, more: fragment.more };
        match table.examine(now, &key, place, at, frame) {
            Examined::First(id) => {
                table.set_fate(id, ());
                passed[at] = true;
                while let Some(held) = table.take_held(id, None) {
                    passed[held.origin] = true;
                }
            }
            Examined::Later(_) => passed[at] = true,
            Examined::Held | Examined::Refused(_) => {}
        }
        table.end_batch();
    }
    passed
}

#[test]
fn the_fragments_of_the_vectors_get_what_they_must_get() {
    let Some(path) = vectors() else {
        eprintln!("skipped: there are no shared vectors beside the project");
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let scenarios: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut played = 0;
    for (name, scenario) in scenarios.as_object().unwrap().iter().filter(|(n, _)| n.starts_with("frag")) {
        let vectors = scenario["frames"].as_array().unwrap();
        let frames: Vec<Vec<u8>> = vectors.iter().map(|v| hex(v["frame"].as_str().unwrap())).collect();
        let expected: Vec<bool> = vectors.iter().map(|v| v["expect"] == "pass").collect();
        assert_eq!(passing(&frames), expected, "{name}");
        played += 1;
    }
    assert!(played >= 8, "only {played} scenarios were played");
}
