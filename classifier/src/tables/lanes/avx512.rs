//! Lanes on AVX-512: compares yield masks.
#![allow(unsafe_code)]
// A chain of intrinsics is one step, and has one reason to be sound: that the processor has it.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use super::{Eight, Lanes, Sixteen};
use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_and_si256, _mm256_cmpeq_epu8_mask, _mm256_cmpeq_epu16_mask,
    _mm256_cmple_epu16_mask, _mm256_cmple_epu32_mask, _mm256_loadu_si256, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32,
};

/// AVX-512. To be used only in functions that enable its features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512;

impl Lanes for Avx512 {
    #[inline(always)]
    fn at_most(lanes: &Sixteen, key: u16) -> u32 {
        // SAFETY: the callers of `Lanes` for `Avx512` have checked that the processor has AVX-512 BW and VL;
        // the sixteen lanes are the 32 bytes that are loaded.
        unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi16(key as i16));
            u32::from(_mm256_cmple_epu16_mask(lanes, key))
        }
    }

    #[inline(always)]
    fn count_at_most(lanes: &Sixteen, key: u16) -> u32 {
        Self::at_most(lanes, key).count_ones()
    }

    #[inline(always)]
    fn count_at_most_32(lanes: &Eight, key: u32) -> u32 {
        // SAFETY: the processor has AVX-512 F and VL, as above; the eight lanes are the 32 bytes that are loaded.
        unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi32(key as i32));
            u32::from(_mm256_cmple_epu32_mask(lanes, key)).count_ones()
        }
    }

    #[inline(always)]
    fn equal_under(lanes: &Sixteen, mask: u16, key: u16) -> u32 {
        // SAFETY: as in `at_most`.
        unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi16(key as i16));
            let lanes = _mm256_and_si256(lanes, _mm256_set1_epi16(mask as i16));
            (u32::from(_mm256_cmpeq_epu16_mask(lanes, key)) | 0x8000).trailing_zeros()
        }
    }

    #[inline(always)]
    fn equal_bytes(bytes: &[u8; 32], key: u8) -> u32 {
        // SAFETY: as in `at_most`; the array is the 32 bytes that are loaded.
        unsafe {
            _mm256_cmpeq_epu8_mask(_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_set1_epi8(key as i8))
        }
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        // SAFETY: a prefetch has no effect but on time.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
}
