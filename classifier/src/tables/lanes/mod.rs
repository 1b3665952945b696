//! Comparing a key with sixteen 16-bit lanes at once: the one primitive that all tables are laid out for.
//!
//! There are three implementations of equal meaning, and the processor is asked once which it can run.

#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
pub(crate) mod avx2;
#[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
pub(crate) mod avx512;
pub(crate) mod dispatch;
pub(crate) mod portable;
#[cfg(test)]
mod tests;

use std::fmt;

/// Sixteen lanes.
pub(crate) type Sixteen = [u16; 16];

/// Eight lanes of 32 bits.
pub(crate) type Eight = [u32; 8];

/// One implementation.
pub(crate) trait Lanes: Copy {
    /// A bit for each lane that is at most the key.
    fn at_most(lanes: &Sixteen, key: u16) -> u32;
    /// How many lanes are at most the key.
    fn count_at_most(lanes: &Sixteen, key: u16) -> u32;
    /// How many lanes are at most the key.
    fn count_at_most_32(lanes: &Eight, key: u32) -> u32;
    /// The first of the lanes that equals the key where the mask is set; elsewhere the key is zero. The last lane
    /// where no other does.
    fn equal_under(lanes: &Sixteen, mask: u16, key: u16) -> u32;
    /// A bit for each byte that equals the key.
    fn equal_bytes(bytes: &[u8; 32], key: u8) -> u32;
    /// Asks for the cache line that holds the value.
    fn prefetch<T>(value: &T);
}

/// The instructions that look-ups run on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Instructions {
    /// What every processor has.
    Portable,
    /// AVX2 and BMI, of x86-64.
    Avx2,
    /// AVX-512 (F, BW, VL), of x86-64.
    Avx512,
}

impl Instructions {
    /// All of them, the slowest first.
    pub const ALL: [Instructions; 3] = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];

    /// Whether this processor has them.
    #[must_use]
    pub fn are_available(self) -> bool {
        match self {
            Instructions::Portable => true,
            #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
            Instructions::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
                    && is_x86_feature_detected!("lzcnt")
            }
            #[cfg(all(target_arch = "x86_64", not(bulkhead_portable)))]
            Instructions::Avx512 => {
                Instructions::Avx2.are_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(any(not(target_arch = "x86_64"), bulkhead_portable))]
            Instructions::Avx2 | Instructions::Avx512 => false,
        }
    }

    /// The best that this processor has.
    #[must_use]
    pub fn best() -> Instructions {
        let available = Instructions::ALL.into_iter().rev().find(|i| i.are_available());
        available.expect("every processor has the portable ones")
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        })
    }
}
