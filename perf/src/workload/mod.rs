//! What passes through the engine: a network, a policy, flows that the policy allows, and their frames. All of it
//! follows from the arguments and the seed.
//!
//! ```text
//!   clients 10.16.0.0/12, VLAN 10 --+
//!                                   +-- trunk0 --+ gateway: the first address of each, 02:00:00:00:00:01
//!   servers 10.32.0.0/12, VLAN 20 --+
//! ```

pub(crate) mod export;
mod flows;
mod frames;
mod mix;
mod policy;
mod revocable;

pub(crate) use flows::Flow;
pub(crate) use mix::MixArguments;
pub(crate) use revocable::Revocable;

use crate::{EngineArguments, Protocol};
use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use classifier::policy::Policy;
use dataplane::port::memory::Trace;
use dataplane::topology::{
    Idle, NeighborConfig, PortConfig, Sanity, SpoofGuard, Topology, VlanConfig, VlanRole, XdpMode,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The gateway's MAC.
pub(crate) const GATEWAY: Mac = Mac([0x02, 0, 0, 0, 0, 0x01]);
/// What a frame has around its IP packet on the wire: Ethernet header, tag, FCS.
const ENCAPSULATION: u16 = 14 + 4 + 4;

/// One of the two VLANs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Side {
    pub(crate) vid: u16,
    pub(crate) network: u32,
}

impl Side {
    pub(crate) const CLIENTS: Side = Side { vid: 10, network: 0x0a10_0000 };
    pub(crate) const SERVERS: Side = Side { vid: 20, network: 0x0a20_0000 };
    /// Prefix length of a side's network.
    const LENGTH: u8 = 12;

    fn key(self) -> VlanKey {
        VlanKey::new(PortId(0), self.vid)
    }

    fn gateway(self) -> u32 {
        self.network + 1
    }
}

/// A MAC for an address: locally administered, and as unique as the address.
pub(crate) fn mac_of(address: u32) -> Mac {
    let [a, b, c, d] = address.to_be_bytes();
    Mac([0x02, 0x01, a, b, c, d])
}

/// All that a benchmark needs to set up an engine and to feed it.
#[derive(Debug)]
pub(crate) struct Workload {
    /// One trunk with two routed VLANs, and each host in use as a static neighbour.
    pub(crate) topology: Topology,
    /// Allows every flow.
    pub(crate) policy: Arc<Policy>,
    /// How many segments the policy has.
    pub(crate) segments: u32,
    /// Different from each other, and open before it is measured.
    pub(crate) flows: Vec<Flow>,
    /// What opens the flows, once through, in the order that the tracker wants: not part of the measurement.
    pub(crate) opening: Arc<Trace>,
    /// Frames of open flows, both directions, each once a round, in random order; and what the mix has beside them.
    pub(crate) steady: Arc<Trace>,
}

impl Workload {
    pub(crate) fn new(arguments: &EngineArguments) -> Workload {
        let plan = policy::plan(arguments.rules, arguments.seed, arguments.v6);
        let mut flows = flows::draw(&plan, arguments.flows + arguments.mix.new_flows(), arguments.seed);
        let topology = topology(&flows, arguments.size, arguments.v6);
        let newcomers = flows.split_off(arguments.flows as usize);
        let shape = Shape { length: usize::from(arguments.size - 4), v6: arguments.v6, imix: arguments.imix };
        let opening = match arguments.proto {
            Protocol::Udp => frames::exchanges(&flows, shape),
            Protocol::Tcp => frames::handshakes(&flows, shape),
        };
        let steady =
            frames::steady(&flows, &newcomers, arguments.mix, arguments.proto, shape, arguments.seed);
        Workload {
            topology,
            segments: plan.policy.segments().len() as u32,
            policy: Arc::new(plan.policy),
            flows,
            opening: Arc::new(opening),
            steady: Arc::new(steady),
        }
    }
}

fn topology(flows: &[Flow], size: u16, v6: bool) -> Topology {
    let address = |value| if v6 { IpAddr::V6(wide(value).into()) } else { address(value) };
    let length = if v6 { Side::LENGTH + 96 } else { Side::LENGTH };
    let vlan = |side: Side| VlanConfig {
        key: side.key(),
        name: None,
        role: VlanRole::Routed {
            addresses: vec![
                Prefix::new(address(side.gateway()), length).expect("no prefix is longer than its addresses"),
            ],
            hairpin: false,
        },
        mac: None,
        spoof_guard: SpoofGuard::Subnet,
    };
    let clients: BTreeSet<u32> = flows.iter().map(|flow| flow.client).collect();
    let servers: BTreeSet<u32> = flows.iter().map(|flow| flow.server).collect();
    let neighbor = |side: Side| {
        move |host: &u32| NeighborConfig { vlan: side.key(), address: address(*host), mac: mac_of(*host) }
    };
    let neighbors =
        clients.iter().map(neighbor(Side::CLIENTS)).chain(servers.iter().map(neighbor(Side::SERVERS)));
    Topology {
        name: "perf".to_owned(),
        ports: vec![PortConfig {
            name: "trunk0".to_owned(),
            interface: "trunk0".to_owned(),
            queues: 1,
            xdp: XdpMode::Auto,
            mac: Some(GATEWAY),
            mtu: Some((size - ENCAPSULATION).max(1_500)),
        }],
        vlans: vec![vlan(Side::CLIENTS), vlan(Side::SERVERS)],
        stitches: Vec::new(),
        routes: Vec::new(),
        neighbors: neighbors.collect(),
        bindings: Vec::new(),
        cores: Vec::new(),
        idle: Idle::Poll,
        sanity: Sanity { pass_ip_options: false },
    }
}

/// What the frames of a workload are like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Bytes of a frame without its FCS, if it has room for its headers.
    length: usize,
    v6: bool,
    /// Three lengths instead of one.
    imix: bool,
}

/// The IPv6 address that stands for one of IPv4: the last 32 bits of a unique local network (RFC 4193).
fn wide(value: u32) -> u128 {
    (0xfd00_u128 << 112) | u128::from(value)
}

fn address(value: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(value))
}

#[cfg(test)]
mod tests;
