//! Another policy comes into force: what becomes of live flows.

use crate::bed::Bed;
use crate::bed::frame::{ACK, Ip, SYN};
use crate::bed::network::{DB, TRUNK, WEB, bed_with, policy, rule, service};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, Policy, Rule, Selector, Timestamp,
};
use classifier::reason::DropReason;
use dataplane::batch::FlowRole;
use std::time::Duration;

fn out() -> Vec<u8> {
    Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), b"hello").by(&WEB).bytes()
}

fn back() -> Vec<u8> {
    Ip::udp(DB.v4(), WEB.v4(), (5000, 4000), b"hello").by(&DB).bytes()
}

/// From WEB's VLAN to everywhere.
fn from_web(id: &str) -> Rule {
    let here = Selector { vlan: Some(WEB.vlan()), ..Selector::default() };
    Rule { from: EndpointSet::OneOf(vec![Member::Selector(here)]), ..rule(id, Action::Allow) }
}

fn deny_but(rules: Vec<Rule>) -> Policy {
    policy(DefaultAction::Deny, Mode::Enforce, rules)
}

fn with_flow(rules: Vec<Rule>) -> Bed {
    let mut bed = bed_with(DefaultAction::Deny, rules);
    bed.send(TRUNK, out()).opened();
    bed.send(TRUNK, back()).followed(FlowRole::Reply);
    bed
}

#[test]
fn a_flow_that_is_allowed_before_and_after_loses_no_packet() {
    let mut bed = with_flow(vec![from_web("web")]);
    for round in 0..100 {
        bed.install(deny_but(vec![from_web(if round % 2 == 0 { "web" } else { "other" })]));
        // The reply comes first after every other change: it is judged in the opener's direction.
        if round % 3 == 0 {
            bed.send(TRUNK, back()).followed(FlowRole::Reply);
        }
        let sent = bed.send(TRUNK, out());
        sent.followed(FlowRole::Established);
        assert_eq!(sent.rule.as_deref(), Some(if round % 2 == 0 { "web" } else { "other" }));
        bed.send(TRUNK, back()).followed(FlowRole::Reply);
    }
    assert_eq!(bed.engine.tracker().len(), 1);
}

#[test]
fn a_flow_that_is_denied_now_ends_with_policy_changed_whoever_sends() {
    for frame in [out(), back()] {
        let mut bed = with_flow(vec![from_web("web")]);
        bed.install(deny_but(vec![]));
        bed.send(TRUNK, &frame).dropped(DropReason::PolicyChanged);
        assert_eq!(bed.engine.tracker().len(), 0);
        bed.send(TRUNK, &frame).dropped(DropReason::DefaultDeny);
    }
}

#[test]
fn a_flow_that_is_rejected_now_is_dropped_in_silence() {
    let mut bed = with_flow(vec![from_web("web")]);
    bed.install(deny_but(vec![rule("no", Action::Reject)]));
    let sent = bed.send(TRUNK, out());
    sent.dropped(DropReason::PolicyChanged);
    assert_eq!(sent.rule.as_deref(), Some("no"));
}

#[test]
fn an_established_connection_that_is_cut_is_ct_invalid_from_then_on() {
    let mut bed = bed_with(DefaultAction::Deny, vec![from_web("web")]);
    let segment = |flags, numbers, payload: &[u8]| {
        Ip::tcp(WEB.v4(), DB.v4(), (4000, 443), flags, numbers, payload).by(&WEB).bytes()
    };
    bed.send(TRUNK, segment(SYN, (100, 0), b"")).opened();
    let syn_ack = Ip::tcp(DB.v4(), WEB.v4(), (443, 4000), SYN | ACK, (500, 101), b"").by(&DB);
    bed.send(TRUNK, syn_ack.bytes()).followed(FlowRole::Reply);
    bed.install(deny_but(vec![]));
    bed.send(TRUNK, segment(ACK, (101, 501), b"x")).dropped(DropReason::PolicyChanged);
    bed.install(deny_but(vec![from_web("web")]));
    bed.send(TRUNK, segment(ACK, (101, 501), b"x")).dropped(DropReason::CtInvalid);
}

#[test]
fn a_rule_that_keeps_its_flows_keeps_them_as_long_as_it_exists() {
    let keep = || Rule { established: Established::Keep, ..from_web("web") };
    let mut bed = with_flow(vec![keep()]);
    // The rule no longer matches the flow, but it is there.
    bed.install(deny_but(vec![Rule { services: service(6, 22), ..keep() }]));
    let sent = bed.send(TRUNK, out());
    sent.followed(FlowRole::Established);
    assert_eq!(sent.rule.as_deref(), Some("web"));
    bed.send(TRUNK, back()).followed(FlowRole::Reply);
    let new = Ip::udp(WEB.v4(), DB.v4(), (4001, 5000), b"new").by(&WEB);
    bed.send(TRUNK, new.bytes()).dropped(DropReason::DefaultDeny);
    bed.install(deny_but(vec![]));
    bed.send(TRUNK, out()).dropped(DropReason::PolicyChanged);
}

#[test]
fn a_rule_that_expires_takes_its_flows_with_it() {
    for established in [Established::Recheck, Established::Keep] {
        let mut bed = bed_with(DefaultAction::Deny, vec![]);
        let at = Timestamp(i128::from(bed.now.0) + 10_000_000_000);
        let rules = deny_but(vec![Rule { expires: Some(at), established, ..from_web("web") }]);
        bed.install(rules.clone());
        bed.send(TRUNK, out()).opened();
        bed.wait(Duration::from_millis(9_999));
        bed.install(rules.clone());
        bed.send(TRUNK, back()).followed(FlowRole::Reply);
        bed.wait(Duration::from_millis(1));
        bed.install(rules);
        bed.send(TRUNK, out()).dropped(DropReason::PolicyChanged);
        bed.send(TRUNK, out()).dropped(DropReason::DefaultDeny);
    }
}

#[test]
fn o02_a_removed_rule_cuts_all_its_flows_in_one_batch() {
    let mut bed = bed_with(DefaultAction::Deny, vec![from_web("web")]);
    let frames: Vec<Vec<u8>> =
        (0..64).map(|n| Ip::udp(WEB.v4(), DB.v4(), (4000 + n, 5000), b"x").by(&WEB).bytes()).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let opened = bed.send_all(TRUNK, &frames).pop().expect("the last");
    assert_eq!(opened.moved, [("received", 64), ("forwarded", 64), ("flows", 64)]);
    bed.install(deny_but(vec![]));
    let cut = bed.send_all(TRUNK, &frames).pop().expect("the last");
    assert_eq!(cut.moved, [("received", 64), ("policy-changed", 64)]);
}
