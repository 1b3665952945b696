//! F01–F13: fragments. What needs many of them (F07, F09 to F11, F13) is tested where they are remembered, in `conntrack`.

use crate::bed::frame::{ACK, Ip, SYN};
use crate::bed::network::{DB, DESK, PRINTER, TRUNK, WEB, bed_with, open_bed, policy, rule, service};
use classifier::policy::{Action, DefaultAction, Mode, Rule};
use classifier::reason::DropReason;
use dataplane::batch::{FlowRole, Out, Verdict};
use std::time::Duration;

const MORE: u16 = 0x2000;

fn tcp(payload: &[u8]) -> Ip {
    Ip::tcp(WEB.v4(), DB.v4(), (4000, 5000), ACK, (1, 1), payload)
}

fn udp(length: usize) -> Ip {
    Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &vec![0; length])
}

#[track_caller]
fn drops(packet: &Ip, reason: DropReason) {
    open_bed().send(TRUNK, packet.by(&WEB).bytes()).dropped(reason);
}

#[test]
fn f01_a_first_fragment_without_the_whole_header_is_fragment_invalid() {
    for length in [8, 16] {
        drops(&tcp(&[0; 64]).cut(0..length).fragment(MORE), DropReason::FragmentInvalid);
    }
    // Its data offset says that the header is longer.
    drops(&tcp(&[0; 64]).upper(12, &[0xf0]).cut(0..56).fragment(MORE), DropReason::FragmentInvalid);
}

#[test]
fn f02_tcp_at_offset_1_is_fragment_invalid() {
    drops(&tcp(&[0; 64]).cut(8..32).fragment(MORE | 1), DropReason::FragmentInvalid);
    drops(&tcp(&[0; 64]).cut(8..30).fragment(1), DropReason::FragmentInvalid);
}

#[test]
fn f04_a_fragment_beyond_65535_is_fragment_invalid() {
    drops(&udp(64).cut(0..32).fragment(0x1fff), DropReason::FragmentInvalid);
}

#[test]
fn f05_more_with_a_length_that_is_no_multiple_of_8_is_fragment_invalid() {
    drops(&udp(64).cut(0..33).fragment(MORE), DropReason::FragmentInvalid);
    drops(&udp(64).cut(32..45).fragment(MORE | 4), DropReason::FragmentInvalid);
}

#[test]
fn f06_an_empty_fragment_is_fragment_invalid() {
    drops(&udp(64).cut(0..0).fragment(MORE), DropReason::FragmentInvalid);
    drops(&udp(64).cut(0..0).fragment(4), DropReason::FragmentInvalid);
}

#[test]
fn f08_a_later_fragment_waits_for_its_first_and_is_an_orphan_after_five_seconds() {
    let mut bed = open_bed();
    let tag = bed.send(TRUNK, udp(64).cut(32..72).fragment(4).by(&WEB).bytes()).waits();
    bed.wait(Duration::from_millis(4999));
    assert_eq!(bed.tick(), (vec![], vec![], vec![]));
    bed.wait(Duration::from_millis(1));
    let (left, late, moved) = bed.tick();
    assert_eq!((left, moved), (vec![], vec![("waiting", -1), ("fragment-orphan", 1)]));
    let [(told, outcome)] = late.as_slice() else { panic!("{late:?}") };
    assert_eq!((*told, outcome.reason), (tag, Some(DropReason::FragmentOrphan)));
}

