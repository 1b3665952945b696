//! IPv6 address → state, on a path of one length for nearly every address.
//!
//! ```text
//! slots: up to 65,536 ──► entries of the slot ──► line: up to 8 runs, by the upper half
//! by the upper half       └─► (few) record ──► entries of the record ──► line
//!
//! line ──► state
//!      └─► record of one upper half ──► [entries ──►] line: runs by the lower half
//! ```
//!
//! What all prefixes have in common is taken off, once for the slots and once again within each: a record measures from
//! its first run, in units as coarse as its runs allow. So the entries of a record stand close where prefixes do,
//! and the 32 bits of a start suffice. Where they do not, or prefixes crowd more than a record has entries for, an entry leads to a
//! record of its own. Only where the policy names parts of a /64 is the lower half looked at. `compile::space_v6`
//! builds.

use super::lanes::{Eight, Lanes};

/// Runs of keys within an entry. Unused lanes start at the highest number and repeat the last state.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// The first key of each run, as its record measures. The first is 0, whatever the line is for.
    pub(crate) starts: Eight,
    /// State of each run, or [`SpaceV6::BEHIND`] with the record of an upper half.
    pub(crate) states: Eight,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    /// Most runs of a line.
    pub(crate) const RUNS: usize = 8;

    /// The state of a key.
    #[inline(always)]
    pub(crate) fn state<L: Lanes>(&self, key: u32) -> u32 {
        self.states[(L::count_at_most_32(&self.starts, key) as usize).wrapping_sub(1) & 7]
    }
}

/// How the halves of addresses that lead here are measured, and where their entries are.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(crate) struct Record {
    /// What the keys are counted from. All halves below have key 0.
    pub(crate) base: u64,
    /// The first entry; of a record of a lower half with one entry, its line.
    pub(crate) first: u32,
    /// The last entry, from the first.
    pub(crate) last: u16,
    /// The unit of a key is 2 to this power.
    pub(crate) low: u8,
    /// Keys of one entry: 2 to this power.
    pub(crate) shift: u8,
}

const _: () = assert!(size_of::<Record>() == 16);

impl Record {
    /// The key of a half of an address. What is too far for 32 bits is behind all runs.
    #[inline(always)]
    pub(crate) fn key(&self, half: u64) -> u32 {
        let units = half.saturating_sub(self.base) >> (self.low & 63);
        units.min(u64::from(u32::MAX)) as u32
    }

    /// The entry of a key, from the first.
    #[inline(always)]
    pub(crate) fn offset(&self, key: u32) -> u32 {
        (key >> (self.shift & 31)).min(u32::from(self.last))
    }
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct SpaceV6 {
    /// What the slots are counted from.
    pub(crate) base: u64,
    /// Upper halves of one slot: 2 to this power.
    pub(crate) shift: u32,
    /// By upper half.
    pub(crate) slots: Vec<Record>,
    /// The line of each entry, or [`SpaceV6::BEHIND`] with a record.
    pub(crate) entries: Vec<u32>,
    /// Lines.
    pub(crate) lines: Vec<Line>,
    /// Records behind entries, and of lower halves.
    pub(crate) records: Vec<Record>,
    /// How many records behind each other so many addresses meet that all are taken there at once.
    pub(crate) deep: usize,
}

impl SpaceV6 {
    /// The bit of an entry or state that leads to a record.
    pub(crate) const BEHIND: u32 = 1 << 31;

    /// Among changes: the state is that of the table before them.
    pub(crate) const UNCHANGED: u32 = Self::BEHIND - 1;

    /// The slot of an upper half.
    #[inline(always)]
    pub(crate) fn slot(&self, upper: u64) -> &Record {
        let at = (upper.saturating_sub(self.base) >> (self.shift & 63)) as usize;
        &self.slots[at.min(self.slots.len() - 1)]
    }

    /// The entry of a key.
    #[inline(always)]
    pub(crate) fn entry(&self, record: &Record, key: u32) -> &u32 {
        &self.entries[(record.first + record.offset(key)) as usize]
    }

    /// The entry of a key in a record of a lower half.
    #[inline(always)]
    pub(crate) fn lower_entry<'a>(&'a self, record: &'a Record, key: u32) -> &'a u32 {
        if record.last == 0 { &record.first } else { self.entry(record, key) }
    }

    /// The record behind an entry or state.
    #[inline(always)]
    pub(crate) fn record(&self, behind: u32) -> &Record {
        &self.records[(behind & !Self::BEHIND) as usize]
    }

    /// The line of an entry; one or the other where it leads to a record.
    #[inline(always)]
    pub(crate) fn line(&self, entry: u32) -> &Line {
        &self.lines[(entry as usize).min(self.lines.len() - 1)]
    }

    /// The key and the line of half an address whose entry is known, through as many records as there are.
    pub(crate) fn behind(&self, mut entry: u32, mut key: u32, half: u64) -> (u32, u32) {
        while entry & Self::BEHIND != 0 {
            let record = self.record(entry);
            key = record.key(half);
            entry = *self.entry(record, key);
        }
        (key, entry)
    }

    /// The state of an address.
    pub(crate) fn get(&self, address: u128) -> u32 {
        use super::lanes::portable::Portable;
        let (upper, lower) = ((address >> 64) as u64, address as u64);
        let slot = self.slot(upper);
        let key = slot.key(upper);
        let (key, line) = self.behind(*self.entry(slot, key), key, upper);
        let state = self.line(line).state::<Portable>(key);
        if state & Self::BEHIND == 0 {
            return state;
        }
        let record = self.record(state);
        let key = record.key(lower);
        let (key, line) = self.behind(*self.lower_entry(record, key), key, lower);
        self.line(line).state::<Portable>(key)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        (self.slots.len() + self.records.len()) * size_of::<Record>()
            + self.entries.len() * 4
            + self.lines.len() * size_of::<Line>()
    }
}
