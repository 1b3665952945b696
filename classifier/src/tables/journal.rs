//! Arrays that remember which elements were written, so that a copy that is one change behind catches up with those
//! alone.
//!
//! Generations take turns in two copies. Each is one piece of memory, found by an index and nothing else; what pages
//! that generations share would save in memory, every look-up would pay for in instructions.
//!
//! ```text
//! copy A   v1 ───────── renew: v2 ── written: v3
//! copy B   v1 ── written: v2 ────────────────── renew: v3 ── written: v4
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of the next contents. Equal numbers, equal contents: none is given twice.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// An array that remembers what was written since it was a copy of another.
#[derive(Debug)]
pub(crate) struct Journaled<T> {
    items: Vec<T>,
    /// The number of the contents.
    version: u64,
    /// What the contents were written upon; `None` where they were made from nothing.
    base: Option<u64>,
    /// What was written since.
    written: Vec<u32>,
}

impl<T: Copy> Clone for Journaled<T> {
    fn clone(&self) -> Self {
        Journaled {
            items: self.items.clone(),
            version: self.version,
            base: Some(self.version),
            written: Vec::new(),
        }
    }
}

impl<T: Copy> Journaled<T> {
    /// An empty array.
    pub(crate) const fn new() -> Self {
        Journaled { items: Vec::new(), version: 0, base: None, written: Vec::new() }
    }

    /// An array of these.
    pub(crate) fn of(items: Vec<T>) -> Self {
        Journaled { items, version: NEXT.fetch_add(1, Ordering::Relaxed), base: None, written: Vec::new() }
    }

    /// An array of `len` times the same.
    pub(crate) fn filled(value: T, len: usize) -> Self {
        Self::of(vec![value; len])
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// All elements.
    #[inline(always)]
    pub(crate) fn all(&self) -> &[T] {
        &self.items
    }

    /// The element at an index.
    #[inline(always)]
    pub(crate) fn get(&self, at: u32) -> &T {
        &self.items[at as usize]
    }

    /// The element, to be written.
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut T {
        self.write();
        if self.base.is_some() {
            self.written.push(at);
        }
        &mut self.items[at as usize]
    }

    /// Appends an element; its index is the length before.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let at = self.items.len();
        self.extend_to(at + 1, value);
        at as u32
    }

    /// Makes the array at least `len` elements long.
    pub(crate) fn extend_to(&mut self, len: usize, value: T) {
        if len > self.items.len() {
            self.write();
            self.reserve(len);
            self.items.resize(len, value);
        }
    }

    /// Makes the contents those of `source`. Little is copied where one of the two was written upon the other.
    pub(crate) fn renew(&mut self, source: &Self) {
        if self.version != source.version {
            let (behind, ahead) = (source.base == Some(self.version), self.base == Some(source.version));
            let kept = self.items.len().min(source.items.len());
            let written: &[u32] = match (behind, ahead) {
                (true, _) => &source.written,
                (false, true) => &self.written,
                (false, false) => {
                    self.items.clear();
                    &[]
                }
            };
            for at in written.iter().map(|at| *at as usize).filter(|at| *at < kept) {
                self.items[at] = source.items[at];
            }
            self.reserve(source.items.len());
            self.items.truncate(source.items.len());
            self.items.extend_from_slice(&source.items[self.items.len()..]);
            self.version = source.version;
        }
        self.base = Some(self.version);
        self.written.clear();
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.items.len() * size_of::<T>()
    }

    /// The contents become others than any before.
    fn write(&mut self) {
        self.version = NEXT.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes room for so many elements; for an eighth more where there was too little, for the next ones.
    fn reserve(&mut self, len: usize) {
        if len > self.items.capacity() {
            // While an array is first made it doubles, as vectors do.
            let more = if self.base.is_some() { len / 8 } else { len };
            self.items.reserve_exact(len + more - self.items.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes, with the lengths and values that these come to.
    fn write(array: &mut Journaled<u64>, model: &mut Vec<u64>, writes: &[(u16, u64)]) {
        for (at, value) in writes {
            match model.len() {
                0 => drop(array.push(*value)),
                len if *at % 4 == 0 => {
                    assert_eq!(array.push(*value), len as u32);
                }
                len => *array.get_mut(u32::from(*at) % len as u32) = *value,
            }
            match model.len() {
                0 => model.push(*value),
                _ if *at % 4 == 0 => model.push(*value),
                len => model[usize::from(*at) % len] = *value,
            }
        }
    }

    fn changes() -> impl Strategy<Value = Vec<(Vec<(u16, u64)>, bool)>> {
        prop::collection::vec((prop::collection::vec(any::<(u16, u64)>(), 0..8), any::<bool>()), 1..20)
    }

    proptest! {
        /// As the editor does it: the copy that is behind is renewed and written, and the two change places; or the
        /// change is given up, and what was written is taken back when the copy is renewed.
        #[test]
        fn two_copies_that_take_turns_have_the_contents_of_one_array(changes in changes()) {
            let (mut model, mut front) = (Vec::new(), Journaled::new());
            write(&mut front, &mut model, &[(0, 1), (0, 2), (1, 3)]);
            let mut back = front.clone();
            for (writes, is_kept) in changes {
                back.renew(&front);
                prop_assert_eq!(back.all(), &model[..]);
                let mut next = model.clone();
                write(&mut back, &mut next, &writes);
                prop_assert_eq!(back.all(), &next[..]);
                prop_assert_eq!(front.all(), &model[..], "the other is as it was");
                if is_kept {
                    std::mem::swap(&mut front, &mut back);
                    model = next;
                }
            }
        }

        /// Copies that no journal leads to are copied whole.
        #[test]
        fn any_copy_can_be_renewed_from_any_other(a in changes(), b in changes()) {
            let mut models = [Vec::new(), Vec::new()];
            let mut arrays = [Journaled::new(), Journaled::new()];
            for ((array, model), changes) in arrays.iter_mut().zip(&mut models).zip([a, b]) {
                changes.iter().for_each(|(writes, _)| write(array, model, writes));
            }
            let [mut from, to] = arrays;
            from.renew(&to);
            prop_assert_eq!(from.all(), &models[1][..]);
        }
    }

    #[test]
    fn catching_up_copies_what_was_written_and_no_more() {
        let mut front = Journaled::filled(0u64, 1000);
        let mut back = front.clone();
        *front.get_mut(7) = 7;
        assert!(front.written.is_empty(), "what is made from nothing has no journal");
        back.renew(&front);
        *back.get_mut(8) = 8;
        back.push(9);
        assert_eq!(back.written, [8]);
        // What the journal does not name is not looked at.
        front.items[500] = 5;
        front.renew(&back);
        assert_eq!((front.items[8], front.items[1000], front.items[500]), (8, 9, 5));
    }
}
