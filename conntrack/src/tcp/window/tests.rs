//! The four rules at their edges, the wrap of sequence numbers, scales, SACK, and the timers that hang on them.

use crate::config::Config;
use crate::rig::{Fate, INVALID, O, R, Rig, Seg, seg};
use crate::state::State;

/// MSS 1460, SACK permitted, window scale 7.
const OPTIONS: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0];

/// A connection whose initial sequence numbers and first windows are these; nothing is scaled.
fn established(o: u32, r: u32, o_window: u16, r_window: u16) -> Rig {
    let mut rig = Rig::new();
    assert_eq!(rig.tcp(O, seg("S", o.wrapping_sub(1), 0).win(o_window)), Fate::New);
    assert_eq!(rig.tcp(R, seg("SA", r.wrapping_sub(1), o).win(r_window)), Fate::Reply);
    assert_eq!(rig.tcp(O, seg("A", o, r).win(o_window)), Fate::Forward);
    rig
}

#[test]
fn rule_one_holds_at_the_right_edge_and_a_little_beyond_wherever_the_numbers_wrap() {
    for o in [1001u32, u32::MAX - 1500, u32::MAX - 500, u32::MAX, 0] {
        let at = |offset: u32| o.wrapping_add(offset);
        // A window of 1000 is granted: up to and with its right edge a segment may begin.
        let mut rig = established(o, 5001, 65_535, 1000);
        rig.wait(10);
        let before = rig.view().unwrap();
        assert_eq!(rig.tcp(O, seg("A", at(1001), 5001).len(998)), Fate::Forward, "overshoot, {o}");
        assert_eq!(rig.view().unwrap(), before, "and the timer stays");
        assert_eq!(rig.tcp(R, seg("A", 5001, at(1999)).win(1000)), Fate::Reply, "its ACK is known");

        let mut rig = established(o, 5001, 65_535, 1000);
        assert_eq!(rig.tcp(O, seg("A", at(1001), 5001).len(999)), INVALID, "beyond, {o}");
        assert_eq!(rig.tcp(O, seg("A", at(1000), 5001).len(1)), Fate::Forward, "at the edge, {o}");
        assert_eq!(rig.tcp(O, seg("A", at(0), 5001).len(1460)), Fate::Forward, "straddling, {o}");
    }
}

#[test]
fn rule_two_lets_old_data_by_without_an_update() {
    for o in [1001u32, u32::MAX - 70_000, u32::MAX - 10] {
        let mut rig = established(o, 5001, 65_535, 1000);
        let mut sent = o;
        for _ in 0..100 {
            assert_eq!(rig.tcp(O, seg("A", sent, 5001).len(1000)), Fate::Forward);
            sent = sent.wrapping_add(1000);
            assert_eq!(rig.tcp(R, seg("A", 5001, sent).win(1000)), Fate::Reply);
        }
        rig.wait(10);
        let before = rig.view().unwrap();
        assert_eq!(rig.tcp(O, seg("A", o, 5001).len(1000)), Fate::Forward, "acknowledged long ago");
        assert_eq!(rig.view().unwrap(), before);
        assert_eq!(rig.tcp(O, seg("A", sent.wrapping_sub(1000), 5001).len(1000)), Fate::Forward);
        assert_ne!(rig.view().unwrap(), before, "the last of it may be sent again");
    }
}

#[test]
fn rule_three_drops_what_acknowledges_data_that_was_never_sent() {
    for o in [1001u32, u32::MAX - 50, 0] {
        let mut rig = established(o, 5001, 65_535, 65_535);
        rig.tcp(O, seg("A", o, 5001).len(100));
        assert_eq!(rig.tcp(R, seg("A", 5001, o.wrapping_add(101))), INVALID);
        assert_eq!(rig.tcp(R, seg("A", 5001, o.wrapping_add(100))), Fate::Reply);
        assert_eq!(rig.tcp(R, seg("A", 5001, o.wrapping_add(0x8000_0000))), INVALID);
    }
}

#[test]
fn rule_four_lets_an_acknowledgment_that_lags_far_behind_by_without_an_update() {
    let mut rig = established(1001, 5001, 65_535, 65_535);
    let mut sent = 1001;
    for _ in 0..100 {
        rig.tcp(O, seg("A", sent, 5001).len(1000));
        sent += 1000;
        rig.tcp(R, seg("A", 5001, sent));
    }
    rig.wait(10);
    let before = rig.view().unwrap();
    assert_eq!(rig.tcp(R, seg("A", 5001, sent - 66_001).len(1)), Fate::Reply);
    assert_eq!(rig.view().unwrap(), before);
    assert_eq!(rig.tcp(R, seg("A", 5001, sent - 66_000).len(1)), Fate::Reply);
    assert_ne!(rig.view().unwrap(), before);
}

