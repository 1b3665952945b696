//! The transition table cell by cell, its notes, and RST. Windows are tested beside their rules.

use crate::config::{Config, Pickup};
use crate::rig::{Fate, Host, INVALID, O, R, Rig, Seg, seg};
use crate::state::State;
use crate::terms::Epoch;
use classifier::reason::DropReason;
use classifier::wire::protocol;
use std::time::Duration;

/// TRACKING.md §1.3; the columns are SS S2 SR ES FW CW LA TW CL. `=` stands for a state that stays and whose
/// timer may or may not move (note 9).
const TABLE: [(Host, &str, [&str; 9]); 8] = [
    (O, "S", ["SS", "S2", ".", ".", ".", ".", ".", "new", "new"]),
    (O, "SA", ["X", "SR", ".", ".", ".", ".", ".", ".", "."]),
    (O, "A", ["X", "X", "ES", "ES", "CW", "CW", "TW", "TW", "CL"]),
    (O, "FA", ["X", "X", "FW", "FW", "LA", "LA", "=", "=", "CL"]),
    (R, "S", ["X", "S2", "X", "X", "X", "X", "X", "new", "new"]),
    (R, "SA", ["SR", "SR", ".", ".", ".", ".", ".", ".", "."]),
    (R, "A", [".", ".", "SR", "ES", "CW", "CW", "TW", "TW", "CL"]),
    (R, "FA", ["X", "X", "FW", "FW", "LA", "LA", "=", "=", "CL"]),
];
const COLUMNS: [(&str, State); 9] = [
    ("SS", State::SynSent),
    ("S2", State::SimultaneousSyn),
    ("SR", State::SynReceived),
    ("ES", State::Established),
    ("FW", State::FinWait),
    ("CW", State::CloseWait),
    ("LA", State::LastAck),
    ("TW", State::TimeWait),
    ("CL", State::Closed),
];

/// The next sequence number of a side, after how many FINs.
fn next(host: Host, fins: u32) -> u32 {
    if host == O { 1001 + fins } else { 5001 + fins }
}

fn ack_of(host: Host, own_fins: u32, other_fins: u32) -> Seg {
    let other = if host == O { R } else { O };
    seg("A", next(host, own_fins), next(other, other_fins))
}

/// A connection in a state; of the closing ones, `closer` sent the first FIN. Also how many FINs each sent.
fn in_state(state: State, closer: Host) -> (Rig, u32, u32) {
    let simultaneous_open = state == State::SimultaneousSyn;
    let mut rig = Rig::with(Config { max_flows: 8, simultaneous_open, ..Config::default() });
    let other = if closer == O { R } else { O };
    let fin = |host| Seg { flags: 0x11, ..ack_of(host, 0, 0) };
    let script: Vec<(Host, Seg)> = match state {
        State::SynSent | State::SimultaneousSyn | State::SynReceived | State::Established => vec![],
        State::FinWait => vec![(closer, fin(closer))],
        State::CloseWait => vec![(closer, fin(closer)), (other, ack_of(other, 0, 1))],
        State::LastAck | State::TimeWait => {
            vec![(closer, fin(closer)), (other, Seg { flags: 0x11, ..ack_of(other, 0, 1) })]
        }
        State::Closed => vec![(closer, Seg { flags: 4, ..ack_of(closer, 0, 0) })],
        _ => unreachable!(),
    };
    rig.tcp(O, seg("S", 1000, 0));
    match state {
        State::SynSent => {}
        State::SimultaneousSyn => assert_eq!(rig.tcp(R, seg("S", 5000, 0)), Fate::Reply),
        _ => assert_eq!(rig.tcp(R, seg("SA", 5000, 1001)), Fate::Reply),
    }
    if !matches!(state, State::SynSent | State::SimultaneousSyn | State::SynReceived) {
        rig.tcp(O, seg("A", 1001, 5001));
    }
    for (host, segment) in &script {
        assert_ne!(rig.tcp(*host, *segment), INVALID, "{state:?}: {host:?} {segment:?}");
    }
    if state == State::TimeWait {
        rig.tcp(closer, ack_of(closer, 1, 1));
    }
    assert_eq!(rig.state(), Some(state));
    let fins = |host| match state {
        State::FinWait | State::CloseWait => u32::from(host == closer),
        State::LastAck | State::TimeWait => 1,
        _ => 0,
    };
    (rig, fins(O), fins(R))
}

