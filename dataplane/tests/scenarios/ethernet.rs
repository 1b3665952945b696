//! E01–E15: Ethernet and VLAN.

use crate::bed::frame::{Eth, Ip};
use crate::bed::network::{DB, DESK, FAR, PRINTER, TRUNK, TRUNK_MAC, WAN, WEB, address, open_bed};
use classifier::addr::Mac;
use classifier::reason::DropReason;

fn udp() -> Ip {
    Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), b"hello")
}

fn frame() -> Eth {
    udp().by(&WEB)
}

#[test]
fn e01_a_multicast_broadcast_or_zero_source_mac_is_bad_source_mac() {
    let mut bed = open_bed();
    for mac in [Mac([1, 0, 0x5e, 0, 0, 1]), Mac::BROADCAST, Mac::ZERO, Mac([3, 0, 0, 0, 0, 1])] {
        bed.send(TRUNK, frame().from(mac).bytes()).dropped(DropReason::BadSourceMac);
    }
    bed.send(TRUNK, frame().bytes()).opened();
}

#[test]
fn e02_padding_beyond_the_ip_length_never_leaves() {
    let mut bed = open_bed();
    let plain = bed.send(TRUNK, frame().bytes()).opened().to_vec();
    let mut bed = open_bed();
    let padded = bed.send(TRUNK, frame().padded(b"the secret of another packet").bytes());
    assert_eq!(padded.opened(), plain);
}

