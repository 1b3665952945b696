//! A flood beside established connections and new ones, on a clock of its own: who gets through, and at what cost.
//!
//! ```text
//!   established   --flows, each sends and is answered 100 times a second in all        lost?  goodput?
//!   clients       --clients a second: SYN, SYN-ACK, ACK over a round trip of 20 ms;    through within 3 s?
//!                 what is not answered is sent again after 1, 2 and 4 s (RFC 6298)
//!   attack        --attack-mpps of one kind, the rest of every batch                   forwarded?  at what cost?
//! ```
//!
//! The clock is simulated: it goes on by what the attack's rate says, however long the engine takes, so that a run
//! gives the same result on every machine but for what it cost. The rate that the engine kept is measured beside it:
//! a machine that is slower than `--attack-mpps` would lose frames of all three kinds alike at its port, before this
//! program could do anything about it.
//!
//! Of ten frames of the attack eight are what the policy lets in, from random hosts and ports of a segment; one is
//! from a host of no segment, and one from outside the VLAN.

mod clients;
mod flood;
mod frames;
mod report;

use crate::EngineArguments;
use crate::share;
use crate::workload::Workload;
use clap::{Args, ValueEnum};
use classifier::addr::PortId;
use classifier::policy::Timestamp;
use clients::Clients;
use conntrack::config::Config;
use conntrack::time::Tick;
use dataplane::arena::Arena;
use dataplane::batch::{Batch, LANES, Verdict};
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::generation::{GenerationError, Generations};
use dataplane::network::PortFacts;
use flood::Flood;
use frames::Established;
use random::Random;
use report::Report;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Chunks of the arena.
const FRAMES: u32 = 4_096;
const CHUNK: usize = 2_048;
const TRUNK: PortId = PortId(0);
/// The hash's secret: fixed, so that a run can be repeated.
const SECRET: [u8; 16] = *b"bulkhead-perf...";
const START: Tick = Tick(1_000_000_000);
/// Frames a second of an established flow, both directions together.
const STEADY_RATE: u64 = 100;
/// How long the flood goes on after the last client began, so that each has its three seconds.
const AFTERMATH: Duration = Duration::from_secs(3);

/// What an attacker sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Attack {
    /// SYNs that are never followed up.
    Syn,
    /// ACKs of no connection.
    Ack,
    /// Datagrams that nobody answers.
    Udp,
    /// First fragments without the rest, and rests without the first.
    Fragment,
    /// Port unreachables about packets that nobody sent, and about established connections.
    IcmpError,
}

/// What `engine` is told of a flood.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AttackArguments {
    /// Instead of throughput, measure what a flood of this kind does to others
    #[arg(long, value_enum)]
    pub(crate) attack: Option<Attack>,
    /// Millions of packets a second of the flood, by a simulated clock; left out: 1
    #[arg(long, requires = "attack", value_parser = rate)]
    pub(crate) attack_mpps: Option<f64>,
    /// Connections that begin in a second beside the flood; left out: 500
    #[arg(long, requires = "attack", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) clients: Option<u32>,
    /// Flows that the table holds; left out: as by default
    #[arg(long, requires = "attack", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) max_flows: Option<u32>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("a number from 0.001 to 1000".to_owned()),
    }
}

/// Whose frame it is: the tag of its lane.
#[derive(Clone, Copy)]
enum Owner {
    Attack,
    Established,
    Client(u32),
}

impl Owner {
    fn tag(self) -> u64 {
        match self {
            Owner::Attack => 0,
            Owner::Established => 1,
            Owner::Client(number) => 2 + u64::from(number),
        }
    }

    fn of(tag: u64) -> Owner {
        match tag {
            0 => Owner::Attack,
            1 => Owner::Established,
            // Clients have 32-bit numbers.
            number => Owner::Client((number - 2) as u32),
        }
    }
}

/// The engine, and what goes in and out.
struct Bench {
    engine: Engine,
    arena: Arc<Arena>,
    batch: Batch,
    now: Tick,
    /// Time that the engine took.
    busy: Duration,
}

impl Bench {
    fn new(workload: &Workload, max_flows: u32) -> Result<Bench, GenerationError> {
        let facts = PortFacts::of_file(&workload.topology);
        let policy = Arc::clone(&workload.policy);
        let generation = Generations::default().compile(policy, &workload.topology, &facts, Timestamp(0))?;
        let (arena, pool) = Arena::on_heap(FRAMES, CHUNK);
        let arena = Arc::new(arena);
        let config = Config { max_flows, ..Config::default() };
        let engine =
            Engine::new(Arc::new(generation), &config, SECRET, Arc::clone(&arena), pool, Resolve::Ask);
        Ok(Bench { engine, arena, batch: Batch::default(), now: START, busy: Duration::ZERO })
    }