/// A segment that is in order for the state.
fn segment(host: Host, flags: &str, state: State, own_fins: u32, other_fins: u32) -> Seg {
    let isn = next(host, 0) - 1;
    let is_setup = matches!(state, State::SynSent | State::SimultaneousSyn);
    match flags {
        "S" if is_setup => seg("S", isn, 0),
        "S" => seg("S", isn + 8000, 0),
        "SA" => seg("SA", isn, next(if host == O { R } else { O }, 0)),
        flags => Seg { flags: seg(flags, 0, 0).flags, ..ack_of(host, own_fins, other_fins) },
    }
}

#[test]
fn every_cell_of_the_table_is_as_it_is_drawn() {
    for (host, flags, cells) in TABLE {
        for ((name, state), cell) in COLUMNS.into_iter().zip(cells) {
            // The table's FIN is the first of its side: the other side sent the one before.
            let closer = if flags == "FA" && host == O { R } else { O };
            let (mut rig, o_fins, r_fins) = in_state(state, closer);
            let (own, other) = if host == O { (o_fins, r_fins) } else { (r_fins, o_fins) };
            // In LA and TW both have sent theirs: this one comes again.
            let own = if flags == "FA" && own == 1 { 0 } else { own };
            let what = format!("{host:?} {flags} in {name}");
            rig.wait(10);
            rig.opens = false;
            let before = rig.view().unwrap();
            let fate = rig.tcp(host, segment(host, flags, state, own, other));
            let after = rig.view().unwrap();
            let passed = if host == O { Fate::Forward } else { Fate::Reply };
            let expected = match cell {
                "X" => INVALID,
                "new" => Fate::New,
                _ => passed,
            };
            assert_eq!(fate, expected, "{what}");
            match COLUMNS.iter().find(|(name, _)| *name == cell) {
                Some((_, next)) => {
                    assert_eq!(after.state, *next, "{what}");
                    assert_ne!(after.expires_in, before.expires_in, "{what}: the timer starts again");
                }
                None if cell == "=" => assert_eq!(after.state, state, "{what}"),
                None => assert_eq!(after, before, "{what}: nothing moves"),
            }
        }
    }
}

#[test]
fn a_reset_at_the_exact_sequence_closes_in_every_state_from_the_syn_ack_on_but_time_wait() {
    for host in [O, R] {
        for (name, state) in COLUMNS.into_iter().skip(2) {
            let (mut rig, o_fins, r_fins) = in_state(state, O);
            let fins = if host == O { o_fins } else { r_fins };
            rig.wait(10);
            let before = rig.view().unwrap();
            let fate = rig.tcp(host, seg("R", next(host, fins), 0));
            let what = format!("RST of {host:?} in {name}");
            assert_eq!(fate, if host == O { Fate::Forward } else { Fate::Reply }, "{what}");
            if matches!(state, State::TimeWait | State::Closed) {
                assert_eq!(rig.view().unwrap(), before, "{what}: nothing moves");
            } else {
                assert_eq!(rig.state(), Some(State::Closed), "{what}");
                assert_eq!(rig.expires_in(), 10, "{what}");
            }
        }
    }
}

