//! What passes by each flow, both ways, where somebody wants to know; and flows that have ended, until they are asked
//! for.
//!
//! A table without a ledger pays a look at a null pointer per packet. With one, each slot has 40 bytes beside its
//! entry. Flows that end go into a list of fixed size: what finds no room there is counted.

use crate::hash::Address;
use crate::memory::reserve;
use crate::moment::Moment;
use crate::peers::Side;
use crate::time::Tick;
use crate::view::FlowView;
use std::time::Duration;

/// Flows that may have ended between two looks of whoever asks. A worker looks after each batch and each sweep, and a
/// sweep ends some thousand.
pub(crate) const ENDED: usize = 8192;

/// Why a flow has ended, as IPFIX tells it (IANA, flowEndReason).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndReason {
    /// Nothing more was heard of it.
    Idle = 1,
    /// Its ends have ended it, or begun another in its place.
    Closed = 3,
    /// It was ended from outside: by a change of policy, a command, or the gateway's end.
    Forced = 4,
    /// It made room for another.
    NoRoom = 5,
}

/// What passed one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Passed {
    /// Packets; each fragment is one.
    pub packets: u64,
    /// Bytes from the IP header on, without padding.
    pub octets: u64,
}

/// What has passed by a flow since it was last reported.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FlowReport {
    /// The flow. `expires_in` of one that has ended tells nothing.
    pub view: FlowView,
    /// When the first of these packets passed, to the millisecond.
    pub first: Tick,
    /// When the last did.
    pub last: Tick,
    /// In the opener's direction.
    pub forth: Passed,
    /// In the other one.
    pub back: Passed,
    /// Why it has ended; `None`: it lives.
    pub end: Option<EndReason>,
}

/// What has passed by the flow of a slot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Tally {
    packets: [u64; 2],
    octets: [u64; 2],
    pub(crate) first: Moment,
    pub(crate) last: Moment,
}

const _: () = assert!(size_of::<Tally>() == 40);

impl Tally {
    const NONE: Tally = Tally { packets: [0; 2], octets: [0; 2], first: Moment(0), last: Moment(0) };

    /// Whether nothing has passed.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets == [0; 2]
    }

    /// What has passed from a side.
    pub(crate) fn from(&self, side: Side) -> Passed {
        Passed { packets: self.packets[side as usize], octets: self.octets[side as usize] }
    }

    #[inline]
    fn add(&mut self, now: Moment, side: Side, octets: u16) {
        if self.is_empty() {
            self.first = now;
        }
        self.last = now;
        self.packets[side as usize] += 1;
        self.octets[side as usize] += u64::from(octets);
    }
}

/// A flow that has ended.
#[derive(Clone, Copy)]
pub(crate) struct Ended<A> {
    pub(crate) entry: crate::entry::Entry<A>,
    pub(crate) opened: Moment,
    pub(crate) tally: Tally,
    pub(crate) why: EndReason,
}

/// The tallies of a table, and its flows that have ended.
pub(crate) struct Ledger<A> {
    tallies: Vec<Tally>,
    ended: Vec<Ended<A>>,
    lost: u64,
}

impl<A: Address> Ledger<A> {
    /// A ledger for a table of `capacity` slots, of which `used` have been in use.
    pub(crate) fn new(capacity: usize, used: usize) -> Ledger<A> {
        let mut tallies = reserve(capacity);
        tallies.resize(used, Tally::NONE);
        Ledger { tallies, ended: Vec::with_capacity(ENDED), lost: 0 }
    }

    /// Begins the tally of a slot: one that was in use before, or the next.
    pub(crate) fn begin(&mut self, slot: u32) {
        match self.tallies.get_mut(slot as usize) {
            Some(tally) => *tally = Tally::NONE,
            None => self.tallies.push(Tally::NONE),
        }
    }

    /// Counts a packet.
    #[inline]
    pub(crate) fn add(&mut self, slot: u32, now: Moment, side: Side, octets: u16) {
        self.tallies[slot as usize].add(now, side, octets);
    }

    /// What has passed since this was asked last.
    pub(crate) fn take(&mut self, slot: u32) -> Tally {
        std::mem::replace(&mut self.tallies[slot as usize], Tally::NONE)
    }

    /// Enters a flow that ends. One by which nothing has passed since it was reported is not worth a word.
    pub(crate) fn end(&mut self, slot: u32, entry: crate::entry::Entry<A>, opened: Moment, why: EndReason) {
        let tally = self.take(slot);
        if tally.is_empty() {
            return;
        }
        if self.ended.len() < ENDED {
            self.ended.push(Ended { entry, opened, tally, why });
        } else {
            self.lost += 1;
        }
    }

    /// The flows that have ended since the last time.
    pub(crate) fn ended_mut(&mut self) -> &mut Vec<Ended<A>> {
        &mut self.ended
    }

    /// Flows that have ended and found no room, since the last time.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// A moment of the last seven weeks as a tick.
pub(crate) fn tick_of(now: Tick, moment: Moment) -> Tick {
    let age = Moment::of(now).0.wrapping_sub(moment.0);
    now - Duration::from_millis(u64::from(age))
}
