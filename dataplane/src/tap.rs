//! Copies of frames as they came in, with what became of them, for whoever asks.
//!
//! ```text
//!   before the stages   stage: every frame of the batch is copied, for the stages change and hand on what they get
//!   after them          tell:  those that are wanted go into slots that lie ready, and through a ring
//!   reader              takes them, and gives the slots back
//! ```
//!
//! An engine without a tap pays a look at a null pointer per batch. With one, all is bounded: the slots are made at the
//! start, and a frame that finds none free is counted as lost, by its port. What waits for a neighbor, or for the rest of
//! its datagram, is told as waiting.

use crate::arena::Arena;
use crate::batch::{Batch, LANES, Outcome};
use classifier::addr::PortId;
use conntrack::Epoch;
use conntrack::time::Tick;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which frames are wanted, by their port, bytes and fate. It is asked on the worker's thread for each frame: it must not
/// allocate, wait or panic.
pub type Wanted = Box<dyn Fn(PortId, &[u8], &Outcome) -> bool + Send>;

/// A frame, and what became of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    /// When its batch was taken in.
    pub at: Tick,
    /// The generation that judged it.
    pub epoch: Epoch,
    /// The port that it came in on.
    pub port: PortId,
    /// Its bytes as they came in, up to the snap length.
    pub bytes: Vec<u8>,
    /// How many it had.
    pub length: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// The worker's end.
pub struct Tap {
    wanted: Wanted,
    snap: usize,
    /// A place for each lane.
    staged: Vec<u8>,
    lengths: [u32; LANES],
    free: Receiver<Box<Judged>>,
    told: Sender<Box<Judged>>,
    lost: Arc<[AtomicU64; PortId::LIMIT]>,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("snap", &self.snap).finish_non_exhaustive()
    }
}

/// The reader's end.
#[derive(Debug)]
pub struct TapReader {
    told: Receiver<Box<Judged>>,
    free: Sender<Box<Judged>>,
    lost: Arc<[AtomicU64; PortId::LIMIT]>,
}

/// A tap for an engine whose frames have at most `longest` bytes, with `slots` frames in between, of which `snap` bytes
/// are kept.
#[must_use]
pub fn tap(longest: usize, snap: usize, slots: usize, wanted: Wanted) -> (Box<Tap>, TapReader) {
    let (free_in, free) = bounded(slots);
    let (told, told_out) = bounded(slots);
    let lost = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
    for _ in 0..slots {
        let judged = Judged {
            at: Tick(0),
            epoch: Epoch(0),
            port: PortId(0),
            bytes: Vec::with_capacity(snap.min(longest)),
            length: 0,
            outcome: Outcome::UNDECIDED,
        };
        // There is room for as many.
        let _ = free_in.try_send(Box::new(judged));
    }
    let staged = vec![0; LANES * longest];
    let tap = Tap { wanted, snap, staged, lengths: [0; LANES], free, told, lost: Arc::clone(&lost) };
    (Box::new(tap), TapReader { told: told_out, free: free_in, lost })
}

impl Tap {
    fn stride(&self) -> usize {
        self.staged.len() / LANES
    }

    /// Copies the frames of a batch that is to be judged.
    #[cold]
    #[inline(never)]
    pub(crate) fn stage(&mut self, arena: &Arena, batch: &Batch) {
        let stride = self.stride();
        for lane in 0..batch.len() {
            let bytes = arena.bytes(batch.frame(lane));
            let kept = bytes.len().min(stride);
            self.staged[lane * stride..][..kept].copy_from_slice(&bytes[..kept]);
            self.lengths[lane] = bytes.len() as u32;
        }
    }

    /// Tells of those that are wanted, now that the batch is judged.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell(&mut self, at: Tick, epoch: Epoch, batch: &Batch) {
        let stride = self.stride();
        for lane in 0..batch.len() {
            let (port, outcome, length) = (batch.ports[lane], batch.outcomes[lane], self.lengths[lane]);
            let bytes = &self.staged[lane * stride..][..stride.min(length as usize)];
            if !(self.wanted)(port, bytes, &outcome) {
                continue;
            }
            let Ok(mut slot) = self.free.try_recv() else {
                self.lost[port.index()].fetch_add(1, Ordering::Relaxed);
                continue;
            };
            slot.bytes.clear();
            slot.bytes.extend_from_slice(&bytes[..bytes.len().min(self.snap)]);
            (slot.at, slot.epoch, slot.port, slot.length, slot.outcome) = (at, epoch, port, length, outcome);
            // There is room for every slot; a reader that has gone needs none.
            let _ = self.told.try_send(slot);
        }
    }
}

impl TapReader {
    /// The next frame, if there is one; its slot goes back to the tap when `take` has seen it.
    pub fn next<T>(&self, take: impl FnOnce(&Judged) -> T) -> Option<T> {
        let judged = self.told.try_recv().ok()?;
        let taken = take(&judged);
        let _ = self.free.try_send(judged);
        Some(taken)
    }

    /// Frames that found no slot, by the ports they came in on.
    #[must_use]
    pub fn lost(&self) -> [u64; PortId::LIMIT] {
        std::array::from_fn(|port| self.lost[port].load(Ordering::Relaxed))
    }
}
