//! The frames of flows: tagged, with correct lengths and checksums.

use super::{Flow, GATEWAY, Side, mac_of};
use crate::Protocol;
use crate::random::Random;
use dataplane::port::memory::Trace;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader, VlanId};

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

/// Frames of one length, one after the other.
struct Batch {
    bytes: Vec<u8>,
    length: usize,
}

impl Batch {
    fn new(length: usize, count: usize) -> Batch {
        Batch { bytes: Vec::with_capacity(length * count), length }
    }

    /// Appends a frame as `write` makes it, padded to the common length.
    fn push<E: std::fmt::Debug>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) {
        let start = self.bytes.len();
        write(&mut self.bytes).expect("memory takes all bytes, and the frames are short");
        let length = self.bytes.len() - start;
        assert!(length <= self.length, "a frame of {length} bytes is longer than {}", self.length);
        self.bytes.resize(start + self.length, 0);
    }

    /// A trace of these frames, in this order.
    fn trace(&self, sequence: &[u32]) -> Trace {
        let frames: Vec<&[u8]> = self.bytes.chunks_exact(self.length).collect();
        Trace::new(&frames, sequence)
    }
}

/// The first datagram of each flow.
pub(super) fn datagram_opening(flows: &[Flow], length: usize) -> Trace {
    let mut batch = Batch::new(length, flows.len());
    for flow in flows {
        datagram(&mut batch, flow, Direction::Forward);
    }
    batch.trace(&in_order(flows.len()))
}

/// SYN, SYN-ACK and ACK of each flow.
pub(super) fn handshakes(flows: &[Flow]) -> Trace {
    let mut batch = Batch::new(SHORTEST, flows.len() * 3);
    for flow in flows {
        let mut syn = header(flow, Direction::Forward, CLIENT_START, 0);
        (syn.syn, syn.ack) = (true, false);
        let mut syn_ack = header(flow, Direction::Reply, SERVER_START, CLIENT_START + 1);
        syn_ack.syn = true;
        let ack = header(flow, Direction::Forward, CLIENT_START + 1, SERVER_START + 1);
        segment(&mut batch, flow, Direction::Forward, syn, &[]);
        segment(&mut batch, flow, Direction::Reply, syn_ack, &[]);
        segment(&mut batch, flow, Direction::Forward, ack, &[]);
    }
    batch.trace(&in_order(flows.len() * 3))
}

/// A frame of each direction of each flow, in random order. A TCP flow sends the same data over and over, within
/// its window, and the other side acknowledges it: valid for ever, as retransmissions are.
pub(super) fn steady(flows: &[Flow], protocol: Protocol, length: usize, seed: u64) -> Trace {
    let mut batch = Batch::new(length, flows.len() * 2);
    for flow in flows {
        match protocol {
            Protocol::Udp => {
                datagram(&mut batch, flow, Direction::Forward);
                datagram(&mut batch, flow, Direction::Reply);
            }
            Protocol::Tcp => {
                let data = vec![0x5a; length - TCP_HEADERS];
                let (client, server) = (CLIENT_START + 1, SERVER_START + 1);
                let forward = header(flow, Direction::Forward, client, server);
                let reply = header(flow, Direction::Reply, server, client + data.len() as u32);
                segment(&mut batch, flow, Direction::Forward, forward, &data);
                segment(&mut batch, flow, Direction::Reply, reply, &data);
            }
        }
    }
    let mut sequence = in_order(flows.len() * 2);
    Random::new(seed.rotate_left(32)).shuffle(&mut sequence);
    batch.trace(&sequence)
}

fn in_order(count: usize) -> Vec<u32> {
    (0..u32::try_from(count).expect("there are fewer than 2^32 frames")).collect()
}

/// An IP packet of the flow, in the VLAN of its sender, on its way to the gateway.
fn ip(flow: &Flow, direction: Direction) -> PacketBuilderStep<IpHeaders> {
    let (side, from, to) = match direction {
        Direction::Forward => (Side::CLIENTS, flow.client, flow.server),
        Direction::Reply => (Side::SERVERS, flow.server, flow.client),
    };
    let vlan = VlanId::try_new(side.vid).expect("a VLAN ID has twelve bits");
    PacketBuilder::ethernet2(mac_of(from).0, GATEWAY.0).single_vlan(vlan).ipv4(
        from.to_be_bytes(),
        to.to_be_bytes(),
        64,
    )
}

fn ports(flow: &Flow, direction: Direction) -> (u16, u16) {
    match direction {
        Direction::Forward => (flow.source, flow.destination),
        Direction::Reply => (flow.destination, flow.source),
    }
}

fn datagram(batch: &mut Batch, flow: &Flow, direction: Direction) {
    let (source, destination) = ports(flow, direction);
    let data = vec![0x5a; batch.length - UDP_HEADERS];
    batch.push(|frame| ip(flow, direction).udp(source, destination).write_to_vec(frame, &data));
}

/// The header of an acknowledgement.
fn header(flow: &Flow, direction: Direction, sequence: u32, acknowledged: u32) -> TcpHeader {
    let (source, destination) = ports(flow, direction);
    let mut header = TcpHeader::new(source, destination, sequence, WINDOW);
    (header.ack, header.acknowledgment_number) = (true, acknowledged);
    header
}

fn segment(batch: &mut Batch, flow: &Flow, direction: Direction, header: TcpHeader, data: &[u8]) {
    batch.push(|frame| ip(flow, direction).tcp_header(header).write_to_vec(frame, data));
}
