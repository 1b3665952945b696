//! From a hash to the slot of an entry: two buckets, each one cache line, are all that is ever looked at.
//!
//! ```text
//! bucket (64 bytes)   +---------------------+------------------------+-----+
//!                     | 10 tags of 16 bits  | 10 slots of 32 bits    | pad |
//!                     +---------------------+------------------------+-----+
//!                       0 = empty             index into the entries
//! ```
//!
//! A key may stand in either of two buckets, and the second can be had from the first and the tag alone
//! (`second = spread(tag) - first`, modulo the number of buckets, which is its own inverse). So when both
//! are full an occupant is moved to its other bucket without a look at its entry. While its first bucket has room, a key
//! stands there, and whoever looks for it need not look at the second: a line of the cache less. Buckets are sized for 80 %
//! load at the table's capacity, where that practically never fails; if it does, the insertion is refused.
//! The index knows nothing of keys or time.
//!
//! Its uses of `unsafe` say that an empty bucket is all zeroes, and read tags into vector registers.
#![allow(unsafe_code)]

use crate::memory::{Zeroed, ZeroedSlice, prefetch};

const WAYS: usize = 10;
/// Occupied ways of a bucket at the table's capacity: 80 % of [`WAYS`].
const LOAD: usize = 8;
/// From so many occupants of its first bucket on, a key is put where there are fewer.
const CROWDED: u32 = 7;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

// SAFETY: two arrays of integers.
unsafe impl Zeroed for Bucket {}

impl Bucket {
    /// The ways with this tag, one bit each.
    #[inline]
    fn ways_with(&self, tag: u16) -> u32 {
        ways_of(self, tag)
    }

    #[inline]
    fn vacancy(&self) -> Option<usize> {
        let ways = self.ways_with(0);
        (ways != 0).then(|| (ways.trailing_zeros() as usize).min(WAYS - 1))
    }
}

/// How many of up to sixteen bits are set in each half of a word: together, in half of the steps, where the processor is not
/// known to count bits by itself (Knuth, TAOCP 4A, 7.1.3).
#[inline]
fn bits_of_halves(word: u32) -> (u32, u32) {
    let pairs = word - (word >> 1 & 0x5555_5555);
    let fours = (pairs & 0x3333_3333) + (pairs >> 2 & 0x3333_3333);
    let bytes = (fours + (fours >> 4)) & 0x0f0f_0f0f;
    let halves = bytes + (bytes >> 8);
    (halves & 0xff, halves >> 16 & 0xff)
}

/// Which of a bucket's tags are this one, a bit each.
#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
#[inline]
fn ways_of(bucket: &Bucket, tag: u16) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
    };
    #[target_feature(enable = "sse2")]
    #[inline]
    fn compare(bucket: &Bucket, tag: u16) -> u32 {
        let first = std::ptr::from_ref(bucket).cast::<__m128i>();
        // SAFETY: a bucket has 64 bytes and is aligned to as many; these are its first sixteen.
        let low = unsafe { _mm_load_si128(first) };
        // SAFETY: the next sixteen: two tags, and three slots.
        let next = unsafe { first.add(1) };
        // SAFETY: as above.
        let high = unsafe { _mm_load_si128(next) };
        let tag = _mm_set1_epi16(tag.cast_signed());
        let equal = _mm_packs_epi16(_mm_cmpeq_epi16(low, tag), _mm_cmpeq_epi16(high, tag));
        // What slots happen to be like is masked off.
        _mm_movemask_epi8(equal).cast_unsigned() & ((1 << WAYS) - 1)
    }
    // SAFETY: SSE2 is part of every x86-64 processor.
    unsafe { compare(bucket, tag) }
}

/// Which of a bucket's tags are this one, a bit each.
#[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
#[inline]
fn ways_of(bucket: &Bucket, tag: u16) -> u32 {
    (0..WAYS).fold(0, |ways, way| ways | u32::from(bucket.tags[way] == tag) << way)
}

/// The first bucket and the tag of a hash: all that it says of where it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    first: u32,
    tag: u16,
}

/// The index of one table.
pub(crate) struct Index {
    buckets: ZeroedSlice<Bucket>,
}

