//! Looking at the table: a flow, all flows, and how full it is. Nothing moves by it.

use super::Tracker;
use crate::flood::{FloodLevel, Kind};
use crate::moment::Moment;
use crate::peers::Side;
use crate::statistics::Statistics;
use crate::terms::RuleKey;
use crate::view::{FlowId, FlowView, Standing};
use classifier::flow::FlowKey;
use std::time::Duration;

impl Tracker {
    /// What the table knows of a flow.
    #[must_use]
    pub fn flow(&self, flow: FlowId) -> FlowView {
        let slot = flow.slot();
        let (key, opened) = if flow.is_v6() {
            (FlowKey::V6(self.v6.entry(slot).key), self.v6.opened(slot))
        } else {
            (FlowKey::V4(self.v4.entry(slot).key), self.v4.opened(slot))
        };
        let body = self.body(flow);
        let now = Moment::of(self.now);
        let left = body.deadline.from(now).max(0).cast_unsigned();
        let age = Duration::from_millis(u64::from(now.0.wrapping_sub(opened.0)));
        FlowView::of(key, body, age, Duration::from_millis(u64::from(left)))
    }

    /// What the verdict on a packet of the flow needs.
    #[must_use]
    #[inline]
    pub fn standing(&self, flow: FlowId) -> Standing {
        let body = self.body(flow);
        Standing {
            opener_vlan: body.vlan(Side::Opener).expect("the opener's VLAN is always known"),
            responder_vlan: body.vlan(Side::Responder),
            rule: body.rule(),
            epoch: body.epoch(),
        }
    }

    /// Every flow, in no order. Those that have expired since the timers last ran are left out.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        let v4 = self.v4.slots().map(FlowId::v4);
        let v6 = self.v6.slots().map(FlowId::v6);
        let now = Moment::of(self.now);
        v4.chain(v6).filter(move |flow| Some(*flow) != self.ended && !self.body(*flow).deadline.has_come(now))
    }

    /// The flows in the up to `most` places from `cursor` on, and the cursor behind them; `None` after the last.
    /// A flow keeps its place while it lives.
    pub fn flows_from(&self, cursor: u64, most: usize) -> (impl Iterator<Item = FlowId>, Option<u64>) {
        let (of_v4, of_v6) = (self.v4.places(), self.v6.places());
        let end = (cursor + most as u64).min(of_v4 + of_v6);
        let now = Moment::of(self.now);
        let at = move |place: u64| match place.checked_sub(of_v4) {
            None => self.v4.is_used(place as u32).then_some(FlowId::v4(place as u32)),
            Some(place) => self.v6.is_used(place as u32).then_some(FlowId::v6(place as u32)),
        };
        let is_live =
            move |flow: &FlowId| Some(*flow) != self.ended && !self.body(*flow).deadline.has_come(now);
        let next = (end < of_v4 + of_v6).then_some(end);
        ((cursor..end).filter_map(at).filter(is_live), next)
    }

    /// How many flows there are, those included that have expired since the timers last ran.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many flows there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many flows a rule has; `None` where no room was made to count them.
    #[must_use]
    pub fn rule_flows(&self, rule: RuleKey) -> Option<u32> {
        self.counts.of(rule)
    }

    /// How hard openings are pressing.
    #[must_use]
    pub fn flood_level(&self) -> FloodLevel {
        self.flood.level()
    }

    /// Half-open connections, and other flows that were not replied to yet.
    #[must_use]
    pub fn half_open(&self) -> (usize, usize) {
        let count = |kind| self.v4.census().count(kind) + self.v6.census().count(kind);
        (count(Kind::Handshake), count(Kind::Datagram))
    }

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Bytes of memory for openings that a flood may want remembered; none of it is used before one.
    #[must_use]
    pub fn flood_memory(&self) -> usize {
        self.flood.bytes()
    }

    /// Bytes of memory that the tables take when they are full: of IPv4 alone, then of IPv6 alone.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        (self.v4.bytes(self.capacity), self.v6.bytes(self.capacity))
    }
}
