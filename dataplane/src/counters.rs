//! What a worker counts. One writer each; the books balance at any time between two batches:
//! `received = forwarded + local + dropped + waiting`.

use classifier::reason::DropReason;

/// The counters of one worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Frames taken from ports.
    pub received: u64,
    /// Frames that went on their way (a flooded frame counts once).
    pub forwarded: u64,
    /// Frames that took the short way of ordinary packets, and are among those.
    pub express: u64,
    /// Frames to the gateway itself: answered or noted.
    pub local: u64,
    /// Frames dropped or rejected, by [`DropReason::index`].
    pub dropped: [u64; DropReason::COUNT],
    /// Frames that wait for a neighbor's MAC.
    pub waiting: u64,
    /// Frames that the gateway made itself and sent: ARP, ND, ICMP, RST.
    pub answers: u64,
    /// Answers that were due, but not made: over the rate limit, or no frame was free.
    pub answers_suppressed: u64,
    /// Copies of flooded frames that were sent beside the first.
    pub copies: u64,
    /// Copies of flooded frames that found no room.
    pub copies_lost: u64,
    /// New flows.
    pub flows: u64,
    /// Batches.
    pub batches: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            received: 0,
            forwarded: 0,
            express: 0,
            local: 0,
            dropped: [0; DropReason::COUNT],
            waiting: 0,
            answers: 0,
            answers_suppressed: 0,
            copies: 0,
            copies_lost: 0,
            flows: 0,
            batches: 0,
        }
    }
}

impl Counters {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Counters) -> Counters {
        let pairs = [
            (&mut self.received, other.received),
            (&mut self.forwarded, other.forwarded),
            (&mut self.local, other.local),
            (&mut self.waiting, other.waiting),
            (&mut self.answers, other.answers),
            (&mut self.answers_suppressed, other.answers_suppressed),
            (&mut self.copies, other.copies),
            (&mut self.copies_lost, other.copies_lost),
            (&mut self.flows, other.flows),
            (&mut self.batches, other.batches),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        for (sum, more) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum += more;
        }
        self
    }

    /// All frames that were dropped or rejected.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Counts a drop.
    #[inline]
    pub fn drop(&mut self, reason: DropReason) {
        self.dropped[reason.index()] += 1;
    }

    /// Whether every frame that was received is accounted for.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.received == self.forwarded + self.local + self.dropped_total() + self.waiting
    }
}
