//! Tables that were changed in place answer as the linear scan of the changed policy does, and as tables that were
//! compiled from it; generations that were published before stay as they were.

mod random;

use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::analysis::explain;
use classifier::compile::{Change, EditError, Editor, Limits};
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, EndpointSet, Member, Mode, Place, Policy, PortRange, Rule, RuleId, Segment, SegmentId, Selector,
    Service, TierId,
};
use classifier::reference::Reference;
use classifier::tables::{Answer, Form, Instructions, Places, Query, Tables};
use random::{NOW, Random, Scenario, Size};
use std::net::IpAddr;
use std::sync::Arc;

/// Edits of one policy.
const EDITS: usize = 50;

type Packet = (Endpoint, Endpoint, ServicePacket);

fn range(random: &mut Random) -> IpRange {
    if random.once_in(3) {
        let base = 0xfd00 << 112 | (random.below(3) as u128) << 64 | random.below(16) as u128;
        let length = random.pick(&[0u128, 0, 1, 7, u64::MAX as u128, 3 << 64]);
        return IpRange::V6(base, base + length);
    }
    let base = random.pick(&[0x0a00_0000u32, 0x0a00_ff00, 0x0a01_0000, 0xffff_ff00]);
    let first = base.saturating_add(random.below(300) as u32);
    let last = first.saturating_add(random.pick(&[0, 0, 1, 15, 255, 70_000]));
    IpRange::V4(first, last)
}

fn plain(range: IpRange) -> Selector {
    Selector { addresses: vec![range], ..Selector::default() }
}

fn vlan(random: &mut Random) -> VlanKey {
    VlanKey::new(PortId(random.below(2) as u8), 10 * random.below(4) as u16)
}

fn mac(random: &mut Random) -> Mac {
    Mac([2, 0, 0, 0, 0, random.below(5) as u8])
}

/// A selector, of addresses alone but for one in twelve.
fn selector(random: &mut Random) -> Selector {
    let mut selector = plain(range(random));
    match random.below(24) {
        0 => selector.vlan = Some(vlan(random)),
        1 => selector.macs = vec![mac(random)],
        2 => selector.addresses.push(range(random)),
        _ => {}
    }
    selector
}

fn set(random: &mut Random, segments: usize) -> EndpointSet {
    if random.once_in(5) {
        return EndpointSet::Any;
    }
    let member = |random: &mut Random| {
        if random.once_in(6) {
            Member::Selector(plain(range(random)))
        } else {
            Member::Segment(SegmentId(random.below(segments) as u32))
        }
    };
    EndpointSet::OneOf((0..1 + random.below(2)).map(|_| member(random)).collect())
}

fn rule(random: &mut Random, policy: &Policy, n: usize) -> Rule {
    // Tables of rows know the services of their policy alone.
    let services = if policy.rules().is_empty() || random.once_in(4) {
        let first = random.below(6) as u16;
        let destination = PortRange { first, last: first + random.below(4) as u16 };
        let protocol = random.pick(&[None, Some(6), Some(6), Some(17), Some(132)]);
        vec![Service { protocol, source: PortRange::ALL, destination }]
    } else {
        policy.rules()[random.below(policy.rules().len())].services.clone()
    };
    Rule {
        mode: if random.once_in(6) { Mode::Monitor } else { Mode::Enforce },
        ..Rule::new(
            format!("new{n}"),
            TierId(random.below(policy.tiers().len()) as u16),
            set(random, policy.segments().len()),
            set(random, policy.segments().len()),
            services,
            random.pick(&[Action::Allow, Action::Allow, Action::Deny, Action::Reject, Action::Pass]),
        )
    }
}

fn place(random: &mut Random, policy: &Policy) -> Place {
    let any = RuleId(random.below(policy.rules().len().max(1)) as u32);
    match random.below(6) {
        0 => Place::First,
        1 => Place::Last,
        2 | 3 => Place::Before(any),
        _ => Place::Behind(any),
    }
}

