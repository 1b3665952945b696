//! Fragments, virtually reassembled: `fragment-invalid` and `fragment-orphan`. Only fragments come here.
//!
//! ```text
//!   route:  examine --+-- first: goes on; its fate is noted once track has judged it
//!                     +-- later, its first seen: goes on; track lets it follow
//!                     +-- later, its first not seen: copied, waits
//!                     +-- dropped
//!   track:  follow  <-- later fragments, instead of being tracked
//!   then    conclude: notes the fates of firsts          (before emit)
//!           release:  sends what waited for them         (after emit, so behind the first)
//! ```
//!
//! Of a flow that lets its first fragment through, a later one is judged like any packet of that flow: a change of
//! policy between two fragments counts from the next one on.

use super::judge::{self, Question};
use super::track::{self, Transit};
use super::{emit, route};
use crate::batch::{Batch, Egress, FlowRole, LANES, Out, Outcome, Verdict};
use crate::engine::Engine;
use crate::generation::Generation;
use crate::network::{Network, Role, VlanIndex};
use classifier::addr::PortId;
use classifier::flow::{End, FlowKey};
use classifier::reason::DropReason;
use classifier::wire::{Kind, Packet, Transport, ipv6, protocol};
use conntrack::fragment::{DatagramId, DatagramKey, Examined, Place, Table};
use conntrack::time::Tick;
use conntrack::{Epoch, Relation};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the fragment header of IPv6 (RFC 8200 §4.5), and its number.
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT: u8 = 44;
/// "Don't fragment", in the seventh byte of the IPv4 header.
const DONT_FRAGMENT: u8 = 0x40;

/// What became of a first fragment.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is a packet of this flow, sent by this end.
    Flow(FlowKey, End),
    /// It begins an ICMP error about this flow.
    Related(FlowKey),
    /// It was dropped, by the generation of this number.
    Dropped(Outcome, Epoch),
}

/// A fate, and for a TCP segment that passed the sequence number of what would be its datagram's byte 0: the end of
/// each later fragment is that much behind it.
#[derive(Clone, Copy, Debug)]
struct Judged {
    fate: Fate,
    sequence: Option<u32>,
}

/// Where a held frame came from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    tag: u64,
    port: PortId,
    ingress: VlanIndex,
}

/// What a worker knows of fragments.
pub(crate) struct Fragments {
    table: Table<Judged, Origin>,
    /// The datagram of each lane that holds a fragment.
    lanes: [Option<DatagramId>; LANES],
    /// The lanes of this batch that hold a first fragment.
    firsts: u64,
    /// Whether this batch has any fragment.
    is_busy: bool,
    /// Where what is released takes its way.
    batch: Option<Box<Batch>>,
}

impl Fragments {
    /// Nothing is known yet.
    pub(crate) fn new(timeout: Duration, secret: [u8; 16]) -> Fragments {
        Fragments {
            table: Table::new(timeout, secret),
            lanes: [None; LANES],
            firsts: 0,
            is_busy: false,
            batch: Some(Box::default()),
        }
    }

    /// What is held, and what was counted.
    pub(crate) fn statistics(&self) -> conntrack::fragment::Statistics {
        self.table.statistics()
    }
}

