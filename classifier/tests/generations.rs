//! Workers look up while the control thread publishes change after change: each batch is answered by exactly one
//! generation, and no generation outlives the last batch that it answers.

mod random;

use classifier::addr::IpRange;
use classifier::compile::{Editor, Limits};
use classifier::decision::Verdict;
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Place, Policy, PolicyBuilder, PortRange, Rule, RuleId,
    Segment, SegmentId, Selector, Service, TierId,
};
use classifier::tables::{Answer, Query, Tables};
use random::NOW;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

const WORKERS: usize = 3;
const CHANGES: usize = 2_000;
const SEGMENTS: u32 = 40;
/// Hosts far apart, so that their cells are in different pages.
const SOURCES: (u32, u32) = (0x0a00_0000, 0x0a03_ffff);
const DESTINATION: u32 = 0x0a80_0001;

fn segment(name: String, ranges: &[(u32, u32)]) -> Segment {
    let member = |(first, last): &(u32, u32)| {
        let addresses = vec![IpRange::V4(*first, *last)];
        Member::Selector(Selector { addresses, ..Selector::default() })
    };
    Segment { name, members: ranges.iter().map(member).collect(), except: Vec::new(), mode: Mode::Enforce }
}

fn rule(id: &str, from: SegmentId, to: SegmentId, ports: &[u16]) -> Rule {
    let service = |port: &u16| Service {
        protocol: Some(6),
        source: PortRange::ALL,
        destination: PortRange::single(*port),
    };
    Rule::new(
        id,
        TierId(0),
        EndpointSet::OneOf(vec![Member::Segment(from)]),
        EndpointSet::OneOf(vec![Member::Segment(to)]),
        ports.iter().map(service).collect(),
        Action::Allow,
    )
}

/// Forty segments that lie all over the sources, so that one member makes a class in each; a group of sources, which
/// has no member yet, and a destination.
fn policy() -> (Policy, SegmentId, SegmentId) {
    let mut builder = PolicyBuilder::new(vec!["t".into()], DefaultAction::Deny, Mode::Enforce);
    for n in 0..SEGMENTS {
        let first = SOURCES.0 + n * 0x1234;
        builder.segment(segment(format!("s{n}"), &[(first, first + 0x1000)]));
    }
    let sources = builder.segment(segment("sources".into(), &[]));
    let destination = builder.segment(segment("destination".into(), &[(DESTINATION, DESTINATION)]));
    for n in 0..SEGMENTS {
        let port = 1_000 + n as u16;
        builder.rule(rule(&format!("r{n}"), SegmentId(n), SegmentId((n + 1) % SEGMENTS), &[port]));
    }
    builder.rule(rule("known", sources, destination, &[9]));
    (builder.build().expect("it is valid"), sources, destination)
}

/// Packets whose verdicts all hang on the same two things: whether the sources are members, and whether the rule is in.
fn batch() -> Vec<Query<u32>> {
    let query = |n: u32| Query {
        source: SOURCES.0 + n * 1_009,
        destination: DESTINATION,
        source_port: 1,
        destination_port: if n.is_multiple_of(2) { 80 } else { 443 },
        protocol: 6,
    };
    (0..256).map(query).collect()
}

fn run(limits: &Limits) {
    let (policy, sources, destination) = policy();
    let mut editor = Editor::new(&Arc::new(policy), NOW, limits).expect("within limits");
    let published = Mutex::new(editor.generation());
    let is_over = AtomicBool::new(false);
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    let mut old: Vec<(Weak<Tables>, Weak<Policy>)> = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let queries = batch();
                let mut answers = vec![Answer::default(); queries.len()];
                while !is_over.load(Ordering::Acquire) {
                    let tables = Arc::clone(&published.lock().expect("no thread panics"));
                    tables.classify_v4(&queries, &[], &mut answers);
                    let allowed = answers.iter().filter(|a| tables.verdict_of(**a) == Verdict::Allow).count();
                    assert!(allowed == 0 || allowed == queries.len(), "{allowed} of one batch are allowed");
                    let rules = answers.iter().map(|answer| tables.decision_of(*answer).rule);
                    let names = rules.map(|rule| rule.map(|id| tables.policy().rule(id).id.as_str()));
                    let expected = (allowed != 0).then_some("new");
                    assert!(names.into_iter().all(|name| name == expected), "the rule of this generation");
                    seen[usize::from(allowed != 0)].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut number: Option<RuleId> = None;
        let mut is_member = false;
        for n in 0..CHANGES {
            let made = match (n % 2, number) {
                (0, _) => {
                    let range = IpRange::V4(SOURCES.0, SOURCES.1);
                    is_member = !is_member;
                    if is_member {
                        editor.add_member(sources, range)
                    } else {
                        editor.remove_member(sources, range)
                    }
                }
                (_, None) => {
                    let place = Place::Before(RuleId(n as u32 % SEGMENTS));
                    let new = rule("new", sources, destination, &[80, 443]);
                    editor.add_rule(new, place).map(|id| number = Some(id))
                }
                (_, Some(id)) => editor.remove_rule(id).map(|()| number = None),
            };
            made.unwrap_or_else(|error| panic!("change {n}: {error}"));
            let new = editor.generation();
            let before = std::mem::replace(&mut *published.lock().expect("no thread panics"), new);
            old.push((Arc::downgrade(&before), Arc::downgrade(before.policy())));
        }
        is_over.store(true, Ordering::Release);
    });
    assert_eq!(old.len(), CHANGES);
    let left =
        || old.iter().filter(|(tables, policy)| tables.strong_count() + policy.strong_count() > 0).count();
    assert!(left() <= 1, "{} generations that nobody can see any more, beside the editor's", left());
    let last = Arc::downgrade(&published.into_inner().expect("no thread panics"));
    drop(editor);
    assert_eq!((left(), last.strong_count()), (0, 0), "the last two go with the editor");
    let [denied, allowed] = seen.map(AtomicU64::into_inner);
    println!("{denied} batches denied, {allowed} allowed");
    assert!(denied > 0 && allowed > 0, "workers saw both");
}

#[test]
fn each_batch_has_one_generation_and_old_ones_are_freed() {
    // With hashed pairs, and with a matrix of all.
    run(&Limits { matrix: 1, rows: 0, ..Limits::default() });
    run(&Limits { rows: 0, ..Limits::default() });
}
