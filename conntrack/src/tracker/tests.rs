//! Protocols without a handshake, SCTP, ICMP errors, VLANs, timers, limits and eviction.

use crate::config::Config;
use crate::packet::Relation;
use crate::rig::{Fate, INVALID, O, O_MAC, O_VLAN, R, R_VLAN, Rig, seg};
use crate::state::State;
use crate::terms::{Epoch, RuleKey, Terms};
use classifier::addr::{PortId, VlanKey};
use classifier::flow::FlowKey;
use classifier::reason::DropReason;
use classifier::wire::{Icmp, SctpChunk, SctpPacket, Transport, protocol};
use std::time::Duration;

mod bookkeeping;
mod express;

const ELSEWHERE: VlanKey = VlanKey::new(PortId(2), 30);

#[test]
fn udp_lives_thirty_seconds_one_way_and_three_minutes_two_ways_to_the_millisecond() {
    let mut rig = Rig::new();
    assert_eq!(rig.udp(O), Fate::New);
    rig.wait(29_999);
    assert_eq!(rig.udp(O), Fate::Forward);
    rig.wait(30_000);
    assert_eq!(rig.udp(R), Fate::New, "the flow is over, and R's packet would begin another");
    let mut rig = Rig::new();
    rig.udp(O);
    assert_eq!(rig.udp(R), Fate::Reply);
    rig.wait(179_999);
    assert_eq!(rig.udp(O), Fate::Forward);
    rig.wait(180_000);
    assert_eq!(rig.udp(O), Fate::New);
}

#[test]
fn a_deadline_holds_at_lookup_even_where_the_timers_have_not_run() {
    let mut rig = Rig::new();
    rig.udp(O);
    rig.now = rig.now + Duration::from_millis(29_999);
    assert_eq!(rig.udp(O), Fate::Forward);
    rig.now = rig.now + Duration::from_millis(30_000);
    assert_eq!(rig.tracker.len(), 1);
    assert_eq!(rig.udp(O), Fate::New);
    assert_eq!(rig.tracker.statistics().expired, 1);
}

#[test]
fn timers_run_at_the_next_tick() {
    let mut rig = Rig::new();
    rig.udp(O);
    rig.wait(29_999);
    assert_eq!(rig.tracker.len(), 1);
    rig.wait(64);
    assert_eq!(rig.tracker.len(), 0);
}

#[test]
fn a_timer_that_comes_nearer_is_not_missed_and_one_that_moves_away_is_not_run_early() {
    let mut rig = Rig::new();
    rig.establish();
    rig.wait(1000);
    rig.tcp(O, seg("R", 1001, 0));
    rig.wait(10_064);
    assert_eq!(rig.tracker.len(), 0, "CL is ten seconds");
    let mut rig = Rig::new();
    rig.establish();
    for _ in 0..3 {
        rig.wait(7_400_000);
        assert_eq!(rig.tcp(O, seg("A", 1001, 5001)), Fate::Forward);
    }
    assert_eq!(rig.tracker.len(), 1);
}

#[test]
fn time_may_jump_by_years_and_never_runs_backwards() {
    for years in [1u64, 30, 400] {
        let mut rig = Rig::new();
        rig.establish();
        rig.now = rig.now + Duration::from_secs(years * 365 * 86_400);
        assert_eq!(rig.tcp(O, seg("A", 1001, 5001)), INVALID, "{years} years");
        assert_eq!(rig.tracker.len(), 0);
        assert_eq!(rig.udp(O), Fate::New);
        rig.now = rig.now - Duration::from_secs(3600);
        assert_eq!(rig.udp(O), Fate::Forward);
        rig.now = rig.now + Duration::from_millis(3_600_000 + 29_999);
        assert_eq!(rig.udp(O), Fate::Forward, "an earlier time counts as the latest seen");
    }
}

