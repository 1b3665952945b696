//! The Internet checksum (RFC 1071), whole and incremental (RFC 1624).

/// A running one's-complement sum.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// Adds bytes; all but the last call must add an even number of them.
    #[must_use]
    #[inline]
    pub fn bytes(mut self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_be_bytes(*word);
            // Two halves, so that no carry is lost: 2^32 halves fit the accumulator.
            self.0 += (word >> 32) + (word & 0xffff_ffff);
        }
        let (pairs, last) = rest.as_chunks::<2>();
        for pair in pairs {
            self.0 += u64::from(u16::from_be_bytes(*pair));
        }
        if let [byte] = last {
            self.0 += u64::from(*byte) << 8;
        }
        self
    }

    /// Adds a 16-bit word.
    #[must_use]
    #[inline]
    pub fn word(self, word: u16) -> Sum {
        Sum(self.0 + u64::from(word))
    }

    /// Adds an IPv4 address.
    #[must_use]
    #[inline]
    pub fn v4(self, address: u32) -> Sum {
        Sum(self.0 + u64::from(address))
    }

    /// Adds an IPv6 address.
    #[must_use]
    #[inline]
    pub fn v6(self, address: u128) -> Sum {
        self.bytes(&address.to_be_bytes())
    }

    /// The sum folded to 16 bits, not complemented: `0xffff` over data that includes a right checksum.
    #[must_use]
    #[inline]
    pub fn fold(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// The checksum to write into a header.
    #[must_use]
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether data that includes its checksum is intact.
    #[must_use]
    #[inline]
    pub fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum after one 16-bit word under it changed (RFC 1624 equation 3).
#[must_use]
#[inline]
pub fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_as_there() {
        let sum = Sum::ZERO.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(Sum::ZERO.bytes(&[0x12, 0x34, 0x56]).fold(), 0x1234 + 0x5600);
    }

    #[test]
    fn an_update_equals_a_new_sum() {
        let mut data = [0_u8; 20];
        for seed in 0..2000_u32 {
            for (at, byte) in data.iter_mut().enumerate() {
                *byte = (seed.wrapping_mul(2_654_435_761).rotate_left(at as u32) >> 7) as u8;
            }
            let before = Sum::ZERO.bytes(&data).checksum();
            let old = u16::from_be_bytes([data[8], data[9]]);
            let new = old.wrapping_sub(256);
            data[8..10].copy_from_slice(&new.to_be_bytes());
            let whole = Sum::ZERO.bytes(&data).checksum();
            let quick = updated(before, old, new);
            assert!(whole == quick || (whole ^ quick) == 0xffff, "seed {seed}: {whole:04x} {quick:04x}");
        }
    }
}
