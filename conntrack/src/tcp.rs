//! TCP, tracked strictly: TRACKING.md §1.2 to §1.5.
//!
//! ```text
//!            SYN            SYN-ACK           ACK                 FIN
//!   none ---------> SS ---------------> SR ---------> ES --------------------> FW --ACK--> CW
//!    |               \--SYN of both--> S2 -/^          |                        \--FIN--> LA --ACK--> TW
//!    |                                                 |
//!    +--ACK, with `pickup`-----------------------------+      RST: CL
//! ```
//!
//! Which cell a segment falls in is [`transition`]'s, where the whole table stands; SYN and SYN-ACK are
//! [`handshake`]'s, RST is [`reset`]'s, whether sequence numbers fit is [`window`]'s, and connections that were
//! taken up in mid-stream are [`midstream`]'s. This file runs a segment through them; [`steady`] does it for most segments in
//! fewer steps. Checksums, header lengths
//! and timestamps are not looked at here.

mod handshake;
mod midstream;
mod options;
mod reset;
mod sequence;
pub(crate) mod steady;
mod transition;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(crate) use handshake::first_peers;
pub use options::{BadOptions, TcpOptions};

use crate::entry::Body;
use crate::moment::{Moment, Span};
use crate::packet::{Opening, Packet};
use crate::peers::{ACKED, ALT_CHALLENGE, ALT_VALID, FIN, LIBERAL, STRAYED, Side, UNACKED};
use crate::state::State;
use crate::step::{Rules, Step};
use crate::time::Tick;
use classifier::reason::DropReason;
use classifier::wire::{TcpSegment, protocol};
use sequence::{after, lies_in};
use transition::{Cell, Event};
use window::{Extent, Fit};

/// After so many repetitions of a segment without an answer the timer is shortened (§1.4).
const MOST_REPEATS: u16 = 3;

/// What a segment of no known flow begins.
pub(crate) fn open(
    rules: &Rules,
    now: Tick,
    packet: &Packet<'_>,
    segment: &TcpSegment<'_>,
) -> Result<Opening, DropReason> {
    match Event::of(segment.flags) {
        Event::Syn => handshake::open(packet, segment),
        Event::Ack if rules.picks_up(now) => Ok(midstream::open(packet, segment)),
        Event::Ack | Event::SynAck | Event::Fin | Event::Rst => Err(DropReason::CtInvalid),
    }
}

/// The first timeout of a flow of any protocol. A TCP connection in mid-stream has to prove itself first.
pub(crate) fn opening_span(rules: &Rules, ip_protocol: u8, body: &Body) -> Span {
    let idle = rules.spans.idle(ip_protocol, body);
    if ip_protocol == protocol::TCP {
        shortened(rules, body).map_or(idle, |most| idle.min(most))
    } else {
        idle
    }
}

/// A segment of a known flow.
pub(crate) fn step(
    rules: &Rules,
    now: Moment,
    body: &mut Body,
    side: Side,
    packet: &Packet<'_>,
    segment: &TcpSegment<'_>,
) -> Step {
    let event = Event::of(segment.flags);
    if event == Event::Ack {
        return acknowledge(rules, body, side, segment);
    }
    body.peers.alt_flags &= !ALT_CHALLENGE;
    match transition::cell(side, event, body.state()) {
        Cell::Drop => Step::INVALID,
        Cell::Hold => Step::Hold,
        Cell::Go(next) => advance(rules, body, side, event, next, segment),
        Cell::New => handshake::open(packet, segment).map_or_else(Step::Drop, Step::Replace),
        Cell::SynAgain => handshake::syn_again(now, body, segment),
        Cell::StraySyn => handshake::stray_syn(now, body, segment),
        Cell::SynOfBoth => handshake::syn_of_both(rules, body, side, segment),
        Cell::Answer => handshake::answer(body, segment),
        Cell::AnswerAgain => handshake::answer_again(body, side, segment),
        Cell::StrayAnswer => handshake::stray_answer(body, segment),
        Cell::AnswerOfBoth => handshake::answer_of_both(body, side, segment),
        Cell::Challenge => unreachable!("an ACK's cell"),
        Cell::Reset => reset::step(rules, body, side, segment),
    }
}