#[test]
fn nothing_but_a_syn_begins_a_flow() {
    for flags in ["SA", "A", "AU", "FA", "R", "RA"] {
        for host in [O, R] {
            assert_eq!(Rig::new().tcp(host, seg(flags, 1, 1)), INVALID, "{flags}");
        }
    }
    assert_eq!(Rig::new().tcp(O, seg("S", 1, 0)), Fate::New);
    assert_eq!(Rig::new().tcp(R, seg("S", 1, 0)), Fate::New);
    assert_eq!(Rig::new().tcp(O, seg("SU", 1, 0)), Fate::Dropped(DropReason::TcpFlags));
}

#[test]
fn a_flow_that_is_not_opened_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.opens = false;
    assert_eq!(rig.tcp(O, seg("S", 1000, 0)), Fate::New);
    assert!(rig.tracker.is_empty());
}

#[test]
fn a_syn_or_syn_ack_with_bad_options_is_malformed() {
    let mut rig = Rig::new();
    let bad: &[u8] = &[3, 0, 0, 0];
    let malformed = Fate::Dropped(DropReason::MalformedL4);
    assert_eq!(rig.tcp(O, seg("S", 1000, 0).options(bad)), malformed);
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.tcp(R, seg("SA", 5000, 1001).options(bad)), malformed);
    rig.tcp(R, seg("SA", 5000, 1001));
    assert_eq!(rig.tcp(O, seg("A", 1001, 5001).options(bad)), Fate::Forward, "elsewhere they are passed");
}

#[test]
fn a_closing_flow_makes_way_only_when_the_policy_lets_the_new_one_in() {
    let (mut rig, ..) = in_state(State::TimeWait, O);
    rig.opens = false;
    assert_eq!(rig.tcp(O, seg("S", 9000, 0)), Fate::New);
    assert!(rig.opening.unwrap().replaces());
    assert_eq!(rig.state(), Some(State::TimeWait));
    rig.opens = true;
    assert_eq!(rig.tcp(O, seg("S", 9000, 0)), Fate::New);
    assert_eq!(rig.state(), Some(State::SynSent));
    assert_eq!(rig.tracker.len(), 1);
    assert_eq!(rig.tracker.statistics().replaced, 1);
}

#[test]
fn the_responder_may_open_anew_in_its_own_direction_once_the_flow_is_closed() {
    let (mut rig, ..) = in_state(State::Closed, O);
    assert_eq!(rig.tcp(R, seg("S", 9000, 0)), Fate::New);
    assert_eq!(rig.view().unwrap().opener, rig.key(R, protocol::TCP).1);
}

#[test]
fn of_two_syns_the_syn_ack_decides_which_one_lives() {
    for second in [500, 2000] {
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0).win(100));
        assert_eq!(rig.tcp(O, seg("S", second, 0).win(200)), Fate::Forward);
        assert_eq!(rig.tcp(R, seg("SA", 5000, 777)), INVALID);
        assert_eq!(rig.state(), Some(State::SynSent), "a bad SYN-ACK moves nothing");
        assert_eq!(rig.tcp(R, seg("SA", 5000, second + 1)), Fate::Reply);
        assert_eq!(rig.tcp(O, seg("A", second + 1, 5001)), Fate::Forward);
        assert_eq!(rig.state(), Some(State::Established));
        assert_eq!(rig.tcp(O, seg("A", second + 1, 5001).len(10)), Fate::Forward);

        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0));
        rig.tcp(O, seg("S", second, 0));
        assert_eq!(rig.tcp(R, seg("SA", 5000, 1001)), Fate::Reply);
        assert_eq!(rig.tcp(O, seg("A", 1001, 5001)), Fate::Forward);
        assert_eq!(rig.state(), Some(State::Established));
    }
}

