//! What the tracker counts and keeps beside the flows: limits of rules over all workers, statistics, and the flow that its
//! last packet has ended.

use super::*;
use crate::limits::LimitShare;
use crate::packet::Packet;
use crate::statistics::Statistics;
use classifier::flow::Domain;

fn limited(share: LimitShare) -> Rig {
    let mut rig = Rig::new();
    rig.tracker.share_limits(share);
    rig.tracker.reserve_rules(10);
    rig.terms = Terms { rule: Some(RuleKey(7)), max_flows: Some(1), ..rig.terms };
    rig.opens = false;
    rig
}

#[test]
fn a_limit_that_is_shared_counts_the_flows_of_all_trackers() {
    let mut rigs: Vec<Rig> = LimitShare::of_all(2).into_iter().map(limited).collect();
    for (at, opens) in [(0, true), (1, false)] {
        let rig = &mut rigs[at];
        assert_eq!(rig.tcp(O, seg("S", 1000, 0)), Fate::New);
        let opened = rig.tracker.open(rig.now, rig.opening.unwrap(), rig.terms);
        assert_eq!(opened.is_ok(), opens, "tracker {at}: {opened:?}");
    }
}

#[test]
fn each_invalid_packet_is_counted() {
    let mut rig = Rig::new();
    for count in 1..4 {
        assert_eq!(rig.tcp(O, seg("A", 1000, 1)), INVALID);
        assert_eq!(rig.tracker.statistics().invalid, count);
    }
}

#[test]
fn a_flow_that_its_last_packet_has_ended_can_be_removed_before_it_goes_and_others_do_not_keep_it() {
    for removed in [40_000_u16, 40_001] {
        let mut rig = Rig::new();
        for port in [40_000, 40_001] {
            rig.port(port);
            rig.tcp(O, seg("S", 1000, 0));
        }
        let ids = [40_000, 40_001].map(|port| {
            rig.port(port);
            rig.id(protocol::TCP).unwrap()
        });
        rig.port(40_000);
        assert_eq!(rig.tcp(R, seg("RA", 0, 1001)), Fate::Reply, "it ends the flow with the next call");
        rig.tracker.remove(ids[usize::from(removed - 40_000)]);
        rig.wait(0);
        let left = usize::from(removed == 40_000);
        assert_eq!(rig.tracker.len(), left);
        let Statistics { removed: by_hand, reset, .. } = *rig.tracker.statistics();
        assert_eq!((by_hand, reset), (1, u64::from(removed == 40_001)));
    }
}

#[test]
fn what_is_counted_of_openings_is_exact() {
    let mut rig = Rig::new();
    rig.tracker.reserve_rules(10);
    rig.terms = Terms { rule: Some(RuleKey(7)), max_flows: Some(2), ..rig.terms };
    rig.opens = false;
    for port in 0..4 {
        rig.port(40_000 + port);
        rig.tcp(O, seg("S", 1000, 0));
        let _ = rig.tracker.open(rig.now, rig.opening.unwrap(), rig.terms);
    }
    let Statistics { opened, peak, rule_limited, table_full, .. } = *rig.tracker.statistics();
    assert_eq!((opened, peak, rule_limited, table_full), (2, 2, 2, 0));
    let id = rig.tracker.flows().next().unwrap();
    rig.tracker.remove(id);
    rig.terms.max_flows = None;
    rig.opens = true;
    rig.port(50_000);
    rig.tcp(O, seg("S", 1000, 0));
    assert_eq!(rig.tracker.statistics().opened, 3);
    assert_eq!(rig.tracker.statistics().peak, 2, "there were never more at once");
}

#[test]
fn a_flow_is_live_until_its_deadline_without_a_packet_of_it() {
    let mut rig = Rig::new();
    let (key, _) = rig.key(O, protocol::UDP);
    assert_eq!(rig.tracker.live(rig.now, &key), None);
    rig.udp(O);
    let id = rig.id(protocol::UDP);
    assert_eq!(rig.tracker.live(rig.now + Duration::from_millis(29_999), &key), id);
    assert_eq!(rig.tracker.live(rig.now + Duration::from_millis(30_000), &key), None);
}