impl Index {
    /// An index for `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Index {
        Index { buckets: ZeroedSlice::new(capacity.div_ceil(LOAD).max(2)) }
    }

    /// Where a hash is looked up.
    #[inline]
    pub(crate) fn place(&self, hash: u64) -> Place {
        // The low bits make the tag and the high bits the bucket, so that they are independent.
        let tag = (hash as u16).max(1);
        // There are fewer buckets than slots, which have 31 bits.
        Place { first: scale((hash >> 32) as u32, self.buckets.len()) as u32, tag }
    }

    /// The other bucket of an occupant of `bucket` with this tag.
    #[inline]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        // Fibonacci hashing (Knuth, TAOCP 3, 6.4) spreads the sixteen bits over the word.
        let spread = scale(u32::from(tag).wrapping_mul(0x9e37_79b1), self.buckets.len());
        if spread >= bucket { spread - bucket } else { spread + self.buckets.len() - bucket }
    }

    /// The second bucket of a place.
    #[inline]
    fn second(&self, place: Place) -> usize {
        self.other(place.first as usize, place.tag)
    }

    /// Asks the CPU for the first bucket of a hash; where that is.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) -> Place {
        let place = self.place(hash);
        prefetch(&self.buckets[place.first as usize]);
        place
    }

    /// Asks the CPU for the second bucket of a place.
    #[inline]
    pub(crate) fn prefetch_second(&self, place: Place) {
        prefetch(&self.buckets[self.second(place)]);
    }

    /// The first slot in the first bucket of a place that has its tag.
    #[inline]
    pub(crate) fn candidate(&self, place: Place) -> Option<u32> {
        candidate(&self.buckets[place.first as usize], place.tag)
    }

    /// The same in the second bucket.
    #[inline]
    pub(crate) fn second_candidate(&self, place: Place) -> Option<u32> {
        candidate(&self.buckets[self.second(place)], place.tag)
    }

    /// The slots whose tag is that of the hash, until `is_it` says yes.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let place = self.place(hash);
        for bucket in [place.first as usize, self.second(place)] {
            let bucket = &self.buckets[bucket];
            let mut ways = bucket.ways_with(place.tag);
            while ways != 0 {
                let slot = bucket.slots[(ways.trailing_zeros() as usize).min(WAYS - 1)];
                if is_it(slot) {
                    return Some(slot);
                }
                ways &= ways - 1;
            }
        }
        None
    }

    /// Enters a slot under the place of its hash. `false`: both buckets are full, and so are those that their occupants could
    /// move to.
    pub(crate) fn insert_at(&mut self, place: Place, slot: u32) -> bool {
        let (first, second, tag) = (place.first as usize, self.second(place), place.tag);
        let (of_first, of_second) = (self.buckets[first].ways_with(0), self.buckets[second].ways_with(0));
        let (free_first, free_second) = bits_of_halves(of_first | of_second << 16);
        let is_crowded = free_first + CROWDED <= WAYS as u32;
        let (target, vacant) =
            if is_crowded & (free_second > free_first) { (second, of_second) } else { (first, of_first) };
        let found = if vacant != 0 {
            Some((target, (vacant.trailing_zeros() as usize).min(WAYS - 1)))
        } else {
            self.make_room(first).or_else(|| self.make_room(second))
        };
        let Some((bucket, way)) = found else { return false };
        self.buckets[bucket].tags[way] = tag;
        self.buckets[bucket].slots[way] = slot;
        true
    }

    #[cfg(test)]
    pub(crate) fn insert(&mut self, hash: u64, slot: u32) -> bool {
        self.insert_at(self.place(hash), slot)
    }

    /// Moves one occupant of a full bucket to its other bucket.
    fn make_room(&mut self, bucket: usize) -> Option<(usize, usize)> {
        for way in 0..WAYS {
            let tag = self.buckets[bucket].tags[way];
            let target = self.other(bucket, tag);
            if let Some(vacancy) = self.buckets[target].vacancy() {
                self.buckets[target].tags[vacancy] = tag;
                self.buckets[target].slots[vacancy] = self.buckets[bucket].slots[way];
                self.buckets[bucket].tags[way] = 0;
                return Some((bucket, way));
            }
        }
        None
    }

    /// Takes a slot out.
    ///
    /// # Panics
    /// Where the slot is not there under this hash: index and entries no longer agree.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let place = self.place(hash);
        for bucket in [place.first as usize, self.second(place)] {
            let bucket = &mut self.buckets[bucket];
            let mut ways = bucket.ways_with(place.tag);
            while ways != 0 {
                let way = (ways.trailing_zeros() as usize).min(WAYS - 1);
                if bucket.slots[way] == slot {
                    bucket.tags[way] = 0;
                    return;
                }
                ways &= ways - 1;
            }
        }
        panic!("slot {slot} is not in the index");
    }

    /// Bytes of memory that the index takes when all of it is used.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }
}