#[test]
fn days_without_a_call_of_advance_do_not_bring_a_flow_back() {
    let mut rig = Rig::new();
    rig.establish();
    for _ in 0..30 * 24 {
        rig.now = rig.now + Duration::from_secs(3600);
        rig.udp(O);
    }
    assert_eq!(rig.tcp(O, seg("A", 1001, 5001)), INVALID);
}

#[test]
fn an_idle_timeout_holds_for_every_flow_but_a_tcp_connection_that_begins_or_ends() {
    let mut rig = Rig::new();
    rig.terms.idle_timeout = Some(Duration::from_secs(2));
    rig.udp(O);
    rig.wait(1999);
    assert_eq!(rig.udp(O), Fate::Forward);
    rig.wait(2000);
    assert_eq!(rig.udp(O), Fate::New, "one-way");
    assert_eq!(rig.udp(R), Fate::Reply);
    rig.wait(2000);
    assert_eq!(rig.udp(O), Fate::New, "two-way");
    rig.ping(O, true, 7);
    rig.other(O, protocol::ESP);
    rig.sctp(O, 0, SctpChunk::Init(0x11));
    rig.wait(2000);
    assert_eq!(rig.ping(R, false, 7), INVALID);
    assert_eq!(rig.other(O, protocol::ESP), Fate::New);
    assert_eq!(rig.sctp(R, 0x11, SctpChunk::InitAck(0x22)), INVALID);
    rig.terms.idle_timeout = Some(Duration::from_secs(90_000));
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.expires_in(), 20);
    rig.tcp(R, seg("SA", 5000, 1001));
    assert_eq!(rig.expires_in(), 30);
    rig.tcp(O, seg("A", 1001, 5001));
    assert_eq!(rig.expires_in(), 90_000);
    rig.tcp(O, seg("FA", 1001, 5001));
    assert_eq!(rig.expires_in(), 120);
}

#[test]
fn each_protocol_has_its_timeout() {
    for (ip_protocol, seconds) in [(protocol::GRE, 180), (protocol::ESP, 180), (51, 120), (4, 120)] {
        let mut rig = Rig::new();
        assert_eq!(rig.other(O, ip_protocol), Fate::New);
        assert_eq!(rig.other(R, ip_protocol), Fate::Reply);
        rig.wait(seconds * 1000 - 1);
        assert_eq!(rig.other(O, ip_protocol), Fate::Forward);
        rig.wait(seconds * 1000);
        assert_eq!(rig.other(R, ip_protocol), Fate::New, "either side may open");
    }
}

#[test]
fn only_a_request_opens_a_query_and_only_its_reply_answers_it() {
    let mut rig = Rig::new();
    assert_eq!(rig.ping(R, false, 7), INVALID);
    assert_eq!(rig.ping(O, true, 7), Fate::New);
    assert_eq!(rig.ping(R, false, 8), INVALID, "another identifier");
    assert_eq!(rig.ping(O, false, 7), INVALID, "a reply in the wrong direction");
    assert_eq!(rig.ping(R, true, 7), Fate::New, "the responder's own request is a flow of its own");
    assert_eq!(rig.ping(R, false, 7), Fate::Reply);
    assert_eq!(rig.ping(R, false, 7), Fate::Reply, "duplicates pass");
    rig.wait(30_000);
    assert_eq!(rig.ping(R, false, 7), INVALID);
}

#[test]
fn icmp_that_is_neither_query_nor_a_sound_error_is_invalid() {
    let mut rig = Rig::new();
    rig.udp(O);
    for icmp in [Icmp::Other, Icmp::Error(None)] {
        let packet = crate::Packet { transport: Transport::Icmp(icmp), ..rig.tcp_packet(R, seg("A", 0, 0)) };
        assert_eq!(rig.deliver(&packet), INVALID);
    }
}

