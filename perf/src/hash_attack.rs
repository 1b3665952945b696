//! A hash attack that was prepared for one secret, against tables with that secret and with another.
//!
//! The attacker is given more than any has: the secret, and the hash itself. It picks flows whose hashes all begin with
//! the same bits, so that a table with that secret keeps them in a few buckets. With another secret they must cost
//! what random flows cost. How much the prepared table suffers is told beside it: probes are bounded, so that even
//! there nothing grows.

use crate::report::Machine;
use crate::table::{key, look_up, median, open};
use classifier::flow::{End, FlowKey};
use conntrack::config::Config;
use conntrack::{FlowHash, Tracker};
use random::Random;
use serde::Serialize;
use std::time::Instant;

/// Leading bits that the hashes have in common.
const BITS: u32 = 12;
const KNOWN: [u8; 16] = *b"the one it knows";
const OTHER: [u8; 16] = *b"and another one.";
/// How often each is measured, in turn.
const ROUNDS: usize = 9;

/// What `hash-attack` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HashAttackArguments {
    /// Flows of the attack
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(64..=200_000))]
    flows: u32,
    /// Flows that the tables are made for
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    max_flows: u32,
    /// Look-ups of a round
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(64..=1_000_000_000))]
    lookups: u32,
    /// The seed of the addresses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// What a set of flows costs a table.
#[derive(Clone, Debug, Default, Serialize)]
struct Cost {
    /// Nanoseconds to open a flow and answer it.
    insert_ns: f64,
    /// Nanoseconds to look one up.
    lookup_ns: f64,
    /// Flows that found no room.
    refused: u32,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
struct Report {
    flows: u32,
    max_flows: u32,
    /// Random flows, as many.
    random: Cost,
    /// The prepared flows where the secret is the one that they were prepared for.
    known_secret: Cost,
    /// And where it is another.
    other_secret: Cost,
    /// Look-ups and insertions of prepared flows under another secret, over those of random ones.
    lookup_ratio: f64,
    insert_ratio: f64,
    machine: Machine,
}

/// Flows whose hashes under the known secret begin alike.
fn prepare(count: u32, seed: u64) -> Vec<(FlowKey, End)> {
    let tracker = Tracker::new(&Config { max_flows: 1_000, ..Config::default() }, KNOWN);
    let collides = |(key, _): &(FlowKey, End)| {
        let (FlowHash::V4(hash) | FlowHash::V6(hash)) = tracker.hash(key);
        hash >> (64 - BITS) == 1
    };
    (0..u32::MAX).map(|n| key(n, seed, false)).filter(collides).take(count as usize).collect()
}

/// Opens flows in a table that is new, and looks them up.
fn measure(flows: &[(FlowKey, End)], secret: [u8; 16], arguments: &HashAttackArguments) -> Cost {
    let config = Config { max_flows: arguments.max_flows, ..Config::default() };
    let mut tracker = Tracker::new(&config, secret);
    let start = Instant::now();
    let live: Vec<_> = flows.iter().copied().filter(|flow| open(&mut tracker, *flow)).collect();
    let insert_ns = start.elapsed().as_secs_f64() * 1e9 / flows.len() as f64;
    let mut random = Random::new(arguments.seed);
    let lookup_ns = look_up(&mut tracker, arguments.lookups, || *random.pick(&live));
    Cost { insert_ns, lookup_ns, refused: (flows.len() - live.len()) as u32 }
}

/// Measures what the arguments ask for.
pub(crate) fn hash_attack(arguments: &HashAttackArguments) -> String {
    let prepared = prepare(arguments.flows, arguments.seed);
    // Of another stream than those that were searched.
    let random: Vec<_> = (0..arguments.flows).map(|n| key(n, !arguments.seed, false)).collect();
    let subjects = [(&random, OTHER), (&prepared, KNOWN), (&prepared, OTHER)];
    let mut rounds: [Vec<Cost>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for ((flows, secret), costs) in subjects.iter().zip(&mut rounds) {
            costs.push(measure(flows, *secret, arguments));
        }
    }
    let [random, known_secret, other_secret] = rounds.map(|costs| Cost {
        insert_ns: median(costs.iter().map(|cost| cost.insert_ns).collect()),
        lookup_ns: median(costs.iter().map(|cost| cost.lookup_ns).collect()),
        refused: costs[0].refused,
    });
    let report = Report {
        flows: prepared.len() as u32,
        max_flows: arguments.max_flows,
        lookup_ratio: other_secret.lookup_ns / random.lookup_ns,
        insert_ratio: other_secret.insert_ns / random.insert_ns,
        random,
        known_secret,
        other_secret,
        machine: Machine::this(),
    };
    if arguments.json {
        return crate::report::json(&report);
    }
    let line = |name: &str, cost: &Cost| {
        format!(
            "  {name}: {:.1} ns a look-up, {:.0} ns to open and answer, {} refused",
            cost.lookup_ns, cost.insert_ns, cost.refused
        )
    };
    format!(
        "{} flows whose hashes begin with the same {BITS} bits under one secret\n{}\n{}\n{}\n  prepared over random, \
         under another secret: {:.3} times a look-up, {:.3} times an opening",
        report.flows,
        line("random flows", &report.random),
        line("prepared, under that secret", &report.known_secret),
        line("prepared, under another", &report.other_secret),
        report.lookup_ratio,
        report.insert_ratio
    )
}
