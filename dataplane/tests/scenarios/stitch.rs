//! Stitched VLANs: one layer-2 domain, policed where its VLANs meet.

use crate::bed::frame::{Eth, Ip, arp, link_option, nd};
use crate::bed::network::{
    CAMERA, DESK, Host, PRINTER, TRUNK, WAN, WEB, address, bed_with, open, open_bed, rule,
};
use crate::bed::{Bed, Sent};
use classifier::addr::{Mac, VlanKey};
use classifier::policy::{Action, DefaultAction, EndpointSet, Member, Rule, Selector};
use classifier::reason::DropReason;
use dataplane::batch::{FlowRole, Verdict};
use dataplane::topology::OtherFrames;
use std::time::Duration;

fn datagram(from: &Host, to: &Host) -> Eth {
    Ip::udp(from.v4(), to.v4(), (4000, 5000), b"hello").between_macs(from, to.mac)
}

fn back(from: &Host, to: &Host) -> Eth {
    Ip::udp(from.v4(), to.v4(), (5000, 4000), b"hello").between_macs(from, to.mac)
}

fn allow_to(id: &str, vlan: VlanKey) -> Rule {
    let there = Selector { vlan: Some(vlan), ..Selector::default() };
    Rule { to: EndpointSet::OneOf(vec![Member::Selector(there)]), ..rule(id, Action::Allow) }
}

/// The VLANs that copies went to, in order.
fn vids(sent: &Sent) -> Vec<(u8, u16)> {
    let vid = |frame: &[u8]| {
        if frame[12..14] == [0x81, 0] { u16::from_be_bytes([frame[14], frame[15]]) & 0xfff } else { 0 }
    };
    sent.left.iter().map(|(port, frame)| (port.0, vid(frame))).collect()
}

const TO_BOTH: [(u8, u16); 2] = [(TRUNK, 120), (WAN, 130)];

#[test]
fn a_frame_crosses_a_stitch_as_it_is_but_for_its_tag() {
    let mut bed = open_bed();
    bed.send(WAN, datagram(&CAMERA, &DESK).bytes());
    let frame = back(&DESK, &CAMERA);
    let sent = bed.send(TRUNK, frame.bytes());
    assert_eq!(sent.followed(FlowRole::Reply), frame.tags(&[(0x8100, 130)]).bytes());
}

#[test]
fn an_unknown_station_is_flooded_to_and_then_learned() {
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes());
    sent.must_be(Verdict::Forward, None);
    assert_eq!(sent.moved, [("received", 1), ("forwarded", 1), ("copies", 1), ("flows", 1)]);
    assert_eq!(vids(&sent), TO_BOTH);
    let reply = bed.send(TRUNK, back(&PRINTER, &DESK).bytes());
    reply.followed(FlowRole::Reply);
    assert_eq!(vids(&reply), [(TRUNK, 110)]);
    let again = bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes());
    again.followed(FlowRole::Established);
    assert_eq!(vids(&again), [(TRUNK, 120)]);
}

#[test]
fn a_station_that_is_silent_for_five_minutes_is_unknown_again() {
    let mut bed = open_bed();
    bed.send(TRUNK, datagram(&PRINTER, &CAMERA).bytes());
    bed.wait(Duration::from_secs(299));
    bed.tick();
    assert_eq!(vids(&bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes())), [(TRUNK, 120)]);
    bed.wait(Duration::from_secs(1));
    bed.tick();
    let other = Ip::udp(DESK.v4(), PRINTER.v4(), (4001, 5000), b"x").between_macs(&DESK, PRINTER.mac);
    assert_eq!(vids(&bed.send(TRUNK, other.bytes())), TO_BOTH);
}

#[test]
fn a_flood_goes_only_where_the_policy_allows_and_has_the_first_rule_that_does() {
    let rules = vec![allow_to("camera", CAMERA.vlan())];
    let mut bed = bed_with(DefaultAction::Deny, rules);
    let sent = bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes());
    sent.opened();
    assert_eq!((vids(&sent), sent.rule.as_deref()), (vec![(WAN, 130)], Some("camera")));
    let rules = vec![allow_to("camera", CAMERA.vlan()), allow_to("printer", PRINTER.vlan())];
    let sent = bed_with(DefaultAction::Deny, rules).send(TRUNK, datagram(&DESK, &PRINTER).bytes());
    // The order of the stitch tells which is the first, not that of the rules.
    assert_eq!((vids(&sent), sent.rule.as_deref()), (TO_BOTH.to_vec(), Some("printer")));
    let mut bed = bed_with(DefaultAction::Deny, vec![allow_to("desk", DESK.vlan())]);
    bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes()).dropped(DropReason::DefaultDeny);
}

#[test]
fn a_flooded_flow_is_judged_anew_once_its_station_is_learned() {
    let mut bed = bed_with(DefaultAction::Deny, vec![allow_to("camera", CAMERA.vlan())]);
    bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes()).opened();
    // Its destination turns out to be on the VLAN that is not allowed.
    let sent = bed.send(TRUNK, back(&PRINTER, &DESK).bytes());
    sent.must_be(Verdict::Drop, Some(DropReason::PolicyChanged));
    bed.send(TRUNK, datagram(&DESK, &PRINTER).bytes()).dropped(DropReason::DefaultDeny);
}

