//! Several captures as one stream of frames, ordered by time.

use super::Capture;
use classifier::addr::PortId;
use conntrack::time::Tick;

/// Captures, and the order in which their records come.
#[derive(Debug)]
pub struct Merge {
    captures: Vec<(PortId, Capture)>,
    /// (capture, record) in the order of time.
    order: Vec<(u32, u32)>,
}

/// Orders the records of all captures by time stamp: ties come in the order of the captures, and within a
/// capture in the order of its file.
///
/// # Panics
/// Where a capture has more than 2^32 records; its file would have more than 64 GB.
#[must_use]
pub fn merge(captures: Vec<(PortId, Capture)>) -> Merge {
    let mut order = Vec::with_capacity(captures.iter().map(|(_, c)| c.len()).sum());
    for (input, (_, capture)) in captures.iter().enumerate() {
        let input = u32::try_from(input).expect("there are few captures");
        let records = u32::try_from(capture.len()).expect("a capture has fewer than 2^32 records");
        order.extend((0..records).map(|record| (input, record)));
    }
    // A stable sort keeps the order of inputs and files among equals.
    order
        .sort_by_key(|&(input, record)| captures[input as usize].1.contents.spans[record as usize].timestamp);
    Merge { captures, order }
}

impl Merge {
    /// The frames: port, time, bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (PortId, Tick, &[u8])> {
        (0..self.order.len()).map(|index| self.frame(index))
    }

    /// The frame of that number in the order of time, the first being 0.
    ///
    /// # Panics
    /// Where there are not so many frames.
    #[must_use]
    pub fn frame(&self, index: usize) -> (PortId, Tick, &[u8]) {
        let (input, record) = self.order[index];
        let (port, capture) = &self.captures[input as usize];
        let record = capture.at(&capture.contents.spans[record as usize]);
        (*port, record.timestamp, record.data)
    }

    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The captures, in the order that they were given in.
    #[must_use]
    pub fn captures(&self) -> &[(PortId, Capture)] {
        &self.captures
    }
}
