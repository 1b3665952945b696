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
    for ((query, source), destination) in queries.iter().zip(sources.iter_mut()).zip(destinations.iter_mut())
    {
        *source = space.entry_index(query.source);
        *destination = space.entry_index(query.destination);
        L::prefetch(space.entries.get(*source));
        L::prefetch(space.entries.get(*destination));
    }
    for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()) {
        *source = *space.entries.get(*source);
        *destination = *space.entries.get(*destination);
        L::prefetch(space.lines.get(Space::line_index(*source)));
        L::prefetch(space.lines.get(Space::line_index(*destination)));
    }
    for ((query, source), destination) in queries.iter().zip(sources.iter_mut()).zip(destinations.iter_mut())
    {
        *source = space.state::<L, WIDE>(*source, query.source);
        *destination = space.state::<L, WIDE>(*destination, query.destination);
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
        for (at, query) in queries.iter().enumerate() {
            sources[at] = space.state(space.entries[sources[at] as usize], query.source);
            destinations[at] = space.state(space.entries[destinations[at] as usize], query.destination);
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
