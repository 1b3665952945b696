//! IPv4 address → value, in two levels where the policy is sparse and three where it is dense.
//!
//! ```text
//! root[65,536] by /16 ──► leaf: the value
//!                    ├──► line: up to 16 runs within the /16
//!                    └──► dense[256] by /24 ──► leaf
//!                                          ├──► line: up to 16 runs within the /24
//!                                          └──► dense[256] by address ──► leaf
//! ```
//!
//! The builder is `compile::v4`. Every address has a value; what a value means is the caller's business.

/// What an entry of the root or of a dense table is: the two top bits.
pub(crate) mod entry {
    /// The value itself.
    pub(crate) const LEAF: u32 = 0;
    /// The index of a line.
    pub(crate) const LINE: u32 = 1;
    /// The index of a dense table.
    pub(crate) const DENSE: u32 = 2;
    /// How far the kind is shifted.
    pub(crate) const SHIFT: u32 = 30;
    /// The value or index.
    pub(crate) const PAYLOAD: u32 = (1 << SHIFT) - 1;
}

/// Runs of addresses of one value. Unused places repeat the last run, from 65,535 on.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Line {
    /// First address of each run, relative to the span of the line; the first is 0.
    pub(crate) starts: [u16; Line::RUNS],
    /// Value of each run.
    pub(crate) values: [u32; Line::RUNS],
}

impl Line {
    /// Most runs of a line: 16 starts are one 32-byte vector.
    pub(crate) const RUNS: usize = 16;

    #[inline]
    fn get(&self, low: u16) -> u32 {
        // A sum of compares: no branch, and two vector instructions.
        let at: u16 = self.starts.iter().map(|start| u16::from(*start <= low)).sum();
        self.values[usize::from(at - 1) % Line::RUNS]
    }
}

const _: () = assert!(size_of::<Line>() == 96);

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct V4Table {
    /// By the upper 16 bits.
    pub(crate) root: Box<[u32]>,
    /// By the next 8 bits, whichever these are.
    pub(crate) dense: Vec<[u32; 256]>,
    /// Sparse spans.
    pub(crate) lines: Vec<Line>,
}

impl V4Table {
    /// The value of the address.
    #[inline]
    pub(crate) fn get(&self, address: u32) -> u32 {
        let found = self.root[(address >> 16) as usize];
        match found >> entry::SHIFT {
            entry::LEAF => found,
            entry::LINE => self.lines[(found & entry::PAYLOAD) as usize].get(address as u16),
            _ => self.get_dense(found, address),
        }
    }

    #[inline]
    fn get_dense(&self, found: u32, address: u32) -> u32 {
        let by_24 = (address >> 8) as usize & 0xff;
        let found = self.dense[(found & entry::PAYLOAD) as usize][by_24];
        match found >> entry::SHIFT {
            entry::LEAF => found,
            entry::LINE => self.lines[(found & entry::PAYLOAD) as usize].get(address as u16 & 0xff),
            _ => self.dense[(found & entry::PAYLOAD) as usize][address as usize & 0xff],
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.root.len() * 4 + self.dense.len() * 1024 + self.lines.len() * size_of::<Line>()
    }
}
