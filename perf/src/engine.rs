//! Frames from memory, through the engine, back into memory: one core, no driver, no kernel.
//!
//! A turn is what a worker's turn is: read the clock, receive a batch, let the engine have it, flush, run the
//! timers. The flows are opened first, then one round of the steady frames warms the caches, then it is measured.
//! The clock is read once a turn, which costs less than half a nanosecond a packet at batches of 64.
//!
//! While flows are opened, and as they are first answered, the engine's clock stands: however many they are, and however
//! long that takes, none ends before it is measured. With `--new-flow-share` it goes on by packets
//! ([`crate::workload::MixArguments`]).
//!
//! In the measured part every frame belongs to an open flow or opens one, and must go out again. A frame that does not
//! is a fault of the engine or of the workload, and the run fails. Junk (`--junk-share`) is dropped instead.

use crate::report::{Fate, Machine, Percentiles, Report};
use crate::stages::Stages;
use crate::workload::Workload;
use crate::{EngineArguments, Protocol, Subject, cycles, share};
use classifier::addr::PortId;
use classifier::policy::Timestamp;
use conntrack::config::Config;
use conntrack::time::Tick;
use dataplane::arena::{Arena, Frame};
use dataplane::batch::Batch;
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::{GenerationError, Generations};
use dataplane::network::PortFacts;
use dataplane::port::Port;
use dataplane::port::memory::TracePort;
use hdrhistogram::Histogram;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Chunks of the arena: what a ring of 2048 descriptors and some batches hold, as with a driver.
const FRAMES: u32 = 4_096;
/// Bytes of a chunk, unless frames are longer.
const CHUNK: usize = 2_048;
/// The only port of the workload.
const TRUNK: PortId = PortId(0);
/// The hash's secret: fixed, so that runs can be compared instruction by instruction.
const SECRET: [u8; 16] = *b"bulkhead-perf...";
/// Where the run's time begins; tables take zero for "never".
const START: Tick = Tick(1_000_000_000);

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The generated policy can't be put into force.
    Generation(GenerationError),
    /// Not every frame came out again.
    Lost(Box<Fate>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Generation(error) => error.fmt(f),
            Failure::Lost(fate) => write!(f, "not every frame came out again: {fate}"),
        }
    }
}

impl std::error::Error for Failure {}

/// The engine, its port, and what passes between them.
struct Harness {
    subject: Subject,
    arena: Arc<Arena>,
    engine: Engine,
    port: TracePort,
    frames: Vec<Frame>,
    batch: Batch,
    stages: Stages,
    lanes: usize,
    clock: Clock,
}

/// What the engine takes a moment for.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// It stands.
    Standing(Tick),
    /// It goes on from a moment as time does since another.
    Running(Tick, Instant),
    /// It goes on by so many nanoseconds a packet.
    Paced(Tick, f64),
}

impl Clock {
    /// The moment, where it is `now`.
    fn at(self, now: Instant) -> Tick {
        match self {
            Clock::Standing(tick) | Clock::Paced(tick, _) => tick,
            Clock::Running(start, origin) => start + (now - origin),
        }
    }

    /// So many packets have been had.
    fn had(&mut self, packets: usize) {
        if let Clock::Paced(tick, pace) = self {
            *tick = *tick + Duration::from_nanos((packets as f64 * *pace) as u64);
        }
    }
}

impl Harness {
    fn new(workload: &Workload, arguments: &EngineArguments) -> Result<Harness, GenerationError> {
        let facts = PortFacts::of_file(&workload.topology);
        let policy = Arc::clone(&workload.policy);
        // Nothing in the generated policy expires: any moment will do.
        let generation = Generations::default().compile(policy, &workload.topology, &facts, Timestamp(0))?;
        let (arena, pool) = Arena::on_heap(FRAMES, CHUNK.max(usize::from(arguments.size)));
        let arena = Arc::new(arena);
        let default = Config::default();
        let config = Config { max_flows: default.max_flows.max(arguments.flows), ..default };
        let lanes = usize::from(arguments.batch);
        Ok(Harness {
            subject: arguments.subject,
            engine: Engine::new(
                Arc::new(generation),
                &config,
                SECRET,
                Arc::clone(&arena),
                pool,
                Resolve::Ask,
            ),
            arena,
            port: TracePort::new(Arc::clone(&workload.opening)),
            frames: Vec::with_capacity(lanes),
            batch: Batch::default(),
            stages: Stages::default(),
            lanes,
            clock: Clock::Standing(START),
        })
    }

    /// Receives, judges and sends up to `room` frames; how many there were.
    #[inline]
    fn turn(&mut self, now: Tick, room: usize) -> usize {
        let Harness { arena, engine, port, frames, batch, stages, .. } = self;
        port.receive(arena, engine.pool(), room, frames);
        let received = frames.len();
        match self.subject {
            Subject::Ports => port.transmit(arena, engine.pool(), frames),
            Subject::Engine if stages.is_due() => {
                stages.start();
                batch.refill(TRUNK, 0, frames);
                stages.handed();
                engine.process_metered(now, batch, stages);
                engine.flush(TRUNK, |arena, pool, frames| {
                    stages.handed();
                    port.transmit(arena, pool, frames);
                    stages.start();
                });
                engine.tick(now, dataplane::engine::Sweep::AtMost(1024));
                stages.handed();
                stages.end(received);
            }
            Subject::Engine => {
                batch.refill(TRUNK, 0, frames);
                engine.process(now, batch);
                engine.flush(TRUNK, |arena, pool, frames| port.transmit(arena, pool, frames));
                engine.tick(now, dataplane::engine::Sweep::AtMost(1024));
            }
        }
        received
    }

