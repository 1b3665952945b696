//! The connection tracker: what each packet gets.
//!
//! ```text
//!  track --+-- ICMP error ------------------> related? ---------------> Related | Drop
//!          |
//!          +-- flow known, not expired --+-- on its side's VLAN? ------> Drop
//!          |                             +-- protocol's step ----------> Flow | Drop | New (takes its place)
//!          |
//!          +-- flow unknown -------------+-- may this packet begin one?-> New | Drop
//!
//!  New --> the caller asks the policy --> open
//! ```

use crate::config::{Config, Pickup};
use crate::entry::Body;
use crate::evict::{self, Dice};
use crate::hash::Address;
use crate::limits::RuleCounts;
use crate::moment::{Moment, Span};
use crate::packet::{Opening, Packet, Relation, Tracked};
use crate::peers::Side;
use crate::related::{self, Unrelated};
use crate::statistics::Statistics;
use crate::table::Table;
use crate::terms::{RuleKey, Terms};
use crate::time::Tick;
use crate::timeouts::Spans;
use crate::view::{FlowId, FlowView};
use crate::{plain, sctp, tcp};
use classifier::addr::VlanKey;
use classifier::flow::FlowKey;
use classifier::reason::DropReason;
use classifier::wire::{Icmp, QuotedPacket, Transport};
use std::time::Duration;

/// What a packet does to its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// It is dropped, and nothing has changed but what the protocol remembers of it.
    Drop(DropReason),
    /// It is dropped, and the flow ends no later than after this span.
    DropAndShorten(Span),
    /// It is a SYN over the limit of its flow.
    Limited,
    /// It is forwarded, and timer and state stay as they are.
    Hold,
    /// It is forwarded, and the timer starts again: with the state's timeout, or a shorter one.
    Update {
        /// The longest that the timer may be.
        at_most: Option<Span>,
    },
    /// It is forwarded, and the flow is gone.
    End,
    /// It begins another flow in the place of this one.
    Replace(Opening),
}

impl Step {
    /// The packet contradicts the state of its flow.
    pub(crate) const INVALID: Step = Step::Drop(DropReason::CtInvalid);
}

/// What the protocols need to know of the configuration.
pub(crate) struct Rules {
    pub(crate) spans: Spans,
    pub(crate) simultaneous_open: bool,
    pickup: Pickup,
    started: Option<Tick>,
}

impl Rules {
    /// Whether TCP flows are taken up in mid-stream now.
    pub(crate) fn picks_up(&self, now: Tick) -> bool {
        match self.pickup {
            Pickup::Strict => false,
            Pickup::Grace(grace) => self.started.is_some_and(|start| now.since(start) < grace),
            Pickup::Always => true,
        }
    }
}

/// The flow table of one worker, and the rules by which packets move it.
pub struct Tracker {
    v4: Table<u32>,
    v6: Table<u128>,
    rules: Rules,
    counts: RuleCounts,
    dice: Dice,
    capacity: usize,
    now: Tick,
    swept: Tick,
    /// The flow that the last packet ended; it goes with the next call.
    ended: Option<FlowId>,
    statistics: Statistics,
}

impl Tracker {
    /// A tracker with the memory for `config.max_flows` flows, IPv4 and IPv6 together. `secret` keys the hash:
    /// it is to be drawn anew at every start. The first time that it is told begins the grace time of `pickup`.
    #[must_use]
    pub fn new(config: &Config, secret: [u8; 16]) -> Tracker {
        let capacity = config.max_flows as usize;
        Tracker {
            v4: Table::new(capacity, secret),
            v6: Table::new(capacity, secret),
            rules: Rules {
                spans: Spans::new(&config.timeouts),
                simultaneous_open: config.simultaneous_open,
                pickup: config.pickup,
                started: None,
            },
            counts: RuleCounts::default(),
            dice: Dice::new(secret),
            capacity,
            now: Tick(0),
            swept: Tick(0),
            ended: None,
            statistics: Statistics::default(),
        }
    }

    /// Makes room to count the flows of the rules whose keys are below `count`. This allocates; it belongs
    /// before the first [`Tracker::open`] under a policy with such a rule. A rule with `max_flows` that no room
    /// was made for lets no flow in.
    pub fn reserve_rules(&mut self, count: usize) {
        self.counts.reserve(count);
    }

    /// Runs the timers up to `now`, which may be years after the last call. Time never runs backwards: an
    /// earlier `now` counts as the latest that was seen.
    pub fn advance(&mut self, now: Tick) {
        let now = self.clock(now);
        self.sweep(now, false);
    }