#[test]
fn a_syn_ack_may_acknowledge_any_part_of_the_data_in_the_syn() {
    for (ack, fate) in
        [(1000, INVALID), (1001, Fate::Reply), (1050, Fate::Reply), (1101, Fate::Reply), (1102, INVALID)]
    {
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0).len(100));
        assert_eq!(rig.tcp(R, seg("SA", 5000, ack)), fate, "ack {ack}");
        if fate == Fate::Reply {
            assert_eq!(rig.tcp(R, seg("SA", 5000, ack)), Fate::Reply, "again");
            assert_eq!(rig.tcp(R, seg("SA", 5000, 1102)), INVALID);
            assert_eq!(rig.tcp(O, seg("A", 1001, 5001).len(100)), Fate::Forward);
            assert_eq!(rig.tcp(R, seg("A", 5001, 1101)), Fate::Reply);
        }
    }
}

#[test]
fn a_challenge_ack_of_an_old_incarnation_passes_without_payload_only() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.tcp(R, seg("A", 77_777, 88_888)), Fate::Reply);
    assert_eq!(rig.tcp(R, seg("A", 77_777, 88_888).len(1)), INVALID);
    assert_eq!(rig.tcp(O, seg("R", 88_888, 0)), Fate::Forward, "the opener's answer to it");
    assert_eq!(rig.state(), Some(State::SynSent));
}

#[test]
fn a_stray_syn_changes_nothing_and_comes_once_in_half_a_second() {
    let mut rig = Rig::new();
    rig.establish();
    rig.wait(10);
    let before = rig.view().unwrap();
    assert_eq!(rig.tcp(O, seg("S", 77_777, 0)), Fate::Forward);
    assert_eq!(rig.tcp(O, seg("S", 77_777, 0)), INVALID);
    assert_eq!(rig.view().unwrap(), before);
    assert_eq!(rig.tracker.statistics().stray_syns_limited, 1);
    rig.wait(499);
    assert_eq!(rig.tcp(O, seg("S", 77_777, 0)), INVALID);
    rig.wait(1);
    assert_eq!(rig.tcp(O, seg("S", 77_777, 0)), Fate::Forward);
    assert_eq!(rig.tcp(R, seg("A", 5001, 1001)), Fate::Reply, "the challenge");
    assert_eq!(rig.tcp(O, seg("A", 1001, 5001).len(7)), Fate::Forward, "the flow lives");
}

#[test]
fn a_challenge_of_a_stray_syn_does_not_move_a_closing_connection() {
    let (mut rig, ..) = in_state(State::LastAck, O);
    rig.tcp(O, seg("S", 77_777, 0));
    assert_eq!(rig.tcp(R, seg("A", 5002, 1002)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::LastAck), "it is not taken for the ACK of the last FIN");
    assert_eq!(rig.tcp(R, seg("A", 5002, 1002)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::TimeWait), "only the next segment can be the challenge");
}

#[test]
fn a_syn_and_its_syn_ack_that_come_again_do_not_start_a_live_connection_over() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    rig.tcp(R, seg("SA", 5000, 1001));
    assert_eq!(rig.tcp(O, seg("S", 1000, 0)), Fate::Forward, "before the ACK");
    assert_eq!(rig.tcp(O, seg("S", 1000, 0)), INVALID, "but not twice in half a second");
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    rig.wait(1000);
    assert_eq!(rig.tcp(O, seg("S", 1000, 0)), Fate::Forward, "after it");
    assert_eq!(rig.tcp(O, seg("S", 1000, 0)), INVALID);
    assert_eq!(rig.tcp(R, seg("SA", 5000, 1001)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.tcp(R, seg("A", 5001, 1101)), Fate::Reply, "what was sent is still known");
}

#[test]
fn what_an_rst_acknowledges_counts_for_nothing() {
    let mut rig = Rig::new();
    rig.establish();
    assert_eq!(rig.tcp(R, seg("RA", 5001, 999_999)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::Closed));
}

