//! Tables that were changed in place answer as the linear scan of the changed policy does, and generations that
//! were published before stay as they were.

mod random;

use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::compile::{EditError, Editor, Limits};
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, Policy, PolicyBuilder, PortRange, Rule,
    RuleId, Segment, SegmentId, Selector, Service, TierId,
};
use classifier::reference::Reference;
use classifier::tables::{Answer, Form, Instructions, Query, Tables};
use random::{NOW, Random};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const SEGMENTS: usize = 8;
const RULES: usize = 20;

fn range(random: &mut Random) -> IpRange {
    let base = random.pick(&[0x0a00_0000u32, 0x0a00_ff00, 0x0a01_0000, 0xffff_ff00]);
    let first = base.saturating_add(random.below(300) as u32);
    let last = first.saturating_add(random.pick(&[0, 0, 1, 15, 255, 70_000]));
    IpRange::V4(first, last)
}

fn selector(range: IpRange) -> Member {
    Member::Selector(Selector { addresses: vec![range], ..Selector::default() })
}

fn policy(random: &mut Random) -> Policy {
    let mut builder =
        PolicyBuilder::new(vec!["first".into(), "second".into()], DefaultAction::Deny, Mode::Enforce);
    for n in 0..SEGMENTS {
        let mut members: Vec<Member> = (0..random.below(4)).map(|_| selector(range(random))).collect();
        if n > 0 && random.once_in(4) {
            members.push(Member::Segment(SegmentId(random.below(n) as u32)));
        }
        let except = if random.once_in(4) { vec![selector(range(random))] } else { Vec::new() };
        let mode = if random.once_in(3) { Mode::Monitor } else { Mode::Enforce };
        builder.segment(Segment { name: format!("s{n}"), members, except, mode });
    }
    for n in 0..RULES {
        let mut set = || {
            let mut of = || Member::Segment(SegmentId(random.below(SEGMENTS) as u32));
            EndpointSet::OneOf(vec![of()])
        };
        let (from, to) = (set(), set());
        let first = random.below(6) as u16;
        let destination = PortRange { first, last: first + random.below(4) as u16 };
        builder.rule(Rule {
            id: format!("r{n}"),
            tier: TierId(random.below(2) as u16),
            from,
            to,
            services: vec![Service {
                protocol: random.pick(&[None, Some(6), Some(6), Some(17)]),
                source: PortRange::ALL,
                destination,
            }],
            action: random.pick(&[Action::Allow, Action::Allow, Action::Deny, Action::Reject, Action::Pass]),
            mode: if random.once_in(6) { Mode::Monitor } else { Mode::Enforce },
            log: false,
            established: Established::Recheck,
            expires: None,
            idle_timeout: None,
            max_flows: None,
            owner: None,
            ticket: None,
            description: None,
        });
    }
    builder.build().expect("a valid policy")
}

fn address(random: &mut Random) -> u32 {
    let IpRange::V4(first, last) = range(random) else { unreachable!("ranges are IPv4") };
    random.pick(&[first, last, first.wrapping_sub(1), last.wrapping_add(1)])
}

fn endpoint(address: u32) -> Endpoint {
    Endpoint {
        vlan: Some(VlanKey::new(PortId(0), 1)),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        address: IpAddr::V4(Ipv4Addr::from(address)),
    }
}

fn compare(tables: &Tables, policy: &Policy, random: &mut Random, seed: u64) {
    let reference = Reference::new(policy, NOW);
    let queries: Vec<Query<u32>> = (0..100)
        .map(|_| Query {
            source: address(random),
            destination: address(random),
            source_port: 1,
            destination_port: random.below(10) as u16,
            protocol: random.pick(&[6, 6, 17, 1]),
        })
        .collect();
    for instructions in Instructions::ALL {
        let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
        let mut answers = vec![Answer::default(); queries.len()];
        tables.classify_v4(&queries, &[], &mut answers);
        for (query, answer) in queries.iter().zip(&answers) {
            let (source, destination) = (endpoint(query.source), endpoint(query.destination));
            let packet = ServicePacket {
                protocol: query.protocol,
                source_port: query.source_port,
                destination_port: query.destination_port,
            };
            let decision = reference.decide(&source, &destination, packet);
            assert_eq!(tables.decision_of(*answer), decision, "seed {seed}, {instructions}: {query:?}");
            let class = tables.class_of(&destination);
            assert_eq!(
                tables.segments_of(class),
                reference.segments_of(&destination),
                "seed {seed}: {query:?}"
            );
        }
    }
}

#[test]
fn changed_tables_agree_with_the_reference_of_the_changed_policy() {
    let (mut made, mut refused) = (0, 0);
    for seed in 0..250 {
        let mut random = Random(seed);
        let policy = Arc::new(policy(&mut random));
        // No rows and no matrix of all pairs: the form that can be changed.
        let limits = Limits { matrix: 1, rows: 0, ..Limits::default() };
        let mut editor = Editor::new(&policy, NOW, &limits).expect("within limits");
        if editor.tables().statistics().form != Form::Lines {
            continue;
        }
        let before = (editor.tables(), editor.policy());
        let mut added: Vec<(SegmentId, IpRange)> = Vec::new();
        for _ in 0..30 {
            let result = match random.below(4) {
                0 | 1 => {
                    let (segment, range) = (SegmentId(random.below(SEGMENTS) as u32), range(&mut random));
                    let result = editor.add_member(segment, range);
                    if result.is_ok() {
                        added.push((segment, range));
                    }
                    result
                }
                2 if !added.is_empty() => {
                    let (segment, range) = added.swap_remove(random.below(added.len()));
                    editor.remove_member(segment, range)
                }
                _ => {
                    let rule = RuleId(random.below(RULES) as u32);
                    editor.suspend_rule(rule).or_else(|_| editor.resume_rule(rule))
                }
            };
            match result {
                Ok(()) => made += 1,
                Err(_) => refused += 1,
            }
            if random.once_in(4) {
                compare(&editor.tables(), &editor.policy(), &mut random, seed);
            }
        }
        compare(&editor.tables(), &editor.policy(), &mut random, seed);
        compare(&before.0, &before.1, &mut random, seed);
    }
    println!("{made} changes made, {refused} refused");
    assert!(made > 2_000, "most changes can be made: {made} of {}", made + refused);
}

#[test]
fn what_is_not_there_can_not_be_taken_out() {
    let mut random = Random(3);
    let policy = Arc::new(policy(&mut random));
    let limits = Limits { matrix: 1, rows: 0, ..Limits::default() };
    let mut editor = Editor::new(&policy, NOW, &limits).expect("within limits");
    let nowhere = IpRange::V4(1, 2);
    assert_eq!(editor.remove_member(SegmentId(0), nowhere), Err(EditError::Absent));
    assert_eq!(editor.add_member(SegmentId(99), nowhere), Err(EditError::Absent));
    assert_eq!(editor.add_member(SegmentId(0), IpRange::V6(1, 2)), Err(EditError::Family));
    assert_eq!(editor.suspend_rule(RuleId(99)), Err(EditError::Absent));
    assert_eq!(editor.resume_rule(RuleId(0)), Err(EditError::Absent));
}
