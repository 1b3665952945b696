//! Where the time of a batch goes. The engine reads no clock: it says when a part of its work is done, and whoever
//! measures reads one then. A few times a batch, so that measuring costs a packet next to nothing.

/// A part of the engine's work on a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Taking ordinary frames apart, checksums and hashes included.
    Parse,
    /// Finding their flows.
    LookUp,
    /// Holding them against their flows, and moving these; rewriting and queueing them.
    Track,
    /// All of it for the frames that go the whole way.
    Slow,
    /// Counting, and giving back what did not leave.
    Settle,
}

impl Part {
    /// All, in the order of their numbers.
    pub const ALL: [Part; 5] = [Part::Parse, Part::LookUp, Part::Track, Part::Slow, Part::Settle];

    /// The name that a report has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Part::Parse => "parse",
            Part::LookUp => "lookup",
            Part::Track => "track",
            Part::Slow => "slow",
            Part::Settle => "settle",
        }
    }
}

/// Whoever measures.
pub trait Meter {
    /// What was done since the last call, or since the batch began, was this part.
    fn done(&mut self, part: Part);
}

/// Nobody measures.
impl Meter for () {
    #[inline]
    fn done(&mut self, _part: Part) {}
}
