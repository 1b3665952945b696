//! Policies whose wide rules are too many to be put together with the narrow ones, pair by pair: they stay in layers,
//! and passes and monitor rules of one layer reach into the others.

mod random;

use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::compile::Limits;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId,
};
use classifier::reference::Reference;
use classifier::tables::{Answer, Form, Query, Tables};
use random::{NOW, Random};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Segments of one /24 each.
const SEGMENTS: usize = 3_200;
/// Names of the tiers.
const TIERS: [&str; 3] = ["guard", "platform", "teams"];

fn of(segment: usize) -> EndpointSet {
    EndpointSet::OneOf(vec![Member::Segment(SegmentId(segment as u32))])
}

fn service(random: &mut Random) -> Service {
    let first = random.pick(&[22, 53, 80, 443, 8080]);
    let last = random.pick(&[first, first, first + 100]);
    let source = PortRange { first: random.pick(&[0, 0, 0, 1024]), last: u16::MAX };
    let protocol = random.pick(&[Some(6), Some(6), Some(17), None]);
    random.pick(&[Service { protocol, source, destination: PortRange { first, last } }, Service::ANY])
}

/// A rule for each segment as a destination, one for it as a source, and one for a pair with it: more sources and
/// destinations that wide rules tell apart than a matrix has room for.
fn policy(random: &mut Random) -> Policy {
    let tiers = TIERS.map(String::from).to_vec();
    let mut builder = PolicyBuilder::new(tiers, DefaultAction::Deny, Mode::Enforce);
    for n in 0..SEGMENTS {
        let first = 0x0a00_0000 + (n as u32) * 256;
        let addresses = vec![IpRange::V4(first, first + 255)];
        builder.segment(Segment {
            name: format!("s{n}"),
            members: vec![Member::Selector(Selector { addresses, ..Selector::default() })],
            except: Vec::new(),
            mode: Mode::Enforce,
        });
    }
    let mut rules = Vec::new();
    for n in 0..SEGMENTS {
        let other = random.below(SEGMENTS);
        for (from, to) in [(EndpointSet::Any, of(n)), (of(n), EndpointSet::Any), (of(n), of(other))] {
            let action = random.pick(&[Action::Allow, Action::Deny, Action::Reject, Action::Pass]);
            rules.push(Rule {
                mode: random.pick(&[Mode::Enforce, Mode::Enforce, Mode::Monitor]),
                ..Rule::new(
                    format!("r{}", rules.len()),
                    TierId(random.below(TIERS.len()) as u16),
                    from,
                    to,
                    vec![service(random)],
                    action,
                )
            });
        }
    }
    rules.into_iter().for_each(|rule| builder.rule(rule));
    builder.build().expect("a valid policy")
}

fn endpoint(address: u32) -> Endpoint {
    Endpoint {
        vlan: Some(VlanKey::new(PortId(0), 1)),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        address: IpAddr::V4(Ipv4Addr::from(address)),
    }
}

/// Packets of pairs that a rule is for, mostly.
fn query(random: &mut Random) -> Query<u32> {
    let mut address = || 0x0a00_0000 + random.below(SEGMENTS * 256 + 256) as u32;
    let (source, destination) = (address(), address());
    Query {
        source,
        destination,
        source_port: random.pick(&[1, 1023, 1024, 50_000]),
        destination_port: random.pick(&[22, 53, 80, 100, 443, 500, 8080, 9000]),
        protocol: random.pick(&[6, 6, 17, 1]),
    }
}

fn agree(seed: u64, limits: &Limits, packets: usize) {
    let mut random = Random(seed);
    let policy = Arc::new(policy(&mut random));
    let tables = Tables::compile_within(Arc::clone(&policy), NOW, limits).expect("within limits");
    assert_eq!(tables.statistics().form, Form::Layers, "{:?}", tables.statistics());
    let reference = Reference::new(&policy, NOW);
    let mut queries: Vec<Query<u32>> = (0..packets).map(|_| query(&mut random)).collect();
    // Every second packet is between the two sides of a narrow rule.
    for (at, query) in queries.iter_mut().enumerate().skip(1).step_by(2) {
        let rule = &policy.rules()[(at * 3 + 2) % policy.rules().len()];
        let inside = |set: &EndpointSet| match set {
            EndpointSet::OneOf(members) => match members[0] {
                Member::Segment(SegmentId(n)) => 0x0a00_0000 + n * 256 + 7,
                Member::Selector(_) => unreachable!("rules name segments"),
            },
            EndpointSet::Any => 0x0a00_0007,
        };
        (query.source, query.destination) = (inside(&rule.from), inside(&rule.to));
    }
    let mut answers = vec![Answer::default(); queries.len()];
    tables.classify_v4(&queries, &[], &mut answers);
    let (mut passed, mut recorded) = (0, 0);
    for (query, answer) in queries.iter().zip(&answers) {
        let Query { source, destination, source_port, destination_port, protocol } = *query;
        let (from, to) = (endpoint(source), endpoint(destination));
        let packet = ServicePacket { protocol, source_port, destination_port };
        let expected = reference.judge(&from, &to, packet);
        let decision = reference.decide(&from, &to, packet);
        assert_eq!(tables.judgement_of(*answer), expected, "seed {seed}, in bulk: {query:?}");
        assert_eq!(tables.verdict_of(*answer), decision.verdict, "seed {seed}, in bulk: {query:?}");
        let (from, to) = (tables.class_of(&from), tables.class_of(&to));
        let one = tables.judge(from, to, protocol, source_port, destination_port);
        assert_eq!(one, expected, "seed {seed}, one by one: {query:?}");
        recorded += usize::from(expected.first_monitor.is_some());
        passed += usize::from(expected.decided_by.is_some_and(|rule| policy.rule(rule).tier != TierId(0)));
    }
    assert!(recorded > packets / 20, "monitor rules take part: {recorded} of {packets}");
    assert!(passed > packets / 5, "later tiers decide: {passed} of {packets}");
}

#[test]
fn passes_and_monitor_rules_agree_with_the_reference_in_layers() {
    agree(1, &Limits::default(), 1_500);
}

#[test]
fn layers_agree_with_the_reference_whatever_form_their_rows_have() {
    for rows in [1 << 16, 1 << 17, 1 << 18, 1 << 20, 1 << 22] {
        agree(2, &Limits { rows, ..Limits::default() }, 200);
    }
}
