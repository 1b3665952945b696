//! Openings under pressure: what half-open flows may hold of the table ([`crate::flood`]), and what an opening beyond
//! that must do to get in.
//!
//! ```text
//!   half-open? --no-----------------------------------------------------------> in
//!       | yes
//!   a share used up, or the pool nearly? --no--> pool full? --no--------------> in
//!       | yes                                      | yes: the oldest of its kind goes
//!   a handshake that has not come before? --yes--> flow-table-full, segment-limit
//!       | no
//!   the oldest of the group goes --none found--> flow-table-full, segment-limit
//! ```

use super::Tracker;
use super::admission::RECLAIM;
use super::express::Sealed;
use crate::entry::Body;
use crate::evict;
use crate::flood::{Cells, FloodLevel, Groups, Kind, Share};
use crate::ledger::EndReason;
use crate::moment::Moment;
use crate::peers::Side;
use crate::state::Class;
use crate::terms::Terms;
use crate::time::Tick;
use crate::view::FlowId;
use classifier::flow::Key;
use classifier::reason::DropReason;

impl Tracker {
    /// Refuses an opening for which a flood leaves no room, or makes room among those that press with it.
    /// Where it is counted, if it is half-open.
    #[inline]
    pub(super) fn admit<A: Sealed>(
        &mut self,
        now: Tick,
        (key, hash): (&Key<A>, u64),
        body: &Body,
        terms: &Terms,
    ) -> Result<Option<Cells>, DropReason> {
        self.watch_flood(now);
        if body.class() != Class::HalfOpen {
            return Ok(None);
        }
        let vlan = body.vlan(Side::Opener).expect("the opener's VLAN is always known");
        let groups = Groups::of(key, body.opener(), vlan, terms.rule);
        let census = A::table(self).census();
        let cells = census.cells(&groups);
        let exceeded = census.exceeded(&cells, self.flood.shares());
        if exceeded.is_some() || self.flood.level() == FloodLevel::Filtering {
            let is_v6 = size_of::<A>() == size_of::<u128>();
            self.admit_under_pressure(now, hash, &groups, exceeded, is_v6)?;
        } else {
            self.make_room_in_pool(now, groups.kind);
        }
        Ok(Some(cells))
    }

    #[cold]
    fn admit_under_pressure(
        &mut self,
        now: Tick,
        hash: u64,
        groups: &Groups,
        exceeded: Option<Share>,
        is_v6: bool,
    ) -> Result<(), DropReason> {
        if exceeded.is_some() {
            self.flood.press();
        }
        if groups.kind == Kind::Handshake && !self.flood.has_come_before(hash) {
            self.statistics.flood_filtered += 1;
            return Err(reason(exceeded));
        }
        match exceeded {
            Some(share) => self.replace_one(now, groups, share, is_v6),
            None => {
                self.make_room_in_pool(now, groups.kind);
                Ok(())
            }
        }
    }

    #[inline]
    fn is_pool_full(&self, kind: Kind) -> bool {
        let (handshakes, datagrams) = self.half_open();
        let count = match kind {
            Kind::Handshake => handshakes,
            Kind::Datagram => datagrams,
        };
        count >= self.flood.shares().pool
    }

    #[inline]
    fn make_room_in_pool(&mut self, now: Tick, kind: Kind) {
        if self.is_pool_full(kind) {
            self.sweep(now, false, RECLAIM);
            if self.is_pool_full(kind) {
                self.end_oldest_of(now, kind);
            }
        }
    }

    /// Ends a half-open flow of a group that is at its share.
    fn replace_one(
        &mut self,
        now: Tick,
        groups: &Groups,
        share: Share,
        is_v6: bool,
    ) -> Result<(), DropReason> {
        let moment = Moment::of(now);
        let is_one = |other: &Groups| groups.share(other, share);
        let Tracker { v4, v6, dice, .. } = self;
        let victim = if is_v6 {
            evict::half_open_among(v6, dice, moment, is_one).map(FlowId::v6)
        } else {
            evict::half_open_among(v4, dice, moment, is_one).map(FlowId::v4)
        };
        if let Some(victim) = victim {
            self.end(victim, EndReason::NoRoom);
            self.statistics.evicted_half_open += 1;
            return Ok(());
        }
        match share {
            Share::Source => self.statistics.source_limited += 1,
            Share::Destination => self.statistics.destination_limited += 1,
            Share::Pair => self.statistics.segment_limited += 1,
        }
        Err(reason(Some(share)))
    }

    /// Ends the oldest of a sample of half-open flows of a kind. Where the sample has none of it, the other kind has
    /// most of the table, and what makes room is left to the limit of that.
    fn end_oldest_of(&mut self, now: Tick, kind: Kind) {
        let moment = Moment::of(now);
        let is_one = |groups: &Groups| groups.kind == kind;
        let Tracker { v4, v6, dice, .. } = self;
        let is_mostly_v6 = v6.census().count(kind) > v4.census().count(kind);
        let victim = if is_mostly_v6 {
            evict::half_open_among(v6, dice, moment, is_one).map(FlowId::v6)
        } else {
            evict::half_open_among(v4, dice, moment, is_one).map(FlowId::v4)
        };
        if let Some(victim) = victim {
            self.end(victim, EndReason::NoRoom);
            self.statistics.evicted_half_open += 1;
        }
    }

    /// Takes note of how hard openings are pressing.
    #[inline]
    pub(super) fn watch_flood(&mut self, now: Tick) {
        let (handshakes, _) = self.half_open();
        self.flood.observe(now, handshakes);
        if let Some(is_flood) = self.flood.turn() {
            self.set_flood(is_flood);
        }
    }

    #[cold]
    fn set_flood(&mut self, is_flood: bool) {
        self.rules.spans.shorten(is_flood);
        self.statistics.floods += u64::from(is_flood);
    }
}

/// What an opening is refused with.
fn reason(share: Option<Share>) -> DropReason {
    match share {
        Some(Share::Pair) => DropReason::SegmentLimit,
        Some(Share::Source | Share::Destination) | None => DropReason::FlowTableFull,
    }
}
