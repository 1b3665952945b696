//! Asking the policy: for one destination, or for each VLAN that a flooded frame could go to.

use crate::batch::{Batch, Egress};
use crate::generation::Generation;
use crate::network::{Network, Role, VlanIndex};
use classifier::addr::{Mac, VlanKey};
use classifier::decision::{Decision, Verdict};
use classifier::policy::Mode;
use classifier::tables::ClassId;
use conntrack::Terms;
use std::net::IpAddr;

/// A flow's first packet, as the policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// VLAN, MAC and address of the source.
    pub source: (VlanKey, Mac, IpAddr),
    /// Address of the destination; its VLAN and MAC follow from the way out.
    pub destination: IpAddr,
    /// The MAC that the frame goes to, where MACs count there.
    pub destination_mac: Option<Mac>,
    /// IP protocol.
    pub protocol: u8,
    /// Source and destination port.
    pub ports: (u16, u16),
}

/// What the policy says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// The decision that counts.
    pub decision: Decision,
    /// The classes that it was made for.
    pub classes: (ClassId, ClassId),
}

impl Answer {
    /// Whether the flow is let in.
    pub(crate) fn is_allowed(&self) -> bool {
        self.decision.verdict == Verdict::Allow
    }
}

/// Asks for a destination on one VLAN.
#[inline]
pub(crate) fn ask(generation: &Generation, question: &Question, egress: VlanKey) -> Answer {
    let tables = generation.tables();
    let (vlan, mac, address) = question.source;
    let source = tables.source_class(vlan, mac, address);
    let destination = tables.destination_class(egress, question.destination_mac, question.destination);
    let (sport, dport) = question.ports;
    let decision = tables.decide(source, destination, question.protocol, sport, dport);
    Answer { decision, classes: (source, destination) }
}

/// Asks for each VLAN of the stitch but the one that the frame came from, in the order of the stitch, and lists
/// those that allow it. The first that allows counts; where none does, the first of all.
pub(super) fn ask_flooded(
    generation: &Generation,
    batch: &mut Batch,
    lane: usize,
    ingress: VlanIndex,
    question: &Question,
) -> Option<Answer> {
    let network = generation.network();
    let Role::Stitched(stitch) = network.vlan(ingress).role else { return None };
    let mut counts: Option<Answer> = None;
    for vlan in network.stitch(stitch).vlans.iter().filter(|v| **v != ingress) {
        let key = network.vlan(*vlan).key;
        let answer = ask(generation, question, key);
        if answer.is_allowed() {
            batch.flooded.push((lane as u8, key));
        }
        match counts {
            None => counts = Some(answer),
            Some(first) if !first.is_allowed() && answer.is_allowed() => counts = Some(answer),
            Some(_) => {}
        }
    }
    counts
}

/// The VLAN that a way out leads to, where it is known.
#[inline]
pub(super) fn egress_key(network: &Network, egress: Egress) -> Option<VlanKey> {
    match egress {
        Egress::Routed(vlan, _) | Egress::Stitched(vlan) => Some(network.vlan(vlan).key),
        Egress::Flood => None,
    }
}

/// The terms on which a decision lets a flow in.
#[inline]
pub(crate) fn terms(generation: &Generation, decision: &Decision, responder_vlan: Option<VlanKey>) -> Terms {
    let policy = generation.tables().policy();
    let rule = decision.rule.map(|id| (generation.key_of(id), policy.rule(id)));
    Terms {
        epoch: generation.epoch(),
        rule: rule.map(|(key, _)| key),
        idle_timeout: rule.and_then(|(_, rule)| rule.idle_timeout),
        // Under `policy.mode = "monitor"` no policy verdict drops a packet, and a limit is one.
        max_flows: rule.and_then(|(_, rule)| rule.max_flows).filter(|_| policy.mode() == Mode::Enforce),
        responder_vlan,
    }
}
