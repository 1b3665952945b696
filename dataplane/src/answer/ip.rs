//! The IP header of an answer.

use super::LinkHeader;
use classifier::wire::checksum::Sum;
use classifier::wire::link::ethertype;
use classifier::wire::{ipv4, ipv6};
use std::net::IpAddr;

/// TTL and hop limit of what the gateway sends (RFC 1700, "IP parameters").
const TTL: u8 = 64;

/// Who talks to whom; both addresses are of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

/// Writes link and IP header for a payload of `length` bytes; where the payload begins. `None` where the
/// families differ.
pub(super) fn write(
    out: &mut [u8],
    link: &LinkHeader,
    ends: Ends,
    protocol: u8,
    hop_limit: Option<u8>,
    length: usize,
) -> Option<usize> {
    let ttl = hop_limit.unwrap_or(TTL);
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let at = link.write(out, ethertype::IPV4);
            let total = (ipv4::HEADER + length) as u16;
            let header = &mut out[at..at + ipv4::HEADER];
            header.fill(0);
            header[0] = 0x45;
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[6] = 0x40;
            header[8] = ttl;
            header[9] = protocol;
            header[12..16].copy_from_slice(&source.octets());
            header[16..20].copy_from_slice(&destination.octets());
            let checksum = Sum::ZERO.bytes(header).checksum();
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            Some(at + ipv4::HEADER)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let at = link.write(out, ethertype::IPV6);
            let header = &mut out[at..at + ipv6::HEADER];
            header[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
            header[6] = protocol;
            header[7] = ttl;
            header[8..24].copy_from_slice(&source.octets());
            header[24..40].copy_from_slice(&destination.octets());
            Some(at + ipv6::HEADER)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The sum over the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
pub(super) fn pseudo_header(ends: Ends, protocol: u8, length: usize) -> Sum {
    let sum = match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Sum::ZERO.v4(source.into()).v4(destination.into()),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Sum::ZERO.v6(source.into()).v6(destination.into()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Sum::ZERO,
    };
    sum.word(u16::from(protocol)).word(length as u16)
}
