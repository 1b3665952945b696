//! Addresses → states, in stages.

use super::super::Tables;
use super::super::lanes::Lanes;
use super::super::space::Space;
use super::super::space_v6::SpaceV6;
use super::{Query, STAGE, to_numbers};

/// An address whose states can be looked up in bulk.
pub(super) trait Addressed: Copy + Default {
    /// States of sources, then of destinations.
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<Self>; STAGE], states: &mut [[u32; STAGE]; 2]);

    /// The numbers of the states of sources, then of destinations, where states as such are of no use.
    #[inline(always)]
    fn numbers<L: Lanes>(
        tables: &Tables,
        numbers_of: [&[u16]; 2],
        queries: &[Query<Self>; STAGE],
        numbers: &mut [[u32; STAGE]; 2],
    ) {
        Self::states::<L>(tables, queries, numbers);
        to_numbers(numbers_of, numbers);
    }
}

impl Addressed for u32 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u32>; STAGE], states: &mut [[u32; STAGE]; 2]) {
        if tables.v4.upper.is_some() {
            v4_states::<L, true>(&tables.v4, queries, states, |_, state| state);
        } else {
            v4_states::<L, false>(&tables.v4, queries, states, |_, state| state);
        }
    }

    #[inline(always)]
    fn numbers<L: Lanes>(
        tables: &Tables,
        numbers_of: [&[u16]; 2],
        queries: &[Query<u32>; STAGE],
        numbers: &mut [[u32; STAGE]; 2],
    ) {
        let number = |side: usize, state: u32| u32::from(numbers_of[side][state as usize]);
        if tables.v4.upper.is_some() {
            v4_states::<L, true>(&tables.v4, queries, numbers, number);
        } else {
            v4_states::<L, false>(&tables.v4, queries, numbers, number);
        }
    }
}

/// The states of IPv4 addresses, and what is made of each, by its side.
#[inline(always)]
fn v4_states<L: Lanes, const WIDE: bool>(
    space: &Space,
    queries: &[Query<u32>; STAGE],
    states: &mut [[u32; STAGE]; 2],
    made: impl Fn(usize, u32) -> u32,
) {
    let (entries, lines) = (space.entries.all(), space.lines.all());
    let root: &[u32; 1 << 16] = space.root.all().try_into().expect("a root for each /16");
    let mut entry_of = [[&entries[0]; STAGE]; 2];
    for (at, query) in queries.iter().enumerate() {
        for (side, address) in [query.source, query.destination].into_iter().enumerate() {
            entry_of[side][at] = &entries[Space::entry(root[(address >> 16) as usize], address) as usize];
            L::prefetch(entry_of[side][at]);
        }
    }
    let mut line_of = [[&lines[0]; STAGE]; 2];
    for at in 0..STAGE {
        for side in 0..2 {
            let entry = *entry_of[side][at];
            if WIDE {
                states[side][at] = entry;
            }
            line_of[side][at] = &lines[entry as usize];
            L::prefetch(line_of[side][at]);
        }
    }
    for (at, query) in queries.iter().enumerate() {
        for (side, address) in [query.source, query.destination].into_iter().enumerate() {
            let state = space.state::<L, WIDE>(line_of[side][at], states[side][at], address);
            states[side][at] = made(side, state);
        }
    }
}

