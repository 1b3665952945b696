//! Memory that costs nothing until it is used, and hints to the kernel and to the cache.
//!
//! All need `unsafe`; elsewhere in the crate only the claim that a type may be zero does.
#![allow(unsafe_code)]

/// A type whose value may be all zero bytes.
///
/// # Safety
/// Every bit pattern of zeros must be a valid value of the type.
pub(crate) unsafe trait Zeroed: Sized {}

/// Least bytes of a table that large pages are asked for.
const WORTH_IT: usize = 4 << 20;
/// Bytes of a large page (x86-64, and AArch64 with pages of 4 KiB).
const LARGE_PAGE: usize = 2 << 20;

/// Asks the kernel for large pages under a table that is about to be used at random: a look-up then seldom waits for the
/// page tables, which cost more than the caches. A hint: where it is not taken, nothing changes. Call it before the
/// memory is first written.
pub(crate) fn prefer_large_pages<T>(start: *const T, count: usize) {
    let first = start.addr().next_multiple_of(LARGE_PAGE);
    let end = (start.addr() + count * size_of::<T>()) / LARGE_PAGE * LARGE_PAGE;
    if cfg!(miri) || !cfg!(target_os = "linux") || end < first + WORTH_IT {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        let place = start.with_addr(first).cast_mut().cast();
        // SAFETY: the range lies within one allocation, and this advice changes how it is backed, not what it holds.
        let _ = unsafe { madvise(place, end - first, Advice::LinuxHugepage) };
    }
}

/// A slice of zeroes, whose pages the kernel hands out when they are first written.
pub(crate) fn zeroed_slice<T: Zeroed>(length: usize) -> Box<[T]> {
    let slice = Box::<[T]>::new_zeroed_slice(length);
    prefer_large_pages(slice.as_ptr(), length);
    // SAFETY: the memory is zeroed, and `T: Zeroed` says that zeroes are a valid `T`.
    unsafe { slice.assume_init() }
}

/// Asks the CPU to fetch the cache line of a value.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and the pointer comes from a reference.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
    let _ = value;
}