#[test]
fn windows_are_scaled_only_where_both_syns_offered_it_and_never_on_a_syn() {
    for (o, r, limit) in [(OPTIONS, OPTIONS, 1000 << 7), (OPTIONS, &[][..], 1000), (&[][..], OPTIONS, 1000)] {
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0).win(1000).options(o));
        rig.tcp(R, seg("SA", 5000, 1001).win(1000).options(r));
        rig.tcp(O, seg("A", 1001, 5001).win(1000));
        assert_eq!(rig.tcp(O, seg("A", 2002, 5001).len(1000)), INVALID, "the SYN-ACK's is not scaled");
        rig.tcp(R, seg("A", 5001, 1001).win(1000));
        let far = 1001 + limit;
        assert_eq!(
            rig.tcp(O, seg("A", far + 1, 5001).len(u16::MAX).win(1000)),
            if limit > 1000 { Fate::Forward } else { INVALID }
        );
        assert_eq!(rig.tcp(O, seg("A", far, 5001).len(1).win(1000)), Fate::Forward);
        assert_eq!(rig.tcp(O, seg("A", far.wrapping_add(0x2000_0000), 5001).len(1)), INVALID);
    }
}

#[test]
fn an_edge_of_a_sack_block_is_held_against_rule_three_where_the_receiver_permits_sack() {
    // Blocks 1201..1301 and 900001..900101.
    const GOOD: &[u8] = &[1, 1, 5, 10, 0, 0, 4, 0xb1, 0, 0, 5, 0x15];
    const FUTURE: &[u8] = &[1, 1, 5, 10, 0, 0x0d, 0xbb, 0xa1, 0, 0x0d, 0xbc, 0x05];
    for (permits, fate) in [(OPTIONS, INVALID), (&[][..], Fate::Reply)] {
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0).options(permits));
        rig.tcp(R, seg("SA", 5000, 1001).options(OPTIONS));
        rig.tcp(O, seg("A", 1001, 5001));
        rig.tcp(O, seg("A", 1001, 5001).len(100));
        rig.tcp(O, seg("A", 1201, 5001).len(100));
        assert_eq!(rig.tcp(R, seg("A", 5001, 1101).options(GOOD)), Fate::Reply);
        assert_eq!(rig.tcp(R, seg("A", 5001, 1101).options(FUTURE)), fate);
    }
}

#[test]
fn a_zero_window_may_be_probed_with_one_byte() {
    let mut rig = established(1001, 5001, 65_535, 10);
    rig.tcp(O, seg("A", 1001, 5001).len(10));
    assert_eq!(rig.tcp(R, seg("A", 5001, 1011).win(0)), Fate::Reply);
    assert_eq!(rig.tcp(O, seg("A", 1010, 5001)), Fate::Forward, "a keep-alive");
    assert_eq!(rig.tcp(O, seg("A", 1011, 5001).len(1)), Fate::Forward);
    assert_eq!(rig.tcp(R, seg("A", 5001, 1011).win(0)), Fate::Reply);
}

#[test]
fn data_that_is_not_acknowledged_shortens_the_timer_until_it_is() {
    let mut rig = established(1001, 5001, 65_535, 65_535);
    assert_eq!(rig.expires_in(), 7440);
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    assert_eq!(rig.expires_in(), 300);
    rig.tcp(R, seg("A", 5001, 1050));
    assert_eq!(rig.expires_in(), 300);
    rig.tcp(R, seg("A", 5001, 1101));
    assert_eq!(rig.expires_in(), 7440);
}

#[test]
fn a_segment_that_comes_four_times_shortens_the_timer_until_something_else_comes() {
    let mut rig = established(1001, 5001, 65_535, 65_535);
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    rig.tcp(R, seg("A", 5001, 1101));
    for n in 0..4 {
        rig.tcp(O, seg("A", 1001, 5001).len(100));
        assert_eq!(rig.expires_in(), if n < 3 { 7440 } else { 300 });
    }
    rig.tcp(R, seg("A", 5001, 1101).len(1));
    rig.tcp(O, seg("A", 1101, 5002));
    assert_eq!(rig.expires_in(), 7440);
    for _ in 0..9 {
        rig.tcp(O, seg("A", 1101, 5002));
    }
    assert_eq!(rig.expires_in(), 7440, "an ACK without payload is no retransmission");
}

