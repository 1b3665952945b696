//! X01–X17: IPv6 and its extension headers.

use crate::bed::Bed;
use crate::bed::frame::Ip;
use crate::bed::network::{DB, FAR, TRUNK, WAN, WEB, address, open, open_bed};
use classifier::reason::DropReason;
use dataplane::batch::Verdict;
use dataplane::topology::Sanity;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// An extension header of eight bytes with one PadN, from its length on.
const PADDED: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

fn udp() -> Ip {
    Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), b"hello")
}

fn ends(source: &str, destination: &str) -> Ip {
    Ip::udp(address(source), address(destination), (4000, 5000), b"hello")
}

#[track_caller]
fn drops(packet: &Ip, reason: DropReason) {
    open_bed().send(TRUNK, packet.by(&WEB).bytes()).dropped(reason);
}

#[track_caller]
fn passes(packet: &Ip) {
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, packet.by(&WEB).bytes());
    assert_eq!(sent.opened().len(), 18 + packet.bytes().len());
}

/// A fragment header, from its second byte on.
fn place(offset: u16, more: bool) -> [u8; 7] {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    [0, high, low, 0, 0, 0, 9]
}

#[test]
fn x01_another_version_or_a_payload_beyond_the_frame_is_malformed_ip() {
    for version in (0..16).filter(|v| *v != 6) {
        drops(&udp().header(0, &[version << 4]), DropReason::MalformedIp);
    }
    drops(&udp().header(4, &[0, 14]), DropReason::MalformedIp);
    drops(&udp().header(4, &[0xff, 0xff]), DropReason::MalformedIp);
}

#[test]
fn x01_a_jumbo_option_and_next_header_59_are_ipv6_extension() {
    drops(&udp().extension(HOP_BY_HOP, &[0, 0xc2, 4, 0, 1, 0, 0]), DropReason::Ipv6Extension);
    drops(&Ip::new(WEB.v6(), DB.v6(), 59, vec![]), DropReason::Ipv6Extension);
    drops(
        &Ip::new(WEB.v6(), DB.v6(), 59, vec![0; 8]).extension(DESTINATION, &PADDED),
        DropReason::Ipv6Extension,
    );
}

#[test]
fn x02_a_source_that_no_host_has_is_martian() {
    for source in ["::", "::1", "ff02::1", "ff05::2", "::ffff:10.0.10.5"] {
        drops(&ends(source, "fd00:20::9"), DropReason::Martian);
    }
    drops(&ends("fd00:20::9", "fd00:20::9"), DropReason::Martian);
    drops(&ends("fd00:20::9", "fd00:10::9"), DropReason::Spoofed);
}

#[test]
fn x02_a_link_local_end_leaves_its_link_neither_way() {
    drops(&ends("fe80::5", "fd00:20::9"), DropReason::Martian);
    drops(&ends("fd00:10::5", "fe80::9"), DropReason::BadDestination);
    let mut bed = open_bed();
    bed.send(WAN, ends("fe80::5", "fd00:20::9").by(&FAR).bytes()).dropped(DropReason::Martian);
}

#[test]
fn x03_a_destination_that_nothing_is_forwarded_to_is_bad_destination() {
    for destination in ["::", "::1", "::ffff:10.0.20.9", "ff02::1", "ff05::2", "ff0e::1"] {
        drops(&ends("fd00:10::5", destination), DropReason::BadDestination);
    }
}

#[test]
fn x04_hop_by_hop_options_not_first_or_twice_are_ipv6_extension() {
    passes(&udp().extension(HOP_BY_HOP, &PADDED));
    drops(&udp().extension(HOP_BY_HOP, &PADDED).extension(HOP_BY_HOP, &PADDED), DropReason::Ipv6Extension);
    drops(&udp().extension(DESTINATION, &PADDED).extension(HOP_BY_HOP, &PADDED), DropReason::Ipv6Extension);
}

#[test]
fn x05_too_many_headers_or_bytes_of_them_are_ipv6_extension() {
    let two = udp().extension(DESTINATION, &PADDED).extension(DESTINATION, &PADDED);
    passes(&two);
    drops(&two.extension(DESTINATION, &PADDED), DropReason::Ipv6Extension);
    let fits = |units: u8| {
        [vec![units, 1, units.wrapping_mul(8).wrapping_add(4)], vec![0; usize::from(units) * 8 + 4]].concat()
    };
    passes(&udp().extension(DESTINATION, &fits(30)));
    let over = udp().extension(HOP_BY_HOP, &fits(15)).extension(DESTINATION, &fits(15));
    passes(&over);
    drops(&over.extension(DESTINATION, &PADDED), DropReason::Ipv6Extension);
}

