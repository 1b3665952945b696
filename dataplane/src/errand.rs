//! What others ask of a worker: a function that runs on its thread, between two batches, over its engine.
//!
//! This is the only way into an engine that is at work. There is no lock: each worker has a queue of errands, does at
//! most one of them a turn, and so stays in charge of its time. Whoever asks for much (all flows, say) asks
//! in portions of a bounded size, each an errand of its own; frames are judged in between.

use crate::engine::Engine;
use conntrack::time::Tick;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fmt;
use std::time::Duration;

/// Errands that may wait for a worker. Who comes when there are as many is told [`ErrandError::Busy`].
const WAITING: usize = 64;
/// How long the answer of a worker is waited for: it sleeps at most a tenth of a second, and is woken.
const PATIENCE: Duration = Duration::from_secs(2);

/// A function over a worker's engine. It must be short: frames wait for it.
pub(crate) type Errand = Box<dyn FnOnce(&mut Engine) + Send>;

/// Why a worker did not do an errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrandError {
    /// Too many wait for it already.
    Busy,
    /// It has stopped, or has not answered in two seconds.
    Gone,
}

impl fmt::Display for ErrandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrandError::Busy => "too many requests wait for a worker; try again",
            ErrandError::Gone => "a worker does not answer",
        })
    }
}

impl std::error::Error for ErrandError {}

/// The errands of one worker.
#[derive(Debug)]
pub(crate) struct Errands {
    sender: Sender<Errand>,
    receiver: Receiver<Errand>,
}

impl Errands {
    pub(crate) fn new() -> Errands {
        let (sender, receiver) = bounded(WAITING);
        Errands { sender, receiver }
    }

    /// Leaves an errand; its answer comes through what this returns.
    pub(crate) fn leave<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<Answer<T>, ErrandError> {
        let (sender, receiver) = bounded(1);
        let errand = Box::new(move |engine: &mut Engine| {
            // Who asked may have given up.
            let _ = sender.try_send(errand(engine));
        });
        self.sender.try_send(errand).map_err(|_| ErrandError::Busy)?;
        Ok(Answer(receiver))
    }

    /// The next errand, if any waits.
    #[inline]
    pub(crate) fn take(&self) -> Option<Errand> {
        self.receiver.try_recv().ok()
    }
}

/// How much of its time a worker gives to errands while it has frames to judge: one part in [`Ration::PART`], so that
/// whoever asks without end takes no more from the frames than that. A worker that is idle gives all of it.
#[derive(Debug, Default)]
pub(crate) struct Ration {
    /// When the next errand may be done.
    next: Tick,
}

impl Ration {
    const PART: u32 = 40;
    /// The longest pause, so that as many errands as may wait are done before whoever asks gives up.
    const LONGEST: Duration = Duration::from_millis(10);

    /// Whether a worker that is busy, or is not, may do an errand.
    #[inline]
    pub(crate) fn allows(&self, now: Tick, is_busy: bool) -> bool {
        !is_busy || now >= self.next
    }

    /// Notes that an errand took so long.
    pub(crate) fn spend(&mut self, now: Tick, took: Duration) {
        self.next = now + (took * Self::PART).min(Self::LONGEST);
    }
}

/// The answer to an errand, to come.
#[derive(Debug)]
pub struct Answer<T>(Receiver<T>);

impl<T> Answer<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`ErrandError::Gone`].
    pub fn wait(self) -> Result<T, ErrandError> {
        self.0.recv_timeout(PATIENCE).map_err(|_| ErrandError::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_worker_gives_errands_their_part_and_an_idle_one_all() {
        let mut ration = Ration::default();
        let now = Tick(1_000_000_000);
        assert!(ration.allows(now, true));
        ration.spend(now, Duration::from_micros(20));
        assert!(ration.allows(now, false));
        assert!(!ration.allows(now + Duration::from_micros(799), true));
        assert!(ration.allows(now + Duration::from_micros(800), true));
        // As many as may wait, each as long as they come, are done in time.
        ration.spend(now, Duration::from_secs(1));
        assert!(ration.allows(now + Ration::LONGEST, true));
        assert!(Ration::LONGEST * (WAITING as u32) < PATIENCE);
    }
}