/// Finds out what a fragment is to its datagram. Whether that settles its lane.
#[cold]
#[inline(never)]
pub(super) fn examine(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    batch: &mut Batch,
    lane: usize,
) -> bool {
    let ingress = batch.paths[lane].ingress;
    let vlan = network.vlan(ingress);
    let packet = &batch.packets[lane];
    let Some(fragment) = packet.fragment else { return false };
    if vlan.role == Role::Routed && packet.ttl <= 1 {
        // An expired fragment is none of its datagram.
        return false;
    }
    let arena = Arc::clone(&engine.arena);
    let bytes = arena.bytes(batch.frame(lane));
    engine.fragments.is_busy = true;
    let key = DatagramKey {
        addresses: packet.addresses,
        identification: fragment.identification,
        vlan: vlan.key,
        protocol: if packet.kind == Kind::Ipv4 { packet.protocol } else { 0 },
    };
    let reason = if packet.faults.has(DropReason::FragmentInvalid) {
        if is_deadly(packet, bytes) {
            engine.fragments.table.kill(now, &key);
        }
        Some(DropReason::FragmentInvalid)
    } else {
        let length = packet.end as usize - data_offset(packet, bytes);
        let place = Place { offset: fragment.offset, length: length as u16, more: fragment.more };
        let origin = Origin { tag: batch.tags[lane], port: batch.ports[lane], ingress };
        // Padding is nobody's business.
        let whole = &bytes[..packet.end as usize];
        match engine.fragments.table.examine(now, &key, place, origin, whole) {
            Examined::First(id) => {
                engine.fragments.lanes[lane] = Some(id);
                engine.fragments.firsts |= 1 << lane;
                None
            }
            Examined::Later(id) => {
                engine.fragments.lanes[lane] = Some(id);
                None
            }
            Examined::Held => {
                // Its fate may be told before the batch is over, so it counts at once.
                engine.counters.waiting += 1;
                batch.settle(lane, Outcome { verdict: Verdict::Waiting, ..Outcome::UNDECIDED });
                tell_fallen(engine);
                return true;
            }
            Examined::Refused(reason) => Some(reason),
        }
    };
    tell_fallen(engine);
    if let Some(reason) = reason {
        batch.settle(lane, Outcome::dropped(reason));
    }
    reason.is_some()
}

/// Whether a fragment that is invalid by itself takes its datagram with it: F02, F04, F05 and F06 do. One with DF set
/// (I12), a first without its whole header (F01) and those of X12 and X13 are dropped alone (RFC 8200 §4.5).
fn is_deadly(packet: &Packet, frame: &[u8]) -> bool {
    let Some(fragment) = packet.fragment else { return false };
    if packet.kind != Kind::Ipv4 || frame[usize::from(packet.link.payload) + 6] & DONT_FRAGMENT != 0 {
        return false;
    }
    let length = packet.upper_length;
    length == 0
        || (fragment.more && !length.is_multiple_of(8))
        || usize::from(fragment.offset) + packet.ip_length() > usize::from(u16::MAX)
        || (fragment.offset == 8 && packet.protocol == protocol::TCP)
}

/// Where the data begins that the fragment brings of its datagram: behind the IPv4 header, or the fragment header.
fn data_offset(packet: &Packet, frame: &[u8]) -> usize {
    if packet.kind == Kind::Ipv4 || packet.is_later_fragment() {
        return packet.upper_offset as usize;
    }
    // Behind the fragment header of a first there may be more headers. The chain was walked and is sound.
    let upper = packet.upper_offset as usize;
    let start = usize::from(packet.link.payload);
    let (mut at, mut kind) = (start + ipv6::HEADER, frame[start + 6]);
    while kind != FRAGMENT && at + FRAGMENT_HEADER < upper {
        kind = frame[at];
        at += (usize::from(frame[at + 1]) + 1) * 8;
    }
    at + FRAGMENT_HEADER
}

/// A later fragment whose first was seen: what became of that becomes of it.
#[cold]
#[inline(never)]
pub(super) fn follow(engine: &mut Engine, generation: &Generation, batch: &mut Batch, transit: &Transit<'_>) {
    let lane = transit.lane;
    let judged = engine.fragments.lanes[lane].and_then(|id| {
        engine.fragments.table.fate(id).or_else(|| {
            // The first is in this batch.
            let first =
                (0..lane).rev().find(|l| engine.fragments.lanes[*l] == Some(id) && is_first(engine, *l))?;
            Some(fate_of(engine, generation, batch, first))
        })
    });
    let Some(Judged { fate, sequence }) = judged else {
        return batch.discard(lane, DropReason::FragmentOrphan);
    };
    match fate {
        Fate::Flow(key, sender) => {
            let Some(flow) = engine.tracker.live(transit.now, &key) else {
                return batch.discard(lane, DropReason::CtInvalid);
            };
            let view = engine.tracker.flow(flow);
            let relation = if view.opener == sender { Relation::Established } else { Relation::Reply };
            let home = match relation {
                Relation::Established => Some(view.opener_vlan),
                Relation::Reply => view.responder_vlan,
            };
            if home.is_some_and(|home| home != transit.ingress.key) {
                return batch.discard(lane, DropReason::CtInvalid);
            }
            track::follow(engine, generation, batch, transit, flow, relation);
            let is_let_through = batch.outcomes[lane].reason.is_none();
            if let (Some(sequence), true, Some(fragment)) =
                (sequence, is_let_through, batch.packets[lane].fragment)
            {
                let end = u32::from(fragment.offset) + u32::from(batch.packets[lane].upper_length);
                engine.tracker.extend(flow, sender, sequence.wrapping_add(end));
            }
        }
        Fate::Related(key) => match engine.tracker.live(transit.now, &key) {
            Some(flow) => track::relate(engine, generation, batch, transit, flow),
            None => batch.discard(lane, DropReason::CtInvalid),
        },
        Fate::Dropped(outcome, epoch) => {
            let outcome = if epoch == generation.epoch() {
                outcome
            } else {
                // Classes and rules of another generation mean nothing now.
                let classes = outcome.classes.and_then(|_| classes_of(generation, batch, transit));
                Outcome { would: None, classes, ..outcome }
            };
            batch.settle(lane, outcome);
        }
    }
}

