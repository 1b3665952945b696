//! The processor's time-stamp counter.
//!
//! It ticks at a rate of its own, not at that of the core, which may be faster or slower: a figure in these cycles
//! compares with others of the same machine, and with nothing else.
//!
//! An unsafe island: reading the counter is an intrinsic.
#![allow(unsafe_code)]

/// The counter, where the processor has one that is known here.
pub(crate) fn now() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
    {
        // SAFETY: every x86-64 processor has the counter, and Linux lets programs read it.
        Some(unsafe { std::arch::x86_64::_rdtsc() })
    }
    #[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
    None
}