#[test]
fn arp_and_nd_are_flooded_without_asking_the_policy() {
    let mut bed = bed_with(DefaultAction::Deny, vec![]);
    let request = arp(&DESK, 1, DESK.v4(), PRINTER.v4());
    let sent = bed.send(TRUNK, request.bytes());
    sent.must_be(Verdict::Forward, None);
    assert_eq!(sent.moved, [("received", 1), ("forwarded", 1), ("copies", 1)]);
    assert_eq!(vids(&sent), TO_BOTH);
    assert_eq!(sent.left[0].1, request.tags(&[(0x8100, 120)]).bytes());
    let target = PRINTER.v6();
    let solicit = nd(DESK.v6(), address("ff02::1:ff00:2"), 135, 0, target, &link_option(1, DESK.mac));
    let sent = bed.send(TRUNK, solicit.between_macs(&DESK, Mac([0x33, 0x33, 0xff, 0, 0, 2])).bytes());
    assert_eq!(sent.moved, [("received", 1), ("forwarded", 1), ("copies", 1)]);
}

#[test]
fn broadcast_and_multicast_are_flooded_by_policy() {
    let mut bed = bed_with(DefaultAction::Deny, vec![allow_to("camera", CAMERA.vlan())]);
    let dhcp =
        Ip::udp(DESK.v4(), address("255.255.255.255"), (68, 67), b"?").between_macs(&DESK, Mac::BROADCAST);
    let sent = bed.send(TRUNK, dhcp.bytes());
    sent.opened();
    assert_eq!(vids(&sent), [(WAN, 130)]);
    let group = Mac([1, 0, 0x5e, 0, 0, 0xfb]);
    let mdns = Ip::udp(DESK.v4(), address("224.0.0.251"), (5353, 5353), b"?").between_macs(&DESK, group);
    assert_eq!(vids(&bed.send(TRUNK, mdns.bytes())), [(WAN, 130)]);
}

#[test]
fn other_frames_are_dropped_or_flooded_as_the_stitch_says() {
    let lldp = Eth::new(&DESK, Mac([1, 0x80, 0xc2, 0, 0, 0xe]), 0x88cc, vec![7; 46]);
    open_bed().send(TRUNK, lldp.bytes()).dropped(DropReason::UnsupportedEthertype);
    let mut setup = open();
    setup.topology.stitches[0].other = OtherFrames::Pass;
    let sent = Bed::new(setup).send(TRUNK, lldp.bytes());
    assert_eq!(sent.moved, [("received", 1), ("forwarded", 1), ("copies", 1)]);
    assert_eq!((vids(&sent), &sent.left[0].1), (TO_BOTH.to_vec(), &lldp.tags(&[(0x8100, 120)]).bytes()));
}

#[test]
fn a_frame_over_the_mtu_of_one_vlan_goes_to_the_others_and_its_sender_is_told_where_none_is_left() {
    let large = |to: &Host| Ip::udp(DESK.v4(), to.v4(), (4000, 5000), &[7; 1372]).between_macs(&DESK, to.mac);
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, large(&PRINTER).bytes());
    assert_eq!(vids(&sent), [(TRUNK, 120)], "1400 bytes do not fit the other port");
    bed.send(WAN, datagram(&CAMERA, &DESK).bytes());
    let sent = bed.send(TRUNK, large(&CAMERA).bytes());
    sent.must_be(Verdict::Drop, Some(DropReason::TooBig));
    let error = sent.only();
    // A bridge has no address, so the error bears the destination's.
    assert_eq!(error[..12], [DESK.mac.0, CAMERA.mac.0].concat());
    assert_eq!(error[18 + 12..18 + 22], [10, 7, 0, 3, 10, 7, 0, 1, 3, 4]);
    assert_eq!(error[18 + 26..18 + 28], [5, 0x14]);
}

#[test]
fn a_stitch_and_the_routed_vlans_are_different_domains() {
    let mut bed = bed_with(DefaultAction::Deny, vec![allow_to("camera", CAMERA.vlan())]);
    let query = Ip::udp(DESK.v4(), CAMERA.v4(), (4000, 53), b"?").between_macs(&DESK, CAMERA.mac);
    bed.send(TRUNK, query.bytes()).opened();
    // The same addresses and ports, the other way round, on a routed VLAN that has no guard: no reply of that flow.
    let far = crate::bed::network::FAR;
    let reply = Ip::udp(CAMERA.v4(), DESK.v4(), (53, 4000), b"!").by(&far);
    let sent = bed.send(WAN, reply.bytes());
    assert_ne!(sent.outcome.flow, Some(FlowRole::Reply));
    sent.must_be(Verdict::Drop, Some(DropReason::NoRoute));
    bed.send(TRUNK, Ip::udp(WEB.v4(), DESK.v4(), (1, 2), b"?").by(&WEB).bytes())
        .must_be(Verdict::Drop, Some(DropReason::NoRoute));
}
