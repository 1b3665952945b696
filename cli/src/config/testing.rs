//! Running `[[test]]`s: every packet that a test means is judged, without trying each.
//!
//! A policy can change its mind only where a port range of one of its rules starts or ends. So one packet
//! from each stretch between two such places stands for all of the stretch, and the answer is exact.
//!
//! The compiled tables judge, as they will judge the packets. They are compared with the linear scan elsewhere; a
//! [`Judge`] can be either, so that tests of this module ask both.

use super::{Configuration, Expectation, PolicyTest};
use crate::diagnostic::{Code, Diagnostic, Report};
use classifier::decision::Judgement;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{Action, DefaultAction, Policy, PortRange, RuleId, Service};
use classifier::reference::Reference;
use classifier::tables::Tables;
use classifier::wire::protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// One who knows what the rules say of a new flow.
pub trait Judge {
    /// The policy that is judged by.
    fn policy(&self) -> &Policy;

    /// What the rules say, and whether the default is softened towards the destination.
    fn judge(&self, from: &Endpoint, to: &Endpoint, packet: ServicePacket) -> (Judgement, bool);
}

impl Judge for Tables {
    fn policy(&self) -> &Policy {
        Tables::policy(self)
    }

    fn judge(&self, from: &Endpoint, to: &Endpoint, packet: ServicePacket) -> (Judgement, bool) {
        let (from, to) = (self.class_of(from), self.class_of(to));
        let ServicePacket { protocol, source_port, destination_port } = packet;
        (Tables::judge(self, from, to, protocol, source_port, destination_port), self.is_softened(to))
    }
}

impl Judge for Reference<'_> {
    fn policy(&self) -> &Policy {
        Reference::policy(self)
    }

    fn judge(&self, from: &Endpoint, to: &Endpoint, packet: ServicePacket) -> (Judgement, bool) {
        (Reference::judge(self, from, to, packet), self.is_softened(to))
    }
}

/// A packet as policy sees it; ICMP has its type and code in the destination port ([`Service`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packet {
    protocol: u8,
    source: u16,
    destination: u16,
}

impl From<Packet> for ServicePacket {
    fn from(packet: Packet) -> Self {
        let Packet { protocol, source, destination } = packet;
        ServicePacket { protocol, source_port: source, destination_port: destination }
    }
}

/// What the policy says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ruling {
    /// Let in, dropped, or rejected.
    verdict: Expectation,
    /// The rule that decided; none: the default did.
    rule: Option<RuleId>,
}

impl Ruling {
    /// POLICY.md §4, points 1 to 4. `policy.mode = "monitor"` makes no difference here: a test is about what the
    /// policy says, not about whether it is listened to.
    fn of(policy: &Policy, judgement: Judgement, softened: bool) -> Ruling {
        let verdict = match judgement.decided_by.map(|rule| policy.rule(rule).action) {
            Some(Action::Allow) => Expectation::Allow,
            Some(Action::Deny) => Expectation::Deny,
            Some(Action::Reject) => Expectation::Reject,
            // A pass leaves its tier and never decides.
            Some(Action::Pass) | None => match policy.default() {
                DefaultAction::Allow => Expectation::Allow,
                DefaultAction::Deny | DefaultAction::Reject if softened => Expectation::Allow,
                DefaultAction::Deny => Expectation::Deny,
                DefaultAction::Reject => Expectation::Reject,
            },
        };
        Ruling { verdict, rule: judgement.decided_by }
    }
}

/// Runs all tests; the report has an error for each that fails.
#[must_use]
pub fn run(configuration: &Configuration, judge: &dyn Judge) -> Report {
    let boundaries = Boundaries::of(&configuration.policy);
    let failures = configuration
        .tests
        .iter()
        .filter_map(|test| failure(configuration, &boundaries, test, judge))
        .collect();
    Report::new(Arc::clone(configuration.sources()), failures)
}

