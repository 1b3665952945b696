//! One worker's pipeline with all its state. No clock, no socket: time is an argument, frames come in batches
//! and leave through queues.

use crate::answer::{LARGEST, LinkHeader};
use crate::arena::{Arena, Frame, FramePool};
use crate::batch::{Batch, Outcome, Verdict};
use crate::counters::Counters;
use crate::event::{ReportSink, Teller};
use crate::generation::Generation;
use crate::handoff::News;
use crate::hits::Hits;
use crate::limiter::Limiter;
use crate::macs::Macs;
use crate::meter::{Meter, Part};
use crate::neighbors::Neighbors;
use crate::network::{Role, Vlan, VlanIndex};
use crate::pace::Pace;
use crate::stage;
use crate::stage::express::Express;
use crate::stage::reassemble::Fragments;
use crate::tap::Tap;
use classifier::addr::{PortId, VlanKey};
use classifier::reason::DropReason;
use classifier::wire::{Packet, link};
use conntrack::time::Tick;
use conntrack::{EndReason, FlowReport, Tracker, config};
use std::sync::Arc;

/// What is done where a neighbor's MAC is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolve {
    /// Ask, and let frames wait.
    Ask,
    /// Send to the placeholder MAC: a capture rarely holds the ARP and ND that went before.
    Placeholder,
}

/// How many flows whose time has come are taken out of the table at once. None of them is found any more, whether or
/// not it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sweep {
    /// All: counts are exact, however long it takes.
    All,
    /// So many of each address family; the others have their turn at the next tick.
    AtMost(u32),
}

/// Whose frame it is that goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// One that was received.
    Forwarded,
    /// Another copy of one that was received.
    Copy,
    /// The gateway's own.
    Own,
    /// One that another worker received, judged, and counted.
    Passed,
}

/// Frames that are to leave by one port, in order.
#[derive(Debug, Default)]
pub struct TxQueue {
    /// The frames.
    pub frames: Vec<Frame>,
    /// The places of those that were not received, and whose they are.
    others: Vec<(u32, Origin)>,
}

/// Frames that an engine may hold beside those in the ports' rings: batches, copies, answers, and what waits.
pub const IN_HANDS: u32 = 4096;
impl TxQueue {
    fn with_room() -> TxQueue {
        TxQueue { frames: Vec::with_capacity(QUEUE), others: Vec::with_capacity(QUEUE) }
    }

    #[inline]
    pub(crate) fn push(&mut self, frame: Frame, origin: Origin) {
        if origin != Origin::Forwarded {
            self.others.push((self.frames.len() as u32, origin));
        }
        self.frames.push(frame);
    }

    /// The frames that are left when `sent` of them were, but for the gateway's own and copies, of which there are no
    /// drops.
    fn left_of_others(&self, sent: usize) -> impl Iterator<Item = &Frame> {
        let is_of_others = move |at: usize| {
            let origin = self.others.binary_search_by_key(&(at as u32), |(at, _)| *at);
            origin.map_or(true, |found| matches!(self.others[found].1, Origin::Forwarded | Origin::Passed))
        };
        let left = self.frames.iter().enumerate();
        left.filter(move |(place, _)| is_of_others(sent + place)).map(|(_, frame)| frame)
    }
}

/// How many frames a queue has room for before it must grow.
const QUEUE: usize = 8192;
/// How many fates of waiting frames may be told at once before the list must grow.
const LATE: usize = 8192;
/// Words of neighbors that one batch may have for the other workers.
const NEWS: usize = 256;

