//! Neighbor discovery (RFC 4861).
//!
//! Router advertisements and redirects are refused on every VLAN: a gateway has no use for them, and hosts
//! take orders from them (RFC 6105). So is anything in fragments (RFC 6980).

use super::packet::{Addresses, Packet};
use crate::addr::Mac;

/// Router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// Neighbor solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// Neighbor advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// The hop limit that shows that no router forwarded the packet.
pub const HOP_LIMIT: u8 = 255;

/// Bytes of a solicitation or an advertisement of a neighbor before its options.
const NEIGHBOR_HEADER: usize = 24;
/// Bytes of a router solicitation before its options.
const SOLICITATION_HEADER: usize = 8;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// A neighbor solicitation or advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbor {
    /// It asks; else it answers.
    pub is_solicitation: bool,
    /// The address that it asks for or tells of.
    pub target: u128,
    /// Advertisement: an answer to a solicitation.
    pub is_solicited: bool,
    /// Advertisement: replace what is known.
    pub is_override: bool,
    /// The source (solicitation) or target (advertisement) link-layer address.
    pub mac: Option<Mac>,
}

/// Whether an ND message is as RFC 4861 §6.1 and §7.1 ask, and of a kind that hosts send. The checksum is not looked at.
pub(super) fn is_valid(upper: &[u8], packet: &Packet) -> bool {
    let Addresses::V6(source, _) = packet.addresses else { return false };
    if packet.ttl != HOP_LIMIT || upper.get(1) != Some(&0) || packet.fragment.is_some() {
        return false;
    }
    match upper[0] {
        ROUTER_SOLICITATION => {
            let Some(options) = upper.get(SOLICITATION_HEADER..) else { return false };
            are_options_sound(options) && (source != 0 || find(options, SOURCE_LINK_LAYER).is_none())
        }
        NEIGHBOR_SOLICITATION => {
            let Some(options) = upper.get(NEIGHBOR_HEADER..) else { return false };
            are_options_sound(options) && (source != 0 || find(options, SOURCE_LINK_LAYER).is_none())
        }
        NEIGHBOR_ADVERTISEMENT => {
            let Some(options) = upper.get(NEIGHBOR_HEADER..) else { return false };
            are_options_sound(options)
        }
        _ => false,
    }
}

/// Whether an unspecified source is right: a host that has no address yet asks for routers, or whether the address
/// that it wants is taken (RFC 4861 §4.1 and §4.3).
pub(super) fn may_come_from_nobody(kind: u8, packet: &Packet) -> bool {
    matches!(packet.addresses, Addresses::V6(0, _))
        && matches!(kind, ROUTER_SOLICITATION | NEIGHBOR_SOLICITATION)
}

impl Neighbor {
    /// A neighbor message that is free of faults; `None` for the other kinds.
    #[must_use]
    pub fn parse(upper: &[u8]) -> Option<Neighbor> {
        let is_solicitation = match *upper.first()? {
            NEIGHBOR_SOLICITATION => true,
            NEIGHBOR_ADVERTISEMENT => false,
            _ => return None,
        };
        let options = upper.get(NEIGHBOR_HEADER..)?;
        Some(Neighbor {
            is_solicitation,
            target: target(upper),
            is_solicited: !is_solicitation && upper[4] & 0x40 != 0,
            is_override: !is_solicitation && upper[4] & 0x20 != 0,
            mac: find(options, if is_solicitation { SOURCE_LINK_LAYER } else { TARGET_LINK_LAYER }),
        })
    }
}

/// The multicast address that the owner of `address` listens on (RFC 4291 §2.7.1).
#[must_use]
pub fn solicited_node(address: u128) -> u128 {
    0xff02_0000_0000_0000_0000_0001_ff00_0000 | (address & 0xff_ffff)
}

fn target(upper: &[u8]) -> u128 {
    u128::from_be_bytes(upper[8..24].try_into().expect("sixteen bytes"))
}

fn are_options_sound(mut options: &[u8]) -> bool {
    while let [_, units, ..] = options {
        let length = usize::from(*units) * 8;
        if length == 0 || length > options.len() {
            return false;
        }
        options = &options[length..];
    }
    options.is_empty()
}

fn find(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while let [kind, units, ..] = options {
        let length = usize::from(*units) * 8;
        if length == 0 || length > options.len() {
            return None;
        }
        if *kind == wanted {
            return Some(Mac(options[2..8].try_into().ok()?));
        }
        options = &options[length..];
    }
    None
}
