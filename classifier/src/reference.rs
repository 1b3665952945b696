//! The linear scan that *defines* the answer (POLICY.md §2 and §4), written to be read and not to be fast.
//!
//! The packet path uses [`crate::tables`], which must agree with this for every packet.

use crate::decision::{Decision, Judgement};
use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::{
    Action, EndpointSet, Member, Mode, Policy, Rule, RuleId, SegmentId, Selector, Timestamp,
};

#[cfg(test)]
mod tests;

/// A policy at a moment.
#[derive(Clone, Debug)]
pub struct Reference<'p> {
    policy: &'p Policy,
    now: Timestamp,
    /// The rules that have not expired, in the order of evaluation: tiers first, then the order of the files.
    order: Vec<RuleId>,
}

impl<'p> Reference<'p> {
    /// The policy as it stands at `now`: a rule that has expired is as if it were not there.
    #[must_use]
    pub fn new(policy: &'p Policy, now: Timestamp) -> Self {
        Reference { policy, now, order: evaluation_order(policy, now) }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// The moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The rules that have not expired, in the order of evaluation.
    #[must_use]
    pub fn order(&self) -> &[RuleId] {
        &self.order
    }

    /// Evaluates the rules, one after the other.
    #[must_use]
    pub fn judge(&self, source: &Endpoint, destination: &Endpoint, packet: ServicePacket) -> Judgement {
        let mut first_monitor = None;
        let mut passed = None;
        for &id in &self.order {
            let rule = self.policy.rule(id);
            if passed == Some(rule.tier) || !self.matches(rule, source, destination, packet) {
                continue;
            }
            if rule.mode == Mode::Monitor {
                first_monitor = first_monitor.or(Some(id));
                continue;
            }
            match rule.action {
                Action::Pass => passed = Some(rule.tier),
                Action::Allow | Action::Deny | Action::Reject => {
                    return Judgement { decided_by: Some(id), first_monitor };
                }
            }
        }
        Judgement { decided_by: None, first_monitor }
    }

    /// What happens to a new flow.
    #[must_use]
    pub fn decide(&self, source: &Endpoint, destination: &Endpoint, packet: ServicePacket) -> Decision {
        let judgement = self.judge(source, destination, packet);
        Decision::of(self.policy, judgement, self.is_softened(destination))
    }

    /// Whether the rule matches, its tier and mode aside.
    #[must_use]
    pub fn matches(
        &self,
        rule: &Rule,
        source: &Endpoint,
        destination: &Endpoint,
        packet: ServicePacket,
    ) -> bool {
        let ServicePacket { protocol, source_port, destination_port } = packet;
        rule.services.iter().any(|s| s.contains(protocol, source_port, destination_port))
            && self.is_in_set(&rule.from, source)
            && self.is_in_set(&rule.to, destination)
    }

    /// Whether the endpoint is one of those that a rule's `from` or `to` names.
    #[must_use]
    pub fn is_in_set(&self, set: &EndpointSet, endpoint: &Endpoint) -> bool {
        match set {
            EndpointSet::Any => true,
            EndpointSet::OneOf(members) => self.is_one_of(members, endpoint),
        }
    }

    /// Whether the endpoint is in the segment: in one of its members, and in none of its exceptions.
    #[must_use]
    pub fn is_in_segment(&self, SegmentId(id): SegmentId, endpoint: &Endpoint) -> bool {
        let segment = &self.policy.segments()[id as usize];
        self.is_one_of(&segment.members, endpoint) && !self.is_one_of(&segment.except, endpoint)
    }

    /// The endpoint's segments, sorted by name, without the built-in `any`.
    #[must_use]
    pub fn segments_of(&self, endpoint: &Endpoint) -> Vec<SegmentId> {
        let segments = self.policy.segments();
        let mut found: Vec<SegmentId> = (0u32..)
            .zip(segments)
            .map(|(id, _)| SegmentId(id))
            .filter(|id| self.is_in_segment(*id, endpoint))
            .collect();
        found.sort_by_key(|SegmentId(id)| &segments[*id as usize].name);
        found
    }

    /// Whether the default verdict is only recorded towards this destination: it is in at least one segment,
    /// and all of its segments are in monitor mode.
    #[must_use]
    pub fn is_softened(&self, destination: &Endpoint) -> bool {
        let segments = self.segments_of(destination);
        let monitored =
            |SegmentId(id): &SegmentId| self.policy.segments()[*id as usize].mode == Mode::Monitor;
        !segments.is_empty() && segments.iter().all(monitored)
    }

    fn is_one_of(&self, members: &[Member], endpoint: &Endpoint) -> bool {
        members.iter().any(|member| match member {
            Member::Segment(id) => self.is_in_segment(*id, endpoint),
            Member::Selector(selector) => selects(selector, endpoint),
        })
    }
}

/// The rules that have not expired at `now`, in the order of evaluation.
#[must_use]
pub fn evaluation_order(policy: &Policy, now: Timestamp) -> Vec<RuleId> {
    let mut order: Vec<RuleId> = (0u32..)
        .zip(policy.rules())
        .filter(|(_, rule)| rule.expires.is_none_or(|at| at > now))
        .map(|(id, _)| RuleId(id))
        .collect();
    order.sort_by_key(|id| (policy.rule(*id).tier, policy.position(*id)));
    order
}

/// Whether the endpoint meets all conditions of the selector; one without any selects nothing.
#[must_use]
pub fn selects(selector: &Selector, endpoint: &Endpoint) -> bool {
    let Selector { vlan, macs, addresses } = selector;
    let has_condition = vlan.is_some() || !macs.is_empty() || !addresses.is_empty();
    has_condition
        && vlan.is_none_or(|v| endpoint.vlan == Some(v))
        && (macs.is_empty() || endpoint.mac.is_some_and(|m| macs.contains(&m)))
        && (addresses.is_empty() || addresses.iter().any(|range| range.contains(endpoint.address)))
}
