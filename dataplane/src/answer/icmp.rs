//! ICMP and ICMPv6 errors (RFC 792, RFC 4443).

use super::LinkHeader;
use super::ip::{self, Ends};
use classifier::wire::checksum::Sum;
use classifier::wire::{ipv4, ipv6, protocol};
use std::net::IpAddr;

/// Most bytes of an ICMPv4 error (RFC 1812 §4.3.2.3).
const MOST_V4: usize = 576;
/// Most bytes of an ICMPv6 error (RFC 4443 §2.4 c).
const MOST_V6: usize = 1280;
const ICMP_HEADER: usize = 8;

/// What an ICMP error tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IcmpError {
    /// The TTL ran out.
    TimeExceeded,
    /// There is no route.
    NoRoute,
    /// The neighbor does not answer.
    HostUnreachable,
    /// The policy rejects it (RFC 1812 §5.2.7.1, RFC 4443 §3.1).
    Prohibited,
    /// It is over this MTU (RFC 1191, RFC 8201).
    TooBig(u16),
}

impl IcmpError {
    const fn v4(self) -> (u8, u8) {
        match self {
            IcmpError::TimeExceeded => (11, 0),
            IcmpError::NoRoute => (3, 0),
            IcmpError::HostUnreachable => (3, 1),
            IcmpError::Prohibited => (3, 13),
            IcmpError::TooBig(_) => (3, 4),
        }
    }

    const fn v6(self) -> (u8, u8) {
        match self {
            IcmpError::TimeExceeded => (3, 0),
            IcmpError::NoRoute => (1, 0),
            IcmpError::HostUnreachable => (1, 3),
            IcmpError::Prohibited => (1, 1),
            IcmpError::TooBig(_) => (2, 0),
        }
    }
}

/// Writes an ICMP error that quotes the IP packet `quoted`, as much of it as fits.
/// `None` where the addresses are of two families.
pub(crate) fn icmp_error(
    out: &mut [u8],
    link: &LinkHeader,
    source: IpAddr,
    destination: IpAddr,
    error: IcmpError,
    quoted: &[u8],
) -> Option<usize> {
    let ends = Ends { source, destination };
    let (number, most, (kind, code)) = match source {
        IpAddr::V4(_) => (protocol::ICMP, MOST_V4 - ipv4::HEADER, error.v4()),
        IpAddr::V6(_) => (protocol::ICMPV6, MOST_V6 - ipv6::HEADER, error.v6()),
    };
    let quote = &quoted[..quoted.len().min(most - ICMP_HEADER)];
    let length = ICMP_HEADER + quote.len();
    let at = ip::write(out, link, ends, number, None, length)?;
    let message = &mut out[at..at + length];
    message[..ICMP_HEADER].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
    if let IcmpError::TooBig(mtu) = error {
        // RFC 1191 §4 and RFC 4443 §3.2 both have the MTU in the last two bytes here.
        message[6..8].copy_from_slice(&mtu.to_be_bytes());
    }
    message[ICMP_HEADER..].copy_from_slice(quote);
    let sum = match source {
        IpAddr::V4(_) => Sum::ZERO,
        IpAddr::V6(_) => ip::pseudo_header(ends, number, length),
    };
    let checksum = sum.bytes(message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(at + length)
}
