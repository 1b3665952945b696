//! The IPv6 header and its chain of extension headers (RFC 8200 §3 and §4).
//!
//! The whole chain is walked even behind a fault, since a routing header or a protocol that is reserved is
//! reported before a chain that is merely bad.
//!
//! ```text
//!   IPv6 | hop-by-hop | destination | routing | fragment | destination | upper layer
//!          first only   twice at most  refused  once
//! ```

use super::packet::{Addresses, Fragment, Packet};
use super::upper;
use crate::reason::DropReason;

/// Bytes of the fixed header.
pub const HEADER: usize = 40;

/// Most extension headers in a chain.
pub const MOST_HEADERS: u32 = 4;
/// Most bytes of extension headers in a chain.
pub const MOST_BYTES: usize = 256;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const FRAGMENT_HEADER: usize = 8;
const NO_NEXT: u8 = 59;
const DESTINATION: u8 = 60;

const OPTION_PAD1: u8 = 0;

/// Reads the header at the start of `payload` into `packet`, and what follows it.
#[inline]
pub(super) fn parse(payload: &[u8], packet: &mut Packet) {
    if payload.len() < HEADER {
        packet.faults.add(DropReason::Runt);
        return;
    }
    let address = |at: usize| u128::from_be_bytes(payload[at..at + 16].try_into().expect("sixteen bytes"));
    let length = usize::from(u16::from_be_bytes([payload[4], payload[5]]));
    packet.protocol = payload[6];
    packet.ttl = payload[7];
    let (source, destination) = (address(8), address(24));
    packet.addresses = Addresses::V6(source, destination);
    if payload[0] >> 4 != 6 || HEADER + length > payload.len() {
        packet.faults.add(DropReason::MalformedIp);
        return;
    }
    packet.faults.add_if(is_martian(source) || source == destination, DropReason::Martian);
    packet.end = u32::from(packet.link.payload) + (HEADER + length) as u32;
    let body = &payload[HEADER..HEADER + length];
    let chain = Chain::walk(packet.protocol, body, &mut packet.faults);
    packet.protocol = chain.protocol;
    packet.fragment = chain.fragment;
    packet.upper_offset = u32::from(packet.link.payload) + (HEADER + chain.length) as u32;
    packet.upper_length = (length - chain.length) as u16;
    if !chain.is_whole {
        return;
    }
    let upper = &body[chain.length..];
    packet.faults.add_if(chain.protocol == 255, DropReason::MalformedIp);
    packet.faults.add_if(chain.protocol == NO_NEXT, DropReason::Ipv6Extension);
    match chain.fragment {
        None => upper::parse(upper, packet, false),
        Some(fragment) => parse_fragment(&body[chain.fragment_data..], upper, fragment, packet),
    }
}

fn parse_fragment(data: &[u8], upper: &[u8], fragment: Fragment, packet: &mut Packet) {
    let is_invalid = (fragment.more && (data.is_empty() || !data.len().is_multiple_of(8)))
        || usize::from(fragment.offset) + packet.ip_length() - HEADER - FRAGMENT_HEADER
            > usize::from(u16::MAX);
    packet.faults.add_if(is_invalid, DropReason::FragmentInvalid);
    if fragment.offset == 0 {
        if upper::has_whole_header(packet.protocol, upper) {
            upper::parse(upper, packet, true);
        } else {
            packet.faults.add(DropReason::Ipv6Extension);
        }
    }
}

/// What a walk along the chain has found.
#[derive(Default)]
struct Chain {
    protocol: u8,
    /// Bytes of the chain.
    length: usize,
    /// Whether it was walked to its end.
    is_whole: bool,
    fragment: Option<Fragment>,
    /// Where the data behind the fragment header begins.
    fragment_data: usize,
}