/// One worker's pipeline with all its state.
pub struct Engine {
    pub(crate) generation: Arc<InForce>,
    pub(crate) tracker: Tracker,
    pub(crate) neighbors: Neighbors,
    pub(crate) macs: Macs,
    pub(crate) limiter: Limiter,
    pub(crate) counters: Counters,
    pub(crate) arena: Arc<Arena>,
    pub(crate) pool: FramePool,
    pub(crate) queues: Vec<TxQueue>,
    pub(crate) late: Vec<(u64, Outcome)>,
    pub(crate) late_flooded: Vec<(u64, VlanKey)>,
    pub(crate) fragments: Fragments,
    pub(crate) resolve: Resolve,
    pub(crate) hits: Hits,
    pub(crate) express: Express,
    pub(crate) pace: Pace,
    reports: Option<ReportSink>,
    tap: Option<Box<Tap>>,
    /// How many workers there are, this one's included.
    workers: usize,
    /// What the other workers are to be told.
    news: Vec<News>,
    aged: Tick,
}

/// A generation in the hands of one worker. Stages count references to it: had all workers the same count, they would
/// wait for each other.
pub(crate) struct InForce(Arc<Generation>);

impl std::ops::Deref for InForce {
    type Target = Generation;

    #[inline]
    fn deref(&self) -> &Generation {
        &self.0
    }
}

impl Engine {
    /// An engine with empty tables.
    ///
    /// # Panics
    /// Where the chunks of the arena are smaller than [`LARGEST`].
    ///
    /// `secret` keys the hash of the flow table: it must not be known to those who send packets.
    #[must_use]
    pub fn new(
        generation: Arc<Generation>,
        tracking: &config::Config,
        secret: [u8; 16],
        arena: Arc<Arena>,
        pool: FramePool,
        resolve: Resolve,
    ) -> Engine {
        assert!(arena.layout().capacity >= LARGEST, "a chunk must hold the gateway's own answers");
        let vlans = generation.network().vlan_count();
        let ports = generation.network().port_count();
        let mut tracker = Tracker::new(tracking, secret);
        tracker.reserve_rules(generation.rule_keys());
        let mut hits = Hits::default();
        hits.reserve(generation.rule_keys());
        Engine {
            tracker,
            neighbors: Neighbors::new(vlans),
            macs: Macs::new(vlans),
            limiter: Limiter::new(vlans, 1),
            workers: 1,
            news: Vec::new(),
            counters: Counters::default(),
            queues: (0..ports).map(|_| TxQueue::with_room()).collect(),
            late: Vec::with_capacity(LATE),
            late_flooded: Vec::with_capacity(LATE),
            fragments: Fragments::new(tracking.timeouts.fragment, secret),
            express: Express::new(generation.network(), tracking.max_flows as usize),
            generation: Arc::new(InForce(generation)),
            arena,
            pool,
            resolve,
            hits,
            pace: Pace::default(),
            reports: None,
            tap: None,
            aged: Tick(0),
        }
    }

    /// The engine of one of several workers: it keeps to its share of what is limited for all together, and notes what
    /// the others have to know. `max_flows` was its share of the flows; `limits` holds those of all workers against
    /// the rules.
    pub fn join(&mut self, workers: usize, limits: Option<conntrack::LimitShare>) {
        self.workers = workers;
        self.limiter = Limiter::new(self.generation.network().vlan_count(), workers);
        self.news.reserve(NEWS);
        if let Some(limits) = limits {
            self.tracker.share_limits(limits);
            self.tracker.reserve_rules(self.generation.rule_keys());
        }
    }

    /// Counts on from where another engine has stopped, whose frames have all been seen to.
    pub fn count_from(&mut self, before: &Counters) {
        self.counters = self.counters.clone().and(before);
    }