#[test]
fn a_responder_that_forgot_the_connection_starts_it_over_and_the_policy_is_asked_again() {
    let mut rig = Rig::new();
    rig.establish();
    assert_eq!(rig.tcp(O, seg("S", 77_777, 0)), Fate::Forward);
    assert_eq!(rig.tcp(R, seg("SA", 99_999, 12_345)), Fate::Reply, "it answers neither, and moves nothing");
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.tcp(R, seg("SA", 99_999, 77_778)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::SynReceived));
    assert_ne!(rig.view().unwrap().epoch, Epoch(1), "no policy has this epoch");
    assert_eq!(rig.tcp(O, seg("A", 77_778, 100_000)), Fate::Forward);
    assert_eq!(rig.tcp(O, seg("A", 77_778, 100_000).len(100)), Fate::Forward);
    assert_eq!(rig.tcp(R, seg("A", 100_000, 77_878)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::Established));
}

#[test]
fn a_fin_that_comes_again_moves_nothing_and_only_the_other_sides_leads_on() {
    for closer in [O, R] {
        let (mut rig, ..) = in_state(State::FinWait, closer);
        let other = if closer == O { R } else { O };
        rig.tcp(closer, Seg { flags: 0x11, ..ack_of(closer, 0, 0) });
        assert_eq!(rig.state(), Some(State::FinWait));
        rig.tcp(other, Seg { flags: 0x11, ..ack_of(other, 0, 1) });
        assert_eq!(rig.state(), Some(State::LastAck));
    }
}

#[test]
fn the_split_handshake_is_refused_unless_it_is_configured() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.tcp(R, seg("S", 5000, 0)), INVALID);
    assert_eq!(rig.state(), Some(State::SynSent));
}

#[test]
fn a_simultaneous_open_is_established_when_both_syns_are_acknowledged() {
    for first in [O, R] {
        let mut rig = Rig::with(Config { max_flows: 8, simultaneous_open: true, ..Config::default() });
        rig.tcp(O, seg("S", 1000, 0));
        assert_eq!(rig.tcp(R, seg("S", 5000, 0)), Fate::Reply);
        let (o, r) = (seg("SA", 1000, 5001), seg("SA", 5000, 1001));
        if first == O {
            rig.tcp(O, o)
        } else {
            rig.tcp(R, r)
        };
        assert_eq!(rig.state(), Some(State::SynReceived));
        if first == O {
            rig.tcp(R, r)
        } else {
            rig.tcp(O, o)
        };
        assert_eq!(rig.state(), Some(State::Established), "{first:?} first");
        assert_eq!(rig.tcp(R, seg("A", 5001, 1001).len(10)), Fate::Reply);
        assert_eq!(rig.tcp(O, seg("A", 1001, 5011)), Fate::Forward);
    }
}

#[test]
fn a_simultaneous_open_ends_as_any_connection_does() {
    let mut rig = Rig::with(Config { max_flows: 8, simultaneous_open: true, ..Config::default() });
    rig.tcp(O, seg("S", 1000, 0));
    rig.tcp(R, seg("S", 5000, 0));
    rig.tcp(R, seg("SA", 5000, 1001));
    rig.tcp(O, seg("SA", 1000, 5001));
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.tcp(O, seg("FA", 1001, 5001)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::FinWait));
    assert_eq!(rig.tcp(R, seg("A", 5001, 1002)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::CloseWait));
}

#[test]
fn data_from_the_opener_waits_for_the_syn_ack() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.tcp(O, seg("A", 1001, 5001).len(1)), INVALID);
    rig.tcp(R, seg("SA", 5000, 1001).len(20));
    assert_eq!(rig.tcp(R, seg("A", 5021, 1001).len(1400)), Fate::Reply, "the responder's does not");
    assert_eq!(rig.tcp(R, seg("A", 6421, 1001).len(1400)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::SynReceived));
    assert_eq!(rig.tcp(O, seg("A", 1001, 7821)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::Established));
}