fn is_first(engine: &Engine, lane: usize) -> bool {
    engine.fragments.firsts & (1 << lane) != 0
}

fn classes_of(
    generation: &Generation,
    batch: &Batch,
    transit: &Transit<'_>,
) -> Option<(classifier::tables::ClassId, classifier::tables::ClassId)> {
    let far = judge::egress_key(generation.network(), transit.egress)?;
    let question: Question = transit.question(batch);
    Some(judge::ask(generation, &question, far).classes)
}

/// What became of a first fragment, as its lane tells.
fn fate_of(engine: &Engine, generation: &Generation, batch: &Batch, lane: usize) -> Judged {
    let outcome = batch.outcomes[lane];
    let (key, sender) = batch.keys[lane];
    let fate = match (outcome.reason, outcome.flow) {
        (None, Some(FlowRole::New | FlowRole::Established | FlowRole::Reply)) => Fate::Flow(key, sender),
        (None, Some(FlowRole::Related)) => Fate::Related(key),
        (_, _) => Fate::Dropped(outcome, generation.epoch()),
    };
    let sequence = match fate {
        Fate::Flow(..) => base_sequence(engine, generation, batch, lane),
        Fate::Related(_) | Fate::Dropped(..) => None,
    };
    Judged { fate, sequence }
}

/// Of a TCP segment, the sequence number less what stands before its data, SYN and FIN counted: adding where a
/// fragment ends in the datagram gives the sequence number that it ends with.
fn base_sequence(engine: &Engine, generation: &Generation, batch: &Batch, lane: usize) -> Option<u32> {
    let packet = &batch.packets[lane];
    let frame = engine.arena.bytes(batch.frame(lane));
    let domain = generation.network().vlan(batch.paths[lane].ingress).domain;
    let Transport::Tcp(segment) = packet.transport(frame, domain) else { return None };
    let behind = packet.upper_offset as usize - data_offset(packet, frame)
        + usize::from(packet.upper_length - segment.payload_length);
    let flags = u32::from(segment.flags.syn()) + u32::from(segment.flags.fin());
    Some(segment.sequence.wrapping_add(flags).wrapping_sub(behind as u32))
}

/// Notes what became of the first fragments of a batch, between the judgement and the way out.
#[inline]
pub(crate) fn conclude(engine: &mut Engine, batch: &Batch) {
    if engine.fragments.firsts != 0 {
        note_fates(engine, batch);
    }
}

#[cold]
fn note_fates(engine: &mut Engine, batch: &Batch) {
    let generation = Arc::clone(&engine.generation);
    for lane in 0..batch.len() {
        if let Some(id) = engine.fragments.lanes[lane].filter(|_| is_first(engine, lane)) {
            let judged = fate_of(engine, &generation, batch, lane);
            engine.fragments.table.set_fate(id, judged);
        }
    }
}

/// Lets go what waited for the first fragments of a batch, behind them.
#[inline]
pub(crate) fn release(engine: &mut Engine, now: Tick) {
    if engine.fragments.is_busy {
        release_all(engine, now);
    }
}

