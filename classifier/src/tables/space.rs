//! IPv4 address → state, on a path of one length for every address.
//!
//! ```text
//! root[65,536] by /16 ──► block: 2^(16-shift) entries ──► uniform: the state
//!                         by the bits above `shift`   └─► line: up to 16 runs, by the low 16 bits
//! ```
//!
//! Each /16 is cut as finely as it needs: one entry where it has few runs, one per /24 where it has more,
//! finer where hosts crowd. Runs begin at the low 16 bits of an address in every line, so that one compare
//! serves lines of all widths. Where an entry is uniform the first line is read all the same and its answer
//! not taken: no branch hangs on the policy. `compile::space` builds.

use super::lanes::{Lanes, Sixteen};
use super::shards::Shards;

/// Runs of addresses within a block's entry. Unused lanes start at 65,535 and repeat the last state.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// Low 16 bits of the first address of each run. The first is 0, whatever the line is for.
    pub(crate) starts: Sixteen,
    /// Low 16 bits of each run's state.
    pub(crate) states: Sixteen,
}

const _: () = assert!(size_of::<Line>() == 64);

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// By /16: `first entry << 5 | shift`.
    pub(crate) root: Shards<u32, 4096>,
    /// A line, or [`Space::UNIFORM`] with a state.
    pub(crate) entries: Shards<u32, 4096>,
    /// Lines.
    pub(crate) lines: Shards<Line, 512>,
    /// The upper bits of the states of each line, where there are more than 65,536 states.
    pub(crate) upper: Option<Shards<Sixteen, 512>>,
}

impl Space {
    /// The bit of an entry that is the state itself.
    pub(crate) const UNIFORM: u32 = 1 << 31;
    /// Bits of a shift in a root.
    pub(crate) const SHIFT_BITS: u32 = 5;
    /// The index in `entries` for an address.
    #[inline(always)]
    pub(crate) fn entry_index(&self, address: u32) -> u32 {
        let root = *self.root.get(address >> 16);
        (root >> Self::SHIFT_BITS) + ((address & 0xffff) >> (root & 31))
    }

    /// The line that an entry leads to: its own, or the first where it is uniform.
    #[inline(always)]
    pub(crate) fn line_index(entry: u32) -> u32 {
        if entry & Self::UNIFORM == 0 { entry } else { 0 }
    }

    /// The state of an address whose entry is known.
    #[inline(always)]
    pub(crate) fn state<L: Lanes, const WIDE: bool>(&self, entry: u32, address: u32) -> u32 {
        let index = Self::line_index(entry);
        let line = self.lines.get(index);
        let run = (L::at_most(&line.starts, address as u16).count_ones() as usize).wrapping_sub(1) & 15;
        let mut state = u32::from(line.states[run]);
        if WIDE && let Some(upper) = &self.upper {
            state |= u32::from(upper.get(index)[run]) << 16;
        }
        if entry & Self::UNIFORM == 0 { state } else { entry & !Self::UNIFORM }
    }

    /// The state of an address.
    #[inline]
    pub(crate) fn get(&self, address: u32) -> u32 {
        let entry = *self.entries.get(self.entry_index(address));
        if self.upper.is_some() {
            self.state::<super::lanes::portable::Portable, true>(entry, address)
        } else {
            self.state::<super::lanes::portable::Portable, false>(entry, address)
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let upper = self.upper.as_ref().map_or(0, Shards::bytes);
        self.root.bytes() + self.entries.bytes() + self.lines.bytes() + upper
    }
}
