//! First packets: what begins a flow is judged by the short way too.
//!
//! ```text
//!   all lanes    ask: ports, addresses and source fit? way out known? ----> the policy, of all together
//!   in order     begin: not known by now, allowed, room for it? ----------> enter the flow, rewrite, queue
//! ```
//!
//! Here everything is looked at that a flow would remember ([`super`]): that its source lives where it comes from and is
//! nobody's else, and that ports and addresses are such as packets may have. Denials are dropped here; whatever
//! takes more (an answer, `max_flows`, a neighbor that must be asked, a key that is known by now) goes the whole way,
//! and nothing has moved then.

use super::lean::{Kind, Lean, segment};
use super::{Course, Express, Filter, Lane, Notes, depart, fits};
use crate::adjacency::{Adjacencies, Standing};
use crate::arena::Arena;
use crate::batch::{Batch, FlowRole, LANES, Lanes, Out, Outcome, Verdict};
use crate::engine::Engine;
use crate::generation::Generation;
use crate::network::{Hop, Network, VlanIndex};
use crate::stage::express::gates::{Gate, Gates};
use crate::stage::judge::{self, Answer};
use classifier::decision::{self, Decision};
use classifier::endpoint::Endpoint;
use classifier::flow::{End, Key};
use classifier::tables::{self, ClassId, Classes, Places, Query};
use classifier::wire::link::{self, Link, ethertype};
use classifier::wire::{self, Faults, Packet, TcpFlags, Upper};
use conntrack::time::Tick;
use conntrack::{Beginning, Settled, Terms};

/// From so many first packets on the policy is asked of all together: a stage of the tables costs the same for one.
const BULK: usize = 8;

/// What is known of first packets of a batch.
#[derive(Debug)]
pub(super) struct Openings {
    answers: [Answer; LANES],
    v4: Asked<u32>,
    v6: Asked<u128>,
    raw: [tables::Answer; LANES],
    classes: [Classes; LANES],
    /// The flows that were begun in this batch.
    begun: Filter,
    /// Whether packets have gone the whole way since the flows were looked up, and may have begun any.
    is_doubtful: bool,
}

/// What the policy is asked, in the order of the lanes.
#[derive(Debug)]
struct Asked<A> {
    queries: [Query<A>; LANES],
    places: [Places; LANES],
    lanes: [u8; LANES],
}

const NO_CLASSES: Classes = (ClassId::NONE, ClassId::NONE);
const NO_ANSWER: Answer = Answer {
    decision: Decision { verdict: decision::Verdict::Deny, rule: None, would: None },
    classes: NO_CLASSES,
};

impl<A: Copy + Default> Default for Asked<A> {
    fn default() -> Asked<A> {
        Asked { queries: [Query::default(); LANES], places: [Places::default(); LANES], lanes: [0; LANES] }
    }
}

impl Default for Openings {
    fn default() -> Openings {
        Openings {
            answers: [NO_ANSWER; LANES],
            v4: Asked::default(),
            v6: Asked::default(),
            raw: [tables::Answer::default(); LANES],
            classes: [NO_CLASSES; LANES],
            begun: Filter::default(),
            is_doubtful: false,
        }
    }
}

impl Openings {
    /// Packets have gone the whole way.
    pub(super) fn doubt(&mut self) {
        self.is_doubtful = true;
    }
}

/// Source and destination of a packet, each with its port.
#[inline]
fn ends<A: Copy>(key: &Key<A>, sender: End) -> ((A, u16), (A, u16)) {
    let (first, second) = ((key.first, key.first_port), (key.second, key.second_port));
    match sender {
        End::First => (first, second),
        End::Second => (second, first),
    }
}

/// What asking needs beside what is remembered of ways out.
struct Asker<'a> {
    gates: &'a Gates,
    notes: &'a Notes,
    standing: Standing<'a>,
    generation: &'a Generation,
    arena: &'a Arena,
    batch: &'a Batch,
    /// Whether VLANs and MACs make a difference to the policy.
    speaks_of_places: bool,
}

/// Holds first packets against what hangs on addresses, ports and VLANs, and asks the policy of those that fit; which
/// these are.
#[inline(never)]
pub(super) fn ask(engine: &mut Engine, now: Tick, batch: &Batch, lanes: Lanes) -> Lanes {
    let Engine { express, generation, neighbors, arena, tracker, .. } = engine;
    let Express { gates, v4, v6, lanes: notes, openings, .. } = express;
    let Openings { answers, v4: asked_v4, v6: asked_v6, raw, classes, begun, is_doubtful } = &mut **openings;
    (*begun, *is_doubtful) = (Filter::default(), false);
    let generation: &Generation = generation;
    let standing = Standing { now, epoch: generation.epoch(), neighbors };
    let speaks_of_places = generation.tables().speaks_of_places();
    let asker = Asker { speaks_of_places, gates, notes, standing, generation, arena, batch };
    for lane in lanes {
        tracker.prefetch_opening(notes.each[lane].hash);
    }
    let (of_v6, of_v4) = lanes.split(notes.v6);
    let mut fit = Lanes::default();
    if !of_v4.is_empty() {
        let count = asker.gather(v4, asked_v4, of_v4);
        asker.judge(asked_v4, count, (raw, classes), answers);
        asked_v4.lanes[..count].iter().for_each(|lane| fit.add(usize::from(*lane)));
    }
    if !of_v6.is_empty() {
        let count = asker.gather(v6, asked_v6, of_v6);
        asker.judge(asked_v6, count, (raw, classes), answers);
        asked_v6.lanes[..count].iter().for_each(|lane| fit.add(usize::from(*lane)));
    }
    fit
}

