//! `[[vlan]]` and `[[stitch]]`.

use super::names::Names;
use super::network::Network;
use super::row::{Document, Located, Row};
use super::scalar;
use crate::config::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::{PortId, Prefix, VlanKey};
use dataplane::topology::{OtherFrames, SpoofGuard, StitchConfig, VlanConfig, VlanRole};
use std::collections::HashMap;

/// A `[[vlan]]` that could be read, with the places of its addresses.
pub(super) struct VlanRow<'a> {
    pub(super) row: Row<'a>,
    pub(super) key: VlanKey,
    pub(super) addresses: Vec<Located<Prefix>>,
}

/// Reads stitches, then VLANs, since a VLAN's role is in both.
pub(super) fn lower<'a>(
    document: &Document<'a>,
    network: &mut Network,
    out: &mut Vec<Diagnostic>,
) -> Vec<VlanRow<'a>> {
    let rows = identify(document, network, out);
    let stitched = stitches(document, network, out);
    let mut kept = Vec::new();
    for (row, key) in rows {
        let addresses: Vec<Located<Prefix>> = row
            .texts("address")
            .into_iter()
            .filter_map(|text| Some(Located::new(scalar::interface_address(text, out)?, text.span)))
            .collect();
        let prefixes =
            row.texts("prefix").into_iter().filter_map(|text| scalar::network(text, out)).collect::<Vec<_>>();
        let role = role(&row, &addresses, prefixes, stitched.get(&key), out);
        check_effect(&row, &role, out);
        let index = network.topology.vlans.len();
        network.places.insert(key, (index, row.span));
        network.topology.vlans.push(VlanConfig {
            key,
            name: row.text("name").map(|name| name.value.to_owned()),
            spoof_guard: guard(&row, &role),
            role,
            mac: scalar::mac_of(&row, "mac", out),
        });
        kept.push(VlanRow { row, key, addresses });
    }
    kept
}

/// Finds each VLAN's key, so that stitches can refer to VLANs that stand below them.
fn identify<'a>(
    document: &Document<'a>,
    network: &mut Network,
    out: &mut Vec<Diagnostic>,
) -> Vec<(Row<'a>, VlanKey)> {
    let mut found = Vec::new();
    for row in document.rows("vlan") {
        let vid = row.number::<u16>("id");
        let port = row.text("port").and_then(|port| network.ports.find(port, Code::UnknownPort, out));
        let (Some(vid), Some(port)) = (vid, port) else {
            if let Some(name) = row.text("name") {
                // A VLAN that can't be had still has a name, or every use of it would be an error too.
                let port = port.unwrap_or(PortId(0));
                network.vlans.declare(name, VlanKey::new(port, vid.unwrap_or(0)), out);
            }
            continue;
        };
        let key = VlanKey::new(port, vid);
        if let Some((_, first)) = network.places.get(&key) {
            let label = network.topology.vlan_label(key);
            out.push(
                Diagnostic::error(Code::DuplicateName, row.span, format!("VLAN `{label}` is there twice"))
                    .label("again here")
                    .related(*first, "first here")
                    .help("join the two, or correct `id` or `port`"),
            );
            continue;
        }
        network.places.insert(key, (usize::MAX, row.span));
        if let Some(name) = row.text("name") {
            check_vlan_name(name, out);
            network.vlans.declare(name, key, out);
        }
        found.push((row, key));
    }
    found
}

fn check_vlan_name(name: Located<&str>, out: &mut Vec<Diagnostic>) {
    let is_numbered = name
        .value
        .rsplit_once('.')
        .is_some_and(|(_, vid)| !vid.is_empty() && vid.bytes().all(|b| b.is_ascii_digit()));
    if is_numbered {
        out.push(
            Diagnostic::error(
                Code::BadName,
                name.span,
                format!("`{}` reads like a VLAN's port and number", name.value),
            )
            .help("take a name that does not end in a dot and a number"),
        );
    } else {
        scalar::check_name(name, "VLAN", "-.", out);
    }
}

