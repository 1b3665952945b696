//! Is the source what it says? The spoof guard, and the addresses that can be no source or destination here.

use crate::network::{Hop, Network, Role, Vlan, VlanIndex};
use crate::topology::SpoofGuard;
use classifier::addr::Mac;
use classifier::wire::{Addresses, Packet, Upper, ipv4, ipv6};
use std::net::IpAddr;

/// Whether the VLAN's spoof guard lets the source through.
#[inline]
pub(super) fn allows(network: &Network, index: VlanIndex, vlan: &Vlan, mac: Mac, packet: &Packet) -> bool {
    let source = packet.source();
    match vlan.guard {
        SpoofGuard::Off => true,
        SpoofGuard::Bindings => network.is_binding(index, source, mac) || is_nd_from_nobody(packet),
        SpoofGuard::Subnet => {
            is_in_subnet(network, index, vlan, source)
                || is_nd_from_the_link(packet)
                || is_nd_from_nobody(packet)
        }
    }
}

/// The longest prefix tells where an address lives. A default route over a VLAN does not make it a source of
/// other VLANs' addresses.
#[inline]
fn is_in_subnet(network: &Network, index: VlanIndex, vlan: &Vlan, source: IpAddr) -> bool {
    match vlan.role {
        Role::Routed => match network.route(source) {
            None | Some(Hop::Own | Hop::Broadcast) => false,
            Some(Hop::Connected(home)) => home == index,
            Some(Hop::Via(home, _)) => {
                home == index || vlan.prefixes.iter().chain(&vlan.behind).any(|p| p.contains(source))
            }
        },
        Role::Stitched(_) => vlan.prefixes.iter().any(|p| p.contains(source)) && !vlan.is_broadcast(source),
    }
}

fn is_nd_from_the_link(packet: &Packet) -> bool {
    matches!((packet.upper, packet.addresses), (Upper::Nd(_), Addresses::V6(source, _)) if ipv6::is_link_local(source))
}

fn is_nd_from_nobody(packet: &Packet) -> bool {
    matches!((packet.upper, packet.addresses), (Upper::Nd(_), Addresses::V6(0, _)))
}

/// Whether a packet from a link-local source would have to leave its link (RFC 4291 §2.5.6).
pub(super) fn leaves_its_link(index: VlanIndex, packet: &Packet, hop: Option<Hop>) -> bool {
    let Addresses::V6(source, destination) = packet.addresses else { return false };
    if !ipv6::is_link_local(source) || ipv6::is_link_local(destination) || ipv6::is_multicast(destination) {
        return false;
    }
    match hop {
        Some(Hop::Own | Hop::Broadcast) => false,
        Some(Hop::Connected(egress) | Hop::Via(egress, _)) => egress != index,
        None => true,
    }
}

/// Whether nothing can be forwarded to the destination from this VLAN.
#[inline]
pub(super) fn is_bad_destination(vlan: &Vlan, group_mac: bool, packet: &Packet, hop: Option<Hop>) -> bool {
    match (packet.addresses, vlan.role) {
        (Addresses::V4(_, to), Role::Routed) => {
            ipv4::is_bad_destination(to)
                || ipv4::is_multicast(to)
                || to == u32::MAX
                || hop == Some(Hop::Broadcast)
                || group_mac
        }
        (Addresses::V4(_, to), Role::Stitched(_)) => {
            let is_group =
                ipv4::is_multicast(to) || to == u32::MAX || vlan.is_broadcast(packet.destination());
            ipv4::is_bad_destination(to) || (group_mac && !is_group)
        }
        (Addresses::V6(_, to), Role::Routed) => {
            ipv6::is_bad_destination(to)
                || ipv6::is_multicast(to)
                || (ipv6::is_link_local(to) && hop != Some(Hop::Own))
                || group_mac
        }
        (Addresses::V6(_, to), Role::Stitched(_)) => {
            ipv6::is_bad_destination(to) || (group_mac && !ipv6::is_multicast(to))
        }
    }
}
