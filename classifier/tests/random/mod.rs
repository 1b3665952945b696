//! Random policies and packets, from a seed.
//!
//! The universes are small and the ranges close together, so that rules overlap and packets hit boundaries.

// Each test binary uses a part of this module.
#![allow(dead_code)]
use classifier::addr::{IpRange, Mac, PortId, Prefix, VlanKey};
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId, Timestamp,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The moment at which random policies are looked at.
pub(crate) const NOW: Timestamp = Timestamp(1_000);

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// How large a random policy is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) segments: usize,
    pub(crate) rules: usize,
}

/// A policy and the values at which its meaning may change.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) policy: Policy,
    v4: Vec<u32>,
    v6: Vec<u128>,
    vlans: Vec<VlanKey>,
    macs: Vec<Mac>,
    ports: Vec<u16>,
    protocols: Vec<u8>,
}

/// What a generator may use; rolled once per policy, so that some policies are simple.
#[derive(Debug)]
struct Taste {
    vlans: bool,
    macs: bool,
    monitor: bool,
    pass: bool,
    source_ports: bool,
    inline: bool,
    wide: bool,
}

struct Generator<'r> {
    random: &'r mut Random,
    taste: Taste,
    scenario: Boundaries,
}

#[derive(Default)]
struct Boundaries {
    v4: Vec<u32>,
    v6: Vec<u128>,
    vlans: Vec<VlanKey>,
    macs: Vec<Mac>,
    ports: Vec<u16>,
    protocols: Vec<u8>,
}

impl Scenario {
    /// A random policy.
    pub(crate) fn new(random: &mut Random, size: Size) -> Scenario {
        let mut half = || !random.once_in(2);
        let taste = Taste {
            vlans: half(),
            macs: half(),
            monitor: half(),
            pass: half(),
            source_ports: half(),
            inline: half(),
            wide: half(),
        };
        let mut generator = Generator { random, taste, scenario: Boundaries::default() };
        let policy = generator.policy(size);
        let Boundaries { v4, v6, vlans, macs, ports, protocols } = generator.scenario;
        let mut scenario = Scenario { policy, v4, v6, vlans, macs, ports, protocols };
        scenario.v4.extend([0, 1, u32::MAX, 0x0a00_0001]);
        scenario.v6.extend([0, 1, u128::MAX, 0xfd00 << 112]);
        scenario.vlans.extend([vlan(0, 0), vlan(3, 77)]);
        scenario.macs.extend([Mac([2, 0, 0, 0, 0, 99])]);
        scenario.ports.extend([0, 1, 80, u16::MAX]);
        scenario.protocols.extend([TCP, TCP, UDP, ICMP, 58, 47, 0, 255]);
        scenario
    }

    /// A random packet, near the boundaries of the policy.
    pub(crate) fn packet(&self, random: &mut Random) -> (Endpoint, Endpoint, ServicePacket) {
        let is_v4 = !random.once_in(3);
        let source = self.endpoint(random, is_v4, false);
        let destination = self.endpoint(random, is_v4, true);
        let mut port = || random.pick(&self.ports).wrapping_add(random.below(3) as u16).wrapping_sub(1);
        let (source_port, destination_port) = (port(), port());
        let protocol = random.pick(&self.protocols);
        let source_port = if protocol == ICMP || protocol == 58 { 0 } else { source_port };
        (source, destination, ServicePacket { protocol, source_port, destination_port })
    }

    fn endpoint(&self, random: &mut Random, is_v4: bool, is_destination: bool) -> Endpoint {
        let nudge = random.below(3);
        let address = if is_v4 {
            let base = random.pick(&self.v4).wrapping_add(nudge as u32).wrapping_sub(1);
            IpAddr::V4(Ipv4Addr::from(base))
        } else {
            let base = random.pick(&self.v6).wrapping_add(nudge as u128).wrapping_sub(1);
            IpAddr::V6(Ipv6Addr::from(base))
        };
        let vlan = random.pick(&self.vlans);
        let mac = random.pick(&self.macs);
        let has_mac = !is_destination || random.once_in(2);
        Endpoint { vlan: Some(vlan), mac: has_mac.then_some(mac), address }
    }
}

fn vlan(port: u8, vid: u16) -> VlanKey {
    VlanKey::new(PortId(port), vid)
}

