//! Whether a segment fits the windows of a connection: TRACKING.md §1.4, after Guido van Rooij, "Real stateful
//! TCP packet filtering in IP Filter" (2000).
//!
//! ```text
//!      what the sender may send, as this gateway has seen it
//!
//!           end - receiver's max_window          end        max_end
//!  ---------------+-------------------------------+-------------+------------> sequence numbers
//!    II: old data |   sent, perhaps again         |  granted    | I: too far
//!                 |                               |             |
//!
//!      what the sender may acknowledge
//!
//!      receiver's end - max(66000, max_window)            receiver's end
//!  ---------------+--------------------------------------------+-------------> acknowledgments
//!    IV: old ACK  |                                            | III: never sent
//! ```
//!
//! The state of the connection is not this file's business.

use super::options::highest_sack;
use super::sequence::{after, before};
use crate::peers::{ACKED, ALT_IS_FIRST, ALT_VALID, LIBERAL, Peers, SACK, Side, UNACKED};
use classifier::wire::TcpSegment;

/// Rule IV: the least that an acknowledgment may lag behind (van Rooij's MAXACKWINDOW).
pub(super) const LEAST_ACK_WINDOW: u32 = 66_000;
/// A window of 65,535 bytes at scale 14 (RFC 7323 §2.3): no larger one can be offered, and none is kept.
pub(super) const LARGEST_WINDOW: u32 = 65_535 << 14;

/// A segment in the terms of the window rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// First sequence number; of a segment without length, the sender's `end`.
    pub(super) sequence: u32,
    /// One past the last sequence number, SYN and FIN counted.
    pub(super) end: u32,
    /// The acknowledgment, or the receiver's `end` where there is none.
    pub(super) ack: u32,
    /// The highest right edge of the SACK blocks, or `ack`.
    pub(super) sack: u32,
    /// The window, scaled.
    pub(super) window: u32,
    /// Whether it acknowledges anything.
    pub(super) has_ack: bool,
}

/// What the rules say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// All four hold.
    Inside,
    /// Rule I fails by no more than the receiver's window: forwarded, and its end is to be noted.
    Overshoot,
    /// Rule II or IV fails: forwarded, and nothing moves.
    Stale,
    /// Rule I fails by more, or rule III: dropped.
    Outside,
}

/// One past the last sequence number of a segment.
pub(super) fn end_of(segment: &TcpSegment<'_>) -> u32 {
    let flags = u32::from(segment.flags.syn()) + u32::from(segment.flags.fin());
    segment.sequence.wrapping_add(u32::from(segment.payload_length)).wrapping_add(flags)
}

impl Extent {
    /// The extent of a segment that is no SYN.
    pub(super) fn of(peers: &Peers, sender: Side, segment: &TcpSegment<'_>) -> Extent {
        let is_reset = segment.flags.rst();
        let has_ack = segment.flags.ack() && !(is_reset && segment.acknowledgment == 0);
        let ack = if has_ack { segment.acknowledgment } else { peers.side(sender.other()).end };
        let permits_sack = peers.has(sender.other(), SACK);
        let sack = if has_ack && permits_sack { highest_sack(segment.options, ack) } else { ack };
        let (mut sequence, mut end) = (segment.sequence, end_of(segment));
        if sequence == end && !is_reset {
            // Keep-alives and old acknowledgments carry nothing that could be out of the window.
            sequence = peers.side(sender).end;
            end = sequence;
        }
        let window = u32::from(segment.window) << peers.scale(sender);
        Extent { sequence, end, ack, sack, window, has_ack }
    }
}

/// Holds a segment against the four rules; the first that fails decides. A side that was not heard yet has no window to be held against.
pub(super) fn fit(peers: &Peers, sender: Side, extent: &Extent) -> Fit {
    if peers.has(sender, LIBERAL) {
        return Fit::Inside;
    }
    let snd = peers.side(sender);
    let rcv = peers.side(sender.other());
    let ack_window = LEAST_ACK_WINDOW.max(snd.max_window);
    let one = !after(extent.sequence, snd.max_end);
    let two = !before(extent.end, snd.end.wrapping_sub(rcv.max_window));
    let three = !after(extent.sack, rcv.end);
    let four = !before(extent.sack, rcv.end.wrapping_sub(ack_window));
    if !one {
        let overshoot = extent.end.wrapping_sub(snd.max_end).wrapping_add(1);
        let is_slight = two && three && four && overshoot <= rcv.max_window;
        if is_slight { Fit::Overshoot } else { Fit::Outside }
    } else if !two {
        Fit::Stale
    } else if !three {
        Fit::Outside
    } else if !four {
        Fit::Stale
    } else {
        Fit::Inside
    }
}

/// Notes the end of a segment that overshot, so that its acknowledgment will be known.
pub(super) fn overshoot(peers: &mut Peers, sender: Side, extent: &Extent) {
    peers.side_mut(sender).end = extent.end;
    peers.set(sender, UNACKED);
}

/// Moves the windows by a segment that fits.
pub(super) fn update(peers: &mut Peers, sender: Side, extent: &Extent) {
    let receiver = sender.other();
    let offered = extent.window.wrapping_add(extent.sack.wrapping_sub(extent.ack)).min(LARGEST_WINDOW);
    let snd = peers.side_mut(sender);
    snd.max_window = snd.max_window.max(offered).max(1);
    let straddles = after(extent.end, snd.max_end);
    let excess = extent.end.wrapping_sub(snd.max_end);
    let is_news = after(extent.end, snd.end);
    if is_news {
        snd.end = extent.end;
    }
    let is_first_ack = !peers.has(sender, ACKED);
    let snd = peers.side_mut(sender);
    let first = snd.max_ack;
    if extent.has_ack && (is_first_ack || after(extent.ack, snd.max_ack)) {
        snd.max_ack = extent.ack;
    }
    if extent.has_ack {
        if is_first_ack && sender == Side::Opener && peers.alt_flags & ALT_VALID == 0 {
            peers.alt.sequence = first;
            peers.alt_flags |= ALT_IS_FIRST;
        }
        peers.set(sender, ACKED);
    }
    if is_news {
        peers.set(sender, UNACKED);
    }
    let rcv = peers.side_mut(receiver);
    if straddles && rcv.max_window != 0 {
        rcv.max_window = rcv.max_window.saturating_add(excess).min(LARGEST_WINDOW);
    }
    let granted = extent.sack.wrapping_add(extent.window.max(1));
    if after(granted, rcv.max_end) {
        rcv.max_end = granted;
    }
    if extent.ack == rcv.end {
        peers.clear(receiver, UNACKED);
    }
}

#[cfg(test)]
mod tests;
