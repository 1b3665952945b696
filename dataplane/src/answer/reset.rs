//! TCP resets in the name of a host that policy does not let be reached (RFC 9293 §3.10.7.1).

use super::LinkHeader;
use super::ip::{self, Ends};
use classifier::wire::{TcpFlags, TcpSegment, protocol};
use std::net::IpAddr;

const HEADER: usize = 20;

/// Writes the reset that answers `segment`, which went from `sender` to `refused` (address and port each).
/// `None` where the addresses are of two families.
pub(crate) fn reset(
    out: &mut [u8],
    link: &LinkHeader,
    refused: (IpAddr, u16),
    sender: (IpAddr, u16),
    segment: &TcpSegment<'_>,
) -> Option<usize> {
    let ends = Ends { source: refused.0, destination: sender.0 };
    let at = ip::write(out, link, ends, protocol::TCP, None, HEADER)?;
    let header = &mut out[at..at + HEADER];
    header.fill(0);
    header[..2].copy_from_slice(&refused.1.to_be_bytes());
    header[2..4].copy_from_slice(&sender.1.to_be_bytes());
    header[12] = (HEADER as u8 / 4) << 4;
    if segment.flags.ack() {
        header[4..8].copy_from_slice(&segment.acknowledgment.to_be_bytes());
        header[13] = TcpFlags::RST;
    } else {
        let length = u32::from(segment.payload_length)
            + u32::from(segment.flags.syn())
            + u32::from(segment.flags.fin());
        header[8..12].copy_from_slice(&segment.sequence.wrapping_add(length).to_be_bytes());
        header[13] = TcpFlags::RST | TcpFlags::ACK;
    }
    let checksum = ip::pseudo_header(ends, protocol::TCP, HEADER).bytes(header).checksum();
    header[16..18].copy_from_slice(&checksum.to_be_bytes());
    Some(at + HEADER)
}
