//! An engine with a small network around it, for scenarios: frames go in one at a time, and what comes of each is
//! told in full — the outcome, the frames that left, and which counters moved.
//!
//! After every step the books must balance, no frame may be lost, and every IP packet that left must be sound.

#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod frame;
pub(crate) mod gang;
pub(crate) mod network;
pub(crate) mod sound;

use classifier::addr::PortId;
use classifier::policy::{Policy, Timestamp};
use classifier::reason::DropReason;
use conntrack::config::Config;
use conntrack::time::Tick;
use dataplane::arena::{Arena, Frame as Chunk};
use dataplane::batch::{Batch, FlowRole, Outcome, Verdict};
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::topology::Topology;
use std::sync::Arc;
use std::time::Duration;

/// Frames that the bed's arena has.
pub(crate) const FRAMES: u32 = 2048;

/// What a bed is built of.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) topology: Topology,
    pub(crate) policy: Policy,
    pub(crate) conntrack: Config,
    pub(crate) resolve: Resolve,
}

/// An engine and its clock.
pub(crate) struct Bed {
    pub(crate) setup: Setup,
    pub(crate) engine: Engine,
    generations: Generations,
    pub(crate) now: Tick,
    batch: Batch,
    tag: u64,
}

/// A frame that left, and by which port.
pub(crate) type Left = (PortId, Vec<u8>);

/// How far counters moved, by name; those that did not are left out, and so are batches.
pub(crate) type Moved = Vec<(&'static str, i64)>;

/// What came of a frame.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) outcome: Outcome,
    pub(crate) rule: Option<String>,
    pub(crate) left: Vec<Left>,
    pub(crate) late: Vec<(u64, Outcome)>,
    pub(crate) moved: Moved,
    pub(crate) tag: u64,
    /// What whoever tells of new flows and drops is told of the frame.
    pub(crate) told: Option<String>,
}

impl Bed {
    pub(crate) fn new(setup: Setup) -> Bed {
        let (arena, pool) = Arena::on_heap(FRAMES, 4096);
        let mut generations = Generations::default();
        let now = Tick(1_700_000_000_000_000_000);
        let facts = PortFacts::of_file(&setup.topology);
        let policy = Arc::new(setup.policy.clone());
        let generation =
            generations.compile(policy, &setup.topology, &facts, Timestamp(i128::from(now.0))).unwrap();
        let engine = Engine::new(
            Arc::new(generation),
            &setup.conntrack,
            [7; 16],
            Arc::new(arena),
            pool,
            setup.resolve,
        );
        Bed { setup, engine, generations, now, batch: Batch::default(), tag: 0 }
    }

