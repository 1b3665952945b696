//! The headers above IP: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, RFC 4443) and SCTP (RFC 9260).
//!
//! Of a first fragment only the header is checked: lengths and checksums are over data that is not here.

use super::checksum::Sum;
use super::ndp;
use super::packet::{Addresses, Kind, Packet, Upper};
use super::transport::{SctpChunk, SctpPacket, TcpFlags, protocol};
use crate::flow::{KeyKind, Query};
use crate::reason::DropReason;

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const ICMP_HEADER: usize = 8;
const SCTP_HEADER: usize = 12;
const SCTP_CHUNK_HEADER: usize = 4;
/// An INIT or INIT ACK chunk with its fixed parameters (RFC 9260 §3.3.2).
const SCTP_INIT: usize = 20;

/// Whether a first fragment holds the whole header of its upper layer (RFC 1858, RFC 7112).
pub(super) fn has_whole_header(protocol: u8, upper: &[u8]) -> bool {
    let needed = match protocol {
        protocol::TCP => match upper.get(12) {
            Some(offset) => (usize::from(offset >> 4) * 4).max(TCP_HEADER),
            None => TCP_HEADER,
        },
        protocol::UDP => UDP_HEADER,
        protocol::ICMP | protocol::ICMPV6 => ICMP_HEADER,
        protocol::SCTP => SCTP_HEADER,
        _ => 0,
    };
    upper.len() >= needed
}

/// Reads the upper layer into `packet`.
#[inline]
pub(super) fn parse(upper: &[u8], packet: &mut Packet, is_fragment: bool) {
    let is_sound = match (packet.kind, packet.protocol) {
        (_, protocol::TCP) => parse_tcp(upper, packet, is_fragment),
        (_, protocol::UDP) => parse_udp(upper, packet, is_fragment),
        (Kind::Ipv4, protocol::ICMP) => parse_icmp(upper, packet, is_fragment),
        (Kind::Ipv6, protocol::ICMPV6) => parse_icmpv6(upper, packet, is_fragment),
        (_, protocol::SCTP) => parse_sctp(upper, packet, is_fragment),
        (Kind::Other | Kind::Arp | Kind::Ipv4 | Kind::Ipv6, _) => {
            packet.upper = Upper::Other;
            true
        }
    };
    packet.faults.add_if(!is_sound, DropReason::MalformedL4);
}

#[inline]
fn parse_tcp(upper: &[u8], packet: &mut Packet, is_fragment: bool) -> bool {
    if upper.len() < TCP_HEADER {
        return false;
    }
    take_ports(upper, packet);
    let header = usize::from(upper[12] >> 4) * 4;
    if header < TCP_HEADER || header > upper.len() {
        return false;
    }
    let flags = TcpFlags(upper[13]);
    packet.upper = Upper::Tcp(flags);
    packet.faults.add_if(!flags.are_legal(), DropReason::TcpFlags);
    has_ports(packet)
        && (!flags.syn() || are_tcp_options_sound(&upper[TCP_HEADER..header]))
        && (is_fragment || pseudo_header(packet, upper.len()).bytes(upper).is_intact())
}

/// Whether every option has a length that fits (RFC 9293 §3.2).
fn are_tcp_options_sound(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    loop {
        match options {
            [] | [END, ..] => return true,
            [NO_OPERATION, rest @ ..] => options = rest,
            [_, length, ..] if *length >= 2 && usize::from(*length) <= options.len() => {
                options = &options[usize::from(*length)..];
            }
            [_, ..] => return false,
        }
    }
}

#[inline]
fn parse_udp(upper: &[u8], packet: &mut Packet, is_fragment: bool) -> bool {
    if upper.len() < UDP_HEADER {
        return false;
    }
    take_ports(upper, packet);
    packet.upper = Upper::Udp;
    let length = usize::from(u16::from_be_bytes([upper[4], upper[5]]));
    if !has_ports(packet) || length < UDP_HEADER {
        return false;
    }
    if is_fragment {
        return true;
    }
    let Some(datagram) = upper.get(..length) else { return false };
    match (packet.kind, [upper[6], upper[7]]) {
        // RFC 768: the sender made no checksum. RFC 8200 §8.1 does not allow that in IPv6.
        (Kind::Ipv4, [0, 0]) => true,
        (Kind::Ipv6, [0, 0]) => false,
        (Kind::Other | Kind::Arp | Kind::Ipv4 | Kind::Ipv6, _) => {
            pseudo_header(packet, length).bytes(datagram).is_intact()
        }
    }
}

fn parse_icmp(upper: &[u8], packet: &mut Packet, is_fragment: bool) -> bool {
    if upper.len() < ICMP_HEADER {
        return false;
    }
    let (kind, code) = take_icmp(upper, packet);
    packet.upper = match kind {
        0 | 8 => query(upper, KeyKind::Echo, kind == 8),
        13 | 14 => query(upper, KeyKind::Timestamp, kind == 13),
        15 | 16 => query(upper, KeyKind::Information, kind == 15),
        17 | 18 => query(upper, KeyKind::Mask, kind == 17),
        3 | 4 | 5 | 11 | 12 => Upper::IcmpError,
        _ => Upper::IcmpOther,
    };
    let is_code_right = !matches!(packet.upper, Upper::IcmpQuery(_)) || code == 0;
    is_code_right && (is_fragment || Sum::ZERO.bytes(upper).is_intact())
}