#[test]
fn only_an_rst_that_acknowledges_the_syn_refuses_a_connection() {
    for (flags, ack, fate) in
        [("R", 1001, INVALID), ("RA", 1000, INVALID), ("RA", 777, INVALID), ("RA", 1001, Fate::Reply)]
    {
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0));
        assert_eq!(rig.tcp(R, seg(flags, 0, ack)), fate, "{flags} {ack}");
        assert_eq!(rig.state().is_none(), fate == Fate::Reply, "and then the flow is gone at once");
    }
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    rig.tcp(O, seg("S", 2000, 0));
    assert_eq!(rig.tcp(R, seg("RA", 0, 2001)), Fate::Reply, "or the second one");
    assert_eq!(rig.tcp(R, seg("SA", 5000, 1001)), INVALID);
}

#[test]
fn a_refused_connection_can_still_be_looked_at_by_who_forwards_the_reset() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    let packet = rig.tcp_packet(R, seg("RA", 0, 1001));
    let crate::Tracked::Flow { flow, .. } = rig.tracker.track(rig.now, &packet) else { panic!("dropped") };
    assert_eq!(rig.tracker.flow(flow).key, packet.key);
    assert_eq!(rig.tcp(O, seg("S", 3000, 0)), Fate::New);
    rig.wait(1000);
    assert_eq!(rig.tracker.len(), 1);
}

#[test]
fn a_blind_reset_sweep_closes_only_with_its_exact_hit() {
    let mut rig = Rig::new();
    rig.establish();
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    rig.tcp(R, seg("A", 5001, 1101).win(1000));
    for step in 0..65_536u32 {
        let seq = step << 16 | 0x2222;
        let fate = rig.tcp(O, seg("R", seq, 0));
        assert!(matches!(fate, Fate::Forward | INVALID));
        assert_eq!(rig.state(), Some(State::Established), "seq {seq}");
    }
    rig.wait(10);
    let before = rig.view().unwrap();
    assert_eq!(rig.tcp(O, seg("R", 1100, 0)), INVALID, "below what is acknowledged");
    assert_eq!(rig.tcp(O, seg("R", 1102, 0)), Fate::Forward, "in the window, for a challenge");
    assert_eq!(rig.tcp(O, seg("R", 1001 + 65_535, 0)), Fate::Forward, "up to what was granted");
    assert_eq!(rig.tcp(O, seg("R", 1001 + 65_536, 0)), INVALID, "beyond the window");
    assert_eq!(rig.view().unwrap(), before);
    assert_eq!(rig.tcp(O, seg("R", 1101, 0)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::Closed));
}

#[test]
fn an_rst_is_exact_also_at_the_highest_acknowledgment_of_the_peer() {
    let mut rig = Rig::new();
    rig.establish();
    rig.tcp(O, seg("A", 1001, 5001).len(100));
    assert_eq!(rig.tcp(O, seg("R", 1001, 0)), Fate::Forward);
    assert_eq!(rig.state(), Some(State::Closed));
}

#[test]
fn an_rst_ack_that_acknowledges_nothing_is_taken_at_the_exact_sequence() {
    let mut rig = Rig::new();
    rig.establish();
    assert_eq!(rig.tcp(R, seg("RA", 5001, 0)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::Closed));
}

#[test]
fn any_reset_in_the_window_closes_a_connection_that_is_about_to_close() {
    for state in [State::CloseWait, State::LastAck] {
        let (mut rig, ..) = in_state(state, O);
        assert_eq!(rig.tcp(O, seg("R", 1500, 0)), Fate::Forward);
        assert_eq!(rig.state(), Some(State::Closed));
        assert_eq!(rig.tcp(O, seg("R", 900_000, 0)), INVALID);
    }
}

