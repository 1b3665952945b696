//! The short way: ordinary packets of flows that are known to let their kind pass.
//!
//! ```text
//!   all lanes    read: take apart, hash, ask for the index  ->  look_up: ask for the entry
//!   in order     go: flow live, memo holds, way out known, TCP's window?  --yes--> passed
//!                                                                         --no---> waiting for the whole way
//!   passed       emit: rewrite, queue
//! ```
//!
//! What admission, spoof guard, routing and policy say of an ordinary packet on a routed VLAN hangs on its
//! addresses, ports and VLAN and the generation alone. A packet that went the whole way leaves a mark at its flow, for
//! its direction; it holds as long as the flow's epoch is the generation's and its VLANs stay. Whatever may be
//! different for the next packet is looked at here: lengths, checksums, TTL, MACs, bindings, flags, the flow's deadline
//! and VLAN, TCP's states and windows, the next hop's MAC, the MTU of the way out.
//!
//! The order is kept where it can be told: a packet does not overtake another of its flow, and nothing overtakes a
//! frame of which it is not known what flow it belongs to, or what it may change (ARP, a fragment).

mod checksum;
mod gates;
mod lean;

use super::parse::AHEAD;
use super::rewrite;
use crate::adjacency::{Adjacencies, Adjacency, Destination, Standing};
use crate::arena::HEAD;
use crate::batch::{Batch, FlowRole, LANES, Lanes, Out, Outcome};
use crate::engine::{Engine, Origin};
use crate::meter::{Meter, Part};
use crate::network::{Network, VlanIndex};
use classifier::flow::{Domain, End, Key, KeyKind};
use classifier::wire::Packet;
use classifier::wire::link::{self, HEADER, TAG};
use conntrack::time::Tick;
use conntrack::{Family, Relation};
use gates::Gates;
use lean::{Kind, Lean};

/// Words of the filter of flows that wait.
const FILTER: usize = 8;
/// No place in the flow table.
const NOWHERE: u32 = u32::MAX;

/// What the short way keeps: what follows from the generation, what is remembered, and what a batch brings.
#[derive(Debug)]
pub(crate) struct Express {
    gates: Gates,
    v4: Adjacencies<u32>,
    v6: Adjacencies<u128>,
    lanes: Box<Notes>,
    /// Whether any packet takes the short way.
    pub(crate) is_open: bool,
}

/// What is known of the lanes of a batch.
#[derive(Debug)]
struct Notes {
    leans: [Lean; LANES],
    keys: [Key<u32>; LANES],
    wide_keys: [Key<u128>; LANES],
    hashes: [u64; LANES],
    candidates: [u32; LANES],
    adjacencies: [Adjacency; LANES],
    v6: Lanes,
}

const fn no_key<A: Copy>(zero: A) -> Key<A> {
    let (domain, kind) = (Domain::ROUTED, KeyKind::Ports);
    Key { first: zero, second: zero, first_port: 0, second_port: 0, domain, protocol: 0, kind }
}

impl Express {
    /// For a network, and a table of so many flows.
    pub(crate) fn new(network: &Network, flows: usize) -> Express {
        Express {
            gates: Gates::new(network),
            v4: Adjacencies::new(flows),
            v6: Adjacencies::new(flows),
            lanes: Box::new(Notes {
                leans: [Lean::NONE; LANES],
                keys: [no_key(0); LANES],
                wide_keys: [no_key(0); LANES],
                hashes: [0; LANES],
                candidates: [NOWHERE; LANES],
                adjacencies: [Adjacency::NONE; LANES],
                v6: Lanes::default(),
            }),
            is_open: true,
        }
    }

    /// Another network is in force. What was remembered is of an older generation, and no longer holds.
    pub(crate) fn install(&mut self, network: &Network) {
        self.gates = Gates::new(network);
    }
}

/// The lanes that wait for the whole way, and what may not overtake them.
#[derive(Default)]
struct Waiting {
    lanes: Lanes,
    /// A bit for each flow, by its hash: so many that two flows of a batch seldom share one.
    flows: [u64; FILTER],
    /// Whether there is one that nothing may overtake.
    is_barrier: bool,
}

impl Waiting {
    #[inline]
    fn has_flow(&self, hash: u64) -> bool {
        let bit = (hash >> 32) as usize % (FILTER * 64);
        self.flows[bit / 64] >> (bit % 64) & 1 != 0
    }

    #[inline]
    fn add(&mut self, lane: usize, hash: u64) {
        let bit = (hash >> 32) as usize % (FILTER * 64);
        self.lanes.add(lane);
        self.flows[bit / 64] |= 1 << (bit % 64);
    }
}

