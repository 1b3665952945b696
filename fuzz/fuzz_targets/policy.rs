//! Any policy that the builder accepts compiles within its limits, and answers as the linear scan does.
//!
//! `cargo +nightly fuzz run policy`. The fuzzer writes a policy, limits and packets; what the builder refuses is
//! no finding, and neither is what the compiler refuses by a limit.
#![no_main]

use arbitrary::Arbitrary;
use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::compile::Limits;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId, Timestamp,
};
use classifier::reference::Reference;
use classifier::tables::{Answer, Instructions, Places, Query, Tables};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_000);

#[derive(Arbitrary, Debug)]
struct FuzzSelector {
    vlan: Option<u8>,
    macs: Vec<u8>,
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

#[derive(Arbitrary, Debug)]
enum FuzzMember {
    Selector(FuzzSelector),
    Segment(u8),
}

#[derive(Arbitrary, Debug)]
struct FuzzSegment {
    members: Vec<FuzzMember>,
    except: Vec<FuzzMember>,
    monitor: bool,
}

#[derive(Arbitrary, Debug)]
struct FuzzRule {
    tier: u8,
    from: Option<Vec<FuzzMember>>,
    to: Option<Vec<FuzzMember>>,
    services: Vec<(Option<u8>, (u16, u16), (u16, u16))>,
    action: u8,
    monitor: bool,
    expires: Option<u16>,
}

#[derive(Arbitrary, Debug)]
struct FuzzPacket {
    is_v6: bool,
    addresses: (u128, u128),
    places: ((u8, u8), (u8, Option<u8>)),
    protocol: u8,
    ports: (u16, u16),
}

#[derive(Arbitrary, Debug)]
struct Input {
    tiers: u8,
    default: u8,
    monitor: bool,
    segments: Vec<FuzzSegment>,
    rules: Vec<FuzzRule>,
    packets: Vec<FuzzPacket>,
    limits: (u8, u8, u8, u8),
}

fn vlan(id: u8) -> VlanKey {
    VlanKey::new(PortId(0), u16::from(id))
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn member(member: &FuzzMember) -> Member {
    match member {
        FuzzMember::Segment(id) => Member::Segment(SegmentId(u32::from(*id))),
        FuzzMember::Selector(selector) => {
            let v4 = selector.v4.iter().map(|(first, last)| IpRange::V4(*first, *last));
            let v6 = selector.v6.iter().map(|(first, last)| IpRange::V6(*first, *last));
            Member::Selector(Selector {
                vlan: selector.vlan.map(vlan),
                macs: selector.macs.iter().copied().map(mac).collect(),
                addresses: v4.chain(v6).collect(),
            })
        }
    }
}

fn mode(monitor: bool) -> Mode {
    if monitor { Mode::Monitor } else { Mode::Enforce }
}

fn rule(at: usize, rule: &FuzzRule) -> Rule {
    let set = |members: &Option<Vec<FuzzMember>>| match members {
        None => EndpointSet::Any,
        Some(members) => EndpointSet::OneOf(members.iter().map(member).collect()),
    };
    let range = |(first, last): (u16, u16)| PortRange { first, last };
    let service = |(protocol, source, destination): &(Option<u8>, (u16, u16), (u16, u16))| Service {
        protocol: *protocol,
        source: range(*source),
        destination: range(*destination),
    };
    Rule {
        id: format!("r{at}"),
        tier: TierId(u16::from(rule.tier)),
        from: set(&rule.from),
        to: set(&rule.to),
        services: rule.services.iter().map(service).collect(),
        action: [Action::Allow, Action::Deny, Action::Reject, Action::Pass][usize::from(rule.action) % 4],
        mode: mode(rule.monitor),
        log: false,
        established: Established::Recheck,
        expires: rule.expires.map(|at| Timestamp(i128::from(at))),
        idle_timeout: None,
        max_flows: None,
        owner: None,
        ticket: None,
        description: None,
    }
}

fn endpoint(address: u128, is_v6: bool, place: (u8, Option<u8>)) -> Endpoint {
    let v4 = IpAddr::V4(Ipv4Addr::from(address as u32));
    let address = if is_v6 { IpAddr::V6(Ipv6Addr::from(address)) } else { v4 };
    Endpoint { vlan: Some(vlan(place.0)), mac: place.1.map(mac), address }
}

fuzz_target!(|input: Input| {
    let default = [DefaultAction::Deny, DefaultAction::Reject, DefaultAction::Allow];
    let default = default[usize::from(input.default) % 3];
    let tiers = (0..=input.tiers % 4).map(|tier| format!("t{tier}")).collect();
    let mut builder = PolicyBuilder::new(tiers, default, mode(input.monitor));
    for (at, segment) in input.segments.iter().enumerate() {
        builder.segment(Segment {
            name: format!("s{at}"),
            members: segment.members.iter().map(member).collect(),
            except: segment.except.iter().map(member).collect(),
            mode: mode(segment.monitor),
        });
    }
    for (at, fuzz_rule) in input.rules.iter().enumerate() {
        builder.rule(rule(at, fuzz_rule));
    }
    let Ok(policy) = builder.build() else { return };
    let policy = Arc::new(policy);
    // All forms that cells have come up.
    let (matrix, rows, folded, spread) = input.limits;
    let small = |limit: u8| usize::from(limit).pow(2);
    let limits = Limits {
        matrix: small(matrix),
        rows: small(rows) * 64,
        folded: small(folded),
        spread_of_choice: small(spread),
        ..Limits::default()
    };
    let Ok(tables) = Tables::compile_within(Arc::clone(&policy), NOW, &limits) else { return };
    let reference = Reference::new(&policy, NOW);
    for packet in &input.packets {
        let ((from_vlan, from_mac), to) = packet.places;
        let source = endpoint(packet.addresses.0, packet.is_v6, (from_vlan, Some(from_mac)));
        let destination = endpoint(packet.addresses.1, packet.is_v6, to);
        let (source_port, destination_port) = packet.ports;
        let service = ServicePacket { protocol: packet.protocol, source_port, destination_port };
        let expected = reference.decide(&source, &destination, service);
        let (from, to) = (tables.class_of(&source), tables.class_of(&destination));
        let single = tables.decide(from, to, packet.protocol, source_port, destination_port);
        assert_eq!(single, expected, "{packet:?}");
        let places =
            Places { source: (source.vlan, source.mac), destination: (destination.vlan, destination.mac) };
        for instructions in Instructions::ALL {
            let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
            let mut answers = [Answer::default()];
            if packet.is_v6 {
                let (source, destination) = packet.addresses;
                let protocol = packet.protocol;
                let query = Query { source, destination, source_port, destination_port, protocol };
                tables.classify_v6(&[query], &[places], &mut answers);
            } else {
                let (source, destination) = (packet.addresses.0 as u32, packet.addresses.1 as u32);
                let protocol = packet.protocol;
                let query = Query { source, destination, source_port, destination_port, protocol };
                tables.classify_v4(&[query], &[places], &mut answers);
            }
            assert_eq!(tables.decision_of(answers[0]), expected, "{instructions}: {packet:?}");
        }
    }
});
