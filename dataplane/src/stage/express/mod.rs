//! The short way: ordinary packets of flows that are known to let their kind pass.
//!
//! ```text
//!   all lanes    read: take apart
//!                seek: hash, ask for the index
//!                look_up: find the slot, ask for the entry and for the way out
//!                ask: of first packets, what the policy says
//!   in order     go: flow live, memo holds, way out known, TCP's window?  --yes--> rewrite, queue
//!                begin: allowed, room for a flow?                         --no---> waiting for the whole way
//! ```
//!
//! What admission, spoof guard, routing and policy say of an ordinary packet on a routed VLAN hangs on its
//! addresses, ports and VLAN and the generation alone. A packet that went the whole way leaves a mark at its flow, for
//! its direction; it holds as long as the flow's epoch is the generation's and its VLANs stay. Whatever may be
//! different for the next packet is looked at here: lengths, checksums, TTL, MACs, bindings, flags, the flow's deadline
//! and VLAN, TCP's states and windows, the next hop's MAC, the MTU of the way out.
//!
//! The order is kept where it can be told: a packet does not overtake another of its flow, and nothing overtakes a
//! frame of which it is not known what flow it belongs to, or what it may change (ARP, a fragment). A packet that begins a
//! flow ([`opening`]) overtakes none that goes the whole way: either may hang on how full the table is.

mod checksum;
mod gates;
mod lean;
mod opening;

use super::parse::AHEAD;
use super::rewrite;
use crate::adjacency::{Adjacencies, Adjacency, Destination, Standing};
use crate::arena::{Arena, HEAD};
use crate::batch::{Batch, FlowRole, LANES, Lanes, Out, Outcome};
use crate::engine::{Engine, Origin, TxQueue};
use crate::meter::{Meter, Part};
use crate::network::{Network, VlanIndex};
use classifier::flow::{Domain, End, Key, KeyKind};
use classifier::tables::{self, Classes, Places, Query, Tables};
use classifier::wire::link::{self, HEADER, TAG};
use classifier::wire::{Addresses, Packet};
use conntrack::time::Tick;
use conntrack::{Family, Place, Relation, Settled};
use gates::{Gate, Gates};
use lean::{Kind, Lean};
use opening::Openings;

/// Words of the filter of flows that wait.
const FILTER: usize = 8;
/// No slot of the flow table.
const NOWHERE: u32 = u32::MAX;

/// What the short way keeps: what follows from the generation, what is remembered, and what a batch brings.
#[derive(Debug)]
pub(crate) struct Express {
    gates: Gates,
    v4: Adjacencies<u32>,
    v6: Adjacencies<u128>,
    lanes: Box<Notes>,
    openings: Box<Openings>,
    /// Whether any packet takes the short way.
    pub(crate) is_open: bool,
}

/// What is known of a lane: a line of the cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Note {
    hash: u64,
    key: Key<u32>,
    /// Where the index has the hash.
    place: Place,
    /// The slot that the flow seems to be in.
    candidate: u32,
    /// Where the way out is remembered.
    set: u32,
    lean: Lean,
}

const _: () = assert!(size_of::<Note>() == 64);

/// What is known of the lanes of a batch.
#[derive(Debug)]
struct Notes {
    each: [Note; LANES],
    wide_keys: [Key<u128>; LANES],
    v6: Lanes,
}

const fn no_key<A: Copy>(zero: A) -> Key<A> {
    let (domain, kind) = (Domain::ROUTED, KeyKind::Ports);
    Key { first: zero, second: zero, first_port: 0, second_port: 0, domain, protocol: 0, kind }
}

impl Express {
    /// For a network, and a table of so many flows.
    pub(crate) fn new(network: &Network, flows: usize) -> Express {
        let note = Note {
            hash: 0,
            key: no_key(0),
            place: Place::default(),
            candidate: NOWHERE,
            set: 0,
            lean: Lean::NONE,
        };
        Express {
            gates: Gates::new(network),
            v4: Adjacencies::new(flows),
            v6: Adjacencies::new(flows),
            lanes: Box::new(Notes {
                each: [note; LANES],
                wide_keys: [no_key(0); LANES],
                v6: Lanes::default(),
            }),
            openings: Box::default(),
            is_open: true,
        }
    }