fn change(random: &mut Random, policy: &Policy, added: &mut Vec<(SegmentId, Selector)>, n: usize) -> Change {
    let any = RuleId(random.below(policy.rules().len() + 1) as u32);
    match random.below(12) {
        0..3 => {
            let member = (SegmentId(random.below(policy.segments().len()) as u32), selector(random));
            added.push(member.clone());
            Change::AddMember(member.0, member.1)
        }
        3 | 4 if !added.is_empty() => {
            let (segment, selector) = added.swap_remove(random.below(added.len()));
            Change::RemoveMember(segment, selector)
        }
        3..7 => Change::AddRule(Box::new(rule(random, policy, n)), place(random, policy)),
        7 => Change::RemoveRule(any),
        8 => Change::SuspendRule(any),
        9 => Change::ResumeRule(any),
        _ => {
            let id = SegmentId(random.below(policy.segments().len()) as u32);
            Change::SetSegment(id, Box::new(altered(random, &policy.segments()[id.0 as usize])))
        }
    }
}

/// The segment with some members and exceptions more and some fewer, or in another mode.
fn altered(random: &mut Random, segment: &Segment) -> Segment {
    let mut segment = segment.clone();
    for members in [&mut segment.members, &mut segment.except] {
        for _ in 0..random.below(3) {
            if !members.is_empty() && random.once_in(2) {
                let at = random.below(members.len());
                if matches!(members[at], Member::Selector(_)) {
                    members.swap_remove(at);
                }
            } else {
                let macs = if random.once_in(4) { vec![mac(random)] } else { Vec::new() };
                let selector = match macs.is_empty() {
                    true => selector(random),
                    false => Selector { macs, ..Selector::default() },
                };
                members.insert(random.below(members.len() + 1), Member::Selector(selector));
            }
        }
    }
    if random.once_in(3) {
        segment.mode = random.pick(&[Mode::Monitor, Mode::Enforce]);
    }
    segment
}

/// Addresses at which a change may show.
fn aims(change: &Change) -> Vec<IpRange> {
    let of_member = |member: &Member| match member {
        Member::Selector(selector) => selector.addresses.clone(),
        Member::Segment(_) => Vec::new(),
    };
    match change {
        Change::AddMember(_, selector) | Change::RemoveMember(_, selector) => selector.addresses.clone(),
        Change::AddRule(rule, _) => {
            let sets = [&rule.from, &rule.to].into_iter();
            let members = sets.flat_map(|set| match set {
                EndpointSet::Any => &[],
                EndpointSet::OneOf(members) => members.as_slice(),
            });
            members.flat_map(of_member).collect()
        }
        Change::SetSegment(_, segment) => {
            segment.members.iter().chain(&segment.except).flat_map(of_member).collect()
        }
        Change::RemoveRule(_) | Change::SuspendRule(_) | Change::ResumeRule(_) => Vec::new(),
    }
}

/// A packet near the boundaries of the policy, or of what was changed.
fn packet(scenario: &Scenario, aims: &[IpRange], random: &mut Random) -> Packet {
    let (mut source, mut destination, mut packet) = scenario.packet(random);
    for endpoint in [&mut source, &mut destination] {
        if aims.is_empty() || random.once_in(3) {
            continue;
        }
        let nudge = random.below(3) as u32;
        endpoint.address = match (random.pick(aims), endpoint.address) {
            (IpRange::V4(first, last), IpAddr::V4(_)) => {
                let at = random.pick(&[first, last]).wrapping_add(nudge).wrapping_sub(1);
                IpAddr::V4(at.into())
            }
            (IpRange::V6(first, last), IpAddr::V6(_)) => {
                let at = random.pick(&[first, last]).wrapping_add(nudge.into()).wrapping_sub(1);
                IpAddr::V6(at.into())
            }
            (IpRange::V4(..) | IpRange::V6(..), other) => other,
        };
    }
    if random.once_in(2) {
        packet.destination_port = random.below(10) as u16;
    }
    (source, destination, packet)
}

fn speaks_of_places(policy: &Policy) -> bool {
    let is_placed = |member: &Member| match member {
        Member::Selector(selector) => selector.vlan.is_some() || !selector.macs.is_empty(),
        Member::Segment(_) => false,
    };
    let of_set = |set: &EndpointSet| match set {
        EndpointSet::Any => false,
        EndpointSet::OneOf(members) => members.iter().any(is_placed),
    };
    policy.segments().iter().any(|s| s.members.iter().chain(&s.except).any(is_placed))
        || policy.rules().iter().any(|rule| of_set(&rule.from) || of_set(&rule.to))
}

