//! Events from the workers to whoever wants them: files, collectors, people who watch.
//!
//! ```text
//!  worker ─ring─┐            ┌─ queue ─▶ the writer of --events
//!               ├─▶ hub ─────┼─ queue ─▶ syslog, IPFIX
//!  worker ─ring─┘    │       └─ queue ─▶ a client that observes
//!                    └─ history: the last few thousand
//! ```
//!
//! The hub has a thread of its own, which makes the words of an event once for all readers. It waits for nobody:
//! every queue is bounded, what finds no room in one is counted and told to its reader as soon as there is room
//! again, at the place where it is missing. Drops above a rate for their reason are counted and told of as a number.

mod rate;
mod told;

pub use told::{RING_FULL, Record, SLOW_READER, Told, What};

use super::EventLine;
use crate::control::desk::Shared;
use crate::replay::Names;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use dataplane::event::{Event, EventSource};
use rate::Rates;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that are made into words under one look at the configuration.
const PORTION: usize = 256;
/// Between two looks at the rings while events come. The hub does not sleep on the rings themselves, for then each
/// event would cost the worker a system call to wake it.
const BUSY: Duration = Duration::from_millis(2);
/// The same while none come: 8,192 events, which is what a ring holds, are 800,000 a second then.
const QUIET: Duration = Duration::from_millis(10);

/// The thread. Dropping it tells what is left in the rings, and ends it.
#[derive(Debug)]
pub struct Hub {
    feed: Feed,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    ends_feed: bool,
}

/// Where events can be had.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Mutex<State>>);

/// What was not told, since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Untold {
    /// Events that found no room between worker and hub.
    pub by_ring: u64,
    /// Events that found no room before a reader, by the kind of reader.
    pub by_reader: BTreeMap<&'static str, u64>,
    /// Drops above the rate, by reason.
    pub suppressed: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct State {
    history: VecDeque<Arc<Told>>,
    kept: usize,
    readers: Vec<Reader>,
    untold: Untold,
    is_over: bool,
}

#[derive(Debug)]
struct Reader {
    kind: &'static str,
    sender: Sender<Arc<Told>>,
    /// What was lost to it, and it is not told yet.
    lost: u64,
}

impl Reader {
    /// Tells the reader, where it has room: how many events are lost to it by that; `None`: it has gone.
    fn tell(&mut self, told: &Arc<Told>) -> Option<u64> {
        if !self.catch_up(told.at) {
            return None;
        }
        let room = if self.lost > 0 {
            false
        } else {
            match self.sender.try_send(Arc::clone(told)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => false,
                Err(TrySendError::Disconnected(_)) => return None,
            }
        };
        let lost = if room { 0 } else { told.weight() };
        self.lost += lost;
        Some(lost)
    }

