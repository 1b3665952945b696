//! Whether a frame that left is sound, by etherparse's word: nothing that the gateway sends may be broken.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Panics where the frame's lengths or checksums are wrong.
pub(crate) fn check(frame: &[u8]) {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else {
        panic!("etherparse refuses what left: {frame:02x?}");
    };
    let (v4, v6) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(
                header.header_checksum,
                header.calc_header_checksum(),
                "header checksum: {frame:02x?}"
            );
            (Some((header.source, header.destination)), None)
        }
        Some(NetSlice::Ipv6(ip)) => (None, Some((ip.header().source(), ip.header().destination()))),
        Some(NetSlice::Arp(_)) | None => return,
    };
    let (stated, right) = match (&sliced.transport, v4, v6) {
        (Some(TransportSlice::Tcp(tcp)), Some((from, to)), _) => {
            (tcp.checksum(), tcp.calc_checksum_ipv4(from, to).unwrap())
        }
        (Some(TransportSlice::Tcp(tcp)), _, Some((from, to))) => {
            (tcp.checksum(), tcp.calc_checksum_ipv6(from, to).unwrap())
        }
        (Some(TransportSlice::Icmpv4(icmp)), ..) => {
            (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()))
        }
        (Some(TransportSlice::Icmpv6(icmp)), _, Some((from, to))) => {
            assert!(icmp.is_checksum_valid(from, to), "ICMPv6 checksum: {frame:02x?}");
            return;
        }
        _ => return,
    };
    assert_eq!(stated, right, "checksum: {frame:02x?}");
}