#[test]
fn pickup_takes_a_flow_up_in_mid_stream_within_its_grace_time() {
    let pickup = Pickup::Grace(Duration::from_secs(30));
    let mut rig = Rig::with(Config { max_flows: 8, pickup, ..Config::default() });
    rig.wait(0);
    for flags in ["SA", "FA", "R", "RA"] {
        assert_eq!(rig.tcp(O, seg(flags, 7000, 9000)), INVALID, "{flags}");
    }
    rig.wait(29_999);
    assert_eq!(rig.tcp(O, seg("A", 7000, 9000).len(10)), Fate::New);
    assert!(rig.opening.unwrap().is_midstream());
    assert_eq!(rig.expires_in(), 300, "until it proves itself");
    assert_eq!(rig.tcp(R, seg("A", 9000, 7010)), Fate::Reply);
    assert_eq!(rig.expires_in(), 7440);
    rig.wait(1);
    rig.port(40_001);
    assert_eq!(rig.tcp(O, seg("A", 7000, 9000)), INVALID, "the grace time is over");
}

#[test]
fn a_flow_in_mid_stream_is_not_assured_by_a_reply_that_acknowledges_something_else() {
    let mut rig = Rig::with(Config { max_flows: 8, pickup: Pickup::Always, ..Config::default() });
    assert_eq!(rig.tcp(O, seg("A", 7000, 9000)), Fate::New);
    assert_eq!(rig.tcp(R, seg("A", 9000, 7000 + 65_537)), Fate::Reply);
    assert_eq!(rig.expires_in(), 300);
    assert_eq!(rig.tcp(R, seg("A", 9000, 7000 + 65_536)), Fate::Reply);
    assert_eq!(rig.expires_in(), 7440);
    assert_eq!(rig.tcp(R, seg("A", 9000, 0x7000_0000)), INVALID, "and now the windows hold");
}

#[test]
fn a_flow_in_mid_stream_may_be_opened_the_other_way_round() {
    let mut rig = Rig::with(Config { max_flows: 8, pickup: Pickup::Always, ..Config::default() });
    rig.opens = false;
    assert_eq!(rig.tcp(R, seg("A", 9000, 7000).len(100)), Fate::New);
    let opening = rig.opening.unwrap().reversed(crate::rig::O_VLAN, crate::rig::O_MAC);
    rig.tracker.open(rig.now, opening, rig.terms).unwrap();
    assert_eq!(rig.view().unwrap().opener, rig.key(O, protocol::TCP).1);
    assert_eq!(rig.tcp(O, seg("A", 7000, 9100)), Fate::Forward);
    assert_eq!(rig.tcp(R, seg("A", 9100, 7000).len(100)), Fate::Reply);
    assert_eq!(rig.state(), Some(State::Established));
}

#[test]
fn a_flow_in_mid_stream_takes_each_side_down_where_it_is_first_heard() {
    for openings in 1..3 {
        let mut rig = Rig::with(Config { max_flows: 8, pickup: Pickup::Always, ..Config::default() });
        for n in 0..openings {
            let fate = if n == 0 { Fate::New } else { Fate::Forward };
            assert_eq!(rig.tcp(O, seg("A", 7000, 9000).win(100)), fate);
        }
        assert_eq!(rig.tcp(R, seg("A", 5_000_000, 7000).len(10)), Fate::Reply, "wherever that is");
        assert_eq!(rig.tcp(O, seg("A", 7000, 5_000_010).win(100)), Fate::Forward);
        assert_eq!(rig.expires_in(), 7440);
    }
}

#[test]
fn windows_of_a_flow_in_mid_stream_are_taken_to_be_scaled_by_fourteen() {
    let mut rig = Rig::with(Config { max_flows: 8, pickup: Pickup::Always, ..Config::default() });
    assert_eq!(rig.tcp(O, seg("A", 7000, 9000).win(100)), Fate::New);
    assert_eq!(rig.tcp(R, seg("A", 9000, 7000).win(100)), Fate::Reply);
    assert_eq!(rig.tcp(R, seg("A", 9000 + (100 << 14), 7000).len(10)), Fate::Reply, "at the right edge");
    assert_eq!(rig.tcp(R, seg("A", 9000 + (300 << 14), 7000).len(10)), INVALID);
}

