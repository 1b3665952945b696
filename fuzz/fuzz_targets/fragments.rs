//! The rules on fragments say of each what a map of bytes says.
//!
//! `cargo +nightly fuzz run fragments`. Four bytes of input are a fragment: its offset, its length, whether more follow.
//! The map has a flag for each eight bytes of the datagram, as offsets are told in eights (RFC 791 §3.1): two fragments
//! share a byte exactly where they share one of these. It knows no intervals and no sums.
#![no_main]

use conntrack::fragment::{Extents, Fit, MOST, Place};
use libfuzzer_sys::fuzz_target;

const LONGEST: usize = 65_535;
/// Eights of the longest datagram, the last one not whole.
const EIGHTS: usize = LONGEST.div_ceil(8);

/// A datagram, eight bytes by eight.
struct Map {
    has: [u64; EIGHTS / 64],
    taken: Vec<Place>,
    total: Option<usize>,
}

fn bounds(place: Place) -> (usize, usize) {
    (usize::from(place.offset), usize::from(place.offset) + usize::from(place.length))
}

impl Map {
    fn new() -> Map {
        Map { has: [0; EIGHTS / 64], taken: Vec::with_capacity(MOST), total: None }
    }

    /// Of the flags from one eight to another, those of each word: its number and a mask.
    fn flags(first: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
        (first / 64..end.div_ceil(64)).map(move |word| {
            let from = first.saturating_sub(word * 64);
            let to = (end - word * 64).min(64);
            (word, (u64::MAX >> (64 - to)) & (u64::MAX << from))
        })
    }

    /// Whether anything has come of the bytes from `start` on, up to `end`.
    fn has_any(&self, start: usize, end: usize) -> bool {
        Map::flags(start / 8, end.div_ceil(8)).any(|(word, mask)| self.has[word] & mask != 0)
    }

    /// Whether all has come up to `end`.
    fn has_all(&self, end: usize) -> bool {
        Map::flags(0, end.div_ceil(8)).all(|(word, mask)| self.has[word] & mask == mask)
    }

    fn fit(&self, place: Place) -> Fit {
        let (start, end) = bounds(place);
        if self.taken.iter().any(|p| (p.offset, p.length) == (place.offset, place.length)) {
            return Fit::Duplicate;
        }
        // What lies in the last, broken eight overlaps, and was seen by that.
        let behind = end.next_multiple_of(8);
        let fits = end <= LONGEST
            && !self.has_any(start, end)
            && self.total.is_none_or(|total| end <= total && (place.more || end == total))
            && (place.more || behind > LONGEST || !self.has_any(behind, LONGEST))
            && self.taken.len() < MOST;
        if fits { Fit::New } else { Fit::Contradiction }
    }

    fn take(&mut self, place: Place) {
        let (start, end) = bounds(place);
        for (word, mask) in Map::flags(start / 8, end.div_ceil(8)) {
            self.has[word] |= mask;
        }
        self.taken.push(place);
        if !place.more {
            self.total = Some(end);
        }
    }

    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.has_all(total))
    }
}

fuzz_target!(|input: &[u8]| {
    let mut extents = Extents::default();
    let mut map = Map::new();
    for bytes in input.as_chunks::<4>().0 {
        let [offset_low, high, length_low, length_high] = *bytes;
        let offset = u16::from_le_bytes([offset_low, high & 0x1f]) * 8;
        let more = high & 0x80 == 0;
        let length = u16::from_le_bytes([length_low, length_high]);
        // What the parser lets through: something, and whole words where more follow.
        let length = if more { length & !7 } else { length };
        if length == 0 {
            continue;
        }
        let place = Place { offset, length, more };
        let fit = extents.fit(place);
        assert_eq!(fit, map.fit(place), "{place:?} after {:?}", map.taken);
        if fit == Fit::New {
            extents.take(place);
            map.take(place);
        }
        assert_eq!(extents.are_complete(), map.is_complete(), "{:?}", map.taken);
    }
});
