//! The pipeline of `run` on captures, frame by frame, with the captures' own clock.
//!
//! Nothing but the input decides what comes out: the secret of the flow table is fixed, time is that of the frames,
//! and frames go through one at a time.

mod line;

pub use line::{Line, Names, OutLine, WouldLine, verdict_name};

use crate::config::Configuration;
use classifier::addr::PortId;
use classifier::policy::Timestamp;
use conntrack::time::Tick;
use dataplane::answer::LARGEST;
use dataplane::arena::{Arena, Frame};
use dataplane::batch::{Batch, Verdict};
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::generation::{GenerationError, Generations};
use dataplane::network::PortFacts;
use dataplane::port::capture::{CaptureError, Merge, Writer};
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames in memory at once: one on its way, its copies, and those that wait for a neighbor.
const FRAMES: u32 = 8192;
/// Room for a tag that is pushed.
const TAG_ROOM: usize = 4;
/// Not secret: the same input must give the same output.
const SECRET: [u8; 16] = *b"bulkhead replay.";

/// Why a replay stopped.
#[derive(Debug)]
pub enum ReplayError {
    /// The policy can't be put into force.
    Generation(GenerationError),
    /// An output capture can't be written.
    Capture(CaptureError),
    /// The lines can't be written.
    Lines(std::io::Error),
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Generation(error) => error.fmt(f),
            ReplayError::Capture(error) => error.fmt(f),
            ReplayError::Lines(error) => write!(f, "the verdicts can't be written: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {}

/// A replay in progress.
pub struct Replay<'a> {
    configuration: &'a Configuration,
    generations: Generations,
    engine: Engine,
    expiry: Option<Timestamp>,
    batch: Batch,
    writers: Vec<Option<Writer>>,
    /// Lines in the order of frames, each with its port; those at the front that are settled have been given out.
    pending: VecDeque<(Line, PortId, bool)>,
    first_pending: u64,
}

impl<'a> Replay<'a> {
    /// Sets up the pipeline as it stands at the first frame of `input`. `writers` has a capture for each port that
    /// is to be recorded.
    ///
    /// # Errors
    /// Where the policy can't be put into force.
    pub fn new(
        configuration: &'a Configuration,
        input: &Merge,
        writers: Vec<Option<Writer>>,
        resolve: Resolve,
    ) -> Result<Self, ReplayError> {
        let longest = input.iter().map(|(_, _, data)| data.len()).max().unwrap_or(0);
        let start = input.iter().next().map_or(Tick(0), |(_, at, _)| at);
        let (arena, pool) = Arena::on_heap(frames_for(longest), (longest + TAG_ROOM).max(LARGEST).max(2048));
        let mut generations = Generations::default();
        let now = timestamp(start);
        let facts = PortFacts::of_file(&configuration.topology);
        let generation = generations
            .compile(Arc::clone(&configuration.policy), &configuration.topology, &facts, now)
            .map_err(ReplayError::Generation)?;
        let engine = Engine::new(
            Arc::new(generation),
            &configuration.conntrack,
            SECRET,
            Arc::new(arena),
            pool,
            resolve,
        );
        Ok(Replay {
            expiry: configuration.policy.next_expiry(now),
            configuration,
            generations,
            engine,
            batch: Batch::default(),
            writers,
            pending: VecDeque::new(),
            first_pending: 1,
        })
    }

