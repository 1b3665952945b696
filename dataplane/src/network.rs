//! The network in the form that the packet path reads: what a frame's VLAN is, whose address that is, where a
//! packet goes.

use crate::keyed::Keyed;
use crate::topology::{OtherFrames, SpoofGuard, Topology, VlanRole};
use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use classifier::flow::Domain;
use classifier::tables::PrefixMap;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// The MAC that stands for a neighbor that nothing is known of, in replay.
pub const PLACEHOLDER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0]);

/// The MAC that replay sends from where the file gives the gateway none.
pub const PLACEHOLDER_OWN_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// The MTU of a port in replay, where the file gives none.
pub const DEFAULT_MTU: u16 = 1500;

/// What the interface behind a port is like, with what the file says on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// The port's MAC; `None` (in replay only): every unicast MAC is taken as the gateway's.
    pub mac: Option<Mac>,
    /// Most bytes of an IP packet.
    pub mtu: u16,
}

impl PortFacts {
    /// What the file alone says of each port, for replay.
    #[must_use]
    pub fn of_file(topology: &Topology) -> Vec<PortFacts> {
        topology.ports.iter().map(|p| PortFacts { mac: p.mac, mtu: p.mtu.unwrap_or(DEFAULT_MTU) }).collect()
    }
}

/// Index of a VLAN in [`Network`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct VlanIndex(pub u16);

/// Whether a VLAN is routed or stitched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The gateway is a router there.
    Routed,
    /// The gateway is a bridge there; index of the stitch.
    Stitched(u16),
}

/// A VLAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vlan {
    /// Port and VID.
    pub key: VlanKey,
    /// Routed or stitched.
    pub role: Role,
    /// The space in which its addresses are unique.
    pub domain: Domain,
    /// The gateway's MAC there; `None` (in replay only): every unicast MAC.
    pub mac: Option<Mac>,
    /// The gateway's own addresses there.
    pub addresses: Vec<IpAddr>,
    /// Connected prefixes, or the prefixes of a stitched VLAN.
    pub prefixes: Vec<Prefix>,
    /// Prefixes of the routes behind this VLAN.
    pub behind: Vec<Prefix>,
    /// Spoof guard.
    pub guard: SpoofGuard,
    /// Whether packets may leave on the VLAN that they came in on.
    pub hairpin: bool,
    /// Most bytes of an IP packet.
    pub mtu: u16,
}

impl Vlan {
    /// The MAC that the gateway sends from there.
    #[must_use]
    #[inline]
    pub fn own_mac(&self) -> Mac {
        self.mac.unwrap_or(PLACEHOLDER_OWN_MAC)
    }

    /// The gateway's address of the family of `other`; the one whose network holds it, if there is one.
    #[must_use]
    pub fn address_towards(&self, other: IpAddr) -> Option<IpAddr> {
        let near = self.prefixes.iter().zip(&self.addresses).find(|(prefix, _)| prefix.contains(other));
        let any = || self.addresses.iter().find(|a| a.is_ipv4() == other.is_ipv4());
        near.map(|(_, address)| address).or_else(any).copied()
    }

    /// Whether an address is a directed broadcast of one of the VLAN's prefixes.
    #[must_use]
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|p| p.broadcast().map(IpAddr::V4) == Some(address))
    }
}

/// A stitch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stitch {
    /// In the order of the file.
    pub vlans: Vec<VlanIndex>,
    /// Frames that are neither IP nor ARP.
    pub other: OtherFrames,
}

/// What the routing table says of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// It is one of the gateway's own.
    Own,
    /// It is a directed broadcast of a connected prefix.
    Broadcast,
    /// It is a neighbor on that VLAN.
    Connected(VlanIndex),
    /// It is behind that neighbor on that VLAN.
    Via(VlanIndex, IpAddr),
}

