//! What goes from one gateway to the next within the process: flows, counts, and the hold on the state directory.
//!
//! A gateway whose ports must be opened anew is stopped and another started, as at a planned restart, but that the
//! flows stay in memory.

use super::state::{Leaving, Newcomers, Resumption, StateDirectory};
use dataplane::counters::Counters;

/// What a gateway that has stopped leaves to the next.
#[derive(Debug)]
pub struct Carried {
    pub(super) state: Option<StateDirectory>,
    /// As in the file `flows`.
    flows: Vec<u8>,
    counters: Counters,
}

impl Carried {
    /// Flows, and what was counted.
    pub(super) fn new(state: Option<StateDirectory>, leaving: &Leaving<'_>, counters: Counters) -> Carried {
        let mut flows = Vec::new();
        // Memory takes everything.
        let _ = leaving.write(&mut flows);
        Carried { state, flows, counters }
    }

    /// Gives engines the flows, each to its owner, and one of them the counts.
    pub(super) fn restore(&self, into: Newcomers<'_>) -> Resumption {
        if let Some(first) = into.engines.first_mut() {
            first.count_from(&self.counters);
        }
        // What was never written is an empty table.
        into.read(&self.flows).unwrap_or(Resumption::Nothing)
    }
}
