//! Flows over a planned restart: out of the tables of workers that have stopped, into those of their owners among workers
//! that have not begun. How many there are need not be as before.
//!
//! No flow comes back on its old verdict. A flow between routed VLANs is judged here, by the policy in force: the
//! answer may be another rule than before, and a flow that is denied is not restored. On a stitch the policy may ask
//! for the MAC of the destination, which only a packet tells: such a flow is marked, and judged by its first packet,
//! as after a change of policy. That holds for rules with `established = "keep"` too: they keep flows over a
//! change of policy, but a file is no witness for what a rule had let in.

use crate::engine::Engine;
use crate::generation::{Generation, Generations};
use crate::network::{Role, Vlan};
use crate::ownership::{Owners, Spread};
use crate::stage::judge::{Question, ask, terms};
use crate::topology::Topology;
use classifier::addr::VlanKey;
use conntrack::snapshot::{FlowRecord, Names, Skip, Snapshot, Translation};
use conntrack::time::Tick;
use conntrack::{Epoch, Terms, Tracker};
use std::time::Duration;

/// What became of the flows of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// How many were saved.
    pub saved: u64,
    /// How many live on.
    pub flows: u64,
    /// Of these: judged by their first packet, not before.
    pub marked: u64,
    /// The others, by [`Skip`].
    pub skipped: [u64; Skip::ALL.len()],
}

impl Restored {
    /// How many were left out for a cause.
    #[must_use]
    pub fn skipped(&self, cause: Skip) -> u64 {
        self.skipped[cause as usize]
    }
}

/// The names behind the numbers in the flow tables of this process.
#[must_use]
pub fn names<'a>(topology: &'a Topology, generations: &'a Generations) -> Names<'a> {
    Names {
        ports: topology.ports.iter().map(|port| port.name.as_str()).collect(),
        stitches: topology.stitches.iter().map(|stitch| stitch.name.as_str()).collect(),
        rules: generations.names().collect(),
    }
}

/// Takes up the flows of a snapshot that was taken `away` ago, each into the engine of its owner. To be called before the
/// first packet; `names` are those of the configuration in force.
pub fn restore(
    engines: &mut [&mut Engine],
    owners: &Owners,
    now: Tick,
    snapshot: &Snapshot<'_>,
    names: &Names<'_>,
    away: Duration,
) -> Restored {
    let (v4, v6) = snapshot.header().flows;
    let mut restored = Restored { saved: v4.saturating_add(v6), ..Restored::default() };
    restored.skipped[Skip::Missing as usize] = snapshot.missing();
    let translation = Translation::new(snapshot.names(), names);
    engines.iter_mut().for_each(|engine| engine.tracker.advance(now));
    let room = engines.iter().map(|engine| engine.tracker.capacity() - engine.tracker.len()).sum();
    for index in snapshot.order(room) {
        let taken = snapshot.record(index as usize, &translation).and_then(|record| {
            let engine = &mut engines[owners.of_flow(record.key())];
            engine.restore_flow(now, &record, away)
        });
        match taken {
            Ok(is_judged) => {
                restored.flows += 1;
                restored.marked += u64::from(!is_judged);
            }
            Err(cause) => restored.skipped[cause as usize] += 1,
        }
    }
    restored
}

impl Engine {
    /// Takes up the flows of a snapshot that was taken `away` ago. To be called before the first packet; `names` are
    /// those of the configuration in force.
    pub fn restore(
        &mut self,
        now: Tick,
        snapshot: &Snapshot<'_>,
        names: &Names<'_>,
        away: Duration,
    ) -> Restored {
        // Who is alone owns everything, however it is spread.
        let owners = Owners::new(Spread::keyed([0; 16]), 1, self.generation.network());
        restore(&mut [self], &owners, now, snapshot, names, away)
    }

    /// Takes up a flow; whether it is judged.
    fn restore_flow(&mut self, now: Tick, record: &FlowRecord, away: Duration) -> Result<bool, Skip> {
        let record = record.aged(away)?;
        let terms = judge(&self.generation, &record)?;
        self.tracker.restore(now, &record, &terms)?;
        Ok(terms.epoch == self.generation.epoch())
    }

    /// The flow table of an engine that has done its work.
    #[must_use]
    pub fn into_tracker(self) -> Tracker {
        self.tracker
    }
}

/// The terms on which a flow lives on.
fn judge(generation: &Generation, record: &FlowRecord) -> Result<Terms, Skip> {
    let network = generation.network();
    let known = |key: VlanKey| -> Result<&Vlan, Skip> {
        let vlan = network.vlan(network.index_of(key).ok_or(Skip::Network)?);
        // A flow is of the domain that its VLANs are in: one that was stitched before is another flow now.
        if vlan.domain == record.domain() { Ok(vlan) } else { Err(Skip::Network) }
    };
    let opener = known(record.opener_vlan())?;
    let responder = record.responder_vlan().map(known).transpose()?;
    let Some(responder) = responder.filter(|_| opener.role == Role::Routed) else {
        return Ok(Terms {
            epoch: Epoch(generation.epoch().0.wrapping_sub(1)),
            rule: record.rule().filter(|rule| !generation.keeps_flows_of(*rule)),
            idle_timeout: record.idle_timeout(),
            max_flows: None,
            responder_vlan: record.responder_vlan(),
        });
    };
    let (key, end) = (record.key(), record.opener());
    let question = Question {
        source: (opener.key, record.opener_mac(), key.address(end)),
        destination: key.address(end.other()),
        destination_mac: None,
        protocol: key.protocol(),
        ports: key.policy_ports(end),
    };
    let answer = ask(generation, &question, responder.key);
    if !answer.is_allowed() {
        return Err(Skip::Policy);
    }
    Ok(terms(generation, &answer.decision, Some(responder.key)))
}
