//! `[[route]]`, `[[neighbor]]`, `[[binding]]`.

use super::connected::Connected;
use super::network::Network;
use super::row::{Document, Located};
use super::scalar;
use crate::config::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::{Prefix, VlanKey};
use dataplane::topology::{BindingConfig, NeighborConfig, RouteConfig};
use std::collections::HashMap;
use std::net::IpAddr;

/// Reads all three.
pub(super) fn lower(
    document: &Document<'_>,
    network: &mut Network,
    connected: &[Connected],
    out: &mut Vec<Diagnostic>,
) {
    routes(document, network, connected, out);
    neighbors(document, network, connected, out);
    bindings(document, network, connected, out);
}

fn routes(
    document: &Document<'_>,
    network: &mut Network,
    connected: &[Connected],
    out: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<Prefix, (Span, &str)> = HashMap::new();
    for one in connected {
        let p = one.prefix.value;
        let net = Prefix::new(p.network(), p.length()).expect("a prefix's own length");
        seen.insert(net, (one.prefix.span, "it is connected here"));
    }
    for row in document.rows("route") {
        let to = row.text("to").and_then(|text| Some(Located::new(scalar::network(text, out)?, text.span)));
        let via = row.text("via").and_then(|text| Some(Located::new(scalar::address(text, out)?, text.span)));
        if let Some(to) = to
            && let Some((first, label)) = seen.insert(to.value, (to.span, "first here"))
        {
            out.push(
                Diagnostic::error(
                    Code::DuplicateRoute,
                    to.span,
                    format!("there are two ways to `{}`", to.value),
                )
                .label("again here")
                .related(first, label)
                .help("keep one of them"),
            );
        }
        let (Some(to), Some(via)) = (to, via) else { continue };
        if to.value.address().is_ipv4() != via.value.is_ipv4() {
            out.push(
                Diagnostic::error(
                    Code::MixedFamilies,
                    via.span,
                    "the next hop is of another family than the network",
                )
                .related(to.span, "the network")
                .help("write a next hop of the network's family"),
            );
            continue;
        }
        let what = "next hop";
        if let Some(vlan) = vlan_of(via, connected, what, Code::UnreachableNextHop, out) {
            network.topology.routes.push(RouteConfig { to: to.value, via: via.value, vlan });
        }
    }
}

fn neighbors(
    document: &Document<'_>,
    network: &mut Network,
    connected: &[Connected],
    out: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<(VlanKey, IpAddr), Span> = HashMap::new();
    for row in document.rows("neighbor") {
        let address =
            row.text("address").and_then(|text| Some(Located::new(scalar::address(text, out)?, text.span)));
        let mac = scalar::mac_of(&row, "mac", out);
        let Some(address) = address else { continue };
        let what = "neighbour";
        let Some(vlan) = vlan_of(address, connected, what, Code::UnreachableNeighbor, out) else { continue };
        check_once(&mut seen, (vlan, address.value), address.span, "neighbour", out);
        if let Some(mac) = mac {
            network.topology.neighbors.push(NeighborConfig { vlan, address: address.value, mac });
        }
    }
}

fn bindings(
    document: &Document<'_>,
    network: &mut Network,
    connected: &[Connected],
    out: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<(VlanKey, IpAddr), Span> = HashMap::new();
    for row in document.rows("binding") {
        let vlan = row.text("vlan").and_then(|reference| network.vlan(reference, out));
        let address =
            row.text("address").and_then(|text| Some(Located::new(scalar::address(text, out)?, text.span)));
        let mac = scalar::mac_of(&row, "mac", out);
        if let Some(address) = address {
            check_own(address, connected, "binding", out);
        }
        let (Some(vlan), Some(address)) = (vlan, address) else { continue };
        check_once(&mut seen, (vlan, address.value), address.span, "binding", out);
        if let Some(mac) = mac {
            network.topology.bindings.push(BindingConfig { vlan, address: address.value, mac });
        }
    }
}

fn check_once(
    seen: &mut HashMap<(VlanKey, IpAddr), Span>,
    key: (VlanKey, IpAddr),
    span: Span,
    what: &str,
    out: &mut Vec<Diagnostic>,
) {
    if let Some(first) = seen.insert(key, span) {
        out.push(
            Diagnostic::error(Code::DuplicateAddress, span, format!("two {what}s are for `{}`", key.1))
                .label("again here")
                .related(first, "first here")
                .help("an address has one MAC: keep one of them"),
        );
    }
}

fn check_own(
    address: Located<IpAddr>,
    connected: &[Connected],
    what: &str,
    out: &mut Vec<Diagnostic>,
) -> bool {
    let own = connected.iter().find(|one| one.prefix.value.address() == address.value);
    if let Some(own) = own {
        out.push(
            Diagnostic::error(
                Code::OwnAddress,
                address.span,
                format!("`{}` is the gateway's own", address.value),
            )
            .related(own.prefix.span, "it is given here")
            .help(format!("write the address of another host as {what}")),
        );
    }
    own.is_some()
}

/// The VLAN whose connected network holds the address: the longest prefix.
fn vlan_of(
    address: Located<IpAddr>,
    connected: &[Connected],
    what: &str,
    code: Code,
    out: &mut Vec<Diagnostic>,
) -> Option<VlanKey> {
    if check_own(address, connected, what, out) {
        return None;
    }
    let holds = connected.iter().filter(|one| one.prefix.value.contains(address.value));
    let Some(best) = holds.max_by_key(|one| one.prefix.value.length()) else {
        out.push(
            Diagnostic::error(code, address.span, format!("`{}` is on no connected network", address.value))
                .help(format!("write a {what} within the network of a routed VLAN's `address`")),
        );
        return None;
    };
    Some(best.vlan)
}