    /// Judges one frame; `settled` is called with every line whose fate is known by then, in the order of frames.
    ///
    /// # Errors
    /// Where an output can't be written, or a rule's expiry makes a policy that can't be put into force.
    pub fn frame(
        &mut self,
        port: PortId,
        at: Tick,
        data: &[u8],
        settled: &mut dyn FnMut(&Line) -> std::io::Result<()>,
    ) -> Result<(), ReplayError> {
        self.expire_rules(at)?;
        self.engine.tick(at, Sweep::All);
        self.collect_late();
        self.record(at)?;
        let arena = Arc::clone(self.engine.arena());
        let mut frame = self.engine.pool().take().expect("frames that were judged are given back");
        arena.buffer_mut(&mut frame)[..data.len()].copy_from_slice(data);
        arena.set_length(&mut frame, data.len());
        let number = self.first_pending + self.pending.len() as u64;
        self.batch.clear();
        self.batch.push(port, number, frame);
        self.engine.process(at, &mut self.batch);
        let names = Names { topology: &self.configuration.topology, generation: self.engine.generation() };
        let outcome = &self.batch.outcomes[0];
        let vid = self.batch.vid(0);
        let line = Line::new(names, number, port, vid, outcome, self.batch.flooded_from(0));
        self.pending.push_back((line, port, outcome.verdict != Verdict::Waiting));
        self.collect_late();
        self.record(at)?;
        self.give_out(settled)
    }

    /// Settles what still waits.
    ///
    /// # Errors
    /// Where an output can't be written.
    pub fn finish(
        mut self,
        settled: &mut dyn FnMut(&Line) -> std::io::Result<()>,
    ) -> Result<Counters, ReplayError> {
        self.engine.abandon_waiting();
        self.collect_late();
        self.give_out(settled)?;
        for writer in self.writers.drain(..).flatten() {
            writer.finish().map_err(ReplayError::Capture)?;
        }
        Ok(self.engine.counters().clone())
    }

    /// A rule that expires is a change of policy (POLICY.md §5).
    fn expire_rules(&mut self, at: Tick) -> Result<(), ReplayError> {
        let now = timestamp(at);
        if self.expiry.is_none_or(|expiry| now < expiry) {
            return Ok(());
        }
        let policy = Arc::clone(&self.configuration.policy);
        let facts = PortFacts::of_file(&self.configuration.topology);
        let generation = self
            .generations
            .compile(Arc::clone(&policy), &self.configuration.topology, &facts, now)
            .map_err(ReplayError::Generation)?;
        self.engine.install(Arc::new(generation));
        self.expiry = policy.next_expiry(now);
        Ok(())
    }

    fn collect_late(&mut self) {
        let generation = Arc::clone(self.engine.generation());
        let names = Names { topology: &self.configuration.topology, generation: &generation };
        let flooded = self.engine.late_flooded().to_vec();
        for (number, outcome) in self.engine.late_outcomes() {
            let index = usize::try_from(number - self.first_pending).expect("few frames wait");
            let (line, port, is_settled) = &mut self.pending[index];
            if line.out.is_empty() {
                // A fragment that waited for its first: all of its fate is new.
                let out = flooded.iter().filter(|(tag, _)| *tag == number).map(|(_, vlan)| *vlan);
                *line = Line::new(names, number, *port, line.vlan, &outcome, out);
            } else {
                line.conclude(&outcome);
            }
            *is_settled = true;
        }
    }

    fn give_out(&mut self, settled: &mut dyn FnMut(&Line) -> std::io::Result<()>) -> Result<(), ReplayError> {
        while let Some((line, _, true)) = self.pending.front() {
            settled(line).map_err(ReplayError::Lines)?;
            self.pending.pop_front();
            self.first_pending += 1;
        }
        Ok(())
    }

    /// Writes what leaves to the captures.
    fn record(&mut self, at: Tick) -> Result<(), ReplayError> {
        let mut result = Ok(());
        for (index, writer) in self.writers.iter_mut().enumerate() {
            self.engine.flush(PortId(index as u8), |arena, pool, frames: &mut Vec<Frame>| {
                for frame in frames.drain(..) {
                    if let (Some(writer), Ok(())) = (writer.as_mut(), &result) {
                        result = writer.write(at, arena.bytes(&frame));
                    }
                    pool.give(frame);
                }
            });
        }
        result.map_err(ReplayError::Capture)
    }
}

/// Fewer of them where frames are huge.
fn frames_for(longest: usize) -> u32 {
    const MEMORY: usize = 256 << 20;
    u32::try_from(MEMORY / longest.max(2048)).unwrap_or(FRAMES).clamp(1024, FRAMES)
}

fn timestamp(at: Tick) -> Timestamp {
    Timestamp(i128::from(at.0))
}
