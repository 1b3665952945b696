//! The short way: ordinary packets of flows that are known to let their kind pass.
//!
//! ```text
//!   all lanes    read: take apart
//!                seek: hash, ask for the index
//!                look_up: find the slot, ask for the entry and for the way out
//!                ask: of first packets, what the policy says
//!                weigh: flow live, mark holds, way out known?                --no---> waiting for the whole way
//!                pass: TCP's window; move the flow, rewrite, queue
//!   in order     begin: of first packets: allowed, room for a flow?         --no---> waiting for the whole way
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
mod known;
mod lean;
mod opening;

use super::parse::AHEAD;
use super::rewrite;
use crate::adjacency::{Adjacencies, Destination};
use crate::arena::{Arena, Heads};
use crate::batch::{Batch, LANES, Lanes};
use crate::engine::{Engine, Origin, TxQueue};
use crate::meter::{Meter, Part};
use crate::network::Network;
use classifier::addr::VlanKey;
use classifier::flow::{Domain, End, Key, KeyKind};
use classifier::tables::{self, Classes, Places, Query, Tables};
use classifier::wire::Addresses;
use classifier::wire::link::{HEADER, TAG};
use conntrack::time::Tick;
use conntrack::{Family, Place, Settled, Tracker};
use gates::{Gate, Gates};
use known::Passage;
use lean::{Kind, Lean, Reading};
use opening::Openings;

/// Words of the filter of flows that wait.
const FILTER: usize = 8;

/// What the short way keeps: what follows from the generation, what is remembered, and what a batch brings.
#[derive(Debug)]
pub(crate) struct Express {
    gates: Gates,
    v4: Adjacencies<u32>,
    v6: Adjacencies<u128>,
    lanes: Box<Notes>,
    openings: Box<Openings>,
    /// What packets of known flows were found to pass by.
    passages: Box<[Passage; LANES]>,
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
    /// The slot that the flow seems to be in, where one was found.
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
    /// By what they are above IP: UDP, TCP with ACK, and TCP with SYN.
    datagrams: Lanes,
    segments: Lanes,
    syns: Lanes,
}

const fn no_key<A: Copy>(zero: A) -> Key<A> {
    let (domain, kind) = (Domain::ROUTED, KeyKind::Ports);
    Key { first: zero, second: zero, first_port: 0, second_port: 0, domain, protocol: 0, kind }
}

