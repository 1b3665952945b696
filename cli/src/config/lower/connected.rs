//! Connected networks: the addresses of routed VLANs, and what they must not be.

use super::network::Network;
use super::row::Located;
use super::vlans::VlanRow;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::{IpRange, Prefix, VlanKey};
use dataplane::topology::VlanRole;
use std::net::IpAddr;

/// A network that a VLAN is on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connected {
    pub(super) vlan: VlanKey,
    pub(super) prefix: Located<Prefix>,
}

/// The connected networks, checked against each other.
pub(super) fn check(network: &Network, rows: &[VlanRow<'_>], out: &mut Vec<Diagnostic>) -> Vec<Connected> {
    let all: Vec<Connected> = rows
        .iter()
        .flat_map(|row| row.addresses.iter().map(|prefix| Connected { vlan: row.key, prefix: *prefix }))
        .collect();
    for one in &all {
        check_address(one.prefix, out);
    }
    check_mtu(network, rows, out);
    check_pairs(network, &all, out);
    all
}

/// Sweeps the networks by their first address: only neighbours in that order can overlap.
fn check_pairs(network: &Network, all: &[Connected], out: &mut Vec<Diagnostic>) {
    let mut sorted: Vec<&Connected> = all.iter().collect();
    sorted.sort_by_key(|one| (IpRange::from(one.prefix.value), one.prefix.span));
    for (index, one) in sorted.iter().enumerate() {
        for other in &sorted[index + 1..] {
            if !one.prefix.value.contains(other.prefix.value.network()) {
                break;
            }
            let (first, again) =
                if one.prefix.span < other.prefix.span { (one, other) } else { (other, one) };
            check_pair(network, first, again, out);
        }
    }
}

fn check_pair(network: &Network, first: &Connected, again: &Connected, out: &mut Vec<Diagnostic>) {
    let (a, b) = (first.prefix.value, again.prefix.value);
    // Each link has its own link-local network (RFC 4291 §2.5.6): the same prefix, and even the same address.
    let is_link_local = |p: Prefix| matches!(p.address(), IpAddr::V6(a) if a.is_unicast_link_local());
    if a.address() == b.address() && (first.vlan == again.vlan || !is_link_local(a)) {
        out.push(
            Diagnostic::error(
                Code::DuplicateAddress,
                again.prefix.span,
                format!("the gateway has the address `{}` twice", a.address()),
            )
            .label("again here")
            .related(first.prefix.span, "first here")
            .help("give each VLAN an address of its own"),
        );
    } else if first.vlan != again.vlan && !(is_link_local(a) && is_link_local(b)) {
        out.push(
            Diagnostic::error(
                Code::OverlappingNetworks,
                again.prefix.span,
                format!(
                    "the networks of `{}` and `{}` overlap",
                    network.topology.vlan_label(first.vlan),
                    network.topology.vlan_label(again.vlan)
                ),
            )
            .label(format!("{}/{}", b.network(), b.length()))
            .related(first.prefix.span, format!("{}/{}", a.network(), a.length()))
            .help("a routed network is on one VLAN: correct an address or a prefix length"),
        );
    }
}

/// Whether a host, and so the gateway, may have the address.
fn check_address(prefix: Located<Prefix>, out: &mut Vec<Diagnostic>) {
    let p = prefix.value;
    let host_bits = if p.address().is_ipv4() { 32 } else { 128 } - p.length();
    let fault = match p.address() {
        IpAddr::V4(a) if Some(a) == p.broadcast() => "is the broadcast address of its network",
        // RFC 4291 §2.6.1: the subnet-router anycast address; RFC 3021 and RFC 6164 for two-address links.
        IpAddr::V4(_) | IpAddr::V6(_) if host_bits > 1 && !p.has_host_bits() => {
            "is its network's own address"
        }
        IpAddr::V4(a)
            if a.is_loopback() || a.is_multicast() || a.octets()[0] == 0 || a.octets()[0] >= 240 =>
        {
            "is no address of a host"
        }
        IpAddr::V6(a)
            if a.is_loopback() || a.is_multicast() || a.is_unspecified() || a.to_ipv4_mapped().is_some() =>
        {
            "is no address of a host"
        }
        IpAddr::V4(_) | IpAddr::V6(_) => return,
    };
    out.push(
        Diagnostic::error(Code::BadAddress, prefix.span, format!("`{}` {fault}", p.address()))
            .help("write the gateway's own address with the length of its network, as in 10.0.10.1/24"),
    );
}

/// IPv6 needs an MTU of 1280 (RFC 8200 §5).
fn check_mtu(network: &Network, rows: &[VlanRow<'_>], out: &mut Vec<Diagnostic>) {
    const IPV6_LEAST: u16 = 1280;
    for (row, vlan) in rows.iter().zip(&network.topology.vlans) {
        let VlanRole::Routed { .. } = vlan.role else { continue };
        let port = &network.topology.ports[row.key.port().index()];
        let v6 = row.addresses.iter().find(|prefix| prefix.value.address().is_ipv6());
        if let (Some(mtu), Some(v6)) = (port.mtu.filter(|mtu| *mtu < IPV6_LEAST), v6) {
            out.push(
                Diagnostic::error(
                    Code::MtuTooSmall,
                    v6.span,
                    format!("IPv6 needs an MTU of {IPV6_LEAST}, and port `{}` has {mtu}", port.name),
                )
                .help("raise the port's `mtu`, or take the IPv6 address out"),
            );
        }
    }
}
