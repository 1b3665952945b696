//! Writes `configs/samples/three-tier.pcap`: what a gateway between three segments hears on its trunk.
//!
//! ```text
//!   VLAN 10  web  10.0.10.10  --+
//!   VLAN 20  app  10.0.20.10  --+-- trunk0   the gateway: .1 in each VLAN, MAC 02:00:00:00:00:01
//!   VLAN 30  db   10.0.30.10  --+
//! ```
//!
//! Run it from the root of the repository: `cargo run -p bulkhead --example three_tier_capture`. The frames are
//! the same each time; `tests/sample_capture.rs` compares them with the file that is checked in.

use conntrack::time::Tick;
use dataplane::port::capture::{CaptureError, Writer};
use etherparse::{Ethernet2Header, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};

type Ip = PacketBuilderStep<etherparse::IpHeaders>;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const GATEWAY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// The shortest frame without its FCS (IEEE 802.3 §3.2.8): the card pads to it.
const SHORTEST: usize = 60;

/// A host behind the trunk.
#[derive(Clone, Copy)]
struct Host {
    vlan: u16,
    mac: [u8; 6],
    address: [u8; 4],
}

const WEB: Host = Host { vlan: 10, mac: [0x02, 0, 0, 0, 0x10, 0x10], address: [10, 0, 10, 10] };
const APP: Host = Host { vlan: 20, mac: [0x02, 0, 0, 0, 0x20, 0x10], address: [10, 0, 20, 10] };
const DB: Host = Host { vlan: 30, mac: [0x02, 0, 0, 0, 0x30, 0x10], address: [10, 0, 30, 10] };

fn main() -> Result<(), CaptureError> {
    let path = "configs/samples/three-tier.pcap";
    let mut writer = Writer::create(path)?;
    for (at, frame) in frames() {
        writer.write(at, &frame)?;
    }
    writer.finish()?;
    println!("wrote {path}");
    Ok(())
}

/// All frames and their times.
pub(crate) fn frames() -> Vec<(Tick, Vec<u8>)> {
    let mut frames = Vec::new();
    frames.extend(ping());
    frames.extend(page());
    frames.extend(refused());
    frames.push(spoofed());
    let at = |index: usize| Tick(START + index as u64 * MILLISECOND);
    frames.into_iter().enumerate().map(|(index, frame)| (at(index), frame)).collect()
}

/// The web server pings the application server, and is answered.
fn ping() -> Vec<Vec<u8>> {
    let payload = b"bulkhead sample capture: a ping.";
    let ask =
        |sequence| padded(|f| ip(WEB, APP).icmpv4_echo_request(0x0b01, sequence).write_to_vec(f, payload));
    let answer =
        |sequence| padded(|f| ip(APP, WEB).icmpv4_echo_reply(0x0b01, sequence).write_to_vec(f, payload));
    vec![ask(1), answer(1), ask(2), answer(2)]
}

/// The web server fetches a page from the application server, and both close.
fn page() -> Vec<Vec<u8>> {
    let request = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    let (asked, answered) = (1_001 + request.len() as u32, 5_001 + response.len() as u32);
    let web = |step: fn(&mut TcpHeader), sequence, ack, data: &[u8]| {
        tcp(WEB, APP, (40_000, 8_080), (sequence, ack), step, data)
    };
    let app = |step: fn(&mut TcpHeader), sequence, ack, data: &[u8]| {
        tcp(APP, WEB, (8_080, 40_000), (sequence, ack), step, data)
    };
    vec![
        web(syn, 1_000, 0, b""),
        app(syn_ack, 5_000, 1_001, b""),
        web(ack, 1_001, 5_001, b""),
        web(push, 1_001, 5_001, request),
        app(push, 5_001, asked, response),
        web(fin, asked, answered, b""),
        app(fin, answered, asked + 1, b""),
        web(ack, asked + 1, answered + 1, b""),
    ]
}

/// The web server tries the database, twice, which it must not reach.
fn refused() -> Vec<Vec<u8>> {
    let attempt = |port| tcp(WEB, DB, (port, 5_432), (9_000, 0), syn, b"");
    vec![attempt(40_001), attempt(40_002)]
}

/// A host on the web servers' VLAN pretends to be the application server.
fn spoofed() -> Vec<u8> {
    let impostor = Host { address: APP.address, ..WEB };
    tcp(impostor, DB, (40_003, 5_432), (9_000, 0), syn, b"")
}

fn syn(header: &mut TcpHeader) {
    header.syn = true;
}

fn syn_ack(header: &mut TcpHeader) {
    (header.syn, header.ack) = (true, true);
}

fn ack(header: &mut TcpHeader) {
    header.ack = true;
}

fn push(header: &mut TcpHeader) {
    (header.psh, header.ack) = (true, true);
}

fn fin(header: &mut TcpHeader) {
    (header.fin, header.ack) = (true, true);
}

/// An IP packet on its way from a host to the gateway, which routes it to another.
fn ip(from: Host, to: Host) -> Ip {
    let ethernet: PacketBuilderStep<Ethernet2Header> = PacketBuilder::ethernet2(from.mac, GATEWAY);
    let vlan = VlanId::try_new(from.vlan).expect("a VLAN ID has twelve bits");
    ethernet.single_vlan(vlan).ipv4(from.address, to.address, 64)
}

fn tcp(
    from: Host,
    to: Host,
    (source, destination): (u16, u16),
    (sequence, acknowledged): (u32, u32),
    step: fn(&mut TcpHeader),
    data: &[u8],
) -> Vec<u8> {
    let mut header = TcpHeader::new(source, destination, sequence, 64_240);
    header.acknowledgment_number = acknowledged;
    step(&mut header);
    padded(|frame| ip(from, to).tcp_header(header).write_to_vec(frame, data))
}

/// A frame as `write` makes it, padded to the shortest that there is.
fn padded<E: std::fmt::Debug>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).expect("memory takes all bytes, and the packets are short");
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}
