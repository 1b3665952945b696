//! The network of the scenarios, and its policies.
//!
//! ```text
//!   trunk (0), MTU 1500, MAC 02:..:01:00          wan (1), MTU 1300, MAC 02:..:02:00
//!   .10  10.0.10.1/24  fd00:10::1/64   WEB .5      .0   192.0.2.1/24  2001:db8::1/64  FAR .9, guard off
//!   .20  10.0.20.1/24  fd00:20::1/64   DB  .9      .130 --+
//!   .110 --+                                              |  one stitch
//!   .120 --+----------------------------------------------+
//! ```
//!
//! 198.51.100.0/24 is behind 192.0.2.254, and 10.9.0.0/16 behind 10.0.20.254. There is no default route.

use super::{Bed, Setup};
use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Mode, Policy, PolicyBuilder, PortRange, Rule, Service, TierId,
};
use conntrack::config::Config;
use dataplane::engine::Resolve;
use dataplane::topology::{
    BindingConfig, NeighborConfig, OtherFrames, PortConfig, RouteConfig, SpoofGuard, StitchConfig, Topology,
    VlanConfig,
};
use std::net::IpAddr;

pub(crate) const TRUNK: u8 = 0;
pub(crate) const WAN: u8 = 1;
pub(crate) const TRUNK_MAC: Mac = Mac([2, 0, 0, 0, 1, 0]);
pub(crate) const WAN_MAC: Mac = Mac([2, 0, 0, 0, 2, 0]);

/// A host of the scenarios.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) mac: Mac,
    pub(crate) port: u8,
    pub(crate) vid: u16,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
}

impl Host {
    pub(crate) fn v4(&self) -> IpAddr {
        self.v4.parse().unwrap()
    }

    pub(crate) fn v6(&self) -> IpAddr {
        self.v6.parse().unwrap()
    }

    pub(crate) fn vlan(&self) -> VlanKey {
        VlanKey::new(PortId(self.port), self.vid)
    }

    /// The gateway's MAC, as the host knows it.
    pub(crate) fn gateway(&self) -> Mac {
        if self.port == TRUNK { TRUNK_MAC } else { WAN_MAC }
    }
}

const fn host(last: [u8; 2], port: u8, vid: u16, v4: &'static str, v6: &'static str) -> Host {
    Host { mac: Mac([2, 0, 0, 0, last[0], last[1]]), port, vid, v4, v6 }
}

pub(crate) const WEB: Host = host([0x10, 5], TRUNK, 10, "10.0.10.5", "fd00:10::5");
pub(crate) const DB: Host = host([0x20, 9], TRUNK, 20, "10.0.20.9", "fd00:20::9");
/// A host of DB's VLAN whose MAC nobody told the gateway.
pub(crate) const SHY: Host = host([0x20, 7], TRUNK, 20, "10.0.20.7", "fd00:20::7");
pub(crate) const FAR: Host = host([0x30, 9], WAN, 0, "192.0.2.9", "2001:db8::9");
/// Stations of the stitch.
pub(crate) const DESK: Host = host([0x11, 1], TRUNK, 110, "10.7.0.1", "fd07::1");
pub(crate) const PRINTER: Host = host([0x12, 2], TRUNK, 120, "10.7.0.2", "fd07::2");
pub(crate) const CAMERA: Host = host([0x13, 3], WAN, 130, "10.7.0.3", "fd07::3");

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(name: &str, mac: Mac, mtu: u16) -> PortConfig {
    PortConfig { mac: Some(mac), mtu: Some(mtu), ..PortConfig::new(name) }
}

fn routed(vlan: VlanKey, addresses: [&str; 2], spoof_guard: SpoofGuard) -> VlanConfig {
    VlanConfig { spoof_guard, ..VlanConfig::routed(vlan, addresses.map(prefix).to_vec()) }
}

/// The network of the picture.
pub(crate) fn topology() -> Topology {
    let known = [WEB, DB, FAR];
    let neighbors = known.iter().flat_map(|host| {
        [host.v4(), host.v6()].map(|address| NeighborConfig { vlan: host.vlan(), address, mac: host.mac })
    });
    let ports = vec![port("trunk", TRUNK_MAC, 1500), port("wan", WAN_MAC, 1300)];
    let stations = [DESK, PRINTER, CAMERA].map(|host| host.vlan());
    let mut vlans = vec![
        routed(WEB.vlan(), ["10.0.10.1/24", "fd00:10::1/64"], SpoofGuard::Subnet),
        routed(DB.vlan(), ["10.0.20.1/24", "fd00:20::1/64"], SpoofGuard::Subnet),
        routed(FAR.vlan(), ["192.0.2.1/24", "2001:db8::1/64"], SpoofGuard::Off),
    ];
    vlans.extend(stations.map(|vlan| VlanConfig::stitched(vlan, 0)));
    let floor = StitchConfig { name: "floor".into(), vlans: stations.to_vec(), other: OtherFrames::Drop };
    Topology {
        stitches: vec![floor],
        routes: vec![
            RouteConfig { to: prefix("198.51.100.0/24"), via: address("192.0.2.254"), vlan: FAR.vlan() },
            RouteConfig { to: prefix("10.9.0.0/16"), via: address("10.0.20.254"), vlan: DB.vlan() },
        ],
        neighbors: neighbors.collect(),
        bindings: vec![BindingConfig { vlan: DB.vlan(), address: DB.v4(), mac: DB.mac }],
        ..Topology::new("bed", ports, vlans)
    }
}

/// A rule from any to any for every service.
pub(crate) fn rule(id: &str, action: Action) -> Rule {
    Rule::new(id, TierId(0), EndpointSet::Any, EndpointSet::Any, vec![Service::ANY], action)
}

/// A service of one destination port.
pub(crate) fn service(protocol: u8, port: u16) -> Vec<Service> {
    vec![Service { protocol: Some(protocol), source: PortRange::ALL, destination: PortRange::single(port) }]
}

/// A policy of one tier.
pub(crate) fn policy(default: DefaultAction, mode: Mode, rules: Vec<Rule>) -> Policy {
    let mut builder = PolicyBuilder::new(vec!["default".into()], default, mode);
    for rule in rules {
        builder.rule(rule);
    }
    builder.build().unwrap()
}

/// The network with a policy that lets everything in, and neighbors asked for.
pub(crate) fn open() -> Setup {
    Setup {
        topology: topology(),
        policy: policy(DefaultAction::Allow, Mode::Enforce, Vec::new()),
        conntrack: Config { max_flows: 10_000, ..Config::default() },
        resolve: Resolve::Ask,
    }
}

/// A bed on that network.
pub(crate) fn open_bed() -> Bed {
    Bed::new(open())
}

/// A bed with these rules, enforced, over a default.
pub(crate) fn bed_with(default: DefaultAction, rules: Vec<Rule>) -> Bed {
    Bed::new(Setup { policy: policy(default, Mode::Enforce, rules), ..open() })
}

impl Host {
    pub(crate) fn v6_octets(&self) -> [u8; 16] {
        match self.v6() {
            IpAddr::V6(address) => address.octets(),
            IpAddr::V4(_) => unreachable!("the host's IPv6 address"),
        }
    }
}
