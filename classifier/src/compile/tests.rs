use super::*;
use crate::addr::{Mac, PortId, Prefix, VlanKey};
use crate::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, PolicyBuilder, PortRange, Rule, Segment, Selector,
    Service, TierId,
};
use crate::tables::PrefixMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NOW: Timestamp = Timestamp(0);

fn builder() -> PolicyBuilder {
    PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce)
}

fn allow(id: usize, from: EndpointSet, to: EndpointSet) -> Rule {
    let service =
        Service { protocol: Some(6), source: PortRange::ALL, destination: PortRange::single(id as u16) };
    Rule::new(format!("r{id}"), TierId(0), from, to, vec![service], Action::Allow)
}

fn segment(name: String, selectors: Vec<Selector>) -> Segment {
    let members = selectors.into_iter().map(Member::Selector).collect();
    Segment { name, members, except: Vec::new(), mode: Mode::Enforce }
}

fn of(id: usize) -> EndpointSet {
    EndpointSet::OneOf(vec![Member::Segment(SegmentId(id as u32))])
}

/// The `n`th /24 below 10.0.0.0.
fn net(n: usize) -> Selector {
    let first = 0x0a00_0000 + ((n as u32) << 8);
    Selector { addresses: vec![IpRange::V4(first, first + 255)], ..Selector::default() }
}

fn mac(n: usize) -> Mac {
    let [_, _, _, _, _, _, high, low] = (n as u64).to_be_bytes();
    Mac([2, 0, 0, 0, high, low])
}

fn compile_default(builder: PolicyBuilder) -> Tables {
    Tables::compile(Arc::new(builder.build().expect("the policy is valid")), NOW)
        .expect("it is within limits")
}

#[test]
fn a_thousand_bound_macs_cost_a_thousand_classes() {
    let mut builder = builder();
    for n in 0..1000 {
        let addresses = vec![IpRange::V4(0x0a00_0000 + n as u32, 0x0a00_0000 + n as u32)];
        let bound = Selector { vlan: None, macs: vec![mac(n)], addresses };
        builder.segment(segment(format!("host{n}"), vec![bound]));
    }
    for n in 0..500 {
        builder.rule(allow(n, of(n), of(n + 500)));
    }
    let statistics = compile_default(builder).statistics();
    // A state for the address alone and one for the address with its MAC.
    assert!(statistics.classes <= 2_001, "{statistics:?}");
    assert!(statistics.pairs <= 500, "{statistics:?}");
}

#[test]
fn a_thousand_macs_of_one_segment_share_a_profile() {
    let mut builder = builder();
    let macs = (0..1000).map(|n| Selector { macs: vec![mac(n)], ..Selector::default() }).collect();
    builder.segment(segment("printers".into(), macs));
    for n in 0..200 {
        builder.segment(segment(format!("net{n}"), vec![net(n)]));
    }
    let statistics = compile_default(builder).statistics();
    assert_eq!(statistics.classes, 402, "{statistics:?}");
}

#[test]
fn a_rule_with_any_on_a_side_has_one_cell_per_segment_on_the_other() {
    let mut builder = builder();
    for n in 0..400 {
        builder.segment(segment(format!("net{n}"), vec![net(n)]));
    }
    for n in 0..400 {
        builder.rule(allow(2 * n, EndpointSet::Any, of(n)));
        builder.rule(allow(2 * n + 1, of(n), EndpointSet::Any));
    }
    let statistics = compile_default(builder).statistics();
    assert_eq!((statistics.pairs, statistics.groups), (800, 2), "{statistics:?}");
}

#[test]
fn vlans_beside_addresses_do_not_multiply_the_pairs_of_address_rules() {
    let mut builder = builder();
    for n in 0..200 {
        builder.segment(segment(format!("net{n}"), vec![net(n)]));
    }
    for n in 0..50 {
        let vlan = Some(VlanKey::new(PortId(0), n + 1));
        builder.segment(segment(format!("floor{n}"), vec![Selector { vlan, ..Selector::default() }]));
    }
    for n in 0..199 {
        builder.rule(allow(n, of(n), of(n + 1)));
    }
    let limits = Limits { spread_of_choice: 10_000, ..Limits::default() };
    let policy = Arc::new(builder.build().expect("the policy is valid"));
    let statistics = Tables::compile_within(policy, NOW, &limits).expect("within limits").statistics();
    assert_eq!(statistics.classes, 201 * 51, "{statistics:?}");
    assert_eq!(statistics.pairs, 199, "{statistics:?}");
}

