//! Draws headers for a policy: inside of its rules, over its prefixes, or outside of all.
//!
//! What is drawn "inside" of a rule lies in the rule's ends and service; an earlier rule may match it all the same.

use super::header::{BLOCK, Family, Header, Headers, between, convert};
use classifier::addr::IpRange;
use classifier::endpoint::ServicePacket;
use classifier::policy::{Action, EndpointSet, Member, Policy, PortRange, Rule, SegmentId, Service};
use random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// How often an address of one family is tried for in a set that may have none.
const TRIES: usize = 32;
/// How often a header that no rule matches is tried for: many sets end with a rule for all.
const OUTSIDE_TRIES: usize = 4;

/// Draws headers of one policy.
#[derive(Debug)]
pub(crate) struct Draw<'p> {
    policy: &'p Policy,
    /// All ranges of all segments.
    v4: Vec<IpRange>,
    v6: Vec<IpRange>,
    /// The rules that allow.
    allowing: Vec<u32>,
}

impl<'p> Draw<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Draw<'p> {
        let members = policy.segments().iter().flat_map(|segment| &segment.members);
        let ranges = members.filter_map(|member| match member {
            Member::Selector(selector) => Some(&selector.addresses),
            Member::Segment(_) => None,
        });
        let (v4, v6) = ranges.flatten().partition(|range| matches!(range, IpRange::V4(..)));
        let numbered = (0..).zip(policy.rules());
        let allowing = numbered.filter(|(_, rule)| rule.action == Action::Allow).map(|(at, _)| at).collect();
        Draw { policy, v4, v6, allowing }
    }

    /// At least `count` headers for a filter set: nine in ten inside of a rule drawn at random, one in ten in no
    /// rule, as `is_outside` finds, where such a one can be found.
    pub(crate) fn around_rules(
        &self,
        count: usize,
        seed: u64,
        is_outside: impl Fn(&Header<u32>) -> bool,
    ) -> Headers {
        let mut random = Random::new(seed);
        let blocks = count.div_ceil(BLOCK);
        let anywhere = |random: &mut Random| {
            let packet = service(random, Service::ANY, Family::V4);
            between(random.next() as u32, random.next() as u32, packet)
        };
        let mut header = || {
            if random.chance(10) {
                let mut drawn = (0..OUTSIDE_TRIES).map(|_| anywhere(&mut random));
                if let Some(header) = drawn.find(|header| is_outside(header)) {
                    return header;
                }
            }
            loop {
                let rule = &self.policy.rules()[random.below(self.policy.rules().len() as u32) as usize];
                if let Some(header) = self.inside(&mut random, rule, Family::V4) {
                    return v4(&header);
                }
            }
        };
        let v4 = (0..blocks * BLOCK).map(|_| header()).collect();
        Headers { v4, v6: Vec::new(), order: vec![Family::V4; blocks] }
    }

    /// At least `count` headers for a policy of segments: half of them inside of a rule that allows, half between
    /// two prefixes drawn at random; `percent_v6` of the blocks are of IPv6.
    pub(crate) fn over_segments(&self, count: usize, percent_v6: u32, seed: u64) -> Headers {
        let mut random = Random::new(seed);
        let blocks = count.div_ceil(BLOCK);
        let mut headers = Headers::default();
        for _ in 0..blocks {
            let family = if random.chance(percent_v6) { Family::V6 } else { Family::V4 };
            headers.order.push(family);
            for _ in 0..BLOCK {
                let header = self.over_segment(&mut random, family);
                match family {
                    Family::V4 => headers.v4.push(v4(&header)),
                    Family::V6 => headers.v6.push(v6(&header)),
                }
            }
        }
        headers
    }

    fn over_segment(&self, random: &mut Random, family: Family) -> Header<IpAddr> {
        if random.chance(50) {
            // In a policy of two families some rules have no pair of prefixes of one family.
            for _ in 0..TRIES {
                let rule = &self.policy.rules()[*random.pick(&self.allowing) as usize];
                if let Some(header) = self.inside(random, rule, family) {
                    return header;
                }
            }
        }
        let port = self.policy.rules()[random.below(self.policy.rules().len() as u32) as usize].services[0];
        let source = self.anywhere(random, family);
        between(source, self.anywhere(random, family), service(random, port, family))
    }

    fn inside(&self, random: &mut Random, rule: &Rule, family: Family) -> Option<Header<IpAddr>> {
        let source = self.one_of(random, &rule.from, family)?;
        let destination = self.one_of(random, &rule.to, family)?;
        let asked = *random.pick(&rule.services);
        Some(between(source, destination, service(random, asked, family)))
    }

    fn one_of(&self, random: &mut Random, set: &EndpointSet, family: Family) -> Option<IpAddr> {
        match set {
            EndpointSet::Any => Some(self.anywhere(random, family)),
            EndpointSet::OneOf(members) => (0..TRIES).find_map(|_| self.member(random, members, family)),
        }
    }

    fn member(&self, random: &mut Random, members: &[Member], family: Family) -> Option<IpAddr> {
        match random.pick(members) {
            Member::Segment(SegmentId(id)) => {
                let members = &self.policy.segments()[*id as usize].members;
                self.member(random, members, family)
            }
            Member::Selector(selector) => {
                let range = *random.pick(&selector.addresses);
                (family_of(range) == family).then(|| within(random, range))
            }
        }
    }

    /// An address of a segment; any address where there is no segment.
    fn anywhere(&self, random: &mut Random, family: Family) -> IpAddr {
        let (ranges, all) = match family {
            Family::V4 => (&self.v4, IpRange::V4(0, u32::MAX)),
            Family::V6 => (&self.v6, IpRange::V6(0, u128::MAX)),
        };
        let range = if ranges.is_empty() { all } else { *random.pick(ranges) };
        within(random, range)
    }
}

