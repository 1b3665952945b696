//! What a sound packet looks like when it leaves: MACs, hop, checksum, tag.

use crate::bed::frame::{Eth, Ip};
use crate::bed::network::{
    DB, FAR, Host, SHY, TRUNK, TRUNK_MAC, WAN, WAN_MAC, WEB, address, bed_with, open, open_bed, policy, rule,
};
use crate::bed::{Bed, Setup};
use classifier::addr::PortId;
use classifier::policy::{Action, DefaultAction, Mode};
use classifier::reason::DropReason;
use dataplane::batch::{FlowRole, Verdict};
use dataplane::topology::VlanRole;

fn between(from: &Host, to: &Host, v6: bool) -> Ip {
    let (source, destination) = if v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
    Ip::udp(source, destination, (4000, 5000), b"hello")
}

/// The packet as it must leave: with a hop less.
fn hopped(packet: &Ip) -> Vec<u8> {
    packet.clone().ttl(63).bytes()
}

#[test]
fn a_forwarded_packet_has_new_macs_a_hop_less_and_the_egress_tag() {
    for v6 in [false, true] {
        let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
        let packet = between(&WEB, &DB, v6);
        let mut bed = open_bed();
        let sent = bed.send(TRUNK, packet.by(&WEB).bytes());
        let tag = [0x81, 0, 0, 20];
        let expected = [&DB.mac.0[..], &TRUNK_MAC.0, &tag, &kind, &hopped(&packet)].concat();
        assert_eq!(sent.opened(), expected);
        assert_eq!(sent.left[0].0, PortId(TRUNK));
    }
}

#[test]
fn a_tag_is_popped_towards_an_untagged_vlan_and_pushed_from_one() {
    let packet = between(&WEB, &FAR, false);
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, packet.by(&WEB).bytes());
    let expected = [&FAR.mac.0[..], &WAN_MAC.0, &[8, 0], &hopped(&packet)].concat();
    assert_eq!((sent.opened(), sent.left[0].0), (expected.as_slice(), PortId(WAN)));
    let reply = Ip::udp(FAR.v4(), WEB.v4(), (5000, 4000), b"welcome");
    let sent = bed.send(WAN, reply.by(&FAR).bytes());
    let expected = [&WEB.mac.0[..], &TRUNK_MAC.0, &[0x81, 0, 0, 10, 8, 0], &hopped(&reply)].concat();
    assert_eq!((sent.followed(FlowRole::Reply), sent.left[0].0), (expected.as_slice(), PortId(TRUNK)));
}

#[test]
fn the_priority_of_a_tag_is_kept_when_it_is_rewritten() {
    for priority in 0..8_u16 {
        let frame = between(&WEB, &DB, false).by(&WEB).tags(&[(0x8100, priority << 13 | 0x1000 | 10)]);
        let sent = open_bed().send(TRUNK, frame.bytes());
        let control = (priority << 13 | 0x1000 | 20).to_be_bytes();
        assert_eq!(sent.opened()[14..16], control);
    }
}

#[test]
fn the_checksum_is_right_for_every_ttl_and_for_headers_that_sum_to_the_edge() {
    let mut bed = open_bed();
    for ttl in 2..=255 {
        for identification in [0_u16, 0x1234, 0xfeff, 0xffff] {
            let packet = between(&WEB, &DB, false).header(4, &identification.to_be_bytes()).ttl(ttl);
            // The bed has etherparse compute the checksum of what left.
            let sent = bed.send(TRUNK, packet.by(&WEB).bytes());
            assert_eq!(sent.only()[18 + 8], ttl - 1);
        }
    }
}

#[test]
fn a_route_leads_to_its_next_hop() {
    let mut setup = open();
    let via = address("192.0.2.254");
    setup.topology.neighbors.push(dataplane::topology::NeighborConfig {
        vlan: FAR.vlan(),
        address: via,
        mac: SHY.mac,
    });
    let packet = Ip::udp(WEB.v4(), address("198.51.100.7"), (4000, 5000), b"hello");
    let sent = Bed::new(setup).send(TRUNK, packet.by(&WEB).bytes());
    assert_eq!((&sent.opened()[..6], sent.left[0].0), (&SHY.mac.0[..], PortId(WAN)));
}

#[test]
fn without_a_route_the_sender_is_told() {
    for (packet, answer) in [
        (Ip::udp(WEB.v4(), address("8.8.8.8"), (4000, 53), b"?"), [3, 0]),
        (Ip::udp(WEB.v6(), address("2001:4860::8888"), (4000, 53), b"?"), [1, 0]),
    ] {
        let sent = open_bed().send(TRUNK, packet.by(&WEB).bytes());
        let error = sent.answered(Verdict::Drop, DropReason::NoRoute);
        let at = 18 + packet.bytes().len() - packet.upper_length();
        assert_eq!(error[at..at + 2], answer);
    }
}