#[test]
fn each_limit_is_named_with_its_remedy_when_it_is_passed() {
    let mut builder = builder();
    for n in 0..20 {
        let vlan = Some(VlanKey::new(PortId(0), n + 1));
        builder.segment(segment(format!("floor{n}"), vec![Selector { vlan, ..Selector::default() }]));
    }
    for n in 0..20 {
        builder.segment(segment(format!("net{n}"), vec![net(n)]));
    }
    for n in 0..20 {
        builder.rule(allow(n, of(n), of(n + 20)));
    }
    let policy = Arc::new(builder.build().expect("the policy is valid"));
    let with = |change: fn(&mut Limits)| {
        let mut limits = Limits { spread_of_choice: 0, ..Limits::default() };
        change(&mut limits);
        Tables::compile_within(Arc::clone(&policy), NOW, &limits).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(with(|_| ()), Ok(()));
    let refused = |change: fn(&mut Limits), limit: &str, remedy: &str| {
        let message = with(change).expect_err("the limit is passed");
        assert!(message.contains(limit) && message.contains(remedy), "{message}");
    };
    refused(|l| l.overlap = 5, "over 5 memberships", "nest segments");
    refused(|l| l.classes = 100, "over 100 kinds of endpoints", "together with addresses");
    refused(|l| l.places = 100, "in over 100 ways", "together with addresses");
    refused(|l| l.pairs = 10, "over the limit of 10", "write `any`");
    let by_group = |l: &mut Limits| (l.folded, l.boundaries) = (0, 10);
    refused(by_group, "over 10 port boundaries", "join ports");
}

#[test]
fn expired_rules_leave_no_trace() {
    let mut builder = builder();
    builder.segment(segment("net".into(), vec![net(0)]));
    builder.rule(Rule { expires: Some(Timestamp(5)), ..allow(1, of(0), EndpointSet::Any) });
    let policy = Arc::new(builder.build().expect("the policy is valid"));
    let at = |now| Tables::compile(Arc::clone(&policy), Timestamp(now)).expect("within limits").statistics();
    assert_eq!((at(4).rules, at(4).pairs), (1, 1));
    assert_eq!((at(5).rules, at(5).pairs), (0, 0));
}

#[test]
fn a_policy_without_segments_and_rules_compiles() {
    let tables = compile_default(builder());
    let class = tables.source_class(VlanKey::new(PortId(0), 1), mac(1), Ipv4Addr::LOCALHOST.into());
    assert_eq!(tables.segments_of(class), []);
    assert_eq!(tables.judge(class, class, 6, 1, 2), crate::decision::Judgement::default());
}

/// SplitMix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn a_prefix_map_finds_the_longest_prefix() {
    for round in 0..300u64 {
        let mut seed = round;
        let spread = [8, 20, 32][round as usize % 3];
        let mut entries: Vec<(Prefix, u32)> = Vec::new();
        for _ in 0..next(&mut seed) % 200 {
            let bits = next(&mut seed) >> (64 - spread);
            let length = next(&mut seed);
            let prefix = if next(&mut seed).is_multiple_of(3) {
                let address = 0xfd00 << 112 | u128::from(bits) << (length % 100);
                Prefix::new(Ipv6Addr::from(address).into(), (length % 129) as u8)
            } else {
                Prefix::new(Ipv4Addr::from(0x0a00_0000 ^ bits as u32).into(), (length % 33) as u8)
            };
            entries.push((prefix.expect("a valid length"), next(&mut seed) as u32));
        }
        let map = PrefixMap::new(&entries);
        let naive = |address: IpAddr| {
            // Of equal lengths the last counts: `max_by_key` takes the last of equals.
            let holding = entries.iter().filter(|(prefix, _)| prefix.contains(address));
            holding.max_by_key(|(prefix, _)| prefix.length()).map(|(_, value)| *value)
        };
        let probe = |address: IpAddr| {
            assert_eq!(map.get(address), naive(address), "seed {round}, {address}, {entries:?}");
        };
        for (prefix, _) in &entries {
            match IpRange::from(*prefix) {
                IpRange::V4(first, last) => {
                    for a in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                        probe(Ipv4Addr::from(a).into());
                    }
                }
                IpRange::V6(first, last) => {
                    for a in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                        probe(Ipv6Addr::from(a).into());
                    }
                }
            }
        }
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            probe(address.parse().expect("an address"));
        }
    }
}

#[test]
fn dense_address_space_is_looked_up_in_all_three_levels() {
    // 300 hosts within one /24's neighbourhood: leaf, line and dense entries all occur.
    let mut entries = Vec::new();
    for n in (0..600u32).step_by(2) {
        entries.push((Prefix::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).expect("a length"), n));
    }
    for n in 0..40u32 {
        let address = Ipv4Addr::from(0x0a00_8000 + n * 256 + 3);
        entries.push((Prefix::new(address.into(), 32).expect("a length"), 10_000 + n));
    }
    let map = PrefixMap::new(&entries);
    for n in 0..65_536u32 {
        let expected = match n {
            n if n < 600 && n.is_multiple_of(2) => Some(n),
            n if (0x8000..0x8000 + 40 * 256).contains(&n) && n % 256 == 3 => {
                Some(10_000 + (n - 0x8000) / 256)
            }
            _ => None,
        };
        assert_eq!(map.get_v4(0x0a00_0000 + n), expected, "{n}");
    }
}
