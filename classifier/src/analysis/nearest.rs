//! The nearest allow: the single change that would let a denied flow in.
//!
//! Candidates come from the allow rules that lack one thing only: the source, the destination or the service.
//! Each is tried out on a copy of the policy, the first that works is told. They are tried in this order, and
//! within one kind those that open less come first, then those of earlier rules:
//!
//! 1. the service is added to a rule that names both ends and not `any`: these ends are meant to talk;
//! 2. an end is added to a segment that a rule names, the fewer rules name the segment the better;
//! 3. an end is added to a rule that names addresses alone;
//! 4. another service of the same protocol is used;
//! 5. the rule that denies is only recorded;
//! 6. a service of another protocol is used, or the service is added to a rule with `any`;
//! 7. a new rule allows this one flow.

use super::change::{Change, Flow, Side};
use super::walk::{TierEnd, walk};
use crate::decision::{Decision, Verdict};
use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::{Action, EndpointSet, Member, Mode, Policy, Rule, RuleId, SegmentId, Service, TierId};
use crate::reference::Reference;
use std::collections::HashSet;

#[cfg(test)]
mod tests;

/// What would let the flow in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NearestAllow {
    /// The change.
    pub change: Change,
    /// The rule that would let it in then; `None`: the default, or the new rule that the change adds.
    pub by: Option<RuleId>,
}

/// Searches for the nearest allow of a flow that is denied or rejected.
#[must_use]
pub fn nearest_allow(
    reference: &Reference<'_>,
    source: &Endpoint,
    destination: &Endpoint,
    packet: ServicePacket,
) -> Option<NearestAllow> {
    let flow = Flow { source, destination, packet };
    let judgement = reference.judge(source, destination, packet);
    let mut candidates = Candidates { reference, flow, found: Vec::new(), known: HashSet::new() };
    for (rank, id) in reference.order().iter().enumerate() {
        let rule = reference.policy().rule(*id);
        if rule.action == Action::Allow && rule.mode == Mode::Enforce {
            candidates.of_rule(rank, *id, rule);
        }
    }
    if let Some(denying) = judgement.decided_by {
        candidates.push(Kind::Monitor, 0, 0, Change::MonitorRule(denying));
    }
    candidates.new_rules();
    let mut found = candidates.found;
    found.sort_by_key(|(order, _)| *order);
    let mut trial = reference.policy().clone();
    found.into_iter().find_map(|(_, change)| verify(reference, &mut trial, &flow, change))
}

/// The answer, if the change really lets the flow in.
fn verify(
    reference: &Reference<'_>,
    trial: &mut Policy,
    flow: &Flow<'_>,
    change: Change,
) -> Option<NearestAllow> {
    let packet = match change {
        Change::UseService(_, packet) => packet,
        Change::AddServiceToRule(_)
        | Change::AddToSegment(..)
        | Change::AddToRule(..)
        | Change::MonitorRule(_)
        | Change::AddRule { .. } => flow.packet,
    };
    let (decision, is_by_rule) = change.try_out(trial, flow, |policy| {
        let changed = Reference::new(policy, reference.now());
        let decision = changed.decide(flow.source, flow.destination, packet);
        (decision, decision.rule.is_some())
    });
    let Decision { verdict, rule, .. } = decision;
    // An end that joins a segment in monitor mode may soften the default. That is not what was asked for.
    let counts = is_by_rule || matches!(change, Change::MonitorRule(_));
    let by = match change {
        Change::AddRule { .. } => None,
        Change::AddServiceToRule(_)
        | Change::AddToSegment(..)
        | Change::AddToRule(..)
        | Change::UseService(..)
        | Change::MonitorRule(_) => rule,
    };
    (verdict == Verdict::Allow && counts).then_some(NearestAllow { change, by })
}

/// Kinds of changes, those to be preferred first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ServiceOfNamedEnds,
    Segment,
    RuleEndpoint,
    SameProtocol,
    Monitor,
    OtherService,
    NewRule,
}

/// Kind, how much else it opens, rank of the rule that it comes from, and how many came before.
type Order = (Kind, usize, usize, usize);

struct Candidates<'a> {
    reference: &'a Reference<'a>,
    flow: Flow<'a>,
    found: Vec<(Order, Change)>,
    known: HashSet<Change>,
}

