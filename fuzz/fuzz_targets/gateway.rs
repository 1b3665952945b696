//! A small gateway: two routed VLANs and two stitched ones on a trunk, both families, and a rule of each kind.

use classifier::addr::{Mac, PortId, Prefix, VlanKey};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Mode, PolicyBuilder, PortRange, Rule, Service, TierId, Timestamp,
};
use conntrack::config::Config;
use dataplane::arena::Arena;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::topology::{OtherFrames, PortConfig, StitchConfig, Topology, VlanConfig};
use std::net::IpAddr;
use std::sync::Arc;

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
    let floors = StitchConfig { name: "floors".to_owned(), vlans: floors.to_vec(), other: OtherFrames::Pass };
    Topology { stitches: vec![floors], ..Topology::new("fuzz", vec![port], vlans) }
}

fn rule(id: &str, service: Service, action: Action, max_flows: Option<u32>) -> Rule {
    let any = || EndpointSet::Any;
    Rule { max_flows, ..Rule::new(id, TierId(0), any(), any(), vec![service], action) }
}

/// An engine with empty tables. Low ports are rejected, those above few, the next denied; all else is allowed.
pub(crate) fn engine() -> Engine {
    let mut builder = PolicyBuilder::new(vec!["only".to_owned()], DefaultAction::Allow, Mode::Enforce);
    let to = |protocol, first, last| Service {
        protocol: Some(protocol),
        source: PortRange::ALL,
        destination: PortRange { first, last },
    };
    for (name, protocol) in [("tcp", 6), ("udp", 17)] {
        builder.rule(rule(&format!("{name}-rejected"), to(protocol, 1, 0x3fff), Action::Reject, None));
        builder.rule(rule(&format!("{name}-few"), to(protocol, 0x4000, 0x4fff), Action::Allow, Some(2)));
        builder.rule(rule(&format!("{name}-denied"), to(protocol, 0x5000, 0x5fff), Action::Deny, None));
    }
    let policy = Arc::new(builder.build().expect("the policy is valid"));
    let topology = topology();
    let generation = Generations::default()
        .compile(policy, &topology, &PortFacts::of_file(&topology), Timestamp(0))
        .expect("the policy is small and the network whole");
    let (arena, pool) = Arena::on_heap(FRAMES, 4096);
    let config = Config { max_flows: 64, ..Config::default() };
    Engine::new(Arc::new(generation), &config, [7; 16], Arc::new(arena), pool, Resolve::Ask)
}