#[test]
fn an_error_is_related_where_it_comes_from_the_side_that_the_packet_went_to() {
    let mut rig = Rig::new();
    assert_eq!(rig.error(R_VLAN, O, protocol::UDP, None), INVALID, "there is no flow");
    rig.udp(O);
    assert_eq!(rig.error(R_VLAN, O, protocol::UDP, None), Fate::Related);
    assert_eq!(rig.error(O_VLAN, O, protocol::UDP, None), INVALID, "it comes from the sender's own side");
    assert_eq!(rig.error(ELSEWHERE, O, protocol::UDP, None), INVALID, "it comes from a third VLAN");
    assert_eq!(rig.error(O_VLAN, R, protocol::UDP, None), Fate::Related, "about a reply");
    rig.terms.responder_vlan = None;
    rig.port(40_001);
    rig.udp(O);
    assert_eq!(rig.error(ELSEWHERE, O, protocol::UDP, None), Fate::Related, "the far side is not known");
    assert_eq!(rig.error(O_VLAN, O, protocol::UDP, None), INVALID);
}

#[test]
fn an_error_quotes_a_sequence_number_that_is_in_flight() {
    let mut rig = Rig::new();
    rig.tcp(O, seg("S", 1000, 0));
    let error = |rig: &mut Rig, vlan, host, seq| {
        rig.wait(1000);
        rig.error(vlan, host, protocol::TCP, seq)
    };
    assert_eq!(error(&mut rig, R_VLAN, O, Some(1000)), Fate::Related);
    assert_eq!(error(&mut rig, R_VLAN, O, Some(999)), INVALID);
    assert_eq!(error(&mut rig, R_VLAN, O, Some(1002)), INVALID);
    assert_eq!(error(&mut rig, O_VLAN, R, Some(0)), INVALID, "R was not heard yet");
    rig.tcp(R, seg("SA", 5000, 1001).win(500));
    assert_eq!(error(&mut rig, O_VLAN, R, Some(5000)), Fate::Related, "the SYN-ACK");
    rig.tcp(O, seg("A", 1001, 5001));
    rig.tcp(O, seg("A", 1001, 5001).len(300));
    rig.tcp(R, seg("A", 5001, 1201).win(500));
    for (seq, fate) in [(701, Fate::Related), (700, INVALID), (1301, Fate::Related), (1302, INVALID)] {
        assert_eq!(error(&mut rig, R_VLAN, O, Some(seq)), fate, "{seq}");
    }
    assert_eq!(error(&mut rig, R_VLAN, O, None), INVALID);
    assert_eq!(rig.state(), Some(State::Established));
}

#[test]
fn an_error_may_quote_a_stray_syn_of_the_opener_and_of_nobody_else() {
    let mut rig = Rig::new();
    rig.establish();
    assert_eq!(rig.tcp(O, seg("S", 900_000, 0).len(7)), Fate::Forward, "a SYN of another connection");
    for (host, vlan, sequence, fate) in [
        (O, R_VLAN, 900_000, Fate::Related),
        (O, R_VLAN, 900_008, Fate::Related),
        (O, R_VLAN, 899_999, INVALID),
        (O, R_VLAN, 900_009, INVALID),
        (R, O_VLAN, 900_000, INVALID),
    ] {
        assert_eq!(rig.error(vlan, host, protocol::TCP, Some(sequence)), fate, "{host:?} sent {sequence}");
    }
    let mut rig = Rig::new();
    rig.establish();
    assert_eq!(rig.error(R_VLAN, O, protocol::TCP, Some(900_000)), INVALID, "there was no other SYN");
    // Nor is the first one in flight for ever.
    for n in 0..3 {
        let at = 1001 + n * 50_000;
        rig.tcp(O, seg("A", at, 5001).len(50_000));
        rig.tcp(R, seg("A", 5001, at + 50_000));
    }
    assert_eq!(rig.error(R_VLAN, O, protocol::TCP, Some(1000)), INVALID);
}