    fn sweep(&mut self, now: Tick, all: bool) {
        let Tracker { v4, v6, counts, statistics, .. } = self;
        let mut gone = |body: &Body| {
            counts.subtract(body.rule());
            statistics.expired += 1;
        };
        v4.sweep(now, all, &mut gone);
        v6.sweep(now, all, &mut gone);
        self.swept = now;
    }

    /// Takes note of the time. Timers that have not run for a day are run at once, so that no moment in the
    /// table is older than moments can tell apart.
    #[inline]
    fn clock(&mut self, now: Tick) -> Tick {
        const DAY: Duration = Duration::from_secs(86_400);
        if let Some(flow) = self.ended.take() {
            self.end(flow);
            self.statistics.reset += 1;
        }
        if now.since(self.swept) > DAY {
            self.wake(now);
        }
        self.now = self.now.max(now);
        self.rules.started.get_or_insert(self.now);
        self.now
    }

    #[cold]
    fn wake(&mut self, now: Tick) {
        // No deadline is farther away than the longest timeout.
        let all = now.since(self.now) > crate::config::Timeouts::LIMIT;
        self.sweep(now, all);
    }

    /// Asks the CPU for the memory in which the flow of a key is looked up, so that a batch of packets waits
    /// for it once. First all keys of the batch, then [`Tracker::prefetch_entry`] for all, then the packets.
    #[inline]
    pub fn prefetch(&self, key: &FlowKey) {
        match key {
            FlowKey::V4(key) => self.v4.prefetch(key),
            FlowKey::V6(key) => self.v6.prefetch(key),
        }
    }

    /// Asks the CPU for the entry of a key, after [`Tracker::prefetch`].
    #[inline]
    pub fn prefetch_entry(&self, key: &FlowKey) {
        match key {
            FlowKey::V4(key) => self.v4.prefetch_entry(key),
            FlowKey::V6(key) => self.v6.prefetch_entry(key),
        }
    }

    /// Judges a packet, and moves its flow as the rules say.
    pub fn track(&mut self, now: Tick, packet: &Packet<'_>) -> Tracked {
        let now = self.clock(now);
        let tracked = match packet.transport {
            Transport::Icmp(Icmp::Error(quoted)) => self.track_error(now, packet.vlan, quoted),
            Transport::Icmp(Icmp::Other) => Tracked::Drop(DropReason::CtInvalid),
            Transport::Tcp(segment) if !segment.flags.are_legal() => Tracked::Drop(DropReason::TcpFlags),
            Transport::Tcp(_)
            | Transport::Udp
            | Transport::Icmp(Icmp::Query(_))
            | Transport::Sctp(_)
            | Transport::Other => match self.find(now, &packet.key) {
                Some(flow) => self.track_known(now, flow, packet),
                None => self.track_unknown(now, packet),
            },
        };
        if let Tracked::Drop(DropReason::CtInvalid) = tracked {
            self.statistics.invalid += 1;
        }
        tracked
    }

    /// The live flow of a key. One that has expired is ended.
    fn find(&mut self, now: Tick, key: &FlowKey) -> Option<FlowId> {
        let flow = match key {
            FlowKey::V4(key) => FlowId::v4(self.v4.find(key)?),
            FlowKey::V6(key) => FlowId::v6(self.v6.find(key)?),
        };
        if self.body(flow).deadline.has_come(Moment::of(now)) {
            self.end(flow);
            self.statistics.expired += 1;
            return None;
        }
        Some(flow)
    }

    fn body(&self, flow: FlowId) -> &Body {
        if flow.is_v6() { &self.v6.entry(flow.slot()).body } else { &self.v4.entry(flow.slot()).body }
    }

    fn body_mut(&mut self, flow: FlowId) -> &mut Body {
        if flow.is_v6() { self.v6.body_mut(flow.slot()) } else { self.v4.body_mut(flow.slot()) }
    }

    fn track_error(&mut self, now: Tick, vlan: VlanKey, quoted: Option<QuotedPacket>) -> Tracked {
        const INVALID: Tracked = Tracked::Drop(DropReason::CtInvalid);
        let Some(quoted) = quoted else { return INVALID };
        let Some(flow) = self.find(now, &quoted.key) else { return INVALID };
        match related::judge(Moment::of(now), self.body_mut(flow), vlan, &quoted) {
            Ok(()) => Tracked::Related { flow },
            Err(Unrelated::Mismatch) => INVALID,
            Err(Unrelated::Limited) => {
                self.statistics.errors_limited += 1;
                INVALID
            }
        }
    }