/// The answers of look-ups in bulk.
fn in_bulk(tables: &Tables, packets: &[Packet]) -> Vec<Answer> {
    let places = |(source, destination, _): &Packet| Places {
        source: (source.vlan, source.mac),
        destination: (destination.vlan, destination.mac),
    };
    let mut answers = vec![Answer::default(); packets.len()];
    let v4: Vec<usize> = (0..packets.len()).filter(|at| packets[*at].0.address.is_ipv4()).collect();
    let v6: Vec<usize> = (0..packets.len()).filter(|at| packets[*at].0.address.is_ipv6()).collect();
    let query = |(source, destination, packet): &Packet| match (source.address, destination.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (source, destination) = (u32::from(source).into(), u32::from(destination).into());
            let ServicePacket { protocol, source_port, destination_port } = *packet;
            Query { source, destination, source_port, destination_port, protocol }
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (source, destination): (u128, u128) = (source.into(), destination.into());
            let ServicePacket { protocol, source_port, destination_port } = *packet;
            Query { source, destination, source_port, destination_port, protocol }
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => panic!("of one family"),
    };
    let of = |indices: &[usize]| -> (Vec<Query<u128>>, Vec<Places>) {
        indices.iter().map(|at| (query(&packets[*at]), places(&packets[*at]))).unzip()
    };
    let (wide, places_v4) = of(&v4);
    let narrow: Vec<Query<u32>> = wide
        .iter()
        .map(|q| Query {
            source: q.source as u32,
            destination: q.destination as u32,
            source_port: q.source_port,
            destination_port: q.destination_port,
            protocol: q.protocol,
        })
        .collect();
    let mut found = vec![Answer::default(); narrow.len()];
    tables.classify_v4(&narrow, &places_v4, &mut found);
    v4.iter().zip(found).for_each(|(at, answer)| answers[*at] = answer);
    let (queries, places_v6) = of(&v6);
    let mut found = vec![Answer::default(); queries.len()];
    tables.classify_v6(&queries, &places_v6, &mut found);
    v6.iter().zip(found).for_each(|(at, answer)| answers[*at] = answer);
    answers
}

/// Compares tables with the linear scan of their policy.
fn compare(tables: &Tables, packets: &[Packet], context: &str) {
    let reference = Reference::new(tables.policy(), NOW);
    for (source, destination, packet) in packets {
        let about = || format!("{context}: {source:?} -> {destination:?} {packet:?}\n{:#?}", tables.policy());
        let (from, to) = (tables.class_of(source), tables.class_of(destination));
        let ServicePacket { protocol, source_port, destination_port } = *packet;
        let judgement = tables.judge(from, to, protocol, source_port, destination_port);
        assert_eq!(judgement, reference.judge(source, destination, *packet), "judgement, {}", about());
        assert_eq!(tables.segments_of(from), reference.segments_of(source), "source, {}", about());
        assert_eq!(tables.segments_of(to), reference.segments_of(destination), "destination, {}", about());
    }
    for instructions in Instructions::ALL {
        let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
        for ((source, destination, packet), answer) in packets.iter().zip(in_bulk(&tables, packets)) {
            let about = || format!("{context}, {instructions}: {source:?} -> {destination:?} {packet:?}");
            let decision = reference.decide(source, destination, *packet);
            assert_eq!(tables.decision_of(answer), decision, "{}", about());
            assert_eq!(tables.verdict_of(answer), decision.verdict, "{}", about());
        }
    }
    // Looks for a difference of its own, and panics at one.
    let (source, destination, packet) = &packets[0];
    let explained = explain(tables, source, destination, *packet);
    assert_eq!(explained.decision, reference.decide(source, destination, *packet), "{context}");
}

/// Compares tables with others that were compiled from the policy as it is, rule by rule's id.
fn compare_with_fresh(tables: &Tables, limits: &Limits, packets: &[Packet], context: &str) {
    let flat = Arc::new(tables.policy().flattened());
    let fresh = Tables::compile_within(flat, NOW, limits).expect("within limits");
    let told = |tables: &Tables| -> Vec<_> {
        let name = |rule: Option<RuleId>| rule.map(|id| tables.policy().rule(id).id.clone());
        let decisions = in_bulk(tables, packets).into_iter().map(|answer| tables.decision_of(answer));
        decisions
            .map(|d| (d.verdict, name(d.rule), d.would.map(|would| (would.action, name(would.rule)))))
            .collect()
    };
    assert_eq!(told(tables), told(&fresh), "{context}: changed, and compiled anew");
}