#[test]
fn an_error_neither_refreshes_nor_closes_and_ten_a_second_are_enough() {
    let mut rig = Rig::new();
    rig.udp(O);
    rig.wait(10_000);
    for n in 0..25 {
        let fate = rig.error(R_VLAN, O, protocol::UDP, None);
        assert_eq!(fate, if n < 10 { Fate::Related } else { INVALID }, "{n}");
        rig.wait(2);
    }
    assert_eq!(rig.tracker.statistics().errors_limited, 15);
    rig.wait(1000);
    assert_eq!(rig.error(R_VLAN, O, protocol::UDP, None), Fate::Related);
    rig.wait(18_950);
    assert_eq!(rig.error(R_VLAN, O, protocol::UDP, None), INVALID, "the flow ended after thirty seconds");
}

#[test]
fn a_packet_that_comes_in_on_another_vlan_than_its_sides_is_invalid() {
    let mut rig = Rig::new();
    rig.establish();
    for (host, segment) in [(O, seg("A", 1001, 5001)), (R, seg("A", 5001, 1001)), (O, seg("R", 1001, 0))] {
        for vlan in [O_VLAN, R_VLAN, ELSEWHERE] {
            let packet = rig.tcp_packet(host, segment);
            if packet.vlan != vlan {
                let before = rig.view();
                assert_eq!(rig.deliver(&crate::Packet { vlan, ..packet }), INVALID);
                assert_eq!(rig.view(), before);
            }
        }
    }
}

#[test]
fn an_unknown_responders_vlan_is_set_by_the_caller_and_holds_from_then_on() {
    let mut rig = Rig::new();
    rig.terms.responder_vlan = None;
    rig.establish();
    assert_eq!(rig.view().unwrap().responder_vlan, None);
    let packet = rig.tcp_packet(R, seg("A", 5001, 1001));
    assert_eq!(rig.deliver(&crate::Packet { vlan: ELSEWHERE, ..packet }), Fate::Reply);
    rig.tracker.set_responder_vlan(rig.id(protocol::TCP).unwrap(), ELSEWHERE);
    assert_eq!(rig.deliver(&packet), INVALID);
    assert_eq!(rig.deliver(&crate::Packet { vlan: ELSEWHERE, ..packet }), Fate::Reply);
    assert_eq!(rig.view().unwrap().responder_vlan, Some(ELSEWHERE));
}

fn associate(rig: &mut Rig) {
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x11)), Fate::New);
    assert_eq!(rig.sctp(R, 0x11, SctpChunk::InitAck(0x22)), Fate::Reply);
    assert_eq!(rig.sctp(O, 0x22, SctpChunk::CookieEcho), Fate::Forward);
    assert_eq!(rig.sctp(R, 0x11, SctpChunk::CookieAck), Fate::Reply);
}

fn sctp_state(rig: &Rig) -> State {
    rig.tracker.flow(rig.id(protocol::SCTP).unwrap()).state
}

#[test]
fn an_association_is_opened_by_a_lone_init_only() {
    let mut rig = Rig::new();
    for chunk in [SctpChunk::Other, SctpChunk::CookieEcho, SctpChunk::InitAck(1), SctpChunk::Abort] {
        assert_eq!(rig.sctp(O, 5, chunk), INVALID, "{chunk:?}");
    }
    assert_eq!(rig.sctp(O, 5, SctpChunk::Init(1)), INVALID, "an INIT bears the tag 0");
    let bundled =
        SctpPacket { tag: 0, first: SctpChunk::Init(1), is_only_chunk: false, is_tag_reflected: false };
    assert_eq!(rig.sctp_packet(O, bundled), INVALID);
    associate(&mut rig);
    assert_eq!(sctp_state(&rig), State::SctpEstablished);
}

#[test]
fn every_packet_of_an_association_bears_its_directions_tag() {
    let mut rig = Rig::new();
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x11)), Fate::New);
    assert_eq!(rig.sctp(R, 0x12, SctpChunk::InitAck(0x22)), INVALID);
    assert_eq!(rig.sctp(R, 0, SctpChunk::Init(0x33)), INVALID, "both sides at once");
    let mut rig = Rig::new();
    associate(&mut rig);
    for (host, good, bad, passed) in [(O, 0x22, 0x11, Fate::Forward), (R, 0x11, 0x22, Fate::Reply)] {
        for chunk in [SctpChunk::Other, SctpChunk::Abort, SctpChunk::Shutdown] {
            assert_eq!(rig.sctp(host, bad, chunk), INVALID);
            assert_eq!(rig.sctp(host, 0, chunk), INVALID);
        }
        assert_eq!(rig.sctp(host, good, SctpChunk::Other), passed);
    }
    assert_eq!(sctp_state(&rig), State::SctpEstablished);
}

