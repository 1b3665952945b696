//! What an engine tells of itself, in portions that take a worker some ten microseconds each.

use crate::engine::Engine;
use crate::hits::Hits;
use crate::network::VlanIndex;
use classifier::addr::{Mac, VlanKey};
use conntrack::{FlowReport, FlowView};
use std::net::IpAddr;

/// Flows that a worker looks at in one go.
pub const PORTION: usize = 256;

/// What is known of a neighbor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborView {
    /// The VLAN.
    pub vlan: VlanKey,
    /// Its address.
    pub address: IpAddr,
    /// How it stands.
    pub state: NeighborState,
}

/// How a neighbor stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborState {
    /// Its MAC was learned.
    Known(Mac),
    /// It is being asked for its MAC.
    Asking,
    /// It does not answer.
    Failed,
}

impl Engine {
    /// Up to [`PORTION`] flows whose slots begin at `cursor` (0 at first) go into `into`; the cursor for the next
    /// portion, `None` after the last. Between two portions flows come and go: a flow that lives all the time is
    /// told exactly once.
    pub fn flows_from(&self, cursor: u64, into: &mut Vec<FlowView>) -> Option<u64> {
        let tracker = self.tracker();
        let (flows, next) = tracker.flows_from(cursor, PORTION);
        into.extend(flows.map(|flow| tracker.flow(flow)));
        next
    }

    /// What has passed by the flows from `cursor` on since they were last reported, as [`Engine::flows_from`]
    /// portions them; those by which nothing has are left out.
    pub fn reports_from(&mut self, cursor: u64, into: &mut Vec<FlowReport>) -> Option<u64> {
        let (flows, next) = self.tracker.flows_from(cursor, PORTION);
        let flows: Vec<_> = flows.collect();
        into.extend(flows.into_iter().filter_map(|flow| self.tracker.report(flow)));
        next
    }

    /// Ends those of the flows from `cursor` on that `is_meant` names, as [`Engine::flows_from`] portions them:
    /// the number of them is added to `ended`.
    pub fn end_flows_from(
        &mut self,
        cursor: u64,
        is_meant: &dyn Fn(&FlowView) -> bool,
        ended: &mut u64,
    ) -> Option<u64> {
        let (flows, next) = self.tracker.flows_from(cursor, PORTION);
        let meant: Vec<_> = flows.filter(|flow| is_meant(&self.tracker.flow(*flow))).collect();
        *ended += meant.len() as u64;
        for flow in meant {
            self.tracker.remove(flow);
        }
        next
    }

    /// How often each rule has decided.
    #[must_use]
    pub fn hits(&self) -> &Hits {
        &self.hits
    }

    /// The neighbors that were learned or are asked for.
    pub fn neighbors(&self) -> impl Iterator<Item = NeighborView> {
        let network = self.generation().network();
        self.neighbors.views().map(move |(vlan, address, state)| NeighborView {
            vlan: network.vlan(vlan).key,
            address,
            state,
        })
    }

    /// The VLAN on which a MAC was last heard, for each MAC that a stitch knows.
    pub fn stations(&self) -> impl Iterator<Item = (VlanKey, Mac)> {
        let network = self.generation().network();
        self.macs.views().map(move |(vlan, mac): (VlanIndex, Mac)| (network.vlan(vlan).key, mac))
    }
}
