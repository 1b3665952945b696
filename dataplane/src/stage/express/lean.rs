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

use super::checksum::{SHORT, Sum};
use super::gates::{Gate, Gates};
use super::{Note, Notes};
use crate::arena::HEAD;
use classifier::addr::PortId;
use classifier::flow::{Domain, End, Key, KeyKind};
use classifier::wire::link::{HEADER, TAG, ethertype};
use classifier::wire::{TcpFlags, ipv4, ipv6};
use classifier::wire::{TcpSegment, protocol};

/// What the eight bytes behind the MACs are, as a number of little endian, where a tag and IPv4 without options follow (IEEE
/// 802.1Q §9.6, RFC 791 §3.1), and which bits of them that is told by: not the tag's control, nor the type of service.
const TAGGED_V4: u64 = 0x0045_0008_0000_0081;
const TAGGED: u64 = 0x00ff_ffff_0000_ffff;
/// The same without a tag.
const UNTAGGED_V4: u64 = 0x0045_0008;
const UNTAGGED: u64 = 0x00ff_ffff;
/// Of IPv4's flags all but DF, with the fragment's place: nothing of them in a packet of one piece.
const IN_PIECES: u16 = 0xbfff;
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
    /// How many there are.
    pub(super) const ALL: usize = 4;
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

/// As it stands there, the first in the low byte.
#[inline]
fn low_word(head: &[u8; HEAD], at: usize) -> u16 {
    u16::from_le_bytes([head[at], head[at + 1]])
}

#[inline]
fn low_half(head: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
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

/// A frame to be taken apart: its beginning, and how many bytes it has.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) head: &'a [u8; HEAD],
    pub(super) length: usize,
}

/// Takes the frame of a lane apart, and notes what it finds; what it is, if it is an ordinary one. `bytes` gives all of the
/// frame, which few need.
#[inline(always)]
pub(super) fn parse<'a>(
    reading: Reading<'a>,
    bytes: impl Fn() -> &'a [u8],
    (gates, port): (&Gates, PortId),
    notes: &mut Notes,
    lane: usize,
) -> Option<Kind> {
    // A frame that ends before what is read of it is refused further on: its IP packet would not fit.
    let behind_macs = low_long(reading.head, 12);
    if behind_macs & TAGGED == TAGGED_V4 {
        let control = ((behind_macs >> 16) as u16).swap_bytes();
        let gate = gates.on(port, control & 0xfff);
        ip_v4::<{ HEADER + TAG }>(reading, bytes, gate, control, &mut notes.each[lane])
    } else if behind_macs & UNTAGGED == UNTAGGED_V4 {
        ip_v4::<HEADER>(reading, bytes, gates.on(port, 0), 0, &mut notes.each[lane])
    } else {
        others(reading.head, bytes(), (gates, port), notes, lane)
    }
}

#[inline(never)]
fn others(
    head: &[u8; HEAD],
    bytes: &[u8],
    (gates, port): (&Gates, PortId),
    notes: &mut Notes,
    lane: usize,
) -> Option<Kind> {
    let reading = Reading { head, length: bytes.len() };
    match word(head, 12) {
        ethertype::IPV6 => ip_v6::<HEADER>(reading, bytes, gates.on(port, 0), 0, notes, lane),
        ethertype::VLAN if word(head, 16) == ethertype::IPV6 => {
            let control = word(head, 14);
            ip_v6::<{ HEADER + TAG }>(reading, bytes, gates.on(port, control & 0xfff), control, notes, lane)
        }
        _ => None,
    }
}

/// What the gate says of the link header, and of the frame's length.
#[inline(always)]
fn is_taken<const IP: usize>(reading: Reading<'_>, gate: &Gate) -> bool {
    let Reading { head, length } = reading;
    gate.takes(low_long(head, 0), low_long(head, 6)) && length <= gate.longest as usize + (IP - HEADER)
}

#[inline(always)]
fn ip_v4<'a, const IP: usize>(
    reading: Reading<'a>,
    bytes: impl Fn() -> &'a [u8],
    gate: &Gate,
    control: u16,
    note: &mut Note,
) -> Option<Kind> {
    let head = reading.head;
    if !is_taken::<IP>(reading, gate) {
        return None;
    }
    // What is written of a frame that is found not to be an ordinary one is never read. Written at once, it takes no
    // registers.
    (note.lean.gate, note.lean.control, note.key.domain) = (gate.index.0, control, gate.domain);
    let total = usize::from(word(head, IP + 2));
    let end = IP + total;
    let is_plain = low_word(head, IP + 6) & IN_PIECES.swap_bytes() == 0
        && head[IP + 8] > 1
        && total >= ipv4::HEADER + UDP_HEADER
        && end <= reading.length;
    if !is_plain {
        return None;
    }
    // A frame is no longer than its gate allows, and an MTU has sixteen bits: `end` may pass them by a header, and
    // then a frame is not ordinary; see `upper_layer`.
    (note.lean.ip, note.lean.end) = (IP as u8, end as u16);
    let upper = IP + ipv4::HEADER;
    note.lean.upper = upper as u8;
    let (start, middle) = (low_long(head, IP), low_half(head, IP + 8));
    let addresses = Sum::ZERO.add(low_long(head, IP + 12));
    // Neither this sum nor the next is of zeroes alone: there is a version in it, or a protocol.
    if !addresses.add(start).add(u64::from(middle)).is_multiple() {
        return None;
    }
    let ip_protocol = head[IP + 9];
    let length = total - ipv4::HEADER;
    let kind = upper_layer(head, bytes, (upper, length), ip_protocol, addresses, true)?;
    note.lean.kind = kind;
    let of_source = u64::from(low_half(head, IP + 12)) | u64::from(low_word(head, upper)) << 32;
    let of_destination = u64::from(low_half(head, IP + 16)) | u64::from(low_word(head, upper + 2)) << 32;
    let (source, destination) = (of_source.swap_bytes() >> 16, of_destination.swap_bytes() >> 16);
    (note.key, note.lean.sender) = key_v4(note.key.domain, ip_protocol, source, destination);
    Some(kind)
}

