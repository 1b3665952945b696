//! First SYNs, remembered for two seconds or three: Bloom filters (Bloom, "Space/time trade-offs in hash coding with
//! allowable errors", 1970) of one second each, laid side by side in one cache line per hash (Putze, Sanders and
//! Singler, "Cache-, hash- and space-efficient Bloom filters", 2007).
//!
//! ```text
//! line (64 bytes)   +------------+------------+------------+--------+-----+
//!                   | 128 bits   | 128 bits   | 128 bits   | second | pad |
//!                   +------------+------------+------------+--------+-----+
//!                     second % 3 = 0            2            of the newest
//! ```
//!
//! An opening sets two bits of the current second's part. It is known if both of its bits are set in the part of the
//! last second, or of the one before: what comes 1 to 2 seconds later is always known, what comes within the same
//! second never is. RFC 6298 §2 and §5.5 have a SYN repeated after 1 s, then 2 s. Parts that are too old are wiped
//! when their line is next touched, so nothing is ever swept.
//!
//! The filter never forgets an opening in time. Where it is too full it takes strangers for known ones (a few in a
//! hundred at two million openings a second, a third at five), and these are left to the eviction of half-open flows.

use crate::memory::prefetch;

/// Bytes of a filter, at most: what a second of three million openings needs.
const LARGEST: usize = 8 << 20;
/// Bytes per flow of the table, where that is less.
const BYTES_PER_FLOW: usize = 32;
/// Bytes of a filter, at least.
const SMALLEST: usize = 512 << 10;
/// Parts of a line.
const PARTS: u64 = 3;

/// Words of a line: two for each part, and the second of the newest.
const LINE: usize = 8;
const SECOND: usize = 6;

/// Openings of the last seconds.
pub(super) struct Filter {
    /// Zeroes that the kernel hands out when they are first written: lines, and what aligns them before and after.
    words: Vec<u64>,
    /// Where the first line begins, so that each is a line of the cache.
    first: usize,
    lines: usize,
}

impl Filter {
    /// A filter for a table of `capacity` flows.
    pub(super) fn new(capacity: usize) -> Filter {
        let bytes = (capacity.saturating_mul(BYTES_PER_FLOW)).clamp(SMALLEST, LARGEST);
        let lines = bytes / (LINE * size_of::<u64>());
        let words = vec![0; (lines + 1) * LINE];
        let first = words.as_ptr().align_offset(LINE * size_of::<u64>()).min(LINE);
        Filter { words, first, lines }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    fn place(&self, hash: u64) -> usize {
        self.first + ((((hash >> 32) * self.lines as u64) >> 32) as usize) * LINE
    }

    /// Asks the CPU for the line of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.words[self.place(hash)]);
    }

    /// Remembers an opening, and says whether it came in the last second or the one before. `second` never goes
    /// back.
    #[inline]
    pub(super) fn remember(&mut self, hash: u64, second: u64) -> bool {
        let place = self.place(hash);
        let line = &mut self.words[place..place + LINE];
        let part = |second: u64| (second % PARTS) as usize * 2;
        // The parts of the seconds since the line was touched hold what is older than that.
        for stale in line[SECOND] + 1..=second.min(line[SECOND] + PARTS) {
            line[part(stale)..part(stale) + 2].fill(0);
        }
        line[SECOND] = second;
        let bits = 1u128 << (hash & 127) | 1u128 << (hash >> 7 & 127);
        let (low, high) = (bits as u64, (bits >> 64) as u64);
        let has = |second: u64| line[part(second)] & low == low && line[part(second) + 1] & high == high;
        // Of three parts these are the two that are not the current one's.
        let is_known = has(second + 1) || has(second + 2);
        line[part(second)] |= low;
        line[part(second) + 1] |= high;
        is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(n: u64) -> u64 {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (n >> 32)
    }

    #[test]
    fn what_comes_again_after_a_second_or_two_is_known_and_what_comes_sooner_or_later_is_not() {
        for (later, is_known) in [(0, false), (1, true), (2, true), (3, false), (4, false), (1_000, false)] {
            let mut filter = Filter::new(1);
            assert!(!filter.remember(mixed(7), 50));
            assert_eq!(filter.remember(mixed(7), 50 + later), is_known, "after {later} s");
        }
    }

    #[test]
    fn an_opening_that_comes_every_two_seconds_stays_known_and_one_of_another_hash_is_not() {
        let mut filter = Filter::new(1);
        assert!(!filter.remember(mixed(7), 0));
        assert!((1..50).all(|n| filter.remember(mixed(7), n * 2)));
        assert!(!filter.remember(mixed(8), 100));
    }

    #[test]
    fn under_load_none_that_comes_again_is_forgotten_and_few_strangers_are_taken_for_known() {
        let mut filter = Filter::new(1);
        // As many per line as three million a second are in the largest.
        let load = (SMALLEST / LINE / size_of::<u64>() * 23) as u64;
        let mut strangers = 0;
        for second in 0..6 {
            for n in 0..load {
                strangers += u64::from(filter.remember(mixed(second << 32 | n), second));
            }
        }
        assert!(strangers < load * 6 / 5, "{strangers} of {}", load * 6);
        assert!((0..load).all(|n| filter.remember(mixed(5 << 32 | n), 6)));
    }
}