fn stitches(
    document: &Document<'_>,
    network: &mut Network,
    out: &mut Vec<Diagnostic>,
) -> HashMap<VlanKey, (u16, Span)> {
    let mut names = Names::new("stitch");
    let mut owner: HashMap<VlanKey, (u16, Span)> = HashMap::new();
    for row in document.rows("stitch") {
        let Ok(index) = u16::try_from(network.topology.stitches.len()) else { break };
        if let Some(name) = row.text("name") {
            scalar::check_name(name, "stitch", "-.", out);
            names.declare(name, index, out);
        }
        let mut vlans = Vec::new();
        let references = row.texts("vlans");
        for reference in &references {
            let Some(key) = network.vlan(*reference, out) else { continue };
            if let Some((other, first)) = owner.insert(key, (index, reference.span)) {
                let message = if other == index {
                    format!("VLAN `{}` is in this stitch twice", reference.value)
                } else {
                    format!("VLAN `{}` is in two stitches", reference.value)
                };
                out.push(
                    Diagnostic::error(Code::VlanRole, reference.span, message)
                        .label("again here")
                        .related(first, "first here")
                        .help("a VLAN is in one stitch, once"),
                );
                continue;
            }
            vlans.push(key);
        }
        if references.len() < 2 && row.has("vlans") {
            out.push(
                Diagnostic::error(Code::StitchTooSmall, row.span, "a stitch joins at least two VLANs")
                    .help("add a VLAN to `vlans`, or take the stitch out"),
            );
        }
        network.topology.stitches.push(StitchConfig {
            name: row.text("name").map_or("", |name| name.value).to_owned(),
            vlans,
            other: if row.choice("other") == "pass" { OtherFrames::Pass } else { OtherFrames::Drop },
        });
    }
    owner
}

fn role(
    row: &Row<'_>,
    addresses: &[Located<Prefix>],
    prefixes: Vec<Prefix>,
    stitch: Option<&(u16, Span)>,
    out: &mut Vec<Diagnostic>,
) -> VlanRole {
    let routed = || VlanRole::Routed {
        addresses: addresses.iter().map(|a| a.value).collect(),
        hairpin: row.flag("hairpin"),
    };
    match (row.key_span("address"), stitch) {
        (Some(address), Some((_, stitched))) => {
            out.push(
                Diagnostic::error(Code::VlanRole, address, "a VLAN is routed or stitched, never both")
                    .label("an address makes it routed")
                    .related(*stitched, "it is stitched here")
                    .help("take out `address`, or take the VLAN out of the stitch"),
            );
            routed()
        }
        (None, Some((stitch, _))) => VlanRole::Stitched { stitch: *stitch, prefixes },
        (Some(span), None) => {
            if addresses.is_empty() && row.texts("address").is_empty() {
                out.push(
                    Diagnostic::error(Code::EmptyList, span, "a routed VLAN has at least one address")
                        .help("add the gateway's address, as in \"10.0.10.1/24\""),
                );
            }
            routed()
        }
        (None, None) => {
            out.push(
                Diagnostic::error(Code::VlanRole, row.span, "this VLAN is neither routed nor stitched")
                    .help("give it an `address`, or list it in the `vlans` of a [[stitch]]"),
            );
            routed()
        }
    }
}

/// The guard in force: a stitched VLAN has no subnet of its own, unless it lists one.
fn guard(row: &Row<'_>, role: &VlanRole) -> SpoofGuard {
    match (row.choice("spoof_guard"), role) {
        ("bindings", _) => SpoofGuard::Bindings,
        ("off", _) => SpoofGuard::Off,
        (_, VlanRole::Stitched { prefixes, .. }) if prefixes.is_empty() => SpoofGuard::Off,
        (_, VlanRole::Stitched { .. } | VlanRole::Routed { .. }) => SpoofGuard::Subnet,
    }
}

/// Keys that mean nothing for the VLAN's role.
fn check_effect(row: &Row<'_>, role: &VlanRole, out: &mut Vec<Diagnostic>) {
    let (keys, role): (&[&'static str], _) = match role {
        VlanRole::Routed { .. } => (&["prefix"], "routed"),
        VlanRole::Stitched { .. } => (&["hairpin", "mac"], "stitched"),
    };
    for key in keys {
        if let Some(span) = row.key_span(key) {
            out.push(
                Diagnostic::warning(Code::NoEffect, span, format!("`{key}` has no effect on a {role} VLAN"))
                    .help("take it out"),
            );
        }
    }
}

/// Guards that can't do what they say.
pub(super) fn check_guards(rows: &[VlanRow<'_>], network: &Network, out: &mut Vec<Diagnostic>) {
    for (VlanRow { row, key, .. }, vlan) in rows.iter().zip(&network.topology.vlans) {
        let Some(text) = row.text("spoof_guard") else { continue };
        let has_binding = || network.topology.bindings.iter().any(|binding| binding.vlan == *key);
        let (message, help) = match vlan.spoof_guard {
            SpoofGuard::Off if text.value == "subnet" => (
                "the guard is off: a stitched VLAN has no subnet unless it lists one",
                "add `prefix = [\"…\"]`, or write \"bindings\" or \"off\"",
            ),
            SpoofGuard::Bindings if !has_binding() => (
                "nothing gets through: no [[binding]] is on this VLAN",
                "add a [[binding]] for each host, or write \"subnet\" or \"off\"",
            ),
            SpoofGuard::Subnet | SpoofGuard::Bindings | SpoofGuard::Off => continue,
        };
        out.push(Diagnostic::warning(Code::SpoofGuard, text.span, message).help(help));
    }
}
