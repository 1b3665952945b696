//! The packet that an ICMP error quotes (RFC 792, RFC 4443 §2.4).
//!
//! A quotation counts only where it can be tied to a flow: a whole header, at least eight bytes above it, no later
//! fragment, no ICMP error, and addressed to where the error goes. Redirects and source quench are never followed.

use super::ipv6;
use super::packet::{Addresses, Kind, Packet};
use super::transport::{QuotedPacket, protocol};
use crate::flow::{Domain, FlowKey, KeyKind, Query};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the ICMP header before the quotation.
const ICMP_HEADER: usize = 8;
/// Least bytes of the quoted upper layer (RFC 792).
const LEAST_UPPER: usize = 8;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;

/// The packet that the ICMP error `icmp`, carried by `packet`, quotes.
pub(super) fn parse(packet: &Packet, icmp: &[u8], domain: Domain) -> Option<QuotedPacket> {
    if packet.kind == Kind::Ipv4 && matches!(icmp.first(), Some(&(SOURCE_QUENCH | REDIRECT))) {
        return None;
    }
    let quote = icmp.get(ICMP_HEADER..)?;
    let (source, destination, protocol, upper) = match packet.kind {
        Kind::Ipv4 => ipv4_quote(quote)?,
        Kind::Ipv6 => ipv6_quote(quote)?,
        Kind::Arp | Kind::Other => return None,
    };
    if upper.len() < LEAST_UPPER {
        return None;
    }
    let is_returned_to_sender = match (packet.addresses, source) {
        (Addresses::V4(_, to), IpAddr::V4(from)) => to == u32::from(from),
        (Addresses::V6(_, to), IpAddr::V6(from)) => to == u128::from(from),
        (Addresses::V4(..), IpAddr::V6(_)) | (Addresses::V6(..), IpAddr::V4(_)) => false,
    };
    if !is_returned_to_sender {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([upper[at], upper[at + 1]]);
    let (key, sender) = match (packet.kind, protocol) {
        (Kind::Ipv4, protocol::ICMP) => {
            let query = quoted_query(upper[0], word(4))?;
            FlowKey::of_query(domain, protocol, source, destination, query)
        }
        (Kind::Ipv6, protocol::ICMPV6) => {
            let is_request = match upper[0] {
                128 => true,
                129 => false,
                _ => return None,
            };
            let query = Query { kind: KeyKind::Echo, is_request, identifier: word(4) };
            FlowKey::of_query(domain, protocol, source, destination, query)
        }
        (_, protocol::TCP | protocol::UDP | protocol::SCTP) => {
            FlowKey::of_ports(domain, protocol, (source, word(0)), (destination, word(2)))
        }
        (Kind::Ipv4 | Kind::Ipv6 | Kind::Arp | Kind::Other, _) => {
            FlowKey::of_ports(domain, protocol, (source, 0), (destination, 0))
        }
    };
    let tcp_sequence =
        (protocol == protocol::TCP).then(|| u32::from_be_bytes(upper[4..8].try_into().expect("four bytes")));
    Some(QuotedPacket { key, sender, tcp_sequence })
}

fn quoted_query(kind: u8, identifier: u16) -> Option<Query> {
    let (key, is_request) = match kind {
        8 => (KeyKind::Echo, true),
        0 => (KeyKind::Echo, false),
        13 => (KeyKind::Timestamp, true),
        14 => (KeyKind::Timestamp, false),
        15 => (KeyKind::Information, true),
        16 => (KeyKind::Information, false),
        17 => (KeyKind::Mask, true),
        18 => (KeyKind::Mask, false),
        _ => return None,
    };
    Some(Query { kind: key, is_request, identifier })
}

type Quote<'a> = (IpAddr, IpAddr, u8, &'a [u8]);

fn ipv4_quote(quote: &[u8]) -> Option<Quote<'_>> {
    let fixed = quote.get(..super::ipv4::HEADER)?;
    let header = usize::from(fixed[0] & 0xf) * 4;
    let is_later_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff != 0;
    if fixed[0] >> 4 != 4 || header < super::ipv4::HEADER || is_later_fragment {
        return None;
    }
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&fixed[at..at + 4]).ok()?)));
    Some((address(12)?, address(16)?, fixed[9], quote.get(header..)?))
}

/// Follows at most [`ipv6::MOST_HEADERS`] extension headers.
fn ipv6_quote(quote: &[u8]) -> Option<Quote<'_>> {
    let fixed = quote.get(..ipv6::HEADER)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let address =
        |at: usize| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&fixed[at..at + 16]).ok()?)));
    let mut protocol = fixed[6];
    let mut rest = quote.get(ipv6::HEADER..)?;
    for _ in 0..=ipv6::MOST_HEADERS {
        let length = match protocol {
            0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            44 => {
                let place = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
                if place & 0xfff8 != 0 {
                    return None;
                }
                8
            }
            _ => return Some((address(8)?, address(24)?, protocol, rest)),
        };
        protocol = *rest.first()?;
        rest = rest.get(length..)?;
    }
    None
}
