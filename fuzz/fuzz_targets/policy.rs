//! Any policy that the builder accepts compiles within its limits, and answers as the linear scan does: at once, and
//! after changes in place.
//!
//! `make fuzz`, or `cargo +nightly fuzz run policy`. What the builder refuses is no finding. What the compiler refuses
//! must be over a limit that was made small: the limits of the product are beyond what a fuzzer's input can reach.
#![no_main]

mod input;

use classifier::addr::IpRange;
use classifier::compile::{CompileError, EditError, Editor, Limits};
use classifier::policy::{Member, Policy, RuleId, SegmentId, Timestamp};
use classifier::reference::Reference;
use classifier::tables::{Answer, Instructions, Places, Query, Tables};
use input::{FuzzEdit, Input, Packet};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000);

fuzz_target!(|input: Input| {
    let Some(policy) = input.policy() else { return };
    let policy = Arc::new(policy);
    let packets = input.packets(&policy);
    let limits = input.limits();
    match Tables::compile_within(Arc::clone(&policy), NOW, &limits) {
        Ok(tables) => {
            assert!(tables.statistics().classes <= limits.classes, "{:?}, {limits:?}", tables.statistics());
            agree(&tables, &policy, &packets);
        }
        Err(error) => {
            check_refusal(&error, &limits);
            let tables = Tables::compile(Arc::clone(&policy), NOW).expect("within the limits of the product");
            agree(&tables, &policy, &packets);
            return;
        }
    }
    if !input.edits.is_empty() {
        edit(&policy, &limits, &input.edits, &packets);
    }
});

/// A refusal names the limit that was passed.
fn check_refusal(error: &CompileError, limits: &Limits) {
    let (named, passed) = match error {
        CompileError::Overlap { limit } => (*limit, limits.overlap),
        CompileError::Classes { limit } => (*limit, limits.classes),
        CompileError::Places { limit } => (*limit, limits.places),
        CompileError::Pairs { limit, needed, .. } => {
            assert!(needed > limit, "{error:?}");
            (*limit, limits.pairs)
        }
        CompileError::Boundaries { limit } => (*limit, limits.boundaries),
    };
    assert_eq!(named, passed, "{error}");
}

/// Changes tables in place. Those that were there before stay as they were.
fn edit(policy: &Arc<Policy>, limits: &Limits, edits: &[FuzzEdit], packets: &[Packet]) {
    let mut editor = Editor::new(policy, NOW, limits).expect("it was compiled within these limits");
    let before = editor.tables();
    let mut changes = 0;
    for change in edits {
        let segment = |id: u8| SegmentId(u32::from(id));
        let rule = |id: u8| RuleId(u32::from(id));
        let result = match change {
            FuzzEdit::Add(_, range) | FuzzEdit::Remove(_, range) if is_inverted(range.range()) => continue,
            FuzzEdit::Add(id, range) => editor.add_member(segment(*id), range.range()),
            FuzzEdit::Remove(id, range) => editor.remove_member(segment(*id), range.range()),
            FuzzEdit::RemoveMember(id, number) => match nth_range(policy, *id, *number) {
                Some(range) => editor.remove_member(segment(*id), range),
                None => continue,
            },
            FuzzEdit::Suspend(id) => editor.suspend_rule(rule(*id)),
            FuzzEdit::Resume(id) => editor.resume_rule(rule(*id)),
        };
        match result {
            Ok(()) => {
                changes += 1;
                agree(&editor.tables(), &editor.policy(), packets);
            }
            Err(error) if error.is_cured_by_rebuild() => break,
            Err(EditError::Absent | EditError::Invalid) => {}
            Err(error) => unreachable!("{error}"),
        }
    }
    agree(&editor.tables(), &editor.policy(), packets);
    if changes > 0 {
        agree(&before, policy, packets);
    }
}

fn is_inverted(range: IpRange) -> bool {
    match range {
        IpRange::V4(first, last) => first > last,
        IpRange::V6(first, last) => first > last,
    }
}

fn nth_range(policy: &Policy, segment: u8, number: u8) -> Option<IpRange> {
    let members = &policy.segments().get(usize::from(segment))?.members;
    let ranges = members.iter().flat_map(|member| match member {
        Member::Selector(selector) => &selector.addresses[..],
        Member::Segment(_) => &[],
    });
    let ranges: Vec<_> = ranges.collect();
    (!ranges.is_empty()).then(|| *ranges[usize::from(number) % ranges.len()])
}

/// The tables say of each packet what the reference says, on all instructions, one by one and all at once.
fn agree(tables: &Tables, policy: &Policy, packets: &[Packet]) {
    let reference = Reference::new(policy, NOW);
    let (mut v4, mut v6) = (Questions::default(), Questions::default());
    for (source, destination, packet) in packets {
        let judgement = reference.judge(source, destination, *packet);
        let decision = reference.decide(source, destination, *packet);
        let (from, to) = (tables.class_of(source), tables.class_of(destination));
        let (protocol, source_port, destination_port) =
            (packet.protocol, packet.source_port, packet.destination_port);
        let context = || format!("{source:?} -> {destination:?} {packet:?}");
        assert_eq!(
            tables.judge(from, to, protocol, source_port, destination_port),
            judgement,
            "{}",
            context()
        );
        assert_eq!(
            tables.decide(from, to, protocol, source_port, destination_port),
            decision,
            "{}",
            context()
        );
        assert_eq!(tables.segments_of(from), reference.segments_of(source), "{}", context());
        assert_eq!(tables.segments_of(to), reference.segments_of(destination), "{}", context());
        let places =
            Places { source: (source.vlan, source.mac), destination: (destination.vlan, destination.mac) };
        match (source.address, destination.address) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (source, destination) = (source.into(), destination.into());
                v4.ask(Query { source, destination, source_port, destination_port, protocol }, places);
                v4.expected.push((judgement, decision));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (source, destination) = (source.into(), destination.into());
                v6.ask(Query { source, destination, source_port, destination_port, protocol }, places);
                v6.expected.push((judgement, decision));
            }
            _ => unreachable!("both ends are of one family"),
        }
    }
    for instructions in Instructions::ALL {
        let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
        let mut answers = vec![Answer::default(); v4.queries.len()];
        tables.classify_v4(&v4.queries, &v4.places, &mut answers);
        v4.check(&tables, &answers);
        let mut answers = vec![Answer::default(); v6.queries.len()];
        tables.classify_v6(&v6.queries, &v6.places, &mut answers);
        v6.check(&tables, &answers);
    }
}

/// Packets of one family, and what is to be said of them.
struct Questions<A> {
    queries: Vec<Query<A>>,
    places: Vec<Places>,
    expected: Vec<(classifier::decision::Judgement, classifier::decision::Decision)>,
}

impl<A> Default for Questions<A> {
    fn default() -> Self {
        Questions { queries: Vec::new(), places: Vec::new(), expected: Vec::new() }
    }
}

impl<A: std::fmt::Debug> Questions<A> {
    fn ask(&mut self, query: Query<A>, places: Places) {
        self.queries.push(query);
        self.places.push(places);
    }

    fn check(&self, tables: &Tables, answers: &[Answer]) {
        for ((answer, expected), query) in answers.iter().zip(&self.expected).zip(&self.queries) {
            let said = (tables.judgement_of(*answer), tables.decision_of(*answer));
            assert_eq!(said, *expected, "{}: {query:?}", tables.instructions());
        }
    }
}