#[inline(always)]
fn ip_v6<const IP: usize>(
    reading: Reading<'_>,
    bytes: &[u8],
    gate: &Gate,
    control: u16,
    notes: &mut Notes,
    lane: usize,
) -> Option<Kind> {
    let head = reading.head;
    let length = usize::from(word(head, IP + 4));
    let is_plain = head[IP] >> 4 == 6
        && head[IP + 7] > 1
        && length >= UDP_HEADER
        && IP + ipv6::HEADER + length <= reading.length;
    if !is_plain || !is_taken::<IP>(reading, gate) {
        return None;
    }
    let upper = IP + ipv6::HEADER;
    let pseudo = Sum::ZERO
        .add(low_long(head, IP + 8))
        .add(low_long(head, IP + 16))
        .add(low_long(head, IP + 24))
        .add(low_long(head, IP + 32));
    let kind = upper_layer(head, || bytes, (upper, length), head[IP + 6], pseudo, false)?;
    let (source, destination) = (wide(head, IP + 8), wide(head, IP + 24));
    let ports = (word(head, upper), word(head, upper + 2));
    let (key, sender) = Key::of_ports(gate.domain, head[IP + 6], (source, ports.0), (destination, ports.1));
    notes.wide_keys[lane] = key;
    notes.v6.add(lane);
    // As for IPv4, `end` is right where a frame is ordinary.
    notes.each[lane].lean = Lean {
        gate: gate.index.0,
        control,
        end: (upper + length) as u16,
        ip: IP as u8,
        upper: upper as u8,
        kind,
        sender,
    };
    Some(kind)
}

/// What the upper layer is, of so many bytes from a place of the frame on, at least eight; `None`: nothing ordinary.
#[inline(always)]
fn upper_layer<'a>(
    head: &[u8; HEAD],
    bytes: impl Fn() -> &'a [u8],
    (upper, length): (usize, usize),
    ip_protocol: u8,
    pseudo: Sum,
    is_v4: bool,
) -> Option<Kind> {
    // Longer than any MTU that is in use, and short enough for sixteen bits with the headers before it.
    const LONGEST: usize = 0xff00;
    if length > LONGEST {
        return None;
    }
    match ip_protocol {
        protocol::UDP => {
            let said = usize::from(word(head, upper + 4));
            if said < UDP_HEADER || said > length {
                return None;
            }
            let has_sum = low_word(head, upper + 6) != 0;
            // RFC 768: without a checksum in IPv4. RFC 8200 §8.1 does not allow that in IPv6.
            let is_sound = if has_sum {
                let pseudo = pseudo.field(u16::from(protocol::UDP)).field(said as u16);
                sum(head, bytes, pseudo, (upper, said)).is_multiple()
            } else {
                is_v4
            };
            is_sound.then_some(Kind::Datagram)
        }
        protocol::TCP => {
            let header = usize::from(head[upper + 12] >> 4) * 4;
            if length < header || header < TCP_HEADER {
                return None;
            }
            let flags = head[upper + 13] & LOOKED_AT;
            if flags != ORDINARY && flags != FIRST {
                return Some(Kind::Segment);
            }
            let pseudo = pseudo.field(u16::from(protocol::TCP)).field(length as u16);
            let is_intact = sum(head, bytes, pseudo, (upper, length)).is_multiple();
            if flags == FIRST {
                return Some(if is_intact { Kind::Syn } else { Kind::Segment });
            }
            is_intact.then_some(Kind::Acknowledgment)
        }
        _ => None,
    }
}

/// Adds so many bytes from a place of the frame on, which it has.
#[inline(always)]
fn sum<'a>(
    head: &[u8; HEAD],
    bytes: impl Fn() -> &'a [u8],
    pseudo: Sum,
    (at, length): (usize, usize),
) -> Sum {
    if length <= SHORT { pseudo.short(head, at, length) } else { long_sum(pseudo, &bytes()[at..at + length]) }
}

#[inline(never)]
fn long_sum(pseudo: Sum, bytes: &[u8]) -> Sum {
    pseudo.bytes(bytes)
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
