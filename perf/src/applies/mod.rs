//! Policies that take turns while workers are at their limit: whether a frame is lost that all of them allow, whether a
//! batch is judged by two of them, how long it takes until one is in force.
//!
//! ```text
//!   every 100 ms: compile -> a generation of it, published -> in force on all workers
//!                            |<------------- in_force ------------->|
//!                            |<--- cut: last revoked frame sent --->|
//! ```
//!
//! It is what the gateway does once it has read and checked a file. Workers poll ports in memory and never rest; who
//! compiles has a core of its own only where there are more cores than workers.

mod port;

use crate::engine::{CHUNK, FRAMES, Failure, SECRET};
use crate::report::{Fate, Machine};
use crate::workload::Revocable;
use classifier::addr::PortId;
use classifier::policy::{Policy, Timestamp};
use classifier::reason::DropReason;
use classifier::tables::Tables;
use conntrack::LimitShare;
use conntrack::config::Config;
use dataplane::arena::Arena;
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::{Generation, GenerationError, Generations, LiveFlows};
use dataplane::network::PortFacts;
use dataplane::ownership::{Owners, Spread};
use dataplane::port::Port;
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Stopped, Worker};
use port::{DENIED, LENGTH, NumberedPort, OPEN, Seen};
use random::Random;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What `applies` is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AppliesArguments {
    /// Policies that are put into force
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    applies: u32,
    /// How many a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    per_second: u32,
    /// Rules of each policy
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rules: u32,
    /// Flows, an eighth of which every other policy denies
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=4_000_000))]
    flows: u32,
    /// Workers, each on a core of its own from the first on
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// The seed of the policies, the flows and their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

