//! `[gateway]` and `[[port]]`, and how the rest of the file refers to ports and VLANs.

use super::names::Names;
use super::row::{Document, Located, Row};
use super::{connected, gateway, routes, scalar, vlans};
use crate::config::near;
use crate::config::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::{PortId, VlanKey};
use dataplane::topology::{PortConfig, Topology, XdpMode};
use std::collections::{BTreeMap, HashMap};

/// The topology, and what it takes to resolve references to it.
pub(super) struct Network {
    pub(super) topology: Topology,
    pub(super) ports: Names<PortId>,
    /// VLANs by the names that the file gives them.
    pub(super) vlans: Names<VlanKey>,
    /// Where each VLAN stands, and its index in the topology.
    pub(super) places: HashMap<VlanKey, (usize, Span)>,
}

/// Everything but the policy and `[conntrack]`.
pub(super) fn lower(document: &Document<'_>, out: &mut Vec<Diagnostic>) -> Network {
    let (cores, idle) = gateway::workers(document, out);
    let name = document.table("gateway").text("name");
    if let Some(name) = name {
        scalar::check_free_name(name, "name of a gateway", out);
    }
    let topology = Topology {
        name: name.map_or("gateway", |name| name.value).to_owned(),
        ports: Vec::new(),
        vlans: Vec::new(),
        stitches: Vec::new(),
        routes: Vec::new(),
        neighbors: Vec::new(),
        bindings: Vec::new(),
        cores,
        idle,
        sanity: gateway::sanity(document),
    };
    let mut network =
        Network { topology, ports: Names::new("port"), vlans: Names::new("VLAN"), places: HashMap::new() };
    ports(document, &mut network, out);
    let vlan_rows = vlans::lower(document, &mut network, out);
    let connected = connected::check(&network, &vlan_rows, out);
    routes::lower(document, &mut network, &connected, out);
    vlans::check_guards(&vlan_rows, &network, out);
    network
}

fn ports(document: &Document<'_>, network: &mut Network, out: &mut Vec<Diagnostic>) {
    let mut interfaces: HashMap<String, Span> = HashMap::new();
    let rows = document.rows("port");
    if let Some(row) = rows.get(PortId::LIMIT) {
        out.push(
            Diagnostic::error(
                Code::TooManyPorts,
                row.span,
                format!("a gateway has at most {} ports", PortId::LIMIT),
            )
            .label(format!("this is number {}", PortId::LIMIT + 1))
            .help("put the rest on a gateway of their own"),
        );
    }
    for row in rows.iter().take(PortId::LIMIT) {
        let id = PortId(u8::try_from(network.topology.ports.len()).expect("at most PortId::LIMIT"));
        let name = row.text("name");
        if let Some(name) = name {
            scalar::check_name(name, "port", "-", out);
            network.ports.declare(name, id, out);
        }
        let interface = row.text("interface").or(name);
        if let Some(interface) = interface {
            check_interface(interface, row.has("interface"), &mut interfaces, out);
        }
        network.topology.ports.push(PortConfig {
            name: name.map_or("", |name| name.value).to_owned(),
            interface: interface.map_or("", |interface| interface.value).to_owned(),
            queues: row.number("queues").unwrap_or(1),
            xdp: xdp(row),
            mac: scalar::mac_of(row, "mac", out),
            mtu: row.number("mtu"),
        });
    }
}

fn xdp(row: &Row<'_>) -> XdpMode {
    match row.choice("xdp") {
        "zero-copy" => XdpMode::ZeroCopy,
        "copy" => XdpMode::Copy,
        "skb" => XdpMode::Skb,
        _ => XdpMode::Auto,
    }
}

/// What Linux accepts as the name of a device (dev_valid_name in net/core/dev.c; IFNAMSIZ is 16 with the NUL).
fn check_interface(
    name: Located<&str>,
    is_given: bool,
    seen: &mut HashMap<String, Span>,
    out: &mut Vec<Diagnostic>,
) {
    const LIMIT: usize = 15;
    let text = name.value;
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let fault = if text.len() > LIMIT {
        "is too long for an interface"
    } else if text.is_empty() || text == "." || text == ".." || text.contains(bad) {
        "can't be the name of an interface"
    } else {
        if let Some(first) = seen.insert(text.to_owned(), name.span) {
            out.push(
                Diagnostic::error(
                    Code::DuplicateName,
                    name.span,
                    format!("two ports are on interface `{text}`"),
                )
                .label("again here")
                .related(first, "first here")
                .help("give each port an interface of its own"),
            );
        }
        return;
    };
    let help = if is_given {
        format!("Linux takes 1 to {LIMIT} bytes, without spaces, `/` and `:`")
    } else {
        format!("add `interface = \"…\"`, of 1 to {LIMIT} bytes: left out, it is the port's name")
    };
    out.push(Diagnostic::error(Code::BadInterface, name.span, format!("`{text}` {fault}")).help(help));
}

impl Network {
    /// The VLAN that a reference names: by its name, or as `port.id`.
    pub(super) fn vlan(&self, reference: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<VlanKey> {
        let found = self.vlans.get(reference.value).or_else(|| self.vlan_by_number(reference.value));
        if found.is_none() {
            let labels: Vec<String> = self.vlan_names().into_keys().collect();
            let port = reference.value.rsplit_once('.').map(|(port, _)| port);
            let help = match port {
                Some(port) if self.ports.has(port) => {
                    let here: Vec<&str> = labels
                        .iter()
                        .filter(|label| label.rsplit_once('.').is_some_and(|(p, _)| p == port))
                        .map(String::as_str)
                        .collect();
                    near::known("", "VLAN", here.into_iter())
                }
                Some(_) | None => near::known(reference.value, "VLAN", labels.iter().map(String::as_str)),
            };
            out.push(
                Diagnostic::error(
                    Code::UnknownVlan,
                    reference.span,
                    format!("there is no VLAN `{}`", reference.value),
                )
                .help(help),
            );
        }
        found
    }

    fn vlan_by_number(&self, reference: &str) -> Option<VlanKey> {
        let (port, vid) = reference.rsplit_once('.')?;
        let port = self.ports.get(port)?;
        let is_canonical = vid == "0" || !vid.starts_with('0');
        if !vid.bytes().all(|b| b.is_ascii_digit()) || !is_canonical {
            return None;
        }
        let vid: u16 = vid.parse().ok().filter(|vid| *vid <= 4094)?;
        let key = VlanKey::new(port, vid);
        self.places.contains_key(&key).then_some(key)
    }

    /// Every way to write every VLAN.
    pub(super) fn vlan_names(&self) -> BTreeMap<String, VlanKey> {
        let topology = &self.topology;
        let by_number = topology
            .vlans
            .iter()
            .map(|vlan| (format!("{}.{}", topology.port_name(vlan.key.port()), vlan.key.vid()), vlan.key));
        let by_name = topology.vlans.iter().filter_map(|vlan| Some((vlan.name.clone()?, vlan.key)));
        by_number.chain(by_name).collect()
    }
}
