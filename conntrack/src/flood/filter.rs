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
//!
//! Its one use of `unsafe` says that an empty line is all zeroes.
#![allow(unsafe_code)]

use crate::memory::{Zeroed, prefetch, zeroed_slice};

/// Bytes of a filter, at most: what a second of three million openings needs.
const LARGEST: usize = 8 << 20;
/// Bytes per flow of the table, where that is less.
const BYTES_PER_FLOW: usize = 32;
/// Bytes of a filter, at least.
const SMALLEST: usize = 512 << 10;
/// Parts of a line.
const PARTS: u64 = 3;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    parts: [[u64; 2]; PARTS as usize],
    second: u64,
}

const _: () = assert!(size_of::<Line>() == 64);

// SAFETY: arrays of integers.
unsafe impl Zeroed for Line {}

/// Openings of the last seconds.
pub(super) struct Filter {
    lines: Box<[Line]>,
}

impl Filter {
    /// A filter for a table of `capacity` flows.
    pub(super) fn new(capacity: usize) -> Filter {
        let bytes = (capacity.saturating_mul(BYTES_PER_FLOW)).clamp(SMALLEST, LARGEST);
        Filter { lines: zeroed_slice(bytes / size_of::<Line>()) }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    fn place(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    /// Asks the CPU for the line of a hash.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.lines[self.place(hash)]);
    }

    /// Remembers an opening, and says whether it came in the last second or the one before. `second` never goes
    /// back.
    #[inline]
    pub(super) fn remember(&mut self, hash: u64, second: u64) -> bool {
        let place = self.place(hash);
        let line = &mut self.lines[place];
        for stale in line.second + 1..=second.min(line.second + PARTS) {
            line.parts[(stale % PARTS) as usize] = [0; 2];
        }
        if second > line.second + PARTS {
            line.parts = [[0; 2]; PARTS as usize];
        }
        line.second = second;
        let bit = |shift: u32| 1u128 << (hash >> shift & 127);
        let bits = bit(0) | bit(7);
        let bits = [bits as u64, (bits >> 64) as u64];
        let has = |part: u64| {
            let [low, high] = line.parts[(part % PARTS) as usize];
            (low & bits[0]) == bits[0] && (high & bits[1]) == bits[1]
        };
        // Of three parts these are the two that are not the current one's.
        let is_known = has(second + 1) || has(second + 2);
        let part = &mut line.parts[(second % PARTS) as usize];
        part[0] |= bits[0];
        part[1] |= bits[1];
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
        let load = (SMALLEST / size_of::<Line>() * 23) as u64;
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
