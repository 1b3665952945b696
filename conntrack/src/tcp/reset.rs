//! RST: TRACKING.md §1.3b, after RFC 5961 §3.
//!
//! An RST ends a connection only where its sequence number is exactly the one that the receiver waits for, as
//! far as can be known here. In the window but not exact it is let through, for the receiver to challenge, and
//! changes nothing; elsewhere it is dropped. So a blind sweep closes nothing but with its one exact hit.

use super::handshake::alt_end;
use super::sequence::lies_in;
use super::stray_end;
use crate::entry::Body;
use crate::peers::{ACKED, ALT_VALID, LIBERAL, Peers, Side};
use crate::state::State;
use crate::step::{Rules, Step};
use classifier::wire::TcpSegment;

/// An RST of a known flow.
pub(super) fn step(rules: &Rules, body: &mut Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    match body.state() {
        State::SynSent => refuse(body, side, segment),
        State::SimultaneousSyn => refuse_both(body, side, segment),
        // RFC 1337: a reset must not assassinate TIME-WAIT.
        State::TimeWait => Step::Hold,
        State::CloseWait | State::LastAck | State::Closed => close(rules, body, side, segment, false),
        State::SynReceived | State::Established | State::FinWait => close(rules, body, side, segment, true),
        State::OneWay
        | State::TwoWay
        | State::SctpInit
        | State::SctpEchoed
        | State::SctpEstablished
        | State::SctpShutdown
        | State::SctpClosed => unreachable!("a TCP flow has a state of TCP"),
    }
}

/// SS: the responder's RST must acknowledge a SYN of the opener. The opener's own answers a challenge ACK of
/// an old incarnation, and bears that one's sequence number.
fn refuse(body: &Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    let peers = &body.peers;
    let ack = segment.acknowledgment;
    let is_of_first = ack == peers.side(Side::Opener).end;
    let is_of_alt = peers.alt_flags & ALT_VALID != 0 && ack == alt_end(peers);
    match side {
        Side::Opener => Step::Hold,
        Side::Responder if segment.flags.ack() && (is_of_first || is_of_alt) => Step::End,
        Side::Responder => Step::INVALID,
    }
}

/// S2: either side's RST must acknowledge the other's SYN, or follow its own.
fn refuse_both(body: &Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    let acknowledges = segment.flags.ack() && segment.acknowledgment == body.peers.side(side.other()).end;
    if acknowledges || segment.sequence == body.peers.side(side).end { Step::End } else { Step::INVALID }
}

/// From SR on. `must_be_exact`: not so once both sides are about to close.
fn close(rules: &Rules, body: &mut Body, side: Side, segment: &TcpSegment<'_>, must_be_exact: bool) -> Step {
    if body.peers.side(side).max_window == 0 {
        // Taken up in mid-stream, and this side was not heard yet: nothing says where it stands.
        return Step::Hold;
    }
    let is_exact = is_exact(&body.peers, side, segment.sequence);
    if !is_exact && !is_in_window(&body.peers, side, segment.sequence) {
        return stray_end(rules, body, side);
    }
    // In CL the timer runs out, however many RSTs follow.
    if must_be_exact && !is_exact || body.state() == State::Closed {
        return Step::Hold;
    }
    body.set_state(State::Closed);
    Step::Update { at_most: None }
}

/// Whether the sequence number is the next that the sender would use, or the one that its peer waits for.
fn is_exact(peers: &Peers, side: Side, sequence: u32) -> bool {
    let waits = peers.has(side.other(), ACKED) && sequence == peers.side(side.other()).max_ack;
    waits || sequence == peers.side(side).end
}

/// Whether it lies between what the peer waits for, where that is known, and what the peer has granted. What
/// the RST acknowledges counts for nothing: its receiver does not look at it either (RFC 9293 §3.10.7.4).
fn is_in_window(peers: &Peers, side: Side, sequence: u32) -> bool {
    if peers.has(side, LIBERAL) {
        return true;
    }
    let (sender, peer) = (peers.side(side), peers.side(side.other()));
    let is_acked = peers.has(side.other(), ACKED);
    let first = if is_acked { peer.max_ack } else { sender.end.wrapping_sub(peer.max_window) };
    lies_in(sequence, first, sender.max_end)
}
