//! The short way of a packet whose flow is known to let its kind pass: the packet is an ordinary one (UDP, or TCP with
//! ACK and neither SYN, FIN nor RST), and one before it, in the same direction and under the same policy, went the
//! whole way.
//!
//! ```text
//!   prefetch -> candidate (second) -> enter --None--> the whole way: Tracker::track
//!                              |
//!                              +--Entrance--> datagram | acknowledge
//! ```
//!
//! What hangs on addresses, ports, VLANs and policy is not looked at again. What each packet must be held against is:
//! the flow's deadline, the VLAN that it came in on, the epoch, and TCP's states and windows, by the same code as on
//! the whole way.

use super::Tracker;
use crate::index::Place;
use crate::moment::Moment;
use crate::packet::Relation;
use crate::peers::Side;
use crate::step::{self, Step};
use crate::table::Table;
use crate::terms::{Epoch, RuleKey};
use crate::time::Tick;
use crate::view::FlowId;
use classifier::addr::VlanKey;
use classifier::flow::{End, Key};
use classifier::reason::DropReason;
use classifier::wire::TcpSegment;

/// A live flow that the short way is open to.
#[derive(Clone, Copy, Debug)]
pub struct Entrance {
    pub(super) slot: u32,
    pub(super) side: Side,
    /// The rule that let the flow in; `None`: the default did.
    pub rule: Option<RuleKey>,
}

/// The time, as packets on the short way are held against it.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub(super) tick: Tick,
    pub(super) moment: Moment,
}

impl Entrance {
    /// Before any is found: of no flow.
    pub const NONE: Entrance = Entrance { slot: 0, side: Side::Opener, rule: None };

    #[inline]
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }

    #[inline]
    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Which way the packet goes.
    #[must_use]
    #[inline]
    pub fn relation(&self) -> Relation {
        match self.side {
            Side::Opener => Relation::Established,
            Side::Responder => Relation::Reply,
        }
    }
}

mod sealed {
    use crate::hash::Address;
    use crate::step::Rules;
    use crate::table::Table;
    use crate::tracker::Tracker;

    /// The two address families; [`super::Family`] is their name outside.
    #[allow(private_bounds, private_interfaces, reason = "what is behind the seal is the crate's own")]
    pub trait Sealed: Address {
        fn table(tracker: &Tracker) -> &Table<Self>;
        fn parts(tracker: &mut Tracker) -> (&mut Table<Self>, &Rules);
    }

    #[allow(private_interfaces, reason = "as above")]
    impl Sealed for u32 {
        #[inline]
        fn table(tracker: &Tracker) -> &Table<u32> {
            &tracker.v4
        }

        #[inline]
        fn parts(tracker: &mut Tracker) -> (&mut Table<u32>, &Rules) {
            (&mut tracker.v4, &tracker.rules)
        }
    }

    #[allow(private_interfaces, reason = "as above")]
    impl Sealed for u128 {
        #[inline]
        fn table(tracker: &Tracker) -> &Table<u128> {
            &tracker.v6
        }

        #[inline]
        fn parts(tracker: &mut Tracker) -> (&mut Table<u128>, &Rules) {
            (&mut tracker.v6, &tracker.rules)
        }
    }
}

pub(super) use sealed::Sealed;

/// An address family that flows can be keyed by: `u32` for IPv4, `u128` for IPv6.
pub trait Family: sealed::Sealed {}

impl Family for u32 {}
impl Family for u128 {}

#[cold]
#[inline(never)]
fn find_anew<A: Family>(table: &Table<A>, hash: u64, key: &Key<A>) -> Option<u32> {
    table.find(hash, key)
}

impl Tracker {
    /// Notes the time before packets take the short way, and again after any took the whole way; what `enter` and the
    /// rest are to be told.
    #[inline]
    pub fn settle(&mut self, now: Tick) -> Settled {
        let tick = self.clock(now);
        Settled { tick, moment: Moment::of(tick) }
    }

    /// The hash of a key, as it is taken by the calls below.
    #[inline]
    #[must_use]
    pub fn hash_of<A: Family>(&self, key: &Key<A>) -> u64 {
        A::table(self).hash(key)
    }