#[inline]
fn candidate(bucket: &Bucket, tag: u16) -> Option<u32> {
    let ways = bucket.ways_with(tag);
    (ways != 0).then(|| bucket.slots[(ways.trailing_zeros() as usize).min(WAYS - 1)])
}

/// Maps 32 random bits evenly to `0..length` (Lemire, "Fast random integer generation in an interval", 2019).
#[inline]
fn scale(bits: u32, length: usize) -> usize {
    ((u64::from(bits) * length as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(n: u64) -> u64 {
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (n >> 32)
    }

    #[test]
    fn the_other_bucket_of_the_other_bucket_is_the_first() {
        let index = Index::new(1000);
        for n in 0..if cfg!(miri) { 100 } else { 10_000 } {
            let place = index.place(mixed(n));
            assert_eq!(index.other(index.second(place), place.tag), place.first as usize);
        }
    }

    #[test]
    fn an_index_takes_all_that_it_was_sized_for() {
        // Miri takes hours for what is large.
        let capacities: &[usize] = if cfg!(miri) { &[1, 8, 1_234] } else { &[1, 8, 100, 12_345, 200_000] };
        for capacity in capacities.iter().copied() {
            let mut index = Index::new(capacity);
            for n in 0..capacity {
                assert!(index.insert(mixed(n as u64), n as u32), "entry {n} of {capacity}");
            }
            for n in 0..capacity {
                assert_eq!(index.find(mixed(n as u64), |slot| slot == n as u32), Some(n as u32));
                let first = index.find(mixed(n as u64), |_| true);
                let place = index.place(mixed(n as u64));
                assert_eq!(index.candidate(place).or_else(|| index.second_candidate(place)), first);
            }
            for n in 0..capacity {
                index.remove(mixed(n as u64), n as u32);
                assert_eq!(index.find(mixed(n as u64), |slot| slot == n as u32), None);
            }
        }
    }

    #[test]
    fn bits_of_both_halves_are_counted() {
        for word in (0..1 << 10).flat_map(|low| [low, low << 16, low | 0x2a5 << 16, low << 16 | 0x3ff, 0]) {
            assert_eq!(bits_of_halves(word), ((word & 0xffff).count_ones(), (word >> 16).count_ones()));
        }
        assert_eq!(bits_of_halves(u32::MAX), (16, 16));
    }

    #[test]
    fn keys_stand_in_their_first_bucket_while_it_has_room() {
        let capacity = if cfg!(miri) { 1_000 } else { 100_000 };
        let mut index = Index::new(capacity);
        for n in 0..capacity / 4 {
            assert!(index.insert(mixed(n as u64), n as u32));
        }
        let first = |n: &usize| index.candidate(index.place(mixed(*n as u64))).is_some();
        let share = (0..capacity / 4).filter(first).count() as f64 / (capacity / 4) as f64;
        assert!(share > 0.98, "{share} of the keys");
    }

    #[test]
    fn an_index_refuses_what_does_not_fit_and_loses_nothing() {
        let mut index = Index::new(16);
        let taken: Vec<u32> = (0..100).filter(|n| index.insert(7 << 32 | 3, *n)).collect();
        assert_eq!(taken.len(), 2 * WAYS, "one hash fits in two buckets");
        for slot in taken {
            assert_eq!(index.find(7 << 32 | 3, |s| s == slot), Some(slot));
        }
    }
}
