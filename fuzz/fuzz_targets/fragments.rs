//! The rules on fragments say of each what a map of bytes says.
//!
//! `cargo +nightly fuzz run fragments`. Four bytes of input are a fragment: its offset, its length, whether more follow.
//! The map has a flag for each byte of the datagram; it knows no intervals and no sums.
#![no_main]

use conntrack::fragment::{Extents, Fit, MOST, Place};
use libfuzzer_sys::fuzz_target;

const LONGEST: usize = 65_535;

/// A datagram byte by byte.
struct Map {
    has: Vec<bool>,
    taken: Vec<Place>,
    total: Option<usize>,
}

impl Map {
    fn fit(&self, place: Place) -> Fit {
        let (start, end) = (usize::from(place.offset), usize::from(place.offset) + usize::from(place.length));
        if self.taken.iter().any(|p| (p.offset, p.length) == (place.offset, place.length)) {
            return Fit::Duplicate;
        }
        let fits = end <= LONGEST
            && !self.has[start..end].contains(&true)
            && self.total.is_none_or(|total| end <= total && (place.more || end == total))
            && (place.more || !self.has[end..].contains(&true))
            && self.taken.len() < MOST;
        if fits { Fit::New } else { Fit::Contradiction }
    }

    fn take(&mut self, place: Place) {
        let (start, end) = (usize::from(place.offset), usize::from(place.offset) + usize::from(place.length));
        self.has[start..end].fill(true);
        self.taken.push(place);
        if !place.more {
            self.total = Some(end);
        }
    }

    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.has[..total].iter().all(|has| *has))
    }
}

fuzz_target!(|input: &[u8]| {
    let mut extents = Extents::default();
    let mut map = Map { has: vec![false; LONGEST], taken: Vec::new(), total: None };
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