    /// Asks the CPU for the memory in which a flow is looked up first; where that is.
    #[inline]
    pub fn prefetch_index<A: Family>(&self, hash: u64) -> Place {
        A::table(self).prefetch(hash)
    }

    /// The slot in which the flow of a hash seems to be, after [`Tracker::prefetch_index`]; the CPU is asked for what is
    /// there. It stays good after packets have taken the whole way: [`Tracker::enter`] finds out what has become of it.
    /// `None`: it may be where [`Tracker::second_candidate`] looks.
    #[inline]
    #[must_use]
    pub fn candidate<A: Family>(&self, place: Place) -> Option<u32> {
        A::table(self).candidate(place)
    }

    /// Asks the CPU for the other memory in which a flow may be looked up.
    #[inline]
    pub fn prefetch_second<A: Family>(&self, place: Place) {
        A::table(self).prefetch_second(place);
    }

    /// As [`Tracker::candidate`], after [`Tracker::prefetch_second`].
    #[inline]
    #[must_use]
    pub fn second_candidate<A: Family>(&self, place: Place) -> Option<u32> {
        A::table(self).second_candidate(place)
    }

    /// The live flow of a key with its slot and hash, if packets that its end `sender` sends by `vlan` are known to pass
    /// under the policy of `epoch`. Nothing moves.
    ///
    /// Since the slot was found, its flow may have ended: then it is free, and its epoch is none in force, or it is
    /// another flow's, and the key is looked up again.
    #[inline]
    #[must_use]
    pub fn enter<A: Family>(
        &self,
        now: Settled,
        (candidate, hash): (u32, u64),
        (key, sender): (&Key<A>, End),
        (vlan, epoch): (VlanKey, Epoch),
    ) -> Option<Entrance> {
        let table: &Table<A> = A::table(self);
        let (mut slot, mut entry) = (candidate, table.entry(candidate));
        if !A::same(&entry.key, key) {
            slot = find_anew(table, hash, key)?;
            entry = table.entry(slot);
        }
        let body = &entry.body;
        let side = body.side(sender);
        let is_open = body.lets_pass(side, vlan, epoch) && !body.deadline.has_come(now.moment);
        is_open.then(|| Entrance { slot, side, rule: body.rule() })
    }

    /// Moves a flow by a UDP datagram: it goes on its way.
    #[inline]
    pub fn datagram<A: Family>(&mut self, now: Settled, entrance: Entrance) {
        let (table, rules) = A::parts(self);
        step::datagram(table, entrance.slot, rules, (now.tick, now.moment), entrance.side);
    }

    /// Moves a flow by a TCP segment that has ACK and neither SYN, FIN nor RST.
    ///
    /// # Errors
    /// Why it is dropped.
    #[inline]
    pub fn acknowledge<A: Family>(
        &mut self,
        now: Settled,
        entrance: Entrance,
        segment: &TcpSegment<'_>,
    ) -> Result<(), DropReason> {
        let (table, rules) = A::parts(self);
        match step::acknowledge(table, entrance.slot, rules, (now.tick, now.moment), entrance.side, segment) {
            Step::Hold | Step::Update { .. } => Ok(()),
            Step::Drop(reason) => {
                self.statistics.invalid += u64::from(reason == DropReason::CtInvalid);
                Err(reason)
            }
            Step::DropAndShorten(_) | Step::Limited | Step::End | Step::Replace(_) => {
                unreachable!("an ACK drops, holds or updates")
            }
        }
    }

    /// Says that the packet of which [`Tracker::track`] has just said `relation` went the whole way: the next ones of
    /// its kind may go the short one. The flow is of TCP or UDP, the VLANs of both its sides are known, and its
    /// verdict is of the policy in force.
    #[inline]
    pub fn let_pass(&mut self, flow: FlowId, relation: Relation) {
        let side = match relation {
            Relation::Established => Side::Opener,
            Relation::Reply => Side::Responder,
        };
        self.body_mut(flow).set_passed(side);
    }
}