    /// Hands out all frames of the port's trace once.
    fn round(&mut self, mut left: usize) {
        while left > 0 {
            let now = self.clock.at(Instant::now());
            let received = self.turn(now, left.min(self.lanes));
            self.clock.had(received);
            left -= received;
        }
    }

    /// So many frames, at a clock that stands unless it is paced: one function, for whoever counts its instructions.
    #[inline(never)]
    fn counted(&mut self, packets: u64) {
        let now = Instant::now();
        let mut left = packets as usize;
        while left > 0 {
            let received = self.turn(self.clock.at(now), left.min(self.lanes));
            self.clock.had(received);
            left -= received;
        }
    }

    /// What the engine and the port have counted.
    fn books(&self) -> Books {
        let tally = self.port.tally();
        Books { received: tally.received(), sent: tally.sent(), counters: self.engine.counters().clone() }
    }
}

/// The counters at one moment.
struct Books {
    received: u64,
    sent: u64,
    counters: Counters,
}

impl Books {
    /// What became of the frames between two moments.
    fn since(&self, before: &Books, subject: Subject) -> Fate {
        let received = self.received - before.received;
        let sent = self.sent - before.sent;
        let judged = match subject {
            Subject::Engine => self.counters.received - before.counters.received,
            Subject::Ports => received,
        };
        Fate {
            received,
            judged,
            sent,
            dropped: self.counters.dropped_total() - before.counters.dropped_total(),
            reasons: Fate::reasons(&before.counters, &self.counters),
            local: self.counters.local - before.counters.local,
            answers: self.counters.answers - before.counters.answers,
            waiting: self.counters.waiting,
            balanced: self.counters.balance(),
        }
    }
}

/// Measures what the arguments ask for.
pub(crate) fn engine(workload: &Workload, arguments: &EngineArguments) -> Result<Report, Failure> {
    let mut harness = Harness::new(workload, arguments).map_err(Failure::Generation)?;
    let fresh = harness.books();
    harness.round(workload.opening.len());
    let junk = arguments.mix.junk_share.is_some();
    harness.books().since(&fresh, arguments.subject).check(junk)?;
    harness.port = TracePort::new(Arc::clone(&workload.steady));
    let round = workload.steady.len();
    let pace = arguments.mix.round(arguments.proto).map(|time| time.as_nanos() as f64 / round as f64);
    if let Some(pace) = pace {
        harness.clock = Clock::Paced(START, pace);
    }
    harness.round(round);

    harness.stages = Stages::default();
    let before = harness.books();
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
    let (cycles, ran) = (cycles::now(), share::now());
    let start = Instant::now();
    if pace.is_none() {
        harness.clock = Clock::Running(START, start);
    }
    let end = start + Duration::from_secs(arguments.seconds);
    let mut now = start;
    if let Some(packets) = arguments.packets {
        harness.counted(packets);
        now = Instant::now();
    }
    while arguments.packets.is_none() && now < end {
        let received = harness.turn(harness.clock.at(now), harness.lanes);
        harness.clock.had(received);
        let after = Instant::now();
        histogram.saturating_record((after - now).as_nanos() as u64);
        now = after;
    }
    let elapsed = (now - start).as_secs_f64();
    let ran = share::now().zip(ran).map(|(after, before)| (after - before).as_secs_f64());
    let cycles = cycles::now().zip(cycles).map(|(after, before)| after - before);
    let after = harness.books();
    let fate = after.since(&before, arguments.subject);
    fate.check(junk)?;
    assert_eq!(harness.engine.pool().len(), FRAMES as usize, "every frame is back in the pool");

    let packets = fate.received;
    let opened = after.counters.flows - before.counters.flows;
    Ok(Report {
        subject: arguments.subject.name(),
        mpps: packets as f64 / elapsed / 1e6,
        share_of_core: ran.map(|ran| ran / elapsed),
        mpps_on_core: ran.map(|ran| packets as f64 / ran / 1e6),
        ns_per_packet: elapsed * 1e9 / packets as f64,
        cycles_per_packet: harness.stages.per_packet(),
        cycles_with_port: cycles.map(|cycles| cycles as f64 / packets as f64),
        express_share: (after.counters.express - before.counters.express) as f64 / packets as f64,
        flows: workload.flows.len() as u32,
        rules: workload.policy.rules().len() as u32,
        segments: workload.segments,
        size: arguments.size,
        v6: arguments.v6,
        imix: arguments.imix,
        protocol: match arguments.proto {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        },
        seed: arguments.seed,
        core: arguments.core,
        new_flow_share: opened as f64 / packets as f64,
        new_flows_per_s: opened as f64 / elapsed,
        packets,
        seconds: elapsed,
        fate,
        footprint: workload.steady.footprint(),
        neighbors: workload.topology.neighbors.len(),
        batch: Percentiles::of(&histogram, arguments.batch),
        machine: Machine::this(),
    })
}