/// The ports at which rules of a protocol start or have just ended.
#[derive(Clone, Default)]
struct Stretches {
    source: BTreeSet<u16>,
    destination: BTreeSet<u16>,
}

impl Stretches {
    fn add(&mut self, service: &Service) {
        for (starts, range) in
            [(&mut self.source, service.source), (&mut self.destination, service.destination)]
        {
            starts.insert(range.first);
            starts.extend(range.last.checked_add(1));
        }
    }
}

/// The stretches of a policy, by protocol.
struct Boundaries {
    /// Of rules that name no protocol.
    any: Stretches,
    named: BTreeMap<u8, Stretches>,
}

impl Boundaries {
    fn of(policy: &Policy) -> Self {
        let mut all = Boundaries { any: Stretches::default(), named: BTreeMap::new() };
        for service in policy.rules().iter().flat_map(|rule| &rule.services) {
            match service.protocol {
                None => all.any.add(service),
                Some(protocol) => all.named.entry(protocol).or_default().add(service),
            }
        }
        all
    }

    /// One packet of each stretch within the service, lower ports first.
    fn packets(&self, service: Service, is_v4: bool) -> Vec<Packet> {
        let protocols = match service.protocol {
            Some(protocol) => vec![protocol],
            None => self.protocols(is_v4),
        };
        protocols.into_iter().flat_map(|protocol| self.packets_of(protocol, service)).collect()
    }

    /// Every protocol that a rule names or that has ports, and one that stands for all others.
    fn protocols(&self, is_v4: bool) -> Vec<u8> {
        let named: BTreeSet<u8> = self
            .named
            .keys()
            .copied()
            .chain([protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP, protocol::ICMPV6])
            .collect();
        let other = (1..=254).rev().find(|number| !named.contains(number));
        let foreign = if is_v4 { protocol::ICMPV6 } else { protocol::ICMP };
        // Protocols 0 and 255 are malformed, and never come to policy.
        let can_be = |number: &u8| *number != 0 && *number != 255 && *number != foreign;
        named.into_iter().chain(other).filter(can_be).collect()
    }

    fn packets_of(&self, protocol: u8, service: Service) -> Vec<Packet> {
        let of_protocol = self.named.get(&protocol);
        let starts = |pick: fn(&Stretches) -> &BTreeSet<u16>, range: PortRange| {
            let own = of_protocol.into_iter().flat_map(pick);
            let inside = pick(&self.any).iter().chain(own).copied().filter(|port| range.contains(*port));
            inside.chain([range.first]).collect::<BTreeSet<u16>>()
        };
        let (source, destination) = match protocol {
            // Port 0 is malformed, and never comes to policy.
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                (real(service.source), real(service.destination))
            }
            protocol::ICMP | protocol::ICMPV6 => (PortRange::single(0), service.destination),
            _ => (PortRange::single(0), PortRange::single(0)),
        };
        let sources = likely(starts(|s| &s.source, source), source);
        let packet = |destination, source| Packet { protocol, source, destination };
        starts(|s| &s.destination, destination)
            .into_iter()
            .flat_map(|destination| sources.iter().map(move |source| packet(destination, *source)))
            .collect()
    }
}

/// Takes for the stretch that holds the first dynamic port (RFC 6335 §6) that port: it makes a packet that
/// one has seen before.
fn likely(mut starts: BTreeSet<u16>, range: PortRange) -> BTreeSet<u16> {
    const DYNAMIC: u16 = 49_152;
    if let Some(start) = starts.range(..=DYNAMIC).next_back().copied().filter(|_| range.contains(DYNAMIC)) {
        starts.remove(&start);
        starts.insert(DYNAMIC);
    }
    starts
}

/// The range without port 0, unless it is nothing else.
fn real(range: PortRange) -> PortRange {
    PortRange { first: range.first.max(1).min(range.last), last: range.last }
}