#[test]
fn x06_any_routing_header_is_ip_options_unless_they_are_let_through() {
    for kind in [0, 2, 3, 4] {
        drops(&udp().extension(ROUTING, &[0, kind, 0, 0, 0, 0, 0]), DropReason::IpOptions);
    }
    let mut setup = open();
    setup.topology.sanity = Sanity { pass_ip_options: true };
    let routing = udp().extension(ROUTING, &[0, 4, 0, 0, 0, 0, 0]);
    Bed::new(setup.clone()).send(TRUNK, routing.by(&WEB).bytes()).opened();
    let twice = routing.extension(ROUTING, &[0, 4, 0, 0, 0, 0, 0]);
    Bed::new(setup).send(TRUNK, twice.by(&WEB).bytes()).dropped(DropReason::Ipv6Extension);
}

#[test]
fn x07_an_unknown_next_header_is_a_protocol_like_any_other() {
    for protocol in [4, 41, 47, 89, 135, 139, 140, 200, 253] {
        passes(&Ip::new(WEB.v6(), DB.v6(), protocol, vec![0; 16]));
    }
}

#[test]
fn x08_an_option_that_overruns_or_asks_to_be_dropped_is_ipv6_extension() {
    for kind in [HOP_BY_HOP, DESTINATION] {
        for first in [0x40, 0x80, 0xc0, 0x5e, 0xc9] {
            drops(&udp().extension(kind, &[0, first, 4, 0, 0, 0, 0]), DropReason::Ipv6Extension);
        }
        drops(&udp().extension(kind, &[0, 1, 5, 0, 0, 0, 0]), DropReason::Ipv6Extension);
        drops(&udp().extension(kind, &[0, 1, 3, 0, 0, 0, 5]), DropReason::Ipv6Extension);
        passes(&udp().extension(kind, &[0, 0x1e, 4, 1, 2, 3, 4]));
        passes(&udp().extension(kind, &[0, 0, 0, 0, 0, 0, 0]));
    }
}

#[test]
fn x09_a_first_fragment_without_the_whole_chain_and_header_is_ipv6_extension() {
    let tcp = Ip::tcp(WEB.v6(), DB.v6(), (4000, 5000), 2, (1, 0), &[0; 44]);
    drops(&tcp.clone().cut(0..16).extension(FRAGMENT, &place(0, true)), DropReason::Ipv6Extension);
    passes(&tcp.cut(0..24).extension(FRAGMENT, &place(0, true)));
    // The chain goes on in the next fragment.
    let cut = Ip::new(WEB.v6(), DB.v6(), 17, vec![0; 4]).extension(FRAGMENT, &place(0, true));
    let cut = cut.extension(DESTINATION, &[3, 1, 28, 0]);
    drops(&cut, DropReason::Ipv6Extension);
}

#[test]
fn x10_an_overlap_kills_the_datagram_whatever_next_header_it_names() {
    let mut bed = open_bed();
    let whole = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), &[0; 64]);
    let mut send = |range, at: u16, more| {
        bed.send(TRUNK, whole.clone().cut(range).extension(FRAGMENT, &place(at, more)).by(&WEB).bytes())
    };
    send(0..32, 0, true).opened();
    send(32..48, 32, true).followed(dataplane::batch::FlowRole::Established);
    send(40..48, 40, true).dropped(DropReason::FragmentInvalid);
    send(48..72, 48, false).dropped(DropReason::FragmentInvalid);
    let mut bed = open_bed();
    bed.send(TRUNK, whole.clone().cut(0..32).extension(FRAGMENT, &place(0, true)).by(&WEB).bytes()).opened();
    let tcp = Ip::tcp(WEB.v6(), DB.v6(), (4000, 22), 2, (1, 0), &[0; 4]);
    let other = tcp.cut(0..24).extension(FRAGMENT, &place(0, true));
    bed.send(TRUNK, other.by(&WEB).bytes()).dropped(DropReason::FragmentInvalid);
}

#[test]
fn x10_a_first_with_more_headers_behind_its_own_fits_what_follows() {
    let mut bed = open_bed();
    let whole = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), &[0; 64]);
    let first = whole.clone().cut(0..24).extension(HOP_BY_HOP, &PADDED).extension(FRAGMENT, &place(0, true));
    bed.send(TRUNK, first.extension(DESTINATION, &PADDED).by(&WEB).bytes()).opened();
    let last = whole.cut(24..72).extension(HOP_BY_HOP, &PADDED).extension(FRAGMENT, &place(32, false));
    bed.send(TRUNK, last.by(&WEB).bytes()).followed(dataplane::batch::FlowRole::Established);
    assert_eq!(bed.engine.fragments().datagrams, 0, "its bytes are all there");
}

