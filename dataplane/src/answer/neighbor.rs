//! ARP and neighbor discovery: requests and answers.

use super::LinkHeader;
use super::ip::{self, Ends};
use classifier::addr::Mac;
use classifier::wire::arp::{self, Arp};
use classifier::wire::link::ethertype;
use classifier::wire::{ndp, protocol};
use std::net::{IpAddr, Ipv6Addr};

const TARGET_LINK_LAYER: u8 = 2;
const SOURCE_LINK_LAYER: u8 = 1;
/// Router, solicited, override (RFC 4861 §4.4).
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// A neighbor message with one link-layer address option.
const LENGTH: usize = 32;

/// Writes an ARP packet.
pub(crate) fn arp(out: &mut [u8], link: &LinkHeader, packet: &Arp) -> usize {
    let at = link.write(out, ethertype::ARP);
    packet.write(&mut out[at..at + arp::LENGTH]);
    at + arp::LENGTH
}

/// Writes an advertisement of the gateway's own address `own`, to `asker`, or to all nodes where it has no address yet.
pub(crate) fn neighbor_advertisement(
    out: &mut [u8],
    link: &LinkHeader,
    own: Ipv6Addr,
    mac: Mac,
    asker: Ipv6Addr,
) -> usize {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (destination, solicited) = if asker.is_unspecified() { (ALL_NODES, 0) } else { (asker, SOLICITED) };
    let head = [ndp::NEIGHBOR_ADVERTISEMENT, ROUTER | solicited | OVERRIDE];
    message(out, link, own, destination, head, own, (TARGET_LINK_LAYER, mac))
}

/// Writes a solicitation for `target`, asked by the gateway's address `own`.
pub(crate) fn neighbor_solicitation(
    out: &mut [u8],
    link: &LinkHeader,
    own: Ipv6Addr,
    mac: Mac,
    target: Ipv6Addr,
) -> usize {
    let destination = Ipv6Addr::from(ndp::solicited_node(target.into()));
    message(out, link, own, destination, [ndp::NEIGHBOR_SOLICITATION, 0], target, (SOURCE_LINK_LAYER, mac))
}

fn message(
    out: &mut [u8],
    link: &LinkHeader,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    (option, mac): (u8, Mac),
) -> usize {
    let ends = Ends { source: IpAddr::V6(source), destination: IpAddr::V6(destination) };
    let at = ip::write(out, link, ends, protocol::ICMPV6, Some(ndp::HOP_LIMIT), LENGTH)
        .expect("both addresses are IPv6");
    let body = &mut out[at..at + LENGTH];
    body[..8].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
    body[8..24].copy_from_slice(&target.octets());
    body[24..26].copy_from_slice(&[option, 1]);
    body[26..32].copy_from_slice(&mac.0);
    let checksum = ip::pseudo_header(ends, protocol::ICMPV6, LENGTH).bytes(body).checksum();
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    at + LENGTH
}