/// The packets that a test means. ICMP of the other family is left out where the test means others too:
/// `ping` is both, and no packet between IPv4 addresses is ICMPv6.
fn packets(boundaries: &Boundaries, test: &PolicyTest) -> Vec<Packet> {
    let is_v4 = test.from.address.is_ipv4();
    let foreign = Some(if is_v4 { protocol::ICMPV6 } else { protocol::ICMP });
    let fitting: Vec<Service> = test.services.iter().copied().filter(|s| s.protocol != foreign).collect();
    let services = if fitting.is_empty() { &test.services } else { &fitting };
    services.iter().flat_map(|service| boundaries.packets(*service, is_v4)).collect()
}

fn failure(
    configuration: &Configuration,
    boundaries: &Boundaries,
    test: &PolicyTest,
    judge: &dyn Judge,
) -> Option<Diagnostic> {
    let (from, to) = (test.from.as_source(), test.to.as_destination(&configuration.topology));
    let (packet, ruling) = packets(boundaries, test)
        .into_iter()
        .map(|packet| {
            let (judgement, softened) = judge.judge(&from, &to, packet.into());
            (packet, Ruling::of(judge.policy(), judgement, softened))
        })
        .find(|(_, ruling)| !holds(test, *ruling))?;
    Some(describe(configuration, test, packet, ruling))
}

fn holds(test: &PolicyTest, ruling: Ruling) -> bool {
    let is_expected = match test.expect {
        Expectation::Allow => ruling.verdict == Expectation::Allow,
        Expectation::Deny => ruling.verdict != Expectation::Allow,
        Expectation::Reject => ruling.verdict == Expectation::Reject,
    };
    is_expected && (test.rule.is_none() || test.rule == ruling.rule)
}

fn describe(configuration: &Configuration, test: &PolicyTest, packet: Packet, ruling: Ruling) -> Diagnostic {
    let topology = &configuration.topology;
    let policy = &configuration.policy;
    let is_wrong_rule = holds(&PolicyTest { rule: None, ..test.clone() }, ruling);
    let by = ruling.rule.map_or("the default".to_owned(), |rule| format!("rule `{}`", policy.rule(rule).id));
    let message = match test.rule.filter(|_| is_wrong_rule) {
        Some(rule) => {
            format!("test `{}` failed: {by} decides, not rule `{}`", test.name, policy.rule(rule).id)
        }
        None => format!(
            "test `{}` failed: expected {}, and {by} says {}",
            test.name,
            test.expect.name(),
            ruling.verdict.name()
        ),
    };
    let label = format!(
        "{packet} from {}@{} to {}@{}",
        test.from.address,
        topology.vlan_label(test.from.vlan),
        test.to.address,
        topology.vlan_label(test.to.vlan),
    );
    let diagnostic = Diagnostic::error(Code::TestFailed, test.span, message).label(label);
    match ruling.rule {
        Some(RuleId(index)) => diagnostic
            .related(configuration.rule_spans[index as usize], "this rule decides")
            .help("correct the rules, or what the test expects"),
        None => {
            let default = match policy.default() {
                DefaultAction::Deny => "deny",
                DefaultAction::Reject => "reject",
                DefaultAction::Allow => "allow",
            };
            diagnostic
                .remark(format!("no rule matches this packet, and the default is {default}"))
                .help("add a rule, or correct what the test expects")
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, code] = self.destination.to_be_bytes();
        match self.protocol {
            protocol::TCP => write!(f, "tcp/{} (source port {})", self.destination, self.source),
            protocol::UDP => write!(f, "udp/{} (source port {})", self.destination, self.source),
            protocol::SCTP => write!(f, "sctp/{} (source port {})", self.destination, self.source),
            protocol::ICMP => write!(f, "icmp/{kind}/{code}"),
            protocol::ICMPV6 => write!(f, "icmpv6/{kind}/{code}"),
            number => write!(f, "proto/{number}"),
        }
    }
}

#[cfg(test)]
mod tests;
