//! Ports without a network: [`MemoryPort`] for tests, whose other end the test holds, and [`TracePort`] for
//! benchmarks, which receives the same frames over and over.
//!
//! Neither keeps a frame of the arena: what is received is copied in, what is sent is copied out or counted, and
//! its frame is back in the pool at once.

use crate::arena::{Arena, Frame, FramePool};
use crate::port::Port;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Frames on their way in one direction.
#[derive(Debug)]
struct Lane {
    frames: VecDeque<Vec<u8>>,
    /// How many more frames the port may send.
    room: usize,
}

#[derive(Clone, Debug)]
struct SharedLane(Arc<Mutex<Lane>>);

impl SharedLane {
    fn new() -> Self {
        SharedLane(Arc::new(Mutex::new(Lane { frames: VecDeque::new(), room: usize::MAX })))
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        self.0.lock().expect("nothing panics while it holds the lane")
    }
}

/// A port whose other end is a [`Wire`] in a test's hands, or another port.
#[derive(Debug)]
pub struct MemoryPort {
    incoming: SharedLane,
    outgoing: SharedLane,
}

impl MemoryPort {
    /// A port, and the other end of its wire.
    #[must_use]
    pub fn with_wire() -> (MemoryPort, Wire) {
        let (to_port, from_port) = (SharedLane::new(), SharedLane::new());
        let port = MemoryPort { incoming: to_port.clone(), outgoing: from_port.clone() };
        (port, Wire { to_port, from_port })
    }

    /// Two ports: what one sends, the other receives.
    #[must_use]
    pub fn pair() -> (MemoryPort, MemoryPort) {
        let (port, wire) = MemoryPort::with_wire();
        (port, MemoryPort { incoming: wire.from_port, outgoing: wire.to_port })
    }
}

impl Port for MemoryPort {
    /// A frame that is longer than a chunk is cut to it, as a driver would.
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        let mut lane = self.incoming.lock();
        for _ in 0..room.min(lane.frames.len()) {
            let Some(mut frame) = pool.take() else { return };
            let data = lane.frames.pop_front().expect("the loop ends with the lane");
            let length = data.len().min(arena.layout().capacity);
            arena.buffer_mut(&mut frame)[..length].copy_from_slice(&data[..length]);
            arena.set_length(&mut frame, length);
            frames.push(frame);
        }
    }

    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        let mut lane = self.outgoing.lock();
        let count = frames.len().min(lane.room);
        if lane.room != usize::MAX {
            lane.room -= count;
        }
        for frame in frames.drain(..count) {
            lane.frames.push_back(arena.bytes(&frame).to_vec());
            pool.give(frame);
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

/// The test's end of a [`MemoryPort`].
#[derive(Clone, Debug)]
pub struct Wire {
    to_port: SharedLane,
    from_port: SharedLane,
}

impl Wire {
    /// Puts a frame on the wire, for the port to receive.
    pub fn push(&self, frame: impl Into<Vec<u8>>) {
        self.to_port.lock().frames.push_back(frame.into());
    }

    /// How many frames the port has not received yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.to_port.lock().frames.len()
    }

    /// The first frame that the port sent and nobody has taken yet.
    #[must_use]
    pub fn take(&self) -> Option<Vec<u8>> {
        self.from_port.lock().frames.pop_front()
    }

    /// All frames that the port sent and nobody has taken yet, in the order of sending.
    #[must_use]
    pub fn take_all(&self) -> Vec<Vec<u8>> {
        self.from_port.lock().frames.drain(..).collect()
    }

    /// From now on the port sends `room` frames and no more, as one whose ring is full; `None`: all.
    pub fn set_room(&self, room: Option<usize>) {
        self.from_port.lock().room = room.unwrap_or(usize::MAX);
    }
}

/// Bytes of a cache line: what a slot of a [`Trace`] is a multiple of.
const LINE: usize = 64;

/// Frames to be received again and again, in one contiguous buffer.
///
/// ```text
///   sequence | 0 | 1 | 0 | 2 | ...                 places in the order of receiving
///   places   | start, length | start, length |     in the order of first appearance,
///   bytes    | frame ...... pad | frame . pad |    so that the processor's prefetcher sees a stream
/// ```
#[derive(Debug)]
pub struct Trace {
    bytes: Box<[u8]>,
    places: Box<[(usize, u32)]>,
    sequence: Box<[u32]>,
}

