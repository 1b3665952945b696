//! How busy a worker is, and how long frames are in its hands: from the clock that it reads once a turn anyway.
//!
//! A turn begins when the clock is read, takes frames in, and has handed them on when the clock is read again: no frame is
//! in a worker's hands longer than its turn takes, but those that wait for a neighbor. What a frame has waited in the
//! rings of the card before that nobody knows here.

use conntrack::time::Tick;
use std::time::Duration;

/// Buckets of a power of two.
const PARTS: usize = 4;
/// Up to 2^36 ns, a minute.
const BUCKETS: usize = 36 * PARTS;

/// What a worker's turns have taken since its start. Of two of them the difference can be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pace {
    last: Tick,
    /// Nanoseconds of turns that had frames.
    busy: u64,
    /// Frames by what their turn took.
    frames: [u64; BUCKETS],
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { last: Tick(0), busy: 0, frames: [0; BUCKETS] }
    }
}

/// The bucket of a time: its highest bit, and the two behind it.
fn bucket(nanoseconds: u64) -> usize {
    let nanoseconds = nanoseconds.max(PARTS as u64);
    let exponent = nanoseconds.ilog2() as usize;
    let part = (nanoseconds >> (exponent - 2)) as usize & (PARTS - 1);
    (exponent * PARTS + part).min(BUCKETS - 1)
}

/// The longest time of a bucket.
fn end_of(bucket: usize) -> u64 {
    let (exponent, part) = (bucket / PARTS, bucket % PARTS);
    ((PARTS + part + 1) as u64) << exponent >> 2
}

impl Pace {
    /// A turn begins, and the one before it had so many frames.
    #[inline]
    pub(crate) fn turn(&mut self, now: Tick, frames: usize) {
        if frames > 0 {
            let took = now.0.saturating_sub(self.last.0);
            self.busy += took;
            self.frames[bucket(took)] += frames as u64;
        }
        self.last = now;
    }

    /// How long turns with frames have taken, all together.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy)
    }

    /// The time within which this share of all frames, 0 to 1, was handed on; `None` where there was none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        percentile(&self.frames, share)
    }

    /// Frames by the longest time that their turn may have taken, in nanoseconds; only where there were some.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let some = self.frames.iter().enumerate().filter(|(_, frames)| **frames > 0);
        some.map(|(bucket, frames)| (end_of(bucket), *frames))
    }
}

fn percentile(frames: &[u64; BUCKETS], share: f64) -> Option<Duration> {
    let all: u64 = frames.iter().sum();
    let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
    let mut seen = 0;
    let found = frames.iter().position(|frames| {
        seen += frames;
        seen >= wanted
    });
    found.map(|bucket| Duration::from_nanos(end_of(bucket)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_the_times_up_to_its_end_and_no_other() {
        for nanoseconds in (4..5000).chain([1 << 20, (1 << 20) + 1, 1 << 35]) {
            let bucket = bucket(nanoseconds);
            assert!(nanoseconds < end_of(bucket), "{nanoseconds}");
            assert!(nanoseconds >= end_of(bucket - 1), "{nanoseconds}");
        }
        assert_eq!(bucket(0), bucket(4));
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn turns_without_frames_are_not_busy_and_frames_count_by_their_turn() {
        let mut pace = Pace::default();
        assert_eq!(pace.percentile(0.5), None);
        let mut now = Tick(1_000_000_000);
        pace.turn(now, 0);
        for (took, frames) in [(1_000, 90), (100_000, 9), (5_000_000, 0), (1_000_000, 1)] {
            now = now + Duration::from_nanos(took);
            pace.turn(now, frames);
        }
        assert_eq!(pace.busy(), Duration::from_nanos(1_101_000));
        let micros = |share| pace.percentile(share).unwrap().as_nanos() as f64 / 1000.0;
        for (share, about) in
            [(0.0, 1.0), (0.5, 1.0), (0.9, 1.0), (0.95, 100.0), (0.99, 100.0), (1.0, 1000.0)]
        {
            assert!((about..about * 1.25 + 0.1).contains(&micros(share)), "{share}: {}", micros(share));
        }
        assert_eq!(pace.buckets().map(|(_, frames)| frames).collect::<Vec<_>>(), [90, 9, 1]);
    }
}