    /// Another network is in force. What was remembered is of an older generation, and no longer holds.
    pub(crate) fn install(&mut self, network: &Network) {
        self.gates = Gates::new(network);
    }
}

/// An address family, with what the short way keeps of it.
trait Lane: Family + Destination {
    fn key(notes: &Notes, lane: usize) -> &Key<Self>;
    fn remembered(express: &mut Express) -> &mut Adjacencies<Self>;
    fn classify(
        tables: &Tables,
        queries: &[Query<Self>],
        places: &[Places],
        answers: &mut [tables::Answer],
        classes: &mut [Classes],
    );
    fn addresses(source: Self, destination: Self) -> Addresses;
}

impl Lane for u32 {
    #[inline]
    fn key(notes: &Notes, lane: usize) -> &Key<u32> {
        &notes.each[lane].key
    }

    #[inline]
    fn remembered(express: &mut Express) -> &mut Adjacencies<u32> {
        &mut express.v4
    }

    #[inline]
    fn classify(
        tables: &Tables,
        queries: &[Query<u32>],
        places: &[Places],
        answers: &mut [tables::Answer],
        classes: &mut [Classes],
    ) {
        tables.classify_v4_with_classes(queries, places, answers, classes);
    }

    #[inline]
    fn addresses(source: u32, destination: u32) -> Addresses {
        Addresses::V4(source, destination)
    }
}

impl Lane for u128 {
    #[inline]
    fn key(notes: &Notes, lane: usize) -> &Key<u128> {
        &notes.wide_keys[lane]
    }

    #[inline]
    fn remembered(express: &mut Express) -> &mut Adjacencies<u128> {
        &mut express.v6
    }

    #[inline]
    fn classify(
        tables: &Tables,
        queries: &[Query<u128>],
        places: &[Places],
        answers: &mut [tables::Answer],
        classes: &mut [Classes],
    ) {
        tables.classify_v6_with_classes(queries, places, answers, classes);
    }

    #[inline]
    fn addresses(source: u128, destination: u128) -> Addresses {
        Addresses::V6(source, destination)
    }
}

/// A bit for each of some flows, by its hash: so many that two flows of a batch seldom share one.
#[derive(Clone, Copy, Debug, Default)]
struct Filter([u64; FILTER]);

impl Filter {
    /// Whether a flow may be among them.
    #[inline]
    fn has(&self, hash: u64) -> bool {
        let bit = (hash >> 32) as usize % (FILTER * 64);
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }

    #[inline]
    fn add(&mut self, hash: u64) {
        let bit = (hash >> 32) as usize % (FILTER * 64);
        self.0[bit / 64] |= 1 << (bit % 64);
    }
}

/// The lanes that wait for the whole way, and what may not overtake them.
#[derive(Default)]
struct Waiting {
    lanes: Lanes,
    flows: Filter,
    /// Whether there is one that nothing may overtake.
    is_barrier: bool,
}

