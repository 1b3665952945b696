//! The parts of a policy.

use super::list::List;
use super::position::Position;
use crate::addr::{IpRange, Mac, VlanKey};
use std::sync::Arc;
use std::time::Duration;

/// Index of a segment in [`Policy::segments`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SegmentId(pub u32);

/// Index of a rule in [`Policy::rules`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RuleId(pub u32);

/// Index of a tier in [`Policy::tiers`]: the order of evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TierId(pub u16);

/// A moment of the civil clock, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Timestamp(pub i128);

/// What a rule says of the flows that it matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Let the flow in.
    Allow,
    /// Drop it without an answer.
    Deny,
    /// Drop it, and tell the sender: TCP RST, else ICMP administratively prohibited.
    Reject,
    /// Leave this tier, go on with the next.
    Pass,
}

/// What happens to a flow that no rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DefaultAction {
    /// Drop it without an answer.
    Deny,
    /// Drop it, and tell the sender.
    Reject,
    /// Let it in.
    Allow,
}

/// Whether verdicts are enforced or only recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// Verdicts are enforced.
    Enforce,
    /// Verdicts are recorded as `would-…`.
    Monitor,
}

/// What a change of policy does to the flows that a rule let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Established {
    /// They are judged again at their next packet.
    Recheck,
    /// They live on as long as the rule exists.
    Keep,
}

/// Conditions on an endpoint; all that are given must hold. One with no condition matches nothing:
/// the builder refuses it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Selector {
    /// The endpoint's VLAN is this one.
    pub vlan: Option<VlanKey>,
    /// The endpoint's MAC is one of these; empty: any, or none.
    pub macs: Vec<Mac>,
    /// The endpoint's address lies in one of these; empty: any.
    pub addresses: Vec<IpRange>,
}

/// One way for an endpoint to be in a set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Member {
    /// It meets the conditions.
    Selector(Selector),
    /// It is in the segment.
    Segment(SegmentId),
}

/// A named set of endpoints: at least one of `members`, and none of `except`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Unique name.
    pub name: String,
    /// Ways in: what `members` lists, and the workloads that `select` picked.
    pub members: Vec<Member>,
    /// Ways out, stronger than the ways in.
    pub except: Vec<Member>,
    /// Whether the default verdict is enforced towards this segment.
    pub mode: Mode,
}

/// The endpoints that a rule's `from` or `to` names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EndpointSet {
    /// Every endpoint.
    Any,
    /// At least one of these.
    OneOf(Vec<Member>),
}

/// An inclusive range of ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// All ports.
    pub const ALL: PortRange = PortRange { first: 0, last: u16::MAX };

    /// The one port.
    #[must_use]
    pub const fn single(port: u16) -> Self {
        PortRange { first: port, last: port }
    }

    /// Whether the port lies in the range.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A set of packets by protocol and ports.
///
/// ICMP and ICMPv6 have no ports: their source port counts as 0, their destination port as
/// `type * 256 + code`. Protocols without ports have 0 for both.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Service {
    /// The IP protocol number (IANA protocol-numbers); none: every protocol.
    pub protocol: Option<u8>,
    /// Source ports.
    pub source: PortRange,
    /// Destination ports, or ICMP type and code.
    pub destination: PortRange,
}

impl Service {
    /// Every packet.
    pub const ANY: Service = Service { protocol: None, source: PortRange::ALL, destination: PortRange::ALL };

    /// The destination ports that stand for an ICMP type, and a code where one is given.
    #[must_use]
    pub const fn icmp_range(kind: u8, code: Option<u8>) -> PortRange {
        match code {
            Some(code) => PortRange::single(u16::from_be_bytes([kind, code])),
            None => PortRange { first: u16::from_be_bytes([kind, 0]), last: u16::from_be_bytes([kind, 255]) },
        }
    }

