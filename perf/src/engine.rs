//! Frames from memory, through the engine, back into memory: one core, no driver, no kernel.
//!
//! A turn is: receive a batch, let the subject have it, send what is left. The flows are opened first, then one
//! round of the steady frames warms the caches, then the clock starts. It is read once a batch, which costs less
//! than half a nanosecond a packet at batches of 64.

use crate::report::{Machine, Percentiles, Report};
use crate::workload::Workload;
use crate::{EngineArguments, Protocol};
use dataplane::arena::{Arena, Frame, FramePool};
use dataplane::port::Port;
use dataplane::port::memory::TracePort;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// What stands between receiving and sending.
trait Subject {
    /// What the report calls it.
    const NAME: &'static str;

    /// Judges and rewrites the frames, and gives those that go nowhere back to the pool.
    fn process(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>);

    /// How many flows were opened so far; `None` where nobody counts.
    fn opened(&self) -> Option<u64>;
}

/// Nothing: what the harness itself costs, to be subtracted from what it measures.
struct Ports;

impl Subject for Ports {
    const NAME: &'static str = "ports";

    fn process(&mut self, _arena: &Arena, _pool: &mut FramePool, _frames: &mut Vec<Frame>) {}

    fn opened(&self) -> Option<u64> {
        None
    }
}

/// Measures what the arguments ask for.
///
/// So far the subject is the harness alone: the engine is not wired in yet, and the report says `ports`.
pub(crate) fn engine(workload: Workload, arguments: &EngineArguments) -> Report {
    measure(workload, arguments, Ports)
}

/// The memory and the port of a run.
struct Harness {
    arena: Arena,
    pool: FramePool,
    port: TracePort,
    frames: Vec<Frame>,
    batch: usize,
}

impl Harness {
    fn turn(&mut self, subject: &mut impl Subject, room: usize) -> usize {
        let Harness { arena, pool, port, frames, .. } = self;
        port.receive(arena, pool, room, frames);
        let received = frames.len();
        subject.process(arena, pool, frames);
        port.transmit(arena, pool, frames);
        received
    }

    /// Hands out `left` frames in batches.
    fn turns(&mut self, mut left: usize, subject: &mut impl Subject) {
        while left > 0 {
            left -= self.turn(subject, left.min(self.batch));
        }
    }
}

fn measure<S: Subject>(workload: Workload, arguments: &EngineArguments, mut subject: S) -> Report {
    let Workload { policy, segments, flows, opening, steady, .. } = workload;
    let batch = usize::from(arguments.batch);
    // Twice a batch: what the subject holds back for later must not starve the port.
    let (arena, pool) = Arena::on_heap(2 * u32::from(arguments.batch), 9_216);
    let (opening_frames, steady_frames, footprint) = (opening.len(), steady.len(), steady.footprint());
    let mut harness = Harness {
        arena,
        pool,
        port: TracePort::new(opening.into()),
        frames: Vec::with_capacity(batch),
        batch,
    };
    harness.turns(opening_frames, &mut subject);
    harness.port = TracePort::new(steady.into());
    harness.turns(steady_frames, &mut subject);

    let tally = harness.port.tally();
    let (received, sent, opened) = (tally.received(), tally.sent(), subject.opened());
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order");
    let start = Instant::now();
    let end = start + Duration::from_secs(arguments.seconds);
    let mut before = start;
    while before < end {
        harness.turn(&mut subject, batch);
        let now = Instant::now();
        histogram.saturating_record((now - before).as_nanos() as u64);
        before = now;
    }
    let elapsed = (before - start).as_secs_f64();
    let packets = tally.received() - received;
    let opened = subject.opened().zip(opened).map(|(after, before)| after - before);
    Report {
        subject: S::NAME,
        mpps: packets as f64 / elapsed / 1e6,
        ns_per_packet: elapsed * 1e9 / packets as f64,
        flows: flows.len() as u32,
        rules: policy.rules().len() as u32,
        segments,
        size: arguments.size,
        protocol: match arguments.proto {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        },
        seed: arguments.seed,
        new_flow_share: opened.map(|opened| opened as f64 / packets as f64),
        packets,
        sent: tally.sent() - sent,
        seconds: elapsed,
        footprint,
        batch: Percentiles::of(&histogram, arguments.batch),
        machine: Machine::this(),
    }
}
