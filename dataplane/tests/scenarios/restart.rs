//! A planned restart: what becomes of live flows under the configuration that is in force afterwards.

use crate::bed::frame::{ACK, Ip, SYN};
use crate::bed::network::{CAMERA, DB, DESK, TRUNK, WAN, WEB, bed_with, policy, rule, service, topology};
use crate::bed::{Bed, Setup};
use classifier::policy::{Action, DefaultAction, EndpointSet, Established, Member, Mode, Rule, Selector};
use classifier::reason::DropReason;
use conntrack::snapshot::{Names, Skip, Snapshot, Stamp, write};
use dataplane::batch::FlowRole;
use dataplane::restore::Restored;
use std::time::Duration;

fn from_web(id: &str) -> Rule {
    let here = Selector { vlan: Some(WEB.vlan()), ..Selector::default() };
    Rule { from: EndpointSet::OneOf(vec![Member::Selector(here)]), ..rule(id, Action::Allow) }
}

fn names(setup: &Setup) -> Names<'_> {
    Names {
        ports: setup.topology.ports.iter().map(|port| port.name.as_str()).collect(),
        stitches: setup.topology.stitches.iter().map(|stitch| stitch.name.as_str()).collect(),
        rules: setup.policy.rules().iter().map(|rule| rule.id.as_str()).collect(),
    }
}

/// Another engine, of another setup, with the flows of the first.
fn restarted(bed: Bed, setup: Setup, away: Duration) -> (Bed, Restored) {
    let mut bytes = Vec::new();
    let before = bed.setup.clone();
    write(&[bed.engine.into_tracker()], &names(&before), &Stamp::default(), 0, &mut bytes).unwrap();
    let mut bed = Bed::new(setup);
    let after = bed.setup.clone();
    let snapshot = Snapshot::open(&bytes).unwrap();
    let restored = bed.engine.restore(bed.now, &snapshot, &names(&after), away);
    assert_eq!(restored.flows + restored.skipped.iter().sum::<u64>(), restored.saved);
    (bed, restored)
}

fn with_rules(rules: Vec<Rule>) -> Setup {
    bed_with(DefaultAction::Deny, rules).setup
}

fn segment(flags: u8, numbers: (u32, u32), payload: &[u8]) -> Vec<u8> {
    Ip::tcp(WEB.v4(), DB.v4(), (4000, 443), flags, numbers, payload).by(&WEB).bytes()
}

fn answer(flags: u8, numbers: (u32, u32), payload: &[u8]) -> Vec<u8> {
    Ip::tcp(DB.v4(), WEB.v4(), (443, 4000), flags, numbers, payload).by(&DB).bytes()
}

/// A gateway with a connection from WEB to DB.
fn connected(rules: Vec<Rule>) -> Bed {
    let mut bed = bed_with(DefaultAction::Deny, rules);
    bed.send(TRUNK, segment(SYN, (100, 0), b"")).opened();
    bed.send(TRUNK, answer(SYN | ACK, (500, 101), b"")).followed(FlowRole::Reply);
    bed.send(TRUNK, segment(ACK, (101, 501), b"x")).followed(FlowRole::Established);
    bed
}

#[test]
fn a_connection_goes_on_and_is_checked_as_strictly_as_before() {
    for is_answer_first in [false, true] {
        let rules = || vec![from_web("web")];
        let (mut bed, restored) = restarted(connected(rules()), with_rules(rules()), Duration::from_secs(1));
        assert_eq!((restored.saved, restored.flows, restored.marked), (1, 1, 0));
        // A megabyte beyond the window.
        bed.send(TRUNK, segment(ACK, (1_100_000, 501), b"y")).dropped(DropReason::CtInvalid);
        if is_answer_first {
            bed.send(TRUNK, answer(ACK, (501, 102), b"z")).followed(FlowRole::Reply);
        }
        let sent = bed.send(TRUNK, segment(ACK, (102, 501), b"y"));
        sent.followed(FlowRole::Established);
        assert_eq!(sent.rule.as_deref(), Some("web"));
        assert_eq!(bed.engine.tracker().len(), 1);
    }
}

#[test]
fn a_flow_that_is_denied_now_is_not_restored_whatever_its_rule_says_of_reloads() {
    for established in [Established::Recheck, Established::Keep] {
        let rules = || vec![Rule { established, ..from_web("web") }];
        let changed = vec![Rule { services: service(6, 22), established, ..from_web("web") }];
        let (mut bed, restored) = restarted(connected(rules()), with_rules(changed), Duration::ZERO);
        assert_eq!((restored.flows, restored.skipped(Skip::Policy)), (0, 1));
        bed.send(TRUNK, segment(ACK, (102, 501), b"y")).dropped(DropReason::CtInvalid);
        bed.send(TRUNK, answer(ACK, (501, 102), b"z")).dropped(DropReason::CtInvalid);
    }
}