#[test]
fn e03_an_untagged_frame_on_a_port_without_vlan_0_is_unknown_vlan() {
    let mut bed = open_bed();
    bed.send(TRUNK, frame().tags(&[]).bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e04_a_priority_tag_counts_as_untagged_and_its_priority_is_kept() {
    let mut bed = open_bed();
    let tagged = Ip::udp(FAR.v4(), DB.v4(), (4000, 5000), b"hello").by(&FAR).tags(&[(0x8100, 0xa000)]);
    let sent = bed.send(WAN, tagged.bytes());
    assert_eq!(sent.opened()[12..18], [0x81, 0, 0xa0, 20, 8, 0]);
    bed.send(TRUNK, frame().tags(&[(0x8100, 0xe000)]).bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e05_vid_4095_is_unknown_vlan() {
    let mut bed = open_bed();
    bed.send(TRUNK, frame().tags(&[(0x8100, 4095)]).bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e06_a_vid_that_the_port_has_not_is_unknown_vlan() {
    let mut bed = open_bed();
    bed.send(TRUNK, frame().tags(&[(0x8100, 11)]).bytes()).dropped(DropReason::UnknownVlan);
    bed.send(WAN, frame().tags(&[(0x8100, 10)]).bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e07_two_or_more_tags_of_any_kind_are_unknown_vlan() {
    let mut bed = open_bed();
    for outer in [0x8100, 0x88a8, 0x9100] {
        for inner in [0x8100, 0x88a8, 0x9100] {
            let tags = [(outer, 10), (inner, 10)];
            bed.send(TRUNK, frame().tags(&tags).bytes()).dropped(DropReason::UnknownVlan);
        }
    }
    let many: Vec<(u16, u16)> = vec![(0x8100, 10); 20];
    bed.send(TRUNK, frame().tags(&many).bytes()).dropped(DropReason::UnknownVlan);
    bed.send(TRUNK, frame().tags(&[(0x88a8, 10)]).bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e08_an_outer_tag_of_ours_is_never_popped_to_show_a_foreign_one() {
    let mut bed = open_bed();
    let hopping =
        Ip::udp(WEB.v4(), FAR.v4(), (4000, 5000), b"hop").by(&WEB).tags(&[(0x8100, 10), (0x8100, 20)]);
    bed.send(TRUNK, hopping.bytes()).dropped(DropReason::UnknownVlan);
    // A priority tag before it makes it no better.
    let hidden = hopping.tags(&[(0x8100, 0), (0x8100, 20)]);
    bed.send(WAN, hidden.bytes()).dropped(DropReason::UnknownVlan);
}

#[test]
fn e09_802_3_llc_and_snap_are_unsupported_ethertype() {
    let mut bed = open_bed();
    let ip = udp().bytes();
    let llc = Eth::new(&WEB, TRUNK_MAC, 46, vec![0x42; 46]);
    let snap_payload = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], ip.as_slice()].concat();
    let snap = Eth::new(&WEB, TRUNK_MAC, snap_payload.len() as u16, snap_payload);
    bed.send(TRUNK, llc.bytes()).dropped(DropReason::UnsupportedEthertype);
    bed.send(TRUNK, snap.bytes()).dropped(DropReason::UnsupportedEthertype);
}

#[test]
fn e10_stp_lldp_and_lacp_are_unsupported_ethertype() {
    let mut bed = open_bed();
    let group = |last| Mac([1, 0x80, 0xc2, 0, 0, last]);
    for (to, kind) in [(group(0), 38), (group(0xe), 0x88cc), (group(2), 0x8809)] {
        let frame = Eth::new(&FAR, to, kind, vec![0x42; 46]);
        bed.send(WAN, frame.bytes()).dropped(DropReason::UnsupportedEthertype);
    }
}

#[test]
fn e11_mpls_pppoe_and_the_like_are_unsupported_ethertype() {
    let mut bed = open_bed();
    for kind in [0x8847, 0x8848, 0x8863, 0x8864, 0x88e5, 0x22f3, 0xffff] {
        let frame = Eth::new(&WEB, TRUNK_MAC, kind, udp().bytes());
        bed.send(TRUNK, frame.bytes()).dropped(DropReason::UnsupportedEthertype);
    }
}

#[test]
fn e12_a_frame_longer_than_mtu_and_tag_allow_is_oversize() {
    let mut bed = open_bed();
    let of = |length: usize| Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &vec![0; length - 28]).by(&WEB);
    bed.send(TRUNK, of(1500).bytes()).opened();
    bed.send(TRUNK, of(1501).bytes()).dropped(DropReason::Oversize);
    bed.send(TRUNK, of(1500).padded(&[0]).bytes()).dropped(DropReason::Oversize);
    // It comes before all that is wrong with it besides.
    bed.send(TRUNK, of(1501).from(Mac::ZERO).bytes()).dropped(DropReason::Oversize);
    bed.send(TRUNK, of(1501).tags(&[(0x8100, 10), (0x8100, 9)]).bytes()).dropped(DropReason::Oversize);
}

#[test]
fn e13_a_station_seen_elsewhere_less_than_a_second_ago_is_spoofed_and_not_relearned() {
    let mut bed = open_bed();
    let ping = Ip::ping(DESK.v4(), PRINTER.v4(), 7).between_macs(&DESK, PRINTER.mac);
    // Nobody knows the printer yet: it is flooded, and the desk is learned.
    assert_eq!(bed.send(TRUNK, ping.bytes()).left.len(), 2);
    let thief = Ip::ping(PRINTER.v4(), DESK.v4(), 8).between_macs(&PRINTER, DESK.mac).from(DESK.mac);
    bed.send(TRUNK, thief.bytes()).dropped(DropReason::Spoofed);
    bed.wait(std::time::Duration::from_millis(999));
    bed.send(TRUNK, thief.bytes()).dropped(DropReason::Spoofed);
    let answer = Ip::icmp(PRINTER.v4(), DESK.v4(), 0, 0, &[0, 7, 0, 1, b'h', b'i']);
    let back = bed.send(TRUNK, answer.between_macs(&PRINTER, DESK.mac).bytes());
    assert_eq!(back.only()[14..16], [0, 110], "the desk is still where it was");
    bed.wait(std::time::Duration::from_millis(1));
    bed.send(TRUNK, thief.to(CAMERA_MAC).bytes()).must_be(dataplane::batch::Verdict::Forward, None);
}

const CAMERA_MAC: Mac = Mac([2, 0, 0, 0, 0x13, 3]);

#[test]
fn e14_unicast_to_anothers_mac_is_not_for_us() {
    let mut bed = open_bed();
    bed.send(TRUNK, frame().to(DB.mac).bytes()).dropped(DropReason::NotForUs);
}

#[test]
fn e15_a_group_mac_with_a_unicast_destination_is_bad_destination() {
    let mut bed = open_bed();
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1])] {
        bed.send(TRUNK, frame().to(mac).bytes()).dropped(DropReason::BadDestination);
        let long = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), b"hello").by(&WEB).to(mac);
        bed.send(TRUNK, long.bytes()).dropped(DropReason::BadDestination);
        let stitched = Ip::udp(DESK.v4(), PRINTER.v4(), (4000, 5000), b"hello").between_macs(&DESK, mac);
        bed.send(TRUNK, stitched.bytes()).dropped(DropReason::BadDestination);
    }
}

#[test]
fn a_frame_shorter_than_its_fixed_headers_is_a_runt() {
    let mut bed = open_bed();
    let whole = frame().bytes();
    for length in 0..18 + 20 {
        bed.send(TRUNK, &whole[..length]).dropped(DropReason::Runt);
    }
    let long = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), b"").by(&WEB).bytes();
    for length in 0..18 + 40 {
        bed.send(TRUNK, &long[..length]).dropped(DropReason::Runt);
    }
    let arp = crate::bed::frame::arp(&WEB, 1, WEB.v4(), address("10.0.10.1")).bytes();
    for length in 0..18 + 8 {
        bed.send(TRUNK, &arp[..length]).dropped(DropReason::Runt);
    }
}
