//! The flow table alone, through the tracker's public interface: what a flow costs in memory, whether a nearly full
//! table still takes one, and whether look-ups slow down as it fills.
//!
//! Flows are UDP and answered, so that none may be evicted. Look-ups are packets of random live flows, in batches as
//! the pipeline makes them: all keys are hashed and asked for before the first is looked up.

use crate::report::Machine;
use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, End, FlowKey};
use classifier::wire::{Transport, protocol};
use conntrack::config::Config;
use conntrack::time::Tick;
use conntrack::{Epoch, FlowHash, Packet, Terms, Tracked, Tracker};
use random::Random;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

const NOW: Tick = Tick(1_000_000_000);
const OURS: VlanKey = VlanKey::new(PortId(0), 10);
const THEIRS: VlanKey = VlanKey::new(PortId(0), 20);
/// Packets whose memory is asked for at once.
const BATCH: usize = 64;
/// How often each load is measured, in turn where it can be.
const ROUNDS: usize = 7;

/// What `table` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TableArguments {
    /// Flows that the table is made for
    #[arg(long, default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    flows: u32,
    /// IPv6 instead of IPv4
    #[arg(long)]
    v6: bool,
    /// Look-ups of a round
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(64..=1_000_000_000))]
    lookups: u32,
    /// The seed of the addresses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
struct Report {
    flows: u32,
    v6: bool,
    /// Bytes that the table takes when it is full, by its own account.
    table_bytes: usize,
    bytes_per_flow: f64,
    /// Bytes for openings that a flood may want remembered, whatever the number of flows.
    flood_bytes: usize,
    /// Bytes of this process that are in memory beyond those before the table was filled.
    resident_bytes: Option<u64>,
    /// The part of the openings from 95 % load to the last that found room.
    insertions_above_95_percent: f64,
    insert_ns: f64,
    /// Nanoseconds a look-up, hash included; medians.
    lookup_ns_at_10_percent: f64,
    lookup_ns_at_100_percent: f64,
    /// The second over the first.
    lookup_ratio: f64,
    machine: Machine,
}

/// The key of the `n`th flow, and the end that opens it.
pub(crate) fn key(n: u32, seed: u64, is_v6: bool) -> (FlowKey, End) {
    // A permutation of the numbers, so that keys differ and have no order.
    let mixed = (n ^ seed as u32).wrapping_mul(0x9e37_79b1);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b);
    let mixed = mixed ^ mixed >> 13;
    let (host, port) = (mixed >> 12, 32_768 + (mixed & 0xfff) as u16);
    let address = |network: u32, host: u32| {
        if is_v6 {
            IpAddr::V6(Ipv6Addr::from(u128::from(0xfd00_0000 + network) << 96 | u128::from(host)))
        } else {
            IpAddr::V4(Ipv4Addr::from(network + host))
        }
    };
    let from = (address(0x0a10_0000, host), port);
    let to = (address(0x0a20_0000, host & 0xff), 8_000);
    FlowKey::of_ports(Domain::ROUTED, protocol::UDP, from, to)
}

fn packet(key: FlowKey, sender: End, vlan: VlanKey) -> Packet<'static> {
    Packet { key, sender, vlan, source_mac: Mac::ZERO, transport: Transport::Udp }
}

/// Opens a flow and answers it. Whether there was room.
pub(crate) fn open(tracker: &mut Tracker, (key, opener): (FlowKey, End)) -> bool {
    let Tracked::New(opening) = tracker.track(NOW, &packet(key, opener, OURS)) else { return false };
    let terms = Terms {
        epoch: Epoch(1),
        rule: None,
        idle_timeout: None,
        max_flows: None,
        responder_vlan: Some(THEIRS),
    };
    if tracker.open(NOW, opening, terms).is_err() {
        return false;
    }
    matches!(tracker.track(NOW, &packet(key, opener.other(), THEIRS)), Tracked::Flow { .. })
}