#[test]
fn later_fragments_of_a_segment_may_be_acknowledged_and_move_nothing_back() {
    for (sender, peer) in [(O, R), (R, O)] {
        let mut rig = Rig::new();
        rig.establish();
        let id = rig.id(protocol::TCP).unwrap();
        let end = rig.key(sender, protocol::TCP).1;
        let (seq, ack) = if sender == O { (1001, 5001) } else { (5001, 1001) };
        rig.tcp(sender, seg("A", seq, ack).len(100));
        assert_eq!(rig.tcp(peer, seg("A", ack, seq + 500)), INVALID, "these bytes were never sent");
        rig.tracker.extend(id, end, seq + 500);
        rig.tracker.extend(id, end, seq + 50);
        assert_ne!(rig.tcp(peer, seg("A", ack, seq + 500)), INVALID, "{sender:?}");
        assert_eq!(rig.expires_in(), 7440);
        // They came again.
        rig.tracker.extend(id, end, seq + 500);
        rig.tcp(sender, seg("A", seq + 500, ack));
        assert_eq!(rig.expires_in(), 7440, "nothing is unacknowledged");
        rig.tracker.extend(id, end, seq + 501);
        rig.tcp(peer, seg("A", ack, seq + 500));
        assert_eq!(rig.expires_in(), 300, "a byte is");
    }
    let mut rig = Rig::new();
    rig.udp(O);
    let id = rig.id(protocol::UDP).unwrap();
    let before = rig.tracker.flow(id);
    rig.tracker.extend(id, rig.key(O, protocol::UDP).1, 7);
    assert_eq!(rig.tracker.flow(id), before);
}

#[test]
fn every_flow_is_met_once_in_steps_of_any_length() {
    let mut rig = Rig::new();
    for port in 0..20 {
        rig.port(40_000 + port);
        rig.udp(O);
    }
    assert_eq!(rig.tracker.flows_from(0, 1000).0.count(), 20);
    // Flows of IPv6, and gaps.
    for port in 0..7 {
        let [source, destination] =
            [1_u128, 2].map(|host| std::net::Ipv6Addr::from(0xfd << 120 | host).into());
        let ends = ((source, 50_000 + port), (destination, 53));
        let (key, sender) = FlowKey::of_ports(Domain::ROUTED, protocol::UDP, ends.0, ends.1);
        let packet = Packet { key, sender, vlan: O_VLAN, source_mac: O_MAC, transport: Transport::Udp };
        assert_eq!(rig.deliver(&packet), Fate::New);
    }
    let gone: Vec<_> = rig.tracker.flows().step_by(4).collect();
    gone.into_iter().for_each(|flow| rig.tracker.remove(flow));
    let all: Vec<_> = rig.tracker.flows().collect();
    assert_eq!(all.len(), 20);
    for most in [1, 2, 3, 7, 19, 20, 21, 27, 28, 1000] {
        let (mut met, mut cursor, mut steps) = (Vec::new(), Some(0), 0);
        while let Some(from) = cursor {
            let (flows, next) = rig.tracker.flows_from(from, most);
            let before = met.len();
            met.extend(flows);
            assert!(met.len() - before <= most);
            (cursor, steps) = (next, steps + 1);
        }
        assert_eq!(met, all, "{most} at a time");
        assert_eq!(steps, 27_usize.div_ceil(most), "{most} at a time");
    }
    // One whose time is over, or that its last packet has ended, is none any more.
    rig.now = rig.now + Duration::from_secs(29);
    rig.port(40_001);
    rig.udp(R);
    rig.now = rig.now + Duration::from_secs(1);
    rig.tcp(O, seg("S", 1000, 0));
    rig.tcp(R, seg("RA", 0, 1001));
    assert_eq!(rig.tracker.flows().count(), 1);
    assert_eq!(rig.tracker.flows_from(0, 1000).0.count(), 1);
}

#[test]
fn after_an_absence_of_days_just_those_flows_are_there_whose_time_has_not_come() {
    for days in [1, 2, 4] {
        let mut rig = Rig::new();
        rig.terms.idle_timeout = Some(Duration::from_secs(5 * 86_400));
        rig.udp(O);
        rig.now = rig.now + Duration::from_secs(days * 86_400) + Duration::from_secs(3_600);
        rig.ping(O, true, 7);
        assert_eq!(rig.udp(O), Fate::Forward, "{days} days");
        assert_eq!(rig.tracker.len(), 2);
    }
    for days in [6, 11, 20, 26, 30, 48, 52, 60, 400] {
        let mut rig = Rig::new();
        rig.terms.idle_timeout = Some(Duration::from_secs(5 * 86_400));
        rig.udp(O);
        rig.now = rig.now + Duration::from_secs(days * 86_400);
        rig.ping(O, true, 7);
        assert_eq!(rig.tracker.len(), 1, "{days} days");
    }
}

#[test]
fn nothing_is_evicted_where_what_has_expired_makes_room() {
    let mut rig = Rig::with(Config { max_flows: 2, ..Config::default() });
    rig.tcp(O, seg("S", 1000, 0));
    rig.now = rig.now + Duration::from_secs(10);
    rig.port(40_001);
    rig.udp(O);
    rig.now = rig.now + Duration::from_millis(10_064);
    rig.port(40_002);
    assert_eq!(rig.udp(O), Fate::New);
    let Statistics { expired, evicted_half_open, .. } = *rig.tracker.statistics();
    assert_eq!((expired, evicted_half_open, rig.tracker.len()), (1, 0, 2));
}

