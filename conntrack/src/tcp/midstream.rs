//! Connections that are taken up without their SYN: TRACKING.md §1.5.
//!
//! Of such a connection neither the window scales nor the other side's sequence numbers are known. So the
//! largest scale is assumed, nothing is held against the windows until both sides were heard, and the flow
//! counts as established only when one side acknowledges, within 64 KiB, what the other has sent.

use super::window::{LARGEST_WINDOW, end_of};
use crate::entry::Body;
use crate::packet::{Opening, Packet};
use crate::peers::{ACKED, LIBERAL, Peer, Peers, SACK, Side};
use crate::state::State;
use classifier::wire::TcpSegment;

/// The largest scale (RFC 7323 §2.3), since the SYNs were not seen.
const ASSUMED_SCALE: u8 = 14;
/// How far from the other side's last byte an acknowledgment may be to prove the connection.
const PROOF: u32 = 65_536;

/// A connection that an ACK takes up.
pub(super) fn open(packet: &Packet<'_>, segment: &TcpSegment<'_>) -> Opening {
    let mut peers = Peers::default();
    let window = scaled(segment);
    let ack = segment.acknowledgment;
    let end = end_of(segment);
    peers.sides[0] = Peer { end, max_end: end.wrapping_add(window), max_window: window, max_ack: ack };
    peers.sides[1] = Peer { end: ack, max_end: ack.wrapping_add(window), max_window: 0, max_ack: 0 };
    for side in [Side::Opener, Side::Responder] {
        peers.set_scale(side, ASSUMED_SCALE);
        peers.set(side, LIBERAL | SACK);
    }
    peers.set(Side::Opener, ACKED);
    Opening { is_midstream: true, ..Opening::of(packet, State::Established, peers) }
}

fn scaled(segment: &TcpSegment<'_>) -> u32 {
    (u32::from(segment.window) << ASSUMED_SCALE).clamp(1, LARGEST_WINDOW)
}

/// Takes down a side when it is first heard, and turns the window checks on once the connection has proved
/// itself.
pub(super) fn meet(body: &mut Body, side: Side, segment: &TcpSegment<'_>) {
    let peers = &mut body.peers;
    let was_heard = peers.side(side).max_window != 0;
    if !was_heard {
        let end = end_of(segment);
        let window = scaled(segment);
        *peers.side_mut(side) =
            Peer { end, max_end: end.wrapping_add(window), max_window: window, max_ack: 0 };
    }
    let other = peers.side(side.other());
    let distance = other.end.wrapping_sub(segment.acknowledgment).cast_signed().unsigned_abs();
    if other.max_window != 0 && segment.flags.ack() && distance <= PROOF {
        peers.clear(Side::Opener, LIBERAL);
        peers.clear(Side::Responder, LIBERAL);
        // What the acknowledgment says was sent is believed, even where it was not seen.
        if super::sequence::after(segment.acknowledgment, peers.side(side.other()).end) {
            peers.side_mut(side.other()).end = segment.acknowledgment;
        }
    }
}
