//! What the configuration says, and what was learned: ports, VLANs, segments, neighbors, files.

use super::{Desk, Outbox, Shared};
use crate::config::words::mode_name;
use crate::control::protocol::Failure;
use classifier::policy::Member;
use dataplane::inspect::NeighborState;
use dataplane::topology::{SpoofGuard, VlanRole};
use serde_json::{Value, json};

pub(super) fn ports(desk: &Desk, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let ports = desk.order(|host| {
        let gateway = host.gateway();
        let ports = gateway.configuration().topology.ports.iter().zip(gateway.guards());
        let ports = ports.enumerate().map(|(index, (port, guard))| {
            let interface = guard.interface();
            let kernel = guard.kernel_statistics();
            json!({
                "name": port.name,
                "interface": interface.name,
                "link": host.links().state(index),
                "mac": port.mac.unwrap_or(interface.mac).to_string(),
                "mtu": port.mtu.map_or(interface.mtu, u32::from),
                "xdp": guard.mode().to_string(),
                "queues": port.queues,
                "offloads_switched_off": guard.offloads_changed(),
                "kernel": {
                    "rx_dropped": kernel.rx_dropped,
                    "rx_ring_full": kernel.rx_ring_full,
                    "fill_ring_empty": kernel.rx_fill_empty,
                    "rx_invalid": kernel.rx_invalid,
                    "tx_invalid": kernel.tx_invalid,
                    "unserved_queue": guard.unserved(),
                },
            })
        });
        ports.collect::<Vec<_>>()
    })?;
    let count = ports.len();
    for port in ports {
        out.item(port)?;
    }
    Ok(json!({ "ports": count }))
}

pub(super) fn vlans(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let configuration = shared.configuration.load_full();
    let topology = &configuration.topology;
    for vlan in &topology.vlans {
        let (role, addresses, stitch) = match &vlan.role {
            VlanRole::Routed { addresses, .. } => ("routed", addresses, None),
            VlanRole::Stitched { stitch, prefixes } => {
                ("stitched", prefixes, Some(&topology.stitches[usize::from(*stitch)].name))
            }
        };
        out.item(json!({
            "vlan": format!("{}.{}", topology.port_name(vlan.key.port()), vlan.key.vid()),
            "name": vlan.name,
            "role": role,
            "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "stitch": stitch,
            "mac": vlan.mac.map(|mac| mac.to_string()),
            "spoof_guard": match vlan.spoof_guard {
                SpoofGuard::Subnet => "subnet",
                SpoofGuard::Bindings => "bindings",
                SpoofGuard::Off => "off",
            },
        }))?;
    }
    Ok(json!({ "vlans": topology.vlans.len() }))
}

pub(super) fn segments(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let configuration = shared.configuration.load_full();
    let policy = &configuration.policy;
    let name = |member: &Member| match member {
        Member::Segment(_) => format!("segment:{}", configuration.member_text(member)),
        Member::Selector(_) => configuration.member_text(member),
    };
    for segment in policy.segments() {
        out.item(json!({
            "name": segment.name,
            "members": segment.members.iter().map(name).collect::<Vec<_>>(),
            "except": segment.except.iter().map(name).collect::<Vec<_>>(),
            "mode": mode_name(segment.mode),
        }))?;
    }
    Ok(json!({ "segments": policy.segments().len() }))
}

pub(super) fn neighbors(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let configuration = shared.configuration.load_full();
    let topology = &configuration.topology;
    let workers = shared
        .control
        .ask_all(|engine| (engine.neighbors().collect::<Vec<_>>(), engine.stations().collect::<Vec<_>>()))?;
    let mut lines = Vec::new();
    for (worker, (neighbors, stations)) in workers.into_iter().enumerate() {
        for neighbor in neighbors {
            let (state, mac) = match neighbor.state {
                NeighborState::Known(mac) => ("known", Some(mac.to_string())),
                NeighborState::Asking => ("asking", None),
                NeighborState::Failed => ("failed", None),
            };
            lines.push((neighbor.vlan, Some(neighbor.address), mac, state, worker));
        }
        let stations = stations.into_iter();
        lines.extend(stations.map(|(vlan, mac)| (vlan, None, Some(mac.to_string()), "station", worker)));
    }
    lines.sort();
    let count = lines.len();
    for (vlan, address, mac, state, worker) in lines {
        out.item(json!({
            "vlan": topology.vlan_label(vlan), "address": address, "mac": mac, "state": state, "worker": worker,
        }))?;
    }
    Ok(json!({ "neighbors": count }))
}

pub(super) fn config(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let configuration = shared.configuration.load_full();
    for file in configuration.sources().iter() {
        out.item(json!({ "file": file.path(), "text": file.text() }))?;
    }
    Ok(Value::Null)
}