impl Candidates<'_> {
    fn push(&mut self, kind: Kind, opens: usize, rank: usize, change: Change) {
        if self.known.insert(change) {
            self.found.push(((kind, opens, rank, self.found.len()), change));
        }
    }

    /// What the rule lacks, if it is one thing.
    fn of_rule(&mut self, rank: usize, id: RuleId, rule: &Rule) {
        let Flow { source, destination, packet } = self.flow;
        let from = self.reference.is_in_set(&rule.from, source);
        let to = self.reference.is_in_set(&rule.to, destination);
        let service = rule
            .services
            .iter()
            .any(|s| s.contains(packet.protocol, packet.source_port, packet.destination_port));
        match (from, to, service) {
            (true, true, _) => self.services(rank, id, rule),
            (false, true, true) => self.side(rank, id, Side::Source, &rule.from),
            (true, false, true) => self.side(rank, id, Side::Destination, &rule.to),
            (false, false, _) | (false, true, false) | (true, false, false) => {}
        }
    }

    fn services(&mut self, rank: usize, id: RuleId, rule: &Rule) {
        let is_named = rule.from != EndpointSet::Any && rule.to != EndpointSet::Any;
        let kind = if is_named { Kind::ServiceOfNamedEnds } else { Kind::OtherService };
        self.push(kind, 0, rank, Change::AddServiceToRule(id));
        for service in &rule.services {
            let instead = packet_of(service, self.flow.packet);
            let same = instead.protocol == self.flow.packet.protocol;
            let kind = if same { Kind::SameProtocol } else { Kind::OtherService };
            self.push(kind, 0, rank, Change::UseService(id, instead));
        }
    }

    fn side(&mut self, rank: usize, id: RuleId, side: Side, set: &EndpointSet) {
        let EndpointSet::OneOf(members) = set else {
            return;
        };
        let mut segments = Vec::new();
        for member in members {
            if let Member::Segment(segment) = member {
                segments.push(*segment);
            }
        }
        for segment in &segments {
            let change = Change::AddToSegment(side, *segment);
            if !self.known.contains(&change) {
                let opens = naming(self.reference.policy(), *segment);
                self.push(Kind::Segment, opens, rank, change);
            }
        }
        if segments.is_empty() {
            self.push(Kind::RuleEndpoint, 0, rank, Change::AddToRule(side, id));
        }
    }

    /// A rule for this flow alone: before the one that denies it, or where the default denies, at the end of
    /// the last tier, before the pass that leaves that.
    fn new_rules(&mut self) {
        let Flow { source, destination, packet } = self.flow;
        let tiers = walk(self.reference, source, destination, packet);
        let Some(last) = tiers.last() else {
            return;
        };
        let before = match last.end {
            TierEnd::Decided(rule) | TierEnd::Passed(rule) => Some(rule),
            TierEnd::NoMatch => None,
        };
        let TierId(tier) = last.tier;
        self.push(Kind::NewRule, 0, 0, Change::AddRule { tier: TierId(tier), before });
    }
}

/// A packet of the service, as like to the one that was asked about as can be.
fn packet_of(service: &Service, asked: ServicePacket) -> ServicePacket {
    let nearest = |range: crate::policy::PortRange, port: u16| port.clamp(range.first, range.last);
    ServicePacket {
        protocol: service.protocol.unwrap_or(asked.protocol),
        source_port: nearest(service.source, asked.source_port),
        destination_port: nearest(service.destination, asked.destination_port),
    }
}

/// How many rules name the segment, or one that it is a member of: as many may be opened for a new member.
fn naming(policy: &Policy, segment: SegmentId) -> usize {
    let mut inside = vec![segment];
    let mut next = 0;
    while let Some(inner) = inside.get(next).copied() {
        next += 1;
        for (id, outer) in (0u32..).zip(policy.segments()) {
            if outer.members.contains(&Member::Segment(inner)) && !inside.contains(&SegmentId(id)) {
                inside.push(SegmentId(id));
            }
        }
    }
    let names = |set: &EndpointSet| match set {
        EndpointSet::Any => false,
        EndpointSet::OneOf(members) => members.iter().any(|member| match member {
            Member::Segment(id) => inside.contains(id),
            Member::Selector(_) => false,
        }),
    };
    policy.rules().iter().filter(|rule| names(&rule.from) || names(&rule.to)).count()
}
