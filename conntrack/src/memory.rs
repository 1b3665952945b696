//! Memory that costs nothing until it is used, on huge pages where the machine has them, and hints to the cache.
//!
//! All need `unsafe`; elsewhere in the crate only the claim that a type may be zero does. [`reserve`] and
//! [`prefetch`] are also for whoever has tables beside the flows.
//!
//! The allocator of the standard library fills zeroed memory by hand where its alignment is above that of `malloc`,
//! and so makes all of it resident. What is aligned to cache lines is mapped here instead.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A type whose value may be all zero bytes.
///
/// # Safety
/// Every bit pattern of zeros must be a valid value of the type.
pub(crate) unsafe trait Zeroed: Copy {}

/// A slice of zeroes, whose pages the kernel hands out when they are first written.
pub(crate) struct ZeroedSlice<T: Zeroed> {
    first: NonNull<T>,
    length: usize,
}

// SAFETY: the slice owns its elements as a box does: they are reached through it alone.
unsafe impl<T: Zeroed + Send> Send for ZeroedSlice<T> {}
// SAFETY: as above.
unsafe impl<T: Zeroed + Sync> Sync for ZeroedSlice<T> {}

impl<T: Zeroed> ZeroedSlice<T> {
    /// So many elements, at least one.
    ///
    /// # Panics
    /// Where the address space has no room for them.
    pub(crate) fn new(length: usize) -> ZeroedSlice<T> {
        let bytes = length.checked_mul(size_of::<T>()).expect("a slice fits the address space");
        assert!(
            bytes > 0 && align_of::<T>() <= mapping::ALIGNMENT,
            "a mapping has bytes, and begins at a page"
        );
        ZeroedSlice { first: mapping::map(bytes).cast(), length }
    }
}

impl<T: Zeroed> Deref for ZeroedSlice<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping has `length` elements, aligned as `new` has checked and zero at first, which
        // `T: Zeroed` says is a valid value; they live as long as `self`, which is borrowed.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }
}

impl<T: Zeroed> DerefMut for ZeroedSlice<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

impl<T: Zeroed> Drop for ZeroedSlice<T> {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped so many bytes here, and nobody can borrow them any more. The elements are `Copy`,
        // so that none is to be dropped.
        unsafe { mapping::unmap(self.first.cast(), self.length * size_of::<T>()) };
    }
}

/// An empty vector with room for so many elements, on huge pages where the machine has them.
#[must_use]
pub fn reserve<T>(capacity: usize) -> Vec<T> {
    let mut vector = Vec::with_capacity(capacity);
    mapping::advise(vector.spare_capacity_mut());
    vector
}

/// Mappings of the kernel's.
#[cfg(all(target_os = "linux", not(miri)))]
mod mapping {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    use std::mem::MaybeUninit;
    use std::ptr::{NonNull, null_mut};

    /// What every mapping is aligned to: the smallest page of any machine.
    pub(super) const ALIGNMENT: usize = 4096;
    /// A huge page of x86-64 and of most others.
    const HUGE: usize = 2 << 20;

    pub(super) fn map(bytes: usize) -> NonNull<u8> {
        // SAFETY: the kernel chooses a place where nothing is.
        let made = unsafe {
            mmap_anonymous(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let start =
            made.unwrap_or_else(|error| panic!("there is no room for {bytes} bytes of flows: {error}"));
        if bytes >= HUGE {
            // SAFETY: the advice is about the mapping just made, and changes none of its bytes. It may be refused.
            let _ = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
        }
        NonNull::new(start.cast()).expect("a mapping is never at zero")
    }

    /// # Safety
    /// `start` must come from [`map`] of so many bytes, and nobody may use them afterwards.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: as the caller says.
        let done = unsafe { munmap(start.as_ptr().cast(), bytes) };
        debug_assert!(done.is_ok(), "what was mapped can be unmapped");
    }

    /// Asks for huge pages where whole ones lie in this memory.
    pub(super) fn advise<T>(memory: &mut [MaybeUninit<T>]) {
        let start = memory.as_mut_ptr().cast::<u8>();
        let skipped = start.align_offset(HUGE);
        let Some(left) = size_of_val(memory).checked_sub(skipped) else { return };
        let whole = left - left % HUGE;
        if whole > 0 {
            let first = start.wrapping_add(skipped);
            // SAFETY: the pages lie in memory that is borrowed, and the advice changes none of its bytes. It may be
            // refused.
            let _ = unsafe { madvise(first.cast(), whole, Advice::LinuxHugepage) };
        }
    }
}

/// The allocator's memory, where there is no kernel to ask: under Miri.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod mapping {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::mem::MaybeUninit;
    use std::ptr::NonNull;

    /// What every mapping is aligned to.
    pub(super) const ALIGNMENT: usize = 4096;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, ALIGNMENT).expect("a slice fits the address space")
    }

    pub(super) fn map(bytes: usize) -> NonNull<u8> {
        // SAFETY: there is at least one byte, as the caller has checked.
        let start = unsafe { alloc_zeroed(layout(bytes)) };
        NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout(bytes)))
    }

    /// # Safety
    /// `start` must come from [`map`] of so many bytes, and nobody may use them afterwards.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: as the caller says.
        unsafe { dealloc(start.as_ptr(), layout(bytes)) };
    }

    pub(super) fn advise<T>(_: &mut [MaybeUninit<T>]) {}
}

/// Asks the CPU to fetch the cache line of a value.
#[inline]
pub fn prefetch<T>(value: &T) {
    prefetch_at(value);
}

/// Asks the CPU to fetch the cache line that is at an address, if anything is.
#[inline]
pub fn prefetch_at<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and takes any address (Intel SDM 2B, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    #[repr(align(64))]
    struct Line([u64; 8]);

    // SAFETY: an array of integers.
    unsafe impl Zeroed for Line {}

    #[test]
    fn a_slice_is_zero_at_first_and_keeps_what_is_written() {
        let mut slice = ZeroedSlice::<Line>::new(1000);
        assert_eq!(slice.len(), 1000);
        assert!(slice.iter().all(|line| line.0 == [0; 8]));
        for (number, line) in (0..).zip(slice.iter_mut()) {
            line.0[7] = number;
        }
        assert!((0..).zip(slice.iter()).all(|(number, line)| line.0 == [0, 0, 0, 0, 0, 0, 0, number]));
        assert!(slice.as_ptr().is_aligned());
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn pages_that_nobody_wrote_to_are_not_resident() {
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        const BYTES: usize = 1 << 30;
        let before = resident();
        let slice = ZeroedSlice::<Line>::new(BYTES / size_of::<Line>());
        assert!(slice.iter().step_by(1 << 16).all(|line| line.0[0] == 0));
        let room = reserve::<Line>(BYTES / size_of::<Line>());
        // Other tests of the process come and go meanwhile, but not by gigabytes.
        assert!(resident().saturating_sub(before) < (BYTES / 2) as u64);
        assert!(room.capacity() * size_of::<Line>() >= BYTES);
    }
}
