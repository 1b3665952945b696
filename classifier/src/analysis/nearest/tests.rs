use super::*;
use crate::addr::Prefix;
use crate::policy::{DefaultAction, PolicyBuilder, PortRange, Segment, Selector, Timestamp};

const WEB: SegmentId = SegmentId(0);
const DB: SegmentId = SegmentId(1);
const STAFF: SegmentId = SegmentId(2);

fn net(prefix: &str) -> Member {
    let prefix: Prefix = prefix.parse().expect("a prefix");
    Member::Selector(Selector { addresses: vec![prefix.into()], ..Selector::default() })
}

fn tcp(port: u16) -> Service {
    Service { protocol: Some(6), source: PortRange::ALL, destination: PortRange::single(port) }
}

fn rule(id: &str, from: Member, to: Member, service: Service, action: Action) -> Rule {
    Rule::new(
        id,
        TierId(0),
        EndpointSet::OneOf(vec![from]),
        EndpointSet::OneOf(vec![to]),
        vec![service],
        action,
    )
}

/// What is told for a flow to a TCP port, with segments web, db and staff and these rules.
fn nearest(rules: Vec<Rule>, from: &str, to: &str, port: u16) -> Option<(Change, Option<String>)> {
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
    for (name, prefix) in [("web", "10.0.1.0/24"), ("db", "10.0.2.0/24"), ("staff", "10.0.3.0/24")] {
        let members = vec![net(prefix)];
        builder.segment(Segment { name: name.into(), members, except: vec![], mode: Mode::Monitor });
    }
    // The default is softened towards segments in monitor mode, so one that is not takes them all in.
    let all = vec![net("10.0.0.0/8")];
    builder.segment(Segment { name: "all".into(), members: all, except: vec![], mode: Mode::Enforce });
    for rule in rules {
        builder.rule(rule);
    }
    let policy = builder.build().expect("the policy is valid");
    let reference = Reference::new(&policy, Timestamp(0));
    let at = |text: &str| Endpoint { vlan: None, mac: None, address: text.parse().expect("an address") };
    let packet = ServicePacket { protocol: 6, source_port: 40_000, destination_port: port };
    let found = nearest_allow(&reference, &at(from), &at(to), packet)?;
    Some((found.change, found.by.map(|id| policy.rule(id).id.clone())))
}

fn web_to_db() -> Rule {
    rule("web-to-db", Member::Segment(WEB), Member::Segment(DB), tcp(5432), Action::Allow)
}

#[test]
fn a_source_that_is_missing_from_a_segment_is_added_to_it() {
    let found = nearest(vec![web_to_db()], "10.0.3.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddToSegment(Side::Source, WEB), Some("web-to-db".into()))));
}

#[test]
fn a_destination_that_is_missing_from_a_segment_is_added_to_it() {
    let found = nearest(vec![web_to_db()], "10.0.1.1", "10.0.3.1", 5432);
    assert_eq!(found, Some((Change::AddToSegment(Side::Destination, DB), Some("web-to-db".into()))));
}

#[test]
fn ends_that_may_talk_on_another_port_get_this_port_too() {
    let found = nearest(vec![web_to_db()], "10.0.1.1", "10.0.2.1", 22);
    assert_eq!(found, Some((Change::AddServiceToRule(RuleId(0)), Some("web-to-db".into()))));
}

#[test]
fn the_segment_that_fewer_rules_name_is_preferred() {
    let staff = |id, port| rule(id, Member::Segment(STAFF), Member::Segment(DB), tcp(port), Action::Allow);
    let rules = vec![staff("staff-a", 5432), staff("staff-b", 22), web_to_db()];
    let found = nearest(rules, "10.0.9.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddToSegment(Side::Source, WEB), Some("web-to-db".into()))));
}

#[test]
fn a_change_behind_the_rule_that_denies_does_not_work_and_is_not_told() {
    let deny = rule("block", net("10.0.3.0/24"), net("10.0.2.0/24"), Service::ANY, Action::Deny);
    let found = nearest(vec![deny, web_to_db()], "10.0.3.1", "10.0.2.1", 5432);
    let before = Some(RuleId(0));
    assert_eq!(found, Some((Change::AddRule { tier: TierId(0), before }, None)));
}

#[test]
fn a_deny_in_front_of_an_allow_that_matches_is_put_to_monitor() {
    let deny = rule("block", net("10.0.1.1"), net("10.0.2.0/24"), Service::ANY, Action::Deny);
    let found = nearest(vec![deny, web_to_db()], "10.0.1.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::MonitorRule(RuleId(0)), Some("web-to-db".into()))));
}

#[test]
fn a_rule_of_bare_addresses_gets_the_address() {
    let bare = rule("bare", net("10.0.9.9"), Member::Segment(DB), tcp(5432), Action::Allow);
    let found = nearest(vec![bare], "10.0.3.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddToRule(Side::Source, RuleId(0)), Some("bare".into()))));
}

#[test]
fn without_any_allow_rule_a_new_one_is_the_nearest() {
    let found = nearest(vec![], "10.0.3.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddRule { tier: TierId(0), before: None }, None)));
}

#[test]
fn a_new_rule_stands_before_the_pass_that_would_skip_it() {
    let pass = Rule {
        from: EndpointSet::Any,
        ..rule("pass", net("10.0.0.0/8"), Member::Segment(DB), Service::ANY, Action::Pass)
    };
    let found = nearest(vec![pass], "10.0.3.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddRule { tier: TierId(0), before: Some(RuleId(0)) }, None)));
}

#[test]
fn a_ping_for_all_is_not_what_a_denied_tcp_flow_was_after() {
    let icmp =
        Service { protocol: Some(1), source: PortRange::ALL, destination: Service::icmp_range(8, Some(0)) };
    let ping = Rule {
        from: EndpointSet::Any,
        to: EndpointSet::Any,
        ..rule("ping", net("10.0.0.0/8"), net("10.0.0.0/8"), icmp, Action::Allow)
    };
    let found = nearest(vec![ping, web_to_db()], "10.0.3.1", "10.0.2.1", 5432);
    assert_eq!(found, Some((Change::AddToSegment(Side::Source, WEB), Some("web-to-db".into()))));
}