impl Asker<'_> {
    /// Notes what is to be asked of those lanes that fit; how many.
    fn gather<A: Lane>(&self, remembered: &mut Adjacencies<A>, asked: &mut Asked<A>, lanes: Lanes) -> usize {
        let network = self.generation.network();
        let mut count = 0;
        for lane in lanes {
            let note = &self.notes.each[lane];
            let gate = self.gates.of(VlanIndex(note.lean.gate));
            let key = A::key(self.notes, lane);
            let ((source, source_port), (destination, destination_port)) = ends(key, note.lean.sender);
            let is_sound = (source_port != 0) & (destination_port != 0) & (source != destination);
            if !is_sound {
                continue;
            }
            let known = remembered.find(self.standing, note.set, destination).copied();
            let known = known.or_else(|| remembered.look_up(self.standing, network, destination));
            let Some(adjacency) = known else { continue };
            if adjacency.egress == gate.index && !gate.hairpin {
                continue;
            }
            if gate.asks_bindings {
                let mac = link::source(self.arena.bytes(self.batch.frame(lane)));
                if !network.is_binding(gate.index, source.address(), mac) {
                    continue;
                }
            }
            if !lives_there(network, remembered, self.standing, gate, source) {
                continue;
            }
            let protocol = key.protocol;
            asked.queries[count] = Query { source, destination, source_port, destination_port, protocol };
            if self.speaks_of_places {
                let way = self.gates.of(adjacency.egress).key;
                let mac = link::source(self.arena.bytes(self.batch.frame(lane)));
                asked.places[count] =
                    Places { source: (Some(gate.key), Some(mac)), destination: (Some(way), None) };
            }
            asked.lanes[count] = lane as u8;
            count += 1;
        }
        count
    }

    /// Asks the policy.
    fn judge<A: Lane>(
        &self,
        asked: &Asked<A>,
        count: usize,
        (raw, classes): (&mut [tables::Answer; LANES], &mut [Classes; LANES]),
        answers: &mut [Answer; LANES],
    ) {
        let tables = self.generation.tables();
        let places = if self.speaks_of_places { &asked.places[..count] } else { &[] };
        if count < BULK {
            for at in 0..count {
                let Query { source, destination, source_port, destination_port, protocol } =
                    asked.queries[at];
                let place = places.get(at).copied().unwrap_or_default();
                let class = |(vlan, mac), address: A| {
                    tables.class_of(&Endpoint { vlan, mac, address: address.address() })
                };
                let (source, destination) =
                    (class(place.source, source), class(place.destination, destination));
                let decision = tables.decide(source, destination, protocol, source_port, destination_port);
                answers[usize::from(asked.lanes[at])] = Answer { decision, classes: (source, destination) };
            }
            return;
        }
        A::classify(tables, &asked.queries[..count], places, &mut raw[..count], &mut classes[..count]);
        for at in 0..count {
            answers[usize::from(asked.lanes[at])] =
                Answer { decision: tables.decision_of(raw[at]), classes: classes[at] };
        }
    }
}

/// Whether a source is one that a host may have, and lives behind the VLAN that it comes from, where that counts. It may say
/// no where the answer is yes.
#[inline]
fn lives_there<A: Lane>(
    network: &Network,
    remembered: &Adjacencies<A>,
    standing: Standing<'_>,
    gate: &Gate,
    source: A,
) -> bool {
    if !gate.asks_routes {
        return source.is_fit();
    }
    match remembered.find(standing, remembered.prefetch(source), source) {
        Some(adjacency) => adjacency.egress == gate.index,
        None => {
            let home = match network.route(source.address()) {
                Some(Hop::Connected(home) | Hop::Via(home, _)) => Some(home),
                None | Some(Hop::Own | Hop::Broadcast) => None,
            };
            home == Some(gate.index) && source.is_fit()
        }
    }
}

/// Lets a packet begin its flow, if the policy does and there is room.
pub(super) fn begin(
    engine: &mut Engine,
    now: Tick,
    settled: Settled,
    batch: &mut Batch,
    lane: usize,
) -> Course {
    let course = if engine.express.lanes.v6.has(lane) {
        begin_by::<u128>(engine, now, settled, batch, lane)
    } else {
        begin_by::<u32>(engine, now, settled, batch, lane)
    };
    course.unwrap_or(Course::Whole)
}

