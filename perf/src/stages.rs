//! Where the ticks of a packet go: the time-stamp counter, read at the borders of the engine's parts, a few times a
//! batch and of every [`EVERY`]th batch only.

use crate::cycles;
use dataplane::meter::{Meter, Part};
use serde::Serialize;
use std::collections::BTreeMap;

/// One batch of so many is measured.
const EVERY: u64 = 8;

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    batches: u64,
    packets: u64,
    last: u64,
    parts: [u64; Part::ALL.len()],
    handing: u64,
}

/// Ticks a packet, without the port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageCycles {
    /// All of the below.
    pub(crate) total: f64,
    /// By part of the engine; `hand` is putting frames into a batch and taking them from the queues.
    #[serde(flatten)]
    pub(crate) parts: BTreeMap<&'static str, f64>,
}

impl Stages {
    /// Whether the next batch is to be measured.
    pub(crate) fn is_due(&mut self) -> bool {
        self.batches += 1;
        self.batches.is_multiple_of(EVERY)
    }

    /// Begins: what comes next is measured.
    pub(crate) fn start(&mut self) {
        self.last = cycles::now().unwrap_or(0);
    }

    fn since(&mut self) -> u64 {
        let now = cycles::now().unwrap_or(0);
        now - std::mem::replace(&mut self.last, now)
    }

    /// What was done since is what stands between port and engine.
    pub(crate) fn handed(&mut self) {
        self.handing += self.since();
    }

    /// So many packets were measured.
    pub(crate) fn count(&mut self, packets: usize) {
        self.packets += packets as u64;
    }

    /// Ticks a packet; `None` where the processor has no counter that is known here, or nothing was measured.
    pub(crate) fn per_packet(&self) -> Option<StageCycles> {
        cycles::now()?;
        if self.packets == 0 {
            return None;
        }
        let each = |ticks: u64| ticks as f64 / self.packets as f64;
        let parts = Part::ALL.iter().map(|part| (part.name(), each(self.parts[*part as usize])));
        let parts: BTreeMap<_, _> = parts.chain([("hand", each(self.handing))]).collect();
        Some(StageCycles { total: parts.values().sum(), parts })
    }
}

impl Meter for Stages {
    #[inline]
    fn done(&mut self, part: Part) {
        self.parts[part as usize] += self.since();
    }
}