/// Takes a batch through: what can by the short way, the rest by `whole`.
#[inline]
pub(crate) fn process<M: Meter>(
    engine: &mut Engine,
    now: Tick,
    batch: &mut Batch,
    meter: &mut M,
    whole: impl Fn(&mut Engine, &mut Batch, Lanes),
) {
    let all = batch.all();
    let ordinary = read(engine, batch, all);
    meter.done(Part::Parse);
    let mut settled = now;
    // A tracker that has no flow yet is told the time by the first packet that may begin one: its grace begins then.
    if !ordinary.is_empty() && !engine.tracker.is_empty() {
        settled = engine.tracker.settle(now);
        look_up(engine, ordinary);
    } else {
        engine.express.lanes.candidates = [NOWHERE; LANES];
    }
    meter.done(Part::LookUp);
    let (mut passed, mut waiting) = (Lanes::default(), Waiting::default());
    for lane in all {
        if !ordinary.has(lane) {
            waiting.lanes.add(lane);
            waiting.is_barrier = true;
            continue;
        }
        let hash = engine.express.lanes.hashes[lane];
        let mut may_go = engine.express.lanes.candidates[lane] != NOWHERE && !waiting.has_flow(hash);
        if may_go && waiting.is_barrier {
            meter.done(Part::Track);
            emit(engine, batch, std::mem::take(&mut passed));
            meter.done(Part::Emit);
            whole(engine, batch, std::mem::take(&mut waiting).lanes);
            meter.done(Part::Slow);
            // Flows may have ended, and their places gone to others.
            settled = engine.tracker.settle(now);
            look_up(engine, ordinary.from(lane));
            may_go = engine.express.lanes.candidates[lane] != NOWHERE;
            meter.done(Part::LookUp);
        }
        match if may_go { go(engine, now, settled, batch, lane) } else { Course::Whole } {
            Course::Passed => passed.add(lane),
            Course::Dropped => {}
            Course::Whole => waiting.add(lane, hash),
        }
    }
    meter.done(Part::Track);
    emit(engine, batch, passed);
    meter.done(Part::Emit);
    if !waiting.lanes.is_empty() {
        whole(engine, batch, waiting.lanes);
        meter.done(Part::Slow);
    }
}

/// Takes the frames apart; which of them are ordinary. By itself, so that it has all registers.
#[inline(never)]
fn read(engine: &mut Engine, batch: &mut Batch, lanes: Lanes) -> Lanes {
    let Engine { express, tracker, arena, .. } = engine;
    let Express { gates, lanes: notes, .. } = express;
    let mut ordinary = Lanes::default();
    notes.v6 = Lanes::default();
    for lane in lanes {
        if lane + AHEAD < batch.len() {
            arena.prefetch(batch.frame(lane + AHEAD));
        }
        let frame = batch.frame(lane);
        let Some(head) = arena.head(frame) else { continue };
        let port = batch.ports[lane];
        if lean::parse(head, arena.bytes(frame), gates, port, tracker, notes, lane).is_none() {
            continue;
        }
        ordinary.add(lane);
    }
    ordinary
}

/// Finds where the flows of lanes seem to be, and asks the processor for what is there.
#[inline]
fn look_up(engine: &mut Engine, lanes: Lanes) {
    let Engine { express, tracker, .. } = engine;
    let Express { v4, v6, lanes: notes, .. } = express;
    for lane in lanes {
        let hash = notes.hashes[lane];
        let Lean { sender, kind, .. } = notes.leans[lane];
        if kind == Kind::Segment {
            notes.candidates[lane] = NOWHERE;
            continue;
        }
        let candidate = if notes.v6.has(lane) {
            let candidate = tracker.candidate::<u128>(hash);
            if candidate.is_some() {
                v6.prefetch(towards(&notes.wide_keys[lane], sender));
            }
            candidate
        } else {
            let candidate = tracker.candidate::<u32>(hash);
            if candidate.is_some() {
                v4.prefetch(towards(&notes.keys[lane], sender));
            }
            candidate
        };
        notes.candidates[lane] = candidate.unwrap_or(NOWHERE);
    }
}

/// The address that a packet goes to.
#[inline]
fn towards<A: Copy>(key: &Key<A>, sender: End) -> A {
    match sender {
        End::First => key.second,
        End::Second => key.first,
    }
}

/// What becomes of an ordinary packet.
enum Course {
    /// It leaves by the short way.
    Passed,
    /// Its flow does not let it pass.
    Dropped,
    /// It goes the whole way; nothing has moved.
    Whole,
}

