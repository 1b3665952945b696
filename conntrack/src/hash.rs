//! The keyed hash of a flow key: three multiplications for IPv4, six for IPv6.
//!
//! An attacker picks the addresses and ports, so the hash has a secret that is drawn at every start. The key's
//! 32-bit words go in pairs through a universal hash (Lemire and Kaser, "Strongly universal string hashing is fast",
//! Computer Journal 57, 2014, Multilinear-HM; of the family of NH, RFC 4418 §5): whatever two keys are picked without
//! knowledge of the secret, they collide in it with a probability of 2^-32. It is pairwise independent and no more, so
//! that keys in a row could still crowd a few buckets; a folded multiplication by another part of the secret
//! spreads them.

use classifier::flow::{FlowKey, Key};
use siphasher::sip::SipHasher13;

/// The hash of a flow's key, of the one tracker that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowHash {
    /// Of an IPv4 key.
    V4(u64),
    /// Of an IPv6 key.
    V6(u64),
}

/// Two words of 32 bits each for every pair of a key's words: five pairs in an IPv6 key.
const PAIRS: usize = 5;

/// The secret of a table, drawn out to the length that the hash needs.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pairs: [[u64; 2]; PAIRS],
    offset: u64,
    factor: u64,
}

impl Secret {
    /// The secret that follows from 128 bits: SipHash-1-3 under them, of the place in the secret.
    pub(crate) fn new(secret: [u8; 16]) -> Secret {
        let hasher = SipHasher13::new_with_key(&secret);
        let word = |place: usize| hasher.hash(&(place as u64).to_le_bytes());
        Secret {
            pairs: std::array::from_fn(|pair| [word(2 * pair), word(2 * pair + 1)]),
            offset: word(2 * PAIRS),
            // A factor that is odd has no divisor in common with the word's range.
            factor: word(2 * PAIRS + 1) | 1,
        }
    }

    #[inline(always)]
    fn pair(&self, pair: usize, first: u32, second: u32) -> u64 {
        let [a, b] = self.pairs[pair];
        a.wrapping_add(u64::from(first)).wrapping_mul(b.wrapping_add(u64::from(second)))
    }

    /// Spreads a sum over all bits: the table takes its bucket from the high ones, its tag from the low ones.
    #[inline(always)]
    fn finish(&self, sum: u64) -> u64 {
        let sum = sum.wrapping_add(self.offset);
        let product = u128::from(sum ^ (sum >> 32)) * u128::from(self.factor);
        (product as u64) ^ (product >> 64) as u64
    }
}

/// An address family that flows can be keyed by.
pub(crate) trait Address: Copy + Eq + Into<u128> {
    /// The hash of a key under a secret.
    fn hash(secret: &Secret, key: &Key<Self>) -> u64;
    /// Whether two keys are the same, in fewer comparisons than fields.
    fn same(a: &Key<Self>, b: &Key<Self>) -> bool;
    /// A key of either family.
    fn flow_key(key: Key<Self>) -> FlowKey;
}

/// Whether all but the addresses are the same.
#[inline]
fn same_tail<A>(a: &Key<A>, b: &Key<A>) -> u32 {
    let ((ports, rest), (other_ports, other_rest)) = (tail(a), tail(b));
    (ports ^ other_ports) | (rest ^ other_rest)
}

/// The two words of a key that are not addresses.
#[inline]
fn tail<A>(key: &Key<A>) -> (u32, u32) {
    let ports = u32::from(key.first_port) | u32::from(key.second_port) << 16;
    let rest = u32::from(key.domain.0) | u32::from(key.protocol) << 16 | (key.kind as u32) << 24;
    (ports, rest)
}

impl Address for u32 {
    fn flow_key(key: Key<u32>) -> FlowKey {
        FlowKey::V4(key)
    }

    #[inline(always)]
    fn hash(secret: &Secret, key: &Key<u32>) -> u64 {
        let (ports, rest) = tail(key);
        let sum = secret.pair(0, key.first, key.second);
        secret.finish(sum.wrapping_add(secret.pair(1, ports, rest)))
    }

    #[inline]
    fn same(a: &Key<u32>, b: &Key<u32>) -> bool {
        (a.first ^ b.first) | (a.second ^ b.second) | same_tail(a, b) == 0
    }
}

impl Address for u128 {
    fn flow_key(key: Key<u128>) -> FlowKey {
        FlowKey::V6(key)
    }

    #[inline]
    fn hash(secret: &Secret, key: &Key<u128>) -> u64 {
        let (ports, rest) = tail(key);
        let mut sum = secret.pair(0, ports, rest);
        for (pair, shift) in [0, 32, 64, 96].into_iter().enumerate() {
            let (first, second) = ((key.first >> shift) as u32, (key.second >> shift) as u32);
            sum = sum.wrapping_add(secret.pair(1 + pair, first, second));
        }
        secret.finish(sum)
    }