/// A segment of a known flow with ACK and neither SYN, FIN nor RST: most are. It drops, holds or updates.
#[inline]
pub(crate) fn acknowledge(rules: &Rules, body: &mut Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    // Only the next segment after a stray SYN can be the challenge to it.
    let answers_stray = body.peers.alt_flags & ALT_CHALLENGE != 0 && side == Side::Responder;
    body.peers.alt_flags &= !ALT_CHALLENGE;
    if answers_stray && is_challenge(body, segment) {
        return Step::Hold;
    }
    match transition::cell(side, Event::Ack, body.state()) {
        Cell::Go(next) => advance(rules, body, side, Event::Ack, next, segment),
        Cell::Drop => Step::INVALID,
        Cell::Hold => Step::Hold,
        Cell::Challenge => {
            if segment.payload_length == 0 {
                Step::Hold
            } else {
                Step::INVALID
            }
        }
        Cell::New
        | Cell::SynAgain
        | Cell::StraySyn
        | Cell::SynOfBoth
        | Cell::Answer
        | Cell::AnswerAgain
        | Cell::StrayAnswer
        | Cell::AnswerOfBoth
        | Cell::Reset => unreachable!("no cell of an ACK"),
    }
}

/// An ACK or FIN that may move the connection to `next`, if it fits the windows.
#[inline]
fn advance(
    rules: &Rules,
    body: &mut Body,
    side: Side,
    event: Event,
    next: State,
    segment: &TcpSegment<'_>,
) -> Step {
    if body.peers.has(side, LIBERAL) {
        midstream::meet(body, side, segment);
    }
    let extent = Extent::of(&body.peers, side, segment);
    match window::fit(&body.peers, side, &extent) {
        Fit::Outside if event == Event::Fin => stray_end(rules, body, side),
        Fit::Outside => Step::INVALID,
        Fit::Stale => Step::Hold,
        Fit::Overshoot => {
            window::overshoot(&mut body.peers, side, &extent);
            Step::Hold
        }
        Fit::Inside if moves_nothing(body, side, event, &extent) => Step::Hold,
        Fit::Inside => {
            window::update(&mut body.peers, side, &extent);
            settle(body, side, event, next);
            count_repeats(body, side, &extent, segment);
            Step::Update { at_most: shortened(rules, body) }
        }
    }
}

/// Whether a segment is the challenge ACK to a stray SYN (RFC 5961 §4). Once both FINs were seen it must not be
/// taken for the ACK of the last one; elsewhere it does no more than any other ACK.
fn is_challenge(body: &Body, segment: &TcpSegment<'_>) -> bool {
    let acknowledges_nothing = segment.acknowledgment == body.peers.side(Side::Responder).max_ack;
    body.state() == State::LastAck && segment.payload_length == 0 && acknowledges_nothing
}

/// A FIN that fits, and yet tells nothing: one inside old data, and one that its side sends again (note 9).
fn moves_nothing(body: &Body, side: Side, event: Event, extent: &Extent) -> bool {
    let end = body.peers.side(side).end;
    let is_sent_again = body.peers.has(side, FIN) && extent.end == end;
    event == Event::Fin && (is_sent_again || after(end, extent.end))
}

/// Moves the state by a segment that fits.
fn settle(body: &mut Body, side: Side, event: Event, next: State) {
    let old = body.state();
    let next = match event {
        Event::Fin => transition::after_fin(old, next, body.peers.has(side, FIN)),
        Event::Ack | Event::Syn | Event::SynAck | Event::Rst => next,
    };
    if event == Event::Fin {
        body.peers.set(side, FIN);
    }
    body.peers.clear(Side::Opener, STRAYED);
    body.peers.clear(Side::Responder, STRAYED);
    body.set_state(next);
    settle_handshake(body);
}

