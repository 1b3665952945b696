//! What the control side shares with its workers: the clock, the generation to be in force, errands, and how to wake
//! who sleeps.

use crate::engine::Engine;
use crate::errand::{Answer, Errand, ErrandError, Errands};
use crate::generation::Generation;
use arc_swap::{ArcSwap, Guard};
use conntrack::time::Tick;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Monotonic time since a worker's start, offset so that it is never zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Tick {
        const ORIGIN: Duration = Duration::from_secs(1000);
        Tick(u64::try_from((self.start.elapsed() + ORIGIN).as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What the control side shares with its workers.
#[derive(Debug)]
pub struct Control {
    generation: ArcSwap<Generation>,
    stop: AtomicBool,
    wakers: Vec<OwnedFd>,
    errands: Vec<Errands>,
    /// The epoch that each worker has in force.
    installed: Vec<AtomicU32>,
}

impl Control {
    /// Control over `workers` workers that begin with `generation`.
    ///
    /// # Errors
    /// Where the system has no event descriptor left.
    pub fn new(generation: Arc<Generation>, workers: usize) -> io::Result<Control> {
        let wakers = (0..workers)
            .map(|_| eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC))
            .collect::<Result<_, _>>()?;
        let errands = (0..workers).map(|_| Errands::new()).collect();
        let installed = (0..workers).map(|_| AtomicU32::new(generation.epoch().0)).collect();
        let stop = AtomicBool::new(false);
        Ok(Control { generation: ArcSwap::new(generation), stop, wakers, errands, installed })
    }

    /// The generation that workers take up between two batches.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Puts a generation into force: each worker takes it up before its next batch, sleeping ones at once.
    pub fn publish(&self, generation: Arc<Generation>) {
        self.generation.store(generation);
        self.wake();
    }

    /// Waits until every worker has the generation in force that was published last; whether they all had it in time.
    pub fn wait_until_installed(&self, patience: Duration) -> bool {
        let wanted = self.generation.load().epoch().0;
        let deadline = Instant::now() + patience;
        loop {
            if self.installed.iter().all(|epoch| epoch.load(Ordering::Acquire) >= wanted) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Asks all workers to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.wakers.len()
    }

    /// Asks a worker to run a function over its engine, between two batches. One that has nothing else to do does it at
    /// once; one at full load gives a fortieth of its time to what it is asked. The function must be short, for frames
    /// wait for it.
    ///
    /// # Errors
    /// [`ErrandError::Busy`].
    pub fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        errand: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<Answer<T>, ErrandError> {
        let answer = self.errands[worker].leave(errand)?;
        self.wake_one(&self.wakers[worker]);
        Ok(answer)
    }

    /// Asks all workers the same, and waits for their answers, in the order of the workers.
    ///
    /// # Errors
    /// [`ErrandError`], where one of them does not answer.
    pub fn ask_all<T: Send + 'static>(
        &self,
        errand: impl Fn(&mut Engine) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, ErrandError> {
        let answers: Vec<_> = (0..self.workers())
            .map(|worker| {
                let errand = errand.clone();
                self.ask(worker, move |engine| errand(engine))
            })
            .collect::<Result<_, _>>()?;
        answers.into_iter().map(Answer::wait).collect()
    }

    /// The generation that was published last, as a worker reads it every turn.
    #[inline]
    pub(super) fn published(&self) -> Guard<Arc<Generation>> {
        self.generation.load()
    }

    /// A worker has put a generation into force.
    pub(super) fn note_installed(&self, worker: usize, generation: &Generation) {
        self.installed[worker].store(generation.epoch().0, Ordering::Release);
    }

    /// Whether the workers are to stop.
    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The next errand that was left for a worker.
    #[inline]
    pub(super) fn errand(&self, worker: usize) -> Option<Errand> {
        self.errands[worker].take()
    }

    /// What a worker watches while it sleeps.
    pub(super) fn waker(&self, worker: usize) -> BorrowedFd<'_> {
        self.wakers[worker].as_fd()
    }

    fn wake_one(&self, waker: &OwnedFd) {
        // The counter of an event descriptor only fails to grow when it is near its end: then it is awake.
        let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
    }

    pub(super) fn wake_worker(&self, worker: usize) {
        self.wake_one(&self.wakers[worker]);
    }

    fn wake(&self) {
        self.wakers.iter().for_each(|waker| self.wake_one(waker));
    }
}
