//! A port that knows what became of each frame that it gave.
//!
//! ```text
//!   batch 17 | K40 K41 K42 K43 K44 K45 K46 R | ...     K: allowed by all policies, numbered; R: denied by every other one
//! ```
//!
//! What is sent must be the batch that was received last: all of its numbered frames, and either all of its revocable
//! ones or none. Some of them would mean that two policies have judged it. Each direction of each flow must keep its
//! order; different ones may overtake within a batch.

use dataplane::arena::{Arena, Frame, FramePool};
use dataplane::port::Port;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One frame in so many is revocable.
const EVERY: usize = 8;
const KEPT: u8 = 0;
const REVOCABLE: u8 = 1;
/// The verdict on revocable frames is not known, or a batch had none.
pub(super) const UNKNOWN: u64 = 0;
/// Revocable frames pass.
pub(super) const OPEN: u64 = 1;
/// They are dropped.
pub(super) const DENIED: u64 = 2;

/// What a port has seen. The port is the only writer.
#[derive(Debug, Default)]
#[repr(align(128))] // Ports of several workers must not write into one line.
pub(super) struct Seen {
    /// Numbered frames that were received.
    pub(super) kept: AtomicU64,
    /// All frames that were received.
    pub(super) received: AtomicU64,
    /// All frames that were sent.
    pub(super) sent: AtomicU64,
    /// Numbered frames that did not come out.
    pub(super) lost: AtomicU64,
    /// Those that came out after a later one of their flow.
    pub(super) reordered: AtomicU64,
    /// Batches of which some revocable frames were let through, and some not.
    pub(super) torn: AtomicU64,
    /// Frames that came out with another batch than their own.
    pub(super) strays: AtomicU64,
    /// Verdict on revocable frames now.
    pub(super) verdict: AtomicU64,
    /// When the first batch with that verdict was sent, in nanoseconds since the beginning.
    pub(super) since: AtomicU64,
    /// When a revocable frame was sent last.
    pub(super) last_open: AtomicU64,
}

fn add(counter: &AtomicU64, amount: u64) {
    // One writer: a load and a store are enough.
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

/// Bytes of a frame, without its FCS.
pub(super) const LENGTH: usize = 60;

/// The port.
pub(super) struct NumberedPort {
    kept: Box<[[u8; LENGTH]]>,
    revocable: Box<[[u8; LENGTH]]>,
    data: usize,
    begun: Instant,
    next_kept: usize,
    next_revocable: usize,
    /// All frames so far, by which it is known whose turn it is.
    turn: usize,
    batch: u32,
    /// Revocable frames of the last batch.
    given: u64,
    number: u64,
    /// The next number of each direction of each flow.
    expected: Box<[u64]>,
    verdict: u64,
    seen: Arc<Seen>,
}

impl NumberedPort {
    /// A port with frames to be received in turn, whose data begins at a place.
    pub(super) fn new(
        kept: Vec<[u8; LENGTH]>,
        revocable: Vec<[u8; LENGTH]>,
        data: usize,
        begun: Instant,
    ) -> NumberedPort {
        assert!(data + 13 <= LENGTH, "there is room for what a frame bears");
        assert!(!kept.is_empty() && !revocable.is_empty(), "there are frames of both kinds");
        let expected = (0..kept.len() as u64).collect();
        NumberedPort {
            kept: kept.into_boxed_slice(),
            revocable: revocable.into_boxed_slice(),
            data,
            begun,
            next_kept: 0,
            next_revocable: 0,
            turn: 0,
            batch: 0,
            given: 0,
            number: 0,
            expected,
            verdict: UNKNOWN,
            seen: Arc::default(),
        }
    }

    /// What it sees, which outlives its move into a worker.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

impl Port for NumberedPort {
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        let before = frames.len();
        let (number, batch) = (self.number, self.batch.wrapping_add(1));
        let mut given = 0;
        for _ in 0..room {
            let Some(mut frame) = pool.take() else { break };
            let is_revocable = self.turn.is_multiple_of(EVERY);
            let (all, next, kind) = match is_revocable {
                true => (&self.revocable, &mut self.next_revocable, REVOCABLE),
                false => (&self.kept, &mut self.next_kept, KEPT),
            };
            let buffer = &mut arena.buffer_mut(&mut frame)[..LENGTH];
            buffer.copy_from_slice(&all[*next]);
            *next = (*next + 1) % all.len();
            let data = &mut buffer[self.data..];
            data[..8].copy_from_slice(&self.number.to_be_bytes());
            data[8..12].copy_from_slice(&batch.to_be_bytes());
            data[12] = kind;
            self.number += u64::from(!is_revocable);
            given += u64::from(is_revocable);
            arena.set_length(&mut frame, LENGTH);
            frames.push(frame);
            self.turn = self.turn.wrapping_add(1);
        }
        if frames.len() > before {
            (self.batch, self.given) = (batch, given);
            add(&self.seen.received, (frames.len() - before) as u64);
            add(&self.seen.kept, self.number - number);
        }
    }

    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        let seen = &self.seen;
        add(&seen.sent, frames.len() as u64);
        let round = self.kept.len() as u64;
        let (mut open, mut strays) = (0, 0);
        for frame in frames.drain(..) {
            let data = &arena.bytes(&frame)[self.data..];
            let number = u64::from_be_bytes(data[..8].try_into().expect("eight bytes"));
            let batch = u32::from_be_bytes(data[8..12].try_into().expect("four bytes"));
            strays += u64::from(batch != self.batch);
            let expected = &mut self.expected[(number % round) as usize];
            if data[12] == REVOCABLE {
                open += 1;
            } else if number < *expected {
                add(&seen.reordered, 1);
            } else {
                add(&seen.lost, (number - *expected) / round);
                *expected = number + round;
            }
            pool.give(frame);
        }
        add(&seen.strays, strays);
        let verdict = match (self.given, open) {
            (0, _) => return,
            (_, 0) => DENIED,
            (given, open) if given == open => OPEN,
            _ => {
                add(&seen.torn, 1);
                return;
            }
        };
        if verdict == OPEN {
            seen.last_open.store(self.now(), Ordering::Release);
        }
        if verdict != self.verdict {
            self.verdict = verdict;
            seen.since.store(self.now(), Ordering::Release);
            seen.verdict.store(verdict, Ordering::Release);
        }
    }

    fn service(&mut self, _arena: &Arena, _pool: &mut FramePool) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}
