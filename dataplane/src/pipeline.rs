//! The order of the stages. It stands here and nowhere else; POLICY.md §6 is the order of the reasons within.
//!
//! ```text
//!   parse -> admit -> route -> track -> emit
//!            |  |      |        |        |
//!            |  |      |        |        +- too-big, neighbor-failed; rewrite, queue
//!            |  |      |        +- ct-invalid, policy, limits
//!            |  |      +- ttl-expired ... same-vlan
//!            |  +- local: answered, noted; ARP and ND of a stitch: bridged
//!            +- runt ... local-deny
//! ```

use crate::batch::Batch;
use crate::engine::Engine;
use crate::stage;
use conntrack::time::Tick;

/// Takes a batch through all stages.
pub(crate) fn run(engine: &mut Engine, now: Tick, batch: &mut Batch) {
    stage::parse::process(engine, batch);
    stage::admit::process(engine, now, batch);
    stage::route::process(engine, now, batch);
    stage::track::process(engine, now, batch);
    stage::reassemble::conclude(engine, batch);
    stage::emit::process(engine, now, batch);
    stage::reassemble::release(engine, now);
}
