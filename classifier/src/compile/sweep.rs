//! Overlapping ranges of addresses → runs, each with the set of items that hold there.

use super::intern::Interner;
use super::{CompileError, Limits};

/// An address as a number.
pub(super) trait Address: Copy + Ord {
    /// The lowest address.
    const ZERO: Self;

    /// The next address, `None` behind the last.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    const ZERO: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Address for u128 {
    const ZERO: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// A range and its item, first to last, both included.
pub(super) type Labelled<A> = (A, A, u32);

/// Merges ranges of one item that overlap or adjoin.
pub(super) fn merge<A: Address>(mut ranges: Vec<Labelled<A>>) -> Vec<Labelled<A>> {
    ranges.sort_unstable_by_key(|(first, last, item)| (*item, *first, *last));
    let mut merged: Vec<Labelled<A>> = Vec::with_capacity(ranges.len());
    for (first, last, item) in ranges {
        match merged.last_mut() {
            Some((_, end, of)) if *of == item && end.next().is_none_or(|next| first <= next) => {
                *end = last.max(*end);
            }
            Some(_) | None => merged.push((first, last, item)),
        }
    }
    merged
}

/// The runs of addresses with one set of items, as the first address and the set's number. The ranges of one
/// item must not overlap.
pub(super) fn sweep<A: Address>(
    ranges: &[Labelled<A>],
    sets: &mut Interner,
    limits: &Limits,
) -> Result<Vec<(A, u32)>, CompileError> {
    let mut starts: Vec<(A, u32)> = ranges.iter().map(|(first, _, item)| (*first, *item)).collect();
    let mut ends: Vec<(A, u32)> =
        ranges.iter().filter_map(|(_, last, item)| last.next().map(|end| (end, *item))).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut starts, mut ends) = (starts.into_iter().peekable(), ends.into_iter().peekable());
    let mut active: Vec<u32> = Vec::new();
    let mut runs = vec![(A::ZERO, 0)];
    let mut work = 0;
    loop {
        let here = match (starts.peek(), ends.peek()) {
            (Some((a, _)), Some((b, _))) => *a.min(b),
            (Some((a, _)), None) | (None, Some((a, _))) => *a,
            (None, None) => return Ok(runs),
        };
        while let Some((_, item)) = ends.next_if(|(at, _)| *at == here) {
            let at = active.binary_search(&item).expect("what ends has started");
            active.remove(at);
        }
        while let Some((_, item)) = starts.next_if(|(at, _)| *at == here) {
            let at = active.binary_search(&item).expect_err("ranges of one item do not overlap");
            active.insert(at, item);
        }
        work += active.len();
        if work > limits.overlap {
            return Err(CompileError::Overlap { limit: limits.overlap });
        }
        let set = sets.number(&active);
        if here == A::ZERO {
            runs[0].1 = set;
        } else if runs[runs.len() - 1].1 != set {
            runs.push((here, set));
        }
    }
}
