//! Asking for neighbors: frames wait, and go in order, or fail and their senders are told.

use crate::bed::Bed;
use crate::bed::frame::{Ip, arp, link_option, nd};
use crate::bed::network::{DB, SHY, TRUNK, TRUNK_MAC, WEB, address, open, open_bed};
use classifier::reason::DropReason;
use dataplane::batch::Verdict;
use dataplane::engine::Resolve;
use std::time::Duration;

fn to_shy(byte: u8) -> Vec<u8> {
    Ip::udp(WEB.v4(), SHY.v4(), (4000, 5000), &[byte]).by(&WEB).bytes()
}

fn to_shy_v6(byte: u8) -> Vec<u8> {
    Ip::udp(WEB.v6(), SHY.v6(), (4000, 5000), &[byte]).by(&WEB).bytes()
}

#[test]
fn an_unknown_neighbor_is_asked_for_and_frames_wait_and_go_in_order() {
    let mut bed = open_bed();
    let first = bed.send(TRUNK, to_shy(1));
    first.must_be(Verdict::Waiting, None);
    assert_eq!(first.moved, [("received", 1), ("waiting", 1), ("answers", 1), ("flows", 1)]);
    let request = first.only();
    let head = [&[0xff; 6][..], &TRUNK_MAC.0, &[0x81, 0, 0, 20, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    let body = [&TRUNK_MAC.0[..], &[10, 0, 20, 1], &[0; 6], &[10, 0, 20, 7]].concat();
    assert_eq!(request, [head, body].concat());
    for byte in 2..=3 {
        let next = bed.send(TRUNK, to_shy(byte));
        assert_eq!(next.moved, [("received", 1), ("waiting", 1)], "nobody is asked twice at once");
    }
    let heard = bed.send(TRUNK, arp(&SHY, 2, SHY.v4(), address("10.0.20.1")).to(TRUNK_MAC).bytes());
    assert_eq!(heard.moved, [("received", 1), ("forwarded", 3), ("local", 1), ("waiting", -3)]);
    let order: Vec<u8> = heard.left.iter().map(|(_, frame)| *frame.last().expect("a byte")).collect();
    assert_eq!(order, [1, 2, 3]);
    assert!(heard.left.iter().all(|(_, frame)| frame[..6] == SHY.mac.0));
    let fates: Vec<_> = heard.late.iter().map(|(tag, outcome)| (*tag, outcome.verdict)).collect();
    assert_eq!(fates, [(1, Verdict::Forward), (2, Verdict::Forward), (3, Verdict::Forward)]);
    bed.send(TRUNK, to_shy(4)).followed(dataplane::batch::FlowRole::Established);
}

#[test]
fn an_unknown_ipv6_neighbor_is_solicited_at_its_multicast_address() {
    let mut bed = open_bed();
    let sent = bed.send(TRUNK, to_shy_v6(1));
    let request = sent.only();
    assert_eq!(request[..6], [0x33, 0x33, 0xff, 0, 0, 7]);
    assert_eq!((request[18 + 7], request[18 + 40]), (255, 135));
    let answer = nd(SHY.v6(), address("fd00:20::1"), 136, 0x60, SHY.v6(), &link_option(2, SHY.mac));
    let heard = bed.send(TRUNK, answer.by(&SHY).bytes());
    assert_eq!(heard.moved, [("received", 1), ("forwarded", 1), ("local", 1), ("waiting", -1)]);
    assert_eq!(heard.only()[..6], SHY.mac.0);
}

#[test]
fn a_neighbor_is_asked_three_times_and_then_its_frames_fail_with_host_unreachable() {
    for (v6, header, code) in [(false, 20, [3, 1]), (true, 40, [1, 3])] {
        let mut bed = open_bed();
        let frame = |byte| if v6 { to_shy_v6(byte) } else { to_shy(byte) };
        bed.send(TRUNK, frame(1)).must_be(Verdict::Waiting, None);
        bed.send(TRUNK, frame(2)).must_be(Verdict::Waiting, None);
        for _ in 0..2 {
            bed.wait(Duration::from_secs(1));
            let (left, late, moved) = bed.tick();
            assert_eq!((left.len(), late.len(), moved), (1, 0, vec![("answers", 1)]), "asked again");
        }
        bed.wait(Duration::from_millis(999));
        assert_eq!(bed.tick().2, []);
        bed.wait(Duration::from_millis(1));
        let (left, late, moved) = bed.tick();
        assert_eq!(moved, [("waiting", -2), ("answers", 2), ("neighbor-failed", 2)]);
        for (_, error) in &left {
            assert_eq!(error[..16], [&WEB.mac.0[..], &TRUNK_MAC.0, &[0x81, 0, 0, 10]].concat());
            assert_eq!(error[18 + header..18 + header + 2], code);
        }
        assert!(late.iter().all(|(_, o)| o.reason == Some(DropReason::NeighborFailed)));
        // For a while it counts as dead, and nobody waits.
        let sent = bed.send(TRUNK, frame(3));
        sent.answered(Verdict::Drop, DropReason::NeighborFailed);
        bed.wait(Duration::from_secs(3));
        bed.tick();
        bed.send(TRUNK, frame(4)).must_be(Verdict::Waiting, None);
    }
}

#[test]
fn only_so_many_frames_wait_for_one_neighbor() {
    let mut bed = open_bed();
    for byte in 0..16 {
        bed.send(TRUNK, to_shy(byte)).must_be(Verdict::Waiting, None);
    }
    let sent = bed.send(TRUNK, to_shy(16));
    sent.must_be(Verdict::Drop, Some(DropReason::NeighborFailed));
    assert_eq!(sent.moved, [("received", 1), ("neighbor-failed", 1)]);
}

#[test]
fn a_silent_neighbor_is_asked_again_while_its_mac_is_used_and_forgotten_in_the_end() {
    let mut bed = open_bed();
    bed.send(TRUNK, arp(&SHY, 1, SHY.v4(), address("10.0.20.1")).bytes()).replied();
    bed.send(TRUNK, to_shy(1)).opened();
    bed.wait(Duration::from_secs(60));
    bed.tick();
    let sent = bed.send(TRUNK, to_shy(2));
    assert_eq!(sent.outcome.verdict, Verdict::Forward);
    assert_eq!(sent.left.len(), 2, "the packet, and a question for its neighbor");
    bed.wait(Duration::from_secs(241));
    bed.tick();
    bed.send(TRUNK, to_shy(3)).must_be(Verdict::Waiting, None);
}

#[test]
fn at_the_end_what_waits_has_failed() {
    let mut bed = open_bed();
    bed.send(TRUNK, to_shy(1)).must_be(Verdict::Waiting, None);
    bed.engine.abandon_waiting();
    let (left, late, _) = bed.tick();
    assert_eq!((left.len(), late.len()), (0, 1));
    assert_eq!(late[0].1.reason, Some(DropReason::NeighborFailed));
    assert_eq!(bed.engine.counters().dropped_total(), 1);
}

#[test]
fn where_nobody_is_asked_the_placeholder_stands_for_the_neighbor() {
    let mut setup = open();
    setup.resolve = Resolve::Placeholder;
    let sent = Bed::new(setup).send(TRUNK, to_shy(1));
    assert_eq!(sent.opened()[..6], dataplane::network::PLACEHOLDER_MAC.0);
}

#[test]
fn a_static_neighbor_is_never_asked_for_nor_relearned() {
    let mut bed = open_bed();
    let other = crate::bed::network::Host { mac: SHY.mac, ..WEB };
    bed.send(TRUNK, arp(&other, 1, WEB.v4(), address("10.0.10.1")).bytes()).replied();
    let sent = bed.send(TRUNK, Ip::udp(DB.v4(), WEB.v4(), (1, 2), b"x").by(&DB).bytes());
    assert_eq!(sent.opened()[..6], WEB.mac.0);
}
