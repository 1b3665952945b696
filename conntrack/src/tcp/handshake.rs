//! SYN and SYN-ACK: notes 1 to 8 of the table in [`super::transition`].
//!
//! A SYN that comes again with another sequence number is remembered beside the first (`alt_syn`); the
//! SYN-ACK says which of the two the responder took. So neither a spoofed SYN nor an old SYN-ACK can put the
//! tracker at odds with the two hosts.

use super::options::TcpOptions;
use super::sequence::{after, lies_in};
use super::settle_handshake;
use super::window::end_of;
use crate::entry::Body;
use crate::moment::Moment;
use crate::packet::{Opening, Packet};
use crate::peers::{
    ACKED, ALT_CHALLENGE, ALT_IS_FIRST, ALT_SACK, ALT_SCALES, ALT_STAMPED, ALT_VALID, AltSyn, Peer, Peers,
    SACK, SCALES, Side, UNACKED,
};
use crate::state::State;
use crate::step::{Rules, Step};
use classifier::reason::DropReason;
use classifier::wire::TcpSegment;

/// Milliseconds between two SYNs that are let through in a live connection (note 3).
const STRAY_SYN_INTERVAL: u16 = 500;

fn options_of(segment: &TcpSegment<'_>) -> Result<TcpOptions, DropReason> {
    TcpOptions::parse(segment.options).map_err(|_| DropReason::MalformedL4)
}

/// A connection that a SYN begins.
pub(super) fn open(packet: &Packet<'_>, segment: &TcpSegment<'_>) -> Result<Opening, DropReason> {
    Ok(Opening::of(packet, State::SynSent, first_peers(segment)?))
}

/// What a SYN that begins a connection tells of both sides.
pub(crate) fn first_peers(segment: &TcpSegment<'_>) -> Result<Peers, DropReason> {
    let mut peers = Peers::default();
    introduce(&mut peers, Side::Opener, segment, options_of(segment)?);
    Ok(peers)
}

/// Takes down a side's first segment, a SYN or SYN-ACK.
fn introduce(peers: &mut Peers, side: Side, segment: &TcpSegment<'_>, options: TcpOptions) {
    let end = end_of(segment);
    let max_window = u32::from(segment.window).max(1);
    *peers.side_mut(side) = Peer { end, max_end: end, max_window, max_ack: segment.sequence };
    peers.flags[side as usize] = 0;
    peers.set_scale(side, options.window_scale.unwrap_or(0));
    if options.window_scale.is_some() {
        peers.set(side, SCALES);
    }
    if options.sack_permitted {
        peers.set(side, SACK);
    }
}

/// Window scaling is in force only where both SYNs offered it (RFC 7323 §2.2).
fn agree_on_scales(peers: &mut Peers) {
    if !(peers.has(Side::Opener, SCALES) && peers.has(Side::Responder, SCALES)) {
        peers.scales = 0;
    }
}

/// One past the last sequence number of the second SYN.
pub(super) fn alt_end(peers: &Peers) -> u32 {
    peers.alt.sequence.wrapping_add(1).wrapping_add(u32::from(peers.alt.length))
}

fn remember(now: Moment, peers: &mut Peers, segment: &TcpSegment<'_>, options: TcpOptions) {
    peers.alt = AltSyn { sequence: segment.sequence, length: segment.payload_length, window: segment.window };
    peers.alt_flags = ALT_VALID | options.window_scale.map_or(0, |scale| ALT_SCALES | scale);
    if options.sack_permitted {
        peers.alt_flags |= ALT_SACK;
    }
    peers.stray_at = now.0 as u16;
}

/// Note 2: the opener's SYN again, or another, which is remembered.
pub(super) fn syn_again(now: Moment, body: &mut Body, segment: &TcpSegment<'_>) -> Step {
    let options = match options_of(segment) {
        Ok(options) => options,
        Err(reason) => return Step::Drop(reason),
    };
    let opener = body.peers.side_mut(Side::Opener);
    if segment.sequence == opener.max_ack {
        let end = end_of(segment);
        if after(end, opener.end) {
            opener.end = end;
            opener.max_end = end;
        }
    } else {
        remember(now, &mut body.peers, segment, options);
        // It is no stray SYN: the limit of those begins with the first.
        body.peers.stray_at = body.peers.stray_at.wrapping_sub(STRAY_SYN_INTERVAL);
    }
    Step::Update { at_most: None }
}