    fn track_unknown(&mut self, now: Tick, packet: &Packet<'_>) -> Tracked {
        let opening = match packet.transport {
            Transport::Tcp(segment) => tcp::open(&self.rules, now, packet, &segment),
            Transport::Sctp(chunks) => sctp::open(packet, &chunks).ok_or(DropReason::CtInvalid),
            Transport::Udp | Transport::Icmp(_) | Transport::Other => {
                plain::open(packet).ok_or(DropReason::CtInvalid)
            }
        };
        opening.map_or_else(Tracked::Drop, Tracked::New)
    }

    fn track_known(&mut self, now: Tick, flow: FlowId, packet: &Packet<'_>) -> Tracked {
        let Tracker { v4, v6, rules, .. } = self;
        let (side, step) = if flow.is_v6() {
            apply(v6, flow.slot(), rules, now, packet)
        } else {
            apply(v4, flow.slot(), rules, now, packet)
        };
        let relation = match side {
            Side::Opener => Relation::Established,
            Side::Responder => Relation::Reply,
        };
        match step {
            Step::Drop(reason) => Tracked::Drop(reason),
            Step::DropAndShorten(_) => Tracked::Drop(DropReason::CtInvalid),
            Step::Limited => {
                self.statistics.stray_syns_limited += 1;
                Tracked::Drop(DropReason::CtInvalid)
            }
            Step::End => {
                self.ended = Some(flow);
                Tracked::Flow { flow, relation }
            }
            Step::Hold | Step::Update { .. } => Tracked::Flow { flow, relation },
            Step::Replace(opening) => Tracked::New(Opening { replaces: true, ..opening }),
        }
    }

    /// Enters the flow that an opening would begin, on the policy's terms. A flow with the same key ends.
    ///
    /// # Errors
    /// `rule-limit`: the rule has as many flows as it may have. `flow-table-full`: there is no room, and
    /// nothing that may be evicted. In both cases the old flow stays.
    pub fn open(&mut self, now: Tick, opening: Opening, terms: Terms) -> Result<FlowId, DropReason> {
        let now = self.clock(now);
        let old = self.find(now, &opening.key);
        self.check_rule_limit(now, old, &terms)?;
        match self.find(now, &opening.key) {
            Some(old) => {
                self.end(old);
                self.statistics.replaced += 1;
            }
            None => self.make_room(now)?,
        }
        let mut body =
            Body::new(opening.opener, opening.vlan, opening.source_mac, opening.state, opening.peers);
        self.agree(&mut body, &terms);
        body.set_responder_vlan(terms.responder_vlan);
        body.deadline = Moment::of(now).after(tcp::opening_span(&self.rules, opening.key.protocol(), &body));
        let flow = match opening.key {
            FlowKey::V4(key) => self.v4.insert(now, key, body).map(FlowId::v4),
            FlowKey::V6(key) => self.v6.insert(now, key, body).map(FlowId::v6),
        };
        let Some(flow) = flow else {
            self.statistics.table_full += 1;
            return Err(DropReason::FlowTableFull);
        };
        self.counts.add(terms.rule);
        self.statistics.opened += 1;
        self.statistics.peak = self.statistics.peak.max(self.len() as u64);
        Ok(flow)
    }

    fn agree(&self, body: &mut Body, terms: &Terms) {
        body.set_epoch(terms.epoch);
        body.set_rule(terms.rule);
        body.set_idle_timeout(terms.idle_timeout.map(Span::of));
    }

    /// Refuses a flow over its rule's limit. Where the flow takes the place of one of the same rule, that one
    /// does not count.
    fn check_rule_limit(&mut self, now: Tick, old: Option<FlowId>, terms: &Terms) -> Result<(), DropReason> {
        let (Some(rule), Some(limit)) = (terms.rule, terms.max_flows) else { return Ok(()) };
        let takes_its_place = old.is_some_and(|old| self.body(old).rule() == Some(rule));
        let is_over = |counts: &RuleCounts| {
            counts.of(rule).is_none_or(|count| count - u32::from(takes_its_place && count > 0) >= limit)
        };
        if is_over(&self.counts) {
            // Some may have expired since the timers last ran.
            self.sweep(now, false);
            if is_over(&self.counts) {
                self.statistics.rule_limited += 1;
                return Err(DropReason::RuleLimit);
            }
        }
        Ok(())
    }

