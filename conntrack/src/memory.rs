//! Memory that costs nothing until it is used, and hints to the cache.
//!
//! Both need `unsafe`; elsewhere in the crate only the claim that a type may be zero does.
#![allow(unsafe_code)]

/// A type whose value may be all zero bytes.
///
/// # Safety
/// Every bit pattern of zeros must be a valid value of the type.
pub(crate) unsafe trait Zeroed: Sized {}

/// A slice of zeroes, whose pages the kernel hands out when they are first written.
pub(crate) fn zeroed_slice<T: Zeroed>(length: usize) -> Box<[T]> {
    let slice = Box::<[T]>::new_zeroed_slice(length);
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
