//! What tells one datagram from another.

use classifier::addr::VlanKey;
use classifier::wire::Addresses;
use siphasher::sip::SipHasher13;

/// The key of a datagram: RFC 791 §3.2 and RFC 8200 §4.5, and the VLAN that it came in on, which tells the domain too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramKey {
    /// Source and destination.
    pub addresses: Addresses,
    /// Its identification.
    pub identification: u32,
    /// The VLAN that it came in on.
    pub vlan: VlanKey,
    /// The protocol of IPv4. Fragments of one IPv6 datagram may name several (RFC 8200 §4.5), so there it is 0.
    pub protocol: u8,
}

impl DatagramKey {
    /// The hash of the key under a secret, and that of its source alone.
    pub(super) fn hashes(&self, hasher: &SipHasher13) -> (u64, u64) {
        let mut bytes = [0; 40];
        let source = match self.addresses {
            Addresses::V4(source, destination) => {
                bytes[..4].copy_from_slice(&source.to_le_bytes());
                bytes[4..8].copy_from_slice(&destination.to_le_bytes());
                hasher.hash(&bytes[..4])
            }
            Addresses::V6(source, destination) => {
                bytes[..16].copy_from_slice(&source.to_le_bytes());
                bytes[16..32].copy_from_slice(&destination.to_le_bytes());
                hasher.hash(&bytes[..16])
            }
        };
        let tail = u64::from(self.identification)
            | u64::from(self.vlan.vid()) << 32
            | u64::from(self.vlan.port().0) << 48
            | u64::from(self.protocol) << 56;
        bytes[32..].copy_from_slice(&tail.to_le_bytes());
        (hasher.hash(&bytes), source)
    }
}
