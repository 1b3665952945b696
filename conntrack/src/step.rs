//! What a packet of a known flow does to it: its protocol says what, and here timer and class follow.
//!
//! The rules themselves are the protocols' ([`crate::tcp`], [`crate::sctp`], [`crate::plain`]).

use crate::config::Pickup;
use crate::hash::Address;
use crate::moment::{Moment, Span};
use crate::packet::{Opening, Packet};
use crate::peers::Side;
use crate::state::Class;
use crate::table::Table;
use crate::time::Tick;
use crate::timeouts::Spans;
use crate::{plain, sctp, tcp};
use classifier::reason::DropReason;
use classifier::wire::{TcpSegment, Transport, protocol};

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
    pub(crate) pickup: Pickup,
    /// When the tracker was first told the time.
    pub(crate) started: Option<Tick>,
}

impl Rules {
    /// With the timeouts that hold where nothing else is configured.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Rules {
        Rules {
            spans: Spans::new(&crate::config::Timeouts::default()),
            simultaneous_open: false,
            pickup: Pickup::Strict,
            started: None,
        }
    }

    /// Whether TCP flows are taken up in mid-stream now.
    pub(crate) fn picks_up(&self, now: Tick) -> bool {
        match self.pickup {
            Pickup::Strict => false,
            Pickup::Grace(grace) => self.started.is_some_and(|start| now.since(start) < grace),
            Pickup::Always => true,
        }
    }
}

/// Moves the flow in a slot by a packet.
#[inline]
pub(crate) fn apply<A: Address>(
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
    let protocol = packet.key.protocol();
    conclude(table, slot, rules, now, protocol, old, &step);
    (side, step)
}

/// Moves the flow in a slot by a segment of `side` that has ACK and neither SYN, FIN nor RST.
#[inline]
pub(crate) fn acknowledge<A: Address>(
    table: &mut Table<A>,
    slot: u32,
    rules: &Rules,
    (now, moment): (Tick, Moment),
    side: Side,
    segment: &TcpSegment<'_>,
) -> Step {
    let body = table.body_mut(slot);
    if let Some(span) = tcp::steady::acknowledge(rules, body, side, segment) {
        table.rearm(now, slot, moment.after(span));
        return Step::Update { at_most: None };
    }
    acknowledge_all(table, slot, rules, now, side, segment)
}

#[inline(never)]
fn acknowledge_all<A: Address>(
    table: &mut Table<A>,
    slot: u32,
    rules: &Rules,
    now: Tick,
    side: Side,
    segment: &TcpSegment<'_>,
) -> Step {
    let body = table.body_mut(slot);
    let old = body.class();
    let step = tcp::acknowledge(rules, body, side, segment);
    conclude(table, slot, rules, now, protocol::TCP, old, &step);
    step
}

/// Moves the flow in a slot by a UDP datagram of `side`: it always goes on.
#[inline]
pub(crate) fn datagram<A: Address>(
    table: &mut Table<A>,
    slot: u32,
    rules: &Rules,
    (now, moment): (Tick, Moment),
    side: Side,
) {
    let body = table.body_mut(slot);
    if (side == Side::Responder) & !body.is_answered() {
        return first_answer(table, slot, rules, now, side);
    }
    // Nothing but the timer moves: so it is with all but the first reply.
    let span = rules.spans.datagram(body);
    table.rearm(now, slot, moment.after(span));
}

#[cold]
fn first_answer<A: Address>(table: &mut Table<A>, slot: u32, rules: &Rules, now: Tick, side: Side) {
    let old = table.body_mut(slot).class();
    let step = plain::step(table.body_mut(slot), side);
    conclude(table, slot, rules, now, protocol::UDP, old, &step);
}

/// What follows from a step for the timer and the class of a flow.
#[inline]
fn conclude<A: Address>(
    table: &mut Table<A>,
    slot: u32,
    rules: &Rules,
    now: Tick,
    protocol: u8,
    old: Class,
    step: &Step,
) {
    let moment = Moment::of(now);
    match *step {
        Step::Update { at_most } => {
            let span = rules.spans.idle(protocol, table.body_mut(slot));
            let span = at_most.map_or(span, |most| span.min(most));
            table.reclassify(slot, old);
            table.rearm(now, slot, moment.after(span));
        }
        Step::DropAndShorten(most) => {
            let limit = moment.after(most);
            if limit.is_before(table.body_mut(slot).deadline) {
                table.rearm(now, slot, limit);
            }
        }
        Step::Drop(_) | Step::Limited | Step::Hold | Step::End | Step::Replace(_) => {}
    }
}
