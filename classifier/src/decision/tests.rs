use super::*;
use crate::policy::{EndpointSet, PolicyBuilder, Rule, Service, TierId};

const DENY: RuleId = RuleId(0);
const REJECT: RuleId = RuleId(1);
const ALLOW: RuleId = RuleId(2);
const WATCH_DENY: RuleId = RuleId(3);
const WATCH_PASS: RuleId = RuleId(4);

fn policy(default: DefaultAction, mode: Mode) -> Policy {
    let mut builder = PolicyBuilder::new(vec!["default".into()], default, mode);
    let rules = [
        (Action::Deny, Mode::Enforce),
        (Action::Reject, Mode::Enforce),
        (Action::Allow, Mode::Enforce),
        (Action::Deny, Mode::Monitor),
        (Action::Pass, Mode::Monitor),
    ];
    for (at, (action, mode)) in rules.into_iter().enumerate() {
        builder.rule(Rule {
            mode,
            ..Rule::new(
                format!("r{at}"),
                TierId(0),
                EndpointSet::Any,
                EndpointSet::Any,
                vec![Service::ANY],
                action,
            )
        });
    }
    builder.build().expect("the policy is valid")
}

fn by(rule: RuleId) -> Judgement {
    Judgement { decided_by: Some(rule), first_monitor: None }
}

fn would(decision: Decision) -> Option<(&'static str, Option<RuleId>)> {
    decision.would.map(|w| (w.name(), w.rule))
}

#[test]
fn a_rule_that_decides_is_enforced_and_named() {
    let policy = policy(DefaultAction::Deny, Mode::Enforce);
    for (rule, verdict, reason) in [
        (DENY, Verdict::Deny, Some(DropReason::PolicyDeny)),
        (REJECT, Verdict::Reject, Some(DropReason::PolicyReject)),
        (ALLOW, Verdict::Allow, None),
    ] {
        let decision = Decision::of(&policy, by(rule), false);
        assert_eq!(decision, Decision { verdict, rule: Some(rule), would: None });
        assert_eq!(decision.drop_reason(), reason);
    }
}

#[test]
fn the_default_decides_where_no_rule_does() {
    for (default, verdict, reason) in [
        (DefaultAction::Deny, Verdict::Deny, Some(DropReason::DefaultDeny)),
        (DefaultAction::Reject, Verdict::Reject, Some(DropReason::DefaultReject)),
        (DefaultAction::Allow, Verdict::Allow, None),
    ] {
        let decision = Decision::of(&policy(default, Mode::Enforce), Judgement::default(), false);
        assert_eq!(decision, Decision { verdict, rule: None, would: None });
        assert_eq!(decision.drop_reason(), reason);
    }
}

#[test]
fn a_default_is_only_recorded_towards_a_softened_destination() {
    for (default, word) in [(DefaultAction::Deny, "would-deny"), (DefaultAction::Reject, "would-reject")] {
        let decision = Decision::of(&policy(default, Mode::Enforce), Judgement::default(), true);
        assert_eq!(
            (decision.verdict, decision.rule, would(decision)),
            (Verdict::Allow, None, Some((word, None)))
        );
        assert_eq!(decision.drop_reason(), None);
    }
    let decision = Decision::of(&policy(DefaultAction::Allow, Mode::Enforce), Judgement::default(), true);
    assert_eq!(decision.would, None, "a default that allows needs no softening");
}

#[test]
fn a_rule_is_enforced_towards_a_softened_destination_all_the_same() {
    let policy = policy(DefaultAction::Deny, Mode::Enforce);
    for rule in [DENY, REJECT, ALLOW] {
        assert_eq!(Decision::of(&policy, by(rule), true), Decision::of(&policy, by(rule), false));
    }
}

#[test]
fn under_policy_mode_monitor_nothing_is_dropped_and_what_would_be_is_recorded() {
    let policy = policy(DefaultAction::Reject, Mode::Monitor);
    for softened in [false, true] {
        let of = |judgement| Decision::of(&policy, judgement, softened);
        let seen = |d: Decision| (d.verdict, d.rule, would(d), d.drop_reason());
        assert_eq!(seen(of(by(DENY))), (Verdict::Allow, Some(DENY), Some(("would-deny", Some(DENY))), None));
        assert_eq!(
            seen(of(by(REJECT))),
            (Verdict::Allow, Some(REJECT), Some(("would-reject", Some(REJECT))), None)
        );
        assert_eq!(seen(of(by(ALLOW))), (Verdict::Allow, Some(ALLOW), None, None));
        assert_eq!(
            seen(of(Judgement::default())),
            (Verdict::Allow, None, Some(("would-reject", None)), None)
        );
    }
}

#[test]
fn the_first_monitor_rule_is_recorded_rather_than_a_softened_verdict() {
    for mode in [Mode::Enforce, Mode::Monitor] {
        let policy = policy(DefaultAction::Deny, mode);
        for (watching, word) in [(WATCH_DENY, "would-deny"), (WATCH_PASS, "would-pass")] {
            for decided_by in [None, Some(DENY), Some(ALLOW)] {
                let judgement = Judgement { decided_by, first_monitor: Some(watching) };
                let decision = Decision::of(&policy, judgement, true);
                assert_eq!(would(decision), Some((word, Some(watching))));
                assert_eq!(decision.rule, decided_by);
            }
        }
    }
}
