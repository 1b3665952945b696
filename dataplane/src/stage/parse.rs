//! Takes each frame apart. Nothing is dropped here: see [`super::admit`].

use crate::batch::Batch;
use crate::engine::Engine;
use classifier::wire::Packet;

/// How many lanes ahead a frame's first cache line is asked for.
pub(super) const AHEAD: usize = 4;

pub(crate) fn process(engine: &mut Engine, batch: &mut Batch) {
    for lane in batch.live() {
        if let Some(next) = batch.live().above(lane).nth(AHEAD - 1) {
            engine.arena.prefetch(batch.frame(next));
        }
        batch.packets[lane] = Packet::parse(engine.arena.bytes(batch.frame(lane)));
    }
}
