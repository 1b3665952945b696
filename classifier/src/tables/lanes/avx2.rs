//! Lanes on AVX2.
#![allow(unsafe_code)]
// A chain of intrinsics is one step, and has one reason to be sound: that the processor has it.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use super::{Eight, Lanes, Sixteen};
use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_movemask_epi8, _mm_packs_epi16, _mm_prefetch, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cmpeq_epi16, _mm256_cmpeq_epi32,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_max_epu16, _mm256_max_epu32, _mm256_movemask_epi8,
    _mm256_movemask_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
};

/// AVX2. To be used only in functions that enable its features.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2;

/// A bit for each 16-bit lane that is all ones.
#[inline(always)]
fn bits(lanes: __m256i) -> u32 {
    // SAFETY: the callers of `Lanes` for `Avx2` have checked that the processor has AVX2.
    unsafe {
        let (low, high) = (_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

impl Lanes for Avx2 {
    #[inline(always)]
    fn at_most(lanes: &Sixteen, key: u16) -> u32 {
        // SAFETY: the processor has AVX2, see `bits`; the sixteen lanes are the 32 bytes that are loaded.
        bits(unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi16(key as i16));
            _mm256_cmpeq_epi16(_mm256_max_epu16(lanes, key), key)
        })
    }

    #[inline(always)]
    fn count_at_most(lanes: &Sixteen, key: u16) -> u32 {
        // SAFETY: the processor has AVX2, see `bits`; the sixteen lanes are the 32 bytes that are loaded.
        let bytes = unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi16(key as i16));
            _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_max_epu16(lanes, key), key))
        };
        // Two bits a lane.
        bytes.count_ones() / 2
    }

    #[inline(always)]
    fn count_at_most_32(lanes: &Eight, key: u32) -> u32 {
        // SAFETY: the processor has AVX2, see `bits`; the eight lanes are the 32 bytes that are loaded.
        let bits = unsafe {
            let (lanes, key) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi32(key as i32));
            _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(lanes, key), key)))
        };
        bits.count_ones()
    }

    #[inline(always)]
    fn equal_under(lanes: &Sixteen, mask: u16, key: u16) -> u32 {
        // SAFETY: the processor has AVX2, see `bits`; the sixteen lanes are the 32 bytes that are loaded.
        let bytes = unsafe {
            let (lanes, mask) = (_mm256_loadu_si256(lanes.as_ptr().cast()), _mm256_set1_epi16(mask as i16));
            _mm256_movemask_epi8(_mm256_cmpeq_epi16(
                _mm256_and_si256(lanes, mask),
                _mm256_set1_epi16(key as i16),
            ))
        };
        (bytes as u32 | 0x4000_0000).trailing_zeros() / 2
    }

    #[inline(always)]
    fn equal_bytes(bytes: &[u8; 32], key: u8) -> u32 {
        // SAFETY: the processor has AVX2, see `bits`; the array is the 32 bytes that are loaded.
        unsafe {
            let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(key as i8))) as u32
        }
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        // SAFETY: a prefetch has no effect but on time.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
}
