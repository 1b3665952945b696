//! The poll loop: one thread, pinned to one core, that owns a queue of every port and an engine.
//!
//! ```text
//!   turn:  clock -> new generation? -> timers -> for each port: receive -> process -> transmit -> service -> idle?
//! ```
//!
//! The clock is read once a turn, and a generation is taken up between two batches. A worker with nothing to do
//! sleeps in poll(2), where `idle` allows it, and is woken by frames or by its [`Waker`].

use crate::batch::{Batch, LANES};
use crate::counters::Counters;
use crate::engine::{Engine, Sweep};
use crate::errand::{Answer, ErrandError, Errands};
use crate::event::{EventSink, Teller};
use crate::generation::Generation;
use crate::port::Port;
use crate::topology::Idle;
use arc_swap::ArcSwap;
use classifier::addr::PortId;
use conntrack::Tracker;
use conntrack::time::Tick;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Turns without a frame before a worker goes to sleep.
const IDLE_TURNS: u32 = 256;
/// Longest sleep: timers of neighbors and flows are due in between.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Between two runs of the timers.
const TIMERS_EVERY: Duration = Duration::from_millis(10);
/// Flows that are taken out of the table at once: some ten thousand a second may end, a million in a moment must not
/// hold up the frames.
const SWEEP: u32 = 1024;
/// Times that a port is asked for a batch before the next port's turn.
const BATCHES_PER_TURN: usize = 4;

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

    /// Asks a worker to run a function over its engine, between two batches and before its next turn but one. The
    /// function must be short, for frames wait for it.
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

    fn wake_one(&self, waker: &OwnedFd) {
        // The counter of an event descriptor only fails to grow when it is near its end: then it is awake.
        let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
    }

    fn wake(&self) {
        self.wakers.iter().for_each(|waker| self.wake_one(waker));
    }
}

/// What a worker leaves behind.
pub struct Stopped {
    /// What it has counted.
    pub counters: Counters,
    /// Its flow table, as it was after the last frame.
    pub tracker: Tracker,
}

/// One worker.
pub struct Worker {
    engine: Engine,
    /// The worker's queue of each port, by [`PortId`].
    ports: Vec<Box<dyn Port>>,
    control: Arc<Control>,
    index: usize,
    idle: Idle,
    teller: Option<Teller>,
    /// The tag of the next frame, by which it is known when it has waited.
    next_tag: u64,
}

impl Worker {
    /// A worker, number `index` of those under `control`, that serves one queue of each port.
    ///
    /// # Panics
    /// Where `control` has not that many workers.
    #[must_use]
    pub fn new(
        engine: Engine,
        ports: Vec<Box<dyn Port>>,
        control: Arc<Control>,
        index: usize,
        idle: Idle,
        events: Option<EventSink>,
    ) -> Worker {
        assert!(index < control.wakers.len(), "the control knows of every worker");
        Worker { engine, ports, control, index, idle, teller: events.map(Teller::new), next_tag: 0 }
    }

    /// Runs until it is asked to stop; what it leaves behind.
    #[must_use]
    pub fn run(mut self, clock: Clock) -> Stopped {
        let mut batch = Batch::default();
        let mut received = Vec::with_capacity(LANES);
        let mut quiet = 0_u32;
        let mut timers = Tick(0);
        let mut work = 0;
        while !self.control.stop.load(Ordering::Acquire) {
            let now = clock.now();
            self.engine.pace.turn(now, work);
            self.take_up_generation();
            let has_errand = self.control.errands[self.index].run_one(&mut self.engine);
            if now.since(timers) >= TIMERS_EVERY {
                timers = now;
                self.engine.tick(now, Sweep::AtMost(SWEEP));
                self.transmit();
            }
            work = self.turn(now, &mut batch, &mut received);
            self.tell_late();
            quiet = if work == 0 && !has_errand { quiet.saturating_add(1) } else { 0 };
            if quiet > IDLE_TURNS && self.idle == Idle::Adaptive {
                self.sleep();
            }
        }
        self.engine.abandon_waiting();
        self.tell_late();
        self.transmit();
        let counters = self.engine.counters().clone();
        self.engine.report_last();
        let mut tracker = self.engine.into_tracker();
        tracker.advance(clock.now());
        Stopped { counters, tracker }
    }

    fn tell_late(&mut self) {
        let epoch = self.engine.generation().epoch();
        for (tag, outcome) in self.engine.late_outcomes() {
            if let Some(teller) = &mut self.teller {
                teller.tell_late(epoch, tag, outcome);
            }
        }
    }

    fn take_up_generation(&mut self) {
        let published = self.control.generation.load();
        if !Arc::ptr_eq(&published, self.engine.generation()) {
            self.engine.install(Arc::clone(&published));
            self.control.installed[self.index].store(published.epoch().0, Ordering::Release);
        }
    }

    /// One round over the ports; how many frames it brought.
    fn turn(&mut self, now: Tick, batch: &mut Batch, received: &mut Vec<crate::arena::Frame>) -> usize {
        let mut work = 0;
        for index in 0..self.ports.len() {
            for _ in 0..BATCHES_PER_TURN {
                let arena = Arc::clone(self.engine.arena());
                self.ports[index].receive(&arena, self.engine.pool(), LANES, received);
                let count = received.len();
                if count == 0 {
                    break;
                }
                work += count;
                batch.refill(PortId(index as u8), self.next_tag, received);
                self.next_tag += count as u64;
                self.engine.process(now, batch);
                if let Some(teller) = &mut self.teller {
                    teller.tell(now, self.engine.generation().epoch(), batch);
                }
                self.transmit();
                if count < LANES {
                    break;
                }
            }
        }
        for port in &mut self.ports {
            let arena = Arc::clone(self.engine.arena());
            port.service(&arena, self.engine.pool());
        }
        work
    }

    fn transmit(&mut self) {
        for (index, port) in self.ports.iter_mut().enumerate() {
            self.engine.flush(PortId(index as u8), |arena, pool, frames| port.transmit(arena, pool, frames));
        }
    }

    /// Sleeps until a frame comes, the control side calls, or a timer may be due.
    fn sleep(&self) {
        let waker = self.control.wakers[self.index].as_fd();
        let mut watched: [PollFd<'_>; PortId::LIMIT + 1] =
            std::array::from_fn(|_| PollFd::from_borrowed_fd(waker, PollFlags::IN));
        let mut count = 1;
        for port in &self.ports {
            match port.descriptor() {
                Some(descriptor) => {
                    watched[count] = PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
                    count += 1;
                }
                // A port without a kernel below it can't wake anybody.
                None => return,
            }
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: LONGEST_SLEEP.subsec_nanos().into() };
        // An interrupted sleep is a sleep that ended.
        let _ = poll(&mut watched[..count], Some(&limit));
        let mut counter = [0; 8];
        let _ = rustix::io::read(waker, &mut counter);
    }
}