    /// Puts another generation into force. To be called between two batches; it may allocate.
    ///
    /// Flows are judged again as their packets come. Where the VLANs or stitches are others than before, neighbors
    /// and stations are learned anew; where the stitches are, flows begin anew as well, since they name them.
    pub fn install(&mut self, generation: Arc<Generation>) {
        self.tracker.reserve_rules(generation.rule_keys());
        self.hits.reserve(generation.rule_keys());
        let (old, new) = (self.generation.network(), generation.network());
        let has_same_stitches = old.has_same_stitches(new);
        let has_same_vlans = old.has_same_vlans(new);
        let (vlans, ports) = (new.vlan_count(), new.port_count());
        // By number, for a generation may have been overtaken before it was installed here.
        if !has_same_stitches || generation.flushed() != self.generation.flushed() {
            let flows: Vec<_> = self.tracker.flows().collect();
            for flow in flows {
                self.tracker.remove(flow);
            }
        }
        if !has_same_vlans || !has_same_stitches {
            stage::reassemble::abandon(self);
        }
        if !has_same_vlans {
            self.abandon_waiting();
            self.neighbors = Neighbors::new(vlans);
            self.macs = Macs::new(vlans);
            self.limiter = Limiter::new(vlans, self.workers);
        }
        let queues = self.queues.len().max(ports);
        self.queues.resize_with(queues, TxQueue::with_room);
        self.express.install(generation.network());
        self.generation = Arc::new(InForce(generation));
    }