#[test]
fn a_flow_that_takes_the_place_of_one_of_its_rule_does_not_count_twice() {
    for (rule, opens) in [(RuleKey(7), true), (RuleKey(8), false)] {
        let mut rig = Rig::new();
        rig.tracker.reserve_rules(10);
        // Rule 7 has one flow, which is closing; rule 8 has another.
        for (rule, port) in [(RuleKey(7), 40_000), (RuleKey(8), 40_001)] {
            rig.terms = Terms { rule: Some(rule), max_flows: Some(1), ..rig.terms };
            rig.port(port);
            rig.establish();
        }
        rig.port(40_000);
        rig.tcp(R, seg("R", 5001, 0));
        assert_eq!(rig.state(), Some(State::Closed));
        rig.terms.rule = Some(rule);
        rig.opens = false;
        assert_eq!(rig.tcp(O, seg("S", 90_000, 0)), Fate::New);
        let opened = rig.tracker.open(rig.now, rig.opening.unwrap(), rig.terms);
        assert_eq!(opened.is_ok(), opens, "under {rule:?}: {opened:?}");
        assert_eq!(rig.state(), Some(if opens { State::SynSent } else { State::Closed }));
    }
}

#[test]
fn a_tracker_says_how_much_it_holds_and_may_hold() {
    let mut rig = Rig::new();
    assert!(rig.tracker.is_empty());
    rig.udp(O);
    assert!(!rig.tracker.is_empty());
    assert_eq!(rig.tracker.capacity(), 64);
    let large = Rig::with(Config { max_flows: 100_000, ..Config::default() });
    let (v4, v6) = large.tracker.memory();
    assert!(v4 > 100_000 * 112 && v4 < 100_000 * 160, "{v4} bytes");
    assert!(v6 > v4 && v6 < 100_000 * 200, "{v6} bytes");
    assert!((3_200_000..3_300_000).contains(&large.tracker.flood_memory()), "32 bytes a flow");
}

#[test]
fn what_has_passed_is_told_once_and_what_could_not_be_kept_is_counted() {
    let mut rig = Rig::new();
    rig.tracker.keep_ledger();
    rig.udp(O);
    let id = rig.id(protocol::UDP).unwrap();
    assert_eq!(rig.tracker.report(id), None, "nothing has passed");
    rig.tracker.count_packet(id, Relation::Established, 100);
    rig.tracker.count_packet(id, Relation::Reply, 7);
    rig.tracker.count_packet(id, Relation::Reply, 8);
    let report = rig.tracker.report(id).expect("three packets have passed");
    assert_eq!((report.forth.packets, report.forth.octets), (1, 100));
    assert_eq!((report.back.packets, report.back.octets), (2, 15));
    assert_eq!(rig.tracker.report(id), None, "that was told");
    rig.tracker.remove(id);
    let most = crate::ledger::ENDED as u64;
    for _ in 0..most + 5 {
        rig.udp(O);
        let id = rig.id(protocol::UDP).unwrap();
        rig.tracker.count_packet(id, Relation::Established, 100);
        rig.tracker.remove(id);
    }
    let mut told = 0;
    assert_eq!(rig.tracker.report_ended(|_| told += 1), 5);
    assert_eq!(told, most);
}

#[test]
fn a_source_at_its_share_replaces_its_own_flows_and_that_is_counted() {
    let mut rig = Rig::with(Config { max_flows: 4096, ..Config::default() });
    rig.opens = false;
    let open = |rig: &mut Rig, port| {
        rig.port(port);
        assert_eq!(rig.tcp(O, seg("S", 1000, 0)), Fate::New);
        rig.tracker.open(rig.now, rig.opening.unwrap(), rig.terms).map(drop)
    };
    for port in 0..300 {
        let expected = if port < 256 { Ok(()) } else { Err(DropReason::FlowTableFull) };
        assert_eq!(open(&mut rig, 40_000 + port), expected, "{port}");
    }
    rig.now = rig.now + Duration::from_secs(1);
    for port in 256..300 {
        assert_eq!(open(&mut rig, 40_000 + port), Ok(()), "{port} came twice");
    }
    let Statistics { flood_filtered, evicted_half_open, source_limited, .. } = *rig.tracker.statistics();
    assert_eq!((flood_filtered, evicted_half_open, source_limited, rig.tracker.len()), (44, 44, 0, 256));
}
