//! How long saving and restoring flows takes: `restart_time FLOWS DIRECTORY`.
//!
//! Established TCP connections from the web segment of `configs/three-tier.toml` to its app segment, all allowed, so
//! that each is judged and entered. The file is written to the directory, synced and renamed, and read as at a start.

use classifier::addr::{Mac, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::policy::Timestamp;
use classifier::wire::{TcpFlags, TcpSegment, Transport, protocol};
use cli::config;
use cli::run::{Leaving, Newcomers, Resumption, StateDirectory};
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, Terms, Tracked, Tracker};
use dataplane::arena::Arena;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::ownership::{Owners, Spread};
use dataplane::restore::names;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const START: Tick = Tick(1_000_000_000_000);
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// A segment of connection number `n`, of either side.
fn packet(n: u32, vlans: (VlanKey, VlanKey), from_client: bool, flags: u8) -> Packet<'static> {
    let client = (IpAddr::V4(Ipv4Addr::from(0x0a00_0a0a + (n >> 15) % 200)), 1024 + (n & 0x7fff) as u16);
    let server = (IpAddr::V4(Ipv4Addr::from(0x0a00_140a + (n >> 23))), 8080);
    let (source, destination) = if from_client { (client, server) } else { (server, client) };
    let (key, sender) = FlowKey::of_ports(Domain::ROUTED, protocol::TCP, source, destination);
    let (sequence, acknowledgment) = match (from_client, flags) {
        (true, SYN) => (100, 0),
        (true, _) => (101, 501),
        (false, _) => (500, 101),
    };
    let segment = TcpSegment {
        flags: TcpFlags(flags),
        sequence,
        acknowledgment,
        window: 65_535,
        options: &[],
        payload_length: 0,
    };
    let vlan = if from_client { vlans.0 } else { vlans.1 };
    Packet { key, sender, vlan, source_mac: Mac([2, 0, 0, 0, 0, 1]), transport: Transport::Tcp(segment) }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let flows: u32 = arguments.next().and_then(|n| n.parse().ok()).expect("a number of flows");
    let directory = arguments.next().expect("a directory");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/three-tier.toml");
    let mut configuration = config::load(Path::new(file)).unwrap_or_else(|error| panic!("{error}"));
    configuration.conntrack.max_flows = flows;
    let at = |address: [u8; 4]| configuration.locate(IpAddr::from(address)).expect("it is connected");
    let vlans = (at([10, 0, 10, 10]), at([10, 0, 20, 10]));

    let mut tracker = Tracker::new(&configuration.conntrack, [1; 16]);
    for n in 0..flows {
        let Tracked::New(opening) = tracker.track(START, &packet(n, vlans, true, SYN)) else {
            panic!("connection {n} is new")
        };
        let terms = Terms {
            epoch: Epoch(1),
            rule: None,
            idle_timeout: None,
            max_flows: None,
            responder_vlan: Some(vlans.1),
        };
        tracker.open(START, opening, terms).expect("there is room");
        tracker.track(START, &packet(n, vlans, false, SYN | ACK));
        tracker.track(START, &packet(n, vlans, true, ACK));
    }

    let mut generations = Generations::default();
    let facts = PortFacts::of_file(&configuration.topology);
    let policy = Arc::clone(&configuration.policy);
    let generation = generations.compile(policy, &configuration.topology, &facts, Timestamp(0)).unwrap();
    let (arena, pool) = Arena::on_heap(64, 4096);
    let owners = Owners::new(Spread::keyed([3; 16]), 1, generation.network());
    let mut engines = [Engine::new(
        Arc::new(generation),
        &configuration.conntrack,
        [2; 16],
        Arc::new(arena),
        pool,
        Resolve::Ask,
    )];
    let names = names(&configuration.topology, &generations);
    let state = StateDirectory::take(Path::new(&directory)).expect("the directory is free");
    let began = Instant::now();
    let leaving = Leaving { trackers: &[tracker], names: &names, configuration: &configuration };
    let saved = state.save(&leaving).expect("it can be written");
    println!("saved {saved} flows in {:.3} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let resumption = state.restore(Newcomers {
        engines: &mut engines,
        owners: &owners,
        now: START,
        names: &names,
        configuration: &configuration,
    });
    println!("restored in {:.3} s: {resumption}", began.elapsed().as_secs_f64());
    assert!(matches!(resumption, Resumption::Restored { flows, .. } if flows.flows == saved));
}
