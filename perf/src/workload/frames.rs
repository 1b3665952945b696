//! The frames of flows: tagged, with correct lengths and checksums.

use super::mix::Spread;
use super::{Flow, GATEWAY, MixArguments, Shape, Side, mac_of, wide};
use crate::Protocol;
use dataplane::port::memory::Trace;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};
use random::Random;

/// Ethernet header, tag, IPv4 and TCP: what a handshake's frames have.
const TCP_HEADERS: usize = 14 + 4 + 20 + 20;
const UDP_HEADERS: usize = 14 + 4 + 20 + 8;
/// The shortest frame without its FCS.
const SHORTEST: usize = 60;
/// The window of both ends: no scaling, so that handshakes need no options.
const WINDOW: u16 = 0xffff;
/// Initial sequence numbers of client and server.
const CLIENT_START: u32 = 1_000_000;
const SERVER_START: u32 = 2_000_000_000;

/// Which end of a flow sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forward,
    Reply,
}

/// The lengths of a simple Internet mix without FCS, seven to four to one.
const MIX: [usize; 12] = [60, 590, 60, 590, 60, 590, 60, 590, 60, 60, 60, 1_514];

impl Shape {
    /// Bytes of the `n`th flow's frames, of which `headers` are none of the payload.
    fn length_of(self, n: usize, headers: usize) -> usize {
        let length = if self.imix { MIX[n % MIX.len()] } else { self.length };
        length.max(self.headers(headers))
    }

    /// Bytes of headers that are so many with IPv4.
    fn headers(self, with_v4: usize) -> usize {
        if self.v6 { with_v4 + 20 } else { with_v4 }
    }
}

/// Frames, one after the other.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Appends a frame as `write` makes it, padded to a length.
    fn push<E: std::fmt::Debug>(&mut self, length: usize, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) {
        let start = self.bytes.len();
        write(&mut self.bytes).expect("memory takes all bytes, and the frames are short");
        let written = self.bytes.len() - start;
        assert!(written <= length, "a frame of {written} bytes is longer than {length}");
        self.bytes.resize(start + length, 0);
        self.ends.push(self.bytes.len());
    }

    /// A trace of these frames, in this order.
    fn trace(&self, sequence: &[u32]) -> Trace {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let frames: Vec<&[u8]> =
            starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect();
        Trace::new(&frames, sequence)
    }
}

/// The first datagram of each flow, and its answer: what is not answered is half-open, and of such flows a table takes
/// no more than half of what it holds (TRACKING.md Z02).
pub(super) fn exchanges(flows: &[Flow], shape: Shape) -> Trace {
    let mut batch = Batch::default();
    for (n, flow) in flows.iter().enumerate() {
        let length = shape.length_of(n, UDP_HEADERS);
        datagram(&mut batch, flow, Direction::Forward, shape, length);
        datagram(&mut batch, flow, Direction::Reply, shape, length);
    }
    batch.trace(&in_order(flows.len() * 2))
}

/// A datagram of IPv4 of each flow, its answer, and where their data begins. They have no checksum (RFC 768), so that data
/// may be written into them.
pub(super) fn blank_exchanges(flows: &[Flow]) -> (Vec<[Vec<u8>; 2]>, usize) {
    const CHECKSUM: usize = UDP_HEADERS - 2;
    let shape = Shape { length: SHORTEST, v6: false, imix: false };
    let blank = |flow, direction| {
        let mut batch = Batch::default();
        datagram(&mut batch, flow, direction, shape, SHORTEST);
        batch.bytes[CHECKSUM..UDP_HEADERS].fill(0);
        batch.bytes
    };
    let both = |flow| [blank(flow, Direction::Forward), blank(flow, Direction::Reply)];
    (flows.iter().map(both).collect(), UDP_HEADERS)
}

/// SYN, SYN-ACK and ACK of each flow.
pub(super) fn handshakes(flows: &[Flow], shape: Shape) -> Trace {
    let mut batch = Batch::default();
    let length = SHORTEST.max(shape.headers(TCP_HEADERS));
    for flow in flows {
        syn(&mut batch, flow, shape);
        let mut syn_ack = header(flow, Direction::Reply, SERVER_START, CLIENT_START + 1);
        syn_ack.syn = true;
        let ack = header(flow, Direction::Forward, CLIENT_START + 1, SERVER_START + 1);
        segment(&mut batch, flow, Direction::Reply, shape.v6, syn_ack, (length, &[]));
        segment(&mut batch, flow, Direction::Forward, shape.v6, ack, (length, &[]));
    }
    batch.trace(&in_order(flows.len() * 3))
}