    /// Tells the reader what it has lost, where it has room for that; whether it is still there.
    fn catch_up(&mut self, at: jiff::Timestamp) -> bool {
        if self.lost == 0 {
            return true;
        }
        let what = What::Lost { count: self.lost, why: SLOW_READER };
        match self.sender.try_send(Arc::new(Told { at, what })) {
            Ok(()) => {
                self.lost = 0;
                true
            }
            Err(TrySendError::Full(_)) => true,
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl State {
    fn tell(&mut self, told: Told) {
        let told = Arc::new(told);
        if self.kept > 0 {
            if self.history.len() == self.kept {
                self.history.pop_front();
            }
            self.history.push_back(Arc::clone(&told));
        }
        let untold = &mut self.untold.by_reader;
        self.readers.retain_mut(|reader| {
            let lost = reader.tell(&told);
            if let Some(lost @ 1..) = lost {
                *untold.entry(reader.kind).or_default() += lost;
            }
            lost.is_some()
        });
    }
}

impl Feed {
    /// A feed without a hub, for who speaks through it himself. The last `kept` are kept.
    #[must_use]
    pub fn new(kept: usize) -> Feed {
        Feed(Arc::new(Mutex::new(State { kept, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a reader's thread did when it panicked has left the state whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything from now on, by a queue of `room`, and what is kept of the time before, if `with_history`. The
    /// receiver ends with the hub.
    #[must_use]
    pub fn subscribe(
        &self,
        kind: &'static str,
        room: usize,
        with_history: bool,
    ) -> (Vec<Arc<Told>>, Receiver<Arc<Told>>) {
        let (sender, receiver) = bounded(room);
        let mut state = self.state();
        if !state.is_over {
            state.readers.push(Reader { kind, sender, lost: 0 });
        }
        let history = if with_history { state.history.iter().cloned().collect() } else { Vec::new() };
        (history, receiver)
    }

    /// What is kept of the time before now.
    #[must_use]
    pub fn history(&self) -> Vec<Arc<Told>> {
        self.state().history.iter().cloned().collect()
    }

    /// Tells all readers.
    pub fn tell(&self, told: impl IntoIterator<Item = Told>) {
        let mut state = self.state();
        told.into_iter().for_each(|told| state.tell(told));
    }

    /// Tells of something that happened to the gateway itself, now.
    pub fn note(&self, note: Value) {
        self.tell([Told { at: jiff::Timestamp::now(), what: What::Note(note) }]);
    }

    /// Counts what a reader has lost by itself.
    pub fn count_lost(&self, kind: &'static str, count: u64) {
        if count > 0 {
            *self.state().untold.by_reader.entry(kind).or_default() += count;
        }
    }

    /// What was not told, since the start.
    #[must_use]
    pub fn untold(&self) -> Untold {
        self.state().untold.clone()
    }

    /// Tells readers that have room again what they have lost.
    fn catch_up(&self) {
        let mut state = self.state();
        if state.readers.iter().any(|reader| reader.lost > 0) {
            let now = jiff::Timestamp::now();
            state.readers.retain_mut(|reader| reader.catch_up(now));
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.readers.clear();
    }
}

impl Hub {
    /// Starts to tell `feed` what comes through the rings, at most `rate` drops a second of each reason (0: all).
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        sources: Vec<EventSource>,
        shared: Arc<Shared>,
        feed: Feed,
        rate: u64,
    ) -> std::io::Result<Hub> {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = vec![0; sources.len()];
        let teller = Teller { sources, lost: told, shared, feed: feed.clone(), rates: Rates::new(rate) };
        let over = Arc::clone(&is_over);
        let thread =
            std::thread::Builder::new().name("events".to_owned()).spawn(move || teller.run(&over))?;
        Ok(Hub { feed, is_over, thread: Some(thread), ends_feed: true })
    }

    /// Tells what is left in the rings, and then the events of other workers, to the same readers.
    ///
    /// # Errors
    /// The system has no thread left; the readers' events have ended then.
    pub fn hand_over(
        mut self,
        sources: Vec<EventSource>,
        shared: Arc<Shared>,
        rate: u64,
    ) -> std::io::Result<Hub> {
        self.stop();
        let hub = Hub::start(sources, shared, self.feed.clone(), rate)?;
        self.ends_feed = false;
        Ok(hub)
    }

    fn stop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Where it has panicked, nobody is told anything any more; the gateway goes on.
            let _ = thread.join();
        }
    }

    /// Where its events can be had.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
        if self.ends_feed {
            self.feed.end();
        }
    }
}

/// What the thread has.
struct Teller {
    sources: Vec<EventSource>,
    /// By source: what it had lost at the last look.
    lost: Vec<u64>,
    shared: Arc<Shared>,
    feed: Feed,
    rates: Rates,
}

impl Teller {
    fn run(mut self, is_over: &AtomicBool) {
        let mut events = Vec::with_capacity(PORTION);
        loop {
            // Read first: what was told before is in the rings by then.
            let is_last = is_over.load(Ordering::Acquire);
            let mut found = false;
            for index in 0..self.sources.len() {
                let source = &self.sources[index].receiver;
                events.extend(std::iter::from_fn(|| source.try_recv().ok()).take(PORTION));
                found |= !events.is_empty();
                self.tell(&mut events);
            }
            self.tell_losses(is_last && !found);
            self.feed.catch_up();
            match (found, is_last) {
                (false, true) => break,
                (true, true) => {}
                (true, false) if self.sources.iter().any(|source| source.receiver.len() >= PORTION) => {}
                (true, false) => std::thread::sleep(BUSY),
                (false, false) => std::thread::sleep(QUIET),
            }
        }
    }

    fn tell(&mut self, events: &mut Vec<Event>) {
        if events.is_empty() {
            return;
        }
        // After the events: the generation that judged them has a name for each of their rules.
        let generation = self.shared.control.generation();
        let configuration = self.shared.configuration.load();
        let names = Names { topology: &configuration.topology, generation: &generation };
        let (tick, now) = (self.shared.clock.now(), jiff::Timestamp::now());
        let rates = &mut self.rates;
        let told: Vec<Told> = events
            .drain(..)
            .filter(|event| event.outcome.reason.is_none_or(|reason| rates.admits(reason, event.at)))
            .map(|event| {
                let at = now.checked_sub(tick.since(event.at)).unwrap_or(now);
                let line = EventLine::new(names, &event, at.to_string());
                let rule = event.outcome.rule.and_then(|key| generation.rule(key));
                let is_logged = rule.is_some_and(|rule| rule.log);
                Told { at, what: What::Event(Box::new(Record { event, line, is_logged })) }
            })
            .collect();
        self.feed.tell(told);
    }

    fn tell_losses(&mut self, is_last: bool) {
        let mut lost = 0;
        for (source, before) in self.sources.iter().zip(&mut self.lost) {
            let now = source.lost();
            lost += now - *before;
            *before = now;
        }
        let over = self.rates.over(self.shared.clock.now(), is_last);
        if lost == 0 && over.is_empty() {
            return;
        }
        let at = jiff::Timestamp::now();
        let mut state = self.feed.state();
        if lost > 0 {
            state.untold.by_ring += lost;
            state.tell(Told { at, what: What::Lost { count: lost, why: RING_FULL } });
        }
        for (reason, count) in over {
            *state.untold.suppressed.entry(reason.name()).or_default() += count;
            state.tell(Told { at, what: What::Suppressed { count, reason: reason.name() } });
        }
    }
}

#[cfg(test)]
mod tests;
