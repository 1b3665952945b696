//! Monitoring instead of enforcing, and the limits of rules.

use crate::bed::frame::Ip;
use crate::bed::network::{DB, TRUNK, WEB, address, bed_with, open, policy, rule};
use crate::bed::{Bed, Setup};
use classifier::addr::IpRange;
use classifier::policy::{Action, DefaultAction, Member, Mode, PolicyBuilder, Rule, Segment, Selector};
use classifier::reason::DropReason;
use dataplane::batch::FlowRole;
use std::time::Duration;

fn datagram(port: u16) -> Vec<u8> {
    Ip::udp(WEB.v4(), DB.v4(), (port, 5000), b"hello").by(&WEB).bytes()
}

/// The word for what would have been, and whether a rule says so.
fn would(sent: &crate::bed::Sent) -> Option<(&'static str, bool)> {
    sent.outcome.would.map(|would| (would.name(), would.rule.is_some()))
}

#[test]
fn a_monitor_rule_is_recorded_and_the_next_one_decides() {
    let watch = Rule { mode: Mode::Monitor, ..rule("watch", Action::Deny) };
    let mut bed = bed_with(DefaultAction::Deny, vec![watch, rule("yes", Action::Allow)]);
    let sent = bed.send(TRUNK, datagram(1));
    sent.opened();
    assert_eq!((would(&sent), sent.rule.as_deref()), (Some(("would-deny", true)), Some("yes")));
    let again = bed.send(TRUNK, datagram(1));
    again.followed(FlowRole::Established);
    assert_eq!(would(&again), None, "only the first packet tells of it");
}

#[test]
fn a_monitored_policy_drops_nothing_but_what_is_unfit() {
    for (default, rules, word) in [
        (DefaultAction::Deny, vec![], "would-deny"),
        (DefaultAction::Reject, vec![], "would-reject"),
        (DefaultAction::Allow, vec![rule("no", Action::Deny)], "would-deny"),
        (DefaultAction::Allow, vec![rule("no", Action::Reject)], "would-reject"),
    ] {
        let id = rules.first().map(|rule| rule.id.clone());
        let mut bed = Bed::new(Setup { policy: policy(default, Mode::Monitor, rules), ..open() });
        let sent = bed.send(TRUNK, datagram(1));
        sent.opened();
        assert_eq!(would(&sent), Some((word, id.is_some())));
        assert_eq!(sent.rule, id);
        let spoofed = Ip::udp(address("8.8.8.8"), DB.v4(), (1, 2), b"x").by(&WEB);
        bed.send(TRUNK, spoofed.bytes()).dropped(DropReason::Spoofed);
    }
}

fn to_monitored_segment(rules: Vec<Rule>) -> Bed {
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
    let db = Selector { addresses: vec![IpRange::single(DB.v4())], ..Selector::default() };
    builder.segment(Segment {
        name: "db".into(),
        members: vec![Member::Selector(db)],
        except: Vec::new(),
        mode: Mode::Monitor,
    });
    for rule in rules {
        builder.rule(rule);
    }
    Bed::new(Setup { policy: builder.build().unwrap(), ..open() })
}

#[test]
fn a_monitored_segment_softens_the_default_and_no_explicit_deny() {
    let mut bed = to_monitored_segment(vec![]);
    let sent = bed.send(TRUNK, datagram(1));
    sent.opened();
    assert_eq!((would(&sent), sent.rule.as_deref()), (Some(("would-deny", false)), None));
    // The other way round the destination is in no segment.
    let other = Ip::udp(DB.v4(), WEB.v4(), (1, 2), b"x").by(&DB);
    bed.send(TRUNK, other.bytes()).dropped(DropReason::DefaultDeny);
    let mut bed = to_monitored_segment(vec![rule("no", Action::Deny)]);
    bed.send(TRUNK, datagram(1)).dropped(DropReason::PolicyDeny);
}

#[test]
fn a_rule_has_no_more_flows_at_once_than_its_limit() {
    let two = || vec![Rule { max_flows: Some(2), ..rule("two", Action::Allow) }];
    let mut bed = bed_with(DefaultAction::Deny, two());
    bed.send(TRUNK, datagram(1)).opened();
    bed.send(TRUNK, datagram(2)).opened();
    let sent = bed.send(TRUNK, datagram(3));
    sent.dropped(DropReason::RuleLimit);
    assert_eq!((sent.rule.as_deref(), sent.outcome.flow), (Some("two"), None));
    bed.send(TRUNK, datagram(1)).followed(FlowRole::Established);
    // When a flow ends there is room for another.
    bed.wait(Duration::from_secs(32));
    bed.tick();
    bed.send(TRUNK, datagram(3)).opened();
    let monitored = policy(DefaultAction::Deny, Mode::Monitor, two());
    let mut bed = Bed::new(Setup { policy: monitored, ..open() });
    for port in 1..=3 {
        bed.send(TRUNK, datagram(port)).opened();
    }
}

#[test]
fn a_rules_idle_timeout_ends_its_settled_flows() {
    let short = Rule { idle_timeout: Some(Duration::from_secs(5)), ..rule("short", Action::Allow) };
    let mut bed = bed_with(DefaultAction::Deny, vec![short]);
    bed.send(TRUNK, datagram(1)).opened();
    let answer = Ip::udp(DB.v4(), WEB.v4(), (5000, 1), b"hello").by(&DB).bytes();
    bed.send(TRUNK, answer).followed(FlowRole::Reply);
    bed.wait(Duration::from_secs(4));
    bed.tick();
    bed.send(TRUNK, datagram(1)).followed(FlowRole::Established);
    bed.wait(Duration::from_secs(7));
    bed.tick();
    bed.send(TRUNK, datagram(1)).opened();
}
