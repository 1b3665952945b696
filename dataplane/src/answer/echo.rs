//! Echo replies (RFC 792, RFC 4443 §4.2).

use super::LinkHeader;
use super::ip::{self, Ends};
use classifier::wire::checksum::Sum;
use classifier::wire::protocol;
use std::net::IpAddr;

/// Writes the reply to the echo request `request` (the ICMP message) that `asker` sent to `own`.
/// `None` where it does not fit, or the addresses are of two families.
pub(crate) fn echo_reply(
    out: &mut [u8],
    link: &LinkHeader,
    own: IpAddr,
    asker: IpAddr,
    request: &[u8],
) -> Option<usize> {
    const HEADERS: usize = 14 + 4 + 40;
    if HEADERS + request.len() > out.len() || request.len() < 8 {
        return None;
    }
    let ends = Ends { source: own, destination: asker };
    let (number, kind) = match own {
        IpAddr::V4(_) => (protocol::ICMP, 0),
        IpAddr::V6(_) => (protocol::ICMPV6, 129),
    };
    let at = ip::write(out, link, ends, number, None, request.len())?;
    let message = &mut out[at..at + request.len()];
    message.copy_from_slice(request);
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    let sum = match own {
        IpAddr::V4(_) => Sum::ZERO,
        IpAddr::V6(_) => ip::pseudo_header(ends, number, request.len()),
    };
    let checksum = sum.bytes(message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some(at + request.len())
}