/// Once both sides have acknowledged, the connection is assured; where both sent a SYN, it is established.
fn settle_handshake(body: &mut Body) {
    let both = body.peers.flags[0] & body.peers.flags[1];
    let liberal = (body.peers.flags[0] | body.peers.flags[1]) & LIBERAL;
    if both & ACKED == 0 || liberal != 0 {
        return;
    }
    body.set_assured(true);
    if body.state() == State::SynReceived && body.is_simultaneous() {
        body.set_state(State::Established);
    }
}

/// Remembers a segment well enough to know it again, and counts how often it came. One without payload is no
/// retransmission, and begins the count anew.
fn count_repeats(body: &mut Body, side: Side, extent: &Extent, segment: &TcpSegment<'_>) {
    count_repeats_of(body, side, (extent.sequence, extent.end, extent.ack), segment);
}

#[inline]
fn count_repeats_of(
    body: &mut Body,
    side: Side,
    (sequence, end, ack): (u32, u32, u32),
    segment: &TcpSegment<'_>,
) {
    if segment.payload_length == 0 {
        body.peers.repeats = 0;
        return;
    }
    let mut digest = sequence.wrapping_mul(0x9e37_79b1) ^ end;
    digest = digest.wrapping_mul(0x85eb_ca6b) ^ ack;
    digest = digest.wrapping_mul(0xc2b2_ae35) ^ u32::from(segment.window) ^ (side as u32) << 31;
    let digest = (digest.wrapping_mul(0x9e37_79b1) >> 16) as u16 & !3;
    let repeats = body.peers.repeats & 3;
    let is_same = body.peers.repeats & !3 == digest;
    body.peers.repeats = if is_same { digest | (repeats + 1).min(MOST_REPEATS) } else { digest };
}

/// Whether a segment has come so often without an answer that the timer is shortened.
#[inline]
fn is_repeated(body: &Body) -> bool {
    body.peers.repeats & 3 >= MOST_REPEATS
}

/// The longest that the timer may be, where something is wrong: data that is not acknowledged, a segment that
/// is repeated, or a connection in mid-stream that has not proved itself.
fn shortened(rules: &Rules, body: &Body) -> Option<Span> {
    let is_unacknowledged = (body.peers.flags[0] | body.peers.flags[1]) & UNACKED != 0;
    let is_unproved = body.state() == State::Established && !body.is_assured();
    (is_unacknowledged || is_repeated(body) || is_unproved).then_some(rules.spans.unacknowledged)
}

/// A FIN or RST out of the window. Where the other side's last was too, both are at odds with what is known
/// here, and the flow shall not stay for hours; one alone shortens nothing, or anyone could (T21).
fn stray_end(rules: &Rules, body: &mut Body, side: Side) -> Step {
    if !body.is_assured() {
        return Step::INVALID;
    }
    if body.peers.has(side.other(), STRAYED) {
        return Step::DropAndShorten(rules.spans.unacknowledged);
    }
    body.peers.set(side, STRAYED);
    Step::INVALID
}

/// Whether a sequence number that an ICMP error quotes is one that `sender` may have in flight:
/// from what its peer has acknowledged, less a window, to what it has sent (RFC 5927 §4.1).
pub(crate) fn is_in_flight(body: &Body, sender: Side, sequence: u32) -> bool {
    let peers = &body.peers;
    let (snd, rcv) = (peers.side(sender), peers.side(sender.other()));
    if peers.has(sender, LIBERAL) {
        return true;
    }
    if snd.max_window == 0 {
        return false;
    }
    let first = if peers.has(sender.other(), ACKED) {
        rcv.max_ack.wrapping_sub(rcv.max_window)
    } else if peers.has(sender, ACKED) {
        // A SYN-ACK that is not acknowledged yet, and data behind it: no more than a window.
        snd.end.wrapping_sub(rcv.max_window).wrapping_sub(1)
    } else {
        snd.max_ack
    };
    let is_of_alt = sender == Side::Opener
        && peers.alt_flags & ALT_VALID != 0
        && lies_in(sequence, peers.alt.sequence, handshake::alt_end(peers));
    lies_in(sequence, first, snd.end) || is_of_alt
}
