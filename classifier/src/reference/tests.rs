//! One test for each statement of POLICY.md §2 and §4 that the scan is to keep.

use super::*;
use crate::addr::{IpRange, Mac, PortId, VlanKey};
use crate::decision::Verdict;
use crate::policy::{DefaultAction, PolicyBuilder, PortRange, Segment, Service, TierId};

const NOW: Timestamp = Timestamp(1_000);
const TCP: u8 = 6;

fn vlan(vid: u16) -> VlanKey {
    VlanKey::new(PortId(0), vid)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn at(address: &str) -> Endpoint {
    Endpoint { vlan: None, mac: None, address: address.parse().expect("an address") }
}

fn net(prefix: &str) -> Selector {
    let prefix: crate::addr::Prefix = prefix.parse().expect("a prefix");
    Selector { addresses: vec![IpRange::from(prefix)], ..Selector::default() }
}

fn member(prefix: &str) -> Member {
    Member::Selector(net(prefix))
}

fn segment(name: &str, members: Vec<Member>, except: Vec<Member>) -> Segment {
    Segment { name: name.into(), members, except, mode: Mode::Enforce }
}

fn segments_of(segments: Vec<Segment>, endpoint: &Endpoint) -> Vec<String> {
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
    for segment in segments {
        builder.segment(segment);
    }
    let policy = builder.build().expect("the policy is valid");
    let found = Reference::new(&policy, NOW).segments_of(endpoint);
    found.iter().map(|SegmentId(id)| policy.segments()[*id as usize].name.clone()).collect()
}

fn selects_with(selector: Selector, endpoint: &Endpoint) -> bool {
    !segments_of(vec![segment("s", vec![Member::Selector(selector)], vec![])], endpoint).is_empty()
}

fn rule(id: &str, tier: u16, action: Action) -> Rule {
    Rule::new(id, TierId(tier), EndpointSet::Any, EndpointSet::Any, vec![Service::ANY], action)
}

fn monitor(id: &str, tier: u16, action: Action) -> Rule {
    Rule { mode: Mode::Monitor, ..rule(id, tier, action) }
}

fn tcp(first: u16, last: u16) -> Service {
    Service { protocol: Some(TCP), source: PortRange::ALL, destination: PortRange { first, last } }
}

fn packet(protocol: u8, destination_port: u16) -> ServicePacket {
    ServicePacket { protocol, source_port: 40_000, destination_port }
}

/// The ids of the rule that decides a packet to TCP port 80, and of the first monitor rule.
fn judge(rules: Vec<Rule>) -> (Option<String>, Option<String>) {
    let mut builder =
        PolicyBuilder::new(vec!["first".into(), "second".into()], DefaultAction::Deny, Mode::Enforce);
    for rule in rules {
        builder.rule(rule);
    }
    let policy = builder.build().expect("the policy is valid");
    let judgement = Reference::new(&policy, NOW).judge(&at("10.0.0.1"), &at("10.0.0.2"), packet(TCP, 80));
    let name = |id: RuleId| policy.rule(id).id.clone();
    (judgement.decided_by.map(name), judgement.first_monitor.map(name))
}

fn decided(id: &str) -> (Option<String>, Option<String>) {
    (Some(id.into()), None)
}

#[test]
fn an_endpoint_is_in_a_segment_when_one_member_matches() {
    let web = segment("web", vec![member("10.0.1.0/24"), member("fd00::/64")], vec![]);
    for (address, expected) in
        [("10.0.1.255", 1), ("10.0.2.0", 0), ("fd00::9", 1), ("fd00:0:0:1::", 0), ("0.0.0.0", 0)]
    {
        assert_eq!(segments_of(vec![web.clone()], &at(address)).len(), expected, "{address}");
    }
}

#[test]
fn an_exception_is_stronger_than_every_member() {
    let web = segment("web", vec![member("10.0.1.0/24"), member("10.0.1.7")], vec![member("10.0.1.7")]);
    assert!(segments_of(vec![web.clone()], &at("10.0.1.7")).is_empty());
    assert_eq!(segments_of(vec![web], &at("10.0.1.8")), ["web"]);
}

#[test]
fn a_range_holds_both_of_its_ends() {
    let range = IpRange::between("10.0.31.5".parse().expect("one"), "10.0.31.9".parse().expect("two"));
    let selector = Selector { addresses: vec![range.expect("in order")], ..Selector::default() };
    for (address, expected) in
        [("10.0.31.4", false), ("10.0.31.5", true), ("10.0.31.9", true), ("10.0.31.10", false)]
    {
        assert_eq!(selects_with(selector.clone(), &at(address)), expected, "{address}");
    }
}

#[test]
fn a_segment_takes_in_the_segments_that_it_names_with_their_exceptions() {
    let inner = segment("inner", vec![member("10.0.0.0/16")], vec![member("10.0.9.0/24")]);
    let outer = segment("outer", vec![Member::Segment(SegmentId(0))], vec![member("10.0.8.0/24")]);
    let all = vec![inner, outer];
    assert_eq!(segments_of(all.clone(), &at("10.0.1.1")), ["inner", "outer"]);
    assert_eq!(segments_of(all.clone(), &at("10.0.8.1")), ["inner"]);
    assert!(segments_of(all, &at("10.0.9.1")).is_empty());
}

#[test]
fn a_segment_may_be_an_exception_and_its_own_exceptions_count_there() {
    let lab = segment("lab", vec![member("10.0.0.0/24")], vec![member("10.0.0.5")]);
    let all = segment("all", vec![member("10.0.0.0/8")], vec![Member::Segment(SegmentId(0))]);
    assert_eq!(segments_of(vec![lab.clone(), all.clone()], &at("10.0.0.5")), ["all"]);
    assert_eq!(segments_of(vec![lab, all], &at("10.0.0.6")), ["lab"]);
}

#[test]
fn an_endpoint_may_be_in_many_segments_and_they_are_told_by_name() {
    let names = ["zeta", "alpha", "mid"];
    let all = names.iter().map(|n| segment(n, vec![member("10.0.0.0/8")], vec![])).collect();
    assert_eq!(segments_of(all, &at("10.1.2.3")), ["alpha", "mid", "zeta"]);
}

#[test]
fn a_segment_without_members_matches_nothing() {
    assert!(segments_of(vec![segment("none", vec![], vec![])], &at("10.1.2.3")).is_empty());
}

#[test]
fn the_table_form_asks_for_vlan_and_address_at_once() {
    let both = Selector { vlan: Some(vlan(31)), ..net("10.0.31.0/24") };
    let on = |vid, address: &str| Endpoint { vlan: Some(vlan(vid)), ..at(address) };
    assert!(selects_with(both.clone(), &on(31, "10.0.31.1")));
    assert!(!selects_with(both.clone(), &on(30, "10.0.31.1")));
    assert!(!selects_with(both.clone(), &on(31, "10.0.32.1")));
    assert!(!selects_with(both, &at("10.0.31.1")), "an unknown VLAN is no VLAN");
}

#[test]
fn the_same_vid_on_another_port_is_another_vlan() {
    let selector = Selector { vlan: Some(vlan(10)), ..Selector::default() };
    let elsewhere = Endpoint { vlan: Some(VlanKey::new(PortId(1), 10)), ..at("10.0.0.1") };
    assert!(!selects_with(selector, &elsewhere));
}

#[test]
fn a_workload_is_matched_by_one_of_its_addresses_and_one_of_its_macs_and_its_vlan() {
    let workload = Selector {
        vlan: Some(vlan(5)),
        macs: vec![mac(1), mac(2)],
        addresses: vec![
            IpRange::single("10.0.0.1".parse().expect("one")),
            IpRange::single("fd00::1".parse().expect("two")),
        ],
    };
    let full = Endpoint { vlan: Some(vlan(5)), mac: Some(mac(2)), ..at("fd00::1") };
    assert!(selects_with(workload.clone(), &full));
    assert!(!selects_with(workload.clone(), &Endpoint { vlan: Some(vlan(6)), ..full }));
    assert!(!selects_with(workload.clone(), &Endpoint { mac: Some(mac(3)), ..full }));
    let address = "10.0.0.2".parse().expect("an address");
    assert!(!selects_with(workload, &Endpoint { address, ..full }));
}

#[test]
fn a_mac_never_matches_a_destination_that_has_none() {
    let by_mac = Selector { macs: vec![mac(7)], ..Selector::default() };
    assert!(selects_with(by_mac.clone(), &Endpoint { mac: Some(mac(7)), ..at("10.0.0.1") }));
    assert!(!selects_with(by_mac, &at("10.0.0.1")));
}

#[test]
fn the_first_matching_rule_decides_whatever_it_says() {
    for action in [Action::Allow, Action::Deny, Action::Reject] {
        assert_eq!(judge(vec![rule("a", 0, action), rule("b", 0, Action::Allow)]), decided("a"));
    }
}

#[test]
fn tiers_come_before_the_order_of_the_files() {
    let rules = vec![rule("late", 1, Action::Allow), rule("early", 0, Action::Deny)];
    assert_eq!(judge(rules), decided("early"));
}

#[test]
fn a_pass_leaves_its_tier_and_no_more() {
    let rules =
        vec![rule("pass", 0, Action::Pass), rule("skipped", 0, Action::Deny), rule("next", 1, Action::Allow)];
    assert_eq!(judge(rules), decided("next"));
}

#[test]
fn a_pass_out_of_the_last_tier_leaves_it_to_the_default() {
    let rules = vec![rule("pass", 1, Action::Pass), rule("skipped", 1, Action::Allow)];
    assert_eq!(judge(rules), (None, None));
}

#[test]
fn a_monitor_rule_is_recorded_and_the_evaluation_goes_on_as_if_it_stood_nowhere() {
    for action in [Action::Allow, Action::Deny, Action::Reject, Action::Pass] {
        let rules = vec![monitor("watch", 0, action), rule("a", 0, Action::Allow)];
        assert_eq!(judge(rules), (Some("a".into()), Some("watch".into())));
    }
}

#[test]
fn only_the_first_monitor_rule_counts_and_only_before_the_rule_that_decides() {
    let rules = vec![
        monitor("one", 0, Action::Deny),
        monitor("two", 0, Action::Allow),
        rule("a", 1, Action::Allow),
        monitor("behind", 1, Action::Deny),
    ];
    assert_eq!(judge(rules), (Some("a".into()), Some("one".into())));
    let rules = vec![rule("a", 0, Action::Allow), monitor("behind", 0, Action::Deny)];
    assert_eq!(judge(rules), decided("a"));
}

#[test]
fn a_monitor_rule_behind_a_pass_of_its_tier_is_not_reached() {
    let rules = vec![rule("pass", 0, Action::Pass), monitor("watch", 0, Action::Deny)];
    assert_eq!(judge(rules), (None, None));
}

#[test]
fn a_rule_is_as_if_not_there_from_the_moment_that_it_expires() {
    for (expires, expected) in [(999, "b"), (1_000, "b"), (1_001, "a")] {
        let a = Rule { expires: Some(Timestamp(expires)), ..rule("a", 0, Action::Deny) };
        assert_eq!(judge(vec![a, rule("b", 0, Action::Allow)]), decided(expected), "{expires}");
    }
}

#[test]
fn a_rule_matches_when_source_destination_and_service_all_do() {
    let only = |from: &str, to: &str, service| Rule {
        from: EndpointSet::OneOf(vec![member(from)]),
        to: EndpointSet::OneOf(vec![member(to)]),
        services: vec![service],
        ..rule("a", 0, Action::Allow)
    };
    let (here, there, elsewhere) = ("10.0.0.1", "10.0.0.2", "10.0.0.3");
    assert_eq!(judge(vec![only(here, there, tcp(80, 80))]), decided("a"));
    assert_eq!(judge(vec![only(elsewhere, there, tcp(80, 80))]), (None, None));
    assert_eq!(judge(vec![only(here, elsewhere, tcp(80, 80))]), (None, None));
    assert_eq!(judge(vec![only(here, there, tcp(81, 90))]), (None, None));
    assert_eq!(judge(vec![only(there, here, tcp(80, 80))]), (None, None), "rules have a direction");
}

#[test]
fn one_of_several_services_is_enough() {
    let services = vec![tcp(22, 22), tcp(80, 90)];
    assert_eq!(judge(vec![Rule { services, ..rule("a", 0, Action::Allow) }]), decided("a"));
}

#[test]
fn source_ports_count_where_a_service_names_them() {
    let with = |first, last| Service { source: PortRange { first, last }, ..tcp(80, 80) };
    let rules = |service| vec![Rule { services: vec![service], ..rule("a", 0, Action::Allow) }];
    assert_eq!(judge(rules(with(40_000, 40_000))), decided("a"));
    assert_eq!(judge(rules(with(40_001, 50_000))), (None, None));
}

#[test]
fn only_a_destination_whose_segments_are_all_in_monitor_mode_is_softened() {
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Reject, Mode::Enforce);
    let mode = |segment: Segment, mode| Segment { mode, ..segment };
    builder.segment(mode(segment("new", vec![member("10.1.0.0/16")], vec![]), Mode::Monitor));
    builder.segment(mode(segment("pilot", vec![member("10.1.1.0/24")], vec![]), Mode::Monitor));
    builder.segment(mode(segment("old", vec![member("10.1.1.1")], vec![]), Mode::Enforce));
    let to = EndpointSet::OneOf(vec![member("10.1.1.9")]);
    builder.rule(Rule { to, ..rule("no", 0, Action::Deny) });
    let policy = builder.build().expect("the policy is valid");
    let reference = Reference::new(&policy, NOW);
    let decide = |to: &str| reference.decide(&at("10.1.1.2"), &at(to), packet(TCP, 80));
    assert_eq!(decide("10.1.0.1").verdict, Verdict::Allow);
    assert_eq!(decide("10.1.1.2").verdict, Verdict::Allow);
    assert_eq!(decide("10.1.1.1").verdict, Verdict::Reject, "one of its segments is enforced");
    assert_eq!(decide("10.2.0.1").verdict, Verdict::Reject, "it is in no segment");
    assert_eq!(decide("10.1.1.9").verdict, Verdict::Deny, "a rule is enforced all the same");
    let would = decide("10.1.0.1").would.map(|w| (w.name(), w.rule));
    assert_eq!(would, Some(("would-reject", None)));
}