impl Generator<'_> {
    fn policy(&mut self, size: Size) -> Policy {
        let tiers = 1 + self.random.below(4);
        let names = (0..tiers).map(|t| format!("tier{t}")).collect();
        let default = self.random.pick(&[DefaultAction::Deny, DefaultAction::Reject, DefaultAction::Allow]);
        let mode = if self.random.once_in(5) { Mode::Monitor } else { Mode::Enforce };
        let mut builder = PolicyBuilder::new(names, default, mode);
        let segments = 1 + self.random.below(size.segments);
        for id in 0..segments {
            let segment = self.segment(id);
            builder.segment(segment);
        }
        for id in 0..self.random.below(size.rules + 1) {
            let rule = self.rule(id, segments, tiers);
            builder.rule(rule);
        }
        builder.build().expect("the generator makes valid policies")
    }

    fn segment(&mut self, id: usize) -> Segment {
        let members = (0..self.random.below(5)).map(|_| self.member(id)).collect();
        let except = if self.random.once_in(3) {
            (0..1 + self.random.below(2)).map(|_| self.member(id)).collect()
        } else {
            Vec::new()
        };
        let mode = if self.random.once_in(2) { Mode::Monitor } else { Mode::Enforce };
        // Names in another order than ids: reports sort by name.
        Segment { name: format!("s{}-{id}", self.random.below(10)), members, except, mode }
    }

    /// A member that may name segments below `segments`.
    fn member(&mut self, segments: usize) -> Member {
        if segments > 0 && self.random.once_in(4) {
            return Member::Segment(SegmentId(self.random.below(segments) as u32));
        }
        let mut selector = Selector::default();
        let kind = self.random.below(8);
        if self.taste.vlans && matches!(kind, 4 | 6 | 7) {
            let vlan = vlan(self.random.below(2) as u8, 10 * self.random.below(4) as u16);
            self.scenario.vlans.push(vlan);
            selector.vlan = Some(vlan);
        }
        if self.taste.macs && matches!(kind, 5 | 6) {
            for _ in 0..1 + self.random.below(2) {
                let mac = Mac([2, 0, 0, 0, 0, self.random.below(5) as u8]);
                self.scenario.macs.push(mac);
                selector.macs.push(mac);
            }
        }
        let has_place = selector.vlan.is_some() || !selector.macs.is_empty();
        if !has_place || self.random.once_in(2) {
            selector.addresses = (0..1 + self.random.below(2)).map(|_| self.range()).collect();
        }
        Member::Selector(selector)
    }

    fn range(&mut self) -> IpRange {
        let range = if self.random.once_in(3) { self.range_v6() } else { self.range_v4() };
        match range {
            IpRange::V4(first, last) => self.scenario.v4.extend([first, last]),
            IpRange::V6(first, last) => self.scenario.v6.extend([first, last]),
        }
        range
    }

    fn range_v4(&mut self) -> IpRange {
        let base = if self.random.once_in(20) {
            self.random.word() as u32
        } else {
            0x0a00_0000
                | (self.random.below(2) << 16 | self.random.below(4) << 8 | self.random.below(64)) as u32
        };
        if self.random.once_in(4) {
            return IpRange::V4(base, base.saturating_add(self.random.below(400) as u32));
        }
        let lengths: &[u8] =
            if self.taste.wide { &[0, 4, 8, 15, 16, 23, 24, 30] } else { &[22, 24, 25, 28, 32] };
        let length = self.random.pick(lengths);
        Prefix::new(Ipv4Addr::from(base).into(), length).expect("a length below 33").into()
    }

    fn range_v6(&mut self) -> IpRange {
        let base = 0xfd00 << 112 | (self.random.below(3) as u128) << 64 | self.random.below(16) as u128;
        if self.random.once_in(4) {
            return IpRange::V6(base, base + self.random.below(40) as u128);
        }
        let length = self.random.pick(&[0, 8, 48, 63, 64, 64, 124, 127, 128]);
        Prefix::new(Ipv6Addr::from(base).into(), length).expect("a length below 129").into()
    }

    fn rule(&mut self, id: usize, segments: usize, tiers: usize) -> Rule {
        let from = self.set(segments);
        let to = self.set(segments);
        let services = (0..1 + self.random.below(3)).map(|_| self.service()).collect();
        let actions =
            [Action::Allow, Action::Allow, Action::Deny, Action::Deny, Action::Reject, Action::Pass];
        let mut action = self.random.pick(&actions);
        if action == Action::Pass && !self.taste.pass {
            action = Action::Allow;
        }
        let mode = if self.taste.monitor && self.random.once_in(4) { Mode::Monitor } else { Mode::Enforce };
        let expires = self.random.once_in(8).then(|| Timestamp(998 + self.random.below(5) as i128));
        Rule {
            mode,
            expires,
            ..Rule::new(format!("r{id}"), TierId(self.random.below(tiers) as u16), from, to, services, action)
        }
    }

    fn set(&mut self, segments: usize) -> EndpointSet {
        if self.random.once_in(4) {
            return EndpointSet::Any;
        }
        let member = |this: &mut Self| {
            if this.taste.inline && this.random.once_in(3) {
                this.member(segments)
            } else {
                Member::Segment(SegmentId(this.random.below(segments) as u32))
            }
        };
        EndpointSet::OneOf((0..1 + self.random.below(3)).map(|_| member(self)).collect())
    }

    fn service(&mut self) -> Service {
        let ports = |this: &mut Self| {
            let first = this.random.pick(&[0u16, 22, 80, 80, 443, 1024, 8080, 65_530]);
            let length = this.random.pick(&[0, 0, 0, 1, 5, 400]);
            let range = PortRange { first, last: first.saturating_add(length) };
            this.scenario.ports.extend([range.first, range.last]);
            range
        };
        match self.random.below(8) {
            0 => Service::ANY,
            1 => Service { protocol: Some(TCP), source: PortRange::ALL, destination: PortRange::ALL },
            2 => {
                let destination = Service::icmp_range(self.random.pick(&[0, 3, 8]), None);
                self.scenario.ports.extend([destination.first, destination.last]);
                Service { protocol: Some(ICMP), source: PortRange::ALL, destination }
            }
            3 if self.taste.source_ports => Service {
                protocol: self.random.pick(&[Some(TCP), Some(UDP), None]),
                source: ports(self),
                destination: if self.random.once_in(2) { PortRange::ALL } else { ports(self) },
            },
            4 => {
                let protocol = self.random.pick(&[0, 47, 50, 132, 255]);
                self.scenario.protocols.push(protocol);
                Service { protocol: Some(protocol), source: PortRange::ALL, destination: PortRange::ALL }
            }
            5 if self.random.once_in(8) => {
                Service { protocol: None, source: PortRange::ALL, destination: ports(self) }
            }
            _ => Service {
                protocol: Some(self.random.pick(&[TCP, TCP, UDP])),
                source: PortRange::ALL,
                destination: ports(self),
            },
        }
    }
}