    /// Sees to it that there is room for one more flow.
    fn make_room(&mut self, now: Tick) -> Result<(), DropReason> {
        if self.len() < self.capacity {
            return Ok(());
        }
        self.sweep(now, false);
        if self.len() < self.capacity {
            return Ok(());
        }
        let moment = Moment::of(now);
        let Tracker { v4, v6, dice, .. } = self;
        let closing = evict::closing(v4, dice, moment).map(FlowId::v4);
        if let Some(victim) = closing.or_else(|| evict::closing(v6, dice, moment).map(FlowId::v6)) {
            self.end(victim);
            self.statistics.evicted_closing += 1;
            return Ok(());
        }
        let half_open = evict::half_open(v4, dice, moment).map(FlowId::v4);
        if let Some(victim) = half_open.or_else(|| evict::half_open(v6, dice, moment).map(FlowId::v6)) {
            self.end(victim);
            self.statistics.evicted_half_open += 1;
            return Ok(());
        }
        self.statistics.table_full += 1;
        Err(DropReason::FlowTableFull)
    }

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
        FlowView {
            key,
            opener: body.opener(),
            opener_vlan: body.vlan(Side::Opener).expect("the opener's VLAN is always known"),
            responder_vlan: body.vlan(Side::Responder),
            opener_mac: body.opener_mac(),
            rule: body.rule(),
            epoch: body.epoch(),
            state: body.state(),
            age: Duration::from_millis(u64::from(now.0.wrapping_sub(opened.0))),
            expires_in: Duration::from_millis(u64::from(left)),
        }
    }

    /// Takes over the verdict of a newer policy that lets a flow live. Its idle timeout holds from the next
    /// packet on; `max_flows` does not end flows that are there, and `responder_vlan` is not looked at.
    pub fn renew(&mut self, flow: FlowId, terms: Terms) {
        let old: Option<RuleKey> = self.body(flow).rule();
        if old != terms.rule {
            self.counts.subtract(old);
            self.counts.add(terms.rule);
        }
        let mut body = *self.body(flow);
        self.agree(&mut body, &terms);
        *self.body_mut(flow) = body;
    }

    /// Says which VLAN the responder is on, once that is known.
    pub fn set_responder_vlan(&mut self, flow: FlowId, vlan: VlanKey) {
        self.body_mut(flow).set_responder_vlan(Some(vlan));
    }

    /// Ends a flow.
    pub fn remove(&mut self, flow: FlowId) {
        if self.ended == Some(flow) {
            self.ended = None;
        }
        self.end(flow);
        self.statistics.removed += 1;
    }

    fn end(&mut self, flow: FlowId) {
        self.counts.subtract(self.body(flow).rule());
        if flow.is_v6() {
            self.v6.remove(flow.slot());
        } else {
            self.v4.remove(flow.slot());
        }
    }

    /// Every flow, in no order. Those that have expired since the timers last ran are left out.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        let v4 = self.v4.slots().map(FlowId::v4);
        let v6 = self.v6.slots().map(FlowId::v6);
        let now = Moment::of(self.now);
        v4.chain(v6).filter(move |flow| Some(*flow) != self.ended && !self.body(*flow).deadline.has_come(now))
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

    /// The counters.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Bytes of memory that the tables take when they are full: of IPv4 alone, then of IPv6 alone.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        (self.v4.bytes(self.capacity), self.v6.bytes(self.capacity))
    }
}

/// Moves the flow in a slot by a packet.
#[inline]
fn apply<A: Address>(
    table: &mut Table<A>,
    slot: u32,
    rules: &Rules,
    now: Tick,
    packet: &Packet<'_>,
) -> (Side, Step) {
    let moment = Moment::of(now);
    let body = table.body_mut(slot);
    let side = body.side(packet.sender);
    if body.vlan(side).is_some_and(|vlan| vlan != packet.vlan) {
        return (side, Step::INVALID);
    }
    let old = body.class();
    let step = match packet.transport {
        Transport::Tcp(segment) => tcp::step(rules, moment, body, side, packet, &segment),
        Transport::Sctp(chunks) => sctp::step(body, side, packet, &chunks),
        Transport::Udp | Transport::Icmp(_) | Transport::Other => plain::step(body, side),
    };
    match step {
        Step::Update { at_most } => {
            let span = rules.spans.idle(packet.key.protocol(), body);
            let span = at_most.map_or(span, |most| span.min(most));
            table.reclassify(slot, old);
            table.rearm(now, slot, moment.after(span));
        }
        Step::DropAndShorten(most) => {
            let limit = moment.after(most);
            if limit.is_before(body.deadline) {
                table.rearm(now, slot, limit);
            }
        }
        Step::Drop(_) | Step::Limited | Step::Hold | Step::End | Step::Replace(_) => {}
    }
    (side, step)
}

#[cfg(test)]
mod tests;
