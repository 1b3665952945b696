//! `bulkhead why`: the verdict of one new flow, and how it comes about.

use super::nearest::{NearestAllow, nearest_allow};
use super::walk::{TierWalk, walk};
use crate::decision::{Decision, Judgement, Verdict};
use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::SegmentId;
use crate::reference::Reference;
use crate::tables::Tables;

/// Why a flow gets what it gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What happens.
    pub decision: Decision,
    /// What the rules say.
    pub judgement: Judgement,
    /// Whether the destination's segments are all in monitor mode, so that the default is only recorded.
    pub softened: bool,
    /// The source's segments, sorted by name.
    pub source_segments: Vec<SegmentId>,
    /// The destination's segments, sorted by name.
    pub destination_segments: Vec<SegmentId>,
    /// The tiers that the evaluation came to.
    pub tiers: Vec<TierWalk>,
    /// For a deny or reject: a single change that would let the flow in.
    pub nearest_allow: Option<NearestAllow>,
}

/// Explains what the tables say of a new flow. The moment is the one that they were compiled for.
///
/// # Panics
/// Where the tables and the linear scan differ, which would be a fault of the compiler.
#[must_use]
pub fn explain(
    tables: &Tables,
    source: &Endpoint,
    destination: &Endpoint,
    packet: ServicePacket,
) -> Explanation {
    let reference = Reference::new(tables.policy(), tables.compiled_for());
    let (from, to) = (tables.class_of(source), tables.class_of(destination));
    let ServicePacket { protocol, source_port, destination_port } = packet;
    let decision = tables.decide(from, to, protocol, source_port, destination_port);
    let judgement = reference.judge(source, destination, packet);
    assert_eq!(
        decision,
        reference.decide(source, destination, packet),
        "the tables and the linear scan give the same answer"
    );
    let nearest = match decision.verdict {
        Verdict::Allow => None,
        Verdict::Deny | Verdict::Reject => nearest_allow(&reference, source, destination, packet),
    };
    Explanation {
        decision,
        judgement,
        softened: tables.is_softened(to),
        source_segments: tables.segments_of(from).to_vec(),
        destination_segments: tables.segments_of(to).to_vec(),
        tiers: walk(&reference, source, destination, packet),
        nearest_allow: nearest,
    }
}