    #[inline]
    fn same(a: &Key<u128>, b: &Key<u128>) -> bool {
        (a.first ^ b.first) | (a.second ^ b.second) | u128::from(same_tail(a, b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use classifier::flow::{Domain, KeyKind};

    fn key<A>(first: A, second: A, first_port: u16, second_port: u16) -> Key<A> {
        let (domain, protocol, kind) = (Domain::ROUTED, 17, KeyKind::Ports);
        Key { first, second, first_port, second_port, domain, protocol, kind }
    }

    /// Keys that stand in a row in one way or another, as those of a scan or of a benchmark do.
    fn rows(row: u32, n: u32) -> Key<u32> {
        let (low, high) = (n as u16, (n >> 16) as u16);
        match row {
            0 => key(0x0a00_0000 + n, 0x0a80_0001, 1024, 443),
            1 => key(0x0a00_0001, 0x0a80_0000 + n, 1024, 443),
            2 => key(0x0a00_0000 + u32::from(high), 0x0a80_0001, low, 443),
            3 => key(0x0a00_0001, 0x0a80_0000 + u32::from(high), 1024, low),
            4 => key(n << 12, 0x0a80_0001, 1024, 443),
            5 => key(0x0a00_0000 + (n >> 7), 0x0a80_0000 + (n & 127), 53, 53),
            6 => key(0x0a00_0000 + n, 0x0a80_0000 + n, 1024, 443),
            _ => key(0x0a00_0000 + u32::from(high) * 256, 0x0a80_0001, low, low),
        }
    }

    #[test]
    fn keys_in_a_row_fill_an_index_as_random_ones_do() {
        const CAPACITY: u32 = 40_000;
        for seed in 0..24 {
            let secret = Secret::new([seed; 16]);
            for row in 0..8 {
                let mut index = Index::new(CAPACITY as usize);
                for n in 0..CAPACITY {
                    let hash = u32::hash(&secret, &rows(row, n));
                    assert!(index.insert(hash, n), "secret {seed}, row {row}: key {n} finds no room");
                    let wide = rows(row, n);
                    let wide = key(
                        u128::from(wide.first) << 64,
                        u128::from(wide.second),
                        wide.first_port,
                        wide.second_port,
                    );
                    assert_ne!(u128::hash(&secret, &wide), hash, "another family, another hash");
                }
            }
        }
    }

    #[test]
    fn every_word_of_a_key_counts() {
        let secret = Secret::new([9; 16]);
        let base = key(1_u128 << 64, 1, 2, 3);
        let mut hashes = vec![u128::hash(&secret, &base)];
        for bit in 0..128 {
            hashes.push(u128::hash(&secret, &Key { first: base.first ^ 1 << bit, ..base }));
            hashes.push(u128::hash(&secret, &Key { second: base.second ^ 1 << bit, ..base }));
        }
        for bit in 0..16 {
            hashes.push(u128::hash(&secret, &Key { first_port: base.first_port ^ 1 << bit, ..base }));
            hashes.push(u128::hash(&secret, &Key { second_port: base.second_port ^ 1 << bit, ..base }));
            hashes.push(u128::hash(&secret, &Key { domain: Domain(1 << bit), ..base }));
        }
        hashes.push(u128::hash(&secret, &Key { protocol: 6, ..base }));
        hashes.push(u128::hash(&secret, &Key { kind: KeyKind::Echo, ..base }));
        let changed = [
            Key { first: base.first ^ 1 << 100, ..base },
            Key { second: base.second ^ 1, ..base },
            Key { first_port: 3, ..base },
            Key { second_port: 2, ..base },
            Key { domain: Domain(256), ..base },
            Key { protocol: 6, ..base },
            Key { kind: KeyKind::Echo, ..base },
        ];
        assert!(u128::same(&base, &base) && changed.iter().all(|key| !u128::same(&base, key)));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn what_crowds_one_bucket_under_a_secret_is_spread_under_another() {
        let (known, other) = (Secret::new([1; 16]), Secret::new([2; 16]));
        // Four thousand keys that all want one of sixteen buckets of 65,536 under the secret that is known.
        let bucket = |hash: u64| hash >> 48;
        let crowd: Vec<Key<u32>> = (0..4_000_000_u32)
            .flat_map(|n| (0..4).map(move |row| rows(row, n)))
            .filter(|key| bucket(u32::hash(&known, key)) < 16)
            .take(3_500)
            .collect();
        assert_eq!(crowd.len(), 3_500);
        let mut index = Index::new(3_500);
        for (n, key) in crowd.iter().enumerate() {
            assert!(index.insert(u32::hash(&other, key), n as u32), "key {n} finds no room");
        }
    }
}
