//! A small gateway: two routed VLANs and two stitched ones on a trunk, both families, and two policies with rules of each
//! kind.

use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Mode, Policy, PolicyBuilder, PortRange, Rule, Service, TierId,
    Timestamp,
};
use classifier::tables::Tables;
use conntrack::config::Config;
use dataplane::arena::Arena;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::{Generation, Generations, LiveFlows};
use dataplane::network::PortFacts;
use dataplane::topology::{NeighborConfig, OtherFrames, PortConfig, StitchConfig, Topology, VlanConfig};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TRUNK: PortId = PortId(0);
/// The VLANs between which is routed; the third byte of their IPv4 addresses is their number.
pub(crate) const ROUTED: [u16; 2] = [10, 20];
/// The VLANs of the stitch.
pub(crate) const FLOORS: [u16; 2] = [110, 120];
/// The gateway's MAC.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Frames of the engine.
pub(crate) const FRAMES: u32 = 2048;

fn topology() -> Topology {
    let routed = |vid: u16| {
        let mut v6 = [0; 16];
        (v6[0], v6[3], v6[15]) = (0xfd, vid as u8, 1);
        let addresses = vec![
            Prefix::new(IpAddr::from([10, 0, vid as u8, 1]), 24).expect("a legal length"),
            Prefix::new(IpAddr::from(v6), 64).expect("a legal length"),
        ];
        VlanConfig::routed(VlanKey::new(TRUNK, vid), addresses)
    };
    let floors = FLOORS.map(|vid| VlanKey::new(TRUNK, vid));
    let stitched = floors.map(|key| VlanConfig::stitched(key, 0));
    let port = PortConfig { mac: Some(Mac(MAC)), ..PortConfig::new("trunk0") };
    let vlans = ROUTED.map(routed).into_iter().chain(stitched).collect();
    // The MACs of two hosts of each VLAN are known; the others must be asked for.
    let known = ROUTED.into_iter().flat_map(|vid| [2, 3].map(|host| (vid, host)));
    let neighbors = known.flat_map(|(vid, host)| {
        let mut v6 = [0; 16];
        (v6[0], v6[3], v6[15]) = (0xfd, vid as u8, host);
        let (vlan, mac) = (VlanKey::new(TRUNK, vid), Mac([2, 0, 0, 0, vid as u8, host]));
        let addresses = [IpAddr::from([10, 0, vid as u8, host]), IpAddr::from(v6)];
        addresses.map(|address| NeighborConfig { vlan, address, mac })
    });
    let neighbors = neighbors.collect();
    let floors = StitchConfig { name: "floors".to_owned(), vlans: floors.to_vec(), other: OtherFrames::Pass };
    Topology { stitches: vec![floors], neighbors, ..Topology::new("fuzz", vec![port], vlans) }
}

fn ports(protocol: u8, first: u16, last: u16) -> Service {
    Service { protocol: Some(protocol), source: PortRange::ALL, destination: PortRange { first, last } }
}

fn rule(id: &str, service: Service, action: Action, max_flows: Option<u32>) -> Rule {
    let any = || EndpointSet::Any;
    Rule { max_flows, ..Rule::new(id, TierId(0), any(), any(), vec![service], action) }
}

fn policy(default: DefaultAction, rules: impl IntoIterator<Item = Rule>) -> Arc<Policy> {
    let mut builder = PolicyBuilder::new(vec!["only".to_owned()], default, Mode::Enforce);
    rules.into_iter().for_each(|rule| builder.rule(rule));
    Arc::new(builder.build().expect("the policy is valid"))
}

/// Low ports are rejected, those above few, the next denied; all else is allowed.
fn open_policy() -> Arc<Policy> {
    let rules = [("tcp", 6), ("udp", 17)].into_iter().flat_map(|(name, protocol)| {
        [
            rule(&format!("{name}-rejected"), ports(protocol, 1, 0x3fff), Action::Reject, None),
            rule(&format!("{name}-few"), ports(protocol, 0x4000, 0x4fff), Action::Allow, Some(2)),
            rule(&format!("{name}-denied"), ports(protocol, 0x5000, 0x5fff), Action::Deny, None),
        ]
    });
    policy(DefaultAction::Allow, rules)
}

/// Those ports are allowed, for a short time, and few of those above; all else is denied.
fn closed_policy() -> Arc<Policy> {
    let rules = [("tcp", 6), ("udp", 17)].into_iter().flat_map(|(name, protocol)| {
        let idle_timeout = Some(Duration::from_secs(5));
        let low = rule(&format!("{name}-low"), ports(protocol, 1, 0x5fff), Action::Allow, None);
        [
            Rule { idle_timeout, ..low },
            rule(&format!("{name}-high"), ports(protocol, 0x8000, 0x8001), Action::Allow, None),
        ]
    });
    policy(DefaultAction::Deny, rules)
}

/// Generations of both policies, twice: under another pair than before no flow lives on.
pub(crate) fn generations() -> [[Arc<Generation>; 2]; 2] {
    let (mut generations, topology) = (Generations::default(), topology());
    let facts = PortFacts::of_file(&topology);
    [(); 2].map(|()| {
        [(open_policy(), LiveFlows::Flush), (closed_policy(), LiveFlows::Recheck)].map(|(policy, flows)| {
            let tables = Tables::compile(policy, Timestamp(0)).expect("the policy is small");
            let made = generations.of_tables(tables, &topology, &facts, Timestamp(0), flows);
            Arc::new(made.expect("the network is whole"))
        })
    })
}

/// An engine with empty tables.
pub(crate) fn engine(generation: Arc<Generation>, max_flows: u32) -> Engine {
    let (arena, pool) = Arena::on_heap(FRAMES, 4096);
    let config = Config { max_flows, ..Config::default() };
    Engine::new(generation, &config, [7; 16], Arc::new(arena), pool, Resolve::Ask)
}
