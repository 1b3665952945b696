//! A policy as a data centre has one: segments of prefixes, zones of segments, a tier of guards before a tier of
//! applications, rules with ports.
//!
//! Ports below 1024 are for denials, ports from [`LOWEST_SERVICE`] on for allowances: so whatever rule comes first,
//! a flow to a port that some rule allows between its ends is allowed.

use super::{Side, wide};
use classifier::addr::IpRange;
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId,
};
use random::Random;

/// The lowest port that a rule allows.
pub(super) const LOWEST_SERVICE: u32 = 8_000;
const HIGHEST_SERVICE: u32 = 60_000;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Segments of a zone.
const ZONE: usize = 16;
const GUARD: TierId = TierId(0);
const APPLICATION: TierId = TierId(1);

/// A rule that lets flows in: between which prefixes, by their IPv4 addresses, to which ports.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    pub(super) clients: IpRange,
    pub(super) servers: IpRange,
    pub(super) ports: PortRange,
}

/// A policy, and what flows it lets in.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) policy: Policy,
    pub(super) allowances: Vec<Allowance>,
    /// Segments of one side.
    pub(super) segments: u32,
}

/// Segments of one VLAN, and the first prefix of each.
struct Members {
    ids: Vec<SegmentId>,
    prefixes: Vec<IpRange>,
    zones: Vec<SegmentId>,
}

/// A policy of `rules` rules, at least one of which lets flows in.
pub(super) fn plan(rules: u32, seed: u64, v6: bool) -> Plan {
    plan_without(rules, seed, v6, &[])
}

/// The same policy with one rule more before all others, which denies all that these clients (of IPv4) send.
pub(super) fn plan_without(rules: u32, seed: u64, v6: bool, denied: &[u32]) -> Plan {
    let mut random = Random::new(seed);
    let tiers = vec!["guard".to_owned(), "application".to_owned()];
    let mut builder = PolicyBuilder::new(tiers, DefaultAction::Deny, Mode::Enforce);
    // A segment has eight rules on average, its share of both ends; no more segments than a VLAN has room for.
    let segments = (rules / 8).clamp(2, 10_000);
    let clients = side(&mut builder, Side::CLIENTS, "client", segments, v6, &mut random);
    let servers = side(&mut builder, Side::SERVERS, "server", segments, v6, &mut random);

    if !denied.is_empty() {
        let addresses = denied.iter().map(|client| IpRange::V4(*client, *client)).collect();
        let clients = Member::Selector(Selector { addresses, ..Selector::default() });
        let any = Service { protocol: None, source: PortRange::ALL, destination: PortRange::ALL };
        let from = EndpointSet::OneOf(vec![clients]);
        builder.rule(Rule::new("revoked", GUARD, from, EndpointSet::Any, vec![any], Action::Deny));
    }
    let mut allowances = Vec::new();
    for number in 0..rules {
        let from = random.below(segments) as usize;
        let to = random.below(segments) as usize;
        let kind = if number == 0 { 99 } else { random.below(100) };
        builder.rule(match kind {
            0..5 => rule(
                number,
                GUARD,
                pick(&mut random, &clients.zones),
                servers.ids[to],
                low(&mut random),
                Action::Deny,
            ),
            5..7 => rule(
                number,
                GUARD,
                clients.ids[from],
                pick(&mut random, &servers.zones),
                low(&mut random),
                Action::Pass,
            ),
            7..15 => rule(
                number,
                APPLICATION,
                clients.ids[from],
                servers.ids[to],
                low(&mut random),
                Action::Reject,
            ),
            _ => {
                let ports = high(&mut random);
                let (clients_in, servers_in) = (clients.prefixes[from], servers.prefixes[to]);
                allowances.push(Allowance { clients: clients_in, servers: servers_in, ports });
                rule(number, APPLICATION, clients.ids[from], servers.ids[to], ports, Action::Allow)
            }
        });
    }
    let policy = builder.build().expect("the generated names and references are valid");
    Plan { policy, allowances, segments }
}

fn pick(random: &mut Random, ids: &[SegmentId]) -> SegmentId {
    *random.pick(ids)
}

/// The segments of one side: disjoint prefixes of 16 or 64 addresses, one to three each, and zones over them.
fn side(
    builder: &mut PolicyBuilder,
    side: Side,
    name: &str,
    count: u32,
    v6: bool,
    random: &mut Random,
) -> Members {
    // The first 256 addresses are no segment's: the gateway is there.
    let mut cursor = side.network + 256;
    let mut members = Members { ids: Vec::new(), prefixes: Vec::new(), zones: Vec::new() };
    for number in 0..count {
        let ranges: Vec<IpRange> = (0..=random.below(3))
            .map(|_| {
                let size = if random.chance(20) { 64 } else { 16 };
                let first = cursor.next_multiple_of(size);
                cursor = first + size;
                IpRange::V4(first, cursor - 1)
            })
            .collect();
        members.prefixes.push(ranges[0]);
        let addresses = if v6 { ranges.into_iter().map(widened).collect() } else { ranges };
        let selector = Selector { addresses, ..Selector::default() };
        let listed = vec![Member::Selector(selector)];
        members.ids.push(segment(builder, format!("{name}-{number}"), listed));
    }
    for (number, chunk) in members.ids.chunks(ZONE).enumerate() {
        let listed = chunk.iter().map(|id| Member::Segment(*id)).collect();
        members.zones.push(segment(builder, format!("{name}-zone-{number}"), listed));
    }
    members
}

/// The range of IPv6 addresses that stand for those of a range of IPv4.
fn widened(range: IpRange) -> IpRange {
    match range {
        IpRange::V4(first, last) => IpRange::V6(wide(first), wide(last)),
        IpRange::V6(..) => range,
    }
}

fn segment(builder: &mut PolicyBuilder, name: String, members: Vec<Member>) -> SegmentId {
    builder.segment(Segment { name, members, except: Vec::new(), mode: Mode::Enforce })
}

fn low(random: &mut Random) -> PortRange {
    PortRange::single(1 + random.below(1_023) as u16)
}

/// One port, or (one time in five) a range of up to a hundred.
fn high(random: &mut Random) -> PortRange {
    let first = LOWEST_SERVICE + random.below(HIGHEST_SERVICE - LOWEST_SERVICE - 100);
    let more = if random.chance(20) { 1 + random.below(99) } else { 0 };
    PortRange { first: first as u16, last: (first + more) as u16 }
}

fn rule(number: u32, tier: TierId, from: SegmentId, to: SegmentId, ports: PortRange, action: Action) -> Rule {
    let service = |protocol| Service { protocol: Some(protocol), source: PortRange::ALL, destination: ports };
    Rule::new(
        format!("rule-{number}"),
        tier,
        EndpointSet::OneOf(vec![Member::Segment(from)]),
        EndpointSet::OneOf(vec![Member::Segment(to)]),
        vec![service(TCP), service(UDP)],
        action,
    )
}
