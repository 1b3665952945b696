//! A01–A10 and N01–N04: address resolution.

use crate::bed::frame::{Eth, Ip, arp, link_option, nd};
use crate::bed::network::{DB, DESK, SHY, TRUNK, TRUNK_MAC, WEB, address, open_bed};
use classifier::addr::Mac;
use classifier::reason::DropReason;
use dataplane::batch::Verdict;

const GATEWAY: &str = "10.0.10.1";
const SOLICIT: u8 = 135;
const ADVERTISE: u8 = 136;

#[track_caller]
fn refused(frame: &Eth) {
    open_bed().send(TRUNK, frame.bytes()).dropped(DropReason::ArpInvalid);
}

/// Whether the gateway sends to SHY at once, since it knows the MAC.
fn knows_shy(bed: &mut crate::bed::Bed) -> bool {
    let sent = bed.send(TRUNK, Ip::udp(WEB.v4(), SHY.v4(), (4000, 5000), b"?").by(&WEB).bytes());
    sent.outcome.verdict == Verdict::Forward && sent.only()[..6] == SHY.mac.0
}

#[test]
fn a_request_for_the_gateway_is_answered_with_its_mac() {
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, arp(&WEB, 1, WEB.v4(), address(GATEWAY)).bytes());
    let reply = sent.replied();
    assert_eq!(reply[..18], [&WEB.mac.0[..], &TRUNK_MAC.0, &[0x81, 0, 0, 10, 8, 6]].concat());
    let body = [&[0, 1, 8, 0, 6, 4, 0, 2][..], &TRUNK_MAC.0, &[10, 0, 10, 1], &WEB.mac.0, &[10, 0, 10, 5]];
    assert_eq!(reply[18..], body.concat());
}

#[test]
fn what_the_gateway_merely_hears_is_local() {
    let mut bed = open_bed();
    bed.send(TRUNK, arp(&WEB, 1, WEB.v4(), address("10.0.10.77")).bytes()).noted();
    bed.send(TRUNK, arp(&WEB, 2, WEB.v4(), address("10.0.10.77")).bytes()).noted();
}

#[test]
fn a01_a_sender_address_that_is_not_of_the_vlan_is_arp_invalid() {
    for sender in ["10.0.20.9", "192.0.2.9", "8.8.8.8", "10.0.10.255", "127.0.0.1"] {
        refused(&arp(&WEB, 1, address(sender), address(GATEWAY)));
        refused(&arp(&WEB, 2, address(sender), address(GATEWAY)));
    }
}

#[test]
fn a02_a_sender_address_bound_to_another_mac_is_arp_invalid() {
    refused(&arp(&SHY, 1, DB.v4(), address("10.0.20.1")));
    open_bed().send(TRUNK, arp(&DB, 1, DB.v4(), address("10.0.20.77")).bytes()).noted();
}

#[test]
fn a03_gratuitous_arp_is_learnt_only_when_an_entry_exists() {
    let mut bed = open_bed();
    let gratuitous = arp(&SHY, 1, SHY.v4(), SHY.v4());
    bed.send(TRUNK, gratuitous.bytes()).noted();
    assert!(!knows_shy(&mut bed), "nobody had asked for it");
    // Now the gateway asks, so there is an entry.
    let sent = bed.send(TRUNK, gratuitous.bytes());
    assert_eq!(sent.late.len(), 1, "the frame that waited goes");
    assert!(knows_shy(&mut bed));
}

#[test]
fn a04_an_ethernet_source_that_is_not_the_sender_is_arp_invalid() {
    refused(&arp(&WEB, 1, WEB.v4(), address(GATEWAY)).from(Mac([2, 0, 0, 0, 0, 0x66])));
}

#[test]
fn a05_a_probe_is_answered_where_it_is_for_the_gateway_and_nothing_is_learnt() {
    let mut bed = open_bed();
    let nobody = address("0.0.0.0");
    bed.send(TRUNK, arp(&SHY, 1, nobody, SHY.v4()).bytes()).noted();
    bed.send(TRUNK, arp(&SHY, 1, nobody, address("10.0.20.1")).bytes()).replied();
    assert!(!knows_shy(&mut bed));
}

#[test]
fn a06_a_multicast_sender_is_arp_invalid_or_bad_source_mac() {
    let group = Mac([3, 0, 0, 0, 0, 1]);
    let mut frame = arp(&WEB, 1, WEB.v4(), address(GATEWAY));
    frame.payload[8..14].copy_from_slice(&group.0);
    refused(&frame);
    open_bed().send(TRUNK, frame.from(group).bytes()).dropped(DropReason::BadSourceMac);
}

#[test]
fn a07_who_claims_the_gateways_address_is_arp_invalid() {
    refused(&arp(&WEB, 1, address(GATEWAY), address(GATEWAY)));
    refused(&arp(&WEB, 2, address(GATEWAY), WEB.v4()));
}

#[test]
fn a08_wrong_types_lengths_and_cut_off_packets_are_arp_invalid() {
    let sound = arp(&WEB, 1, WEB.v4(), address(GATEWAY));
    for at in 0..8 {
        let mut frame = sound.clone();
        frame.payload[at] ^= 0x20;
        refused(&frame);
    }
    for length in 8..28 {
        let mut frame = sound.clone();
        frame.payload.truncate(length);
        refused(&frame);
    }
}

#[test]
fn a09_an_unsolicited_reply_is_learnt_only_when_an_entry_exists() {
    let mut bed = open_bed();
    let reply = arp(&SHY, 2, SHY.v4(), address("10.0.20.1")).to(TRUNK_MAC);
    bed.send(TRUNK, reply.bytes()).noted();
    assert!(!knows_shy(&mut bed));
    assert_eq!(bed.send(TRUNK, reply.bytes()).late.len(), 1);
    assert!(knows_shy(&mut bed));
}