/// A time, over all policies, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Times {
    median: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(mut nanoseconds: Vec<u64>) -> Times {
        nanoseconds.sort_unstable();
        let at = |part: f64| {
            let index = ((nanoseconds.len() as f64 * part) as usize).min(nanoseconds.len() - 1);
            nanoseconds[index] as f64 / 1e6
        };
        Times { median: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ms half the time, p99 {:.2}, at most {:.2}", self.median, self.p99, self.max)
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
struct Report {
    applies: u32,
    /// Policies a second that were put into force.
    per_second: f64,
    rules: u32,
    flows: u32,
    workers: u16,
    seed: u64,
    /// From policy to tables.
    compile_ms: Times,
    /// From the making of the generation until all workers had it.
    in_force_ms: Times,
    /// From the same moment until the last frame of a revoked flow was sent, over all workers.
    cut_ms: Times,
    /// Policies under which a revoked frame was sent after all workers had it.
    cut_late: u32,
    /// Frames that all policies allow.
    kept: u64,
    /// Those that did not come out.
    lost: u64,
    /// Those that came out after a later one of their flow.
    reordered: u64,
    /// Batches that two policies have judged.
    torn: u64,
    /// Frames that came out with another batch than their own.
    strays: u64,
    /// Millions of frames a second that came in before the first of these policies, and beside them.
    mpps_before: f64,
    mpps_beside: f64,
    /// Drops by reason.
    dropped: BTreeMap<&'static str, u64>,
    /// Whether every frame is under exactly one heading.
    balanced: bool,
    machine: Machine,
}

impl Report {
    /// Whether nothing went wrong; how long it took is for the reader to judge.
    fn is_right(&self) -> bool {
        // Of a flow that there was, and of one that would begin.
        let revoked = [DropReason::PolicyChanged, DropReason::PolicyDeny];
        let revoked = revoked.map(|reason| self.dropped.get(reason.name()).copied().unwrap_or(0));
        self.lost + self.reordered + self.torn + self.strays == 0
            && self.cut_late == 0
            && self.balanced
            && revoked.iter().sum::<u64>() == self.dropped.values().sum::<u64>()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, processors, kernel } = &self.machine;
        writeln!(
            f,
            "{} policies of {} rules, {:.2} a second, {} workers, {} flows, seed {}",
            self.applies, self.rules, self.per_second, self.workers, self.flows, self.seed
        )?;
        writeln!(f, "  compiled in {}", self.compile_ms)?;
        writeln!(f, "  in force on all workers after {}", self.in_force_ms)?;
        writeln!(f, "  revoked flows cut after {}; later than in force: {}", self.cut_ms, self.cut_late)?;
        writeln!(
            f,
            "  of {} frames that all allow {} lost, {} out of order; batches judged by two: {}, strays {}",
            self.kept, self.lost, self.reordered, self.torn, self.strays
        )?;
        writeln!(
            f,
            "  {:.3} Mpps before, {:.3} beside; dropped {:?}, books {}",
            self.mpps_before,
            self.mpps_beside,
            self.dropped,
            if self.balanced { "balanced" } else { "NOT balanced" }
        )?;
        write!(f, "  {processor}, {processors} processors, Linux {kernel}")
    }
}

/// How long workers run before it counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long a policy may take to be in force.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures; an error where a frame was lost, or a batch judged twice.
pub(crate) fn applies(arguments: &AppliesArguments) -> Result<String, Box<dyn std::error::Error>> {
    let report = measure(arguments)?;
    let text = if arguments.json { serde_json::to_string(&report)? } else { report.to_string() };
    if report.is_right() { Ok(text) } else { Err(format!("that is not right:\n{text}").into()) }
}

/// Workers at work, and what they share.
struct Crew {
    control: Arc<Control>,
    seen: Vec<Arc<Seen>>,
    threads: Vec<JoinHandle<Stopped>>,
    begun: Instant,
}

impl Crew {
    fn hire(workload: &Revocable, generation: Generation, count: usize, seed: u64) -> Crew {
        let begun = Instant::now();
        let generation = Arc::new(generation);
        let owners = Owners::new(Spread::keyed(SECRET), count, generation.network());
        let control = Control::new(Arc::clone(&generation), count).expect("there are descriptors left");
        let control = Arc::new(control);
        let (arena, mut pool) = Arena::on_heap(FRAMES * count as u32, CHUNK);
        let clock = Clock::start();
        let mut limits = LimitShare::of_all(count).into_iter();
        let mut crew = Crew { control, seen: Vec::new(), threads: Vec::new(), begun };
        for (index, seat) in dataplane::seats(&owners).into_iter().enumerate() {
            let port = port_of(workload, &owners, index, seed, begun);
            crew.seen.push(port.seen());
            let port: Box<dyn Port> = Box::new(port);
            let default = Config::default();
            let config = Config { max_flows: default.max_flows / count as u32, ..default };
            let (pool, arena) = (pool.split_off(FRAMES as usize), Arc::new(arena.share()));
            let mut engine = Engine::new(Arc::clone(&generation), &config, SECRET, arena, pool, Resolve::Ask);
            let control = Arc::clone(&crew.control);
            let worker = if count == 1 {
                Worker::new(engine, vec![port], control, 0, Idle::Poll, None)
            } else {
                engine.join(count, limits.next());
                Worker::among(engine, vec![vec![port]], control, seat, Idle::Poll, None)
            };
            crew.threads.push(std::thread::spawn(move || {
                core_affinity::set_for_current(core_affinity::CoreId { id: index });
                worker.run(clock)
            }));
        }
        crew
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn sum(&self, counter: impl Fn(&Seen) -> &AtomicU64) -> u64 {
        self.seen.iter().map(|seen| counter(seen).load(Ordering::Acquire)).sum()
    }

    /// Waits until every worker has sent a batch by that verdict.
    fn wait_for(&self, verdict: u64) -> Result<(), &'static str> {
        let deadline = Instant::now() + PATIENCE;
        while self.seen.iter().any(|seen| seen.verdict.load(Ordering::Acquire) != verdict) {
            if Instant::now() > deadline {
                return Err("a worker does not do what the policy says");
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }
}

/// The frames that a worker owns, at its port.
fn port_of(workload: &Revocable, owners: &Owners, worker: usize, seed: u64, begun: Instant) -> NumberedPort {
    let is_own = |frame: &&Vec<u8>| owners.of(PortId(0), frame).unwrap_or(0) == worker;
    let whole = |frame: &Vec<u8>| -> [u8; LENGTH] { frame[..].try_into().expect("frames are of one length") };
    let mut random = Random::new(seed.rotate_left(32));
    let mut kept = Vec::new();
    // The openers first.
    for direction in [0, 1] {
        let frames = workload.kept.iter().map(|both| &both[direction]);
        let mut own: Vec<[u8; LENGTH]> = frames.filter(is_own).map(whole).collect();
        random.shuffle(&mut own);
        kept.append(&mut own);
    }
    let revocable = workload.revoked.iter().filter(is_own).map(whole).collect();
    NumberedPort::new(kept, revocable, workload.data, begun)
}

fn measure(arguments: &AppliesArguments) -> Result<Report, Box<dyn std::error::Error>> {
    let workload = Revocable::new(arguments.rules, arguments.flows, arguments.seed);
    let facts = PortFacts::of_file(&workload.topology);
    let mut generations = Generations::default();
    let mut generation = |tables: Tables| {
        let (topology, now) = (&workload.topology, Timestamp(0));
        generations.of_tables(tables, topology, &facts, now, LiveFlows::Recheck).map_err(Failure::Generation)
    };
    let tables = |policy: &Arc<Policy>| {
        Tables::compile(Arc::clone(policy), Timestamp(0))
            .map_err(|error| Failure::Generation(GenerationError::Policy(error)))
    };
    let first = generation(tables(&workload.open)?)?;
    let crew = Crew::hire(&workload, first, usize::from(arguments.workers), arguments.seed);
    crew.wait_for(OPEN)?;
    std::thread::sleep(WARM_UP);
    let rate = |frames: u64, since: Instant| frames as f64 / since.elapsed().as_secs_f64() / 1e6;
    let (since, before) = (Instant::now(), crew.sum(|seen| &seen.received));
    std::thread::sleep(WARM_UP * 2);
    let mpps_before = rate(crew.sum(|seen| &seen.received) - before, since);

    let (since, before) = (Instant::now(), crew.sum(|seen| &seen.received));
    let (mut compile, mut in_force, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    let mut cut_late = 0;
    for number in 0..arguments.applies {
        let due = Duration::from_secs(1) / arguments.per_second * number;
        std::thread::sleep(due.saturating_sub(since.elapsed()));
        let is_revoking = number % 2 == 0;
        let began = crew.now();
        let tables = tables(if is_revoking { &workload.revoking } else { &workload.open })?;
        let compiled = crew.now();
        crew.control.publish(Arc::new(generation(tables)?));
        if !crew.control.wait_until_installed(PATIENCE) {
            return Err("a worker does not take up a policy".into());
        }
        let installed = crew.now();
        compile.push(compiled - began);
        in_force.push(installed - compiled);
        crew.wait_for(if is_revoking { DENIED } else { OPEN })?;
        if is_revoking {
            let last = crew.seen.iter().map(|seen| seen.last_open.load(Ordering::Acquire)).max();
            let last = last.expect("there is a worker");
            cut_late += u32::from(last > installed);
            cut.push(last.saturating_sub(compiled));
        }
    }
    let per_second = f64::from(arguments.applies) / since.elapsed().as_secs_f64();
    let mpps_beside = rate(crew.sum(|seen| &seen.received) - before, since);
    let Crew { control, seen, threads, .. } = crew;
    control.stop();
    let counters = threads
        .into_iter()
        .map(|thread| thread.join().expect("a worker does not panic").counters)
        .fold(Counters::default(), |sum, counters| sum.and(&counters));
    let sum = |counter: fn(&Seen) -> &AtomicU64| {
        seen.iter().map(|seen| counter(seen).load(Ordering::Acquire)).sum::<u64>()
    };
    let dropped = Fate::reasons(&Counters::default(), &counters);
    // What was lost at the very end leaves no gap.
    let missing = sum(|seen| &seen.received) - sum(|seen| &seen.sent) - counters.dropped_total();
    Ok(Report {
        applies: arguments.applies,
        per_second,
        rules: arguments.rules,
        flows: arguments.flows,
        workers: arguments.workers,
        seed: arguments.seed,
        compile_ms: Times::of(compile),
        in_force_ms: Times::of(in_force),
        cut_ms: Times::of(cut),
        cut_late,
        kept: sum(|seen| &seen.kept),
        lost: sum(|seen| &seen.lost) + missing,
        reordered: sum(|seen| &seen.reordered),
        torn: sum(|seen| &seen.torn),
        strays: sum(|seen| &seen.strays),
        mpps_before,
        mpps_beside,
        dropped,
        balanced: counters.balance(),
        machine: Machine::this(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short() -> AppliesArguments {
        AppliesArguments {
            applies: 12,
            per_second: 100,
            rules: 200,
            flows: 1_000,
            workers: 2,
            seed: 1,
            json: true,
        }
    }

    #[test]
    fn policies_that_take_turns_lose_nothing_that_all_allow() {
        let report = measure(&short()).unwrap();
        assert!(report.is_right(), "{report}");
        assert!(report.kept > 1_000 && report.dropped.contains_key("policy-deny"), "{report}");
    }

    #[test]
    fn a_frame_that_is_lost_and_a_batch_that_is_torn_are_noticed() {
        let (arena, mut pool) = Arena::on_heap(256, 2_048);
        let frames = |count| vec![[0; LENGTH]; count];
        // Two batches are a round of all flows.
        let mut port = NumberedPort::new(frames(112), frames(10), 46, Instant::now());
        let seen = port.seen();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let batch = |port: &mut NumberedPort, pool: &mut dataplane::arena::FramePool, without: &[usize]| {
            let mut frames = Vec::new();
            port.receive(&arena, pool, 64, &mut frames);
            let mut kept = Vec::new();
            for (at, frame) in frames.into_iter().enumerate() {
                if without.contains(&at) { pool.give(frame) } else { kept.push(frame) }
            }
            port.transmit(&arena, pool, &mut kept);
        };
        batch(&mut port, &mut pool, &[]);
        assert_eq!((read(&seen.verdict), read(&seen.lost), read(&seen.torn)), (OPEN, 0, 0));
        batch(&mut port, &mut pool, &[0, 8, 16, 24, 32, 40, 48, 56]);
        assert_eq!((read(&seen.verdict), read(&seen.lost), read(&seen.torn)), (DENIED, 0, 0));
        batch(&mut port, &mut pool, &[0]);
        assert_eq!((read(&seen.lost), read(&seen.torn)), (0, 1));
        batch(&mut port, &mut pool, &[1, 2]);
        batch(&mut port, &mut pool, &[]);
        batch(&mut port, &mut pool, &[]);
        assert_eq!((read(&seen.lost), read(&seen.reordered), read(&seen.strays)), (2, 0, 0));
    }
}