impl Addressed for u128 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u128>; STAGE], states: &mut [[u32; STAGE]; 2]) {
        let space = &*tables.v6;
        let upper = |at: usize| [queries[at].source, queries[at].destination].map(|half| (half >> 64) as u64);
        let mut slots = [[&space.slots[0]; STAGE]; 2];
        for (at, query) in queries.iter().enumerate() {
            for (side, address) in [query.source, query.destination].into_iter().enumerate() {
                slots[side][at] = space.slot((address >> 64) as u64);
                L::prefetch(slots[side][at]);
            }
        }
        let mut keys = [[0; STAGE]; 2];
        let mut entries = [[&space.entries[0]; STAGE]; 2];
        for at in 0..STAGE {
            for (side, half) in upper(at).into_iter().enumerate() {
                keys[side][at] = slots[side][at].key(half);
                entries[side][at] = space.entry(slots[side][at], keys[side][at]);
                L::prefetch(entries[side][at]);
            }
        }
        for _ in 0..space.deep {
            deeper::<L>(space, queries, &mut keys, &mut entries);
        }
        let mut lines = [[&space.lines[0]; STAGE]; 2];
        let mut behind = [0; 2];
        for at in 0..STAGE {
            for side in 0..2 {
                let entry = *entries[side][at];
                behind[side] |= (entry / SpaceV6::BEHIND) << at;
                lines[side][at] = space.line(entry);
                L::prefetch(lines[side][at]);
            }
        }
        // Few, or `deep` were higher.
        for side in 0..2 {
            while behind[side] != 0 {
                let at = behind[side].trailing_zeros() as usize & (STAGE - 1);
                behind[side] &= behind[side] - 1;
                let (key, line) = space.behind(*entries[side][at], 0, upper(at)[side]);
                (keys[side][at], lines[side][at]) = (key, space.line(line));
            }
        }
        // Whose lower half is looked at hangs on the packet: these are gathered without a branch.
        let mut split = [0u8; 2 * STAGE];
        let mut splits = 0;
        for side in 0..2 {
            for at in 0..STAGE {
                let state = lines[side][at].state::<L>(keys[side][at]);
                states[side][at] = state;
                split[splits & (2 * STAGE - 1)] = (side * STAGE + at) as u8;
                splits += (state / SpaceV6::BEHIND) as usize;
            }
        }
        lower_halves::<L>(space, queries, &split[..splits], states);
        if let Some(changes) = &tables.v6_changes {
            v6_changes(changes, queries, states);
        }
    }
}

/// Goes on where entries lead to records, and stays where they lead to lines.
#[inline(never)]
fn deeper<'a, L: Lanes>(
    space: &'a SpaceV6,
    queries: &[Query<u128>; STAGE],
    keys: &mut [[u32; STAGE]; 2],
    entries: &mut [[&'a u32; STAGE]; 2],
) {
    for entry in entries.iter().flatten().filter(|entry| ***entry & SpaceV6::BEHIND != 0) {
        L::prefetch(space.record(**entry));
    }
    for (at, query) in queries.iter().enumerate() {
        for (side, address) in [query.source, query.destination].into_iter().enumerate() {
            if *entries[side][at] & SpaceV6::BEHIND != 0 {
                let record = space.record(*entries[side][at]);
                keys[side][at] = record.key((address >> 64) as u64);
                entries[side][at] = space.entry(record, keys[side][at]);
                L::prefetch(entries[side][at]);
            }
        }
    }
}

/// Looks the lower halves up of the lanes in a list: side and lane of each.
#[inline(always)]
fn lower_halves<L: Lanes>(
    space: &SpaceV6,
    queries: &[Query<u128>; STAGE],
    split: &[u8],
    states: &mut [[u32; STAGE]; 2],
) {
    let Some(any) = space.records.first() else { return };
    let lane = |at: u8| ((usize::from(at) / STAGE) & 1, usize::from(at) % STAGE);
    let mut records = [any; 2 * STAGE];
    for (at, record) in split.iter().zip(&mut records) {
        let (side, at) = lane(*at);
        *record = space.record(states[side][at]);
        L::prefetch(*record);
    }
    let mut keys = [0; 2 * STAGE];
    let mut entries = [&any.first; 2 * STAGE];
    for (((at, record), key), entry) in split.iter().zip(&records).zip(&mut keys).zip(&mut entries) {
        let (side, at) = lane(*at);
        *key = record.key([queries[at].source, queries[at].destination][side] as u64);
        *entry = space.lower_entry(record, *key);
        L::prefetch(*entry);
    }
    let mut lines = [&space.lines[0]; 2 * STAGE];
    for (((at, entry), key), line) in split.iter().zip(&entries).zip(&mut keys).zip(&mut lines) {
        let mut entry = **entry;
        if entry & SpaceV6::BEHIND != 0 {
            let (side, at) = lane(*at);
            let half = [queries[at].source, queries[at].destination][side] as u64;
            (*key, entry) = space.behind(entry, *key, half);
        }
        *line = space.line(entry);
        L::prefetch(*line);
    }
    for ((at, line), key) in split.iter().zip(&lines).zip(&keys) {
        let (side, at) = lane(*at);
        states[side][at] = line.state::<L>(*key);
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