impl Chain {
    fn walk(first: u8, body: &[u8], faults: &mut super::Faults) -> Chain {
        let mut chain = Chain { protocol: first, ..Chain::default() };
        let (mut headers, mut destinations, mut routings, mut fragments) = (0_u32, 0_u32, 0_u32, 0_u32);
        loop {
            let kind = chain.protocol;
            if !matches!(kind, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
                chain.is_whole = true;
                break;
            }
            match kind {
                HOP_BY_HOP => faults.add_if(headers > 0, DropReason::Ipv6Extension),
                ROUTING => {
                    routings += 1;
                    faults.add(DropReason::IpOptions);
                    faults.add_if(routings > 1, DropReason::Ipv6Extension);
                }
                FRAGMENT => {
                    fragments += 1;
                    if fragments > 1 {
                        // What is behind a fragment in a fragment is nobody's header.
                        faults.add(DropReason::FragmentInvalid);
                        break;
                    }
                }
                _ => {
                    destinations += 1;
                    faults.add_if(destinations > 2, DropReason::Ipv6Extension);
                }
            }
            headers += 1;
            let rest = &body[chain.length..];
            let length = match (kind, rest) {
                (FRAGMENT, _) => FRAGMENT_HEADER,
                (_, [_, units, ..]) => (usize::from(*units) + 1) * 8,
                (_, [] | [_]) => usize::MAX,
            };
            let Some(header) = rest.get(..length) else {
                faults.add(DropReason::Ipv6Extension);
                break;
            };
            chain.protocol = header[0];
            chain.length += length;
            let is_over = headers > MOST_HEADERS || chain.length > MOST_BYTES;
            faults.add_if(is_over, DropReason::Ipv6Extension);
            if matches!(kind, HOP_BY_HOP | DESTINATION) {
                faults.add_if(!are_options_known(&header[2..]), DropReason::Ipv6Extension);
            }
            if kind == FRAGMENT && chain.take_fragment(header) {
                chain.is_whole = true;
                break;
            }
        }
        chain
    }

    /// Notes the place of a fragment; whether nothing behind it can be read. An atomic fragment (RFC 6946) is no fragment.
    fn take_fragment(&mut self, header: &[u8]) -> bool {
        let place = u16::from_be_bytes([header[2], header[3]]);
        let fragment = Fragment {
            offset: place & 0xfff8,
            more: place & 1 != 0,
            identification: u32::from_be_bytes(header[4..8].try_into().expect("four bytes")),
        };
        if fragment.offset != 0 || fragment.more {
            self.fragment = Some(fragment);
            self.fragment_data = self.length;
        }
        fragment.offset != 0
    }
}

/// Whether every option fits and may be skipped by a node that does not know it (RFC 8200 §4.2): the two
/// highest bits of its type are zero. The jumbo payload option (RFC 2675) is not of these.
fn are_options_known(mut options: &[u8]) -> bool {
    const ACTION: u8 = 0xc0;
    loop {
        match options {
            [] => return true,
            [OPTION_PAD1, rest @ ..] => options = rest,
            [kind, length, rest @ ..] => {
                if kind & ACTION != 0 || rest.len() < usize::from(*length) {
                    return false;
                }
                options = &rest[usize::from(*length)..];
            }
            [_] => return false,
        }
    }
}

/// A source that no host has: unspecified, loopback, multicast, v4-mapped (RFC 4291 §2.5, §2.7).
#[must_use]
#[inline]
pub fn is_martian(source: u128) -> bool {
    source >> 120 == 0xff || is_bad_destination(source)
}

/// A destination that nothing is forwarded to, multicast aside: unspecified, loopback, v4-mapped.
#[must_use]
#[inline]
pub fn is_bad_destination(destination: u128) -> bool {
    destination <= 1 || destination >> 32 == 0xffff
}

/// ff00::/8 (RFC 4291 §2.7).
#[must_use]
#[inline]
pub fn is_multicast(address: u128) -> bool {
    address >> 120 == 0xff
}

/// fe80::/10 (RFC 4291 §2.5.6).
#[must_use]
#[inline]
pub fn is_link_local(address: u128) -> bool {
    address >> 118 == 0x3fa
}
