//! Packets of known flows, in two steps: first all are held against their flows and ways out, and nothing moves; then
//! they move their flows and leave.
//!
//! What was found of one holds while packets of known flows pass: they move a flow's timer and windows, and neither ends
//! a flow nor changes under what it passes. It holds no longer once a packet has gone the whole way, or a flow has
//! made room for another.

use super::lean::{Lean, segment};
use super::{Express, Lane, Note, depart, fits, towards};
use crate::adjacency::{Adjacencies, Standing};
use crate::arena::Arena;
use crate::batch::{Batch, FlowRole, Lanes, Out, Outcome};
use crate::engine::Engine;
use crate::network::{Network, VlanIndex};
use crate::stage::express::gates::Gates;
use classifier::addr::{PortId, VlanKey};
use classifier::flow::Key;
use classifier::wire::Packet;
use classifier::wire::link;
use conntrack::time::Tick;
use conntrack::{Entrance, Epoch, Relation, Settled, Tracker};

/// What a packet of a known flow was found to pass by.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Passage {
    entrance: Entrance,
    /// Destination and source MAC, as they leave.
    macs: [u8; 12],
    /// Where it leaves.
    exit: VlanKey,
}

const _: () = assert!(size_of::<Passage>() == 32);

impl Passage {
    pub(super) const NONE: Passage =
        Passage { entrance: Entrance::NONE, macs: [0; 12], exit: VlanKey::new(PortId(0), 0) };
}

/// What packets of known flows are held against.
struct Scales<'a> {
    gates: &'a Gates,
    tracker: &'a Tracker,
    settled: Settled,
    standing: Standing<'a>,
    network: &'a Network,
    arena: &'a Arena,
    batch: &'a Batch,
}

impl Scales<'_> {
    /// Notes what lets the packet of a lane pass; `None`: it goes the whole way.
    #[inline(always)]
    fn weigh<A: Lane>(
        &self,
        remembered: &mut Adjacencies<A>,
        key: &Key<A>,
        note: &Note,
        lane: usize,
        passage: &mut Passage,
    ) -> Option<()> {
        let lean = &note.lean;
        let gate = self.gates.of(VlanIndex(lean.gate));
        let known_as = (note.candidate, note.hash);
        let by = (gate.key, self.standing.epoch);
        let entrance = self.tracker.enter(self.settled, known_as, (key, lean.sender), by)?;
        if gate.asks_bindings && !self.is_bound(key, lean, gate.index, lane) {
            return None;
        }
        let address = towards(key, lean.sender);
        let egress = match remembered.find(self.standing, note.set, address) {
            Some(adjacency) => {
                passage.macs = adjacency.macs;
                adjacency.egress
            }
            None => {
                let adjacency = remembered.look_up(self.standing, self.network, address)?;
                passage.macs = adjacency.macs;
                adjacency.egress
            }
        };
        let exit = self.gates.of(egress);
        (passage.entrance, passage.exit) = (entrance, exit.key);
        fits(self.arena, lean, exit).then_some(())
    }

    /// Whether the source of a packet has the MAC that it is bound to.
    #[cold]
    fn is_bound<A: Lane>(&self, key: &Key<A>, lean: &Lean, vlan: VlanIndex, lane: usize) -> bool {
        let source = towards(key, lean.sender.other()).address();
        let mac = link::source(self.arena.bytes(self.batch.frame(lane)));
        self.network.is_binding(vlan, source, mac)
    }
}

/// Holds the packets of lanes against their flows and ways out; which of them may pass.
pub(super) fn weigh(engine: &mut Engine, now: Tick, settled: Settled, batch: &Batch, lanes: Lanes) -> Lanes {
    let (of_v6, of_v4) = lanes.split(engine.express.lanes.v6);
    let mut clear = Lanes::default();
    if !of_v4.is_empty() {
        clear = weigh_family::<u32>(engine, now, settled, batch, of_v4);
    }
    if !of_v6.is_empty() {
        clear = clear.and(weigh_family::<u128>(engine, now, settled, batch, of_v6));
    }
    clear
}

/// A function of its own, so that it has all registers.
#[inline(never)]
fn weigh_family<A: Lane>(
    engine: &mut Engine,
    now: Tick,
    settled: Settled,
    batch: &Batch,
    lanes: Lanes,
) -> Lanes {
    let Engine { express, tracker, generation, neighbors, arena, .. } = engine;
    let epoch: Epoch = generation.epoch();
    let Express { gates, v4, v6, lanes: notes, passages, .. } = express;
    let remembered = A::remembered(v4, v6);
    let standing = Standing { now, epoch, neighbors };
    let scales = Scales { gates, tracker, settled, standing, network: generation.network(), arena, batch };
    let mut clear = Lanes::default();
    for lane in lanes {
        let (key, note) = (A::key(notes, lane), &notes.each[lane]);
        if scales.weigh(remembered, key, note, lane, &mut passages[lane]).is_some() {
            clear.add(lane);
        }
    }
    clear
}

/// Moves the flows of lanes that may pass, and lets the packets leave; which of them their flows did not let.
pub(super) fn pass(engine: &mut Engine, settled: Settled, batch: &mut Batch, lanes: Lanes) -> Lanes {
    let (of_v6, of_v4) = lanes.split(engine.express.lanes.v6);
    let mut dropped = Lanes::default();
    for (family, is_v6) in [(of_v4, false), (of_v6, true)] {
        let (segments, datagrams) = family.split(engine.express.lanes.segments);
        if !datagrams.is_empty() {
            match is_v6 {
                false => pass_all::<u32, false>(engine, settled, batch, datagrams),
                true => pass_all::<u128, false>(engine, settled, batch, datagrams),
            };
        }
        if !segments.is_empty() {
            dropped = dropped.and(match is_v6 {
                false => pass_all::<u32, true>(engine, settled, batch, segments),
                true => pass_all::<u128, true>(engine, settled, batch, segments),
            });
        }
    }
    dropped
}

/// A function of its own for each kind, so that it has all registers.
#[inline(never)]
fn pass_all<A: Lane, const IS_TCP: bool>(
    engine: &mut Engine,
    settled: Settled,
    batch: &mut Batch,
    lanes: Lanes,
) -> Lanes {
    let Engine { express, tracker, arena, queues, counters, .. } = engine;
    let Express { lanes: notes, passages, .. } = express;
    let heads = arena.heads().expect("what was read has a head");
    let mut dropped = Lanes::default();
    for lane in lanes {
        let (lean, Passage { entrance, macs, exit }) = (&notes.each[lane].lean, &passages[lane]);
        if IS_TCP {
            let segment = segment(heads.of(batch.frame(lane)), lean);
            if let Err(reason) = tracker.acknowledge::<A>(settled, *entrance, &segment) {
                // Whoever tells of drops reads what the frame was.
                batch.packets[lane] = Packet::parse(arena.bytes(batch.frame(lane)));
                batch.settle(lane, Outcome::dropped(reason));
                counters.drop(reason);
                dropped.add(lane);
                continue;
            }
        } else {
            tracker.datagram::<A>(settled, *entrance);
        }
        tracker.count_entered::<A>(settled, *entrance, lean.ip_length());
        let outcome = &mut batch.outcomes[lane];
        outcome.rule = entrance.rule;
        outcome.flow = Some(match entrance.relation() {
            Relation::Established => FlowRole::Established,
            Relation::Reply => FlowRole::Reply,
        });
        outcome.out = Out::To(*exit);
        batch.controls[lane] = lean.control;
        depart::<A>((arena, heads), queues, batch, lane, lean, macs, *exit);
    }
    dropped
}
