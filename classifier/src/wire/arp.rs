//! ARP for IPv4 over Ethernet (RFC 826).

use crate::addr::Mac;
use etherparse::{ArpHardwareId, ArpOperation, ArpPacketSlice, EtherType};
use std::net::Ipv4Addr;

/// Bytes of the part of ARP whose length does not depend on what it says.
pub const FIXED: usize = 8;
/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const LENGTH: usize = 28;

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// A request; else a reply.
    pub is_request: bool,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address; unspecified in a probe (RFC 5227 §1.1).
    pub sender: Ipv4Addr,
    /// Target hardware address.
    pub target_mac: Mac,
    /// Target protocol address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// The packet behind the link header; `None` where it is cut off, or of other types or lengths than
    /// IPv4 over Ethernet has.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Arp> {
        let arp = ArpPacketSlice::from_slice(payload).ok()?;
        if arp.hw_addr_type() != ArpHardwareId::ETHERNET || arp.proto_addr_type() != EtherType::IPV4 {
            return None;
        }
        let is_request = match arp.operation() {
            ArpOperation::REQUEST => true,
            ArpOperation::REPLY => false,
            _ => return None,
        };
        let mac = |bytes: &[u8]| Some(Mac(<[u8; 6]>::try_from(bytes).ok()?));
        let ip = |bytes: &[u8]| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?));
        Some(Arp {
            is_request,
            sender_mac: mac(arp.sender_hw_addr())?,
            sender: ip(arp.sender_protocol_addr())?,
            target_mac: mac(arp.target_hw_addr())?,
            target: ip(arp.target_protocol_addr())?,
        })
    }

    /// Writes the packet.
    ///
    /// # Panics
    /// Where `out` is shorter than [`LENGTH`].
    pub fn write(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, if self.is_request { 1 } else { 2 }]);
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..28].copy_from_slice(&self.target.octets());
    }

    /// Whether it asks for nobody, but tells of its sender (RFC 5227 §3).
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }

    /// Whether it asks if an address is free (RFC 5227 §1.1): nothing can be learnt from it.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.sender.is_unspecified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Arp {
        Arp {
            is_request: true,
            sender_mac: Mac([2, 0, 0, 0, 0, 9]),
            sender: Ipv4Addr::new(10, 0, 10, 5),
            target_mac: Mac::ZERO,
            target: Ipv4Addr::new(10, 0, 10, 1),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = [0; LENGTH];
        request().write(&mut bytes);
        assert_eq!(Arp::parse(&bytes), Some(request()));
    }

    #[test]
    fn a_cut_off_packet_is_refused_at_every_length() {
        let mut bytes = [0; LENGTH];
        request().write(&mut bytes);
        for length in 0..LENGTH {
            assert_eq!(Arp::parse(&bytes[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn other_types_and_lengths_are_refused() {
        for at in [0, 1, 2, 3, 4, 5, 6, 7] {
            let mut bytes = [0; LENGTH];
            request().write(&mut bytes);
            bytes[at] ^= 0x10;
            assert_eq!(Arp::parse(&bytes), None, "byte {at}");
        }
    }
}
