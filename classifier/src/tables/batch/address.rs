//! Addresses → states, in stages.

use super::super::Tables;
use super::super::lanes::Lanes;
use super::super::space::Space;
use super::super::space_v6::SpaceV6;
use super::{Query, STAGE};

/// An address whose states can be looked up in bulk.
pub(super) trait Addressed: Copy + Default {
    /// States of sources, then of destinations.
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<Self>; STAGE], states: &mut [[u32; STAGE]; 2]);
}

impl Addressed for u32 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u32>; STAGE], states: &mut [[u32; STAGE]; 2]) {
        if tables.v4.upper.is_some() {
            v4_states::<L, true>(&tables.v4, queries, states);
        } else {
            v4_states::<L, false>(&tables.v4, queries, states);
        }
    }
}

#[inline(always)]
fn v4_states<L: Lanes, const WIDE: bool>(
    space: &Space,
    queries: &[Query<u32>; STAGE],
    states: &mut [[u32; STAGE]; 2],
) {
    let [sources, destinations] = states;
    let mut entries = [[space.entries.get(0); STAGE]; 2];
    for at in 0..STAGE {
        entries[0][at] = space.entry(queries[at].source);
        L::prefetch(entries[0][at]);
        entries[1][at] = space.entry(queries[at].destination);
        L::prefetch(entries[1][at]);
    }
    let mut lines = [[space.lines.get(0); STAGE]; 2];
    for at in 0..STAGE {
        sources[at] = *entries[0][at];
        lines[0][at] = space.lines.get(sources[at]);
        L::prefetch(lines[0][at]);
        destinations[at] = *entries[1][at];
        lines[1][at] = space.lines.get(destinations[at]);
        L::prefetch(lines[1][at]);
    }
    for at in 0..STAGE {
        sources[at] = space.state::<L, WIDE>(lines[0][at], sources[at], queries[at].source);
        destinations[at] = space.state::<L, WIDE>(lines[1][at], destinations[at], queries[at].destination);
    }
}

impl Addressed for u128 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u128>; STAGE], states: &mut [[u32; STAGE]; 2]) {
        let space = &*tables.v6;
        let [sources, destinations] = states;
        (*sources, *destinations) = ([0; STAGE], [0; STAGE]);
        for level in 0..space.levels.len() {
            let (nodes, last) = space.level(level);
            let below = space.levels.get(level + 1);
            for (at, query) in queries.iter().enumerate() {
                let (source, destination) = ((query.source >> 64) as u64, (query.destination >> 64) as u64);
                sources[at] = SpaceV6::descend::<L>(nodes, last, sources[at], source);
                destinations[at] = SpaceV6::descend::<L>(nodes, last, destinations[at], destination);
                match below {
                    Some(below) => {
                        L::prefetch(&below[sources[at] as usize]);
                        L::prefetch(&below[destinations[at] as usize]);
                    }
                    None => {
                        L::prefetch(&space.entries[sources[at] as usize]);
                        L::prefetch(&space.entries[destinations[at] as usize]);
                    }
                }
            }
        }
        // Which addresses lie in split upper halves hangs on the packet: they are gathered without a branch.
        let mut split = [0u8; 2 * STAGE];
        let mut splits = 0;
        for (side, states) in [sources, destinations].into_iter().enumerate() {
            for (at, state) in states.iter_mut().enumerate() {
                *state = space.entries[*state as usize];
                split[splits & (2 * STAGE - 1)] = (side * STAGE + at) as u8;
                splits += usize::from(*state & SpaceV6::SPLIT != 0);
            }
        }
        let split = &split[..splits];
        let lane = |at: &u8| ((usize::from(*at) / STAGE) & 1, usize::from(*at) % STAGE);
        for (side, at) in split.iter().map(lane) {
            L::prefetch(space.span(states[side][at]));
        }
        for (side, at) in split.iter().map(lane) {
            L::prefetch(&space.starts[space.span(states[side][at]).0 as usize]);
        }
        for (side, at) in split.iter().map(lane) {
            let address = if side == 0 { queries[at].source } else { queries[at].destination };
            states[side][at] = space.state(states[side][at], address);
        }
        if let Some(changes) = &tables.v6_changes {
            v6_changes(changes, queries, states);
        }
    }
}

/// Puts the states in that have changed since the table was built.
#[cold]
fn v6_changes(changes: &SpaceV6, queries: &[Query<u128>; STAGE], states: &mut [[u32; STAGE]; 2]) {
    let [sources, destinations] = states;
    for (at, query) in queries.iter().enumerate() {
        for (state, address) in [(&mut sources[at], query.source), (&mut destinations[at], query.destination)]
        {
            let changed = changes.get(address);
            if changed != SpaceV6::UNCHANGED {
                *state = changed;
            }
        }
    }
}
