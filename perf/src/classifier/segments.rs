//! Policies that are shaped like segments: prefixes in segments, segments in groups, rules between pairs of them, in
//! three tiers. All of it follows from the shape and the seed.
//!
//! ```text
//!   guard         denials between pairs, and of all to all              about 1 rule in 100
//!   platform      passes and allowances between pairs, services for all about 4
//!   application   allowances and denials between pairs                  the rest
//! ```
//!
//! A pair has one to seven rules, four on average, each with a port or a range of ports of TCP or UDP. What a pair
//! allows is one of a number of *profiles* ("web to database"), as it is where applications are of a kind; with no
//! profiles every pair has ports of its own. Each rule is a rule of its own all the same, with its own id.

use super::header::Family;
use super::prefixes::{Millionths, Space};
use classifier::addr::IpRange;
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId,
};
use random::Random;
use std::collections::HashSet;

const GUARD: TierId = TierId(0);
const PLATFORM: TierId = TierId(1);
const APPLICATION: TierId = TierId(2);
const TCP: u8 = 6;
const UDP: u8 = 17;
/// One segment in so many is a group of others.
const PER_GROUP: u32 = 40;
/// A pair has from one to so many rules.
const MOST_RULES: u32 = 7;
/// Ports that every policy is full of: one rule in three is of these.
const WELL_KNOWN: [u16; 16] =
    [22, 25, 53, 80, 88, 123, 389, 443, 636, 1433, 1521, 3306, 5432, 6379, 8080, 9092];
/// What is denied to all: telnet, NetBIOS, SMB, SSDP.
const GUARDED: [(u8, u16, u16); 4] = [(TCP, 23, 23), (TCP, 135, 139), (TCP, 445, 445), (UDP, 1_900, 1_900)];

/// How large a policy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Segments, groups included; at least two.
    pub(crate) segments: u32,
    /// Prefixes of all segments; at least one for each segment that is no group.
    pub(crate) prefixes: u32,
    /// Rules; at least one.
    pub(crate) rules: u32,
    /// Of 100 prefixes, how many are of IPv6.
    pub(crate) percent_v6: u32,
    /// Lists of services that pairs have in common; zero: none.
    pub(crate) profiles: u32,
    /// Rules with `any` on a side, or on both; no more than there are rules.
    pub(crate) any: u32,
    /// The part of the prefixes that overlap others.
    pub(crate) overlap: Millionths,
    /// The part of the pairs that have a group on a side; one in ten of these has one on both.
    pub(crate) group_pairs: Millionths,
}

/// A policy and what is known of it.
#[derive(Debug)]
pub(crate) struct Generated {
    pub(crate) policy: Policy,
    /// Pairs of segments that rules were drawn for.
    pub(crate) pairs: u32,
}

/// The segments that rules speak of.
struct Ends {
    leaves: u32,
    groups: u32,
}

/// The policy of that shape and seed.
pub(crate) fn generate(shape: Shape, seed: u64) -> Generated {
    let mut random = Random::new(seed);
    let tiers = ["guard", "platform", "application"].map(str::to_owned).to_vec();
    let mut builder = PolicyBuilder::new(tiers, DefaultAction::Deny, Mode::Enforce);
    let groups = shape.segments / PER_GROUP;
    let ends = Ends { leaves: shape.segments - groups, groups };
    for (number, ranges) in members(shape, ends.leaves, &mut random).into_iter().enumerate() {
        let selector = Selector { addresses: ranges, ..Selector::default() };
        builder.segment(segment(format!("segment-{number}"), vec![Member::Selector(selector)]));
    }
    for number in 0..ends.groups {
        let members = group(&ends, number, &mut random).into_iter().map(Member::Segment).collect();
        builder.segment(segment(format!("group-{number}"), members));
    }
    let mut writer = Writer { builder, written: 0, limit: shape.rules };
    let pairs = rules(&mut writer, shape, &ends, &mut random);
    let policy = writer.builder.build().expect("the generated names and references are valid");
    Generated { policy, pairs }
}

fn segment(name: String, members: Vec<Member>) -> Segment {
    Segment { name, members, except: Vec::new(), mode: Mode::Enforce }
}

/// The prefixes of each segment: one each, the others at random, one in five of them to one segment in twenty.
fn members(shape: Shape, leaves: u32, random: &mut Random) -> Vec<Vec<IpRange>> {
    let of_v6 = (u64::from(shape.prefixes) * u64::from(shape.percent_v6) / 100) as u32;
    let mut v4 = Space::new(Family::V4, shape.prefixes - of_v6, shape.overlap, random);
    let mut v6 = Space::new(Family::V6, of_v6, shape.overlap, random);
    let mut members = vec![Vec::new(); leaves as usize];
    // An application is at home in one place or two, not everywhere.
    let homes: Vec<[u32; 2]> = members.iter().map(|_| [random.next() as u32, random.next() as u32]).collect();
    for number in 0..shape.prefixes.max(leaves) {
        let segment = match number {
            _ if number < leaves => number,
            _ if random.chance(20) => random.below(leaves.div_ceil(20)),
            _ => random.below(leaves),
        } as usize;
        let space = if random.chance(shape.percent_v6) { &mut v6 } else { &mut v4 };
        let home = random.pick(&homes[segment]) % space.homes();
        members[segment].push(space.prefix(random, home));
    }
    members
}