#[test]
fn f08_what_is_held_leaves_behind_its_first_and_follows_its_flow() {
    let mut bed = open_bed();
    let last = bed.send(TRUNK, udp(64).cut(48..72).fragment(6).by(&WEB).bytes()).waits();
    let middle = bed.send(TRUNK, udp(64).cut(32..48).fragment(MORE | 4).by(&WEB).bytes()).waits();
    let sent = bed.send(TRUNK, udp(64).cut(0..32).fragment(MORE).by(&WEB).bytes());
    sent.must_be(Verdict::Forward, None);
    assert_eq!(sent.moved, [("received", 1), ("forwarded", 3), ("waiting", -2), ("flows", 1)]);
    let lengths: Vec<usize> = sent.left.iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lengths, [18 + 20 + 32, 18 + 20 + 24, 18 + 20 + 16]);
    let tags: Vec<u64> = sent.late.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [last, middle]);
    for (_, outcome) in &sent.late {
        assert_eq!((outcome.flow, outcome.out), (Some(FlowRole::Established), Out::To(DB.vlan())));
    }
    assert_eq!(bed.engine.fragments().datagrams, 0, "a complete datagram is forgotten");
}

#[test]
fn f08_a_first_in_the_same_batch_counts_from_its_place_on() {
    let mut bed = open_bed();
    let frames = [(32..72, 4), (0..32, MORE), (0..32, MORE)];
    let frames = frames.map(|(range, place)| udp(64).cut(range).fragment(place).by(&WEB).bytes());
    let sent = bed.send_all(TRUNK, &[&frames[0], &frames[1]]);
    assert_eq!(sent[1].left.len(), 2);
    let sent = bed.send_all(TRUNK, &[&frames[1], &frames[2], &frames[0]]);
    sent[0].must_be(Verdict::Forward, None);
    sent[1].must_be(Verdict::Drop, Some(DropReason::FragmentInvalid));
    sent[2].must_be(Verdict::Forward, None);
}

#[test]
fn f03_an_overlap_kills_the_datagram_and_a_duplicate_only_itself() {
    let mut bed = open_bed();
    let mut send = |range, place: u16| bed.send(TRUNK, udp(64).cut(range).fragment(place).by(&WEB).bytes());
    send(0..32, MORE).opened();
    send(0..32, MORE).dropped(DropReason::FragmentInvalid);
    send(32..48, MORE | 4).followed(FlowRole::Established);
    send(40..56, MORE | 5).dropped(DropReason::FragmentInvalid);
    send(48..72, 6).dropped(DropReason::FragmentInvalid);
    bed.wait(Duration::from_secs(5));
    bed.tick();
    bed.send(TRUNK, udp(64).cut(0..32).fragment(MORE).by(&WEB).bytes()).followed(FlowRole::Established);
}

#[test]
fn f02_and_f04_to_f06_kill_the_datagram_and_f01_does_not() {
    let whole = || tcp(&[0; 64]).upper(13, &[2]);
    let kills = [
        whole().cut(8..32).fragment(MORE | 1),
        whole().cut(0..32).fragment(0x1fff),
        whole().cut(24..37).fragment(MORE | 3),
        whole().cut(0..0).fragment(3),
    ];
    for killer in kills {
        let mut bed = open_bed();
        bed.send(TRUNK, killer.by(&WEB).bytes()).dropped(DropReason::FragmentInvalid);
        let first = whole().cut(0..24).fragment(MORE);
        bed.send(TRUNK, first.by(&WEB).bytes()).dropped(DropReason::FragmentInvalid);
    }
    let mut bed = open_bed();
    bed.send(TRUNK, whole().cut(0..16).fragment(MORE).by(&WEB).bytes()).dropped(DropReason::FragmentInvalid);
    bed.send(TRUNK, whole().cut(0..24).fragment(MORE).by(&WEB).bytes()).opened();
}

#[test]
fn f12_later_fragments_of_a_denied_first_share_its_fate_silently() {
    let deny = Rule { services: service(17, 5000), ..rule("shut", Action::Reject) };
    let mut bed = bed_with(DefaultAction::Allow, vec![deny]);
    let first = bed.send(TRUNK, udp(64).cut(0..32).fragment(MORE).by(&WEB).bytes());
    first.answered(Verdict::Reject, DropReason::PolicyReject);
    let later = bed.send(TRUNK, udp(64).cut(32..72).fragment(4).by(&WEB).bytes());
    later.must_be(Verdict::Reject, Some(DropReason::PolicyReject));
    assert_eq!((later.rule.as_deref(), later.left.len()), (Some("shut"), 0));
    assert!(later.outcome.classes.is_some());
}

