//! What others ask of a worker: a function that runs on its thread, between two batches, over its engine.
//!
//! This is the only way into an engine that is at work. There is no lock: each worker has a queue of errands, does at
//! most one of them a turn, and so stays in charge of its time. Whoever asks for much (all flows, say) asks
//! in portions of a bounded size, each an errand of its own; frames are judged in between.

use crate::engine::Engine;
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

    /// Does one errand, if any waits. Whether there was one.
    #[inline]
    pub(crate) fn run_one(&self, engine: &mut Engine) -> bool {
        match self.receiver.try_recv() {
            Ok(errand) => {
                errand(engine);
                true
            }
            Err(_) => false,
        }
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
