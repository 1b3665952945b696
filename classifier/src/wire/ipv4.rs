//! The IPv4 header (RFC 791 §3.1).
//!
//! Checked here: I01–I06, I11–I14, I08 and I10 as far as the address itself tells, and what of F01–F06 one
//! fragment shows alone. Not here: what depends on the VLAN (spoof guard, directed broadcasts).

use super::checksum::Sum;
use super::packet::{Addresses, Fragment, Packet};
use super::transport::protocol;
use super::upper;
use crate::reason::DropReason;

/// Bytes of a header without options.
pub const HEADER: usize = 20;

const RESERVED: u16 = 0x8000;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads the header at the start of `payload` into `packet`, and what follows it.
#[inline]
pub(super) fn parse(payload: &[u8], packet: &mut Packet) {
    if payload.len() < HEADER {
        packet.faults.add(DropReason::Runt);
        return;
    }
    let word = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    let long = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
    let header = usize::from(payload[0] & 0xf) * 4;
    let total = usize::from(word(2));
    let flags = word(6);
    packet.ttl = payload[8];
    packet.protocol = payload[9];
    let (source, destination) = (long(12), long(16));
    packet.addresses = Addresses::V4(source, destination);
    let is_malformed = payload[0] >> 4 != 4
        || header < HEADER
        || total < header
        || total > payload.len()
        || flags & RESERVED != 0
        || matches!(packet.protocol, 0 | 255)
        || !Sum::ZERO.bytes(&payload[..header]).is_intact();
    if is_malformed {
        packet.faults.add(DropReason::MalformedIp);
        return;
    }
    packet.faults.add_if(header > HEADER, DropReason::IpOptions);
    packet.faults.add_if(is_martian(source) || source == destination, DropReason::Martian);
    packet.end = u32::from(packet.link.payload) + total as u32;
    packet.upper_offset = u32::from(packet.link.payload) + header as u32;
    packet.upper_length = (total - header) as u16;
    let upper = &payload[header..total];
    if flags & (MORE_FRAGMENTS | OFFSET) == 0 {
        upper::parse(upper, packet, false);
    } else {
        parse_fragment(upper, flags, word(4), packet);
    }
}

fn parse_fragment(upper: &[u8], flags: u16, identification: u16, packet: &mut Packet) {
    let units = flags & OFFSET;
    let more = flags & MORE_FRAGMENTS != 0;
    let offset = u32::from(units) * 8;
    packet.fragment = Some(Fragment { offset: units * 8, more, identification: u32::from(identification) });
    let is_invalid = flags & DONT_FRAGMENT != 0
        || upper.is_empty()
        || (more && !upper.len().is_multiple_of(8))
        || offset as usize + packet.ip_length() > usize::from(u16::MAX)
        || (units == 1 && packet.protocol == protocol::TCP);
    packet.faults.add_if(is_invalid, DropReason::FragmentInvalid);
    if units == 0 {
        if upper::has_whole_header(packet.protocol, upper) {
            upper::parse(upper, packet, true);
        } else {
            packet.faults.add(DropReason::FragmentInvalid);
        }
    }
}

/// A source that no host on any network has: 0/8 (RFC 1122 §3.2.1.3), 127/8, 224/4 (RFC 5771), 240/4 and the
/// limited broadcast (RFC 1112 §4).
#[must_use]
#[inline]
pub fn is_martian(source: u32) -> bool {
    matches!(source >> 24, 0 | 127 | 224..=255)
}

/// A destination that nothing is forwarded to, multicast and the limited broadcast aside.
#[must_use]
#[inline]
pub fn is_bad_destination(destination: u32) -> bool {
    matches!(destination >> 24, 0 | 127 | 240..=255) && destination != u32::MAX
}

/// 224/4 (RFC 5771).
#[must_use]
#[inline]
pub fn is_multicast(address: u32) -> bool {
    address >> 28 == 0xe
}
