//! Every answer is a frame that the parser finds no fault with.

use super::*;
use classifier::wire::arp::Arp;
use classifier::wire::{Kind, Packet, TcpFlags, TcpSegment, Upper};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const LINK: LinkHeader =
    LinkHeader { destination: Mac([2, 0, 0, 0, 0, 9]), source: Mac([2, 0, 0, 0, 0, 1]), tag: Some(0x600a) };
const OWN4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 10, 1));
const HOST4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 10, 5));
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 1);
const HOST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 5);

fn sound(frame: &[u8]) -> Packet {
    let packet = Packet::parse(frame);
    assert!(packet.faults.is_empty(), "{:?}", packet.faults.first());
    assert_eq!(packet.end as usize, frame.len());
    assert_eq!((packet.link.control, packet.link.vid()), (0x600a, 10));
    packet
}

#[test]
fn icmp_errors_of_both_families_are_sound_and_quote_what_fits() {
    let mut out = [0; LARGEST];
    let quoted = [0x45; 3000];
    let errors = [
        IcmpError::TimeExceeded,
        IcmpError::NoRoute,
        IcmpError::HostUnreachable,
        IcmpError::Prohibited,
        IcmpError::TooBig(1400),
    ];
    for error in errors {
        let length = icmp_error(&mut out, &LINK, OWN4, HOST4, error, &quoted).expect("one family");
        let packet = sound(&out[..length]);
        assert_eq!((packet.upper, packet.ip_length()), (Upper::IcmpError, 576));
        let length =
            icmp_error(&mut out, &LINK, OWN6.into(), HOST6.into(), error, &quoted).expect("one family");
        let packet = sound(&out[..length]);
        assert_eq!((packet.upper, packet.ip_length()), (Upper::IcmpError, 1280));
    }
    assert_eq!(icmp_error(&mut out, &LINK, OWN4, HOST6.into(), IcmpError::NoRoute, &quoted), None);
}

#[test]
fn a_reset_acknowledges_all_that_the_segment_took() {
    let mut out = [0; LARGEST];
    let segment = TcpSegment {
        flags: TcpFlags(TcpFlags::SYN),
        sequence: u32::MAX,
        acknowledgment: 0,
        window: 100,
        options: &[],
        payload_length: 10,
    };
    let length = reset(&mut out, &LINK, (OWN4, 443), (HOST4, 50_000), &segment).expect("one family");
    let packet = sound(&out[..length]);
    assert_eq!(packet.upper, Upper::Tcp(TcpFlags(TcpFlags::RST | TcpFlags::ACK)));
    assert_eq!((packet.source_port, packet.destination_port), (443, 50_000));
    assert_eq!(out[18 + 20 + 8..18 + 20 + 12], 10_u32.to_be_bytes());
}

#[test]
fn echo_replies_carry_the_request_back() {
    let mut out = [0; 2048];
    let request = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'h', b'i'];
    let length = echo_reply(&mut out, &LINK, OWN4, HOST4, &request).expect("it fits");
    let packet = sound(&out[..length]);
    assert!(matches!(packet.upper, Upper::IcmpQuery(q) if !q.is_request && q.identifier == 0x1234));
    assert_eq!(&out[length - 2..length], b"hi");
    let length = echo_reply(&mut out, &LINK, OWN6.into(), HOST6.into(), &request).expect("it fits");
    assert!(matches!(sound(&out[..length]).upper, Upper::IcmpQuery(q) if !q.is_request));
}

#[test]
fn neighbor_messages_are_sound() {
    let mut out = [0; LARGEST];
    let mac = LINK.source;
    for asker in [HOST6, Ipv6Addr::UNSPECIFIED] {
        let length = neighbor_advertisement(&mut out, &LINK, OWN6, mac, asker);
        assert_eq!(sound(&out[..length]).upper, Upper::Nd(136));
    }
    let length = neighbor_solicitation(&mut out, &LINK, OWN6, mac, HOST6);
    assert_eq!(sound(&out[..length]).upper, Upper::Nd(135));
    let request = Arp {
        is_request: true,
        sender_mac: mac,
        sender: Ipv4Addr::new(10, 0, 10, 1),
        target_mac: Mac::ZERO,
        target: Ipv4Addr::new(10, 0, 10, 5),
    };
    let length = arp(&mut out, &LINK, &request);
    assert_eq!(sound(&out[..length]).kind, Kind::Arp);
    assert_eq!(Arp::parse(&out[18..length]), Some(request));
}
