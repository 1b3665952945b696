//! What the fuzzer writes: a policy, limits, changes and packets.
//!
//! Most addresses are near each other, and most packets at the borders of the policy's ranges and ports: random
//! numbers alone would seldom meet.

use arbitrary::Arbitrary;
use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::compile::Limits;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment,
    SegmentId, Selector, Service, TierId, Timestamp,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Arbitrary, Debug)]
pub enum FuzzRange {
    NearV4 { net: u8, host: u8, more: u8 },
    NearV6 { net: u8, host: u8, more: u8 },
    PrefixV4 { net: u8, host: u8, length: u8 },
    PrefixV6 { net: u8, host: u8, length: u8 },
    V4(u32, u32),
    V6(u128, u128),
}

#[derive(Arbitrary, Debug)]
struct FuzzSelector {
    vlan: Option<u8>,
    macs: Vec<u8>,
    addresses: Vec<FuzzRange>,
}

#[derive(Arbitrary, Debug)]
enum FuzzMember {
    /// The most usual one, so the cheapest to write.
    Range(FuzzRange),
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
enum FuzzService {
    Tcp(u16),
    On { protocol: u8, first: u16, more: u8 },
    Ranges { protocol: Option<u8>, source: (u16, u16), destination: (u16, u16) },
    Icmp { v6: bool, kind: u8, code: Option<u8> },
}

#[derive(Arbitrary, Debug)]
struct FuzzRule {
    tier: u8,
    from: Option<Vec<FuzzMember>>,
    to: Option<Vec<FuzzMember>>,
    service: FuzzService,
    services: Vec<FuzzService>,
    action: u8,
    monitor: bool,
    expires: Option<u16>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum FuzzAddress {
    /// The border of that number, or its neighbour.
    Border {
        number: u8,
        step: u8,
    },
    Near {
        net: u8,
        host: u8,
    },
    Any(u128),
}

#[derive(Arbitrary, Debug)]
enum FuzzPort {
    Border { number: u8, step: u8 },
    Any(u16),
}

#[derive(Arbitrary, Debug)]
struct FuzzPacket {
    is_v6: bool,
    addresses: (FuzzAddress, FuzzAddress),
    places: ((u8, u8), (u8, Option<u8>)),
    protocol: u8,
    ports: (FuzzPort, FuzzPort),
}

/// A change of tables in place.
#[derive(Arbitrary, Debug)]
pub enum FuzzEdit {
    Add(u8, FuzzRange),
    Remove(u8, FuzzRange),
    /// Takes out the member of that number.
    RemoveMember(u8, u8),
    Suspend(u8),
    Resume(u8),
}

/// How far the compiler may go.
#[derive(Arbitrary, Debug)]
enum FuzzLimits {
    /// As in the product.
    Default,
    /// What tables that are changed in place need.
    Editable,
    /// All forms that cells have come up.
    Form { matrix: u8, rows: u8, folded: u8, spread: u8 },
    /// Refusals come up, too.
    Tight { overlap: u8, classes: u8, places: u8, pairs: u8, boundaries: u8, form: u8 },
}

#[derive(Arbitrary, Debug)]
pub struct Input {
    tiers: u8,
    default: u8,
    monitor: bool,
    segments: Vec<FuzzSegment>,
    rules: Vec<FuzzRule>,
    packets: Vec<FuzzPacket>,
    limits: FuzzLimits,
    pub edits: Vec<FuzzEdit>,
}

/// A packet between two ends.
pub type Packet = (Endpoint, Endpoint, ServicePacket);

const NETS: [u32; 4] = [0x0a00_0000, 0x0a00_ff00, 0x0a01_0000, 0xffff_ff00];
const NETS_V6: [u128; 4] = [0xfd << 120, 0xfd << 120 | 1 << 64, 0x2001_0db8 << 96, u128::MAX << 8];

fn near_v4(net: u8, host: u8) -> u32 {
    NETS[usize::from(net) % 4] | u32::from(host)
}

fn near_v6(net: u8, host: u8) -> u128 {
    NETS_V6[usize::from(net) % 4] | u128::from(host)
}

impl FuzzRange {
    pub fn range(&self) -> IpRange {
        match *self {
            FuzzRange::NearV4 { net, host, more } => {
                let first = near_v4(net, host);
                // Squares, so that some ranges reach over several /24s.
                IpRange::V4(first, first.saturating_add(u32::from(more).pow(2)))
            }
            FuzzRange::NearV6 { net, host, more } => {
                let first = near_v6(net, host);
                IpRange::V6(first, first.saturating_add(u128::from(more).pow(2)))
            }
            FuzzRange::PrefixV4 { net, host, length } => {
                let rest = u32::MAX.checked_shr(u32::from(length % 33)).unwrap_or(0);
                let address = near_v4(net, host);
                IpRange::V4(address & !rest, address | rest)
            }
            FuzzRange::PrefixV6 { net, host, length } => {
                let rest = u128::MAX.checked_shr(u32::from(length % 129)).unwrap_or(0);
                let address = near_v6(net, host);
                IpRange::V6(address & !rest, address | rest)
            }
            // These may be the wrong way round: the builder is to refuse them.
            FuzzRange::V4(first, last) => IpRange::V4(first, last),
            FuzzRange::V6(first, last) => IpRange::V6(first, last),
        }
    }
}

fn vlan(id: u8) -> VlanKey {
    VlanKey::new(PortId(id >> 7), u16::from(id & 0x7f))
}

fn mac(id: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, id])
}

