//! Packets that are aimed at a policy: into its rules, beside the borders of its ranges and ports, and anywhere.

use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{EndpointSet, Member, Policy, PortRange, Selector, Service};
use random::Random;
use std::net::IpAddr;

/// A packet between two ends.
pub(crate) type Packet = (Endpoint, Endpoint, ServicePacket);

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
/// Protocols that a service without one is tried with: with ports, with a type and code, with neither (GRE, ESP,
/// OSPF), and the first and last numbers of all.
const PROTOCOLS: [u8; 11] = [TCP, UDP, ICMP, ICMPV6, SCTP, UDP_LITE, 47, 50, 89, 0, u8::MAX];

/// How near to a range a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    /// In it.
    Within,
    /// In it, or one before or after it.
    Beside,
}

impl Reach {
    /// Of eight choices of a value the last two are outside.
    fn choices(self) -> u32 {
        match self {
            Reach::Within => 6,
            Reach::Beside => 8,
        }
    }
}

/// Draws packets for one policy.
#[derive(Debug)]
pub(crate) struct Aim<'p> {
    policy: &'p Policy,
    /// All ranges that the policy names.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl<'p> Aim<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Aim<'p> {
        let of_segments =
            policy.segments().iter().flat_map(|segment| segment.members.iter().chain(&segment.except));
        let of_rules =
            policy.rules().iter().flat_map(|rule| [members(&rule.from), members(&rule.to)].concat());
        let mut aim = Aim { policy, v4: Vec::new(), v6: Vec::new() };
        for member in of_segments.cloned().chain(of_rules) {
            let Member::Selector(Selector { addresses, .. }) = member else { continue };
            for range in addresses {
                match range {
                    IpRange::V4(first, last) => aim.v4.push((first, last)),
                    IpRange::V6(first, last) => aim.v6.push((first, last)),
                }
            }
        }
        aim
    }

    /// Three in five in or beside a rule, one in five between any two ranges, one in five anywhere.
    pub(crate) fn packet(&self, random: &mut Random) -> Packet {
        let reach = if random.chance(50) { Reach::Within } else { Reach::Beside };
        let rules = self.policy.rules();
        let rule = (!rules.is_empty()).then(|| &rules[random.below(rules.len() as u32) as usize]);
        let service = rule.map_or(Service::ANY, |rule| *random.pick(&rule.services));
        let (source, destination, service) = match (random.below(5), rule) {
            (0..3, Some(rule)) => {
                let source = self.of_set(random, &rule.from, reach);
                let destination = self.of_set(random, &rule.to, reach);
                let (source, destination) = self.one_family(random, source, destination);
                (source, destination, service)
            }
            (3, _) => {
                let is_v6 = self.draws_v6(random);
                (self.of_any_range(random, is_v6), self.of_any_range(random, is_v6), service)
            }
            _ => {
                let is_v6 = self.draws_v6(random);
                (anywhere(random, is_v6), anywhere(random, is_v6), Service::ANY)
            }
        };
        (end(source), end(destination), packet(random, service, reach))
    }

    /// Of the family of the policy; of the other once in a hundred times.
    fn draws_v6(&self, random: &mut Random) -> bool {
        let all = (self.v4.len() + self.v6.len()).max(1) as u32;
        (random.below(all) < self.v6.len() as u32) != (random.below(100) == 0)
    }

    /// An address in or beside the set; `None`: any will do.
    fn of_set(&self, random: &mut Random, set: &EndpointSet, reach: Reach) -> Option<IpAddr> {
        let mut members = members(set);
        // Segments nest without cycles, so this ends.
        loop {
            if members.is_empty() {
                return None;
            }
            match random.pick(members) {
                Member::Segment(id) => members = &self.policy.segments()[id.0 as usize].members,
                Member::Selector(Selector { addresses, .. }) if addresses.is_empty() => return None,
                Member::Selector(Selector { addresses, .. }) => {
                    return Some(match *random.pick(addresses) {
                        IpRange::V4(first, last) => v4(random, first, last, reach),
                        IpRange::V6(first, last) => v6(random, first, last, reach),
                    });
                }
            }
        }
    }

    /// Fills in what may be anything. Two ends of different families make no packet: then the source is drawn anew.
    fn one_family(
        &self,
        random: &mut Random,
        source: Option<IpAddr>,
        destination: Option<IpAddr>,
    ) -> (IpAddr, IpAddr) {
        match (source, destination) {
            (Some(source), Some(destination)) if source.is_ipv6() == destination.is_ipv6() => {
                (source, destination)
            }
            (_, Some(destination)) => (self.other(random, destination.is_ipv6()), destination),
            (Some(source), None) => (source, self.other(random, source.is_ipv6())),
            (None, None) => {
                let is_v6 = self.draws_v6(random);
                (self.other(random, is_v6), self.other(random, is_v6))
            }
        }
    }

    fn other(&self, random: &mut Random, is_v6: bool) -> IpAddr {
        if random.chance(50) { self.of_any_range(random, is_v6) } else { anywhere(random, is_v6) }
    }

    fn of_any_range(&self, random: &mut Random, is_v6: bool) -> IpAddr {
        match is_v6 {
            false if !self.v4.is_empty() => {
                let (first, last) = *random.pick(&self.v4);
                v4(random, first, last, Reach::Beside)
            }
            true if !self.v6.is_empty() => {
                let (first, last) = *random.pick(&self.v6);
                v6(random, first, last, Reach::Beside)
            }
            _ => anywhere(random, is_v6),
        }
    }
}

