//! The tracker's time: it is told on every call, and flows whose time is over go.
//!
//! No answer depends on when they go, since every look-up holds a flow against its deadline: the timers only give
//! back memory and the places that rules count.

use super::Tracker;
use crate::entry::Body;
use crate::ledger::EndReason;
use crate::time::Tick;
use std::time::Duration;

impl Tracker {
    /// Runs the timers up to `now`, which may be years after the last call. Time never runs backwards: an
    /// earlier `now` counts as the latest that was seen. It ends every flow that is due, however many there are.
    pub fn advance(&mut self, now: Tick) {
        self.advance_some(now, u32::MAX);
    }

    /// The same in bounded time: looks at no more than `most` entries (of the IPv4 and of the IPv6 table
    /// each), and says whether it is done. What is left comes with the next call. This is for a worker that has
    /// packets waiting. An absence of more than a day is made up for in one go all the same.
    pub fn advance_some(&mut self, now: Tick, most: u32) -> bool {
        let now = self.clock(now);
        let is_done = self.sweep(now, false, most);
        self.watch_flood(now);
        is_done
    }

    /// Ends flows whose time is over, or with `all` every one. Whether it is done.
    pub(super) fn sweep(&mut self, now: Tick, all: bool, most: u32) -> bool {
        let Tracker { v4, v6, counts, statistics, .. } = self;
        let mut gone = |body: &Body| {
            counts.subtract(body.rule());
            statistics.expired += 1;
        };
        let is_done = v4.sweep(now, all, most, &mut gone) & v6.sweep(now, all, most, &mut gone);
        if is_done {
            self.swept = now;
        }
        is_done
    }

    /// Takes note of the time. Timers that have not run for a day are run at once, so that no moment in the
    /// table is older than moments can tell apart.
    #[inline]
    pub(super) fn clock(&mut self, now: Tick) -> Tick {
        const DAY: Duration = Duration::from_secs(86_400);
        if let Some(flow) = self.ended.take() {
            self.end(flow, EndReason::Closed);
            self.statistics.reset += 1;
        }
        if now.since(self.swept) > DAY {
            self.wake(now);
        }
        self.now = self.now.max(now);
        self.rules.started.get_or_insert(self.now);
        self.now
    }

    #[cold]
    fn wake(&mut self, now: Tick) {
        // No deadline is farther away than the longest timeout.
        let all = now.since(self.now) > crate::config::Timeouts::LIMIT;
        self.sweep(now, all, u32::MAX);
    }
}
