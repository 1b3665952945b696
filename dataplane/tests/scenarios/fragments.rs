//! F01–F08: fragments, as far as each shows by itself. Nothing is held yet: a later fragment is an orphan.

use crate::bed::frame::{ACK, Ip};
use crate::bed::network::{DB, TRUNK, WEB, open_bed};
use classifier::reason::DropReason;

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
fn f08_a_later_fragment_is_an_orphan_and_draws_no_answer() {
    drops(&udp(64).cut(32..72).fragment(4), DropReason::FragmentOrphan);
    drops(&udp(64).cut(32..64).fragment(MORE | 4), DropReason::FragmentOrphan);
    let long = Ip::udp(WEB.v6(), DB.v6(), (4000, 5000), &[0; 64]).cut(32..72);
    for last_or_more in [32, 33] {
        drops(&long.clone().extension(44, &[0, 0, last_or_more, 0, 0, 0, 1]), DropReason::FragmentOrphan);
    }
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
    sent.answered(dataplane::batch::Verdict::Drop, DropReason::TtlExpired);
}
