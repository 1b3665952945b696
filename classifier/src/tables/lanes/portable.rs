//! Lanes without special instructions.

use super::{Eight, Lanes, Sixteen};

/// What every processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Lanes for Portable {
    #[inline(always)]
    fn at_most(lanes: &Sixteen, key: u16) -> u32 {
        let mut mask = 0;
        for (bit, lane) in lanes.iter().enumerate() {
            mask |= u32::from(*lane <= key) << bit;
        }
        mask
    }

    #[inline(always)]
    fn count_at_most(lanes: &Sixteen, key: u16) -> u32 {
        lanes.iter().map(|lane| u32::from(*lane <= key)).sum()
    }

    #[inline(always)]
    fn count_at_most_32(lanes: &Eight, key: u32) -> u32 {
        lanes.iter().map(|lane| u32::from(*lane <= key)).sum()
    }

    #[inline(always)]
    fn equal_under(lanes: &Sixteen, key_mask: u16, key: u16) -> u32 {
        let mut mask = 0;
        for (bit, lane) in lanes.iter().enumerate() {
            mask |= u32::from(*lane & key_mask == key) << bit;
        }
        (mask | 0x8000).trailing_zeros()
    }

    #[inline(always)]
    fn equal_bytes(bytes: &[u8; 32], key: u8) -> u32 {
        let mut mask = 0;
        for (bit, byte) in bytes.iter().enumerate() {
            mask |= u32::from(*byte == key) << bit;
        }
        mask
    }

    #[inline(always)]
    fn prefetch<T>(_: &T) {}
}