    /// Puts another policy into force, as a reload does.
    pub(crate) fn install(&mut self, policy: Policy) {
        let facts = PortFacts::of_file(&self.setup.topology);
        let now = Timestamp(i128::from(self.now.0));
        let generation =
            self.generations.compile(Arc::new(policy.clone()), &self.setup.topology, &facts, now).unwrap();
        self.engine.install(Arc::new(generation));
        self.setup.policy = policy;
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Sends one frame in by a port.
    pub(crate) fn send(&mut self, port: u8, frame: impl AsRef<[u8]>) -> Sent {
        let mut all = self.send_all(port, &[frame.as_ref()]);
        all.pop().expect("one frame, one fate")
    }

    /// Sends frames in by a port as one batch. Frames that left, and counters that moved, stand with the last.
    pub(crate) fn send_all(&mut self, port: u8, frames: &[&[u8]]) -> Vec<Sent> {
        let before = self.engine.counters().clone();
        let arena = Arc::clone(self.engine.arena());
        self.batch.clear();
        let first = self.tag + 1;
        for bytes in frames {
            let mut chunk = self.engine.pool().take().expect("a free frame");
            arena.buffer_mut(&mut chunk)[..bytes.len()].copy_from_slice(bytes);
            arena.set_length(&mut chunk, bytes.len());
            self.tag += 1;
            self.batch.push(PortId(port), self.tag, chunk);
        }
        self.engine.process(self.now, &mut self.batch);
        let mut all: Vec<Sent> = (0..frames.len())
            .map(|lane| {
                let outcome = self.batch.outcomes[lane];
                let rule = outcome.rule.map(|key| self.generations.name(key).to_owned());
                let tag = first + lane as u64;
                let is_news = outcome.flow == Some(FlowRole::New) || outcome.reason.is_some();
                let told = is_news.then(|| format!("{:?}", self.batch.packets[lane]));
                Sent { outcome, rule, left: Vec::new(), late: Vec::new(), moved: Vec::new(), tag, told }
            })
            .collect();
        let last = all.last_mut().expect("at least one frame");
        (last.left, last.late, last.moved) = self.settle(&before);
        all
    }

    /// Lets timers run; what left, whose fate was told, which counters moved.
    pub(crate) fn tick(&mut self) -> (Vec<Left>, Vec<(u64, Outcome)>, Moved) {
        let before = self.engine.counters().clone();
        self.engine.tick(self.now, Sweep::All);
        self.settle(&before)
    }

    fn settle(&mut self, before: &Counters) -> (Vec<Left>, Vec<(u64, Outcome)>, Moved) {
        let late: Vec<_> = self.engine.late_outcomes().collect();
        let mut left = Vec::new();
        for port in 0..self.setup.topology.ports.len() {
            let port = PortId(port as u8);
            self.engine.flush(port, |arena, pool, frames: &mut Vec<Chunk>| {
                for chunk in frames.drain(..) {
                    left.push((port, arena.bytes(&chunk).to_vec()));
                    pool.give(chunk);
                }
            });
        }
        for (_, frame) in &left {
            sound::check(frame);
        }
        let after = self.engine.counters().clone();
        assert!(after.balance(), "the books must balance: {after:?}");
        let (waiting, free) = (self.engine.waiting(), self.engine.pool().len());
        let held = u64::from(self.engine.fragments().held_frames);
        assert_eq!(after.waiting, waiting as u64 + held, "as many frames wait as are counted");
        assert_eq!(free + waiting, FRAMES as usize, "no frame may be lost");
        (left, late, moved(before, &after))
    }
}

fn moved(before: &Counters, after: &Counters) -> Moved {
    let fields = |c: &Counters| {
        [
            ("received", c.received),
            ("forwarded", c.forwarded),
            ("local", c.local),
            ("waiting", c.waiting),
            ("answers", c.answers),
            ("answers_suppressed", c.answers_suppressed),
            ("copies", c.copies),
            ("copies_lost", c.copies_lost),
            ("flows", c.flows),
        ]
    };
    let plain = fields(before).into_iter().zip(fields(after)).map(|((name, b), (_, a))| (name, b, a));
    let reasons =
        DropReason::ALL.iter().map(|r| (r.name(), before.dropped[r.index()], after.dropped[r.index()]));
    plain.chain(reasons).map(|(name, b, a)| (name, a as i64 - b as i64)).filter(|(_, d)| *d != 0).collect()
}

impl Sent {
    /// It is dropped for that reason, and nothing is said.
    #[track_caller]
    pub(crate) fn dropped(&self, reason: DropReason) {
        self.must_be(Verdict::Drop, Some(reason));
        assert_eq!(self.left, [], "nothing leaves: {self:?}");
        assert_eq!(self.moved, [("received", 1), (reason.name(), 1)]);
    }

    /// It is dropped for that reason, and its sender is told so: the answer.
    #[track_caller]
    pub(crate) fn answered(&self, verdict: Verdict, reason: DropReason) -> &[u8] {
        self.must_be(verdict, Some(reason));
        assert_eq!(self.moved, [("received", 1), ("answers", 1), (reason.name(), 1)], "{self:?}");
        let [(_, answer)] = self.left.as_slice() else { panic!("one answer leaves: {self:?}") };
        answer
    }

    /// It opens a flow and goes on: the frame as it left.
    #[track_caller]
    pub(crate) fn opened(&self) -> &[u8] {
        assert_eq!(self.outcome.flow, Some(FlowRole::New), "{self:?}");
        self.must_be(Verdict::Forward, None);
        assert_eq!(self.moved, [("received", 1), ("forwarded", 1), ("flows", 1)]);
        self.only()
    }

    /// It belongs to a flow and goes on: the frame as it left.
    #[track_caller]
    pub(crate) fn followed(&self, role: FlowRole) -> &[u8] {
        assert_eq!(self.outcome.flow, Some(role), "{self:?}");
        self.must_be(Verdict::Forward, None);
        assert_eq!(self.moved, [("received", 1), ("forwarded", 1)]);
        self.only()
    }

    /// It is held, for its first fragment: its tag.
    #[track_caller]
    pub(crate) fn waits(&self) -> u64 {
        self.must_be(Verdict::Waiting, None);
        assert_eq!(
            (self.left.len(), self.moved.as_slice()),
            (0, [("received", 1), ("waiting", 1)].as_slice())
        );
        self.tag
    }

    /// It was the gateway's own business, and is not answered.
    #[track_caller]
    pub(crate) fn noted(&self) {
        self.must_be(Verdict::Local, None);
        assert_eq!(self.left, [], "nothing leaves: {self:?}");
        assert_eq!(self.moved, [("received", 1), ("local", 1)]);
    }

    /// It was the gateway's own business: the answer.
    #[track_caller]
    pub(crate) fn replied(&self) -> &[u8] {
        self.must_be(Verdict::Local, None);
        assert_eq!(self.moved, [("received", 1), ("local", 1), ("answers", 1)]);
        self.only()
    }

    #[track_caller]
    pub(crate) fn must_be(&self, verdict: Verdict, reason: Option<DropReason>) {
        assert_eq!((self.outcome.verdict, self.outcome.reason), (verdict, reason), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn only(&self) -> &[u8] {
        let [(_, frame)] = self.left.as_slice() else { panic!("one frame leaves: {self:?}") };
        frame
    }
}
