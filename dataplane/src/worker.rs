//! The poll loop: one thread, pinned to one core, that owns queues of the ports and an engine.
//!
//! ```text
//!   turn:  clock -> new generation? -> timers -> for each queue: receive -> process -> transmit -> service -> idle?
//!                                                                  |    ^
//!                                           others' frames: to their    from the other workers:
//!                                           owners, over rings          this one's frames
//! ```
//!
//! The clock is read once a turn, and a generation is taken up between two batches. A worker with nothing to do
//! sleeps in poll(2), where `idle` allows it, and is woken by frames or by the [`Control`].

mod control;

pub use control::{Clock, Control};

use crate::arena::{Arena, Frame, FramePool};
use crate::batch::{Batch, LANES};
use crate::counters::Counters;
use crate::engine::{Engine, Origin, Sweep};
use crate::errand::Ration;
use crate::event::{EventSink, Teller};
use crate::handoff::{Parcel, Purpose, Seat, stamp};
use crate::port::Port;
use crate::topology::Idle;
use classifier::addr::PortId;
use conntrack::Tracker;
use conntrack::time::Tick;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::sync::Arc;
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
/// Times that a port is asked for a batch before the next port's turn; and batches from other workers in a turn.
const BATCHES_PER_TURN: usize = 4;
/// How long a worker that ends waits for the others to come as far.
const FAREWELL: Duration = Duration::from_millis(500);
/// Descriptors that a sleeping worker can watch. With more queues than that it does not sleep.
const WATCHED: usize = 256;

/// What a worker leaves behind.
pub struct Stopped {
    /// What it has counted.
    pub counters: Counters,
    /// Its flow table, as it was after the last frame.
    pub tracker: Tracker,
}

/// What a worker works with from turn to turn.
#[derive(Debug)]
pub struct Hands {
    batch: Batch,
    received: Vec<Frame>,
    /// When timers ran last.
    timers: Tick,
    /// Frames of the turn before.
    work: usize,
}

impl Default for Hands {
    fn default() -> Hands {
        Hands { batch: Batch::default(), received: Vec::with_capacity(LANES), timers: Tick(0), work: 0 }
    }
}

