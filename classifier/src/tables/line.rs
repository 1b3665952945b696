//! Sorted boundaries → value: the ports of a cell.
//!
//! A cell's line has one key for protocol and destination port, `protocol << 16 | port`, so that one search
//! answers for all protocols. Where the answer hangs on the source port too, the value names a line of a
//! second table, keyed by source port.

/// Lines, one behind the other. Unused places of a line repeat its last value, from [`u32::MAX`] on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// Where each line is.
    pub(crate) spans: Vec<Span>,
    /// Lowest key of each run; the first of a line is 0.
    pub(crate) starts: Vec<u32>,
    /// Value of each run.
    pub(crate) values: Vec<u32>,
}

/// Where a line is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Index of its first run.
    pub(crate) first: u32,
    /// How many places it has: a multiple of [`Lines::STEP`].
    pub(crate) len: u32,
}

impl Lines {
    /// Places come in eights: 32 bytes, one vector.
    pub(crate) const STEP: usize = 8;
    /// Up to here counting all compares beats a search: it has no branch to mispredict.
    const COUNTED: u32 = 32;

    /// The value that the line has for the key.
    #[inline]
    pub(crate) fn get(&self, line: u32, key: u32) -> u32 {
        let Span { first, len } = self.spans[line as usize];
        let (from, to) = (first as usize, (first + len) as usize);
        let starts = &self.starts[from..to];
        let at = if len <= Self::COUNTED {
            starts.iter().map(|start| u32::from(*start <= key)).sum::<u32>() as usize
        } else {
            starts.partition_point(|start| *start <= key)
        };
        self.values[from + at - 1]
    }

    /// Appends a line, of which these are start and value of each run, in turns; its number.
    pub(crate) fn push(&mut self, line: &[u32]) -> u32 {
        let first = self.starts.len();
        self.starts.extend(line.iter().step_by(2));
        self.values.extend(line.iter().skip(1).step_by(2));
        if line.is_empty() {
            self.starts.push(0);
            self.values.push(0);
        }
        let len = (self.starts.len() - first).next_multiple_of(Lines::STEP);
        let last = self.values[self.values.len() - 1];
        self.starts.resize(first + len, u32::MAX);
        self.values.resize(first + len, last);
        self.spans.push(Span { first: first as u32, len: len as u32 });
        self.spans.len() as u32 - 1
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.spans.len() * size_of::<Span>() + self.starts.len() * 8
    }
}

/// The key of a packet in a cell's line.
#[inline]
pub(crate) const fn service_key(protocol: u8, destination_port: u16) -> u32 {
    (protocol as u32) << 16 | destination_port as u32
}
