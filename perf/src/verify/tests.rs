//! The scan of the rules that may match, and that a wrong table is noticed.

use super::agreement::{Extent, Subject};
use super::packets::Aim;
use super::scan::Scan;
use super::{NOW, varied::varied};
use crate::classifier::prefixes::Millionths;
use crate::classifier::progress::Progress;
use crate::classifier::segments::{Shape, generate};
use classifier::policy::{Action, Mode, Policy, PolicyBuilder};
use classifier::reference::Reference;
use classifier::tables::Tables;
use random::Random;
use std::sync::Arc;
use std::time::Duration;

const SHAPE: Shape = Shape {
    segments: 120,
    prefixes: 900,
    rules: 2_000,
    percent_v6: 30,
    profiles: 30,
    any: 6,
    overlap: Millionths(26_000),
    group_pairs: Millionths(1_000),
};

fn policy(seed: u64) -> Policy {
    varied(&generate(SHAPE, seed).policy, NOW, &mut Random::new(seed))
}

fn with(policy: &Policy, change: impl Fn(&mut classifier::policy::Rule)) -> Policy {
    let mut builder = PolicyBuilder::new(policy.tiers().to_vec(), policy.default(), policy.mode());
    for segment in policy.segments() {
        builder.segment(segment.clone());
    }
    for rule in policy.rules() {
        let mut rule = rule.clone();
        change(&mut rule);
        builder.rule(rule);
    }
    builder.build().expect("a valid policy")
}

fn extent(packets: u64) -> Extent {
    Extent { packets, scanned: 100, time: Duration::MAX }
}

#[test]
fn the_scan_of_the_rules_that_may_match_says_what_the_reference_says() {
    let (mut decided, mut monitored, mut softened) = (0, 0, 0);
    for seed in 1..=4 {
        let policy = policy(seed);
        // Without passes it stops early.
        let without = with(&policy, |rule| {
            if rule.action == Action::Pass {
                rule.action = Action::Deny;
            }
        });
        for policy in [&policy, &without] {
            let scan = Scan::new(policy, NOW).expect("a policy of addresses");
            let reference = Reference::new(policy, NOW);
            let aim = Aim::new(policy);
            let (mut random, mut matching) = (Random::new(seed), Vec::new());
            for _ in 0..1_000 {
                let (source, destination, packet) = aim.packet(&mut random);
                let (says, softens) = scan.judge(source.address, destination.address, packet, &mut matching);
                let expected = reference.judge(&source, &destination, packet);
                assert_eq!(says, expected, "seed {seed}: {source:?} -> {destination:?} {packet:?}");
                let is_softened = reference.is_softened(&destination);
                assert_eq!(softens, is_softened, "seed {seed}: {destination:?}");
                decided += u32::from(says.decided_by.is_some());
                monitored += u32::from(says.first_monitor.is_some());
                softened += u32::from(is_softened);
            }
        }
    }
    assert!(decided > 1_000 && monitored > 40 && softened > 100, "{decided}, {monitored}, {softened}");
}

#[test]
fn tables_of_the_same_policy_agree_and_those_of_another_do_not() {
    let policy = Arc::new(policy(7));
    let progress = Progress::new(true);
    let aim = Aim::new(&policy);
    let agree = |tables: &Tables| {
        let mut random = Random::new(7);
        Subject::new(&policy, NOW, tables).agree(|| aim.packet(&mut random), extent(30_000), &progress)
    };
    let tables = Tables::compile(Arc::clone(&policy), NOW).expect("within limits");
    let agreed = agree(&tables).expect("the same policy");
    assert_eq!(agreed.packets, 30_000);
    assert_eq!(agreed.scanned, 100);
    // The verdicts are the same, but the rules are not.
    let monitored =
        policy.rules().iter().find(|rule| rule.mode == Mode::Monitor).expect("some are").id.clone();
    let another = with(&policy, |rule| {
        if rule.id == monitored || rule.id.ends_with('7') {
            rule.mode = Mode::Enforce;
            rule.action = Action::Deny;
        }
    });
    let tables = Tables::compile(Arc::new(another), NOW).expect("within limits");
    let text = agree(&tables).expect_err("another policy");
    assert!(text.contains("decided by") && text.contains("expected"), "{text}");
}
