//! The answer as data: its fields are the keys of `-o json`, in this order (docs/POLICY.md).

use super::nearest;
use super::question::Question;
use crate::config::{Configuration, action_name, service_text};
use classifier::addr::VlanKey;
use classifier::analysis::{Explanation, Step, TierEnd};
use classifier::decision::Verdict;
use classifier::policy::{Mode, RuleId, SegmentId, Timestamp};
use classifier::reason::DropReason;
use classifier::wire::protocol;
use serde::Serialize;
use std::net::IpAddr;

/// What becomes of a new flow, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Answer {
    /// allow, deny or reject: what the policy enforces.
    pub verdict: &'static str,
    /// The reason that is counted; none for allow.
    pub reason: Option<&'static str>,
    /// The rule that decided; none: the default did.
    pub rule: Option<String>,
    /// The tier of that rule.
    pub tier: Option<String>,
    /// What the rule says, or the default: the verdict, were nothing in monitor mode.
    pub says: &'static str,
    /// What is recorded beside the verdict.
    pub would: Option<WouldBe>,
    /// `[policy] mode`.
    pub policy_mode: &'static str,
    /// Whether all segments of the destination are in monitor mode, so that the default is only recorded.
    pub softened: bool,
    /// The moment that is asked about.
    pub at: String,
    /// Who opens the flow.
    pub from: EndOfFlow,
    /// Who is asked.
    pub to: EndOfFlow,
    /// What for.
    pub service: ServiceAsked,
    /// The tiers that the evaluation came to, in order.
    pub tiers: Vec<Tier>,
    /// For a deny or reject: the single change that would let the flow in.
    pub nearest_allow: Option<Nearest>,
    /// What is to be known beside that.
    pub notes: Vec<Note>,
}

/// One end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EndOfFlow {
    /// Its address.
    pub address: IpAddr,
    /// Its VLAN as `port.id`, where it can be told.
    pub vlan: Option<String>,
    /// The name of the VLAN, where it has one.
    pub vlan_name: Option<String>,
    /// Its MAC, where the configuration gives one and it counts.
    pub mac: Option<String>,
    /// Its segments by name, without `any`.
    pub segments: Vec<String>,
}

/// The packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ServiceAsked {
    /// The inline form.
    pub text: String,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, where there are ports.
    pub source_port: Option<u16>,
    /// Destination port, where there are ports.
    pub destination_port: Option<u16>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// ICMP code.
    pub icmp_code: Option<u8>,
}

/// One tier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Tier {
    /// Its name.
    pub tier: String,
    /// How it ended: decided, passed or no-match.
    pub end: &'static str,
    /// The rules that matched, in order, up to the one that ended it.
    pub rules: Vec<MatchedRule>,
}

/// A rule that matched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MatchedRule {
    /// Its id.
    pub rule: String,
    /// allow, deny, reject or pass.
    pub action: &'static str,
    /// What it did: recorded (it is in monitor mode), passed or decided.
    pub did: &'static str,
    /// Where it stands, as `file:line`.
    pub place: String,
}

/// What would have been done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WouldBe {
    /// would-allow, would-deny, would-reject or would-pass.
    pub action: &'static str,
    /// The rule that says so; none: the default.
    pub rule: Option<String>,
}

/// The nearest allow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Nearest {
    /// add-service-to-rule, add-to-segment, add-to-rule, use-service, monitor-rule or add-rule.
    pub change: &'static str,
    /// The rule that is changed, or that allows the other service.
    pub rule: Option<String>,
    /// The segment that is changed.
    pub segment: Option<String>,
    /// Which end is added: from or to.
    pub end: Option<&'static str>,
    /// The service that is added, allowed, or to be used instead.
    pub service: Option<String>,
    /// The tier of a new rule.
    pub tier: Option<String>,
    /// The rule that a new rule must stand before; none: it is the last of its tier.
    pub before: Option<String>,
    /// The rule that lets the flow in then; none: the default, or the new rule.
    pub by: Option<String>,
    /// All of it in a sentence.
    pub text: String,
}

/// Something to be known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Note {
    /// The reason under which the frame is dropped before the policy is asked, if it is.
    pub reason: Option<&'static str>,
    /// In words.
    pub text: String,
}

impl Note {
    pub(super) fn plain(text: impl Into<String>) -> Note {
        Note { reason: None, text: text.into() }
    }

