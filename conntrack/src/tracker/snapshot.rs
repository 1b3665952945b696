//! Flows on their way to a snapshot and back.

use super::Tracker;
use crate::moment::Moment;
use crate::snapshot::{FlowRecord, Skip};
use crate::terms::Terms;
use crate::time::Tick;
use crate::view::FlowId;
use classifier::flow::FlowKey;

impl Tracker {
    /// A flow as a snapshot has it, at the last time that the tracker was told.
    pub(crate) fn record(&self, flow: FlowId) -> FlowRecord {
        let slot = flow.slot();
        let (key, opened) = if flow.is_v6() {
            (FlowKey::V6(self.v6.entry(slot).key), self.v6.opened(slot))
        } else {
            (FlowKey::V4(self.v4.entry(slot).key), self.v4.opened(slot))
        };
        FlowRecord::of(Moment::of(self.now), key, opened, self.body(flow))
    }

    /// Enters a flow of a snapshot, on the terms of the policy in force. Where these are of another epoch than
    /// the policy's, its next packet has it judged. A rule's `max_flows` does not end flows that were there.
    /// Nothing is evicted to make room.
    ///
    /// It ends no later than the timeout that its state has now. [`Tracker::advance`] belongs before the first one.
    ///
    /// # Errors
    /// [`Skip::Duplicate`], [`Skip::NoRoom`].
    pub fn restore(&mut self, now: Tick, record: &FlowRecord, terms: &Terms) -> Result<FlowId, Skip> {
        let now = self.clock(now);
        let moment = Moment::of(now);
        if self.find(now, record.key()).is_some() {
            return Err(Skip::Duplicate);
        }
        if self.len() >= self.capacity {
            return Err(Skip::NoRoom);
        }
        let (mut body, opened) = record.body(moment, terms);
        let span = self.rules.spans.idle(record.key().protocol(), &body);
        body.deadline = moment.after(record.left().min(span));
        let flow = match *record.key() {
            FlowKey::V4(key) => {
                self.v4.insert(now, (key, self.v4.place(self.v4.hash(&key))), body, None).map(FlowId::v4)
            }
            FlowKey::V6(key) => {
                self.v6.insert(now, (key, self.v6.place(self.v6.hash(&key))), body, None).map(FlowId::v6)
            }
        };
        let flow = flow.ok_or(Skip::NoRoom)?;
        if flow.is_v6() {
            self.v6.set_opened(flow.slot(), opened);
        } else {
            self.v4.set_opened(flow.slot(), opened);
        }
        self.counts.add(terms.rule);
        self.statistics.restored += 1;
        self.statistics.peak = self.statistics.peak.max(self.len() as u64);
        Ok(flow)
    }
}
