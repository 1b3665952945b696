//! Takes an ordinary frame apart: at most one tag, IPv4 without options or fragment or IPv6 without extension headers,
//! and UDP, or TCP with ACK and neither SYN, FIN, RST nor URG.
//!
//! ```text
//!   MACs | (tag) | type | 45 .. DF .. TTL > 1, sum right | UDP: length and sum right
//!                       | 6. .. hop limit > 1            | TCP: header within, sum right, an ACK
//! ```
//!
//! It answers one question: is there nothing about the frame that the whole way would stop it for before its flow is
//! looked up? It may say no where the answer is yes: then the frame goes the whole way. Of other segments it tells the
//! flow, and nothing else. What hangs on addresses and
//! ports alone (a martian, port 0) is not looked at: the flow remembers that they passed.

use super::Notes;
use super::checksum::{SHORT, Sum};
use super::gates::{Gate, Gates};
use crate::arena::HEAD;
use classifier::addr::PortId;
use classifier::flow::{Domain, End, Key, KeyKind};
use classifier::wire::link::{HEADER, TAG, ethertype};
use classifier::wire::{TcpFlags, ipv4, ipv6};
use classifier::wire::{TcpSegment, protocol};

/// Of the first eight bytes of IPv4, as a number of little endian: version and length of the header, and of the flags
/// all but DF, with the fragment's place (RFC 791 §3.1); and how a packet of one piece without options has them.
const SHAPE: u64 = 0xffbf_0000_0000_00ff;
const PLAIN: u64 = 0x45;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
/// The flags that count, and how an ordinary segment has them.
const LOOKED_AT: u8 = TcpFlags::FIN | TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK | TcpFlags::URG;
const ORDINARY: u8 = TcpFlags::ACK;
/// And a first one.
const FIRST: u8 = TcpFlags::SYN;

/// What an ordinary frame is above IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// UDP.
    Datagram,
    /// TCP with ACK and neither SYN, FIN, RST nor URG.
    Acknowledgment,
    /// TCP with SYN and neither ACK, FIN, RST nor URG.
    Syn,
    /// Any other segment of TCP, or one that is not intact, of which only the flow is known: it goes the whole way.
    Segment,
}

impl Kind {
    /// Whether it may belong to a live flow and take the short way by that.
    #[inline]
    pub(super) fn follows(self) -> bool {
        (self as u8) < Kind::Syn as u8
    }

    /// Whether it may begin a flow.
    #[inline]
    pub(super) fn begins(self) -> bool {
        matches!(self, Kind::Datagram | Kind::Syn)
    }
}

/// Where things stand in an ordinary frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lean {
    /// The ingress VLAN.
    pub(super) gate: u16,
    /// The tag control information; 0 without a tag.
    pub(super) control: u16,
    /// Where the IP packet ends.
    pub(super) end: u16,
    /// Where it begins.
    pub(super) ip: u8,
    /// Where the upper layer begins.
    pub(super) upper: u8,
    /// What it is above IP.
    pub(super) kind: Kind,
    /// The end of the key that sent it.
    pub(super) sender: End,
}

impl Lean {
    pub(super) const NONE: Lean =
        Lean { gate: 0, control: 0, end: 0, ip: 0, upper: 0, kind: Kind::Segment, sender: End::First };

    /// Whether it has a tag.
    #[inline]
    pub(super) fn has_tag(&self) -> bool {
        usize::from(self.ip) != HEADER
    }

    /// Bytes of the IP packet.
    #[inline]
    pub(super) fn ip_length(&self) -> u16 {
        self.end - u16::from(self.ip)
    }
}

/// The key of a packet between these ends, each its address and below that its port, and which of them sent it: as
/// [`Key::of_ports`], in fewer steps.
#[inline(always)]
fn key_v4(domain: Domain, protocol: u8, source: u64, destination: u64) -> (Key<u32>, End) {
    let sender = if source <= destination { End::First } else { End::Second };
    let (first, second) = (source.min(destination), source.max(destination));
    let key = Key {
        first: (first >> 16) as u32,
        second: (second >> 16) as u32,
        first_port: first as u16,
        second_port: second as u16,
        domain,
        protocol,
        kind: KeyKind::Ports,
    };
    (key, sender)
}

