//! Where the ticks of a packet go: the time-stamp counter, read at the borders of the engine's parts, a few times a
//! batch and of every [`EVERY`]th batch only.
//!
//! What is told is the median over batches: a mean would be that of the moments in which somebody else had the core.

use crate::cycles;
use dataplane::meter::{Meter, Part};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// One batch of so many is measured.
const EVERY: u64 = 8;
/// The parts of the engine, and what stands between port and engine.
const PARTS: usize = Part::ALL.len() + 1;
const HAND: usize = PARTS - 1;
/// Histograms hold hundredths of ticks.
const UNIT: f64 = 100.0;

/// What was read so far.
#[derive(Debug)]
pub(crate) struct Stages {
    batches: u64,
    last: u64,
    /// Ticks of the batch that is under way.
    ticks: [u64; PARTS],
    parts: Vec<Histogram<u64>>,
    total: Histogram<u64>,
}

impl Default for Stages {
    fn default() -> Stages {
        let empty = || Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("the bounds are in order");
        Stages {
            batches: 0,
            last: 0,
            ticks: [0; PARTS],
            parts: (0..PARTS).map(|_| empty()).collect(),
            total: empty(),
        }
    }
}

/// Ticks a packet, without the port: medians over batches.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageCycles {
    /// Of all together: the parts' medians need not add up to it.
    pub(crate) total: f64,
    /// By part of the engine; `hand` is putting frames into a batch and taking them from the queues, and the timers.
    #[serde(flatten)]
    pub(crate) parts: BTreeMap<&'static str, f64>,
}

impl Stages {
    /// Whether the next batch is to be measured.
    pub(crate) fn is_due(&mut self) -> bool {
        self.batches += 1;
        self.batches.is_multiple_of(EVERY)
    }

    /// What comes next is measured.
    pub(crate) fn start(&mut self) {
        self.last = cycles::now().unwrap_or(0);
    }

    fn since(&mut self) -> u64 {
        let now = cycles::now().unwrap_or(0);
        now - std::mem::replace(&mut self.last, now)
    }

    /// What was done since is what stands between port and engine.
    pub(crate) fn handed(&mut self) {
        self.ticks[HAND] += self.since();
    }

    /// The batch is over, and was of so many packets.
    pub(crate) fn end(&mut self, packets: usize) {
        let ticks = std::mem::take(&mut self.ticks);
        if packets == 0 {
            return;
        }
        let each = |ticks: u64| (ticks as f64 * UNIT / packets as f64) as u64;
        for (part, ticks) in self.parts.iter_mut().zip(ticks) {
            part.saturating_record(each(ticks));
        }
        self.total.saturating_record(each(ticks.iter().sum()));
    }

    /// Ticks a packet; `None` where the processor has no counter that is known here, or nothing was measured.
    pub(crate) fn per_packet(&self) -> Option<StageCycles> {
        cycles::now()?;
        if self.total.is_empty() {
            return None;
        }
        let median = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64 / UNIT;
        let names = Part::ALL.iter().map(|part| part.name()).chain(["hand"]);
        Some(StageCycles {
            total: median(&self.total),
            parts: names.zip(self.parts.iter().map(median)).collect(),
        })
    }
}

impl Meter for Stages {
    #[inline]
    fn done(&mut self, part: Part) {
        self.ticks[part as usize] += self.since();
    }
}