fn member(member: &FuzzMember) -> Member {
    match member {
        FuzzMember::Segment(id) => Member::Segment(SegmentId(u32::from(*id))),
        FuzzMember::Range(range) => {
            Member::Selector(Selector { addresses: vec![range.range()], ..Selector::default() })
        }
        FuzzMember::Selector(selector) => Member::Selector(Selector {
            vlan: selector.vlan.map(vlan),
            macs: selector.macs.iter().copied().map(mac).collect(),
            addresses: selector.addresses.iter().map(FuzzRange::range).collect(),
        }),
    }
}

fn mode(monitor: bool) -> Mode {
    if monitor { Mode::Monitor } else { Mode::Enforce }
}

fn service(service: &FuzzService) -> Service {
    let on =
        |protocol, destination| Service { protocol: Some(protocol), source: PortRange::ALL, destination };
    let range = |(first, last): (u16, u16)| PortRange { first, last };
    match *service {
        FuzzService::Tcp(port) => on(6, PortRange::single(port)),
        FuzzService::On { protocol, first, more } => {
            on(protocol, PortRange { first, last: first.saturating_add(u16::from(more)) })
        }
        FuzzService::Ranges { protocol, source, destination } => {
            Service { protocol, source: range(source), destination: range(destination) }
        }
        FuzzService::Icmp { v6, kind, code } => on(if v6 { 58 } else { 1 }, Service::icmp_range(kind, code)),
    }
}

fn rule(at: usize, rule: &FuzzRule) -> Rule {
    let set = |members: &Option<Vec<FuzzMember>>| match members {
        None => EndpointSet::Any,
        Some(members) => EndpointSet::OneOf(members.iter().map(member).collect()),
    };
    let services = [&rule.service].into_iter().chain(&rule.services).map(service).collect();
    let action = [Action::Allow, Action::Deny, Action::Reject, Action::Pass][usize::from(rule.action) % 4];
    let tier = TierId(u16::from(rule.tier % 5));
    Rule {
        mode: mode(rule.monitor),
        expires: rule.expires.map(|at| Timestamp(i128::from(at))),
        ..Rule::new(format!("r{at}"), tier, set(&rule.from), set(&rule.to), services, action)
    }
}

impl Input {
    /// The policy, unless the builder refuses it.
    pub fn policy(&self) -> Option<Policy> {
        let default = [DefaultAction::Deny, DefaultAction::Reject, DefaultAction::Allow];
        let tiers = (0..=self.tiers % 4).map(|tier| format!("t{tier}")).collect();
        let mut builder =
            PolicyBuilder::new(tiers, default[usize::from(self.default) % 3], mode(self.monitor));
        for (at, segment) in self.segments.iter().enumerate() {
            builder.segment(Segment {
                name: format!("s{at}"),
                members: segment.members.iter().map(member).collect(),
                except: segment.except.iter().map(member).collect(),
                mode: mode(segment.monitor),
            });
        }
        for (at, fuzz_rule) in self.rules.iter().enumerate() {
            builder.rule(rule(at, fuzz_rule));
        }
        builder.build().ok()
    }