#[test]
fn f12_a_policy_that_ends_the_flow_ends_it_between_two_fragments() {
    let mut bed = open_bed();
    bed.send(TRUNK, udp(64).cut(0..32).fragment(MORE).by(&WEB).bytes()).opened();
    bed.install(policy(DefaultAction::Deny, Mode::Enforce, Vec::new()));
    let later = udp(64).cut(32..72).fragment(4).by(&WEB).bytes();
    bed.send(TRUNK, later).dropped(DropReason::PolicyChanged);
}

#[test]
fn f12_the_bytes_of_later_fragments_may_be_acknowledged() {
    let mut bed = open_bed();
    let to =
        |flags, numbers, payload: &[u8]| Ip::tcp(WEB.v4(), DB.v4(), (4000, 5000), flags, numbers, payload);
    let back = |flags, numbers| Ip::tcp(DB.v4(), WEB.v4(), (5000, 4000), flags, numbers, &[]);
    bed.send(TRUNK, to(SYN, (100, 0), &[]).by(&WEB).bytes()).opened();
    bed.send(TRUNK, back(SYN | ACK, (900, 101)).by(&DB).bytes()).followed(FlowRole::Reply);
    bed.send(TRUNK, to(ACK, (101, 901), &[]).by(&WEB).bytes()).followed(FlowRole::Established);
    let data = to(ACK, (101, 901), &[7; 60]);
    bed.send(TRUNK, data.clone().cut(0..40).fragment(MORE).by(&WEB).bytes()).followed(FlowRole::Established);
    bed.send(TRUNK, back(ACK, (901, 161)).by(&DB).bytes()).dropped(DropReason::CtInvalid);
    bed.send(TRUNK, data.cut(40..80).fragment(5).by(&WEB).bytes()).followed(FlowRole::Established);
    bed.send(TRUNK, back(ACK, (901, 162)).by(&DB).bytes()).dropped(DropReason::CtInvalid);
    bed.send(TRUNK, back(ACK, (901, 161)).by(&DB).bytes()).followed(FlowRole::Reply);
}

#[test]
fn fragments_cross_a_stitch_also_to_an_unknown_station() {
    let mut bed = open_bed();
    let whole = Ip::udp(DESK.v4(), PRINTER.v4(), (4000, 5000), &[1; 64]);
    let by_desk =
        |range, place: u16| whole.clone().cut(range).fragment(place).between_macs(&DESK, PRINTER.mac).bytes();
    bed.send(TRUNK, by_desk(32..72, 4)).waits();
    let sent = bed.send(TRUNK, by_desk(0..32, MORE));
    assert_eq!(sent.left.len(), 4, "both fragments to both other VLANs");
    assert_eq!(sent.late[0].1.out, Out::Flooded);
    assert_eq!(bed.engine.late_flooded().len(), 2);
}

#[test]
fn f12_a_first_fragment_opens_a_flow_like_any_packet() {
    let mut bed = open_bed();
    let first = udp(64).cut(0..32).fragment(MORE);
    let sent = bed.send(TRUNK, first.by(&WEB).bytes());
    assert_eq!(sent.opened().len(), 18 + 20 + 32);
}

#[test]
fn a_fragment_with_a_ttl_of_1_is_expired_before_it_is_an_orphan_and_only_the_first_draws_an_answer() {
    drops(&udp(64).cut(32..72).fragment(4).ttl(1), DropReason::TtlExpired);
    let mut bed = open_bed();
    let first = udp(64).cut(0..32).fragment(MORE).ttl(1);
    let sent = bed.send(TRUNK, first.by(&WEB).bytes());
    sent.answered(Verdict::Drop, DropReason::TtlExpired);
}