impl Trace {
    /// Hands out `frames` in the order of `sequence`, which holds indices into them, and then from its start.
    ///
    /// # Panics
    /// Where the sequence is empty or has an index that no frame has.
    #[must_use]
    pub fn new(frames: &[impl AsRef<[u8]>], sequence: &[u32]) -> Trace {
        assert!(!sequence.is_empty(), "a trace has at least one frame");
        let mut place_of: Vec<Option<u32>> = vec![None; frames.len()];
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let sequence = sequence.iter().map(|&index| {
            *place_of[index as usize].get_or_insert_with(|| {
                let frame = frames[index as usize].as_ref();
                let length = u32::try_from(frame.len()).expect("a frame is far shorter than 4 GiB");
                places.push((bytes.len(), length));
                bytes.extend_from_slice(frame);
                bytes.resize(bytes.len().next_multiple_of(LINE), 0);
                (places.len() - 1) as u32
            })
        });
        let sequence = sequence.collect();
        Trace { bytes: bytes.into_boxed_slice(), places: places.into_boxed_slice(), sequence }
    }

    /// The frames in several traces, each in the one that `pick` names by its place here and its bytes, in the order that
    /// they have here. `None`: a trace that no frame falls to.
    #[must_use]
    pub fn split(&self, parts: usize, mut pick: impl FnMut(usize, &[u8]) -> usize) -> Vec<Option<Trace>> {
        let mut sequences: Vec<Vec<u32>> = vec![Vec::new(); parts];
        let frames: Vec<&[u8]> =
            self.places.iter().map(|(start, length)| &self.bytes[*start..][..*length as usize]).collect();
        for (position, index) in self.sequence.iter().enumerate() {
            sequences[pick(position, frames[*index as usize])].push(*index);
        }
        let traces = sequences.into_iter();
        traces.map(|sequence| (!sequence.is_empty()).then(|| Trace::new(&frames, &sequence))).collect()
    }

    /// How many frames are received before the trace begins anew.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sequence.len()
    }

    /// Never: a trace has at least one frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Bytes of the buffer that holds the frames: what receiving costs the caches.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.bytes.len()
    }

    /// Copies the frame at `position` of the sequence, and says how long it is.
    #[inline]
    fn copy(&self, position: usize, buffer: &mut [u8]) -> usize {
        let (start, length) = self.places[self.sequence[position] as usize];
        let length = length as usize;
        if length <= LINE
            && let (Some(to), Some(from)) =
                (buffer.first_chunk_mut::<LINE>(), self.bytes[start..].first_chunk::<LINE>())
        {
            // The frames of most runs.
            *to = *from;
            return length;
        }
        let padded = length.next_multiple_of(LINE);
        if padded > buffer.len() {
            let length = length.min(buffer.len());
            buffer[..length].copy_from_slice(&self.bytes[start..start + length]);
            return length;
        }
        // Whole lines: a copy of constant size is a few vector moves, one of variable size is a call.
        let source = self.bytes[start..start + padded].chunks_exact(LINE);
        for (to, from) in buffer.chunks_exact_mut(LINE).zip(source) {
            to.copy_from_slice(from);
        }
        length
    }
}

/// What passed a [`TracePort`]. The port is the only writer.
#[derive(Debug, Default)]
#[repr(align(128))] // Ports of several workers must not write into one line.
pub struct Tally {
    received: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Tally {
    /// Frames that were received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Frames that were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Their bytes, without FCS.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    #[inline]
    fn add(counter: &AtomicU64, amount: u64) {
        // One writer: a load and a store are enough, and cheaper than a locked addition.
        counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
    }
}

/// A port that receives the frames of a trace, without end, and sends into the void. It allocates nothing.
#[derive(Debug)]
pub struct TracePort {
    trace: Arc<Trace>,
    next: usize,
    tally: Arc<Tally>,
}

impl TracePort {
    /// A port at the start of the trace.
    #[must_use]
    pub fn new(trace: Arc<Trace>) -> TracePort {
        TracePort { trace, next: 0, tally: Arc::new(Tally::default()) }
    }

    /// The port's counters, which outlive its move into a worker.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

impl Port for TracePort {
    #[inline]
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        let before = frames.len();
        let (trace, mut next) = (&*self.trace, self.next);
        pool.take_some(room, frames);
        for frame in &mut frames[before..] {
            let length = trace.copy(next, arena.buffer_mut(frame));
            arena.set_length(frame, length);
            next += 1;
            if next == trace.len() {
                next = 0;
            }
        }
        self.next = next;
        Tally::add(&self.tally.received, (frames.len() - before) as u64);
    }

    #[inline]
    fn transmit(&mut self, _arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        let count = frames.len() as u64;
        let bytes = frames.iter().map(|frame| frame.length() as u64).sum();
        pool.give_all(frames);
        Tally::add(&self.tally.sent, count);
        Tally::add(&self.tally.sent_bytes, bytes);
    }

    fn service(&mut self, _arena: &Arena, _pool: &mut FramePool) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
