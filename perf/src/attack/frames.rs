//! Frames as they are written into the engine's memory, one at a time: tagged, with correct checksums.

use super::{Bench, Owner};
use crate::workload::{Flow, GATEWAY, Side, mac_of};

/// Bytes before the IP header.
const LINK: usize = 14 + 4;
/// Where the transport header begins.
const TRANSPORT: usize = LINK + 20;
/// The shortest frame without its FCS.
const SHORTEST: usize = 60;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

pub(super) const SYN: u8 = 0x02;
pub(super) const ACK: u8 = 0x10;

/// First sequence numbers of both ends.
const CLIENT: u32 = 1_000_000;
const SERVER: u32 = 2_000_000_000;

/// Which end of a flow sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    Client,
    Server,
}

/// The Internet checksum (RFC 1071) of some bytes, beginning with `sum`.
fn checksum(sum: u32, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
    let sum: u32 = sum + words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn put16(buffer: &mut [u8], at: usize, value: u16) {
    buffer[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put32(buffer: &mut [u8], at: usize, value: u32) {
    buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// An IPv4 header, its checksum included.
pub(super) fn ip_header(
    buffer: &mut [u8],
    protocol: u8,
    from: u32,
    to: u32,
    length: usize,
    fragment: (u16, u16),
) {
    buffer[..20].fill(0);
    buffer[0] = 0x45;
    put16(buffer, 2, (20 + length) as u16);
    put16(buffer, 4, fragment.0);
    put16(buffer, 6, fragment.1);
    (buffer[8], buffer[9]) = (64, protocol);
    put32(buffer, 12, from);
    put32(buffer, 16, to);
    let sum = checksum(0, &buffer[..20]);
    put16(buffer, 10, sum);
}

/// A frame from a host of `side` with `length` bytes above IP, which `write` fills; zeroed before. Identification
/// and fragment field are `fragment`; a packet in one piece has zeroes. Returns its length.
pub(super) fn packet(
    buffer: &mut [u8],
    side: Side,
    protocol: u8,
    (from, to): (u32, u32),
    fragment: (u16, u16),
    length: usize,
    write: impl FnOnce(&mut [u8]),
) -> usize {
    let whole = (TRANSPORT + length).max(SHORTEST);
    buffer[..6].copy_from_slice(&GATEWAY.0);
    buffer[6..12].copy_from_slice(&mac_of(from).0);
    put16(buffer, 12, 0x8100);
    put16(buffer, 14, side.vid);
    put16(buffer, 16, 0x0800);
    ip_header(&mut buffer[LINK..], protocol, from, to, length, fragment);
    buffer[TRANSPORT..whole].fill(0);
    write(&mut buffer[TRANSPORT..TRANSPORT + length]);
    whole
}

/// Sets the checksum of a TCP or UDP header.
pub(super) fn seal(bytes: &mut [u8], at: usize, protocol: u8, (from, to): (u32, u32)) {
    let halves = [from >> 16, from & 0xffff, to >> 16, to & 0xffff];
    let pseudo = halves.iter().sum::<u32>() + u32::from(protocol) + bytes.len() as u32;
    put16(bytes, at, 0);
    let sum = checksum(pseudo, bytes);
    // RFC 768: zero would say that there is none.
    put16(bytes, at, if sum == 0 && protocol == UDP { 0xffff } else { sum });
}

/// A segment of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) flow: Flow,
    pub(super) from: From,
    pub(super) flags: u8,
    /// Bytes of data.
    pub(super) data: usize,
    /// Sequence and acknowledgment number beyond the first ones of their senders.
    pub(super) at: (u32, u32),
}

/// Writes a segment.
pub(super) fn segment(buffer: &mut [u8], segment: &Segment) -> usize {
    let Segment { flow, from, flags, data, at } = *segment;
    let forth = ((flow.client, flow.source), (flow.server, flow.destination));
    let (side, (sender, receiver), starts) = match from {
        From::Client => (Side::CLIENTS, forth, (CLIENT, SERVER)),
        From::Server => (Side::SERVERS, (forth.1, forth.0), (SERVER, CLIENT)),
    };
    let addresses = (sender.0, receiver.0);
    packet(buffer, side, TCP, addresses, (0, 0), 20 + data, |bytes| {
        put16(bytes, 0, sender.1);
        put16(bytes, 2, receiver.1);
        put32(bytes, 4, starts.0 + at.0);
        put32(bytes, 8, if flags & ACK == 0 { 0 } else { starts.1 + at.1 });
        (bytes[12], bytes[13]) = (0x50, flags);
        put16(bytes, 14, 0xffff);
        seal(bytes, 16, TCP, addresses);
    })
}

/// A datagram header with its checksum, over all of `bytes`.
pub(super) fn datagram(bytes: &mut [u8], ports: (u16, u16), addresses: (u32, u32)) {
    put16(bytes, 0, ports.0);
    put16(bytes, 2, ports.1);
    put16(bytes, 4, bytes.len() as u16);
    seal(bytes, 6, UDP, addresses);
}

/// An ICMP header with its checksum, over all of `bytes`.
pub(super) fn icmp(bytes: &mut [u8], kind: u8, code: u8) {
    (bytes[0], bytes[1]) = (kind, code);
    put16(bytes, 2, 0);
    let sum = checksum(0, bytes);
    put16(bytes, 2, sum);
}

/// The first eight bytes of a TCP header, as an ICMP error quotes them.
pub(super) fn quoted_segment(bytes: &mut [u8], ports: (u16, u16), sequence: u32) {
    put16(bytes, 0, ports.0);
    put16(bytes, 2, ports.1);
    put32(bytes, 4, sequence);
}

/// Connections that were there before the flood, and go on. Each sends the same bytes over and over, within its
/// window, and the other side acknowledges them: valid for ever, as retransmissions are.
pub(super) struct Established<'a> {
    flows: &'a [Flow],
}

impl<'a> Established<'a> {
    pub(super) fn new(flows: &'a [Flow]) -> Established<'a> {
        Established { flows }
    }

    /// Bytes that each frame of an established connection carries: it is then as short as a frame can be.
    const DATA: usize = SHORTEST - TRANSPORT - 20;

    /// Opens them all.
    pub(super) fn open(&self, bench: &mut Bench) {
        let steps =
            [(From::Client, SYN, (0, 0)), (From::Server, SYN | ACK, (0, 1)), (From::Client, ACK, (1, 1))];
        for flow in self.flows {
            for (from, flags, at) in steps {
                let opening = Segment { flow: *flow, from, flags, data: 0, at };
                bench.push(Owner::Established, |buffer| segment(buffer, &opening));
                bench.run(|_, is_forwarded| assert!(is_forwarded, "{opening:?} is allowed"));
            }
        }
    }

    /// Writes the `number`th frame of all: each flow in turn, forth and then back.
    pub(super) fn write(&self, number: u64, buffer: &mut [u8]) -> usize {
        let count = self.flows.len() as u64;
        let flow = self.flows[(number % count) as usize];
        let from = if (number / count).is_multiple_of(2) { From::Client } else { From::Server };
        let heard = if from == From::Server { 1 + Self::DATA as u32 } else { 1 };
        segment(buffer, &Segment { flow, from, flags: ACK, data: Self::DATA, at: (1, heard) })
    }

    /// How many of them do not live any more, in one direction or the other.
    pub(super) fn lost(&self, bench: &mut Bench) -> u64 {
        let count = self.flows.len() as u64;
        let mut lost = 0;
        for number in 0..count {
            let mut is_alive = true;
            for direction in 0..2 {
                bench.push(Owner::Established, |buffer| self.write(direction * count + number, buffer));
                bench.run(|_, is_forwarded| is_alive &= is_forwarded);
            }
            lost += u64::from(!is_alive);
        }
        lost
    }
}