#[test]
fn a10_a_scan_of_a_64_evicts_no_live_neighbor_and_asks_no_more_than_its_quota() {
    let mut bed = open_bed();
    bed.send(TRUNK, arp(&SHY, 1, SHY.v4(), address("10.0.20.1")).bytes()).replied();
    assert!(knows_shy(&mut bed));
    let (mut asked, mut failed) = (0, 0);
    for last in 1..2000_u32 {
        let to = address(&format!("fd00:20::1:{last:x}"));
        let sent = bed.send(TRUNK, Ip::udp(WEB.v6(), to, (4000, 5000), b"scan").by(&WEB).bytes());
        match sent.outcome.verdict {
            Verdict::Waiting => asked += 1,
            Verdict::Drop => failed += 1,
            other => panic!("{other:?} of a host that is not there"),
        }
    }
    assert!(asked <= 256, "{asked} were asked for at once");
    assert!(failed > 1500, "{failed} were refused");
    assert!(knows_shy(&mut bed), "a live neighbor is still known");
}

fn solicit(host: &crate::bed::network::Host, target: &str, options: &[u8]) -> Ip {
    let to = address("ff02::1:ff00:1");
    nd(host.v6(), to, SOLICIT, 0, address(target), options)
}

const SOLICITED_MAC: Mac = Mac([0x33, 0x33, 0xff, 0, 0, 1]);

#[test]
fn a_solicitation_for_the_gateway_is_answered_with_its_mac() {
    let mut bed = open_bed();
    let asked = solicit(&SHY, "fd00:20::1", &link_option(1, SHY.mac)).between_macs(&SHY, SOLICITED_MAC);
    let sent = bed.send(TRUNK, asked.bytes());
    let answer = sent.replied();
    assert_eq!(answer[..6], SHY.mac.0);
    assert_eq!((answer[18 + 7], answer[18 + 40], answer[18 + 44] & 0xe0), (255, ADVERTISE, 0xe0));
    assert_eq!(answer[18 + 64..], [&[2, 1], &TRUNK_MAC.0[..]].concat());
    // The asker is learnt by it.
    let to_it = Ip::udp(WEB.v6(), SHY.v6(), (4000, 5000), b"known").by(&WEB);
    assert_eq!(bed.send(TRUNK, to_it.bytes()).opened()[..6], SHY.mac.0);
}

#[track_caller]
fn nd_refused(packet: &Ip) {
    open_bed().send(TRUNK, packet.between_macs(&WEB, SOLICITED_MAC).bytes()).dropped(DropReason::NdInvalid);
}

#[test]
fn n01_an_override_for_a_foreign_address_is_nd_invalid() {
    let all = address("ff02::1");
    let option = link_option(2, WEB.mac);
    for target in ["fd00:10::1", "fd00:20::9", "2001:db8::9"] {
        nd_refused(&nd(WEB.v6(), all, ADVERTISE, 0x20, address(target), &option));
    }
    let own = nd(WEB.v6(), all, ADVERTISE, 0x20, WEB.v6(), &option);
    open_bed().send(TRUNK, own.between_macs(&WEB, SOLICITED_MAC).bytes()).noted();
}

#[test]
fn n02_a_router_advertisement_is_nd_invalid_also_behind_headers_and_in_fragments() {
    let link_local = address("fe80::5");
    let advertisement =
        Ip::icmp(link_local, address("ff02::1"), 134, 0, &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]).ttl(255);
    nd_refused(&advertisement);
    nd_refused(&advertisement.clone().extension(60, &[0, 1, 4, 0, 0, 0, 0]));
    nd_refused(&advertisement.clone().extension(0, &[0, 1, 4, 0, 0, 0, 0]));
    nd_refused(&advertisement.clone().extension(44, &[0, 0, 1, 0, 0, 0, 9]));
    let desk = advertisement.between_macs(&DESK, Mac([0x33, 0x33, 0, 0, 0, 1]));
    open_bed().send(TRUNK, desk.bytes()).dropped(DropReason::NdInvalid);
}

#[test]
fn n03_what_rfc_4861_calls_invalid_is_nd_invalid() {
    let option = link_option(1, WEB.mac);
    let sound = || solicit(&WEB, "fd00:10::1", &option);
    for hops in [0, 1, 64, 254] {
        nd_refused(&sound().ttl(hops));
    }
    nd_refused(&sound().upper(1, &[1]));
    nd_refused(&sound().upper(25, &[0]));
    nd_refused(&sound().upper(25, &[2]));
    let nobody = nd(address("::"), address("ff02::1:ff00:1"), SOLICIT, 0, address("fd00:10::1"), &option);
    nd_refused(&nobody);
    // Without the option it is a DAD probe, and the gateway defends its address.
    let probe = nd(address("::"), address("ff02::1:ff00:1"), SOLICIT, 0, address("fd00:10::1"), &[]);
    open_bed().send(TRUNK, probe.between_macs(&WEB, SOLICITED_MAC).bytes()).replied();
    let other = nd(address("::"), address("ff02::1:ff00:77"), SOLICIT, 0, address("fd00:10::77"), &[]);
    open_bed().send(TRUNK, other.between_macs(&WEB, SOLICITED_MAC).bytes()).noted();
}

#[test]
fn n04_a_redirect_is_nd_invalid() {
    let redirect = nd(address("fe80::5"), WEB.v6(), 137, 0, address("fd00:10::66"), &DB.v6_octets());
    nd_refused(&redirect);
}
