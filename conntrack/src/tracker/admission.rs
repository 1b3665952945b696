//! Letting flows in: the limits of rules and of the table, and what makes room; and the terms of flows that live
//! on under a newer policy.

use super::Tracker;
use super::express::Sealed;
use crate::entry::Body;
use crate::evict;
use crate::hash::FlowHash;
use crate::index::Place;
use crate::ledger::EndReason;
use crate::limits::RuleCounts;
use crate::moment::{Moment, Span};
use crate::packet::Opening;
use crate::tcp;
use crate::terms::{RuleKey, Terms};
use crate::time::Tick;
use crate::view::FlowId;
use classifier::addr::VlanKey;
use classifier::flow::{FlowKey, Key};
use classifier::reason::DropReason;

/// How many entries are looked at, in search of expired ones, before an opening is refused.
pub(super) const RECLAIM: u32 = 4096;

impl Tracker {
    /// Enters the flow that an opening would begin, on the policy's terms. A flow with the same key ends.
    ///
    /// # Errors
    /// `rule-limit`: the rule has as many flows as it may have. `flow-table-full`: there is no room, and
    /// nothing that may be evicted. In both cases the old flow stays.
    pub fn open(&mut self, now: Tick, opening: Opening, terms: Terms) -> Result<FlowId, DropReason> {
        let now = self.clock(now);
        let hash = self.hash(&opening.key);
        let mut old = self.find_hashed(now, &opening.key, hash);
        if terms.max_flows.is_none() {
            return self.admit_flow(now, hash, old, opening, &terms);
        }
        let opened = self.check_rule_limit(now, old, &terms).and_then(|()| {
            // It may have been swept.
            old = self.find_hashed(now, &opening.key, hash);
            self.admit_flow(now, hash, old, opening, &terms)
        });
        if opened.is_err() {
            self.counts.withdraw();
        }
        opened
    }

    /// Enters a flow in the place of the one that has its key, or in another.
    fn admit_flow(
        &mut self,
        now: Tick,
        hash: FlowHash,
        old: Option<FlowId>,
        opening: Opening,
        terms: &Terms,
    ) -> Result<FlowId, DropReason> {
        if let Some(old) = old {
            self.end(old, EndReason::Closed);
            self.statistics.replaced += 1;
        }
        let body = Body::new(opening.opener, opening.vlan, opening.source_mac, opening.state, opening.peers);
        let (FlowHash::V4(hash) | FlowHash::V6(hash)) = hash;
        let has_room = old.is_some();
        match opening.key {
            FlowKey::V4(key) => {
                let place = self.v4.place(hash);
                self.enter_flow(now, (key, hash, place), body, terms, has_room).map(FlowId::v4)
            }
            FlowKey::V6(key) => {
                let place = self.v6.place(hash);
                self.enter_flow(now, (key, hash, place), body, terms, has_room).map(FlowId::v6)
            }
        }
    }

    /// Enters a flow whose key, with its hash and the place of that, is not in the table, on the policy's terms, whose `max_flows` is not looked
    /// at. `has_room`: it has taken another's place.
    #[inline]
    pub(super) fn enter_flow<A: Sealed>(
        &mut self,
        now: Tick,
        (key, hash, place): (Key<A>, u64, Place),
        mut body: Body,
        terms: &Terms,
        has_room: bool,
    ) -> Result<u32, DropReason> {
        let mut cells = None;
        if !has_room {
            cells = self.admit(now, (&key, hash), &body, terms)?;
            self.make_room(now)?;
        }
        agree(&mut body, terms);
        body.set_responder_vlan(terms.responder_vlan);
        body.deadline = Moment::of(now).after(tcp::opening_span(&self.rules, key.protocol, &body));
        let Some(slot) = A::parts(self).0.insert(now, (key, place), body, cells) else {
            self.statistics.table_full += 1;
            return Err(DropReason::FlowTableFull);
        };
        self.counts.add(terms.rule);
        self.statistics.opened += 1;
        self.statistics.peak = self.statistics.peak.max(self.len() as u64);
        Ok(slot)
    }

    /// Refuses a flow over its rule's limit. Where the flow takes the place of one of the same rule, that one
    /// does not count.
    fn check_rule_limit(&mut self, now: Tick, old: Option<FlowId>, terms: &Terms) -> Result<(), DropReason> {
        let (Some(rule), Some(limit)) = (terms.rule, terms.max_flows) else { return Ok(()) };
        let takes_its_place = old.is_some_and(|old| self.body(old).rule() == Some(rule));
        // The flow that goes is counted still.
        let limit = limit.saturating_add(u32::from(takes_its_place));
        let is_over = |counts: &mut RuleCounts| counts.announce(rule).is_none_or(|total| total > limit);
        if is_over(&mut self.counts) {
            // Some may have expired since the timers last ran.
            self.sweep(now, false, RECLAIM);
            if is_over(&mut self.counts) {
                self.statistics.rule_limited += 1;
                return Err(DropReason::RuleLimit);
            }
        }
        Ok(())
    }

    /// Sees to it that there is room for one more flow.
    #[inline]
    fn make_room(&mut self, now: Tick) -> Result<(), DropReason> {
        if self.len() < self.capacity { Ok(()) } else { self.find_room(now) }
    }

    #[cold]
    fn find_room(&mut self, now: Tick) -> Result<(), DropReason> {
        self.sweep(now, false, RECLAIM);
        if self.len() < self.capacity {
            return Ok(());
        }
        let moment = Moment::of(now);
        let Tracker { v4, v6, dice, .. } = self;
        let closing = evict::closing(v4, dice, moment).map(FlowId::v4);
        if let Some(victim) = closing.or_else(|| evict::closing(v6, dice, moment).map(FlowId::v6)) {
            self.end(victim, EndReason::NoRoom);
            self.statistics.evicted_closing += 1;
            return Ok(());
        }
        let half_open = evict::half_open(v4, dice, moment).map(FlowId::v4);
        if let Some(victim) = half_open.or_else(|| evict::half_open(v6, dice, moment).map(FlowId::v6)) {
            self.end(victim, EndReason::NoRoom);
            self.statistics.evicted_half_open += 1;
            return Ok(());
        }
        self.statistics.table_full += 1;
        Err(DropReason::FlowTableFull)
    }

    /// Takes over the verdict of a newer policy that lets a flow live. Its idle timeout holds from the next
    /// packet on; `max_flows` does not end flows that are there, and `responder_vlan` is not looked at.
    pub fn renew(&mut self, flow: FlowId, terms: Terms) {
        let old: Option<RuleKey> = self.body(flow).rule();
        if old != terms.rule {
            self.counts.subtract(old);
            self.counts.add(terms.rule);
        }
        let amend = |body: &mut Body| agree(body, &terms);
        if flow.is_v6() { self.v6.amend(flow.slot(), amend) } else { self.v4.amend(flow.slot(), amend) }
    }

    /// Says which VLAN the responder is on, once that is known.
    pub fn set_responder_vlan(&mut self, flow: FlowId, vlan: VlanKey) {
        self.body_mut(flow).set_responder_vlan(Some(vlan));
    }
}

fn agree(body: &mut Body, terms: &Terms) {
    body.set_epoch(terms.epoch);
    body.set_rule(terms.rule);
    body.set_idle_timeout(terms.idle_timeout.map(Span::of));
}