#[test]
fn an_association_ends_by_shutdown_or_abort() {
    let mut rig = Rig::new();
    associate(&mut rig);
    assert_eq!(rig.sctp(R, 0x22, SctpChunk::ShutdownComplete), INVALID, "not its tag");
    assert_eq!(rig.sctp(R, 0x11, SctpChunk::Shutdown), Fate::Reply);
    assert_eq!(rig.sctp(O, 0x22, SctpChunk::ShutdownAck), Fate::Forward);
    assert_eq!(rig.sctp(R, 0x11, SctpChunk::ShutdownComplete), Fate::Reply);
    assert_eq!(sctp_state(&rig), State::SctpClosed);
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x44)), Fate::New, "and may begin again");
    let mut rig = Rig::new();
    associate(&mut rig);
    let abort =
        SctpPacket { tag: 0x11, first: SctpChunk::Abort, is_only_chunk: true, is_tag_reflected: true };
    assert_eq!(rig.sctp_packet(O, abort), Fate::Forward, "a reflected tag");
    assert_eq!(sctp_state(&rig), State::SctpClosed);
    rig.wait(10_000);
    assert_eq!(rig.sctp(O, 0x22, SctpChunk::Other), INVALID);
}

#[test]
fn an_init_in_a_live_association_is_refused_and_a_restarted_host_gets_in_by_its_abort() {
    let mut rig = Rig::new();
    associate(&mut rig);
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x55)), INVALID);
    assert_eq!(
        rig.sctp(R, 0x11, SctpChunk::Other),
        Fate::Reply,
        "a heartbeat to the host that has forgotten"
    );
    let abort =
        SctpPacket { tag: 0x11, first: SctpChunk::Abort, is_only_chunk: true, is_tag_reflected: true };
    assert_eq!(rig.sctp_packet(O, abort), Fate::Forward);
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x55)), Fate::New);
}

#[test]
fn an_opener_sends_nothing_between_cookie_echo_and_cookie_ack() {
    let mut rig = Rig::new();
    rig.sctp(O, 0, SctpChunk::Init(0x11));
    rig.sctp(R, 0x11, SctpChunk::InitAck(0x22));
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x12)), Fate::Forward, "the INIT ACK was lost");
    assert_eq!(rig.sctp(R, 0x12, SctpChunk::InitAck(0x23)), Fate::Reply);
    assert_eq!(rig.sctp(O, 0x23, SctpChunk::CookieEcho), Fate::Forward);
    assert_eq!(rig.sctp(O, 0x23, SctpChunk::Other), INVALID);
    assert_eq!(rig.sctp(O, 0, SctpChunk::Init(0x13)), INVALID);
    assert_eq!(rig.sctp(R, 0x12, SctpChunk::Other), Fate::Reply, "it has overtaken the COOKIE ACK");
    assert_eq!(rig.sctp(R, 0x12, SctpChunk::CookieAck), Fate::Reply);
    assert_eq!(rig.sctp(O, 0x23, SctpChunk::Other), Fate::Forward);
}

fn small(max_flows: u32) -> Rig {
    Rig::with(Config { max_flows, ..Config::default() })
}

/// Tries to open a UDP flow from `port`.
fn try_open(rig: &mut Rig, port: u16) -> Result<(), DropReason> {
    rig.port(port);
    rig.opens = false;
    assert_eq!(rig.udp(O), Fate::New);
    let opening = rig.opening.unwrap();
    rig.tracker.open(rig.now, opening, rig.terms).map(|_| ())
}