/// Time of a look-up, over packets of the flows that `pick` names.
pub(crate) fn look_up(tracker: &mut Tracker, count: u32, mut pick: impl FnMut() -> (FlowKey, End)) -> f64 {
    let mut keys = [pick(); BATCH];
    let mut hashes: [FlowHash; BATCH] = [tracker.hash(&keys[0].0); BATCH];
    let (mut found, mut spent) = (0, Duration::ZERO);
    let batches = (count as usize).div_ceil(BATCH);
    for _ in 0..batches {
        keys.fill_with(&mut pick);
        let start = Instant::now();
        for (hash, (key, _)) in hashes.iter_mut().zip(&keys) {
            *hash = tracker.hash(key);
            tracker.prefetch(*hash);
        }
        for hash in hashes {
            tracker.prefetch_entry(hash);
        }
        for ((key, opener), hash) in keys.into_iter().zip(hashes) {
            let tracked = tracker.track_hashed(NOW, &packet(key, opener, OURS), hash);
            found += usize::from(matches!(tracked, Tracked::Flow { .. }));
        }
        spent += start.elapsed();
    }
    assert_eq!(found, batches * BATCH, "every flow that was let in is found");
    spent.as_secs_f64() * 1e9 / found as f64
}

/// The middle one of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Measures what the arguments ask for.
pub(crate) fn table(arguments: &TableArguments) -> String {
    let TableArguments { flows, v6, lookups, seed, json } = *arguments;
    let config = Config { max_flows: flows, ..Config::default() };
    let before = resident();
    let mut full = Tracker::new(&config, *b"bulkhead-perf...");
    let (nearly, tenth) = ((u64::from(flows) * 95 / 100) as u32, flows / 10);
    let start = Instant::now();
    let mut live = Vec::with_capacity(flows as usize);
    live.extend((0..nearly).filter(|n| open(&mut full, key(*n, seed, v6))));
    assert_eq!(live.len(), nearly as usize, "a table that is not nearly full takes every flow");
    live.extend((nearly..flows).filter(|n| open(&mut full, key(*n, seed, v6))));
    let insert_ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(flows);
    let list = (live.len() * size_of::<u32>()) as u64;
    let resident_bytes = resident().zip(before).map(|(after, before)| after.saturating_sub(before + list));
    let taken = live.len() as u32 - nearly;
    // A second table of the same size, so that both loads are measured in turn.
    let mut sparse = Tracker::new(&config, *b"bulkhead-perf...");
    for n in 0..tenth {
        assert!(open(&mut sparse, key(n, seed, v6)), "there is room");
    }
    let (mut at_10, mut at_100) = (Vec::new(), Vec::new());
    let mut random = Random::new(seed);
    for _ in 0..ROUNDS {
        at_10.push(look_up(&mut sparse, lookups, || key(random.below(tenth), seed, v6)));
        at_100.push(look_up(&mut full, lookups, || key(*random.pick(&live), seed, v6)));
    }
    let (at_10, at_100) = (median(at_10), median(at_100));
    let (v4_bytes, v6_bytes) = full.memory();
    let table_bytes = if v6 { v6_bytes } else { v4_bytes };
    let report = Report {
        flows,
        v6,
        table_bytes,
        bytes_per_flow: table_bytes as f64 / f64::from(flows),
        flood_bytes: full.flood_memory(),
        resident_bytes,
        insertions_above_95_percent: f64::from(taken) / f64::from(flows - nearly),
        insert_ns,
        lookup_ns_at_10_percent: at_10,
        lookup_ns_at_100_percent: at_100,
        lookup_ratio: at_100 / at_10,
        machine: Machine::this(),
    };
    if json {
        return crate::report::json(&report);
    }
    format!(
        "{} flows: {} bytes, {:.1} a flow, and {} for floods; resident {}\n  openings above 95 % load: {:.4} % found \
         room; {:.0} ns to open and answer one\n  look-ups: {:.1} ns at 10 %, {:.1} ns at 100 %: {:.2} times",
        flows,
        report.table_bytes,
        report.bytes_per_flow,
        report.flood_bytes,
        report.resident_bytes.map_or("unknown".to_owned(), |bytes| bytes.to_string()),
        report.insertions_above_95_percent * 100.0,
        insert_ns,
        at_10,
        at_100,
        report.lookup_ratio
    )
}
