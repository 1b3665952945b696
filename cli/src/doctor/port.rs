//! A port's interface: is it there, what can its driver do, what is on that must be off.

use super::{Cards, Files, Finding, Findings, Plan};
use dataplane::port::xdp::{Interface, LinkState};
use dataplane::topology::{PortConfig, XdpMode};

/// The largest MTU of a port: a frame is one chunk of 4 KiB with some room before it.
const LONGEST: u32 = 3818;
/// Drivers that hand frames over without a copy.
const ZERO_COPY: [&str; 8] = ["i40e", "ice", "idpf", "igb", "igc", "ixgbe", "mlx5_core", "stmmac"];
/// Drivers that run XDP programs themselves, with a copy.
const NATIVE: [&str; 15] = [
    "bnxt_en",
    "dpaa2_eth",
    "ena",
    "fec",
    "gve",
    "hv_netvsc",
    "mana",
    "mvneta",
    "mvpp2",
    "mlx4_en",
    "nfp",
    "qede",
    "tun",
    "veth",
    "virtio_net",
];
/// Offloads without which frames are as they were on the wire.
const OFFLOADS: [&str; 6] =
    ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-lro", "rx-gro", "rx-gro-hw", "rx-gro-list"];

pub(super) fn examine(files: &Files, cards: &dyn Cards, plan: &Plan, port: &PortConfig) -> Vec<Finding> {
    let mut findings = Findings::about(&port.name);
    let name = &port.interface;
    let interface = match cards.interface(name) {
        Ok(interface) => interface,
        Err(error) => {
            let remedy = "`ip link` lists the interfaces; say its name as `interface` of the port";
            findings.fail("interface", format!("{name}: {error}"), remedy);
            return findings.into_all();
        }
    };
    match interface.state {
        LinkState::Up => findings.ok("link", format!("{name} is up")),
        LinkState::NoCarrier => {
            findings.warn(
                "link",
                format!("{name} has nobody at its other end"),
                "look at the cable, or the other end",
            );
        }
        LinkState::Down if plan.is_running => {
            findings.fail("link", format!("{name} is down"), format!("ip link set {name} up"));
        }
        // The gateway switches it on.
        LinkState::Down => findings.ok("link", format!("{name} is down; the gateway brings it up")),
    }
    driver(port, &interface, &mut findings);
    queues(cards, plan, port, &interface, &mut findings);
    mtu(port, &interface, &mut findings);
    offloads(cards, name, &mut findings);
    numa(files, plan, name, &mut findings);
    findings.into_all()
}

fn driver(port: &PortConfig, interface: &Interface, findings: &mut Findings<'_>) {
    let driver = interface.driver.as_str();
    let (zero_copy, native) = (ZERO_COPY.contains(&driver), NATIVE.contains(&driver));
    match port.xdp {
        XdpMode::ZeroCopy if !zero_copy => {
            let found = format!("`xdp = \"zerocopy\"`, but {driver} is not known to do that");
            findings.warn(
                "xdp-mode",
                found,
                "say `xdp = \"auto\"`, or use a card of i40e, ice, ixgbe, igc or mlx5",
            );
        }
        XdpMode::Copy if !zero_copy && !native => {
            let found = format!("`xdp = \"copy\"`, but {driver} is not known to run XDP programs");
            findings.warn(
                "xdp-mode",
                found,
                "say `xdp = \"auto\"`: the kernel's generic mode, which is slow",
            );
        }
        XdpMode::Skb => {
            findings.warn("xdp-mode", "generic mode, as the file says: slow", "say `xdp = \"auto\"`");
        }
        XdpMode::Auto | XdpMode::ZeroCopy if zero_copy => {
            findings.ok("xdp-mode", format!("{driver}: zero-copy"));
        }
        XdpMode::Auto | XdpMode::Copy if zero_copy || native => {
            findings.ok("xdp-mode", format!("{driver}: driver mode with a copy"));
        }
        XdpMode::Auto | XdpMode::ZeroCopy | XdpMode::Copy => {
            let found = format!("{driver} is not known to run XDP programs: generic mode, which is slow");
            findings.warn("xdp-mode", found, "use a card of i40e, ice, ixgbe, igc or mlx5");
        }
    }
}