fn is_live(rig: &mut Rig, port: u16) -> bool {
    rig.port(port);
    rig.id(protocol::UDP).is_some()
}

#[test]
fn a_full_table_evicts_the_oldest_half_open_flow_and_never_a_settled_one() {
    let mut rig = small(8);
    for port in 0..8 {
        assert_eq!(try_open(&mut rig, port), Ok(()));
        rig.wait(10);
    }
    for port in [0, 1] {
        rig.port(port);
        assert_eq!(rig.udp(R), Fate::Reply);
    }
    for port in 8..20 {
        assert_eq!(try_open(&mut rig, port), Ok(()));
        assert!(is_live(&mut rig, 0) && is_live(&mut rig, 1));
        let oldest = port - 6;
        assert!(!is_live(&mut rig, oldest), "of six candidates, {oldest} is the oldest");
        assert_eq!(rig.tracker.len(), 8);
        rig.wait(10);
    }
    assert_eq!(rig.tracker.statistics().evicted_half_open, 12);
}

#[test]
fn a_table_full_of_settled_flows_takes_no_more() {
    let mut rig = small(4);
    for port in 0..4 {
        try_open(&mut rig, port).unwrap();
        rig.udp(R);
    }
    assert_eq!(try_open(&mut rig, 9), Err(DropReason::FlowTableFull));
    assert_eq!(rig.tracker.statistics().table_full, 1);
    assert!((0..4).all(|port| is_live(&mut rig, port)));
}

#[test]
fn of_a_full_table_the_expired_go_first_then_the_closing_then_the_half_open() {
    let mut rig = small(3);
    rig.port(1);
    rig.opens = true;
    rig.establish();
    rig.tcp(O, seg("R", 1001, 0));
    try_open(&mut rig, 2).unwrap();
    try_open(&mut rig, 3).unwrap();
    rig.wait(1);
    try_open(&mut rig, 4).unwrap();
    assert_eq!(rig.tracker.statistics().evicted_closing, 1);
    assert!((2..=4).all(|port| is_live(&mut rig, port)));
    try_open(&mut rig, 5).unwrap();
    assert_eq!(rig.tracker.statistics().evicted_half_open, 1);
    rig.now = rig.now + Duration::from_secs(60);
    try_open(&mut rig, 6).unwrap();
    assert_eq!(rig.tracker.statistics().evicted_half_open, 1);
    assert_eq!(rig.tracker.statistics().expired, 3);
}

#[test]
fn a_rule_has_no_more_flows_than_it_may_have_and_its_limit_comes_before_eviction() {
    let mut rig = small(3);
    rig.tracker.reserve_rules(10);
    rig.terms = Terms { rule: Some(RuleKey(7)), max_flows: Some(2), ..rig.terms };
    try_open(&mut rig, 1).unwrap();
    try_open(&mut rig, 2).unwrap();
    assert_eq!(try_open(&mut rig, 3), Err(DropReason::RuleLimit));
    assert_eq!(rig.tracker.rule_flows(RuleKey(7)), Some(2));
    rig.terms.rule = None;
    try_open(&mut rig, 4).unwrap();
    rig.terms.rule = Some(RuleKey(7));
    assert_eq!(try_open(&mut rig, 5), Err(DropReason::RuleLimit), "though one could be evicted");
    assert_eq!(rig.tracker.len(), 3);
    // Counts are exact to a tick.
    rig.now = rig.now + Duration::from_millis(30_064);
    assert_eq!(try_open(&mut rig, 6), Ok(()), "what has expired does not count");
    assert_eq!(rig.tracker.rule_flows(RuleKey(7)), Some(1));
    rig.terms.rule = Some(RuleKey(99));
    assert_eq!(try_open(&mut rig, 7), Err(DropReason::RuleLimit), "no room was made to count it");
}