#[test]
fn a_segment_that_differs_in_one_bit_or_comes_from_the_other_side_is_no_repeated_one() {
    // Both sides have sent 60,000 bytes, all acknowledged, from the same number on.
    let rig = || {
        let mut rig = established(1000, 1000, 65_535, 65_535);
        rig.tcp(O, seg("A", 1000, 1000).len(60_000));
        rig.tcp(R, seg("A", 1000, 61_000).len(60_000));
        rig.tcp(O, seg("A", 61_000, 61_000));
        assert_eq!(rig.expires_in(), 7440);
        rig
    };
    // So that the last one differs from the first by one bit of its sequence number, end, acknowledgment or window.
    let base =
        seg("A", 0b0101_0101_0101_0101, 0b0110_0110_0110_0110).len(0b1_0101_0101).win(0b0011_0011_0011_0011);
    let mut others = vec![(R, base)];
    for bit in 0..15 {
        others.push((O, Seg { seq: base.seq ^ 1 << bit, ..base }));
        others.push((O, Seg { ack: base.ack ^ 1 << bit, ..base }));
        others.push((O, Seg { win: base.win ^ 1 << bit, ..base }));
        if bit < 13 {
            let len = base.len ^ 1 << bit;
            others.push((O, Seg { len, ..base }));
            // The same end by another beginning.
            let seq = base.seq.wrapping_add(u32::from(base.len)).wrapping_sub(u32::from(len));
            others.push((O, Seg { seq, len, ..base }));
        }
    }
    for (host, other) in others {
        let mut rig = rig();
        for _ in 0..3 {
            assert_eq!(rig.tcp(O, base), Fate::Forward);
            assert_eq!(rig.expires_in(), 7440);
        }
        rig.tcp(host, other);
        assert_eq!(rig.expires_in(), 7440, "{host:?} {other:?}");
    }
    let mut rig = rig();
    (0..4).for_each(|_| assert_eq!(rig.tcp(O, base), Fate::Forward));
    assert_eq!(rig.expires_in(), 300, "the same for the fourth time");
}

#[test]
fn the_first_rule_that_fails_decides() {
    let mut rig = established(10_001, 5001, 1000, 1000);
    assert_eq!(rig.tcp(O, seg("A", 8001, 777_777).len(10)), Fate::Forward, "II before III");
    assert_eq!(rig.tcp(O, seg("A", 19_001, 777_777).len(10)), INVALID, "I before III");
}

#[test]
fn a_fin_out_of_the_window_shortens_nothing_but_one_of_each_side_does() {
    let mut rig = established(1001, 5001, 1000, 1000);
    let far = 900_000_000;
    assert_eq!(rig.tcp(O, seg("FA", far, 5001)), INVALID);
    assert_eq!(rig.tcp(O, seg("FA", far, 5001)), INVALID);
    assert_eq!(rig.expires_in(), 7440);
    assert_eq!(rig.tcp(R, seg("R", far, 0)), INVALID);
    assert_eq!(rig.expires_in(), 300);
    assert_eq!(rig.state(), Some(State::Established));

    let mut rig = established(1001, 5001, 1000, 1000);
    rig.tcp(O, seg("FA", far, 5001));
    rig.tcp(O, seg("A", 1001, 5001));
    rig.tcp(R, seg("FA", far, 1001));
    assert_eq!(rig.expires_in(), 7440, "the flow has moved between the two");
}

#[test]
fn a_fin_inside_old_data_moves_nothing() {
    let mut rig = established(1001, 5001, 65_535, 65_535);
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    assert_eq!(rig.tcp(O, seg("FA", 1050, 5001)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.tcp(O, seg("FA", 1101, 5001)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::FinWait));
}

#[test]
fn a_window_never_grows_beyond_the_largest_that_can_be_offered() {
    let mut rig = established(1001, 5001, 65_535, 65_535);
    let mut end = 1001u32;
    for _ in 0..70_000 {
        assert_eq!(rig.tcp(O, seg("A", end.wrapping_sub(1), 5001).len(u16::MAX)), Fate::Forward);
        end = end.wrapping_add(65_534);
        rig.tcp(R, seg("A", 5001, end));
        rig.tcp(O, seg("A", end.wrapping_add(65_535), 5001).len(60_000));
        end = end.wrapping_add(65_535 + 60_000);
        rig.tcp(R, seg("A", 5001, end));
    }
    assert_eq!(rig.tcp(O, seg("A", end.wrapping_add(0x6000_0000), 5001).len(1)), INVALID);
}

#[test]
fn a_long_transfer_passes_over_the_wrap_in_both_directions() {
    let mut rig = Rig::with(Config { max_flows: 8, ..Config::default() });
    let (mut o, mut r) = (u32::MAX - 40_000, u32::MAX - 3_000_000);
    rig.tcp(O, seg("S", o, 0).options(OPTIONS));
    o = o.wrapping_add(1);
    rig.tcp(R, seg("SA", r, o).options(OPTIONS));
    r = r.wrapping_add(1);
    rig.tcp(O, seg("A", o, r));
    for n in 0..5000 {
        assert_eq!(rig.tcp(O, seg("A", o, r).len(100)), Fate::Forward, "{n}");
        o = o.wrapping_add(100);
        assert_eq!(rig.tcp(R, seg("A", r, o).len(1460)), Fate::Reply, "{n}");
        r = r.wrapping_add(1460);
    }
    assert_eq!(rig.state(), Some(State::Established));
}
