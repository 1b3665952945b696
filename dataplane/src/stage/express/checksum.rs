//! The Internet checksum (RFC 1071) in the machine's favourite order: words of little endian, since a one's
//! complement sum is the same in any order of bytes (§2 B), and 64 bits at a time, since 2^64 is 1 modulo 2^16 - 1.

use crate::arena::HEAD;

/// Bytes that are summed in eight strands at once.
const STRIDE: usize = 32;
/// From so many bytes on, strands are faster than one sum with its carries.
const LONG: usize = 128;

/// Most bytes that are summed in the head.
pub(super) const SHORT: usize = 8 * WORDS;
const WORDS: usize = 5;

/// By a number of bytes, which bits of the words that begin with them are theirs.
static MASKS: [[u64; WORDS]; SHORT + 1] = {
    let mut masks = [[0; WORDS]; SHORT + 1];
    let mut length = 0;
    while length <= SHORT {
        let mut byte = 0;
        while byte < length {
            masks[length][byte / 8] |= 0xff << (8 * (byte % 8));
            byte += 1;
        }
        length += 1;
    }
    masks
};

/// The inverse of 2^16 - 1 modulo 2^64: -(1 + 2^16 + 2^32 + 2^48), since their product is 1 - 2^64.
const INVERSE: u64 = 0x0001_0001_0001_0001_u64.wrapping_neg();
const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);

/// A sum that is right modulo 2^16 - 1.
#[derive(Clone, Copy)]
pub(super) struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub(super) const ZERO: Sum = Sum(0);

    /// Adds a word, with the carry around the end.
    #[inline]
    pub(super) fn add(self, word: u64) -> Sum {
        let (sum, carry) = self.0.overflowing_add(word);
        Sum(sum + u64::from(carry))
    }

    /// Adds a field of sixteen bits that is not in the data as a number of big endian.
    #[inline]
    pub(super) fn field(self, value: u16) -> Sum {
        self.add(u64::from(value.swap_bytes()))
    }

    /// Adds at least eight bytes, which begin at an even place of what is summed.
    #[inline(always)]
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Sum {
        let mut rest = bytes;
        if bytes.len() >= LONG {
            let (strides, behind) = bytes.as_chunks::<STRIDE>();
            self = self.strides(strides);
            rest = behind;
        }
        let (words, tail) = rest.as_chunks::<8>();
        for word in words {
            self = self.add(u64::from_le_bytes(*word));
        }
        match bytes.last_chunk::<8>() {
            // The last eight bytes, less those that are summed already: no shift at all would take them twice.
            Some(last) => self.add(u64::from_le_bytes(*last) >> 1 >> (63 - 8 * tail.len())),
            None => tail
                .iter()
                .enumerate()
                .fold(self, |sum, (at, byte)| sum.add(u64::from(*byte) << (8 * (at & 1)))),
        }
    }

    /// Adds up to [`SHORT`] bytes that stand at a place of the head of a frame, at least that far from its end. What
    /// stands behind them there is masked off, so that no loop hangs on how many they are.
    #[inline(always)]
    pub(super) fn short(mut self, head: &[u8; HEAD], at: usize, length: usize) -> Sum {
        let masks = &MASKS[length];
        let mut carry = false;
        for (number, mask) in masks.iter().enumerate() {
            let word = head[at + 8 * number..].first_chunk::<8>().expect("it is far enough from the end");
            (self.0, carry) = self.0.carrying_add(u64::from_le_bytes(*word) & mask, carry);
        }
        self.add(u64::from(carry))
    }

    #[inline(never)]
    fn strides(mut self, strides: &[[u8; STRIDE]]) -> Sum {
        let mut strands = [0_u64; STRIDE / 4];
        for stride in strides {
            for (strand, half) in strands.iter_mut().zip(stride.as_chunks::<4>().0) {
                // 2^32 halves fit a strand.
                *strand += u64::from(u32::from_le_bytes(*half));
            }
        }
        for strand in strands {
            self = self.add(strand);
        }
        self
    }

    /// Whether data that includes its checksum is intact, and is not all zeroes: the sum is a multiple of 2^16 - 1.
    #[inline]
    pub(super) fn is_multiple(self) -> bool {
        // A number is a multiple of an odd one where its product with that one's inverse is small (Granlund and
        // Montgomery, "Division by invariant integers using multiplication", 1994, §9).
        self.0.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
    }

    /// The same of what may be all zeroes, and then is not intact.
    #[cfg(test)]
    fn is_intact(self) -> bool {
        self.0 != 0 && self.is_multiple()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::wire::checksum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn intact_is_what_the_sum_by_the_book_calls_intact(
            mut data in proptest::collection::vec(any::<u8>(), 8..200),
            is_right in any::<bool>(),
            zeroes in any::<bool>(),
        ) {
            if zeroes {
                data.fill(0);
            }
            if is_right {
                data[2..4].fill(0);
                let sum = checksum::Sum::ZERO.bytes(&data).checksum();
                data[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            let by_the_book = checksum::Sum::ZERO.bytes(&data).word(0x1234).is_intact();
            prop_assert_eq!(Sum::ZERO.bytes(&data).field(0x1234).is_intact(), by_the_book);
            let (mut head, at) = ([0xff; HEAD], data.len() % 59);
            if data.len() <= SHORT {
                head[at..at + data.len()].copy_from_slice(&data);
                let by_the_book = checksum::Sum::ZERO.bytes(&data).is_intact();
                prop_assert_eq!(Sum::ZERO.short(&head, at, data.len()).is_intact(), by_the_book);
            }
            let by_the_book = checksum::Sum::ZERO.bytes(&data).is_intact();
            prop_assert_eq!(Sum::ZERO.bytes(&data).is_intact(), by_the_book);
        }
    }
}