#[test]
fn a_flow_is_judged_anew_and_may_have_another_rule_than_before() {
    let bed = connected(vec![from_web("web")]);
    let limited = Rule { max_flows: Some(1), ..from_web("other") };
    let (mut bed, restored) =
        restarted(bed, with_rules(vec![rule("no", Action::Deny), limited.clone()]), Duration::ZERO);
    assert_eq!(restored.flows, 0, "a deny comes first");
    bed.send(TRUNK, segment(ACK, (102, 501), b"y")).dropped(DropReason::CtInvalid);

    let bed = connected(vec![from_web("web")]);
    let (mut bed, _) = restarted(bed, with_rules(vec![limited]), Duration::ZERO);
    let sent = bed.send(TRUNK, segment(ACK, (102, 501), b"y"));
    sent.followed(FlowRole::Established);
    assert_eq!(sent.rule.as_deref(), Some("other"));
    // It counts as a flow of its new rule.
    let second = Ip::udp(WEB.v4(), DB.v4(), (4001, 5000), b"new").by(&WEB);
    bed.send(TRUNK, second.bytes()).dropped(DropReason::RuleLimit);
}

#[test]
fn a_flow_of_a_vlan_that_is_gone_or_was_stitched_is_not_restored() {
    let allow = || bed_with(DefaultAction::Allow, vec![]).setup;
    let connected = || connected(vec![from_web("web")]);
    let mut gone = allow();
    gone.topology.vlans.retain(|vlan| vlan.key != DB.vlan());
    gone.topology.routes.retain(|route| route.vlan != DB.vlan());
    gone.topology.neighbors.retain(|neighbor| neighbor.vlan != DB.vlan());
    gone.topology.bindings.clear();
    let mut renamed = allow();
    renamed.topology.ports[0].name = "another".into();
    let mut stitched = allow();
    let desk = topology().vlans.into_iter().find(|vlan| vlan.key == DESK.vlan()).unwrap();
    for vlan in &mut stitched.topology.vlans {
        if vlan.key == DB.vlan() {
            vlan.role = desk.role.clone();
        }
    }
    stitched.topology.stitches[0].vlans.push(DB.vlan());
    stitched.topology.routes.retain(|route| route.vlan != DB.vlan());
    for setup in [gone, renamed, stitched] {
        let (bed, restored) = restarted(connected(), setup, Duration::ZERO);
        assert_eq!(restored.skipped(Skip::Network), 1);
        assert_eq!(bed.engine.tracker().len(), 0);
    }
}

#[test]
fn a_flow_of_a_stitch_is_judged_by_its_first_packet() {
    let out = || Ip::udp(DESK.v4(), CAMERA.v4(), (4000, 5000), b"x").between_macs(&DESK, CAMERA.mac).bytes();
    let back = || Ip::udp(CAMERA.v4(), DESK.v4(), (5000, 4000), b"x").between_macs(&CAMERA, DESK.mac).bytes();
    for established in [Established::Recheck, Established::Keep] {
        let rules = || vec![Rule { established, ..rule("floor", Action::Allow) }];
        let connected = || {
            let mut bed = bed_with(DefaultAction::Deny, rules());
            bed.send(TRUNK, out());
            bed.send(WAN, back()).followed(FlowRole::Reply);
            bed
        };
        let (mut bed, restored) = restarted(connected(), with_rules(rules()), Duration::ZERO);
        assert_eq!((restored.flows, restored.marked), (1, 1));
        // The camera's answer goes home though nobody has told the new process where that is.
        bed.send(WAN, back()).followed(FlowRole::Reply);
        for frame in [(TRUNK, out()), (WAN, back())] {
            let changed =
                vec![Rule { services: service(6, 22), established, ..rule("floor", Action::Allow) }];
            let (mut bed, restored) = restarted(connected(), with_rules(changed), Duration::ZERO);
            assert_eq!((restored.flows, restored.marked), (1, 1));
            bed.send(frame.0, frame.1).dropped(DropReason::PolicyChanged);
            assert_eq!(bed.engine.tracker().len(), 0);
        }
    }
}

#[test]
fn flows_whose_time_is_up_meanwhile_are_not_restored() {
    let rules = || vec![Rule { idle_timeout: Some(Duration::from_secs(60)), ..from_web("web") }];
    let (_, restored) = restarted(connected(rules()), with_rules(rules()), Duration::from_secs(59));
    assert_eq!(restored.flows, 1);
    let (_, restored) = restarted(connected(rules()), with_rules(rules()), Duration::from_secs(60));
    assert_eq!((restored.flows, restored.skipped(Skip::Expired)), (0, 1));
}

#[test]
fn a_policy_that_only_watches_restores_what_it_would_have_denied() {
    let bed = connected(vec![from_web("web")]);
    let mut setup = with_rules(vec![]);
    setup.policy = policy(DefaultAction::Deny, Mode::Monitor, vec![]);
    let (mut bed, restored) = restarted(bed, setup, Duration::ZERO);
    assert_eq!(restored.flows, 1);
    bed.send(TRUNK, segment(ACK, (102, 501), b"y")).followed(FlowRole::Established);
}
