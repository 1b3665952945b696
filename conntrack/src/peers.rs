//! What an entry remembers of the two sides of a TCP connection: 48 bytes.
//!
//! ```text
//!  0        16        32        40       42       44      45        47     48
//!  +--------+---------+---------+--------+--------+-------+---------+------+
//!  | opener | respon- | alt_syn | repeats| stray  | scales| flags   | alt  |
//!  | window | der's   |         |        | at     |       | of both | flags|
//!  +--------+---------+---------+--------+--------+-------+---------+------+
//! ```
//!
//! SCTP keeps its verification tags in the same place ([`crate::sctp`]); other protocols keep nothing here.
//! What the fields mean for TCP is said in [`crate::tcp`]; this file only lays them out.

/// One side's sequence space (TRACKING.md §1.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Peer {
    /// The highest sequence number that this side has sent, plus one.
    pub(crate) end: u32,
    /// The highest that the other side has allowed it to send.
    pub(crate) max_end: u32,
    /// The largest window that this side has offered, scaled; 0 until it is heard.
    pub(crate) max_window: u32,
    /// The highest acknowledgment that this side has sent. Until [`ACKED`] is set: its initial sequence number.
    pub(crate) max_ack: u32,
}

/// Another SYN that the opener sent in a live connection, until a SYN-ACK says which one counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct AltSyn {
    /// Its sequence number.
    pub(crate) sequence: u32,
    /// Its payload (TCP Fast Open).
    pub(crate) length: u16,
    /// Its window.
    pub(crate) window: u16,
}

/// The side's SYN offered window scaling.
pub(crate) const SCALES: u8 = 1 << 0;
/// The side's SYN permitted selective acknowledgments.
pub(crate) const SACK: u8 = 1 << 1;
/// The side has sent a FIN.
pub(crate) const FIN: u8 = 1 << 2;
/// The side has sent data that is not acknowledged yet.
pub(crate) const UNACKED: u8 = 1 << 3;
/// The side's window is not checked: the connection was taken up in mid-stream.
pub(crate) const LIBERAL: u8 = 1 << 4;
/// The side has sent an acknowledgment, and `max_ack` holds the highest.
pub(crate) const ACKED: u8 = 1 << 5;
/// The side has sent a FIN or RST that was out of the window, and nothing has moved since.
pub(crate) const STRAYED: u8 = 1 << 6;
/// Of TCP and UDP: a packet of the side went all the way, on the flow's VLANs and under its epoch, so that
/// whatever hangs on addresses, ports, VLANs and policy need not be looked at again. [`crate::entry`] keeps it.
pub(crate) const PASSED: u8 = 1 << 7;

/// In `alt_flags`, where [`ALT_VALID`] is not set: `stray_at` holds a time all the same.
pub(crate) const ALT_STAMPED: u8 = 1 << 0;
/// In `alt_flags`, where [`ALT_VALID`] is not set: `alt.sequence` holds the opener's initial sequence number,
/// whose place in [`Peer`] its acknowledgments have taken.
pub(crate) const ALT_IS_FIRST: u8 = 1 << 1;
/// In `alt_flags`, above four bits of window scale: [`AltSyn`] offered window scaling.
pub(crate) const ALT_SCALES: u8 = 1 << 4;
/// In `alt_flags`: it permitted selective acknowledgments.
pub(crate) const ALT_SACK: u8 = 1 << 5;
/// In `alt_flags`: there is one.
pub(crate) const ALT_VALID: u8 = 1 << 6;
/// In `alt_flags`: the other side may answer it with a challenge ACK (RFC 5961 §4).
pub(crate) const ALT_CHALLENGE: u8 = 1 << 7;

/// Both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Peers {
    /// The opener, then the responder.
    pub(crate) sides: [Peer; 2],
    /// A second SYN of the opener.
    pub(crate) alt: AltSyn,
    /// A digest of the last segment, and in the low two bits how often it was repeated.
    pub(crate) repeats: u16,
    /// When the last stray SYN was let through, in milliseconds modulo 2^16.
    pub(crate) stray_at: u16,
    /// Window scales: the opener's in the low four bits.
    pub(crate) scales: u8,
    /// Flags of the opener, then the responder.
    pub(crate) flags: [u8; 2],
    /// Flags of the second SYN.
    pub(crate) alt_flags: u8,
}

const _: () = assert!(size_of::<Peers>() == 48);

/// Who of the two: an index into [`Peers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    /// Who sent the first packet.
    Opener = 0,
    /// The other one.
    Responder = 1,
}

impl Side {
    /// The other one.
    pub(crate) const fn other(self) -> Side {
        match self {
            Side::Opener => Side::Responder,
            Side::Responder => Side::Opener,
        }
    }
}

impl Peers {
    /// The window scale of a side.
    pub(crate) const fn scale(&self, side: Side) -> u8 {
        match side {
            Side::Opener => self.scales & 0xf,
            Side::Responder => self.scales >> 4,
        }
    }

    /// Sets the window scale of a side.
    pub(crate) fn set_scale(&mut self, side: Side, scale: u8) {
        self.scales = match side {
            Side::Opener => self.scales & 0xf0 | scale & 0xf,
            Side::Responder => self.scales & 0x0f | scale << 4,
        };
    }

    /// Whether a side has all of these flags.
    #[inline]
    pub(crate) const fn has(&self, side: Side, flags: u8) -> bool {
        self.flags[side as usize] & flags == flags
    }

    /// Sets flags of a side.
    pub(crate) fn set(&mut self, side: Side, flags: u8) {
        self.flags[side as usize] |= flags;
    }

    /// Clears flags of a side.
    pub(crate) fn clear(&mut self, side: Side, flags: u8) {
        self.flags[side as usize] &= !flags;
    }

    /// The sequence space of a side.
    pub(crate) const fn side(&self, side: Side) -> &Peer {
        &self.sides[side as usize]
    }

    /// The sequence space of a side, to change.
    pub(crate) fn side_mut(&mut self, side: Side) -> &mut Peer {
        &mut self.sides[side as usize]
    }

    /// The same with the two sides exchanged, for a flow whose first packet was seen from the responder.
    pub(crate) fn reversed(mut self) -> Peers {
        self.sides.swap(0, 1);
        self.flags.swap(0, 1);
        self.scales = self.scales.rotate_left(4);
        self
    }
}
