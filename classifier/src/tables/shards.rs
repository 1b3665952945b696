//! Arrays that are cut into pages, so that a changed copy shares all pages that it did not touch.
//!
//! A clone costs a reference count per page. What is written through [`Shards::get_mut`] is copied first when
//! another clone still sees it; the page of an old generation is freed with the last clone that has it.

#![allow(unsafe_code)]

use std::sync::Arc;

/// An array of `T` in pages of `N` elements, a power of two.
#[derive(Clone, Debug)]
pub(crate) struct Shards<T, const N: usize> {
    pages: Vec<Arc<[T; N]>>,
    len: usize,
}

impl<T: Copy, const N: usize> Shards<T, N> {
    const SHIFT: u32 = N.trailing_zeros();
    const IS_POWER: () = assert!(N.is_power_of_two());

    /// An empty array.
    pub(crate) const fn new() -> Self {
        let () = Self::IS_POWER;
        Shards { pages: Vec::new(), len: 0 }
    }

    /// An array of `len` times the same.
    pub(crate) fn filled(value: T, len: usize) -> Self {
        let mut shards = Self::new();
        shards.extend_to(len, value);
        shards
    }

    /// An array of these; `rest` fills the last page up.
    pub(crate) fn of(values: &[T], rest: T) -> Self {
        let mut shards = Self::new();
        for chunk in values.chunks(N) {
            let mut page = [rest; N];
            page[..chunk.len()].copy_from_slice(chunk);
            shards.pages.push(Arc::new(page));
        }
        shards.len = values.len();
        shards
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The element at an index.
    #[inline(always)]
    pub(crate) fn get(&self, at: u32) -> &T {
        debug_assert!((at as usize) < self.len, "{at} of {}", self.len);
        // SAFETY: the index is below the length. Who builds tables puts only such indexes into them, and no look-up
        // computes one from a packet alone but within what the builder has made room for.
        let page = unsafe { self.pages.get_unchecked((at >> Self::SHIFT) as usize) };
        &page[at as usize & (N - 1)]
    }

    /// The element, to be written: its page is no other clone's then.
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut T {
        let page = &mut self.pages[(at >> Self::SHIFT) as usize];
        &mut Arc::make_mut(page)[at as usize & (N - 1)]
    }

    /// Appends an element; its index is the length before.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let at = self.len;
        self.extend_to(at + 1, value);
        *self.get_mut(at as u32) = value;
        at as u32
    }

    /// Makes the array at least `len` elements long.
    pub(crate) fn extend_to(&mut self, len: usize, value: T) {
        while self.pages.len() * N < len {
            self.pages.push(Arc::new([value; N]));
        }
        self.len = self.len.max(len);
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * (N * size_of::<T>() + size_of::<Arc<[T; N]>>())
    }
}
