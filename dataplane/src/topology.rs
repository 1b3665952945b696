//! The network as the gateway file describes it: ports, VLANs, stitches, routes, neighbours, bindings.
//!
//! This is the input that the `cli` crate lowers a file to, checked and with every reference resolved;
//! the packet path reads the tables that [`crate::network`] makes of it.

use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use std::net::IpAddr;

/// How frames get from a Linux interface into user space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XdpMode {
    /// Zero-copy where the driver can, else copy, else generic mode.
    Auto,
    /// Driver mode, zero-copy, or nothing.
    ZeroCopy,
    /// Driver mode with a copy, or nothing.
    Copy,
    /// Generic mode: any driver, slow.
    Skb,
}

/// What a port does with frames that are not the gateway's business.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// Unique name.
    pub name: String,
    /// The Linux interface.
    pub interface: String,
    /// How many queues are served.
    pub queues: u16,
    /// How the port is attached.
    pub xdp: XdpMode,
    /// The port's MAC; `None`: the interface's own.
    pub mac: Option<Mac>,
    /// The port's MTU in bytes of IP; `None`: the interface's own, 1500 in replay.
    pub mtu: Option<u16>,
}

impl PortConfig {
    /// A port on the interface of the same name, as it is where the file says no more: one queue, attached as well as the
    /// driver can, with the interface's own MAC and MTU.
    #[must_use]
    pub fn new(name: &str) -> PortConfig {
        let (name, interface) = (name.to_owned(), name.to_owned());
        PortConfig { name, interface, queues: 1, xdp: XdpMode::Auto, mac: None, mtu: None }
    }
}

/// Which source addresses a VLAN lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpoofGuard {
    /// Those of the VLAN's own prefixes and of the routes behind it.
    Subnet,
    /// Those that a binding names.
    Bindings,
    /// All.
    Off,
}

/// How a VLAN is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VlanRole {
    /// The gateway is a router there, with these addresses (host bits kept).
    Routed {
        /// At least one.
        addresses: Vec<Prefix>,
        /// Whether packets may leave on the VLAN that they came in on.
        hairpin: bool,
    },
    /// The gateway is a bridge there.
    Stitched {
        /// Index in [`Topology::stitches`].
        stitch: u16,
        /// The prefixes that live there, if the file lists any.
        prefixes: Vec<Prefix>,
    },
}

/// One `[[vlan]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlanConfig {
    /// Port and VID.
    pub key: VlanKey,
    /// Optional unique name.
    pub name: Option<String>,
    /// Routed or stitched.
    pub role: VlanRole,
    /// The gateway's MAC on this VLAN; `None`: the port's.
    pub mac: Option<Mac>,
    /// Spoof guard, as it is in force (a stitched VLAN without prefixes has `Off` unless bindings were asked for).
    pub spoof_guard: SpoofGuard,
}

impl VlanConfig {
    /// A VLAN on which the gateway is a router, as it is where the file says no more: it lets no source address in but
    /// its own prefixes', and nothing out that came in there.
    #[must_use]
    pub fn routed(key: VlanKey, addresses: Vec<Prefix>) -> VlanConfig {
        let role = VlanRole::Routed { addresses, hairpin: false };
        VlanConfig { key, name: None, role, mac: None, spoof_guard: SpoofGuard::Subnet }
    }

    /// A VLAN of a stitch, as it is where the file says no more: it lists no prefixes, and lets any source address in.
    #[must_use]
    pub fn stitched(key: VlanKey, stitch: u16) -> VlanConfig {
        let role = VlanRole::Stitched { stitch, prefixes: Vec::new() };
        VlanConfig { key, name: None, role, mac: None, spoof_guard: SpoofGuard::Off }
    }
}

/// What a stitch does with frames that are neither IP nor ARP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherFrames {
    /// Drop them as `unsupported-ethertype`.
    Drop,
    /// Bridge them without asking the policy.
    Pass,
}

/// One `[[stitch]]`: VLANs that are one layer-2 domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StitchConfig {
    /// Unique name.
    pub name: String,
    /// At least two, in the order of the file.
    pub vlans: Vec<VlanKey>,
    /// Frames that are neither IP nor ARP.
    pub other: OtherFrames,
}

/// One `[[route]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteConfig {
    /// Destination network.
    pub to: Prefix,
    /// The next hop: on a connected prefix of `vlan`.
    pub via: IpAddr,
    /// The VLAN that the next hop is on.
    pub vlan: VlanKey,
}

/// One `[[neighbor]]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborConfig {
    /// The VLAN whose connected prefix holds the address.
    pub vlan: VlanKey,
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's MAC.
    pub mac: Mac,
}

/// One `[[binding]]`: an address and a MAC that belong together on a VLAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindingConfig {
    /// Where.
    pub vlan: VlanKey,
    /// The address.
    pub address: IpAddr,
    /// The MAC.
    pub mac: Mac,
}

/// What `idle` says: how a worker waits for frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Idle {
    /// Sleep in the kernel when there is no traffic.
    Adaptive,
    /// Spin for ever.
    Poll,
}

/// `[sanity]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sanity {
    /// Whether IPv4 options and IPv6 routing headers are let through.
    pub pass_ip_options: bool,
}

/// Everything but the policy and `[conntrack]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    /// `[gateway] name`.
    pub name: String,
    /// In the order of the file; a [`PortId`] is an index here.
    pub ports: Vec<PortConfig>,
    /// In the order of the file.
    pub vlans: Vec<VlanConfig>,
    /// In the order of the file.
    pub stitches: Vec<StitchConfig>,
    /// In the order of the file.
    pub routes: Vec<RouteConfig>,
    /// In the order of the file.
    pub neighbors: Vec<NeighborConfig>,
    /// In the order of the file.
    pub bindings: Vec<BindingConfig>,
    /// The CPU cores that workers are pinned to, one each; empty: one worker, not pinned.
    pub cores: Vec<usize>,
    /// How workers wait.
    pub idle: Idle,
    /// Header sanity.
    pub sanity: Sanity,
}

impl Topology {
    /// A gateway with these ports and VLANs, as it is where the file says no more: no stitches, routes, neighbors and
    /// bindings, one worker that sleeps when there is nothing to do, and no IP options.
    #[must_use]
    pub fn new(name: &str, ports: Vec<PortConfig>, vlans: Vec<VlanConfig>) -> Topology {
        Topology {
            name: name.to_owned(),
            ports,
            vlans,
            stitches: Vec::new(),
            routes: Vec::new(),
            neighbors: Vec::new(),
            bindings: Vec::new(),
            cores: Vec::new(),
            idle: Idle::Adaptive,
            sanity: Sanity { pass_ip_options: false },
        }
    }

    /// How the file writes a VLAN: its name, or `port.vid`.
    #[must_use]
    pub fn vlan_label(&self, key: VlanKey) -> String {
        let named = self.vlans.iter().find(|v| v.key == key).and_then(|v| v.name.clone());
        named.unwrap_or_else(|| format!("{}.{}", self.port_name(key.port()), key.vid()))
    }

    /// The name of a port.
    #[must_use]
    pub fn port_name(&self, port: PortId) -> &str {
        &self.ports[port.index()].name
    }
}
