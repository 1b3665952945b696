//! Policies and headers that are generated.

mod reader;

use super::draw::Draw;
use super::header::{BLOCK, Family, Headers};
use super::measure;
use super::method::{Answer, Method};
use super::prefixes::Millionths;
use super::progress::Progress;
use super::segments::{Generated, Shape, generate};
use super::{NOW, classbench, dump, verify};
use classifier::addr::IpRange;
use classifier::policy::{Action, EndpointSet, Member, Policy};
use classifier::tables::Tables;
use std::sync::Arc;
use std::time::Duration;

const SHAPE: Shape = Shape {
    segments: 200,
    prefixes: 2_000,
    rules: 5_000,
    percent_v6: 0,
    profiles: 60,
    any: 0,
    overlap: Millionths(26_000),
    group_pairs: Millionths(1_000),
};
const HOUR: Duration = Duration::from_secs(3_600);

fn ranges(policy: &Policy) -> Vec<Vec<IpRange>> {
    let of_members = |members: &[Member]| {
        let selectors = members.iter().filter_map(|member| match member {
            Member::Selector(selector) => Some(selector.addresses.clone()),
            Member::Segment(_) => None,
        });
        selectors.flatten().collect()
    };
    policy.segments().iter().map(|segment| of_members(&segment.members)).collect()
}

#[test]
fn the_same_seed_gives_the_same_policy_and_another_seed_another() {
    let mixed = Shape { percent_v6: 40, ..SHAPE };
    assert_eq!(generate(mixed, 3).policy, generate(mixed, 3).policy);
    assert_ne!(generate(mixed, 3).policy, generate(mixed, 4).policy);
}

#[test]
fn a_policy_has_as_many_segments_prefixes_and_rules_as_were_asked_for() {
    let shapes = [
        SHAPE,
        Shape { profiles: 0, ..SHAPE },
        Shape { percent_v6: 50, ..SHAPE },
        Shape { percent_v6: 100, ..SHAPE },
        Shape { segments: 2, prefixes: 2, rules: 1, percent_v6: 0, profiles: 0, any: 0, ..SHAPE },
        Shape { segments: 2, prefixes: 50, rules: 3_000, percent_v6: 10, profiles: 1, any: 20, ..SHAPE },
        Shape { segments: 41, prefixes: 400, rules: 999, percent_v6: 0, profiles: 10, any: 3, ..SHAPE },
    ];
    for (seed, shape) in (1..).zip(shapes) {
        let policy = generate(shape, seed).policy;
        let ranges: Vec<IpRange> = ranges(&policy).concat();
        let of_v6 = ranges.iter().filter(|range| matches!(range, IpRange::V6(..))).count();
        assert_eq!(policy.segments().len(), shape.segments as usize, "{shape:?}");
        assert_eq!(policy.rules().len(), shape.rules as usize, "{shape:?}");
        assert_eq!(ranges.len(), shape.prefixes as usize, "{shape:?}");
        let share = 100 * of_v6 / ranges.len();
        assert!(share.abs_diff(shape.percent_v6 as usize) <= 10, "{shape:?}: {share} % IPv6");
    }
}

#[test]
fn a_policy_has_overlaps_groups_tiers_and_four_rules_a_pair() {
    let Generated { policy, pairs } = generate(SHAPE, 1);
    assert!((1_000..1_600).contains(&pairs), "{pairs} pairs");
    let is_group = |member: &Member| matches!(member, Member::Segment(_));
    let groups = policy.segments().iter().filter(|segment| segment.members.iter().any(is_group)).count();
    assert_eq!(groups, 5);
    for tier in 0..3 {
        let count = policy.rules().iter().filter(|rule| rule.tier.0 == tier).count();
        assert!(count > 10, "{count} rules in tier {tier}");
    }
    for action in [Action::Allow, Action::Deny, Action::Reject, Action::Pass] {
        assert!(policy.rules().iter().any(|rule| rule.action == action), "{action:?}");
    }
    for any in [0, 9] {
        let policy = generate(Shape { any, ..SHAPE }, 1).policy;
        let count = policy.rules().iter().filter(|rule| rule.from == EndpointSet::Any).count();
        assert_eq!(count, any as usize);
    }

    let mut all: Vec<IpRange> = ranges(&policy).concat();
    all.sort_unstable();
    let (mut last_end, mut overlapping) = (0, 0);
    for range in &all {
        let IpRange::V4(first, last) = *range else { panic!("the policy is of IPv4") };
        overlapping += usize::from(first <= last_end);
        last_end = last_end.max(last);
    }
    let share = 1_000 * overlapping / all.len();
    assert!((20..150).contains(&share), "{share} of 1,000 prefixes overlap one before them");
}