/// The members of a group: its share of the segments and a few more; every tenth group is one of groups before it.
fn group(ends: &Ends, number: u32, random: &mut Random) -> Vec<SegmentId> {
    if number % 10 == 9 {
        return (number - 9..number - 5).map(|other| SegmentId(ends.leaves + other)).collect();
    }
    let share = (number..ends.leaves).step_by(ends.groups as usize);
    share.chain((0..4).map(|_| random.below(ends.leaves))).map(SegmentId).collect()
}

/// Numbers the rules and stops at the limit.
struct Writer {
    builder: PolicyBuilder,
    written: u32,
    limit: u32,
}

impl Writer {
    fn is_full(&self) -> bool {
        self.written == self.limit
    }

    fn rule(&mut self, tier: TierId, from: EndpointSet, to: EndpointSet, service: Service, action: Action) {
        if self.is_full() {
            return;
        }
        self.builder.rule(Rule::new(format!("rule-{}", self.written), tier, from, to, vec![service], action));
        self.written += 1;
    }
}

/// Writes all rules; how many pairs they are for.
fn rules(writer: &mut Writer, shape: Shape, ends: &Ends, random: &mut Random) -> u32 {
    for number in 0..shape.any {
        // Denials of all to all and services for all take turns.
        let nth = number as usize / 2;
        if number % 2 == 0 {
            let (protocol, first, last) =
                GUARDED.get(nth).copied().unwrap_or_else(|| (TCP, 1 + nth as u16, 1 + nth as u16));
            let service = on(protocol, PortRange { first, last });
            writer.rule(GUARD, EndpointSet::Any, EndpointSet::Any, service, Action::Deny);
        } else {
            let to = the(SegmentId(random.below(ends.leaves)));
            let service = on(UDP, PortRange::single(*random.pick(&WELL_KNOWN)));
            writer.rule(PLATFORM, EndpointSet::Any, to, service, Action::Allow);
        }
    }
    let profiles: Vec<Vec<Service>> = (0..shape.profiles).map(|_| profile(random)).collect();
    // What most others talk to: one segment in fifty.
    let hubs: Vec<u32> = (0..ends.leaves.div_ceil(50)).map(|_| random.below(ends.leaves)).collect();
    let mut known = HashSet::new();
    let mut pairs = 0;
    while !writer.is_full() {
        let (from, to) = pair(ends, shape.group_pairs, &hubs, random);
        // Once all pairs there are have rules, they get more.
        let has_room = (known.len() as u64) < u64::from(ends.leaves) * u64::from(ends.leaves) / 2;
        if !known.insert((from, to)) && has_room {
            continue;
        }
        pairs += 1;
        let own;
        let services = if profiles.is_empty() {
            own = profile(random);
            &own
        } else {
            random.pick(&profiles)
        };
        // The passes and denials are drawn before what they are for, as an operator writes them.
        for service in services {
            let (tier, action) = kind(random);
            writer.rule(tier, the(from), the(to), *service, action);
        }
    }
    pairs
}

fn pair(ends: &Ends, groups: Millionths, hubs: &[u32], random: &mut Random) -> (SegmentId, SegmentId) {
    let leaf = |random: &mut Random| SegmentId(random.below(ends.leaves));
    let group = |random: &mut Random| SegmentId(ends.leaves + random.below(ends.groups));
    if ends.groups > 0 && Millionths(random.below(Millionths::ALL.0)) < groups {
        return match random.below(10) {
            0 => (group(random), group(random)),
            1..6 => (group(random), leaf(random)),
            _ => (leaf(random), group(random)),
        };
    }
    let from = leaf(random);
    let to = if random.chance(30) { SegmentId(*random.pick(hubs)) } else { leaf(random) };
    (from, to)
}

fn kind(random: &mut Random) -> (TierId, Action) {
    match random.below(200) {
        0..2 => (GUARD, Action::Deny),
        2..4 => (PLATFORM, Action::Pass),
        4..10 => (PLATFORM, Action::Allow),
        10..13 => (APPLICATION, Action::Deny),
        13..14 => (APPLICATION, Action::Reject),
        _ => (APPLICATION, Action::Allow),
    }
}

fn profile(random: &mut Random) -> Vec<Service> {
    (0..=random.below(MOST_RULES)).map(|_| service(random)).collect()
}

/// Seven in ten TCP; three in four one port, else a range of up to 64.
fn service(random: &mut Random) -> Service {
    let protocol = if random.chance(70) { TCP } else { UDP };
    if random.chance(33) {
        return on(protocol, PortRange::single(*random.pick(&WELL_KNOWN)));
    }
    let first = 1_024 + random.below(60_000) as u16;
    let more = if random.chance(37) { 1 + random.below(63) as u16 } else { 0 };
    on(protocol, PortRange { first, last: first + more })
}

fn on(protocol: u8, destination: PortRange) -> Service {
    Service { protocol: Some(protocol), source: PortRange::ALL, destination }
}

fn the(id: SegmentId) -> EndpointSet {
    EndpointSet::OneOf(vec![Member::Segment(id)])
}
