//! What goes from one gateway to the next within the process: flows, counts, and the hold on the state directory.
//!
//! A gateway whose ports must be opened anew is stopped and another started, as at a planned restart, but that the
//! flows stay in memory.

use super::state::{self, Resumption, StateDirectory};
use crate::config::Configuration;
use conntrack::Tracker;
use conntrack::snapshot::Names;
use conntrack::time::Tick;
use dataplane::counters::Counters;
use dataplane::engine::Engine;

/// What a gateway that has stopped leaves to the next.
#[derive(Debug)]
pub struct Carried {
    pub(super) state: Option<StateDirectory>,
    /// As in the file `flows`.
    flows: Vec<u8>,
    counters: Counters,
}

impl Carried {
    /// The flows of trackers that get no more packets, and what was counted.
    pub(super) fn new(
        state: Option<StateDirectory>,
        trackers: &[Tracker],
        counters: Counters,
        names: &Names<'_>,
        configuration: &Configuration,
    ) -> Carried {
        let mut flows = Vec::new();
        // Memory takes everything.
        let _ = state::write_flows(trackers, names, configuration, &mut flows);
        Carried { state, flows, counters }
    }

    /// Gives an engine that has seen no packet the flows and the counts.
    pub(super) fn restore(
        &self,
        engine: &mut Engine,
        now: Tick,
        names: &Names<'_>,
        configuration: &Configuration,
    ) -> Resumption {
        engine.count_from(&self.counters);
        // What was never written is an empty table.
        state::read_flows(&self.flows, engine, now, names, configuration).unwrap_or(Resumption::Nothing)
    }
}
