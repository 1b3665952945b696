//! The keyed hash of a flow key.
//!
//! An attacker picks the addresses and ports, so the hash has a 128-bit secret that is drawn at every
//! start: SipHash-1-3, which is what hash tables with hostile input use where 1-3 rounds are enough.

use classifier::flow::Key;
use siphasher::sip::SipHasher13;

/// The hash of a flow's key, of the one tracker that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowHash {
    /// Of an IPv4 key.
    V4(u64),
    /// Of an IPv6 key.
    V6(u64),
}

/// An address family that flows can be keyed by.
pub(crate) trait Address: Copy + Eq + Into<u128> {
    /// The hash of a key under a secret.
    fn hash(hasher: &SipHasher13, key: &Key<Self>) -> u64;
}

/// The eight bytes of a key that are not addresses.
fn tail<A>(key: &Key<A>) -> [u8; 8] {
    let [a, b] = key.first_port.to_le_bytes();
    let [c, d] = key.second_port.to_le_bytes();
    let [e, f] = key.domain.0.to_le_bytes();
    [a, b, c, d, e, f, key.protocol, key.kind as u8]
}

impl Address for u32 {
    fn hash(hasher: &SipHasher13, key: &Key<u32>) -> u64 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&key.first.to_le_bytes());
        bytes[4..8].copy_from_slice(&key.second.to_le_bytes());
        bytes[8..].copy_from_slice(&tail(key));
        hasher.hash(&bytes)
    }
}

impl Address for u128 {
    fn hash(hasher: &SipHasher13, key: &Key<u128>) -> u64 {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&key.first.to_le_bytes());
        bytes[16..32].copy_from_slice(&key.second.to_le_bytes());
        bytes[32..].copy_from_slice(&tail(key));
        hasher.hash(&bytes)
    }
}