/// Note 3: a SYN in a live connection. The responder will challenge it if it is alive, and answer it if it has
/// forgotten the connection.
pub(super) fn stray_syn(now: Moment, body: &mut Body, segment: &TcpSegment<'_>) -> Step {
    let options = match options_of(segment) {
        Ok(options) => options,
        Err(reason) => return Step::Drop(reason),
    };
    // Truncation is the point: the stamp is modular, and once in 65.5 seconds it may take an old SYN for a
    // recent one, at the cost of one retransmission.
    let peers = &mut body.peers;
    let since = (now.0 as u16).wrapping_sub(peers.stray_at);
    if peers.alt_flags & (ALT_VALID | ALT_STAMPED) != 0 && since < STRAY_SYN_INTERVAL {
        return Step::Limited;
    }
    if is_first_syn(peers, segment.sequence) {
        // To remember it would make the SYN-ACK that comes again with it look like a fresh start.
        if peers.alt_flags & ALT_VALID == 0 {
            peers.alt_flags |= ALT_STAMPED;
        }
        peers.stray_at = now.0 as u16;
    } else {
        remember(now, peers, segment, options);
    }
    peers.alt_flags |= ALT_CHALLENGE;
    Step::Hold
}

/// Whether a SYN is the one that began the connection, come again, as far as that one is still known.
fn is_first_syn(peers: &Peers, sequence: u32) -> bool {
    if !peers.has(Side::Opener, ACKED) {
        return sequence == peers.side(Side::Opener).max_ack;
    }
    peers.alt_flags & (ALT_VALID | ALT_IS_FIRST) == ALT_IS_FIRST && sequence == peers.alt.sequence
}

/// Whether a SYN-ACK acknowledges a side's SYN: any of its data may be left out (TCP Fast Open, RFC 7413 §3).
/// Once the side has acknowledged, its initial sequence number is gone, and only all of it will do.
fn acknowledges(peers: &Peers, side: Side, ack: u32) -> bool {
    let peer = peers.side(side);
    let first = if peers.has(side, ACKED) { peer.end } else { peer.max_ack.wrapping_add(1) };
    lies_in(ack, first, peer.end)
}

fn acknowledges_alt(peers: &Peers, ack: u32) -> bool {
    peers.alt_flags & ALT_VALID != 0 && lies_in(ack, peers.alt.sequence.wrapping_add(1), alt_end(peers))
}

/// The second SYN takes the place of the first.
fn adopt_alt(peers: &mut Peers) {
    let AltSyn { sequence, window, .. } = peers.alt;
    let end = alt_end(peers);
    let max_window = u32::from(window).max(1);
    *peers.side_mut(Side::Opener) = Peer { end, max_end: end, max_window, max_ack: sequence };
    peers.flags[Side::Opener as usize] = 0;
    peers.set_scale(Side::Opener, peers.alt_flags & 0xf);
    if peers.alt_flags & ALT_SCALES != 0 {
        peers.set(Side::Opener, SCALES);
    }
    if peers.alt_flags & ALT_SACK != 0 {
        peers.set(Side::Opener, SACK);
    }
}

/// Note 6: the SYN-ACK that the opener waits for, or none: then nothing changes.
pub(super) fn answer(body: &mut Body, segment: &TcpSegment<'_>) -> Step {
    let is_of_first = acknowledges(&body.peers, Side::Opener, segment.acknowledgment);
    if !is_of_first && !acknowledges_alt(&body.peers, segment.acknowledgment) {
        return Step::INVALID;
    }
    accept(body, segment, is_of_first)
}

