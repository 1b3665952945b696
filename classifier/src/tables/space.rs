//! IPv4 address → state, on a path of one length for every address.
//!
//! ```text
//! root[65,536] by /16 ──► block: 2^(16-shift) entries ──► line: up to 16 runs, by the low 16 bits
//!                         by the bits above `shift`
//! ```
//!
//! Each /16 is cut as finely as it needs: one entry where it has few runs, more where prefixes crowd. Runs begin at the
//! low 16 bits of an address in every line, so that one compare serves lines of all widths, and entries side by side
//! share a line as long as it has room. A /16 of one state leads to a line of one run, which all such /16s share: no
//! branch hangs on the policy. `compile::space` builds.

use super::journal::Journaled;
use super::lanes::{Lanes, Sixteen};

/// Runs of addresses within a block's entry. Unused lanes start at 65,535 and repeat the last state.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// Low 16 bits of the first address of each run. The first is 0, whatever the line is for.
    pub(crate) starts: Sixteen,
    /// Low 16 bits of each run's state, by how many runs start no later: that of the last run comes first.
    pub(crate) states: Sixteen,
}

impl Line {
    /// Where the state of a run stands, in a line and in its upper bits.
    #[inline(always)]
    pub(crate) const fn slot(run: usize) -> usize {
        (run + 1) & 15
    }
}

const _: () = assert!(size_of::<Line>() == 64);

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    /// By /16: `first entry << 5 | shift`.
    pub(crate) root: Journaled<u32>,
    /// The line of each entry.
    pub(crate) entries: Journaled<u32>,
    /// Lines.
    pub(crate) lines: Journaled<Line>,
    /// The upper bits of the states of each line, where there are more than 65,536 states.
    pub(crate) upper: Option<Journaled<Sixteen>>,
}

impl Space {
    /// Bits of a shift in a root.
    pub(crate) const SHIFT_BITS: u32 = 5;

    /// The entry of an address, by its root.
    #[inline(always)]
    pub(crate) fn entry(root: u32, address: u32) -> u32 {
        (root >> Self::SHIFT_BITS) + ((address & 0xffff) >> (root & 31))
    }

    /// The state of an address whose line is known.
    #[inline(always)]
    pub(crate) fn state<L: Lanes, const WIDE: bool>(&self, line: &Line, index: u32, address: u32) -> u32 {
        let slot = L::count_at_most(&line.starts, address as u16) as usize & 15;
        let mut state = u32::from(line.states[slot]);
        if WIDE && let Some(upper) = &self.upper {
            state |= u32::from(upper.get(index)[slot]) << 16;
        }
        state
    }

    /// The state of an address.
    #[inline]
    pub(crate) fn get(&self, address: u32) -> u32 {
        let index = *self.entries.get(Self::entry(*self.root.get(address >> 16), address));
        let line = self.lines.get(index);
        if self.upper.is_some() {
            self.state::<super::lanes::portable::Portable, true>(line, index, address)
        } else {
            self.state::<super::lanes::portable::Portable, false>(line, index, address)
        }
    }

    /// Makes the contents those of `source`.
    pub(crate) fn renew(&mut self, source: &Space) {
        let Space { root, entries, lines, upper } = source;
        self.root.renew(root);
        self.entries.renew(entries);
        self.lines.renew(lines);
        match (&mut self.upper, upper) {
            (Some(own), Some(upper)) => own.renew(upper),
            (own, upper) => own.clone_from(upper),
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let upper = self.upper.as_ref().map_or(0, Journaled::bytes);
        self.root.bytes() + self.entries.bytes() + self.lines.bytes() + upper
    }
}