fn parse_icmpv6(upper: &[u8], packet: &mut Packet, is_fragment: bool) -> bool {
    if let [kind @ 133..=137, ..] = upper {
        packet.upper = Upper::Nd(*kind);
        let is_valid = ndp::is_valid(upper, packet);
        packet.faults.add_if(!is_valid, DropReason::NdInvalid);
        if ndp::may_come_from_nobody(*kind, packet) {
            packet.faults.remove(DropReason::Martian);
        }
    }
    if upper.len() < ICMP_HEADER {
        return false;
    }
    let (kind, code) = take_icmp(upper, packet);
    packet.upper = match kind {
        128 | 129 => query(upper, KeyKind::Echo, kind == 128),
        1..=4 => Upper::IcmpError,
        133..=137 => Upper::Nd(kind),
        _ => Upper::IcmpOther,
    };
    let is_code_right = !matches!(packet.upper, Upper::IcmpQuery(_)) || code == 0;
    is_code_right && (is_fragment || pseudo_header(packet, upper.len()).bytes(upper).is_intact())
}

fn parse_sctp(upper: &[u8], packet: &mut Packet, is_fragment: bool) -> bool {
    if upper.len() < SCTP_HEADER {
        return false;
    }
    take_ports(upper, packet);
    let long = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(field.try_into().ok()?))
    };
    let chunk = &upper[SCTP_HEADER..];
    let mut sctp = SctpPacket {
        tag: long(upper, 4).unwrap_or(0),
        first: SctpChunk::Other,
        is_only_chunk: true,
        is_tag_reflected: false,
    };
    packet.upper = Upper::Sctp(sctp);
    let [kind, flags, high, low, ..] = chunk else { return is_fragment && has_ports(packet) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    sctp.is_only_chunk = length.next_multiple_of(4) >= chunk.len();
    sctp.is_tag_reflected = flags & 1 != 0;
    let tag = || if length >= SCTP_INIT { long(chunk, SCTP_CHUNK_HEADER) } else { None };
    sctp.first = match kind {
        1 => tag().map_or(SctpChunk::Other, SctpChunk::Init),
        2 => tag().map_or(SctpChunk::Other, SctpChunk::InitAck),
        6 => SctpChunk::Abort,
        7 => SctpChunk::Shutdown,
        8 => SctpChunk::ShutdownAck,
        10 => SctpChunk::CookieEcho,
        11 => SctpChunk::CookieAck,
        14 => SctpChunk::ShutdownComplete,
        _ => SctpChunk::Other,
    };
    packet.upper = Upper::Sctp(sctp);
    if !has_ports(packet) || length < SCTP_CHUNK_HEADER {
        return false;
    }
    if is_fragment {
        return true;
    }
    let is_init = matches!(kind, 1 | 2);
    length <= chunk.len() && (!is_init || (length >= SCTP_INIT && is_crc_right(upper)))
}

/// RFC 9260 §6.8: CRC32c over the packet with the checksum field zero, least significant byte first.
fn is_crc_right(upper: &[u8]) -> bool {
    let sum = crc32c::crc32c(&upper[..8]);
    let sum = crc32c::crc32c_append(sum, &[0; 4]);
    let sum = crc32c::crc32c_append(sum, &upper[SCTP_HEADER..]);
    sum.to_le_bytes() == upper[8..SCTP_HEADER]
}

#[inline]
fn take_ports(upper: &[u8], packet: &mut Packet) {
    packet.source_port = u16::from_be_bytes([upper[0], upper[1]]);
    packet.destination_port = u16::from_be_bytes([upper[2], upper[3]]);
}

#[inline]
fn has_ports(packet: &Packet) -> bool {
    packet.source_port != 0 && packet.destination_port != 0
}

fn take_icmp(upper: &[u8], packet: &mut Packet) -> (u8, u8) {
    packet.source_port = 0;
    packet.destination_port = u16::from_be_bytes([upper[0], upper[1]]);
    (upper[0], upper[1])
}

fn query(upper: &[u8], kind: KeyKind, is_request: bool) -> Upper {
    Upper::IcmpQuery(Query { kind, is_request, identifier: u16::from_be_bytes([upper[4], upper[5]]) })
}

/// The pseudo header of RFC 9293 §3.1 and RFC 8200 §8.1.
#[inline]
fn pseudo_header(packet: &Packet, length: usize) -> Sum {
    let sum = match packet.addresses {
        Addresses::V4(source, destination) => Sum::ZERO.v4(source).v4(destination),
        Addresses::V6(source, destination) => Sum::ZERO.v6(source).v6(destination),
    };
    sum.word(u16::from(packet.protocol)).word(length as u16)
}