/// A frame of each direction of each flow, in random order. A TCP flow sends the same data over and over, within
/// its window, and the other side acknowledges it: valid for ever, as retransmissions are. With them the first frames of
/// `newcomers`, or junk, as the mix says.
pub(super) fn steady(
    flows: &[Flow],
    newcomers: &[Flow],
    mix: MixArguments,
    protocol: Protocol,
    shape: Shape,
    seed: u64,
) -> Trace {
    let mut batch = Batch::default();
    for (n, flow) in flows.iter().enumerate() {
        match protocol {
            Protocol::Udp => {
                let length = shape.length_of(n, UDP_HEADERS);
                datagram(&mut batch, flow, Direction::Forward, shape, length);
                datagram(&mut batch, flow, Direction::Reply, shape, length);
            }
            Protocol::Tcp => {
                let length = shape.length_of(n, TCP_HEADERS);
                let data = vec![0x5a; length - shape.headers(TCP_HEADERS)];
                let (client, server) = (CLIENT_START + 1, SERVER_START + 1);
                let forward = header(flow, Direction::Forward, client, server);
                let reply = header(flow, Direction::Reply, server, client + data.len() as u32);
                segment(&mut batch, flow, Direction::Forward, shape.v6, forward, (length, &data));
                segment(&mut batch, flow, Direction::Reply, shape.v6, reply, (length, &data));
            }
        }
    }
    let mut sequence = in_order(flows.len() * 2);
    Random::new(seed.rotate_left(32)).shuffle(&mut sequence);
    let first = batch.ends.len() as u32;
    for (n, flow) in newcomers.iter().enumerate() {
        match protocol {
            Protocol::Udp => {
                datagram(&mut batch, flow, Direction::Forward, shape, shape.length_of(n, UDP_HEADERS));
            }
            Protocol::Tcp => syn(&mut batch, flow, shape),
        }
    }
    let beside: Vec<u32> = (first..batch.ends.len() as u32).collect();
    let sequence = match (mix.new_flow_share, mix.junk_share) {
        (Some(share), _) => woven(&sequence, &beside, share, beside.len()),
        (None, Some(share)) => {
            batch.push(SHORTEST, junk);
            woven(
                &sequence,
                &[first],
                share,
                (sequence.len() as f64 * share / (1.0 - share).max(0.01)) as usize,
            )
        }
        (None, None) => sequence,
    };
    batch.trace(&sequence)
}

/// `share` of these, evenly spread among the others, until `count` of them have been taken. Both come round as often as
/// that takes.
fn woven(others: &[u32], these: &[u32], share: f64, count: usize) -> Vec<u32> {
    let (mut others, mut these) = (others.iter().cycle(), these.iter().cycle());
    let mut spread = Spread::new(share);
    let mut sequence = Vec::new();
    let mut taken = 0;
    while taken < count {
        let is_one = spread.next();
        taken += usize::from(is_one);
        sequence.extend(if is_one { these.next() } else { others.next() });
    }
    sequence
}

/// A frame that is of no EtherType that the gateway knows (IEEE 802 §9.2.3: for experiments).
fn junk(frame: &mut Vec<u8>) -> Result<(), std::convert::Infallible> {
    frame.extend(GATEWAY.0);
    frame.extend(mac_of(Side::CLIENTS.network + 2).0);
    frame.extend([0x81, 0x00]);
    frame.extend(Side::CLIENTS.vid.to_be_bytes());
    frame.extend([0x88, 0xb5]);
    Ok(())
}

/// The first segment of a connection.
fn syn(batch: &mut Batch, flow: &Flow, shape: Shape) {
    let mut syn = header(flow, Direction::Forward, CLIENT_START, 0);
    (syn.syn, syn.ack) = (true, false);
    segment(batch, flow, Direction::Forward, shape.v6, syn, (SHORTEST.max(shape.headers(TCP_HEADERS)), &[]));
}

fn in_order(count: usize) -> Vec<u32> {
    (0..u32::try_from(count).expect("there are fewer than 2^32 frames")).collect()
}

/// An IP packet of the flow, in the VLAN of its sender, on its way to the gateway.
fn ip(flow: &Flow, direction: Direction, v6: bool) -> PacketBuilderStep<IpHeaders> {
    let (side, from, to) = match direction {
        Direction::Forward => (Side::CLIENTS, flow.client, flow.server),
        Direction::Reply => (Side::SERVERS, flow.server, flow.client),
    };
    let vlan = VlanId::try_new(side.vid).expect("a VLAN ID has twelve bits");
    let link = PacketBuilder::ethernet2(mac_of(from).0, GATEWAY.0).single_vlan(vlan);
    if v6 {
        link.ipv6(wide(from).to_be_bytes(), wide(to).to_be_bytes(), 64)
    } else {
        link.ipv4(from.to_be_bytes(), to.to_be_bytes(), 64)
    }
}

fn ports(flow: &Flow, direction: Direction) -> (u16, u16) {
    match direction {
        Direction::Forward => (flow.source, flow.destination),
        Direction::Reply => (flow.destination, flow.source),
    }
}

fn datagram(batch: &mut Batch, flow: &Flow, direction: Direction, shape: Shape, length: usize) {
    let (source, destination) = ports(flow, direction);
    let data = vec![0x5a; length - shape.headers(UDP_HEADERS)];
    batch.push(length, |frame| {
        ip(flow, direction, shape.v6).udp(source, destination).write_to_vec(frame, &data)
    });
}

/// The header of an acknowledgement.
fn header(flow: &Flow, direction: Direction, sequence: u32, acknowledged: u32) -> TcpHeader {
    let (source, destination) = ports(flow, direction);
    let mut header = TcpHeader::new(source, destination, sequence, WINDOW);
    (header.ack, header.acknowledgment_number) = (true, acknowledged);
    header
}

/// A segment with that payload in a frame of that length.
fn segment(
    batch: &mut Batch,
    flow: &Flow,
    direction: Direction,
    v6: bool,
    header: TcpHeader,
    (length, data): (usize, &[u8]),
) {
    batch.push(length, |frame| ip(flow, direction, v6).tcp_header(header).write_to_vec(frame, data));
}