fn tables(policy: &Policy) -> Tables {
    Tables::compile(Arc::new(policy.clone()), NOW).expect("the policy compiles")
}

fn verified(policy: &Policy, headers: &Headers) -> Vec<Answer> {
    let answers = measure::answers(&tables(policy), headers, Method::Scalar);
    let quiet = Progress::new(true);
    let verified = verify::verify(policy, NOW, headers, &answers, 500, HOUR, &quiet);
    assert_eq!(verified, Ok(500));
    answers
}

fn share_decided(answers: &[Answer]) -> usize {
    100 * answers.iter().filter(|answer| **answer != Answer::DEFAULT).count() / answers.len()
}

#[test]
fn half_of_the_headers_over_segments_are_inside_of_rules_and_all_answers_hold() {
    let policy = generate(Shape { percent_v6: 50, any: 8, ..SHAPE }, 5).policy;
    let headers = Draw::new(&policy).over_segments(4_096, 50, 6);
    assert_eq!(headers, Draw::new(&policy).over_segments(4_096, 50, 6), "the same seed, the same headers");
    assert_eq!(headers.len(), 4_096);
    assert_eq!(headers.v4.len() + headers.v6.len(), 4_096);
    let of_v6 = headers.order.iter().filter(|family| **family == Family::V6).count();
    assert!((20..45).contains(&of_v6), "{of_v6} of 64 blocks");
    let share = share_decided(&verified(&policy, &headers));
    assert!((45..75).contains(&share), "{share} %");
}

const SET: &str = "@10.0.0.0/8 10.0.0.0/9 0 : 65535 80 : 80 0x06/0xFF 0x0000/0x0000\n\
                   @10.0.0.0/8 0.0.0.0/0 53 : 53 0 : 65535 0x00/0x00 0x0000/0x0000\n\
                   @10.1.0.0/16 10.1.2.3/32 0 : 65535 0 : 65535 0x2f/0xFF 0x0000/0x0000\n";

#[test]
fn nine_in_ten_headers_of_a_filter_set_are_inside_of_its_rules() {
    let policy = classbench::policy(SET).expect("three rules");
    let headers = Draw::new(&policy).around_rules(4_096, 7, |header| header.source >> 24 != 10);
    let share = share_decided(&verified(&policy, &headers));
    assert!((85..95).contains(&share), "{share} %");
}

#[test]
fn a_wrong_answer_is_found() {
    let policy = classbench::policy(SET).expect("three rules");
    let headers = Draw::new(&policy).around_rules(BLOCK, 8, |_| true);
    let answers = vec![Answer::DEFAULT; headers.len()];
    let quiet = Progress::new(true);
    let text =
        verify::verify(&policy, NOW, &headers, &answers, 500, HOUR, &quiet).expect_err("all are wrong");
    assert!(text.contains("the reference"), "{text}");
}

#[test]
fn a_dump_has_a_record_for_each_rule_and_header() {
    let policy = classbench::policy(SET).expect("three rules");
    let headers = Draw::new(&policy).around_rules(64, 9, |_| true);
    let answers = measure::answers(&tables(&policy), &headers, Method::Scalar);
    let directory = std::env::temp_dir().join(format!("bulkhead-perf-dump-{}", std::process::id()));
    dump::dump(&directory, &policy, &headers, &answers).expect("the dump is written");
    let rules = std::fs::read(directory.join("rules.bin")).expect("rules");
    let dumped = std::fs::read(directory.join("headers.bin")).expect("headers");
    std::fs::remove_dir_all(&directory).expect("the dump can be removed");
    assert_eq!(&rules[..12], b"BHRULES1\x03\0\0\0");
    let first = [0, 0, 0, 10, 0, 0, 0, 10, 8, 9, 6, 255, 0, 0, 255, 255, 80, 0, 80, 0];
    assert_eq!(rules[12..32], first);
    assert_eq!(rules[32 + 10..32 + 12], [0, 0], "any protocol");
    assert_eq!(rules.len(), 12 + 3 * 20);
    assert_eq!(&dumped[..12], b"BHHEADS1\x40\0\0\0");
    assert_eq!(dumped.len(), 12 + 64 * 20);
    assert_eq!(dumped[12..16], headers.v4[0].source.to_le_bytes());
    assert_eq!(dumped[28..32], answers[0].number().to_le_bytes());
}

#[test]
fn a_policy_of_segments_has_no_dump() {
    let policy = generate(SHAPE, 1).policy;
    let directory = std::env::temp_dir().join(format!("bulkhead-perf-refused-{}", std::process::id()));
    let error = dump::dump(&directory, &policy, &Headers::default(), &[]).expect_err("it has segments");
    std::fs::remove_dir_all(&directory).expect("the directory can be removed");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
