//! Two policies, flows that both allow, and flows that only one of them does.

use super::{Flow, flows, frames, policy, topology};
use classifier::policy::Policy;
use dataplane::topology::Topology;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One client in so many is revoked, and all that it sends with it.
const REVOKED: usize = 8;
/// Bytes of the frames on the wire.
const SIZE: u16 = 64;

/// What policies that take turns are measured with.
#[derive(Debug)]
pub(crate) struct Revocable {
    /// As that of other workloads.
    pub(crate) topology: Topology,
    /// Allows every flow.
    pub(crate) open: Arc<Policy>,
    /// Has one rule more, and denies all of the revoked.
    pub(crate) revoking: Arc<Policy>,
    /// Frames of the flows that both allow: of the opener, and of the other end.
    pub(crate) kept: Vec<[Vec<u8>; 2]>,
    /// Frames of the flows that one denies, of the opener alone: when such a flow is allowed again, it takes the
    /// opener to open it.
    pub(crate) revoked: Vec<Vec<u8>>,
    /// Where in a frame its data begins.
    pub(crate) data: usize,
}

impl Revocable {
    /// So many rules and flows.
    pub(crate) fn new(rules: u32, flows: u32, seed: u64) -> Revocable {
        let plan = policy::plan(rules, seed, false);
        let flows = flows::draw(&plan, flows, seed);
        let clients: BTreeSet<u32> = flows.iter().map(|flow| flow.client).collect();
        let denied: BTreeSet<u32> = clients.into_iter().step_by(REVOKED).collect();
        let list: Vec<u32> = denied.iter().copied().collect();
        let revoking = policy::plan_without(rules, seed, false, &list).policy;
        let topology = topology(&flows, SIZE, false);
        let (revoked, kept): (Vec<Flow>, Vec<Flow>) =
            flows.into_iter().partition(|flow| denied.contains(&flow.client));
        let (kept, data) = frames::blank_exchanges(&kept);
        let revoked = frames::blank_exchanges(&revoked).0.into_iter().map(|[opener, _]| opener).collect();
        Revocable { topology, open: Arc::new(plan.policy), revoking: Arc::new(revoking), kept, revoked, data }
    }
}