#[test]
fn changed_tables_agree_with_the_reference_and_with_tables_compiled_anew() {
    let seeds: u64 = std::env::var("SEEDS").map_or(24, |text| text.parse().expect("a number"));
    let first: u64 = std::env::var("SEED").map_or(0, |text| text.parse().expect("a number"));
    let (mut made, mut among_places, mut refused, mut forms) = (0, 0, [0; 8], [[0; 2]; 4]);
    for seed in first..first + seeds {
        let mut random = Random(seed);
        let size = random.pick(&[Size { segments: 6, rules: 12 }, Size { segments: 20, rules: 60 }]);
        let scenario = Scenario::new(&mut random, size);
        let limits = Limits {
            spread_of_choice: random.pick(&[200, 1 << 23, 1 << 23]),
            folded: if random.once_in(16) { 0 } else { 1 << 21 },
            matrix: random.pick(&[100, 1 << 23, 1 << 23, 1 << 23]),
            rows: random.pick(&[0, 1 << 20]),
            ..Limits::default()
        };
        let policy = Arc::new(scenario.policy.clone());
        let mut editor = Editor::new(&policy, NOW, &limits).expect("within limits");
        let mut added: Vec<(SegmentId, Selector)> = Vec::new();
        let mut aimed: Vec<IpRange> = Vec::new();
        let mut earlier: Vec<(Arc<Tables>, Vec<Packet>)> = Vec::new();
        for n in 0..EDITS {
            let form = editor.tables().statistics().form as usize;
            let change = change(&mut random, editor.policy(), &mut added, n);
            let context = format!("seed {seed}, edit {n}, form {form}: {change:?}");
            let before = editor.generation();
            match editor.apply(&change) {
                Ok(_) => {
                    made += 1;
                    forms[form][0] += 1;
                    among_places += usize::from(speaks_of_places(editor.policy()));
                }
                Err(error) => {
                    refused[error as usize] += 1;
                    assert!(Arc::ptr_eq(&before, &editor.generation()), "{context}: nothing was changed");
                    if error.is_cured_by_rebuild() {
                        forms[form][1] += 1;
                        editor.rebuild(Some(&change)).unwrap_or_else(|error| panic!("{context}: {error}"));
                    }
                }
            }
            aimed.extend(aims(&change));
            let aims = &aimed[aimed.len().saturating_sub(6)..];
            let packets: Vec<Packet> = (0..40).map(|_| packet(&scenario, aims, &mut random)).collect();
            let tables = editor.generation();
            compare(&tables, &packets, &context);
            if n % 8 == 7 {
                compare_with_fresh(&tables, &limits, &packets, &context);
                earlier.push((tables, packets));
            }
        }
        for (tables, packets) in &earlier {
            compare(tables, packets, &format!("seed {seed}: an earlier generation"));
        }
    }
    println!(
        "{made} changes made, {among_places} of them of policies with VLANs or MACs; refused by error {refused:?}; in place and by compilation by form {forms:?}"
    );
    if seeds >= 24 {
        assert!(among_places > 300, "{among_places} of policies with VLANs or MACs");
        for form in [Form::Lines, Form::Rows] {
            let [in_place, anew] = forms[form as usize];
            assert!(in_place > 150, "{form:?}: {in_place} in place, {anew} by compilation");
        }
    }
}