    fn has_room(&self) -> bool {
        self.batch.len() < LANES
    }

    /// Puts a frame on a lane. The batch has room.
    fn push(&mut self, owner: Owner, write: impl FnOnce(&mut [u8]) -> usize) {
        let mut frame = self.engine.pool().take().expect("every frame comes back");
        let length = write(self.arena.buffer_mut(&mut frame));
        self.arena.set_length(&mut frame, length);
        self.batch.push(TRUNK, owner.tag(), frame);
    }

    /// Lets the engine have the batch, and tells of each frame whether it was forwarded.
    fn run(&mut self, mut tell: impl FnMut(Owner, bool)) {
        let start = Instant::now();
        self.engine.process(self.now, &mut self.batch);
        self.engine.flush(TRUNK, |_, pool, frames| frames.drain(..).for_each(|frame| pool.give(frame)));
        self.engine.tick(self.now, Sweep::AtMost(1024));
        self.busy += start.elapsed();
        for lane in 0..self.batch.len() {
            let is_forwarded = self.batch.outcomes[lane].verdict == Verdict::Forward;
            tell(Owner::of(self.batch.tags[lane]), is_forwarded);
        }
        self.batch.clear();
    }
}

/// Runs a flood as the arguments say.
pub(crate) fn attack(arguments: &EngineArguments, kind: Attack) -> Result<Report, GenerationError> {
    let options = &arguments.attack;
    let mpps = options.attack_mpps.unwrap_or(1.0);
    let rate = options.clients.unwrap_or(500);
    let seconds = Duration::from_secs(arguments.seconds);
    let count = u32::try_from(u64::from(rate) * arguments.seconds).unwrap_or(u32::MAX);
    let all = EngineArguments {
        flows: arguments.flows.saturating_add(count).min(20_000_000),
        proto: crate::Protocol::Tcp,
        ..arguments.clone()
    };
    let workload = Workload::new(&all);
    let (settled, newcomers) = workload.flows.split_at(arguments.flows as usize);
    let mut bench = Bench::new(&workload, options.max_flows.unwrap_or(Config::default().max_flows))?;

    let established = Established::new(settled);
    established.open(&mut bench);
    let before = bench.engine.counters().clone();
    bench.busy = Duration::ZERO;
    let (start, ran) = (Instant::now(), share::now());

    let mut clients = Clients::new(newcomers, rate, bench.now, arguments.seed);
    let mut flood = Flood::new(kind, &workload.flows, settled, Random::new(arguments.seed ^ 0x00a7_7ac4));
    let end = bench.now + seconds + AFTERMATH;
    let (begin, mut sent, mut forwarded) = (bench.now, 0_u64, 0_u64);
    let (mut steady, mut goodput) = (0_u64, 0_u64);
    while bench.now < end {
        let due = bench.now.since(begin).as_micros() as u64 * settled.len() as u64 * STEADY_RATE / 1_000_000;
        while steady < due && bench.has_room() {
            let number = steady;
            bench.push(Owner::Established, |buffer| established.write(number, buffer));
            steady += 1;
        }
        while bench.has_room()
            && let Some((number, segment)) = clients.next(bench.now)
        {
            bench.push(Owner::Client(number), |buffer| frames::segment(buffer, &segment));
        }
        let mut attacks = 0_u32;
        while bench.has_room() {
            bench.push(Owner::Attack, |buffer| flood.write(buffer));
            attacks += 1;
        }
        sent += u64::from(attacks);
        let now = bench.now;
        bench.run(|owner, is_forwarded| match owner {
            Owner::Attack => forwarded += u64::from(is_forwarded),
            Owner::Established => goodput += u64::from(is_forwarded),
            Owner::Client(number) => clients.tell(now, number, is_forwarded),
        });
        bench.now = bench.now + Duration::from_nanos((f64::from(attacks) * 1_000.0 / mpps) as u64);
    }
    let busy = bench.busy;
    let elapsed = start.elapsed().as_secs_f64();
    let share_of_core = share::now().zip(ran).map(|(after, before)| (after - before).as_secs_f64() / elapsed);
    let counters = bench.engine.counters().clone();
    let lost = established.lost(&mut bench);
    Ok(Report::new(report::Findings {
        arguments,
        kind,
        mpps,
        sent,
        forwarded,
        steady,
        goodput,
        lost,
        clients: &clients,
        busy,
        share_of_core,
        before: &before,
        after: &counters,
        tracker: bench.engine.tracker(),
    }))
}

#[cfg(test)]
mod tests;
