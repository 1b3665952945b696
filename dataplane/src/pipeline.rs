//! The order of the stages. It stands here and nowhere else; POLICY.md §6 is the order of the reasons within.
//!
//! ```text
//!   express --> ordinary packets of flows that are known to let them pass: out
//!      |
//!      +-> parse -> admit -> route -> track -> emit
//!                   |  |      |        |        |
//!                   |  |      |        |        +- too-big, neighbor-failed; rewrite, queue
//!                   |  |      |        +- ct-invalid, policy, limits
//!                   |  |      +- ttl-expired ... same-vlan
//!                   |  +- local: answered, noted; ARP and ND of a stitch: bridged
//!                   +- runt ... local-deny
//! ```
//!
//! What takes the short way gets the answers of the whole one, letter by letter: a test runs both side by side.

use crate::batch::{Batch, Lanes, Out, Verdict};
use crate::engine::Engine;
use crate::meter::{Meter, Part};
use crate::stage;
use conntrack::time::Tick;

/// Takes a batch through.
#[inline]
pub(crate) fn run<M: Meter>(engine: &mut Engine, now: Tick, batch: &mut Batch, meter: &mut M) {
    if engine.express.is_open {
        stage::express::process(engine, now, batch, meter, |engine, batch, lanes| {
            whole(engine, now, batch, lanes)
        });
    } else {
        whole(engine, now, batch, batch.all());
        meter.done(Part::Slow);
    }
}

/// Takes lanes through all stages, and settles them.
#[inline(never)]
fn whole(engine: &mut Engine, now: Tick, batch: &mut Batch, lanes: Lanes) {
    batch.visit(lanes);
    stage::parse::process(engine, batch);
    stage::admit::process(engine, now, batch);
    stage::route::process(engine, now, batch);
    stage::track::process(engine, now, batch);
    stage::reassemble::conclude(engine, batch);
    stage::emit::process(engine, now, batch);
    stage::reassemble::release(engine, now);
    for lane in lanes {
        let outcome = &batch.outcomes[lane];
        if outcome.verdict == Verdict::Waiting && outcome.out == Out::Nowhere {
            // A fragment that is held was counted when it was.
            continue;
        }
        engine.count(outcome);
        engine.hits.count(now, outcome);
    }
}