    pub(super) fn drop(reason: DropReason, text: impl Into<String>) -> Note {
        Note { reason: Some(reason.name()), text: text.into() }
    }
}

impl Answer {
    pub(super) fn new(
        configuration: &Configuration,
        now: Timestamp,
        question: &Question,
        explanation: &Explanation,
        notes: Vec<Note>,
    ) -> Answer {
        let policy = &configuration.policy;
        let decision = &explanation.decision;
        let rule_id = |id: RuleId| policy.rule(id).id.clone();
        let (source, destination) = question.endpoints(configuration);
        let end = |endpoint: &classifier::endpoint::Endpoint, segments: &[SegmentId]| EndOfFlow {
            address: endpoint.address,
            vlan: endpoint.vlan.map(|vlan| port_and_vid(configuration, vlan)),
            vlan_name: endpoint.vlan.and_then(|vlan| vlan_name(configuration, vlan)),
            mac: endpoint.mac.map(|mac| mac.to_string()),
            segments: segments.iter().map(|id| policy.segments()[id.0 as usize].name.clone()).collect(),
        };
        Answer {
            verdict: decision.verdict.name(),
            reason: decision.drop_reason().map(DropReason::name),
            rule: decision.rule.map(rule_id),
            tier: decision.rule.map(|id| policy.tiers()[usize::from(policy.rule(id).tier.0)].clone()),
            says: match decision.rule {
                Some(id) => action_name(policy.rule(id).action),
                None => Verdict::from(policy.default()).name(),
            },
            would: decision
                .would
                .map(|would| WouldBe { action: would.name(), rule: would.rule.map(rule_id) }),
            policy_mode: match policy.mode() {
                Mode::Enforce => "enforce",
                Mode::Monitor => "monitor",
            },
            softened: explanation.softened,
            at: moment(now),
            from: end(&source, &explanation.source_segments),
            to: end(&destination, &explanation.destination_segments),
            service: ServiceAsked::of(question),
            tiers: explanation.tiers.iter().map(|walk| Tier::of(configuration, walk)).collect(),
            nearest_allow: explanation
                .nearest_allow
                .as_ref()
                .map(|nearest| nearest::describe(configuration, question, nearest)),
            notes,
        }
    }
}

impl ServiceAsked {
    fn of(question: &Question) -> ServiceAsked {
        let packet = question.packet;
        let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        let is_icmp = matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6);
        let [kind, code] = packet.destination_port.to_be_bytes();
        ServiceAsked {
            text: service_text(packet.protocol, packet.destination_port),
            protocol: packet.protocol,
            source_port: has_ports.then_some(packet.source_port),
            destination_port: has_ports.then_some(packet.destination_port),
            icmp_type: is_icmp.then_some(kind),
            icmp_code: is_icmp.then_some(code),
        }
    }
}

impl Tier {
    fn of(configuration: &Configuration, walk: &classifier::analysis::TierWalk) -> Tier {
        let matched = |step: &Step| {
            let id = step.rule();
            let rule = configuration.policy.rule(id);
            MatchedRule {
                rule: rule.id.clone(),
                action: action_name(rule.action),
                did: match step {
                    Step::Recorded(_) => "recorded",
                    Step::Passed(_) => "passed",
                    Step::Decided(_) => "decided",
                },
                place: place(configuration, id),
            }
        };
        Tier {
            tier: walk.name.clone(),
            end: match walk.end {
                TierEnd::Decided(_) => "decided",
                TierEnd::Passed(_) => "passed",
                TierEnd::NoMatch => "no-match",
            },
            rules: walk.steps.iter().map(matched).collect(),
        }
    }
}

/// Where a rule stands, as `file:line`.
pub(super) fn place(configuration: &Configuration, id: RuleId) -> String {
    configuration.sources().describe(configuration.rule_spans[id.0 as usize])
}

/// A moment as TOML and RFC 3339 write it.
pub(super) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(at.0)
        .map_or_else(|_| format!("{} ns", at.0), |moment| moment.to_string())
}

fn port_and_vid(configuration: &Configuration, vlan: VlanKey) -> String {
    format!("{}.{}", configuration.topology.port_name(vlan.port()), vlan.vid())
}

fn vlan_name(configuration: &Configuration, vlan: VlanKey) -> Option<String> {
    configuration.topology.vlans.iter().find(|v| v.key == vlan)?.name.clone()
}