impl Express {
    /// For a network, and a table of so many flows.
    pub(crate) fn new(network: &Network, flows: usize) -> Express {
        let note =
            Note { hash: 0, key: no_key(0), place: Place::default(), candidate: 0, set: 0, lean: Lean::NONE };
        Express {
            gates: Gates::new(network),
            v4: Adjacencies::new(flows),
            v6: Adjacencies::new(flows),
            lanes: Box::new(Notes {
                each: [note; LANES],
                wide_keys: [no_key(0); LANES],
                v6: Lanes::default(),
                datagrams: Lanes::default(),
                segments: Lanes::default(),
                syns: Lanes::default(),
            }),
            openings: Box::default(),
            passages: Box::new([Passage::NONE; LANES]),
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
    fn remembered<'a>(
        v4: &'a mut Adjacencies<u32>,
        v6: &'a mut Adjacencies<u128>,
    ) -> &'a mut Adjacencies<Self>;
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
    fn remembered<'a>(
        v4: &'a mut Adjacencies<u32>,
        _: &'a mut Adjacencies<u128>,
    ) -> &'a mut Adjacencies<u32> {
        v4
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
    fn remembered<'a>(
        _: &'a mut Adjacencies<u32>,
        v6: &'a mut Adjacencies<u128>,
    ) -> &'a mut Adjacencies<u128> {
        v6
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
    let (known, mut fresh) = look_up(engine, ordinary);
    if !fresh.is_empty() {
        fresh = opening::ask(engine, now, batch, fresh);
    }
    meter.done(Part::LookUp);
    let mut passed = Lanes::default();
    // What is found of all at once does not hold for long where any are in between that must be waited for.
    let mut is_weighed = ordinary == all;
    let clear = if is_weighed { known::weigh(engine, now, settled, batch, known) } else { Lanes::default() };
    let mut run = clear;
    let mut waiting = Waiting::default();
    if clear != all {
        run = Lanes::default();
        for lane in all {
            if !ordinary.has(lane) {
                waiting.lanes.add(lane);
                waiting.is_barrier = true;
                continue;
            }
            let hash = engine.express.lanes.each[lane].hash;
            let is_first = fresh.has(lane);
            let is_known = known.has(lane) && (waiting.lanes.is_empty() || !waiting.flows.has(hash));
            if waiting.is_barrier && (is_known || is_first) || (is_first && !waiting.lanes.is_empty()) {
                passed = passed.and(take(&mut run, engine, settled, batch));
                meter.done(Part::Track);
                whole(engine, batch, std::mem::take(&mut waiting).lanes);
                meter.done(Part::Slow);
                // Flows may have ended, and their slots gone to others: a lane is weighed by itself then, so that a
                // batch in which such frames alternate costs no more than its lanes.
                is_weighed = false;
                settled = engine.tracker.settle(now);
                engine.express.openings.doubt();
            }
            if is_known {
                let may_pass = match is_weighed {
                    true => clear.has(lane),
                    false => !known::weigh(engine, now, settled, batch, Lanes::only(lane)).is_empty(),
                };
                match may_pass {
                    true => run.add(lane),
                    false => waiting.add(lane, hash),
                }
                continue;
            }
            let course = if is_first {
                // It may take the place of a flow: those before it have theirs first.
                passed = passed.and(take(&mut run, engine, settled, batch));
                let evicted = engine.tracker.statistics().evicted();
                let course = opening::begin(engine, now, settled, batch, lane);
                is_weighed &= engine.tracker.statistics().evicted() == evicted;
                course
            } else {
                Course::Whole
            };
            match course {
                Course::Passed => passed.add(lane),
                Course::Dropped => {}
                Course::Whole => waiting.add(lane, hash),
            }
        }
    }
    passed = passed.and(take(&mut run, engine, settled, batch));
    batch.left(passed);
    engine.counters.forwarded += passed.count() as u64;
    engine.counters.express += passed.count() as u64;
    meter.done(Part::Track);
    if !waiting.lanes.is_empty() {
        whole(engine, batch, waiting.lanes);
        meter.done(Part::Slow);
    }
}

/// Lets the packets of a run of lanes leave, which begins anew then; which of them did.
#[inline]
fn take(run: &mut Lanes, engine: &mut Engine, settled: Settled, batch: &mut Batch) -> Lanes {
    let lanes = std::mem::take(run);
    if lanes.is_empty() {
        return lanes;
    }
    let dropped = known::pass(engine, settled, batch, lanes);
    lanes.split(dropped).1
}

/// Takes the frames apart; which of them are ordinary. By itself, so that it has all registers.
#[inline(never)]
fn read(engine: &mut Engine, batch: &mut Batch, lanes: Lanes) -> Lanes {
    let Engine { express, arena, .. } = engine;
    let Express { gates, lanes: notes, .. } = express;
    let mut of_kind = [Lanes::default(); Kind::ALL];
    notes.v6 = Lanes::default();
    if let Some(heads) = arena.heads() {
        for lane in lanes {
            if let Some(next) = batch.frame_at(lane + AHEAD) {
                arena.prefetch(next);
            }
            let frame = batch.frame(lane);
            let reading = Reading { head: heads.of(frame), length: frame.length() };
            let from = (&*gates, batch.ports[lane]);
            if let Some(kind) = lean::parse(reading, || arena.bytes(frame), from, notes, lane) {
                of_kind[kind as usize].add(lane);
            }
        }
    }
    let others;
    [notes.datagrams, notes.segments, notes.syns, others] = of_kind;
    notes.datagrams.and(notes.segments).and(notes.syns).and(others)
}

/// Hashes the keys of lanes, and asks the processor for where the index has them. By itself: taking frames apart needs
/// all registers, and so does the secret.
fn seek(engine: &mut Engine, lanes: Lanes) {
    let (of_v6, of_v4) = lanes.split(engine.express.lanes.v6);
    if !of_v4.is_empty() {
        seek_family::<u32>(&engine.tracker, &mut engine.express.lanes, of_v4);
    }
    if !of_v6.is_empty() {
        seek_family::<u128>(&engine.tracker, &mut engine.express.lanes, of_v6);
    }
}

