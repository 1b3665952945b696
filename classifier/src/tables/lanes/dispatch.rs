//! Running a job on the instructions of choice.
#![allow(unsafe_code)]

use super::portable::Portable;
use super::{Instructions, Lanes};
#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
use super::{avx2::Avx2, avx512::Avx512};

/// Work that is written once for all instructions.
pub(crate) trait Job {
    /// Does it. To be inlined always, so that it is compiled for the features of its caller.
    fn run<L: Lanes>(self);
}

/// Does the job. `instructions` must be available.
#[inline]
pub(crate) fn dispatch(instructions: Instructions, job: impl Job) {
    match instructions {
        Instructions::Portable => job.run::<Portable>(),
        // SAFETY: `Tables` holds only instructions that are available.
        #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
        Instructions::Avx2 => unsafe { avx2(job) },
        // SAFETY: as above.
        #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
        Instructions::Avx512 => unsafe { avx512(job) },
        #[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
        Instructions::Avx2 | Instructions::Avx512 => job.run::<Portable>(),
    }
}

#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn avx2(job: impl Job) {
    job.run::<Avx2>();
}

#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512vl")]
fn avx512(job: impl Job) {
    job.run::<Avx512>();
}