    pub fn limits(&self) -> Limits {
        let small = |limit: u8| usize::from(limit).pow(2);
        let form = |matrix: u8, rows: u8, folded: u8, spread: u8| Limits {
            matrix: small(matrix),
            rows: small(rows) * 64,
            folded: small(folded),
            spread_of_choice: small(spread),
            ..Limits::default()
        };
        match self.limits {
            FuzzLimits::Default => Limits::default(),
            FuzzLimits::Editable => Limits { matrix: 1, rows: 0, ..Limits::default() },
            FuzzLimits::Form { matrix, rows, folded, spread } => form(matrix, rows, folded, spread),
            FuzzLimits::Tight { overlap, classes, places, pairs, boundaries, form: bits } => Limits {
                overlap: small(overlap),
                classes: small(classes),
                places: small(places),
                pairs: small(pairs),
                boundaries: small(boundaries),
                ..form(bits & 3, bits >> 2 & 3, bits >> 4 & 3, bits >> 6)
            },
        }
    }

    /// The packets, aimed at the policy and at what the changes add to it.
    pub fn packets(&self, policy: &Policy) -> Vec<Packet> {
        let borders = Borders::new(policy, &self.edits);
        self.packets.iter().map(|packet| borders.packet(packet)).collect()
    }
}

/// Where the meaning of a policy may change.
struct Borders {
    v4: Vec<u32>,
    v6: Vec<u128>,
    ports: Vec<u16>,
}

impl Borders {
    fn new(policy: &Policy, edits: &[FuzzEdit]) -> Borders {
        let mut borders = Borders { v4: vec![0, u32::MAX], v6: vec![0, u128::MAX], ports: vec![0, u16::MAX] };
        for segment in policy.segments() {
            borders.members(segment.members.iter().chain(&segment.except));
        }
        for rule in policy.rules() {
            for set in [&rule.from, &rule.to] {
                if let EndpointSet::OneOf(members) = set {
                    borders.members(members.iter());
                }
            }
            for Service { source, destination, .. } in &rule.services {
                borders.ports.extend([source.first, source.last, destination.first, destination.last]);
            }
        }
        for edit in edits {
            if let FuzzEdit::Add(_, range) | FuzzEdit::Remove(_, range) = edit {
                borders.range(&range.range());
            }
        }
        borders
    }

    fn members<'a>(&mut self, members: impl Iterator<Item = &'a Member>) {
        for member in members {
            if let Member::Selector(selector) = member {
                selector.addresses.iter().for_each(|range| self.range(range));
            }
        }
    }

    fn range(&mut self, range: &IpRange) {
        match *range {
            IpRange::V4(first, last) => self.v4.extend([first, last]),
            IpRange::V6(first, last) => self.v6.extend([first, last]),
        }
    }

    fn packet(&self, packet: &FuzzPacket) -> Packet {
        let ((from_vlan, from_mac), (to_vlan, to_mac)) = packet.places;
        let source = Endpoint {
            vlan: Some(vlan(from_vlan)),
            mac: Some(mac(from_mac)),
            address: self.address(&packet.addresses.0, packet.is_v6),
        };
        let destination = Endpoint {
            vlan: Some(vlan(to_vlan)),
            mac: to_mac.map(mac),
            address: self.address(&packet.addresses.1, packet.is_v6),
        };
        let (source_port, destination_port) = (self.port(&packet.ports.0), self.port(&packet.ports.1));
        (source, destination, ServicePacket { protocol: packet.protocol, source_port, destination_port })
    }

    fn address(&self, address: &FuzzAddress, is_v6: bool) -> IpAddr {
        let v4 = |address: u32| IpAddr::V4(Ipv4Addr::from(address));
        let v6 = |address: u128| IpAddr::V6(Ipv6Addr::from(address));
        match (*address, is_v6) {
            (FuzzAddress::Border { number, step }, false) => {
                let border = self.v4[usize::from(number) % self.v4.len()];
                v4(border.wrapping_add(u32::from(step % 3)).wrapping_sub(1))
            }
            (FuzzAddress::Border { number, step }, true) => {
                let border = self.v6[usize::from(number) % self.v6.len()];
                v6(border.wrapping_add(u128::from(step % 3)).wrapping_sub(1))
            }
            (FuzzAddress::Near { net, host }, false) => v4(near_v4(net, host)),
            (FuzzAddress::Near { net, host }, true) => v6(near_v6(net, host)),
            (FuzzAddress::Any(address), false) => v4(address as u32),
            (FuzzAddress::Any(address), true) => v6(address),
        }
    }

    fn port(&self, port: &FuzzPort) -> u16 {
        match *port {
            FuzzPort::Border { number, step } => {
                let border = self.ports[usize::from(number) % self.ports.len()];
                border.wrapping_add(u16::from(step % 3)).wrapping_sub(1)
            }
            FuzzPort::Any(port) => port,
        }
    }
}