#[test]
fn several_changes_are_one_generation_or_none() {
    let (mut made, mut refused) = (0, 0);
    for seed in 0..40 {
        let mut random = Random(seed);
        let scenario = Scenario::new(&mut random, Size { segments: 8, rules: 30 });
        let limits = Limits { matrix: random.pick(&[100, 1 << 23]), ..Limits::default() };
        let policy = Arc::new(scenario.policy.clone());
        let mut editor = Editor::new(&policy, NOW, &limits).expect("within limits");
        let (mut added, mut aimed): (Vec<(SegmentId, Selector)>, Vec<IpRange>) = (Vec::new(), Vec::new());
        for n in 0..15usize {
            // Each is drawn without the others, so that some contradict them.
            let mut draw = |at: usize| change(&mut random, editor.policy(), &mut added, 10 * n + at);
            let changes: Vec<Change> = (0..4).map(&mut draw).collect();
            let context = format!("seed {seed}, {n}: {changes:?}");
            let (before, old) = (editor.generation(), Arc::clone(editor.policy()));
            match editor.apply_all(&changes) {
                Ok(numbers) => {
                    made += 1;
                    assert_eq!(numbers.len(), changes.len());
                    for (change, number) in changes.iter().zip(numbers) {
                        let Change::AddRule(rule, _) = change else { continue };
                        assert_eq!(
                            editor.policy().rule(number.expect("it was added")).id,
                            rule.id,
                            "{context}"
                        );
                    }
                }
                Err(_) => {
                    refused += 1;
                    assert!(Arc::ptr_eq(&before, &editor.generation()), "{context}: nothing was published");
                    assert_eq!(old, *editor.policy(), "{context}");
                    if editor.add_member(SegmentId(0), IpRange::V4(1, 2)).is_err() {
                        editor.rebuild(None).unwrap_or_else(|error| panic!("{context}: {error}"));
                    }
                }
            }
            aimed.extend(changes.iter().flat_map(aims));
            let aims = &aimed[aimed.len().saturating_sub(9)..];
            let packets: Vec<Packet> = (0..40).map(|_| packet(&scenario, aims, &mut random)).collect();
            compare(&editor.generation(), &packets, &context);
            compare_with_fresh(&editor.generation(), &limits, &packets, &context);
            let listed = editor.policy().listed();
            assert_eq!(listed.len(), editor.policy().rule_count(), "{context}");
            let flat = editor.policy().flattened();
            let ids = listed.iter().map(|id| &editor.policy().rule(*id).id);
            assert!(ids.eq(flat.rules().iter().map(|rule| &rule.id)), "{context}");
        }
    }
    println!("{made} times several changes, {refused} refused");
    assert!(made > 50 && refused > 50, "{made} made, {refused} refused");
}

fn small() -> Editor {
    let mut random = Random(3);
    let scenario = loop {
        let scenario = Scenario::new(&mut random, Size { segments: 6, rules: 12 });
        if scenario.policy.rules().len() > 3 {
            break scenario;
        }
    };
    Editor::new(&Arc::new(scenario.policy), NOW, &Limits::default()).expect("within limits")
}

#[test]
fn what_is_not_there_can_not_be_changed() {
    let mut editor = small();
    let rules = editor.policy().rules().len() as u32;
    let nowhere = IpRange::V4(1, 2);
    assert_eq!(editor.remove_member(SegmentId(0), nowhere), Err(EditError::Absent));
    assert_eq!(editor.add_member(SegmentId(99), nowhere), Err(EditError::Absent));
    assert_eq!(editor.add_member(SegmentId(0), IpRange::V6(2, 1)), Err(EditError::Invalid));
    assert_eq!(editor.suspend_rule(RuleId(rules)), Err(EditError::Absent));
    assert_eq!(editor.resume_rule(RuleId(0)), Err(EditError::Absent));
    assert_eq!(editor.remove_rule(RuleId(rules)), Err(EditError::Absent));
}

#[test]
fn a_rule_is_added_once_and_removed_once() {
    let mut editor = small();
    let rules = editor.policy().rules().len() as u32;
    let mut random = Random(7);
    let new = Rule { from: EndpointSet::Any, to: EndpointSet::Any, ..rule(&mut random, editor.policy(), 0) };
    let new = Rule { services: editor.policy().rules()[0].services.clone(), ..new };
    let change = Change::AddRule(Box::new(new.clone()), Place::First);
    let id = match editor.apply(&change) {
        Ok(id) => id,
        Err(_) => editor.rebuild(Some(&change)).expect("it compiles"),
    };
    let id = id.expect("a rule was added");
    assert!(id.0 <= rules);
    assert_eq!(editor.add_rule(new.clone(), Place::First), Err(EditError::Invalid), "its id is taken");
    let nowhere = Place::Before(RuleId(rules + 7));
    assert_eq!(editor.add_rule(Rule { id: "other".into(), ..new }, nowhere), Err(EditError::Absent));
}