#[test]
fn a_reset_of_an_opening_must_acknowledge_one_of_its_syns() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    for ack in [0, 1, 1000, 1002] {
        assert_eq!(rig.tcp(R, seg("RA", 0, ack)), INVALID, "{ack}");
    }
    rig.tcp(O, seg("S", 7000, 0).len(5));
    for ack in [0, 1, 1000, 1002, 7000, 7001, 7005, 7007] {
        assert_eq!(rig.tcp(R, seg("RA", 0, ack)), INVALID, "{ack}, with a second SYN");
    }
    assert_eq!(rig.state(), Some(State::SynSent));
    assert_eq!(rig.tcp(R, seg("RA", 0, 7006)), Fate::Reply);
    assert_eq!(rig.state(), None);
}

#[test]
fn a_reset_of_a_simultaneous_open_must_acknowledge_the_others_syn_or_follow_its_own() {
    let both = || {
        let mut rig = Rig::with(Config { max_flows: 8, simultaneous_open: true, ..Config::default() });
        rig.tcp(O, seg("S", 1000, 0));
        rig.tcp(R, seg("S", 5000, 0));
        rig
    };
    for (host, flags, seq, ack, fate) in [
        (R, "RA", 0, 1001, Fate::Reply),
        (R, "RA", 0, 1000, INVALID),
        (R, "R", 0, 1001, INVALID),
        (R, "R", 5001, 0, Fate::Reply),
        (R, "R", 5000, 0, INVALID),
        (O, "RA", 0, 5001, Fate::Forward),
        (O, "RA", 0, 5002, INVALID),
        (O, "R", 1001, 0, Fate::Forward),
    ] {
        let mut rig = both();
        assert_eq!(rig.tcp(host, seg(flags, seq, ack)), fate, "{host:?} {flags} {seq} {ack}");
        let left = (fate == INVALID).then_some(State::SimultaneousSyn);
        assert_eq!(rig.state(), left, "{host:?} {flags} {seq} {ack}");
    }
}

#[test]
fn a_second_syn_that_is_answered_brings_its_own_scale_window_and_leave_to_select() {
    const SCALE: &[u8] = &[1, 3, 3, 2];
    const SACK: &[u8] = &[4, 2, 1, 1];
    for (first, second, answer, scale, selects) in [
        (&[][..], SCALE, SCALE, 2, false),
        (SCALE, &[][..], SCALE, 0, false),
        (SACK, SCALE, SCALE, 2, false),
        (SCALE, SACK, SACK, 0, true),
    ] {
        let told = format!("{first:?} {second:?}");
        let mut rig = Rig::new();
        rig.tcp(O, seg("S", 1000, 0).options(first));
        rig.tcp(O, seg("S", 70_000, 0).options(second).win(100));
        assert_eq!(rig.tcp(R, seg("SA", 5000, 70_001).options(answer)), Fate::Reply);
        assert_eq!(rig.tcp(O, seg("A", 70_001, 5001).win(400)), Fate::Forward);
        // What the opener grants is scaled as its second SYN says.
        let edge = 5001 + (400 << scale);
        assert_eq!(rig.tcp(R, seg("A", edge + 500 + (400 << scale), 70_001).len(1)), INVALID, "{told}");
        assert_eq!(rig.tcp(R, seg("A", edge, 70_001).len(1)), Fate::Reply, "{told}");
        // The responder's ACK of what was never sent, by SACK: looked at only where the opener permits it.
        const BLOCK: &[u8] = &[1, 1, 5, 10, 0, 1, 0x11, 0x80, 0, 1, 0x11, 0x90];
        let fate = if selects { INVALID } else { Fate::Reply };
        assert_eq!(rig.tcp(R, seg("A", 5001, 70_001).options(BLOCK)), fate, "{told}");
    }
}