#[inline]
fn go(engine: &mut Engine, now: Tick, settled: Tick, batch: &mut Batch, lane: usize) -> Course {
    let course = if engine.express.lanes.v6.has(lane) {
        let key = engine.express.lanes.wide_keys[lane];
        go_by(engine, |express| &mut express.v6, now, settled, batch, lane, &key)
    } else {
        let key = engine.express.lanes.keys[lane];
        go_by(engine, |express| &mut express.v4, now, settled, batch, lane, &key)
    };
    course.unwrap_or(Course::Whole)
}

#[inline]
fn go_by<A: Family + Destination>(
    engine: &mut Engine,
    remembered: impl Fn(&mut Express) -> &mut Adjacencies<A>,
    now: Tick,
    settled: Tick,
    batch: &mut Batch,
    lane: usize,
    key: &Key<A>,
) -> Option<Course> {
    let Engine { express, tracker, generation, neighbors, arena, counters, .. } = engine;
    let (lean, hash) = (express.lanes.leans[lane], express.lanes.hashes[lane]);
    let gate = express.gates.of(VlanIndex(lean.gate));
    let (candidate, epoch) = (express.lanes.candidates[lane], generation.epoch());
    let entrance = tracker.enter(settled, (candidate, hash), (key, lean.sender), gate.key, epoch)?;
    let network = generation.network();
    if gate.asks_bindings {
        let source = towards(key, lean.sender.other()).address();
        let mac = link::source(arena.bytes(batch.frame(lane)));
        if !network.is_binding(gate.index, source, mac) {
            return None;
        }
    }
    let (standing, address) = (Standing { now, epoch, neighbors }, towards(key, lean.sender));
    let adjacency = match remembered(express).find(standing, address) {
        Some(adjacency) => adjacency,
        None => remembered(express).look_up(standing, network, address)?,
    };
    let exit = express.gates.of(adjacency.egress);
    let grows = !lean.has_tag() && exit.key.vid() != 0;
    if lean.ip_length() > exit.mtu || (grows && usize::from(lean.end) + TAG > arena.layout().capacity) {
        return None;
    }
    batch.packets[lane].link.control = lean.control;
    if lean.kind == Kind::Acknowledgment {
        let head: &[u8; HEAD] = arena.head(batch.frame(lane))?;
        if let Err(reason) = tracker.acknowledge::<A>(settled, entrance, &lean::segment(head, &lean)) {
            // Whoever tells of drops reads what the frame was.
            batch.packets[lane] = Packet::parse(arena.bytes(batch.frame(lane)));
            batch.settle(lane, Outcome::dropped(reason));
            counters.drop(reason);
            return Some(Course::Dropped);
        }
    } else {
        tracker.datagram::<A>(settled, entrance);
    }
    tracker.count_entered::<A>(settled, entrance, lean.ip_length());
    express.lanes.adjacencies[lane] = adjacency;
    let outcome = &mut batch.outcomes[lane];
    outcome.rule = entrance.rule;
    outcome.flow = Some(match entrance.relation() {
        Relation::Established => FlowRole::Established,
        Relation::Reply => FlowRole::Reply,
    });
    outcome.out = Out::To(exit.key);
    Some(Course::Passed)
}

/// Rewrites and queues what passed.
#[inline]
fn emit(engine: &mut Engine, batch: &mut Batch, lanes: Lanes) {
    let Engine { express, arena, queues, counters, .. } = engine;
    let Express { gates, lanes: notes, .. } = &*express;
    for lane in lanes {
        if let Some(next) = lanes.above(lane).next() {
            arena.prefetch(batch.frame(next));
        }
        let Some(mut frame) = batch.take(lane) else { continue };
        let (lean, adjacency) = (&notes.leans[lane], &notes.adjacencies[lane]);
        let exit = gates.of(adjacency.egress).key;
        let (end, vid) = (usize::from(lean.end), exit.vid());
        if let Some(head) = arena.head_mut(&mut frame) {
            match (lean.has_tag(), notes.v6.has(lane)) {
                (true, is_v6) => rewrite::take_hop_at(head, HEADER + TAG, !is_v6),
                (false, is_v6) => rewrite::take_hop_at(head, HEADER, !is_v6),
            }
            head[..rewrite::MACS].copy_from_slice(&adjacency.macs);
        }
        let tag = lean.has_tag().then_some(lean.control);
        let fits = rewrite::retag_to(arena, &mut frame, end, tag, vid);
        debug_assert!(fits, "`go` has seen to it");
        queues[exit.port().index()].push(frame, Origin::Forwarded);
    }
    counters.forwarded += lanes.count() as u64;
    counters.express += lanes.count() as u64;
}