/// Why a topology does not make a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkError {
    /// A port has no facts: the caller passed too few.
    MissingPort(String),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::MissingPort(name) => {
                write!(f, "nothing is known of the interface of port `{name}`")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

const NO_VLAN: u16 = u16::MAX;
const VIDS: usize = 4096;

/// The compiled network.
#[derive(Debug)]
pub struct Network {
    mtus: Vec<u16>,
    by_key: Vec<u16>,
    vlans: Vec<Vlan>,
    stitches: Vec<Stitch>,
    hops: Vec<Hop>,
    routes: PrefixMap,
    neighbors: HashMap<(VlanIndex, IpAddr), Mac, Keyed>,
    bindings: HashMap<(VlanIndex, IpAddr), Vec<Mac>>,
    pass_ip_options: bool,
}

impl Network {
    /// Compiles a topology; `ports` has the facts of its ports in their order.
    ///
    /// # Errors
    /// Where a port has no facts.
    pub fn compile(topology: &Topology, ports: &[PortFacts]) -> Result<Network, NetworkError> {
        if let Some(port) = topology.ports.get(ports.len()) {
            return Err(NetworkError::MissingPort(port.name.clone()));
        }
        let mut by_key = vec![NO_VLAN; topology.ports.len() * VIDS];
        for (index, vlan) in topology.vlans.iter().enumerate() {
            by_key[vlan.key.index()] = index as u16;
        }
        let index_of = |key: VlanKey| VlanIndex(by_key[key.index()]);
        let vlans: Vec<Vlan> = topology.vlans.iter().map(|v| compile_vlan(v, topology, ports)).collect();
        let stitches = topology
            .stitches
            .iter()
            .map(|s| Stitch { vlans: s.vlans.iter().map(|k| index_of(*k)).collect(), other: s.other })
            .collect();
        let mut bindings: HashMap<(VlanIndex, IpAddr), Vec<Mac>> = HashMap::new();
        for b in &topology.bindings {
            bindings.entry((index_of(b.vlan), b.address)).or_default().push(b.mac);
        }
        let (hops, routes) = compile_routes(topology, &vlans, index_of);
        Ok(Network {
            mtus: ports.iter().map(|p| p.mtu).collect(),
            neighbors: topology.neighbors.iter().map(|n| ((index_of(n.vlan), n.address), n.mac)).collect(),
            pass_ip_options: topology.sanity.pass_ip_options,
            by_key,
            vlans,
            stitches,
            hops,
            routes,
            bindings,
        })
    }

    /// Whether the other network has the same VLANs at the same places.
    #[must_use]
    pub fn has_same_vlans(&self, other: &Network) -> bool {
        let keys = |network: &Network| network.vlans.iter().map(|v| (v.key, v.role)).collect::<Vec<_>>();
        keys(self) == keys(other)
    }

    /// Whether the other network has the same stitches, of the same VLANs.
    #[must_use]
    pub fn has_same_stitches(&self, other: &Network) -> bool {
        let keys = |network: &Network| {
            let of = |stitch: &Stitch| stitch.vlans.iter().map(|v| network.vlan(*v).key).collect::<Vec<_>>();
            network.stitches.iter().map(of).collect::<Vec<_>>()
        };
        keys(self) == keys(other)
    }

    /// The VLAN with that VID on that port.
    #[must_use]
    #[inline]
    pub fn vlan_on(&self, port: PortId, vid: u16) -> Option<VlanIndex> {
        self.index_of(VlanKey::new(port, vid))
    }

    /// The VLAN of that key.
    #[must_use]
    #[inline]
    pub fn index_of(&self, key: VlanKey) -> Option<VlanIndex> {
        let index = *self.by_key.get(key.index())?;
        (index != NO_VLAN).then_some(VlanIndex(index))
    }

    /// The VLAN of that index.
    #[must_use]
    #[inline]
    pub fn vlan(&self, index: VlanIndex) -> &Vlan {
        &self.vlans[usize::from(index.0)]
    }

    /// All VLANs, by their indexes.
    pub fn vlans(&self) -> impl Iterator<Item = &Vlan> {
        self.vlans.iter()
    }

    /// How many VLANs there are.
    #[must_use]
    pub fn vlan_count(&self) -> usize {
        self.vlans.len()
    }

    /// How many ports there are.
    #[must_use]
    pub fn port_count(&self) -> usize {
        self.mtus.len()
    }

    /// The MTU of a port.
    #[must_use]
    #[inline]
    pub fn mtu(&self, port: PortId) -> u16 {
        self.mtus[port.index()]
    }

    /// The stitch of that index.
    #[must_use]
    pub fn stitch(&self, index: u16) -> &Stitch {
        &self.stitches[usize::from(index)]
    }

    /// What the routing table says of an address: the longest prefix wins.
    #[must_use]
    #[inline]
    pub fn route(&self, address: IpAddr) -> Option<Hop> {
        self.routes.get(address).map(|hop| self.hops[hop as usize])
    }

    /// The MAC that the file gives for a neighbor.
    #[must_use]
    #[inline]
    pub fn static_neighbor(&self, vlan: VlanIndex, address: IpAddr) -> Option<Mac> {
        self.neighbors.get(&(vlan, address)).copied()
    }

    /// Whether bindings give the address to other MACs only.
    #[must_use]
    pub fn is_bound_to_another(&self, vlan: VlanIndex, address: IpAddr, mac: Mac) -> bool {
        self.bindings.get(&(vlan, address)).is_some_and(|macs| !macs.contains(&mac))
    }

    /// Whether a binding says that the address and the MAC belong together on the VLAN.
    #[must_use]
    pub fn is_binding(&self, vlan: VlanIndex, address: IpAddr, mac: Mac) -> bool {
        self.bindings.get(&(vlan, address)).is_some_and(|macs| macs.contains(&mac))
    }

    /// Whether IPv4 options and IPv6 routing headers are let through.
    #[must_use]
    #[inline]
    pub fn passes_ip_options(&self) -> bool {
        self.pass_ip_options
    }
}

fn compile_vlan(config: &crate::topology::VlanConfig, topology: &Topology, ports: &[PortFacts]) -> Vlan {
    let facts = ports[config.key.port().index()];
    let mut vlan = Vlan {
        key: config.key,
        role: Role::Routed,
        domain: Domain::ROUTED,
        mac: config.mac.or(facts.mac),
        addresses: Vec::new(),
        prefixes: Vec::new(),
        behind: topology.routes.iter().filter(|r| r.vlan == config.key).map(|r| r.to).collect(),
        guard: config.spoof_guard,
        hairpin: false,
        mtu: facts.mtu,
    };
    match &config.role {
        VlanRole::Routed { addresses, hairpin } => {
            vlan.addresses = addresses.iter().map(Prefix::address).collect();
            vlan.prefixes.clone_from(addresses);
            vlan.hairpin = *hairpin;
        }
        VlanRole::Stitched { stitch, prefixes } => {
            vlan.role = Role::Stitched(*stitch);
            vlan.domain = Domain(stitch + 1);
            vlan.prefixes.clone_from(prefixes);
        }
    }
    vlan
}

/// Own addresses and broadcasts are routes of full length, so that one look-up tells all of an address.
fn compile_routes(
    topology: &Topology,
    vlans: &[Vlan],
    index_of: impl Fn(VlanKey) -> VlanIndex,
) -> (Vec<Hop>, PrefixMap) {
    let mut hops = Vec::new();
    let mut routes: Vec<(Prefix, u32)> = Vec::new();
    let mut add = |prefix: Prefix, hop: Hop| {
        routes.push((prefix, hops.len() as u32));
        hops.push(hop);
    };
    let host = |address: IpAddr| {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, length).expect("a full length is legal")
    };
    // Of equal prefixes the last one added wins: static, then connected, then broadcast, then own.
    for route in &topology.routes {
        add(route.to, Hop::Via(index_of(route.vlan), route.via));
    }
    let routed = || vlans.iter().enumerate().filter(|(_, v)| v.role == Role::Routed);
    for (index, vlan) in routed() {
        for prefix in &vlan.prefixes {
            add(*prefix, Hop::Connected(VlanIndex(index as u16)));
        }
    }
    for (_, vlan) in routed() {
        for broadcast in vlan.prefixes.iter().filter_map(Prefix::broadcast) {
            add(host(IpAddr::V4(broadcast)), Hop::Broadcast);
        }
    }
    for (_, vlan) in routed() {
        for address in &vlan.addresses {
            add(host(*address), Hop::Own);
        }
    }
    (hops, PrefixMap::new(&routes))
}
