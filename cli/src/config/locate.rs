//! Where an address is, and which MAC it has, as far as the configuration tells.

use classifier::addr::{Mac, VlanKey};
use dataplane::topology::{Topology, VlanRole};
use std::net::IpAddr;

/// The MAC that a binding or a neighbour gives to an address on a VLAN.
pub(crate) fn mac_of(topology: &Topology, vlan: VlanKey, address: IpAddr) -> Option<Mac> {
    let bound = topology.bindings.iter().find(|b| b.vlan == vlan && b.address == address);
    let known = || topology.neighbors.iter().find(|n| n.vlan == vlan && n.address == address);
    bound.map(|b| b.mac).or_else(|| known().map(|n| n.mac))
}

/// The VLAN that an address is on: by a connected network, else by the longest route, else by the
/// prefix of a stitched VLAN where just one has it.
pub(crate) fn locate(topology: &Topology, address: IpAddr) -> Option<VlanKey> {
    let connected = topology.vlans.iter().flat_map(|vlan| match &vlan.role {
        VlanRole::Routed { addresses, .. } => addresses.iter().map(|p| (*p, vlan.key)).collect(),
        VlanRole::Stitched { .. } => Vec::new(),
    });
    let routed = topology.routes.iter().map(|route| (route.to, route.vlan));
    let best = connected
        .chain(routed)
        .filter(|(prefix, _)| prefix.contains(address))
        .max_by_key(|(prefix, _)| prefix.length());
    if let Some((_, vlan)) = best {
        return Some(vlan);
    }
    let mut stitched = topology.vlans.iter().filter(|vlan| match &vlan.role {
        VlanRole::Routed { .. } => false,
        VlanRole::Stitched { prefixes, .. } => prefixes.iter().any(|p| p.contains(address)),
    });
    let first = stitched.next()?.key;
    stitched.next().is_none().then_some(first)
}
