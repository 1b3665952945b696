//! IPv6 address → state: a static tree over the upper halves of addresses, eight ways a level.
//!
//! ```text
//! node: eight keys, one cache line ──► … ──► leaf: eight keys ──► entry: the state
//!                                                             └─► runs by the lower half, of this upper half alone
//! ```
//!
//! All addresses take as many levels, so a batch goes down level by level. Only where the policy names parts of a
//! /64 is there a search by the lower half behind. `compile::space_v6` builds.

use super::lanes::{Eight, Lanes};

/// Eight upper halves, sorted; the first keys of what is below. Unused ones are the highest.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Node(pub(crate) Eight);

const _: () = assert!(size_of::<Node>() == 64);

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct SpaceV6 {
    /// From the root to the leaves.
    pub(crate) levels: Vec<Vec<Node>>,
    /// By key of a leaf: the state, or [`SpaceV6::SPLIT`] with an index in `splits`.
    pub(crate) entries: Vec<u32>,
    /// Where the runs of an upper half are.
    pub(crate) splits: Vec<(u32, u32)>,
    /// Lower half of the first address of each run; the first of a split is 0.
    pub(crate) starts: Vec<u64>,
    /// State of each run.
    pub(crate) states: Vec<u32>,
}

impl SpaceV6 {
    /// The bit of an entry that leads to a split.
    pub(crate) const SPLIT: u32 = 1 << 31;

    /// Among changes: the state is that of the table before them.
    pub(crate) const UNCHANGED: u32 = Self::SPLIT - 1;

    /// The nodes of a level, and the last index of what is below.
    #[inline(always)]
    pub(crate) fn level(&self, level: usize) -> (&[Node], u32) {
        let below = self.levels.get(level + 1).map_or(self.entries.len(), Vec::len);
        (&self.levels[level], below as u32 - 1)
    }

    /// The key below a node that the address goes by. The highest upper half is as high as the unused keys of the
    /// last node, so `last` is as far as it goes.
    #[inline(always)]
    pub(crate) fn descend<L: Lanes>(nodes: &[Node], last: u32, at: u32, upper: u64) -> u32 {
        let below = L::at_most_64(&nodes[at as usize].0, upper).count_ones();
        (at * 8 + below.wrapping_sub(1)).min(last)
    }

    /// The state of an address whose entry is known.
    #[inline(always)]
    pub(crate) fn state(&self, entry: u32, address: u128) -> u32 {
        if entry & Self::SPLIT == 0 { entry } else { self.in_split(entry, address as u64) }
    }

    /// Where the runs of an upper half are, by its entry.
    #[inline(always)]
    pub(crate) fn span(&self, entry: u32) -> &(u32, u32) {
        &self.splits[(entry & !Self::SPLIT) as usize]
    }

    fn in_split(&self, entry: u32, lower: u64) -> u32 {
        let (first, end) = *self.span(entry);
        let starts = &self.starts[first as usize..end as usize];
        self.states[first as usize + starts.partition_point(|start| *start <= lower) - 1]
    }

    /// The state of an address.
    pub(crate) fn get(&self, address: u128) -> u32 {
        let mut at = 0;
        for level in 0..self.levels.len() {
            let (nodes, last) = self.level(level);
            at = Self::descend::<super::lanes::portable::Portable>(nodes, last, at, (address >> 64) as u64);
        }
        self.state(self.entries[at as usize], address)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let nodes: usize = self.levels.iter().map(|nodes| nodes.len() * size_of::<Node>()).sum();
        nodes + self.entries.len() * 4 + self.splits.len() * 8 + self.starts.len() * 12
    }
}
