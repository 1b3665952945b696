//! What a worker counts. One writer each; the books balance at any time between two batches:
//! `received = forwarded + local + dropped + waiting`, where a frame that was forwarded by one worker and found no room at
//! another, which serves the port, is taken back from the former in the sum ([`Counters::undone`]).

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
    /// Frames that were passed on to the worker that owns their flows, which counts them as received.
    pub handed: u64,
    /// Frames dropped as `tx-full`, and counted there, because the way to another worker was full.
    pub handed_lost: u64,
    /// Frames that another worker has counted as forwarded, and that found no room here: dropped as `tx-full`.
    pub undone: u64,
    /// Words of neighbors that another worker had no room for; it asks for itself.
    pub news_lost: u64,
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
            handed: 0,
            handed_lost: 0,
            undone: 0,
            news_lost: 0,
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
            (&mut self.express, other.express),
            (&mut self.local, other.local),
            (&mut self.waiting, other.waiting),
            (&mut self.answers, other.answers),
            (&mut self.answers_suppressed, other.answers_suppressed),
            (&mut self.copies, other.copies),
            (&mut self.copies_lost, other.copies_lost),
            (&mut self.flows, other.flows),
            (&mut self.batches, other.batches),
            (&mut self.handed, other.handed),
            (&mut self.handed_lost, other.handed_lost),
            (&mut self.undone, other.undone),
            (&mut self.news_lost, other.news_lost),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        for (sum, more) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum += more;
        }
        // Who counted a frame as forwarded may be among them now.
        let undone = self.undone.min(self.forwarded);
        self.undone -= undone;
        self.forwarded -= undone;
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
        self.received + self.undone == self.forwarded + self.local + self.dropped_total() + self.waiting
    }
}
