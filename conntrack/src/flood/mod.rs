//! What keeps a flood of openings from taking the table: who holds how many half-open flows, what each may hold, and
//! what is asked of an opening beyond that (TRACKING.md Z01, Z02, Z04).
//!
//! ```text
//!   half-open flows      calm                      shortened                    filtering
//!   of handshakes   0 ---------- 1/4 ------- 1/2 ------------- 3/4 ------------------ all of their half
//!                                 ^           |  SYN timeout    |  a SYN must come     | and each new one
//!                                 +-----------+  is 5 s         |  twice               | ends the oldest of 8
//!                                  5 s of calm ^----------------+
//!                                               and little that does not come back
//! ```
//!
//! - [`census`] counts half-open flows in all, by source, by destination, and by segment pair.
//! - [`shares`] says how many each may have.
//! - [`filter`] remembers first SYNs for two seconds or three, without an entry in the table.
//! - This file decides when which holds.
//!
//! Why SYNs are asked to come again, and are not answered with cookies, is argued in `docs/FLOODS.md`. No flow that is
//! established is ever touched from here.

mod census;
mod filter;
mod shares;

pub(crate) use census::{Cells, Census, Groups, Kind};
pub(crate) use shares::{Share, Shares};

use crate::hash::FlowHash;
use crate::time::Tick;
use filter::Filter;
use std::time::Duration;

/// How hard openings are pressing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FloodLevel {
    /// There is room enough.
    Calm,
    /// Half-open connections have less time to answer: 5 s.
    Shortened,
    /// And a connection that nobody has asked for before is let in only when its SYN comes again.
    Filtering,
}

/// What a half-open connection may take to be answered during a flood (TRACKING.md §1.6).
pub(crate) const SYN_SENT: Duration = Duration::from_secs(5);
/// Seconds without pressure after which timeouts are long again.
const CALM_SECONDS: u64 = 5;
/// The state of the defence, over both address families.
pub(crate) struct Flood {
    shares: Shares,
    filter: Filter,
    level: FloodLevel,
    was_flood: bool,
    second: u64,
    /// The last second in which there was pressure.
    pressed: u64,
    /// In this second: SYNs that were remembered, and those of them and of earlier ones that came again.
    first: u32,
    again: u32,
}

impl Flood {
    /// The defence of a table for `capacity` flows.
    pub(crate) fn new(capacity: usize) -> Flood {
        Flood {
            shares: Shares::of(capacity),
            filter: Filter::new(capacity),
            level: FloodLevel::Calm,
            was_flood: false,
            second: 0,
            pressed: 0,
            first: 0,
            again: 0,
        }
    }

    /// How many half-open flows there may be.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// How hard openings are pressing.
    pub(crate) fn level(&self) -> FloodLevel {
        self.level
    }

    /// Bytes of memory, all of it touched only during a flood.
    pub(crate) fn bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// A group is at its share: timeouts are short for a while, whatever the others do.
    pub(crate) fn press(&mut self) {
        self.pressed = self.second;
        self.level = self.level.max(FloodLevel::Shortened);
    }

    /// Whether a flood has begun or ended since the last call.
    pub(crate) fn turn(&mut self) -> Option<bool> {
        let is_flood = self.level != FloodLevel::Calm;
        let has_turned = is_flood != self.was_flood;
        self.was_flood = is_flood;
        has_turned.then_some(is_flood)
    }

    /// Takes note of the time and of how many handshakes are half-open.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick, handshakes: usize) {
        let second = now.millis() / 1000;
        if second != self.second {
            self.relax(second, handshakes);
        }
        let whole = self.shares.pool;
        if handshakes >= whole / 2 && self.shares.is_large {
            self.press();
            if handshakes >= whole / 4 * 3 {
                self.level = FloodLevel::Filtering;
            }
        }
    }

    /// A second has passed: whether the level may go down.
    fn relax(&mut self, second: u64, handshakes: usize) {
        // What SYNs that do not come back, at the rate of that second, would hold if they were let in.
        let lost = u64::from(self.first.saturating_sub(self.again));
        let would_hold = (lost * SYN_SENT.as_secs()) as usize;
        (self.first, self.again, self.second) = (0, 0, second);
        let whole = self.shares.pool;
        if self.level == FloodLevel::Filtering && handshakes < whole / 2 && would_hold < whole / 2 {
            self.level = FloodLevel::Shortened;
        }
        let is_quiet = handshakes < whole / 4 && second.saturating_sub(self.pressed) >= CALM_SECONDS;
        if self.level == FloodLevel::Shortened && is_quiet {
            self.level = FloodLevel::Calm;
        }
    }

    /// Whether an opening was asked for before, in the last second or the one before that. It is remembered
    /// either way.
    pub(crate) fn has_come_before(&mut self, hash: u64) -> bool {
        let is_known = self.filter.remember(hash, self.second);
        if is_known {
            self.again = self.again.saturating_add(1);
        } else {
            self.first = self.first.saturating_add(1);
        }
        is_known
    }

    /// Asks the CPU for the memory in which an opening is remembered.
    #[inline]
    pub(crate) fn prefetch(&self, hash: FlowHash) {
        let (FlowHash::V4(hash) | FlowHash::V6(hash)) = hash;
        if self.level == FloodLevel::Filtering {
            self.filter.prefetch(hash);
        }
    }
}
