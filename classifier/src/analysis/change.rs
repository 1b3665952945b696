//! A single change, of the policy or of what is asked for, and trying it out.

use crate::addr::IpRange;
use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::{
    Action, EndpointSet, Member, Mode, Policy, PortRange, Rule, RuleId, SegmentId, Selector, Service, TierId,
};

/// One end of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Who opens it.
    Source,
    /// Who is asked.
    Destination,
}

/// A single change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Change {
    /// The service of the packet is added to this rule, whose endpoints match already.
    AddServiceToRule(RuleId),
    /// The address of this end is added to the members of this segment.
    AddToSegment(Side, SegmentId),
    /// The address of this end is added to the endpoints of this rule, all else of which matches already.
    AddToRule(Side, RuleId),
    /// The policy stays, and this is asked for instead, which this rule lets through.
    UseService(RuleId, ServicePacket),
    /// This rule is no longer enforced, but only recorded.
    MonitorRule(RuleId),
    /// A new rule allows this one flow.
    AddRule {
        /// Its tier.
        tier: TierId,
        /// The rule that it stands before; `None`: it is the last of its tier.
        before: Option<RuleId>,
    },
}

/// A flow that is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow<'a> {
    pub(super) source: &'a Endpoint,
    pub(super) destination: &'a Endpoint,
    pub(super) packet: ServicePacket,
}

impl Flow<'_> {
    fn address(&self, side: Side) -> Member {
        let endpoint = match side {
            Side::Source => self.source,
            Side::Destination => self.destination,
        };
        let addresses = vec![IpRange::single(endpoint.address)];
        Member::Selector(Selector { addresses, ..Selector::default() })
    }

    /// The service of the packet, from any source port.
    fn service(&self) -> Service {
        Service {
            protocol: Some(self.packet.protocol),
            source: PortRange::ALL,
            destination: PortRange::single(self.packet.destination_port),
        }
    }

    fn rule(&self, tier: TierId) -> Rule {
        Rule::new(
            String::new(),
            tier,
            EndpointSet::OneOf(vec![self.address(Side::Source)]),
            EndpointSet::OneOf(vec![self.address(Side::Destination)]),
            vec![self.service()],
            Action::Allow,
        )
    }
}

impl Change {
    /// Makes the change on a copy of the policy, lets `look` see it, and takes it back.
    pub(super) fn try_out<T>(
        self,
        trial: &mut Policy,
        flow: &Flow<'_>,
        look: impl FnOnce(&Policy) -> T,
    ) -> T {
        match self {
            Change::AddServiceToRule(id) | Change::AddToRule(_, id) | Change::MonitorRule(id) => {
                let RuleId(at) = id;
                let saved = trial.rule(id).clone();
                self.edit(&mut trial.rules_mut()[at as usize], flow);
                let seen = look(trial);
                trial.rules_mut()[at as usize] = saved;
                seen
            }
            Change::AddToSegment(side, SegmentId(at)) => {
                trial.segments_mut()[at as usize].members.push(flow.address(side));
                let seen = look(trial);
                trial.segments_mut()[at as usize].members.pop();
                seen
            }
            Change::UseService(..) => look(trial),
            Change::AddRule { tier, before } => look(&trial.with_rule(flow.rule(tier), before)),
        }
    }

    /// The part of the change that is on one rule.
    fn edit(self, rule: &mut Rule, flow: &Flow<'_>) {
        let (set, side) = match self {
            Change::AddServiceToRule(_) => return rule.services.push(flow.service()),
            Change::MonitorRule(_) => {
                rule.mode = Mode::Monitor;
                return;
            }
            Change::AddToRule(side @ Side::Source, _) => (&mut rule.from, side),
            Change::AddToRule(side @ Side::Destination, _) => (&mut rule.to, side),
            Change::AddToSegment(..) | Change::UseService(..) | Change::AddRule { .. } => return,
        };
        match set {
            EndpointSet::Any => {}
            EndpointSet::OneOf(members) => members.push(flow.address(side)),
        }
    }
}