/// One worker.
pub struct Worker {
    engine: Engine,
    /// The worker's queues of each port, by [`PortId`].
    ports: Vec<Vec<Box<dyn Port>>>,
    /// Its place among the others, where there are others.
    seat: Option<Seat>,
    control: Arc<Control>,
    ration: Ration,
    index: usize,
    idle: Idle,
    teller: Option<Teller>,
    /// Whether it judges the last frames: it passes none of them on any more.
    is_ending: bool,
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
        assert!(index < control.workers(), "the control knows of every worker");
        let ports = ports.into_iter().map(|port| vec![port]).collect();
        Worker {
            engine,
            ports,
            seat: None,
            control,
            ration: Ration::default(),
            index,
            idle,
            teller: events.map(Teller::new),
            is_ending: false,
            next_tag: 0,
        }
    }

    /// The only worker, which serves any number of queues of each port.
    #[must_use]
    pub fn alone(
        engine: Engine,
        ports: Vec<Vec<Box<dyn Port>>>,
        control: Arc<Control>,
        idle: Idle,
        events: Option<EventSink>,
    ) -> Worker {
        Worker { ports, ..Worker::new(engine, Vec::new(), control, 0, idle, events) }
    }

    /// A worker that shares its work with others, which serves any number of queues of each port, none too. Its
    /// engine has [joined](Engine::join) theirs.
    ///
    /// # Panics
    /// Where the seat is another worker's, the arena is not the others', or nobody serves a port.
    #[must_use]
    pub fn among(
        engine: Engine,
        ports: Vec<Vec<Box<dyn Port>>>,
        control: Arc<Control>,
        seat: Seat,
        idle: Idle,
        events: Option<EventSink>,
    ) -> Worker {
        let index = seat.index();
        assert!(index < control.workers(), "the control knows of every worker");
        seat.take_place(engine.arena());
        for (port, queues) in ports.iter().enumerate() {
            assert!(
                !queues.is_empty() || seat.server(PortId(port as u8)).is_some(),
                "somebody serves a port"
            );
        }
        let teller = events.map(Teller::new);
        Worker {
            engine,
            ports,
            seat: Some(seat),
            control,
            ration: Ration::default(),
            index,
            idle,
            teller,
            is_ending: false,
            next_tag: 0,
        }
    }

    /// Runs until it is asked to stop; what it leaves behind.
    #[must_use]
    pub fn run(mut self, clock: Clock) -> Stopped {
        let mut hands = Hands::default();
        let mut quiet = 0_u32;
        while !self.control.is_stopping() {
            quiet = if self.step(clock.now(), &mut hands) { 0 } else { quiet.saturating_add(1) };
            if quiet > IDLE_TURNS && self.idle == Idle::Adaptive {
                self.sleep();
            }
        }
        self.end(&clock, &mut hands.batch);
        let counters = self.engine.counters().clone();
        self.engine.report_last();
        let mut tracker = self.engine.into_tracker();
        tracker.advance(clock.now());
        Stopped { counters, tracker }
    }

    /// One turn at the time `now`, for whoever wants to have the order of the workers' turns in hand; whether there was
    /// anything to do.
    pub fn step(&mut self, now: Tick, hands: &mut Hands) -> bool {
        self.engine.pace.turn(now, hands.work);
        self.take_up_generation();
        let has_errand = self.ration.allows(now, hands.work > 0) && self.run_errand(now);
        if now.since(hands.timers) >= TIMERS_EVERY {
            hands.timers = now;
            self.engine.tick(now, Sweep::AtMost(SWEEP));
            self.transmit(now);
            self.post();
        }
        hands.work = self.turn(now, &mut hands.batch, &mut hands.received);
        self.tell_late();
        hands.work > 0 || has_errand
    }

    /// Does an errand, if any waits; whether there was one. The clock is read for those alone.
    #[inline]
    fn run_errand(&mut self, now: Tick) -> bool {
        let Some(errand) = self.control.errand(self.index) else { return false };
        let began = Instant::now();
        errand(&mut self.engine);
        self.ration.spend(now, began.elapsed());
        true
    }

    /// What the worker has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    /// The worker's engine, between two turns.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
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
        let published = self.control.published();
        if !Arc::ptr_eq(&published, self.engine.generation()) {
            self.engine.install(Arc::clone(&published));
            if let Some(seat) = &mut self.seat {
                seat.owners().install(published.network());
            }
            self.control.note_installed(self.index, &published);
        }
    }

    /// One round over the ports; how many frames it brought.
    fn turn(&mut self, now: Tick, batch: &mut Batch, received: &mut Vec<Frame>) -> usize {
        let mut work = self.hear_news(now);
        for index in 0..self.ports.len() {
            for queue in 0..self.ports[index].len() {
                for _ in 0..BATCHES_PER_TURN {
                    let arena = Arc::clone(self.engine.arena());
                    self.ports[index][queue].receive(&arena, self.engine.pool(), LANES, received);
                    let count = received.len();
                    if count == 0 {
                        break;
                    }
                    work += count;
                    self.sort(now, PortId(index as u8), received, batch);
                    work += self.take_in(now, batch);
                    self.judge(now, batch);
                    if count < LANES {
                        break;
                    }
                }
            }
        }
        work += self.serve_peers(now, batch);
        for port in self.ports.iter_mut().flatten() {
            let arena = Arc::clone(self.engine.arena());
            port.service(&arena, self.engine.pool());
        }
        work
    }

    /// Puts this worker's own frames into the batch, and passes the others' on to their owners.
    #[inline]
    fn sort(&mut self, now: Tick, port: PortId, received: &mut Vec<Frame>, batch: &mut Batch) {
        let Worker { engine, seat, next_tag, teller, .. } = self;
        let Some(seat) = seat else {
            let count = received.len() as u64;
            batch.refill(port, *next_tag, received);
            *next_tag += count;
            return;
        };
        batch.clear();
        let arena = Arc::clone(engine.arena());
        let epoch = engine.generation().epoch();
        received.iter().for_each(|frame| arena.prefetch(frame));
        for frame in received.drain(..) {
            let Some(owner) = seat.destination(port, arena.bytes(&frame)) else {
                batch.push(port, *next_tag, frame);
                *next_tag += 1;
                continue;
            };
            match seat.pass(&arena, owner, port, frame, Purpose::Judge(stamp(epoch))) {
                Ok(()) => engine.counters.handed += 1,
                Err(frame) => {
                    if let Some(teller) = teller {
                        teller.tell_lost(now, epoch, port, arena.bytes(&frame));
                    }
                    engine.lose(frame);
                }
            }
        }
        self.post();
    }

    /// Fills a batch up with frames that others have passed on; how many were taken.
    #[inline]
    fn take_in(&mut self, now: Tick, batch: &mut Batch) -> usize {
        let Worker { engine, seat: Some(seat), next_tag, teller, .. } = self else { return 0 };
        let mut taken = 0;
        let arena = Arc::clone(engine.arena());
        let in_force = engine.generation().epoch();
        let epoch = stamp(in_force);
        while batch.len() < LANES {
            let Some(Parcel { frame, port, purpose }) = seat.take(&arena) else { break };
            taken += 1;
            match purpose {
                Purpose::Send => engine.send(port, frame, Origin::Passed),
                Purpose::Judge(by) if by != epoch && !self.is_ending => {
                    // Who found the owner knew another network, perhaps.
                    let Some(owner) = seat.destination(port, arena.bytes(&frame)) else {
                        arena.prefetch(&frame);
                        batch.push(port, *next_tag, frame);
                        *next_tag += 1;
                        continue;
                    };
                    match seat.pass(&arena, owner, port, frame, Purpose::Judge(epoch)) {
                        Ok(()) => engine.counters.handed += 1,
                        Err(frame) => {
                            if let Some(teller) = teller {
                                teller.tell_lost(now, in_force, port, arena.bytes(&frame));
                            }
                            engine.lose(frame);
                        }
                    }
                }
                Purpose::Judge(_) => {
                    arena.prefetch(&frame);
                    batch.push(port, *next_tag, frame);
                    *next_tag += 1;
                }
            }
        }
        taken
    }

    /// Judges what the others have passed on, sends what they want to be sent, and pays for both; how many there were.
    fn serve_peers(&mut self, now: Tick, batch: &mut Batch) -> usize {
        if self.seat.is_none() {
            return 0;
        }
        let mut work = 0;
        for _ in 0..BATCHES_PER_TURN {
            batch.clear();
            let taken = self.take_in(now, batch);
            if taken == 0 {
                break;
            }
            work += taken;
            self.judge(now, batch);
        }
        self.settle_with_peers();
        work
    }

    /// Exchanges empty chunks with the others.
    fn settle_with_peers(&mut self) {
        let Worker { engine, seat: Some(seat), .. } = self else { return };
        let arena = Arc::clone(engine.arena());
        seat.settle(&arena, engine.pool());
    }

    /// Takes a batch through the engine, tells of it, and sends what leaves.
    #[inline]
    fn judge(&mut self, now: Tick, batch: &mut Batch) {
        if !batch.is_empty() {
            self.engine.process(now, batch);
            if let Some(teller) = &mut self.teller {
                teller.tell(now, self.engine.generation().epoch(), batch);
            }
            self.tell_news();
        }
        self.transmit(now);
        self.post();
    }

    fn transmit(&mut self, now: Tick) {
        let unsent = self.teller.as_ref().map(|teller| (now, teller));
        for (index, queues) in self.ports.iter_mut().enumerate() {
            let port = PortId(index as u8);
            match (queues.first_mut(), &mut self.seat) {
                (Some(queue), _) => {
                    let send = |arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>| {
                        queue.transmit(arena, pool, frames);
                    };
                    self.engine.flush_telling(port, send, unsent);
                }
                (None, Some(seat)) => {
                    let send = |arena: &Arena, _: &mut FramePool, frames: &mut Vec<Frame>| {
                        let server = seat.server(port).expect("somebody serves a port");
                        let count = frames.len().min(seat.room(server));
                        for frame in frames.drain(..count) {
                            let passed = seat.pass(arena, server, port, frame, Purpose::Send);
                            passed.expect("there was room, and nobody else writes");
                        }
                    };
                    self.engine.flush_telling(port, send, unsent);
                }
                (None, None) => {}
            }
        }
    }

    /// Lets the others see what was passed on to them.
    #[inline]
    fn post(&mut self) {
        let Worker { seat: Some(seat), control, .. } = self else { return };
        seat.post(&|worker| control.wake_worker(worker));
    }

    /// Tells the others what was heard of neighbors.
    #[inline]
    fn tell_news(&mut self) {
        let Worker { engine, seat: Some(seat), .. } = self else { return };
        let mut lost = 0;
        for news in engine.news() {
            lost += seat.tell(&news);
        }
        engine.counters.news_lost += lost;
    }

    /// Hears what the others have heard of neighbors; how much there was.
    fn hear_news(&mut self, now: Tick) -> usize {
        let Worker { engine, seat: Some(seat), .. } = self else { return 0 };
        let mut heard = 0;
        while let Some(news) = seat.hear() {
            engine.hear(now, &news);
            heard += 1;
        }
        if heard > 0 {
            self.transmit(now);
            self.post();
        }
        heard
    }

    /// Ends: what others have passed on is judged still, and sent, so that every frame has its fate.
    fn end(&mut self, clock: &Clock, batch: &mut Batch) {
        self.is_ending = true;
        for stage in 0..2 {
            let Some(seat) = &self.seat else { break };
            seat.come_to(stage);
            let deadline = Instant::now() + FAREWELL;
            loop {
                let is_last = self.seat.as_ref().is_none_or(|seat| seat.all_have_come_to(stage));
                while self.serve_peers(clock.now(), batch) > 0 {}
                if is_last || Instant::now() >= deadline {
                    break;
                }
                std::thread::yield_now();
            }
        }
        self.engine.abandon_waiting();
        self.tell_late();
        self.transmit(clock.now());
        self.settle_with_peers();
    }

    /// Sleeps until a frame comes, another worker or the control side calls, or a timer may be due.
    fn sleep(&self) {
        let waker = self.control.waker(self.index);
        let mut watched: [PollFd<'_>; WATCHED] =
            std::array::from_fn(|_| PollFd::from_borrowed_fd(waker, PollFlags::IN));
        let mut count = 1;
        for port in self.ports.iter().flatten() {
            match port.descriptor() {
                Some(descriptor) if count < WATCHED => {
                    watched[count] = PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
                    count += 1;
                }
                // A port without a kernel below it can't wake anybody.
                Some(_) | None => return,
            }
        }
        // Who has passed all its chunks on can't receive: nothing would wake it up when it gets some back.
        let is_short = self.seat.is_some() && self.engine.pool.is_empty();
        if is_short || self.seat.as_ref().is_some_and(|seat| !seat.lie_down()) {
            return;
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: LONGEST_SLEEP.subsec_nanos().into() };
        // An interrupted sleep is a sleep that ended.
        let _ = poll(&mut watched[..count], Some(&limit));
        if let Some(seat) = &self.seat {
            seat.get_up();
        }
        let mut counter = [0; 8];
        let _ = rustix::io::read(waker, &mut counter);
    }
}
