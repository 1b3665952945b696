//! Where fragments lie in their datagram: the rules on intervals, and nothing else.
//!
//! [`Extents::fit`] is a pure function of what was taken before and the newcomer.

/// Most fragments of a datagram (F09).
pub const MOST: usize = 64;
/// Bytes of the longest datagram, above its own header.
const LONGEST: u32 = 65_535;

/// Where a fragment lies in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bytes of the datagram before it: a multiple of 8.
    pub offset: u16,
    /// Its own bytes.
    pub length: u16,
    /// Whether more follow.
    pub more: bool,
}

impl Place {
    /// One past its last byte.
    #[must_use]
    pub fn end(self) -> u32 {
        u32::from(self.offset) + u32::from(self.length)
    }
}

/// How a fragment fits those that were there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It brings bytes that were missing.
    New,
    /// One with the same offset and length was there: it is dropped, and the datagram lives.
    Duplicate,
    /// It contradicts the others, or is one too many: the datagram is dead.
    Contradiction,
}

/// The fragments of a datagram that were taken.
#[derive(Clone, Copy, Debug)]
pub struct Extents {
    spans: [(u16, u16); MOST],
    count: u8,
    /// Bytes of the datagram, once its last fragment is there.
    total: Option<u32>,
    covered: u32,
    /// One past the highest byte.
    highest: u32,
}

impl Default for Extents {
    fn default() -> Self {
        Extents { spans: [(0, 0); MOST], count: 0, total: None, covered: 0, highest: 0 }
    }
}

impl Extents {
    /// How a fragment fits (F03, F04, F07, F09; RFC 5722).
    #[must_use]
    pub fn fit(&self, place: Place) -> Fit {
        let (start, end) = (u32::from(place.offset), place.end());
        if self.spans().contains(&(place.offset, place.length)) {
            return Fit::Duplicate;
        }
        let overlaps = self.spans().iter().any(|&(offset, length)| {
            let offset = u32::from(offset);
            start < offset + u32::from(length) && offset < end
        });
        let is_beyond = self.total.is_some_and(|total| end > total);
        let moves_the_end = !place.more && (self.total.is_some_and(|t| t != end) || self.highest > end);
        let is_full = self.spans().len() == MOST;
        if overlaps || is_beyond || moves_the_end || is_full || end > LONGEST {
            Fit::Contradiction
        } else {
            Fit::New
        }
    }

    /// Takes a fragment that [`Extents::fit`] calls new.
    ///
    /// # Panics
    /// Where as many as may be are there.
    pub fn take(&mut self, place: Place) {
        self.spans[usize::from(self.count)] = (place.offset, place.length);
        self.count += 1;
        self.covered += u32::from(place.length);
        self.highest = self.highest.max(place.end());
        if !place.more {
            self.total = Some(place.end());
        }
    }

    /// Whether every byte is there. As no two fragments overlap, their sum tells.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.total == Some(self.covered)
    }

    fn spans(&self) -> &[(u16, u16)] {
        &self.spans[..usize::from(self.count)]
    }
}