impl Waiting {
    #[inline]
    fn add(&mut self, lane: usize, hash: u64) {
        self.lanes.add(lane);
        self.flows.add(hash);
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
    seek(engine, ordinary);
    meter.done(Part::Parse);
    // A tracker that has no flow yet is told the time by the first packet that may begin one: its grace begins then.
    if ordinary.is_empty() || engine.tracker.is_empty() {
        whole(engine, batch, all);
        return meter.done(Part::Slow);
    }
    let mut settled = engine.tracker.settle(now);
    let mut fresh = look_up(engine, ordinary);
    if !fresh.is_empty() {
        fresh = opening::ask(engine, now, batch, fresh);
    }
    meter.done(Part::LookUp);
    let (mut passed, mut waiting) = (Lanes::default(), Waiting::default());
    for lane in all {
        if !ordinary.has(lane) {
            waiting.lanes.add(lane);
            waiting.is_barrier = true;
            continue;
        }
        let Note { hash, candidate, lean, .. } = engine.express.lanes.each[lane];
        let is_first = fresh.has(lane);
        let is_known = candidate != NOWHERE
            && lean.kind.follows()
            && (waiting.lanes.is_empty() || !waiting.flows.has(hash));
        let may_go = is_known || is_first;
        if may_go && (waiting.is_barrier || (is_first && !waiting.lanes.is_empty())) {
            meter.done(Part::Track);
            whole(engine, batch, std::mem::take(&mut waiting).lanes);
            meter.done(Part::Slow);
            // Flows may have ended, and their slots gone to others: `enter` sees to that, for this lane alone, so that
            // a batch in which such frames alternate costs no more than its lanes.
            settled = engine.tracker.settle(now);
            engine.express.openings.doubt();
        }
        let course = match (is_known, is_first) {
            (true, _) => go(engine, now, settled, batch, lane),
            (false, true) => opening::begin(engine, now, settled, batch, lane),
            (false, false) => Course::Whole,
        };
        match course {
            Course::Passed => passed.add(lane),
            Course::Dropped => {}
            Course::Whole => waiting.add(lane, hash),
        }
    }
    batch.left(passed);
    engine.counters.forwarded += passed.count() as u64;
    engine.counters.express += passed.count() as u64;
    meter.done(Part::Track);
    if !waiting.lanes.is_empty() {
        whole(engine, batch, waiting.lanes);
        meter.done(Part::Slow);
    }
}

/// Takes the frames apart; which of them are ordinary. By itself, so that it has all registers.
#[inline(never)]
fn read(engine: &mut Engine, batch: &mut Batch, lanes: Lanes) -> Lanes {
    let Engine { express, arena, .. } = engine;
    let Express { gates, lanes: notes, .. } = express;
    let mut ordinary = Lanes::default();
    notes.v6 = Lanes::default();
    for lane in lanes {
        if let Some(next) = batch.frame_at(lane + AHEAD) {
            arena.prefetch(next);
        }
        let Some((head, frame)) = arena.head_and_bytes(batch.frame(lane)) else { continue };
        if lean::parse(head, frame, gates, batch.ports[lane], notes, lane).is_some() {
            ordinary.add(lane);
        }
    }
    ordinary
}

/// Hashes the keys of lanes, and asks the processor for where the index has them. By itself: taking frames apart needs
/// all registers, and so does the secret.
#[inline(never)]
fn seek(engine: &mut Engine, lanes: Lanes) {
    let Engine { express, tracker, .. } = engine;
    let notes = &mut *express.lanes;
    for lane in lanes {
        let note = &mut notes.each[lane];
        if notes.v6.has(lane) {
            note.hash = tracker.hash_of(&notes.wide_keys[lane]);
            note.place = tracker.prefetch_index::<u128>(note.hash);
        } else {
            note.hash = tracker.hash_of(&note.key);
            note.place = tracker.prefetch_index::<u32>(note.hash);
        }
    }
}

/// Finds where the flows of lanes seem to be, and asks the processor for what is there. Which lanes begin flows, as it seems.
#[inline(never)]
fn look_up(engine: &mut Engine, lanes: Lanes) -> Lanes {
    let Engine { express, tracker, .. } = engine;
    let mut fresh = Lanes::default();
    let Express { v4, v6, lanes: notes, .. } = express;
    for lane in lanes {
        let note = &mut notes.each[lane];
        let sender = note.lean.sender;
        let candidate = if note.lean.kind == Kind::Segment {
            None
        } else if notes.v6.has(lane) {
            note.set = v6.prefetch(towards(&notes.wide_keys[lane], sender));
            tracker.candidate::<u128>(note.place)
        } else {
            note.set = v4.prefetch(towards(&note.key, sender));
            tracker.candidate::<u32>(note.place)
        };
        note.candidate = candidate.unwrap_or(NOWHERE);
        if candidate.is_none() {
            fresh.add_if(lane, note.lean.kind.begins());
        }
    }
    fresh
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
fn go(engine: &mut Engine, now: Tick, settled: Settled, batch: &mut Batch, lane: usize) -> Course {
    let course = if engine.express.lanes.v6.has(lane) {
        go_by::<u128>(engine, now, settled, batch, lane)
    } else {
        go_by::<u32>(engine, now, settled, batch, lane)
    };
    course.unwrap_or(Course::Whole)
}

#[inline]
fn go_by<A: Lane>(
    engine: &mut Engine,
    now: Tick,
    settled: Settled,
    batch: &mut Batch,
    lane: usize,
) -> Option<Course> {
    let Engine { express, tracker, generation, neighbors, arena, queues, counters, .. } = engine;
    let key = A::key(&express.lanes, lane);
    let Note { hash, candidate, set, lean, .. } = &express.lanes.each[lane];
    let (set, lean) = (*set, *lean);
    let gate = express.gates.of(VlanIndex(lean.gate));
    let epoch = generation.epoch();
    let entrance = tracker.enter(settled, (*candidate, *hash), (key, lean.sender), gate.key, epoch)?;
    let network = generation.network();
    if gate.asks_bindings {
        let source = towards(key, lean.sender.other()).address();
        let mac = link::source(arena.bytes(batch.frame(lane)));
        if !network.is_binding(gate.index, source, mac) {
            return None;
        }
    }
    let (standing, address) = (Standing { now, epoch, neighbors }, towards(key, lean.sender));
    let remembered = A::remembered(express);
    let adjacency = match remembered.find(standing, set, address) {
        Some(adjacency) => adjacency,
        None => remembered.look_up(standing, network, address)?,
    };
    let exit = express.gates.of(adjacency.egress);
    if !fits(arena, &lean, exit) {
        return None;
    }
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
    batch.controls[lane] = lean.control;
    tracker.count_entered::<A>(settled, entrance, lean.ip_length());
    let outcome = &mut batch.outcomes[lane];
    outcome.rule = entrance.rule;
    outcome.flow = Some(match entrance.relation() {
        Relation::Established => FlowRole::Established,
        Relation::Reply => FlowRole::Reply,
    });
    outcome.out = Out::To(exit.key);
    depart::<A>(arena, queues, batch, lane, &lean, &adjacency, exit);
    Some(Course::Passed)
}

/// Whether a frame may leave by a VLAN: by its MTU, and with the tag in its chunk.
#[inline(always)]
fn fits(arena: &Arena, lean: &Lean, exit: &Gate) -> bool {
    let vid = exit.key.vid();
    let is_retagged = lean.has_tag() && vid != 0;
    lean.ip_length() <= exit.mtu
        && (is_retagged || vid == 0 || usize::from(lean.end) + TAG <= arena.layout().capacity)
}

/// Rewrites the frame of a lane, which fits, and queues it.
#[inline(always)]
fn depart<A: Lane>(
    arena: &Arena,
    queues: &mut [TxQueue],
    batch: &mut Batch,
    lane: usize,
    lean: &Lean,
    adjacency: &Adjacency,
    exit: &Gate,
) {
    let (end, vid) = (usize::from(lean.end), exit.key.vid());
    let mut frame = batch.lend(lane).expect("a live lane has its frame");
    let head = arena.head_mut(&mut frame).expect("what was read has a head");
    let is_v4 = size_of::<A>() == size_of::<u32>();
    match lean.has_tag() {
        true => rewrite::take_hop_at(head, HEADER + TAG, is_v4),
        false => rewrite::take_hop_at(head, HEADER, is_v4),
    }
    head[..rewrite::MACS].copy_from_slice(&adjacency.macs);
    if lean.has_tag() && vid != 0 {
        // Between two tagged VLANs, as most frames go.
        rewrite::retag_at(head, lean.control, vid);
        arena.set_length(&mut frame, end);
    } else {
        let fits = rewrite::push_or_pop(arena, &mut frame, end, lean.has_tag(), vid);
        debug_assert!(fits, "that was seen to");
    }
    queues[exit.key.port().index()].push(frame, Origin::Forwarded);
}