fn begin_by<A: Lane>(
    engine: &mut Engine,
    now: Tick,
    settled: Settled,
    batch: &mut Batch,
    lane: usize,
) -> Option<Course> {
    let Engine { express, tracker, generation, neighbors, arena, queues, counters, hits, .. } = engine;
    let generation: &Generation = generation;
    let key = *A::key(&express.lanes, lane);
    let note = &express.lanes.each[lane];
    let (hash, place, set, lean) = (note.hash, note.place, note.set, note.lean);
    let openings = &mut *express.openings;
    if (openings.is_doubtful || openings.begun.has(hash)) && tracker.knows(&key, hash) {
        return None;
    }
    let heads = arena.heads()?;
    let head = heads.of(batch.frame(lane));
    let mac = link::source(head);
    let ttl = head[usize::from(lean.ip) + if size_of::<A>() == size_of::<u32>() { 8 } else { 7 }];
    let flags = head[usize::from(lean.upper) + 13];
    // Options that are malformed count before what the policy says.
    let beginning = match lean.kind {
        Kind::Syn => Beginning::of_syn(&segment(head, &lean))?,
        Kind::Datagram | Kind::Acknowledgment | Kind::Segment => Beginning::of_datagram(),
    };
    let Answer { decision, classes } = &openings.answers[lane];
    let refusal = match decision.verdict {
        decision::Verdict::Allow => None,
        decision::Verdict::Deny => decision.drop_reason(),
        decision::Verdict::Reject => return None,
    };
    let mut outcome = Outcome {
        rule: decision.rule.map(|id| generation.key_of(id)),
        would: decision.would,
        classes: Some(*classes),
        ..Outcome::UNDECIDED
    };
    let refusal = match refusal {
        Some(reason) => reason,
        None => {
            let destination = ends(&key, lean.sender).1.0;
            let standing = Standing { now, epoch: generation.epoch(), neighbors };
            let terms = judge::terms(generation, decision, None);
            let Express { v4, v6, .. } = express;
            let adjacency = A::remembered(v4, v6).find(standing, set, destination)?;
            let (gate, exit) = (express.gates.of(VlanIndex(lean.gate)), express.gates.of(adjacency.egress));
            if terms.max_flows.is_some() || !fits(arena, &lean, exit) {
                return None;
            }
            let terms = Terms { responder_vlan: Some(exit.key), ..terms };
            let (known_as, origin) = ((&key, hash, place), (gate.key, mac));
            match tracker.begin(settled, known_as, lean.sender, origin, &beginning, &terms) {
                Ok(entrance) => {
                    express.openings.begun.add(hash);
                    tracker.count_entered::<A>(settled, entrance, lean.ip_length());
                    counters.flows += 1;
                    (outcome.flow, outcome.out) = (Some(FlowRole::New), Out::To(exit.key));
                    hits.count(now, &outcome);
                    batch.outcomes[lane] = outcome;
                    batch.controls[lane] = lean.control;
                    note_packet(&mut batch.packets[lane], (ttl, flags), &lean, &key);
                    depart::<A>((arena, heads), queues, batch, lane, &lean, &adjacency.macs, exit.key);
                    return Some(Course::Passed);
                }
                Err(reason) => reason,
            }
        }
    };
    (outcome.verdict, outcome.reason) = (Verdict::Drop, Some(refusal));
    // Whoever tells of drops reads what the frame was.
    batch.packets[lane] = Packet::parse(arena.bytes(batch.frame(lane)));
    batch.settle(lane, outcome);
    counters.drop(refusal);
    hits.count(now, &outcome);
    Some(Course::Dropped)
}

/// Notes in a lane what the parser would have: whoever tells of new flows reads that. Written where it stands, for a packet
/// is long.
#[inline(always)]
fn note_packet<A: Lane>(packet: &mut Packet, (ttl, flags): (u8, u8), lean: &Lean, key: &Key<A>) {
    let is_v4 = size_of::<A>() == size_of::<u32>();
    let ((source, source_port), (destination, destination_port)) = ends(key, lean.sender);
    packet.faults = Faults::default();
    packet.link = Link {
        tags: u8::from(lean.has_tag()),
        is_customer: true,
        control: lean.control,
        ethertype: if is_v4 { ethertype::IPV4 } else { ethertype::IPV6 },
        payload: u16::from(lean.ip),
    };
    packet.kind = if is_v4 { wire::Kind::Ipv4 } else { wire::Kind::Ipv6 };
    packet.addresses = A::addresses(source, destination);
    (packet.protocol, packet.ttl) = (key.protocol, ttl);
    packet.upper_offset = u32::from(lean.upper);
    packet.upper_length = lean.end - u16::from(lean.upper);
    packet.end = u32::from(lean.end);
    packet.fragment = None;
    packet.upper = if lean.kind == Kind::Syn { Upper::Tcp(TcpFlags(flags)) } else { Upper::Udp };
    (packet.source_port, packet.destination_port) = (source_port, destination_port);
}