#[inline]
fn word(head: &[u8; HEAD], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

#[inline]
fn low_long(head: &[u8; HEAD], at: usize) -> u64 {
    u64::from_le_bytes([
        head[at],
        head[at + 1],
        head[at + 2],
        head[at + 3],
        head[at + 4],
        head[at + 5],
        head[at + 6],
        head[at + 7],
    ])
}

#[inline]
fn wide(head: &[u8; HEAD], at: usize) -> u128 {
    u128::from(low_long(head, at).swap_bytes()) << 64 | u128::from(low_long(head, at + 8).swap_bytes())
}

/// Takes the frame of a lane apart, of which `head` is the beginning, and notes what it finds. Whether it
/// is an ordinary one.
#[inline]
pub(super) fn parse(
    head: &[u8; HEAD],
    frame: &[u8],
    gates: &Gates,
    port: PortId,
    notes: &mut Notes,
    lane: usize,
) -> Option<()> {
    // A frame that ends before what is read of it is refused further on: its IP packet would not fit.
    match word(head, 12) {
        ethertype::IPV4 => ip_v4::<HEADER>(head, frame, gates.on(port, 0), 0, notes, lane),
        ethertype::IPV6 => ip_v6::<HEADER>(head, frame, gates.on(port, 0), 0, notes, lane),
        ethertype::VLAN => {
            let control = word(head, 14);
            let gate = gates.on(port, control & 0xfff);
            match word(head, 16) {
                ethertype::IPV4 => ip_v4::<{ HEADER + TAG }>(head, frame, gate, control, notes, lane),
                ethertype::IPV6 => ip_v6::<{ HEADER + TAG }>(head, frame, gate, control, notes, lane),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What the gate says of the link header, and of the frame's length.
#[inline]
fn is_taken<const IP: usize>(head: &[u8; HEAD], frame: &[u8], gate: &Gate) -> bool {
    gate.takes(low_long(head, 0), low_long(head, 6)) && frame.len() <= gate.longest as usize + (IP - HEADER)
}

#[inline(always)]
fn ip_v4<const IP: usize>(
    head: &[u8; HEAD],
    frame: &[u8],
    gate: &Gate,
    control: u16,
    notes: &mut Notes,
    lane: usize,
) -> Option<()> {
    // Version to flags, TTL to source, destination to ports: the first in the low byte.
    let (start, middle, rest) = (low_long(head, IP), low_long(head, IP + 8), low_long(head, IP + 16));
    let total = usize::from(((start >> 16) as u16).swap_bytes());
    let end = IP + total;
    let is_plain = start & SHAPE == PLAIN
        && middle as u8 > 1
        && total >= ipv4::HEADER + UDP_HEADER
        && end <= frame.len();
    if !is_plain || !is_taken::<IP>(head, frame, gate) {
        return None;
    }
    let (from, to) = (middle >> 32, rest & 0xffff_ffff);
    if !Sum::ZERO.add(start).add(middle).add(to).is_intact() {
        return None;
    }
    let upper = IP + ipv4::HEADER;
    let ip_protocol = (middle >> 8) as u8;
    // Two numbers of 32 bits have no carry.
    let pseudo = Sum::ZERO.add(from + to);
    let kind = upper_layer(head, upper, ip_protocol, &frame[upper..end], pseudo, true)?;
    let (source_port, destination_port) = (rest >> 32 & 0xffff, rest >> 48);
    let source = (from | source_port << 32).swap_bytes() >> 16;
    let destination = (to | destination_port << 32).swap_bytes() >> 16;
    let (key, sender) = key_v4(gate.domain, ip_protocol, source, destination);
    let note = &mut notes.each[lane];
    note.key = key;
    note.lean = lean::<IP>(gate, control, upper, end, kind, sender);
    Some(())
}

#[inline(never)]
fn ip_v6<const IP: usize>(
    head: &[u8; HEAD],
    frame: &[u8],
    gate: &Gate,
    control: u16,
    notes: &mut Notes,
    lane: usize,
) -> Option<()> {
    let length = usize::from(word(head, IP + 4));
    let is_plain = head[IP] >> 4 == 6
        && head[IP + 7] > 1
        && length >= UDP_HEADER
        && IP + ipv6::HEADER + length <= frame.len();
    if !is_plain || !is_taken::<IP>(head, frame, gate) {
        return None;
    }
    let upper = IP + ipv6::HEADER;
    let pseudo = Sum::ZERO
        .add(low_long(head, IP + 8))
        .add(low_long(head, IP + 16))
        .add(low_long(head, IP + 24))
        .add(low_long(head, IP + 32));
    let bytes = &frame[upper..upper + length];
    let kind = upper_layer(head, upper, head[IP + 6], bytes, pseudo, false)?;
    let (source, destination) = (wide(head, IP + 8), wide(head, IP + 24));
    let ports = (word(head, upper), word(head, upper + 2));
    let (key, sender) = Key::of_ports(gate.domain, head[IP + 6], (source, ports.0), (destination, ports.1));
    notes.wide_keys[lane] = key;
    notes.v6.add(lane);
    notes.each[lane].lean = lean::<IP>(gate, control, upper, upper + length, kind, sender);
    Some(())
}

#[inline]
fn lean<const IP: usize>(
    gate: &Gate,
    control: u16,
    upper: usize,
    end: usize,
    kind: Kind,
    sender: End,
) -> Lean {
    // A frame is no longer than its gate allows, and an MTU has sixteen bits: `end` may pass them by a header, and
    // then a frame is not ordinary; see `upper_layer`.
    Lean { gate: gate.index.0, control, end: end as u16, ip: IP as u8, upper: upper as u8, kind, sender }
}

/// What the upper layer is; `None`: nothing ordinary. `bytes` is all of it, at least eight.
#[inline(always)]
fn upper_layer(
    head: &[u8; HEAD],
    upper: usize,
    ip_protocol: u8,
    bytes: &[u8],
    pseudo: Sum,
    is_v4: bool,
) -> Option<Kind> {
    // Longer than any MTU that is in use, and short enough for sixteen bits with the headers before it.
    const LONGEST: usize = 0xff00;
    if bytes.len() > LONGEST {
        return None;
    }
    match ip_protocol {
        protocol::UDP => {
            let length = usize::from(word(head, upper + 4));
            let datagram = if length >= UDP_HEADER { bytes.get(..length)? } else { return None };
            let has_sum = word(head, upper + 6) != 0;
            // RFC 768: without a checksum in IPv4. RFC 8200 §8.1 does not allow that in IPv6.
            let is_sound = if has_sum {
                let pseudo = pseudo.field(u16::from(protocol::UDP)).field(length as u16);
                sum(pseudo, head, upper, datagram).is_intact()
            } else {
                is_v4
            };
            is_sound.then_some(Kind::Datagram)
        }
        protocol::TCP => {
            let header = usize::from(head[upper + 12] >> 4) * 4;
            if bytes.len() < header || header < TCP_HEADER {
                return None;
            }
            let flags = head[upper + 13] & LOOKED_AT;
            if flags != ORDINARY && flags != FIRST {
                return Some(Kind::Segment);
            }
            let pseudo = pseudo.field(u16::from(protocol::TCP)).field(bytes.len() as u16);
            let is_intact = sum(pseudo, head, upper, bytes).is_intact();
            if flags == FIRST {
                return Some(if is_intact { Kind::Syn } else { Kind::Segment });
            }
            is_intact.then_some(Kind::Acknowledgment)
        }
        _ => None,
    }
}

/// Adds the bytes of the upper layer, which begin at that place of the head.
#[inline(always)]
fn sum(pseudo: Sum, head: &[u8; HEAD], upper: usize, bytes: &[u8]) -> Sum {
    if bytes.len() <= SHORT { pseudo.short(head, upper, bytes.len()) } else { pseudo.bytes(bytes) }
}

/// The segment of an ordinary frame of TCP.
#[inline]
pub(super) fn segment<'a>(head: &'a [u8; HEAD], lean: &Lean) -> TcpSegment<'a> {
    let upper = usize::from(lean.upper);
    let fixed = head[upper..].first_chunk::<TCP_HEADER>().expect("headers fit the head");
    let header = usize::from(fixed[12] >> 4) * 4;
    TcpSegment {
        flags: TcpFlags(fixed[13]),
        sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        acknowledgment: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        window: u16::from_be_bytes([fixed[14], fixed[15]]),
        // At most 18 bytes of Ethernet, 40 of IPv6 and 60 of TCP: less than the head.
        options: &head[upper + TCP_HEADER..upper + header],
        payload_length: lean.end - u16::from(lean.upper) - header as u16,
    }
}