fn family_of(range: IpRange) -> Family {
    match range {
        IpRange::V4(..) => Family::V4,
        IpRange::V6(..) => Family::V6,
    }
}

fn within(random: &mut Random, range: IpRange) -> IpAddr {
    match range {
        IpRange::V4(first, last) => {
            let span = u64::from(last - first) + 1;
            Ipv4Addr::from(first + (random.next() % span) as u32).into()
        }
        IpRange::V6(first, last) => {
            let number = u128::from(random.next()) << 64 | u128::from(random.next());
            let offset = (last - first).checked_add(1).map_or(number, |span| number % span);
            Ipv6Addr::from(first + offset).into()
        }
    }
}

/// A packet that the service holds, as a parser would yield it: no port where the protocol has none.
fn service(random: &mut Random, asked: Service, family: Family) -> ServicePacket {
    let icmp = match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    let has_ports = asked.source != PortRange::ALL || asked.destination != PortRange::ALL;
    let protocol = asked.protocol.unwrap_or_else(|| match random.below(100) {
        0..60 => TCP,
        60..90 => UDP,
        _ if has_ports => UDP,
        _ => icmp,
    });
    let mut port = |range: PortRange| {
        let span = u32::from(range.last - range.first) + 1;
        range.first + random.below(span) as u16
    };
    let (source_port, destination_port) = match protocol {
        TCP | UDP | SCTP => (port(asked.source), port(asked.destination)),
        ICMP | ICMPV6 => (0, port(asked.destination)),
        _ => (0, 0),
    };
    ServicePacket { protocol, source_port, destination_port }
}

fn v4(header: &Header<IpAddr>) -> Header<u32> {
    convert(header, |address| match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(_) => unreachable!("an address of IPv4 was drawn"),
    })
}

fn v6(header: &Header<IpAddr>) -> Header<u128> {
    convert(header, |address| match address {
        IpAddr::V6(address) => u128::from(address),
        IpAddr::V4(_) => unreachable!("an address of IPv6 was drawn"),
    })
}