#[test]
fn a_packet_over_the_egress_mtu_is_dropped_and_the_sender_told_the_mtu() {
    for v6 in [false, true] {
        let header = if v6 { 40 } else { 20 };
        let of = |length: usize| {
            let (source, destination) = if v6 { (WEB.v6(), FAR.v6()) } else { (WEB.v4(), FAR.v4()) };
            Ip::udp(source, destination, (4000, 5000), &vec![7; length - header - 8])
        };
        let mut bed = open_bed();
        bed.send(TRUNK, of(1300).by(&WEB).bytes()).opened();
        let sent = bed.send(TRUNK, of(1301).by(&WEB).bytes());
        let error = sent.answered(Verdict::Drop, DropReason::TooBig);
        let icmp = &error[18 + header..];
        assert_eq!(icmp[..2], if v6 { [2, 0] } else { [3, 4] });
        assert_eq!(icmp[4..8], [0, 0, 5, 0x14], "1300");
        assert!(error.len() <= 18 + if v6 { 1280 } else { 576 });
        assert_eq!(icmp[8..], of(1301).bytes()[..icmp.len() - 8]);
        assert_eq!(sent.left[0].0, PortId(TRUNK));
    }
    // Whether DF is set or not: nothing is fragmented here.
    let fragmentable = Ip::udp(WEB.v4(), FAR.v4(), (4000, 5000), &[7; 1400]).fragment(0);
    open_bed().send(TRUNK, fragmentable.by(&WEB).bytes()).must_be(Verdict::Drop, Some(DropReason::TooBig));
}

#[test]
fn a_packet_that_would_leave_where_it_came_in_is_same_vlan_unless_hairpin_is_on() {
    let neighbor = Host { mac: SHY.mac, ..WEB };
    let packet = Ip::udp(WEB.v4(), address("10.0.10.6"), (4000, 5000), b"hello");
    open_bed().send(TRUNK, packet.by(&WEB).bytes()).dropped(DropReason::SameVlan);
    let mut setup = open();
    let VlanRole::Routed { hairpin, .. } = &mut setup.topology.vlans[0].role else { unreachable!() };
    *hairpin = true;
    let known = dataplane::topology::NeighborConfig {
        vlan: WEB.vlan(),
        address: address("10.0.10.6"),
        mac: neighbor.mac,
    };
    setup.topology.neighbors.push(known);
    let mut bed = Bed::new(setup);
    let sent = bed.send(TRUNK, packet.by(&WEB).bytes());
    assert_eq!(sent.opened()[..16], [&neighbor.mac.0[..], &TRUNK_MAC.0, &[0x81, 0, 0, 10]].concat());
    let reply = Ip::udp(address("10.0.10.6"), WEB.v4(), (5000, 4000), b"hi");
    bed.send(TRUNK, reply.by(&neighbor).bytes()).followed(FlowRole::Reply);
}

#[test]
fn a_rejected_connection_gets_a_reset_in_the_name_of_its_destination() {
    let mut bed = bed_with(DefaultAction::Deny, vec![rule("no", Action::Reject)]);
    let syn = Ip::tcp(WEB.v4(), DB.v4(), (4000, 443), 2, (100, 0), b"xyz");
    let sent = bed.send(TRUNK, syn.by(&WEB).bytes());
    let reset = sent.answered(Verdict::Reject, DropReason::PolicyReject);
    assert_eq!(sent.rule.as_deref(), Some("no"));
    assert_eq!(reset[..16], [&WEB.mac.0[..], &TRUNK_MAC.0, &[0x81, 0, 0, 10]].concat());
    assert_eq!(reset[18 + 12..18 + 20], [10, 0, 20, 9, 10, 0, 10, 5]);
    let tcp = [1, 187, 15, 160, 0, 0, 0, 0, 0, 0, 0, 104, 0x50, 0x14];
    assert_eq!(reset[18 + 20..18 + 34], tcp, "RST and ACK of the SYN and its data");
}

#[test]
fn a_rejected_datagram_gets_administratively_prohibited() {
    for (v6, header, code) in [(false, 20, [3, 13]), (true, 40, [1, 1])] {
        let setup = Setup { policy: policy(DefaultAction::Reject, Mode::Enforce, Vec::new()), ..open() };
        let sent = Bed::new(setup).send(TRUNK, between(&WEB, &DB, v6).by(&WEB).bytes());
        let error = sent.answered(Verdict::Reject, DropReason::DefaultReject);
        assert_eq!(error[18 + header..18 + header + 2], code);
    }
}

#[test]
fn a_denied_packet_is_dropped_in_silence_under_its_rule_or_the_default() {
    let mut bed = bed_with(DefaultAction::Allow, vec![rule("no", Action::Deny)]);
    let sent = bed.send(TRUNK, between(&WEB, &DB, false).by(&WEB).bytes());
    sent.dropped(DropReason::PolicyDeny);
    assert_eq!(sent.rule.as_deref(), Some("no"));
    let sent = bed_with(DefaultAction::Deny, vec![]).send(TRUNK, between(&WEB, &DB, false).by(&WEB).bytes());
    sent.dropped(DropReason::DefaultDeny);
    assert_eq!((sent.rule.as_deref(), sent.outcome.flow), (None, None));
}

#[test]
fn a_whole_batch_keeps_its_order_and_is_counted_frame_by_frame() {
    let mut bed = open_bed();
    let frames: Vec<Vec<u8>> = (0..64_u8)
        .map(|n| match n % 4 {
            0 => Eth::new(&WEB, TRUNK_MAC, 0x8847, vec![n; 50]).bytes(),
            _ => Ip::udp(WEB.v4(), DB.v4(), (4000 + u16::from(n), 5000), &[n]).by(&WEB).bytes(),
        })
        .collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let sent = bed.send_all(TRUNK, &frames).pop().expect("the last");
    let numbers: Vec<u8> = sent.left.iter().map(|(_, frame)| *frame.last().expect("a byte")).collect();
    assert_eq!(numbers, (0..64).filter(|n| n % 4 != 0).collect::<Vec<u8>>());
    let expected = [("received", 64), ("forwarded", 48), ("flows", 48), ("unsupported-ethertype", 16)];
    assert_eq!(sent.moved, expected);
}
