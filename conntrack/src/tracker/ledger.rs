//! Counting what passes, and telling of it.

use super::Tracker;
use super::express::{Entrance, Family, Settled};
use crate::entry::Entry;
use crate::hash::Address;
use crate::ledger::{EndReason, FlowReport, Ledger, Tally, tick_of};
use crate::moment::Moment;
use crate::packet::Relation;
use crate::peers::Side;
use crate::time::Tick;
use crate::view::{FlowId, FlowView};
use std::time::Duration;

impl Tracker {
    /// Counts what passes from now on, and keeps what ends for [`Tracker::report_ended`]. This allocates.
    pub fn keep_ledger(&mut self) {
        self.v4.keep_ledger(self.capacity);
        self.v6.keep_ledger(self.capacity);
    }

    /// Counts a packet of a flow that passes, of so many bytes from the IP header on; nothing without a ledger.
    #[inline]
    pub fn count_packet(&mut self, flow: FlowId, relation: Relation, octets: u16) {
        let (now, side) = (Moment::of(self.now), side_of(relation));
        if flow.is_v6() {
            self.v6.count_packet(flow.slot(), now, side, octets);
        } else {
            self.v4.count_packet(flow.slot(), now, side, octets);
        }
    }

    /// The same on the short way.
    #[inline]
    pub fn count_entered<A: Family>(&mut self, settled: Settled, entrance: Entrance, octets: u16) {
        A::parts(self).0.count_packet(entrance.slot(), settled.moment, entrance.side(), octets);
    }

    /// What has passed by a live flow since it was last reported; `None` where nothing has, or without a ledger.
    pub fn report(&mut self, flow: FlowId) -> Option<FlowReport> {
        let slot = flow.slot();
        let tally = if flow.is_v6() { self.v6.take_tally(slot) } else { self.v4.take_tally(slot) };
        let tally = tally.filter(|tally| !tally.is_empty())?;
        Some(report(self.now, self.flow(flow), &tally, None))
    }

    /// Tells of the flows that have ended since the last time; how many could not be kept for that.
    pub fn report_ended(&mut self, mut tell: impl FnMut(FlowReport)) -> u64 {
        let now = self.now;
        hand_over(self.v4.ledger_mut(), now, &mut tell) + hand_over(self.v6.ledger_mut(), now, &mut tell)
    }
}

fn side_of(relation: Relation) -> Side {
    match relation {
        Relation::Established => Side::Opener,
        Relation::Reply => Side::Responder,
    }
}

fn hand_over<A: Address>(
    ledger: Option<&mut Ledger<A>>,
    now: Tick,
    tell: &mut impl FnMut(FlowReport),
) -> u64 {
    let Some(ledger) = ledger else { return 0 };
    for ended in ledger.ended_mut().drain(..) {
        let Entry { key, body } = ended.entry;
        let age = now.since(tick_of(now, ended.opened));
        let view = FlowView::of(A::flow_key(key), &body, age, Duration::ZERO);
        tell(report(now, view, &ended.tally, Some(ended.why)));
    }
    ledger.take_lost()
}

fn report(now: Tick, view: FlowView, tally: &Tally, end: Option<EndReason>) -> FlowReport {
    FlowReport {
        view,
        first: tick_of(now, tally.first),
        last: tick_of(now, tally.last),
        forth: tally.from(Side::Opener),
        back: tally.from(Side::Responder),
        end,
    }
}
