//! Frames that the gateway makes itself: ARP and ND, echo replies, ICMP errors, TCP resets.
//!
//! Each function writes a whole frame into `out` and returns its length. Whether a frame is due, and whether
//! the rate limit allows it, is decided by the stages.

mod echo;
mod icmp;
mod ip;
mod neighbor;
mod reset;

pub(crate) use echo::echo_reply;
pub(crate) use icmp::{IcmpError, icmp_error};
pub(crate) use neighbor::{arp, neighbor_advertisement, neighbor_solicitation};
pub(crate) use reset::reset;

use classifier::addr::Mac;
use classifier::wire::link::{HEADER, TAG, ethertype};

/// Room that every answer but a large echo reply fits in: a tagged frame with an IPv6 packet of the least MTU
/// (RFC 8200 §5). A chunk of the arena must be at least this large.
pub const LARGEST: usize = HEADER + TAG + 1280;

/// The link header of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkHeader {
    /// To whom.
    pub(crate) destination: Mac,
    /// From whom.
    pub(crate) source: Mac,
    /// Tag control information, where the frame is tagged.
    pub(crate) tag: Option<u16>,
}

impl LinkHeader {
    /// Writes the header; where the payload begins.
    pub(crate) fn write(&self, out: &mut [u8], kind: u16) -> usize {
        out[..6].copy_from_slice(&self.destination.0);
        out[6..12].copy_from_slice(&self.source.0);
        let mut at = 12;
        if let Some(tag) = self.tag {
            out[12..14].copy_from_slice(&ethertype::VLAN.to_be_bytes());
            out[14..16].copy_from_slice(&tag.to_be_bytes());
            at = 16;
        }
        out[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        at + 2
    }
}

#[cfg(test)]
mod tests;