fn queues(
    cards: &dyn Cards,
    plan: &Plan,
    port: &PortConfig,
    interface: &Interface,
    findings: &mut Findings<'_>,
) {
    let (name, has, workers) = (&port.interface, interface.receive_queues, plan.workers());
    let served = u32::from(port.queues);
    if has < served {
        let found = format!("{name} has {has} queues, {served} are asked for");
        findings.fail(
            "queues",
            found,
            format!("ethtool -L {name} combined {served}, or lower `queues` of the port"),
        );
    } else if has > served {
        let found = format!(
            "{name} receives on {has} queues, of which {served} are served: frames of the others are lost"
        );
        findings.fail("queues", found, format!("ethtool -L {name} combined {served}"));
    } else {
        findings
            .ok("queues", format!("{served} for {workers} worker{}", if workers == 1 { "" } else { "s" }));
    }
    if served < 2 {
        return;
    }
    match cards.is_symmetric(name) {
        Ok(true) => findings.ok("rss", "both directions of a flow come in on the same queue"),
        Ok(false) => {
            let remedy =
                format!("ethtool -X {name} xfrm symmetric-xor, or a key of the same two bytes over and over");
            findings.warn(
                "rss",
                "the directions of a flow may come in on different queues: they are handed over",
                remedy,
            );
        }
        Err(_) => {
            let found =
                "the driver does not tell how it chooses a queue: flows may be handed over between workers";
            findings.warn("rss", found, "use a card whose hash can be set by `ethtool -X`");
        }
    }
}

fn mtu(port: &PortConfig, interface: &Interface, findings: &mut Findings<'_>) {
    let (name, own) = (&port.interface, interface.mtu);
    match port.mtu {
        Some(wanted) if u32::from(wanted) > own => {
            let found = format!("`mtu = {wanted}`, but {name} has {own}");
            findings.fail(
                "mtu",
                found,
                format!("ip link set {name} mtu {wanted}, or lower `mtu` of the port"),
            );
        }
        wanted if wanted.map_or(own, u32::from) > LONGEST => {
            let found =
                format!("an MTU of {}, but a port's frames are one piece", wanted.map_or(own, u32::from));
            findings.fail("mtu", found, format!("ip link set {name} mtu {LONGEST} at most"));
        }
        wanted => findings.ok("mtu", wanted.map_or(own, u32::from).to_string()),
    }
}

fn offloads(cards: &dyn Cards, name: &str, findings: &mut Findings<'_>) {
    match cards.offloads(name) {
        Ok(on) => {
            let on: Vec<&str> =
                OFFLOADS.into_iter().filter(|feature| on.iter().any(|one| one == feature)).collect();
            let found = match on.is_empty() {
                true => "none that would change frames is on".to_owned(),
                false => format!("the gateway switches off {} while it runs", on.join(", ")),
            };
            findings.ok("offloads", found);
        }
        Err(error) => {
            let remedy = "see to it that VLAN offload, LRO and GRO are off: `ethtool -k`";
            findings.warn("offloads", format!("{name} does not tell its offloads: {error}"), remedy);
        }
    }
}

fn numa(files: &Files, plan: &Plan, name: &str, findings: &mut Findings<'_>) {
    let node = files.text(&format!("sys/class/net/{name}/device/numa_node"));
    // -1: the machine has one node, or does not tell.
    let Some(node) = node.and_then(|node| node.parse::<usize>().ok()) else { return };
    let near = files.numbers(&format!("sys/devices/system/node/node{node}/cpulist")).unwrap_or_default();
    let far: Vec<String> =
        plan.cores.iter().filter(|core| !near.contains(core)).map(usize::to_string).collect();
    if far.is_empty() {
        findings.ok("numa", format!("its card is on node {node}"));
    } else {
        let found = format!("its card is on node {node}, the cores {} are not", far.join(","));
        findings.warn("numa", found, format!("choose cores of node {node}"));
    }
}
