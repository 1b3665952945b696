//! A verdict line: what became of one frame, in the words of POLICY.md §7.

use classifier::addr::PortId;
use classifier::policy::SegmentId;
use classifier::tables::ClassId;
use dataplane::batch::{FlowRole, Out, Outcome, Verdict};
use dataplane::generation::Generation;
use dataplane::topology::Topology;
use serde::Serialize;

/// One line, its keys in the order in which they are written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// Counts from 1 over all inputs.
    pub frame: u64,
    /// Where the frame came in.
    pub port: String,
    /// The VID that the frame bears, 0 for none.
    pub vlan: u16,
    /// forward, drop, reject or local.
    pub verdict: &'static str,
    /// Why, where it was dropped.
    pub reason: Option<&'static str>,
    /// The id of the rule that decided the flow.
    pub rule: Option<String>,
    /// The tier of that rule.
    pub tier: Option<String>,
    /// What would have happened, were it enforced.
    pub would: Option<WouldLine>,
    /// What the packet is to its flow.
    pub flow: Option<&'static str>,
    /// The segments of its source, by name.
    pub from: Option<Vec<String>>,
    /// The segments of its destination, by name.
    pub to: Option<Vec<String>>,
    /// Where copies of it go.
    pub out: Vec<OutLine>,
}

/// `would`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WouldLine {
    /// would-allow, would-deny, would-reject or would-pass.
    pub action: &'static str,
    /// The rule that says so.
    pub rule: Option<String>,
}

/// One element of `out`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutLine {
    /// The port.
    pub port: String,
    /// The VID, 0 for none.
    pub vlan: u16,
}

/// Where the names on a line come from.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Names of ports.
    pub topology: &'a Topology,
    /// Names of segments, tiers, and of every rule that it or one before it had.
    pub generation: &'a Generation,
}

impl Line {
    /// The line of a frame. `flooded` lists where copies went, if it was flooded.
    #[must_use]
    pub fn new(
        names: Names<'_>,
        frame: u64,
        port: PortId,
        vid: u16,
        outcome: &Outcome,
        flooded: impl Iterator<Item = classifier::addr::VlanKey>,
    ) -> Line {
        let policy = names.generation.tables().policy();
        let out_line = |key: classifier::addr::VlanKey| OutLine {
            port: names.topology.port_name(key.port()).to_owned(),
            vlan: key.vid(),
        };
        let tier = outcome
            .rule
            .and_then(|key| names.generation.named_rule(key))
            .map(|rule| policy.tiers()[usize::from(rule.tier.0)].clone());
        Line {
            frame,
            port: names.topology.port_name(port).to_owned(),
            vlan: vid,
            verdict: verdict_name(outcome.verdict),
            reason: outcome.reason.map(classifier::reason::DropReason::name),
            rule: outcome.rule.and_then(|key| names.generation.rule_name(key)).map(str::to_owned),
            tier,
            would: outcome.would.map(|would| WouldLine {
                action: would.name(),
                rule: would.rule.map(|rule| policy.rule(rule).id.clone()),
            }),
            flow: outcome.flow.map(flow_name),
            from: outcome.classes.map(|(source, _)| segments(names.generation, source)),
            to: outcome.classes.map(|(_, destination)| segments(names.generation, destination)),
            out: match outcome.out {
                Out::Nowhere => Vec::new(),
                Out::To(key) => vec![out_line(key)],
                Out::Flooded => flooded.map(out_line).collect(),
            },
        }
    }

    /// Writes the verdict, where it comes later than the rest.
    pub fn conclude(&mut self, outcome: &Outcome) {
        self.verdict = verdict_name(outcome.verdict);
        self.reason = outcome.reason.map(classifier::reason::DropReason::name);
        if outcome.out == Out::Nowhere {
            self.out.clear();
        }
    }
}

/// The word for a verdict.
#[must_use]
pub const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Forward => "forward",
        Verdict::Drop => "drop",
        Verdict::Reject => "reject",
        Verdict::Local => "local",
        Verdict::Waiting => "waiting",
    }
}

const fn flow_name(flow: FlowRole) -> &'static str {
    match flow {
        FlowRole::New => "new",
        FlowRole::Established => "established",
        FlowRole::Reply => "reply",
        FlowRole::Related => "related",
    }
}

fn segments(generation: &Generation, class: ClassId) -> Vec<String> {
    let tables = generation.tables();
    let name = |id: &SegmentId| tables.policy().segments()[id.0 as usize].name.clone();
    tables.segments_of(class).iter().map(name).collect()
}