#[cold]
fn release_all(engine: &mut Engine, now: Tick) {
    let firsts = std::mem::take(&mut engine.fragments.firsts);
    let lanes = std::mem::replace(&mut engine.fragments.lanes, [None; LANES]);
    if let Some(mut batch) = engine.fragments.batch.take() {
        for lane in (0..LANES).filter(|lane| firsts & (1 << lane) != 0) {
            if let Some(id) = lanes[lane] {
                while engine.fragments.table.next_held(id).is_some() {
                    release_some(engine, now, &mut batch, id);
                }
            }
        }
        engine.fragments.batch = Some(batch);
    }
    engine.fragments.table.end_batch();
    engine.fragments.lanes = [None; LANES];
    engine.fragments.is_busy = false;
    tell_fallen(engine);
}

/// Takes up to a batch of held frames of one datagram through the stages that are still before them.
fn release_some(engine: &mut Engine, now: Tick, batch: &mut Batch, id: DatagramId) {
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    let arena = Arc::clone(&engine.arena);
    batch.clear();
    while batch.len() < LANES {
        let Some(held) = engine.fragments.table.next_held(id) else { break };
        let Origin { tag, port, ingress } = held.origin;
        let Some(mut frame) = engine.pool.take() else {
            engine.fragments.table.take_held(id, None);
            engine.tell_late(tag, Outcome::dropped(DropReason::TxFull));
            continue;
        };
        engine.fragments.table.take_held(id, Some(arena.buffer_mut(&mut frame)));
        arena.set_length(&mut frame, held.length as usize);
        let lane = batch.len();
        let packet = Packet::parse(arena.bytes(&frame));
        batch.push(port, tag, frame);
        let is_routed = network.vlan(ingress).role == Role::Routed;
        batch.hops[lane] = if is_routed { network.route(packet.destination()) } else { None };
        batch.paths[lane].ingress = ingress;
        batch.packets[lane] = packet;
        engine.fragments.lanes[lane] = Some(id);
    }
    for lane in batch.live() {
        let Some(frame) = batch.lend(lane) else { continue };
        let ingress = batch.paths[lane].ingress;
        let hop = batch.hops[lane];
        let way = route::route(engine, network, now, ingress, hop, &batch.packets[lane], arena.bytes(&frame));
        match way {
            Ok(egress) => {
                batch.paths[lane].egress = egress;
                let transit =
                    Transit::of_later(now, lane, arena.bytes(&frame), network.vlan(ingress), egress);
                follow(engine, &generation, batch, &transit);
            }
            Err(_) => follow_nowhere(engine, &generation, batch, lane, now, ingress, arena.bytes(&frame)),
        }
        batch.restore(lane, frame);
    }
    emit::process(engine, now, batch);
    for lane in 0..batch.len() {
        if let Some(frame) = batch.take(lane) {
            engine.pool.give(frame);
        }
        let outcome = batch.outcomes[lane];
        if outcome.verdict != Verdict::Waiting {
            engine.tell_late(batch.tags[lane], outcome);
            if outcome.out == Out::Flooded {
                for key in batch.flooded_from(lane) {
                    engine.late_flooded.push((batch.tags[lane], key));
                }
            }
        }
    }
}

/// A released frame that has no way out; nor had its first, whose fate it shares.
fn follow_nowhere(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    lane: usize,
    now: Tick,
    ingress: VlanIndex,
    frame: &[u8],
) {
    let vlan = generation.network().vlan(ingress);
    let transit = Transit::of_later(now, lane, frame, vlan, Egress::Flood);
    follow(engine, generation, batch, &transit);
    if batch.outcomes[lane].reason.is_none() {
        batch.discard(lane, DropReason::NoRoute);
    }
}

/// Runs the timers: a datagram that is not complete in time is forgotten.
pub(crate) fn run_timers(engine: &mut Engine, now: Tick) {
    engine.fragments.table.expire(now);
    tell_fallen(engine);
}

/// Gives up on all that is held, and forgets every datagram.
pub(crate) fn abandon(engine: &mut Engine) {
    engine.fragments.table.clear();
    tell_fallen(engine);
}

/// Tells the fate of held frames whose datagram came to nothing.
fn tell_fallen(engine: &mut Engine) {
    while let Some(fallen) = engine.fragments.table.next_fallen() {
        engine.tell_late(fallen.origin.tag, Outcome::dropped(fallen.reason));
    }
}