    /// The generation in force.
    #[must_use]
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation.0
    }

    /// Takes a batch through all stages. Afterwards every lane has its outcome, and the batch holds no frame.
    pub fn process(&mut self, now: Tick, batch: &mut Batch) {
        self.process_metered(now, batch, &mut ());
    }

    /// The same, while `meter` is told of each part that is done.
    pub fn process_metered<M: Meter>(&mut self, now: Tick, batch: &mut Batch, meter: &mut M) {
        if let Some(tap) = &mut self.tap {
            tap.stage(&self.arena, batch);
        }
        crate::pipeline::run(self, now, batch, meter);
        if let Some(tap) = &mut self.tap {
            tap.tell(now, self.generation.epoch(), batch);
        }
        for lane in batch.held() {
            if let Some(frame) = batch.take(lane) {
                self.pool.give(frame);
            }
        }
        self.counters.received += batch.len() as u64;
        self.counters.batches += 1;
        self.report_ended();
        meter.done(Part::Settle);
    }

    /// Opens or closes the short way of ordinary packets. It is open; closed, everything is as it is when it is open,
    /// only slower: for whoever wants to hold the two against each other.
    pub fn set_express(&mut self, is_open: bool) {
        self.express.is_open = is_open;
    }

    /// Does what is due at `now` without any packet: timers of flows, neighbors and stations.
    pub fn tick(&mut self, now: Tick, sweep: Sweep) {
        const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
        match sweep {
            Sweep::All => self.tracker.advance(now),
            Sweep::AtMost(flows) => {
                self.tracker.advance_some(now, flows);
            }
        }
        self.report_ended();
        stage::resolve::run_timers(self, now);
        stage::reassemble::run_timers(self, now);
        if now.since(self.aged) >= MINUTE {
            self.aged = now;
            self.macs.age(now);
        }
    }

    /// Gives up on every frame that waits for a neighbor or for the first fragment of its datagram: at the end of a
    /// capture, or of the process.
    pub fn abandon_waiting(&mut self) {
        stage::reassemble::abandon(self);
        while let Some(mut queue) = self.neighbors.abandon() {
            for waiting in queue.drain(..) {
                let outcome = Outcome {
                    verdict: Verdict::Drop,
                    reason: Some(DropReason::NeighborFailed),
                    out: crate::batch::Out::Nowhere,
                    ..waiting.outcome
                };
                self.tell_late(waiting.tag, outcome);
                self.pool.give(waiting.frame);
            }
        }
    }

    /// Counts what passes by each flow from now on, and reports flows that end to `sink`. This allocates.
    pub fn report_flows(&mut self, sink: ReportSink) {
        self.tracker.keep_ledger();
        self.reports = Some(sink);
    }

    /// Copies frames through a tap from now on.
    ///
    /// # Errors
    /// There is one already; the tap comes back.
    pub fn attach(&mut self, tap: Box<Tap>) -> Result<(), Box<Tap>> {
        match &self.tap {
            Some(_) => Err(tap),
            None => {
                self.tap = Some(tap);
                Ok(())
            }
        }
    }

    /// Takes the tap off.
    pub fn detach(&mut self) -> Option<Box<Tap>> {
        self.tap.take()
    }

    /// Hands on what has ended, where somebody wants to know.
    #[inline]
    fn report_ended(&mut self) {
        if let Some(sink) = &self.reports {
            let lost = self.tracker.report_ended(|report| sink.send(report));
            sink.lose(lost);
        }
    }

    /// Reports the flows that live as ended: nobody will hear of them any more.
    pub(crate) fn report_last(&mut self) {
        self.report_ended();
        let Some(sink) = &self.reports else { return };
        let flows: Vec<_> = self.tracker.flows().collect();
        for flow in flows {
            if let Some(report) = self.tracker.report(flow) {
                sink.send(FlowReport { end: Some(EndReason::Forced), ..report });
            }
        }
    }

    /// What its worker's turns have taken.
    #[must_use]
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// What the engine has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The flow table.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The frames' memory.
    #[must_use]
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// The frames at hand.
    pub fn pool(&mut self) -> &mut FramePool {
        &mut self.pool
    }

    /// Frames that wait for a neighbor.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.neighbors.waiting()
    }

    /// What is known and held of datagrams in fragments.
    #[must_use]
    pub fn fragments(&self) -> conntrack::fragment::Statistics {
        self.fragments.statistics()
    }

    /// The VLANs that flooded frames went to whose fates [`Engine::late_outcomes`] tells next, by the caller's tags.
    #[must_use]
    pub fn late_flooded(&self) -> &[(u64, VlanKey)] {
        &self.late_flooded
    }

    /// The fates of frames that had to wait, by the caller's tags, since the last call.
    pub fn late_outcomes(&mut self) -> std::vec::Drain<'_, (u64, Outcome)> {
        self.late.drain(..)
    }

    /// Lets `send` take the frames that are to leave by a port. What it leaves behind found no room: these frames
    /// are dropped as `tx-full`.
    pub fn flush(&mut self, port: PortId, send: impl FnOnce(&Arena, &mut FramePool, &mut Vec<Frame>)) {
        self.flush_telling(port, send, None);
    }

    /// The same, and tells of each frame of others that found no room.
    pub(crate) fn flush_telling(
        &mut self,
        port: PortId,
        send: impl FnOnce(&Arena, &mut FramePool, &mut Vec<Frame>),
        teller: Option<(Tick, &Teller)>,
    ) {
        let queue = &mut self.queues[port.index()];
        if queue.frames.is_empty() {
            return;
        }
        let queued = queue.frames.len();
        send(&self.arena, &mut self.pool, &mut queue.frames);
        let left = queue.frames.len();
        if left > 0 || !queue.others.is_empty() {
            let sent = queued - left;
            if let Some((now, teller)) = teller.filter(|_| left > 0) {
                let (queue, tracker) = (&self.queues[port.index()], &mut self.tracker);
                for frame in queue.left_of_others(sent) {
                    teller.tell_unsent(now, &self.generation, tracker, port, self.arena.bytes(frame));
                }
            }
            let queue = &mut self.queues[port.index()];
            let mut lost = left as u64;
            for (at, origin) in queue.others.drain(..) {
                let is_sent = (at as usize) < sent;
                lost -= u64::from(!is_sent);
                match (origin, is_sent) {
                    (Origin::Forwarded, _) => {}
                    (Origin::Copy, true) => self.counters.copies += 1,
                    (Origin::Copy, false) => self.counters.copies_lost += 1,
                    (Origin::Own, true) => self.counters.answers += 1,
                    (Origin::Own, false) => self.counters.answers_suppressed += 1,
                    (Origin::Passed, true) => {}
                    (Origin::Passed, false) => {
                        self.counters.undone += 1;
                        self.counters.drop(DropReason::TxFull);
                    }
                }
            }
            self.counters.forwarded -= lost;
            self.counters.dropped[DropReason::TxFull.index()] += lost;
        }
        for frame in self.queues[port.index()].frames.drain(..) {
            self.pool.give(frame);
        }
    }

    /// Whether anything is to leave by a port.
    #[must_use]
    pub fn has_output(&self, port: PortId) -> bool {
        !self.queues[port.index()].frames.is_empty()
    }

    /// Queues a frame.
    #[inline]
    pub(crate) fn send(&mut self, port: PortId, frame: Frame, origin: Origin) {
        self.queues[port.index()].push(frame, origin);
    }

    /// Makes and queues a frame of the gateway's own, to leave where `vlan` is.
    pub(crate) fn answer(&mut self, vlan: VlanIndex, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let Some(mut frame) = self.pool.take() else {
            self.counters.answers_suppressed += 1;
            return;
        };
        match write(self.arena.buffer_mut(&mut frame)) {
            Some(length) => {
                self.arena.set_length(&mut frame, length);
                let port = self.generation.network().vlan(vlan).key.port();
                self.send(port, frame, Origin::Own);
            }
            None => {
                self.pool.give(frame);
                self.counters.answers_suppressed += 1;
            }
        }
    }

    /// As [`Engine::answer`], if the rate limit of the VLAN allows it.
    pub(crate) fn answer_within_limit(
        &mut self,
        now: Tick,
        vlan: VlanIndex,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        if self.limiter.take(now, vlan) {
            self.answer(vlan, write);
        } else {
            self.counters.answers_suppressed += 1;
        }
    }

    /// Drops a frame that was received and can't be passed on to its owner.
    pub(crate) fn lose(&mut self, frame: Frame) {
        self.counters.received += 1;
        self.counters.handed_lost += 1;
        self.counters.drop(DropReason::TxFull);
        self.pool.give(frame);
    }

    /// Notes what was heard of a neighbor, for the other workers.
    pub(crate) fn spread(&mut self, news: News) {
        if self.workers == 1 {
            return;
        }
        if self.news.len() < NEWS {
            self.news.push(news);
        } else {
            self.counters.news_lost += 1;
        }
    }

    /// What the other workers are to be told since the last call.
    pub(crate) fn news(&mut self) -> std::vec::Drain<'_, News> {
        self.news.drain(..)
    }

    /// Takes note of what another worker has heard.
    pub(crate) fn hear(&mut self, now: Tick, news: &News) {
        stage::resolve::hear_from_peer(self, now, news);
    }

    /// Tells the fate of a frame that waited.
    pub(crate) fn tell_late(&mut self, tag: u64, outcome: Outcome) {
        self.counters.waiting -= 1;
        self.count(&outcome);
        if self.late.is_empty() {
            self.late_flooded.clear();
        }
        self.late.push((tag, outcome));
    }

    #[inline]
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match (outcome.verdict, outcome.reason) {
            (Verdict::Forward, _) => self.counters.forwarded += 1,
            (Verdict::Local, _) => self.counters.local += 1,
            (Verdict::Waiting, _) => self.counters.waiting += 1,
            (Verdict::Drop | Verdict::Reject, Some(reason)) => self.counters.drop(reason),
            (Verdict::Drop | Verdict::Reject, None) => unreachable!("a drop has a reason"),
        }
    }
}

/// The link header of an answer to a frame: back where it came from, with the tag that it bore.
pub(crate) fn link_back(vlan: &Vlan, packet: &Packet, frame: &[u8]) -> LinkHeader {
    LinkHeader {
        destination: link::source(frame),
        source: match vlan.role {
            Role::Routed => vlan.own_mac(),
            Role::Stitched(_) => link::destination(frame),
        },
        tag: (packet.link.tags > 0).then_some(packet.link.control),
    }
}