#[test]
fn a_renewed_flow_counts_for_its_new_rule() {
    let mut rig = small(3);
    rig.tracker.reserve_rules(4);
    rig.terms.rule = Some(RuleKey(1));
    rig.opens = true;
    rig.establish();
    let id = rig.id(protocol::TCP).unwrap();
    let terms = Terms {
        epoch: Epoch(2),
        rule: Some(RuleKey(3)),
        idle_timeout: Some(Duration::from_secs(100)),
        ..rig.terms
    };
    rig.tracker.renew(id, terms);
    let view = rig.tracker.flow(id);
    assert_eq!((view.epoch, view.rule), (Epoch(2), Some(RuleKey(3))));
    assert_eq!((view.opener_vlan, view.responder_vlan, view.opener_mac), (O_VLAN, Some(R_VLAN), O_MAC));
    assert_eq!(rig.tracker.rule_flows(RuleKey(1)), Some(0));
    assert_eq!(rig.tracker.rule_flows(RuleKey(3)), Some(1));
    rig.tcp(O, seg("A", 1001, 5001));
    assert_eq!(rig.expires_in(), 100);
    rig.tracker.remove(id);
    assert_eq!(rig.tracker.rule_flows(RuleKey(3)), Some(0));
    assert_eq!(rig.tcp(O, seg("A", 1001, 5001)), INVALID);
    assert_eq!(rig.tracker.statistics().removed, 1);
}

#[test]
fn a_flow_costs_no_more_memory_than_it_may() {
    let rig = Rig::with(Config { max_flows: 100_000, ..Config::default() });
    let (v4, v6) = rig.tracker.memory();
    assert!(v4 / 100_000 <= 128, "{} bytes for IPv4", v4 / 100_000);
    assert!(v6 / 100_000 <= 192, "{} bytes for IPv6", v6 / 100_000);
}

#[test]
fn timers_that_run_in_small_steps_end_the_same_flows_and_none_is_found_meanwhile() {
    let mut rig = small(64);
    for port in 0..40 {
        assert_eq!(try_open(&mut rig, port), Ok(()));
    }
    rig.now = rig.now + Duration::from_secs(30) + Duration::from_millis(64);
    let mut calls = 1;
    while !rig.tracker.advance_some(rig.now, 16) {
        assert_eq!(rig.tracker.len(), 40 - 16 * calls);
        assert_eq!(rig.tracker.flows().count(), 0);
        calls += 1;
    }
    assert_eq!((calls, rig.tracker.len()), (3, 0));
    assert_eq!(rig.tracker.statistics().expired, 40);
}

/// What the short way has found of a flow before other packets moved the table is not good for what is there now.
#[test]
fn the_place_of_a_flow_that_has_gone_is_not_entered_whoever_has_it_now() {
    let mut rig = Rig::new();
    rig.udp(O);
    let (FlowKey::V4(key), sender) = rig.key(O, protocol::UDP) else { panic!("the rig is of IPv4") };
    let hash = rig.tracker.hash_of(&key);
    let place = rig.tracker.prefetch_index::<u32>(hash);
    let slot = rig.tracker.candidate::<u32>(place).expect("the flow has a slot");
    let now = rig.tracker.settle(rig.now);
    let enter =
        |rig: &Rig| rig.tracker.enter(now, (slot, hash), (&key, sender), (O_VLAN, rig.terms.epoch)).is_some();
    let pass = |rig: &mut Rig| {
        for flow in rig.tracker.flows().collect::<Vec<_>>() {
            rig.tracker.let_pass(flow, Relation::Established);
        }
    };
    pass(&mut rig);
    assert!(enter(&rig));
    let flow = rig.tracker.flows().next().expect("there is one");
    rig.tracker.remove(flow);
    assert!(!enter(&rig), "its key stands there still, but it has ended");
    rig.port(40_001);
    rig.udp(O);
    pass(&mut rig);
    assert_eq!(rig.tracker.flows().next(), Some(flow), "another flow has its place");
    assert!(!enter(&rig));
    rig.port(40_000);
    rig.udp(O);
    assert!(!enter(&rig), "nobody has said of the new flow of that key that it may pass");
    pass(&mut rig);
    assert!(enter(&rig), "it is found in its other place");
}
