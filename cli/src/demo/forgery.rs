//! Frames that no decent host sends.

use classifier::addr::Mac;
use classifier::wire::checksum::Sum;
use classifier::wire::protocol;
use std::net::Ipv4Addr;

/// A TCP segment without data over IPv4, in one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) source_mac: Mac,
    pub(super) destination_mac: Mac,
    /// The VLAN of its tag; `None`: it has no tag.
    pub(super) vlan: Option<u16>,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) ports: (u16, u16),
    pub(super) flags: u8,
}

/// The shortest frame without its FCS (IEEE 802.3 §3.2.8).
const SHORTEST: usize = 60;

impl Segment {
    /// The frame as it is on the wire.
    pub(super) fn frame(&self) -> Vec<u8> {
        let (source, destination) = (self.source.octets(), self.destination.octets());
        let mut frame = [self.destination_mac.0, self.source_mac.0].concat();
        if let Some(vid) = self.vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(vid.to_be_bytes());
        }
        frame.extend([0x08, 0x00]);
        // RFC 791 §3.1: version and length, total length 40, do not fragment, TTL 64.
        let mut ip = [0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol::TCP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ip[12..16].copy_from_slice(&source);
        ip[16..20].copy_from_slice(&destination);
        let sum = Sum::ZERO.bytes(&ip).checksum();
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        // RFC 9293 §3.1: ports, sequence, acknowledgment, five words, flags, window.
        let mut tcp = [0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x20, 0, 0x50, self.flags, 0xfa, 0xf0, 0, 0, 0, 0];
        tcp[..2].copy_from_slice(&self.ports.0.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.ports.1.to_be_bytes());
        let pseudo = Sum::ZERO.bytes(&source).bytes(&destination).word(protocol::TCP.into()).word(20);
        let sum = pseudo.bytes(&tcp).checksum();
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend(tcp);
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::wire::Packet;

    #[test]
    fn a_segment_has_no_fault_but_what_it_says() {
        let segment = Segment {
            source_mac: Mac([2, 0, 0, 0, 0, 9]),
            destination_mac: Mac([2, 0, 0, 0, 0, 1]),
            vlan: Some(99),
            source: Ipv4Addr::new(10, 0, 20, 10),
            destination: Ipv4Addr::new(10, 0, 30, 10),
            ports: (40_000, 5432),
            flags: 0x02,
        };
        let packet = Packet::parse(&segment.frame());
        assert_eq!(packet.faults, classifier::wire::Faults::default(), "{packet:?}");
        assert_eq!((packet.link.vid(), packet.source_port, packet.destination_port), (99, 40_000, 5432));
        assert_eq!(packet.destination().to_string(), "10.0.30.10");
    }
}
