//! Puts into a generated policy what its generator leaves out: monitor mode, exceptions, expiry, other protocols.
//!
//! Source ports are few: rules that look at them are rare in policies of segments, and dear.

use classifier::policy::{
    EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, SegmentId, Selector, Service, Timestamp,
};
use random::Random;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The policy with a part of its rules and segments changed.
pub(crate) fn varied(policy: &Policy, now: Timestamp, random: &mut Random) -> Policy {
    let mut builder = PolicyBuilder::new(policy.tiers().to_vec(), policy.default(), policy.mode());
    let has_addresses = |member: &Member| matches!(member, Member::Selector(Selector { addresses, .. }) if !addresses.is_empty());
    for (number, segment) in (0..).zip(policy.segments()) {
        let mut segment = segment.clone();
        if random.chance(30) {
            segment.mode = Mode::Monitor;
        }
        if random.chance(5) {
            // Another segment, or the first range of its own: ways out that meet ways in.
            let other = random.below(number + 1);
            let own = segment.members.iter().find(|member| has_addresses(member)).cloned();
            match own {
                Some(Member::Selector(mut selector)) if other == number => {
                    selector.addresses.truncate(1);
                    segment.except.push(Member::Selector(selector));
                }
                _ if other < number && is_leaf(policy, other) => {
                    segment.except.push(Member::Segment(SegmentId(other)))
                }
                _ => {}
            }
        }
        builder.segment(segment);
    }
    for rule in policy.rules() {
        let mut rule = rule.clone();
        match random.below(200) {
            0..20 => rule.mode = Mode::Monitor,
            20..22 => rule.expires = Some(Timestamp(now.0 + i128::from(random.below(3)) - 1)),
            22..26 => rule.services.push(other_service(random)),
            26 => rule.services = vec![other_service(random)],
            27 if random.chance(10) => {
                let source = PortRange { first: 1_024, last: 1_024 + random.below(60_000) as u16 };
                rule.services[0].source = source;
            }
            28 => {
                if let EndpointSet::OneOf(members) = &mut rule.from {
                    members.push(Member::Segment(SegmentId(random.below(policy.segments().len() as u32))));
                }
            }
            _ => {}
        }
        builder.rule(rule);
    }
    builder.build().expect("what was changed names what is there")
}

fn is_leaf(policy: &Policy, segment: u32) -> bool {
    policy.segments()[segment as usize].members.iter().all(|member| matches!(member, Member::Selector(_)))
}

fn other_service(random: &mut Random) -> Service {
    let on = |protocol, destination| Service { protocol, source: PortRange::ALL, destination };
    match random.below(6) {
        0 => Service::ANY,
        1 => on(Some(TCP), PortRange::ALL),
        2 => on(Some(ICMP), Service::icmp_range(8, None)),
        3 => on(Some(ICMPV6), Service::icmp_range(128, Some(0))),
        4 => on(Some(random.next() as u8), PortRange::ALL),
        _ => on(Some(*random.pick(&[47, 50, 132])), PortRange::ALL),
    }
}
