//! Takes each frame apart. Nothing is dropped here: see [`super::admit`].

use crate::batch::Batch;
use crate::engine::Engine;
use classifier::wire::Packet;

/// How many lanes ahead a frame's first cache line is asked for.
const AHEAD: usize = 4;

pub(crate) fn process(engine: &mut Engine, batch: &mut Batch) {
    for lane in 0..batch.len() {
        if lane + AHEAD < batch.len() {
            engine.arena.prefetch(batch.frame(lane + AHEAD));
        }
        batch.packets[lane] = Packet::parse(engine.arena.bytes(batch.frame(lane)));
    }
}
