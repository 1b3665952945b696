//! A [`Judge`] that reads the rules one after the other: slow, plain, and without tables.

use super::testing::{Judge, Packet, Ruling};
use super::{Expectation, TestEndpoint};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, RuleId, SegmentId, Selector, Timestamp,
};

/// The rules of a policy that have not expired, in the order of evaluation.
pub struct LinearJudge<'a> {
    policy: &'a Policy,
    order: Vec<RuleId>,
}

impl<'a> LinearJudge<'a> {
    /// The policy as it is at `now`.
    #[must_use]
    pub fn new(policy: &'a Policy, now: Timestamp) -> Self {
        let mut order: Vec<RuleId> = (0..).map(RuleId).take(policy.rules().len()).collect();
        order.retain(|id| policy.rule(*id).expires.is_none_or(|expires| now < expires));
        // The sort is stable: within a tier the order of the files stays.
        order.sort_by_key(|id| policy.rule(*id).tier);
        LinearJudge { policy, order }
    }

    fn is_in(&self, set: &EndpointSet, endpoint: &TestEndpoint) -> bool {
        match set {
            EndpointSet::Any => true,
            EndpointSet::OneOf(members) => self.is_one_of(members, endpoint),
        }
    }

    fn is_one_of(&self, members: &[Member], endpoint: &TestEndpoint) -> bool {
        members.iter().any(|member| match member {
            Member::Selector(selector) => meets(selector, endpoint),
            Member::Segment(id) => self.is_in_segment(*id, endpoint),
        })
    }

    fn is_in_segment(&self, SegmentId(id): SegmentId, endpoint: &TestEndpoint) -> bool {
        let segment = &self.policy.segments()[id as usize];
        self.is_one_of(&segment.members, endpoint) && !self.is_one_of(&segment.except, endpoint)
    }

    /// What holds where no rule decides: towards segments that all only monitor, a drop is not enforced.
    fn default_verdict(&self, to: &TestEndpoint) -> Expectation {
        let mut segments = (0u32..)
            .zip(self.policy.segments())
            .filter(|(id, _)| self.is_in_segment(SegmentId(*id), to))
            .map(|(_, segment)| segment.mode)
            .peekable();
        let only_monitors = segments.peek().is_some() && segments.all(|mode| mode == Mode::Monitor);
        match self.policy.default() {
            DefaultAction::Allow => Expectation::Allow,
            DefaultAction::Deny | DefaultAction::Reject if only_monitors => Expectation::Allow,
            DefaultAction::Deny => Expectation::Deny,
            DefaultAction::Reject => Expectation::Reject,
        }
    }
}

fn meets(selector: &Selector, endpoint: &TestEndpoint) -> bool {
    selector.vlan.is_none_or(|vlan| vlan == endpoint.vlan)
        && (selector.macs.is_empty() || endpoint.mac.is_some_and(|mac| selector.macs.contains(&mac)))
        && (selector.addresses.is_empty()
            || selector.addresses.iter().any(|range| range.contains(endpoint.address)))
}

impl Judge for LinearJudge<'_> {
    fn judge(&self, from: &TestEndpoint, to: &TestEndpoint, packet: Packet) -> Ruling {
        let mut passed = None;
        for id in &self.order {
            let rule = self.policy.rule(*id);
            let Packet { protocol, source, destination } = packet;
            let matches = passed != Some(rule.tier)
                && rule.mode == Mode::Enforce
                && rule.services.iter().any(|service| service.contains(protocol, source, destination))
                && self.is_in(&rule.from, from)
                && self.is_in(&rule.to, to);
            if !matches {
                continue;
            }
            let verdict = match rule.action {
                Action::Allow => Expectation::Allow,
                Action::Deny => Expectation::Deny,
                Action::Reject => Expectation::Reject,
                Action::Pass => {
                    passed = Some(rule.tier);
                    continue;
                }
            };
            return Ruling { verdict, rule: Some(*id) };
        }
        Ruling { verdict: self.default_verdict(to), rule: None }
    }
}