    /// Whether the packet is in the set.
    #[must_use]
    pub fn contains(&self, protocol: u8, source: u16, destination: u16) -> bool {
        self.protocol.is_none_or(|p| p == protocol)
            && self.source.contains(source)
            && self.destination.contains(destination)
    }
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Unique and stable name: logs, counters and the audit use it.
    pub id: String,
    /// The tier that it stands in.
    pub tier: TierId,
    /// Sources.
    pub from: EndpointSet,
    /// Destinations.
    pub to: EndpointSet,
    /// Packets; at least one, [`Service::ANY`] where the rule names none.
    pub services: Vec<Service>,
    /// What it says.
    pub action: Action,
    /// Whether that is enforced or only recorded.
    pub mode: Mode,
    /// Whether its verdicts are logged.
    pub log: bool,
    /// What a change of policy does to its flows.
    pub established: Established,
    /// From then on the rule is as if it were not there.
    pub expires: Option<Timestamp>,
    /// Idle timeout of the flows that it lets in.
    pub idle_timeout: Option<Duration>,
    /// How many flows it may have at once.
    pub max_flows: Option<u32>,
    /// Free text.
    pub owner: Option<String>,
    /// Free text.
    pub ticket: Option<String>,
    /// Free text.
    pub description: Option<String>,
}

impl Rule {
    /// An enforced rule of these, which is not logged, never expires, has no limits, and rechecks its flows when the
    /// policy changes: what a rule is where the file says no more.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        tier: TierId,
        from: EndpointSet,
        to: EndpointSet,
        services: Vec<Service>,
        action: Action,
    ) -> Rule {
        Rule {
            id: id.into(),
            tier,
            from,
            to,
            services,
            action,
            mode: Mode::Enforce,
            log: false,
            established: Established::Recheck,
            expires: None,
            idle_timeout: None,
            max_flows: None,
            owner: None,
            ticket: None,
            description: None,
        }
    }
}

/// A valid policy. Only [`super::PolicyBuilder`] makes one, and [`crate::compile::Editor`] changes one.
///
/// A copy shares all that it has in common with the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub(super) tiers: Arc<Vec<String>>,
    pub(super) segments: List<Segment>,
    pub(super) rules: List<Rule>,
    /// Where each rule stands that was put between the others later; these are the last of `rules`.
    pub(super) positions: List<Position>,
    /// How many of `rules` were taken out for good.
    pub(super) removed: usize,
    pub(super) default: DefaultAction,
    pub(super) mode: Mode,
}

impl Policy {
    /// The names of the tiers, in the order of evaluation; at least one.
    #[must_use]
    pub fn tiers(&self) -> &[String] {
        &self.tiers
    }

    /// The segments, in the order of the files.
    #[must_use]
    pub fn segments(&self) -> &List<Segment> {
        &self.segments
    }

    /// The rules by [`RuleId`]: in the order of the files (not of evaluation: the tier comes first there), then those
    /// that an [`crate::compile::Editor`] has added. One that it took out keeps its index, and has expired.
    #[must_use]
    pub fn rules(&self) -> &List<Rule> {
        &self.rules
    }

    /// How many rules there are, without those that were taken out for good.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.len() - self.removed
    }

    /// The rule of that index.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    /// The segments, for one who changes a copy and keeps it valid.
    pub(crate) fn segments_mut(&mut self) -> &mut List<Segment> {
        &mut self.segments
    }

    /// The rules, for one who changes a copy and keeps it valid.
    pub(crate) fn rules_mut(&mut self) -> &mut List<Rule> {
        &mut self.rules
    }

    /// What happens to flows that no rule decides.
    #[must_use]
    pub fn default(&self) -> DefaultAction {
        self.default
    }

    /// Whether policy verdicts are enforced at all.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The earliest moment after `now` at which a rule expires.
    #[must_use]
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.rules.iter().filter_map(|r| r.expires).filter(|t| *t > now).min()
    }
}
