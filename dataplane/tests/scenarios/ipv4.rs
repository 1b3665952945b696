//! I01–I14: the IPv4 header.

use crate::bed::frame::Ip;
use crate::bed::network::{DB, DESK, FAR, PRINTER, TRUNK, WAN, WEB, address, open, open_bed};
use crate::bed::{Bed, Setup};
use classifier::reason::DropReason;
use dataplane::batch::Verdict;
use dataplane::topology::Sanity;

fn udp() -> Ip {
    Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), b"hello")
}

fn from(source: &str) -> Ip {
    Ip::udp(address(source), DB.v4(), (4000, 5000), b"hello")
}

fn to(destination: &str) -> Ip {
    Ip::udp(WEB.v4(), address(destination), (4000, 5000), b"hello")
}

#[track_caller]
fn drops(packet: &Ip, reason: DropReason) {
    open_bed().send(TRUNK, packet.by(&WEB).bytes()).dropped(reason);
}

#[test]
fn i01_another_version_is_malformed_ip() {
    for version in (0..16).filter(|v| *v != 4) {
        drops(&udp().header(0, &[version << 4 | 5]), DropReason::MalformedIp);
    }
}

#[test]
fn i02_a_header_length_below_5_or_beyond_the_frame_is_malformed_ip() {
    for words in 0..5 {
        drops(&udp().header(0, &[0x40 | words]), DropReason::MalformedIp);
    }
    drops(&udp().header(0, &[0x4f]), DropReason::MalformedIp);
}

#[test]
fn i03_a_total_length_below_the_header_is_malformed_ip() {
    for length in [0, 1, 19] {
        drops(&udp().header(2, &[0, length]), DropReason::MalformedIp);
    }
}

#[test]
fn i04_a_total_length_beyond_the_frame_is_malformed_ip() {
    let length = udp().bytes().len() as u16;
    drops(&udp().header(2, &(length + 1).to_be_bytes()), DropReason::MalformedIp);
    drops(&udp().header(2, &[0xff, 0xff]), DropReason::MalformedIp);
}

#[test]
fn i05_a_frame_longer_than_the_total_length_is_trimmed() {
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, udp().by(&WEB).padded(&[0xee; 40]).bytes());
    assert_eq!(sent.opened().len(), 18 + udp().bytes().len());
}

#[test]
fn i06_a_bad_header_checksum_is_malformed_ip() {
    drops(&udp().header_raw(10, &[0x12, 0x34]), DropReason::MalformedIp);
    drops(&udp().header_raw(8, &[63]), DropReason::MalformedIp);
}

#[test]
fn i07_a_ttl_of_0_is_dropped_in_silence_and_of_1_with_time_exceeded_but_a_bridge_takes_no_hop() {
    drops(&udp().ttl(0), DropReason::TtlExpired);
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, udp().ttl(1).by(&WEB).bytes());
    let answer = sent.answered(Verdict::Drop, DropReason::TtlExpired);
    assert_eq!(
        answer[18 + 12..18 + 22],
        [10, 0, 10, 1, 10, 0, 10, 5, 11, 0],
        "from the gateway to the sender"
    );
    assert_eq!(&answer[18 + 28..], udp().ttl(1).bytes(), "it quotes the packet");
    for ttl in [0, 1] {
        let packet = Ip::udp(DESK.v4(), PRINTER.v4(), (4000, 5000), b"hello").ttl(ttl);
        let sent = open_bed().send(TRUNK, packet.between_macs(&DESK, PRINTER.mac).bytes());
        sent.must_be(Verdict::Forward, None);
        assert_eq!(sent.left[0].1[18 + 8], ttl);
    }
}

#[test]
fn i08_a_source_that_no_host_has_is_martian() {
    let martians =
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"];
    for source in martians {
        drops(&from(source), DropReason::Martian);
    }
}

#[test]
fn i08_a_source_that_is_not_the_vlans_is_spoofed() {
    for source in ["10.0.10.1", "10.0.20.1", "10.0.10.255", "10.0.20.8", "192.0.2.9", "8.8.8.8", "10.9.1.1"] {
        drops(&from(source), DropReason::Spoofed);
    }
    // What is behind a router of the VLAN comes from there.
    let mut bed = open_bed();
    let behind = Ip::udp(address("10.9.1.1"), WEB.v4(), (4000, 5000), b"hello");
    bed.send(TRUNK, behind.by(&DB).bytes()).opened();
}

#[test]
fn i09_a_destination_that_nothing_is_forwarded_to_is_bad_destination() {
    let bad = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.20.255",
        "10.0.10.255",
        "224.0.0.5",
        "239.1.1.1",
    ];
    for destination in bad {
        drops(&to(destination), DropReason::BadDestination);
    }
}

#[test]
fn i10_a_source_equal_to_its_destination_is_martian() {
    drops(&to("10.0.10.5"), DropReason::Martian);
}

#[test]
fn i11_the_reserved_flag_is_malformed_ip() {
    drops(&udp().fragment(0x8000), DropReason::MalformedIp);
}

#[test]
fn i12_df_with_mf_or_with_an_offset_is_fragment_invalid() {
    let packet = Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &[0; 24]);
    drops(&packet.clone().fragment(0x6000), DropReason::FragmentInvalid);
    drops(&packet.fragment(0x4002), DropReason::FragmentInvalid);
}

#[test]
fn i13_any_option_is_ip_options_unless_they_are_let_through() {
    let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
    for options in [[1, 1, 1, 1, 1, 1, 1, 0], record_route, [0x94, 4, 0, 0, 0, 0, 0, 0]] {
        drops(&udp().options(&options), DropReason::IpOptions);
    }
    let mut setup = open();
    setup.topology.sanity = Sanity { pass_ip_options: true };
    let mut bed = Bed::new(Setup { ..setup });
    let sent = bed.send(TRUNK, udp().options(&record_route).by(&WEB).bytes());
    assert_eq!(sent.opened()[18 + 20..18 + 28], record_route);
}

#[test]
fn i14_protocols_0_and_255_are_malformed_ip() {
    for protocol in [0, 255] {
        drops(&Ip::new(WEB.v4(), DB.v4(), protocol, vec![0; 20]), DropReason::MalformedIp);
    }
    let mut bed = open_bed();
    bed.send(TRUNK, Ip::new(WEB.v4(), DB.v4(), 253, vec![0; 20]).by(&WEB).bytes()).opened();
}

#[test]
fn a_guard_that_is_off_lets_foreign_sources_in_but_no_martians() {
    let mut bed = open_bed();
    bed.send(WAN, Ip::udp(address("8.8.8.8"), DB.v4(), (53, 5000), b"hello").by(&FAR).bytes()).opened();
    let martian = Ip::udp(address("127.0.0.1"), DB.v4(), (53, 5000), b"hello");
    bed.send(WAN, martian.by(&FAR).bytes()).dropped(DropReason::Martian);
}