/// Takes a SYN-ACK for the responder's, to the opener's first SYN or to the second.
fn accept(body: &mut Body, segment: &TcpSegment<'_>, is_of_first: bool) -> Step {
    let options = match options_of(segment) {
        Ok(options) => options,
        Err(reason) => return Step::Drop(reason),
    };
    if !is_of_first {
        adopt_alt(&mut body.peers);
    }
    let peers = &mut body.peers;
    introduce(peers, Side::Responder, segment, options);
    agree_on_scales(peers);
    grant(peers, Side::Responder, segment);
    // The responder may send behind its SYN what the opener's SYN has room for.
    let room = peers.side(Side::Opener).max_window;
    let responder = peers.side_mut(Side::Responder);
    let granted = segment.sequence.wrapping_add(1).wrapping_add(room);
    if after(granted, responder.max_end) {
        responder.max_end = granted;
    }
    // A second SYN has done its work; when it came still counts.
    peers.alt_flags = if peers.alt_flags & ALT_VALID != 0 { ALT_STAMPED } else { 0 };
    peers.repeats = 0;
    body.set_assured(false);
    body.set_state(State::SynReceived);
    Step::Update { at_most: None }
}

/// Takes down what a SYN-ACK acknowledges and how much it grants; its window is never scaled.
fn grant(peers: &mut Peers, sender: Side, segment: &TcpSegment<'_>) {
    let ack = segment.acknowledgment;
    peers.side_mut(sender).max_ack = ack;
    peers.set(sender, ACKED);
    let receiver = peers.side_mut(sender.other());
    let granted = ack.wrapping_add(u32::from(segment.window).max(1));
    if after(granted, receiver.max_end) {
        receiver.max_end = granted;
    }
    if ack != receiver.end {
        peers.set(sender.other(), UNACKED);
    }
}

/// Note 6, in SR: the SYN-ACK again, or one that answers the second SYN.
pub(super) fn answer_again(body: &mut Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    if body.is_simultaneous() {
        answer_of_both(body, side, segment)
    } else if acknowledges(&body.peers, Side::Opener, segment.acknowledgment) {
        Step::Hold
    } else if acknowledges_alt(&body.peers, segment.acknowledgment) {
        start_over(body, segment)
    } else {
        Step::INVALID
    }
}

/// Note 3: a SYN-ACK in a live connection, which counts where it answers the second SYN.
pub(super) fn stray_answer(body: &mut Body, segment: &TcpSegment<'_>) -> Step {
    if acknowledges_alt(&body.peers, segment.acknowledgment) { start_over(body, segment) } else { Step::Hold }
}

/// The responder has forgotten the connection and takes the second SYN: it begins anew. The policy is to be
/// asked again; so the epoch is made one that it can't have.
fn start_over(body: &mut Body, segment: &TcpSegment<'_>) -> Step {
    let step = accept(body, segment, false);
    if matches!(step, Step::Update { .. }) {
        body.outdate();
    }
    step
}

/// Note 8: a SYN from the responder too. Only `simultaneous_open` lets it be.
pub(super) fn syn_of_both(rules: &Rules, body: &mut Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    if body.state() == State::SimultaneousSyn {
        let is_again = segment.sequence == body.peers.side(side).max_ack;
        return if is_again { Step::Update { at_most: None } } else { Step::Hold };
    }
    if !rules.simultaneous_open {
        return Step::INVALID;
    }
    let options = match options_of(segment) {
        Ok(options) => options,
        Err(reason) => return Step::Drop(reason),
    };
    let peers = &mut body.peers;
    introduce(peers, Side::Responder, segment, options);
    agree_on_scales(peers);
    for side in [Side::Opener, Side::Responder] {
        let room = peers.side(side.other()).max_window;
        let peer = peers.side_mut(side);
        peer.max_end = peer.end.wrapping_add(room);
    }
    body.set_simultaneous();
    body.set_state(State::SimultaneousSyn);
    Step::Update { at_most: None }
}

/// A SYN-ACK of a side, where both have sent a SYN (RFC 9293 §3.5, figure 8).
pub(super) fn answer_of_both(body: &mut Body, side: Side, segment: &TcpSegment<'_>) -> Step {
    let is_first = !body.peers.has(side, ACKED);
    if !body.is_simultaneous() {
        return Step::Hold;
    }
    if !acknowledges(&body.peers, side.other(), segment.acknowledgment) {
        return Step::INVALID;
    }
    if !is_first {
        return Step::Hold;
    }
    if segment.sequence != body.peers.side(side).max_ack {
        return Step::INVALID;
    }
    grant(&mut body.peers, side, segment);
    body.set_state(State::SynReceived);
    settle_handshake(body);
    Step::Update { at_most: None }
}