#[inline(never)]
fn seek_family<A: Lane>(tracker: &Tracker, notes: &mut Notes, lanes: Lanes) {
    for lane in lanes {
        let hash = tracker.hash_of(A::key(notes, lane));
        let note = &mut notes.each[lane];
        note.hash = hash;
        note.place = tracker.prefetch_index::<A>(hash);
    }
}

/// Finds where the flows of lanes seem to be, and asks the processor for what is there, and for the ways out. Which
/// lanes belong to flows that are known, as it seems, and may follow them, and which begin flows.
fn look_up(engine: &mut Engine, lanes: Lanes) -> (Lanes, Lanes) {
    let Engine { express, tracker, .. } = engine;
    let Express { v4, v6, lanes: notes, .. } = express;
    let follow = notes.datagrams.and(notes.segments);
    let (of_v6, of_v4) = lanes.split(follow.and(notes.syns)).0.split(notes.v6);
    let mut found = Lanes::default();
    if !of_v4.is_empty() {
        found = look_up_family::<u32>(tracker, v4, notes, of_v4);
    }
    if !of_v6.is_empty() {
        found = found.and(look_up_family::<u128>(tracker, v6, notes, of_v6));
    }
    let begin = lanes.split(notes.datagrams.and(notes.syns)).0;
    (found.split(follow).0, begin.split(found).1)
}

#[inline(never)]
fn look_up_family<A: Lane>(
    tracker: &Tracker,
    remembered: &Adjacencies<A>,
    notes: &mut Notes,
    lanes: Lanes,
) -> Lanes {
    let mut found = Lanes::default();
    for lane in lanes {
        let set = remembered.prefetch(towards(A::key(notes, lane), notes.each[lane].lean.sender));
        let note = &mut notes.each[lane];
        note.set = set;
        if let Some(candidate) = tracker.candidate::<A>(note.place) {
            note.candidate = candidate;
            found.add(lane);
        }
    }
    let missed = lanes.split(found).1;
    if missed.is_empty() { found } else { found.and(look_further::<A>(tracker, notes, missed)) }
}

/// Looks for flows that are not where they would be first.
#[inline(never)]
fn look_further<A: Lane>(tracker: &Tracker, notes: &mut Notes, lanes: Lanes) -> Lanes {
    for lane in lanes {
        tracker.prefetch_second::<A>(notes.each[lane].place);
    }
    let mut found = Lanes::default();
    for lane in lanes {
        let note = &mut notes.each[lane];
        if let Some(candidate) = tracker.second_candidate::<A>(note.place) {
            note.candidate = candidate;
            found.add(lane);
        }
    }
    found
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
    (arena, heads): (&Arena, Heads<'_>),
    queues: &mut [TxQueue],
    batch: &mut Batch,
    lane: usize,
    lean: &Lean,
    macs: &[u8; rewrite::MACS],
    exit: VlanKey,
) {
    let (end, vid) = (usize::from(lean.end), exit.vid());
    let frame = batch.frame_mut(lane);
    let head = heads.of_mut(frame);
    let is_v4 = size_of::<A>() == size_of::<u32>();
    match lean.has_tag() {
        true => rewrite::take_hop_at(head, HEADER + TAG, is_v4),
        false => rewrite::take_hop_at(head, HEADER, is_v4),
    }
    head[..rewrite::MACS].copy_from_slice(macs);
    if lean.has_tag() && vid != 0 {
        // Between two tagged VLANs, as most frames go.
        rewrite::retag_at(head, lean.control, vid);
        arena.set_length(frame, end);
    } else {
        let fits = rewrite::push_or_pop(arena, frame, end, lean.has_tag(), vid);
        debug_assert!(fits, "that was seen to");
    }
    let frame = batch.lend(lane).expect("a live lane has its frame");
    queues[exit.port().index()].push(frame, Origin::Forwarded);
}
