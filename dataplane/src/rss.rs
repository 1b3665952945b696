//! Receive side scaling that is the same in both directions, as a port's hardware does it.
//!
//! The hardware hashes source and destination address by Toeplitz's matrix (Microsoft, "Verifying the RSS hash
//! calculation"), and the low bits of the hash choose a queue from a table. Under a key that repeats itself every
//! sixteen bits the hash is the same for both directions (Woo and Park, "Scalable TCP Session Monitoring with Symmetric
//! Receive-side Scaling", 2012), and it comes down to a linear map of sixteen bits, which this makes in two look-ups:
//!
//! ```text
//!   xor of all 16-bit words of both addresses --> [high byte] xor [low byte] --> hash (both halves are equal)
//! ```
//!
//! A pattern with an odd number of ones makes that map one to one. Fifteen bits are no secret worth the name: who wants
//! to can send all it sends to one worker, as it can by using a single pair of addresses. The other workers
//! don't notice.

/// A key that is the same in both directions, and the table behind it.
#[derive(Clone, Debug)]
pub struct SymmetricKey {
    pattern: u16,
    queues: u32,
    table_size: u32,
    high: Box<[u16; 256]>,
    low: Box<[u16; 256]>,
}

impl SymmetricKey {
    /// A key out of 16 random bits, for tables of `table_size` entries over `queues` queues.
    ///
    /// # Panics
    /// Where there is no queue, or the size is no power of two.
    #[must_use]
    pub fn new(random: u16, queues: u32, table_size: u32) -> SymmetricKey {
        assert!(queues > 0 && table_size.is_power_of_two(), "a table has a power of two of places");
        let is_even = random.count_ones().is_multiple_of(2);
        let pattern = if is_even { random ^ 1 } else { random };
        let of = |word: u16| {
            let bits = (0..16_u32).filter(|bit| word & (0x8000 >> bit) != 0);
            bits.fold(0, |hash, bit| hash ^ pattern.rotate_left(bit))
        };
        SymmetricKey {
            pattern,
            queues,
            table_size,
            high: Box::new(std::array::from_fn(|byte| of((byte as u16) << 8))),
            low: Box::new(std::array::from_fn(|byte| of(byte as u16))),
        }
    }

    /// The key as a driver takes it, of so many bytes.
    #[must_use]
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        self.pattern.to_be_bytes().into_iter().cycle().take(length).collect()
    }

    /// The queue that stands in a driver's table at a place. All ports have the same, also where some tables are longer.
    #[must_use]
    pub fn entry(&self, place: u32) -> u32 {
        (place & (self.table_size - 1)) % self.queues
    }

    /// The queue that frames with this hash come in by.
    #[must_use]
    #[inline]
    pub fn queue(&self, hash: u32) -> u32 {
        self.entry(hash)
    }

    /// The hash of a pair of IPv4 addresses.
    #[must_use]
    #[inline]
    pub fn hash_v4(&self, a: u32, b: u32) -> u32 {
        let both = a ^ b;
        self.spread(both as u16 ^ (both >> 16) as u16)
    }

    /// The hash of a pair of IPv6 addresses.
    #[must_use]
    #[inline]
    pub fn hash_v6(&self, a: u128, b: u128) -> u32 {
        let both = a ^ b;
        let both = both as u64 ^ (both >> 64) as u64;
        let both = both as u32 ^ (both >> 32) as u32;
        self.spread(both as u16 ^ (both >> 16) as u16)
    }

    #[inline]
    fn spread(&self, word: u16) -> u32 {
        let [high, low] = word.to_be_bytes();
        let hash = self.high[usize::from(high)] ^ self.low[usize::from(low)];
        u32::from(hash) << 16 | u32::from(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Toeplitz's hash by the book.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |of: &[u8], at: usize| of[at / 8] & (0x80 >> (at % 8)) != 0;
        let window = |at: usize| (0..32).fold(0, |word, i| word << 1 | u32::from(bit(key, at + i)));
        (0..input.len() * 8).filter(|at| bit(input, *at)).fold(0, |hash, at| hash ^ window(at))
    }

    #[test]
    fn the_book_agrees_with_the_published_example() {
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
            0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
            0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        assert_eq!(toeplitz(&key, &[66, 9, 149, 187, 161, 142, 100, 80]), 0x323e_8fc2);
    }

    proptest! {
        #[test]
        fn two_look_ups_are_toeplitz_in_both_directions(random: u16, a: u32, b: u32, c: u128, d: u128) {
            let key = SymmetricKey::new(random, 3, 128);
            let bytes = key.bytes(52);
            let input = [a.to_be_bytes(), b.to_be_bytes()].concat();
            prop_assert_eq!(key.hash_v4(a, b), toeplitz(&bytes, &input));
            prop_assert_eq!(key.hash_v4(a, b), key.hash_v4(b, a));
            let input = [c.to_be_bytes(), d.to_be_bytes()].concat();
            prop_assert_eq!(key.hash_v6(c, d), toeplitz(&bytes, &input));
            prop_assert_eq!(key.hash_v6(c, d), key.hash_v6(d, c));
        }

        #[test]
        fn no_two_words_share_a_hash(random: u16, a: u16, b: u16) {
            let key = SymmetricKey::new(random, 1, 1);
            prop_assert_eq!(a == b, key.spread(a) == key.spread(b));
        }

        #[test]
        fn longer_tables_say_the_same(random: u16, hash: u32, queues in 1_u32..16) {
            let key = SymmetricKey::new(random, queues, 128);
            prop_assert_eq!(key.entry(hash & 511), key.queue(hash));
        }
    }
}