#[test]
fn x11_an_atomic_fragment_is_never_mixed_with_others() {
    let mut bed = open_bed();
    let whole = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), &[0; 64]);
    bed.send(TRUNK, whole.clone().cut(0..32).extension(FRAGMENT, &place(0, true)).by(&WEB).bytes()).opened();
    let atomic = udp().extension(FRAGMENT, &place(0, false)).by(&WEB).bytes();
    bed.send(TRUNK, atomic).followed(dataplane::batch::FlowRole::Established);
    let last = whole.cut(32..72).extension(FRAGMENT, &place(32, false)).by(&WEB).bytes();
    bed.send(TRUNK, last).followed(dataplane::batch::FlowRole::Established);
}

#[test]
fn x11_an_atomic_fragment_is_a_packet_by_itself() {
    passes(&udp().extension(FRAGMENT, &place(0, false)));
}

#[test]
fn x12_a_fragment_in_a_fragment_is_fragment_invalid() {
    let twice = udp().extension(FRAGMENT, &place(0, false)).extension(FRAGMENT, &place(0, false));
    drops(&twice, DropReason::FragmentInvalid);
}

#[test]
fn x13_bad_lengths_of_fragments_are_fragment_invalid() {
    let whole = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), &[0; 64]);
    drops(&whole.clone().cut(0..33).extension(FRAGMENT, &place(0, true)), DropReason::FragmentInvalid);
    drops(&whole.clone().cut(0..0).extension(FRAGMENT, &place(32, true)), DropReason::FragmentInvalid);
    drops(&whole.cut(0..32).extension(FRAGMENT, &place(0xfff8, false)), DropReason::FragmentInvalid);
}

#[test]
fn x14_a_hop_limit_of_0_is_silent_and_of_1_draws_time_exceeded() {
    drops(&udp().ttl(0), DropReason::TtlExpired);
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, udp().ttl(1).by(&WEB).bytes());
    let answer = sent.answered(Verdict::Drop, DropReason::TtlExpired);
    assert_eq!(answer[18 + 40..18 + 42], [3, 0]);
    assert_eq!(&answer[18 + 48..], udp().ttl(1).bytes());
}

#[test]
fn x15_esp_and_ah_are_flows_by_addresses_and_protocol() {
    use dataplane::batch::FlowRole::{Established, Reply};
    for protocol in [50, 51] {
        let mut bed = open_bed();
        // As AH it has the protocol 253 behind it.
        let body = |byte| [&[253, 4, 0, 0], [byte; 20].as_slice()].concat();
        let packet = |byte| Ip::new(WEB.v6(), DB.v6(), protocol, body(byte));
        bed.send(TRUNK, packet(1).by(&WEB).bytes()).opened();
        bed.send(TRUNK, packet(2).by(&WEB).bytes()).followed(Established);
        let back = Ip::new(DB.v6(), WEB.v6(), protocol, body(3));
        bed.send(TRUNK, back.by(&DB).bytes()).followed(Reply);
    }
}

#[test]
fn x16_the_flow_label_means_nothing() {
    let mut bed = open_bed();
    bed.send(TRUNK, udp().header(0, &[0x6f, 0xff, 0xff, 0xff]).by(&WEB).bytes()).opened();
    let other = udp().header(0, &[0x60, 1, 2, 3]).by(&WEB).bytes();
    bed.send(TRUNK, other).followed(dataplane::batch::FlowRole::Established);
}

#[test]
fn x17_a_length_that_runs_out_of_the_packet_is_ipv6_extension() {
    for kind in [HOP_BY_HOP, DESTINATION] {
        drops(&udp().extension(kind, &[2, 1, 4, 0, 0, 0, 0]), DropReason::Ipv6Extension);
        drops(&udp().extension(kind, &[255, 1, 4, 0, 0, 0, 0]), DropReason::Ipv6Extension);
    }
    drops(&Ip::new(WEB.v6(), DB.v6(), DESTINATION, vec![17]), DropReason::Ipv6Extension);
    drops(&Ip::new(WEB.v6(), DB.v6(), FRAGMENT, vec![17, 0, 0, 0, 0]), DropReason::Ipv6Extension);
}