fn members(set: &EndpointSet) -> &[Member] {
    match set {
        EndpointSet::Any => &[],
        EndpointSet::OneOf(members) => members,
    }
}

fn end(address: IpAddr) -> Endpoint {
    Endpoint { vlan: Some(VlanKey::new(PortId(0), 10)), mac: Some(Mac([2, 0, 0, 0, 0, 1])), address }
}

/// The first or last of a range, the one before or after it, or one inside.
fn v4(random: &mut Random, first: u32, last: u32, reach: Reach) -> IpAddr {
    let address = match random.below(reach.choices()) {
        0 => first,
        1 => last,
        6 => first.wrapping_sub(1),
        7 => last.wrapping_add(1),
        _ => first + (random.next() % (u64::from(last - first) + 1)) as u32,
    };
    IpAddr::V4(address.into())
}

fn v6(random: &mut Random, first: u128, last: u128, reach: Reach) -> IpAddr {
    let address = match random.below(reach.choices()) {
        0 => first,
        1 => last,
        6 => first.wrapping_sub(1),
        7 => last.wrapping_add(1),
        _ => match (last - first).checked_add(1) {
            Some(span) => first + wide(random) % span,
            None => wide(random),
        },
    };
    IpAddr::V6(address.into())
}

fn wide(random: &mut Random) -> u128 {
    u128::from(random.next()) << 64 | u128::from(random.next())
}

fn anywhere(random: &mut Random, is_v6: bool) -> IpAddr {
    if is_v6 { IpAddr::V6(wide(random).into()) } else { IpAddr::V4((random.next() as u32).into()) }
}

/// A packet in or beside the service: its ports as drawn, or as its protocol has them (see [`ServicePacket`]).
fn packet(random: &mut Random, service: Service, reach: Reach) -> ServicePacket {
    let protocol = match service.protocol {
        Some(protocol) if reach == Reach::Within || random.below(16) != 0 => protocol,
        _ if random.below(8) == 0 => random.next() as u8,
        _ => *random.pick(&PROTOCOLS),
    };
    let (source_port, destination_port) =
        (port(random, service.source, reach), port(random, service.destination, reach));
    let (source_port, destination_port) = match protocol {
        // Tables and reference agree on what no frame can say, too.
        _ if random.below(8) == 0 => (source_port, destination_port),
        TCP | UDP | SCTP | UDP_LITE => (source_port, destination_port),
        ICMP | ICMPV6 => (0, destination_port),
        _ => (0, 0),
    };
    ServicePacket { protocol, source_port, destination_port }
}

fn port(random: &mut Random, PortRange { first, last }: PortRange, reach: Reach) -> u16 {
    match random.below(reach.choices()) {
        0 => first,
        1 => last,
        6 => first.wrapping_sub(1),
        7 => last.wrapping_add(1),
        5 if reach == Reach::Beside => random.next() as u16,
        _ => first + random.below(u32::from(last - first) + 1) as u16,
    }
}
