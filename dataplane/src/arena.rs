//! The memory that frames live in: one region of equal chunks, shared by all ports of a process, so that a
//! frame moves from one port to another without a copy.
//!
//! An unsafe island: it turns a frame handle into the bytes of its chunk. What makes this sound is that
//! handles are unique: [`Arena::new`] makes exactly one [`Frame`] per chunk, and a `Frame` can't be cloned.
//!
//! ```text
//!   base                 base + stride
//!    |<---- start ---->|<------ capacity ------>|
//!    +-----------------+------------------------+-----------------+---
//!    | driver headroom | frame 0                | driver headroom | ...
//!    +-----------------+------------------------+-----------------+---
//! ```
#![allow(unsafe_code)]

use conntrack::memory::prefetch_at;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT_ARENA: AtomicU32 = AtomicU32::new(1);

/// The one handle on a chunk of an [`Arena`], and how many of its bytes are a frame.
#[derive(Debug)]
pub struct Frame {
    arena: u32,
    index: u32,
    length: u32,
}

impl Frame {
    /// The number of the chunk in its arena.
    #[must_use]
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Bytes of the frame, Ethernet header included, FCS not.
    #[must_use]
    #[inline]
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// Whether the frame holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Where the chunks of an arena lie.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes from one chunk to the next.
    pub stride: usize,
    /// Bytes before the first byte of a frame in its chunk.
    pub start: usize,
    /// Most bytes of a frame.
    pub capacity: usize,
    /// Number of chunks.
    pub count: u32,
}

/// Bytes at the start of a chunk that [`Heads`] lend: Ethernet with a tag, IPv6 and TCP with all options fit.
pub const HEAD: usize = 128;

/// A region of memory cut into chunks.
#[derive(Debug)]
pub struct Arena {
    id: u32,
    base: NonNull<u8>,
    layout: Layout,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the region is only reached through `Frame` handles, each of which exists once and is itself moved
// between threads by value; the arena's own fields are never written after construction.
unsafe impl Send for Arena {}
// SAFETY: as above: two threads with a shared arena hold different handles, hence different chunks.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena over memory that `owner` keeps alive, and the handles of all its chunks.
    ///
    /// # Safety
    /// `base` must point to `layout.stride * layout.count` bytes that are valid for reads and writes as long as
    /// `owner` lives, and that nobody else touches but under the rules that the owner of a `Frame` obeys
    /// (the kernel, while a chunk is in one of its rings).
    ///
    /// # Panics
    /// Where a frame would not fit its chunk.
    #[must_use]
    pub unsafe fn new(
        base: NonNull<u8>,
        layout: Layout,
        owner: Box<dyn Any + Send + Sync>,
    ) -> (Arena, FramePool) {
        assert!(layout.start + layout.capacity <= layout.stride, "a frame must fit its chunk");
        let id = NEXT_ARENA.fetch_add(1, Ordering::Relaxed);
        let free = (0..layout.count).rev().map(|index| Frame { arena: id, index, length: 0 }).collect();
        (Arena { id, base, layout, owner: owner.into() }, FramePool { free })
    }

    /// The same memory once more, for another worker: who counts references to its own does not disturb the others.
    #[must_use]
    pub fn share(&self) -> Arena {
        Arena { id: self.id, base: self.base, layout: self.layout, owner: Arc::clone(&self.owner) }
    }

    /// An arena on the heap, for ports that have no driver below them.
    #[must_use]
    pub fn on_heap(count: u32, capacity: usize) -> (Arena, FramePool) {
        // An odd number of cache lines: of equal chunks of 2,048 bytes, all beginnings would want the same few lines of
        // the first cache.
        let stride = capacity.next_multiple_of(64) | 64;
        let mut memory: Vec<u8> = conntrack::memory::reserve(stride * count as usize);
        memory.resize(stride * count as usize, 0);
        let mut memory = memory.into_boxed_slice();
        let base = NonNull::new(memory.as_mut_ptr()).expect("a box is never null");
        let layout = Layout { stride, start: 0, capacity, count };
        // SAFETY: the box has `stride * count` bytes, does not move its contents, and is kept as the owner;
        // nothing else refers to it.
        unsafe { Arena::new(base, layout, Box::new(memory)) }
    }

    /// What tells this arena from any other of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Where the chunks lie.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    #[inline]
    fn chunk(&self, frame: &Frame) -> NonNull<u8> {
        assert!(frame.arena == self.id, "the frame is of another arena");
        let offset = frame.index as usize * self.layout.stride + self.layout.start;
        // SAFETY: `index` is below `count` by construction of the handle, so the offset is inside the region.
        unsafe { self.base.add(offset) }
    }

    /// The frame's bytes.
    #[must_use]
    #[inline]
    pub fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let chunk = self.chunk(frame);
        // SAFETY: the handle is unique and borrowed, so nobody writes the chunk meanwhile; `length` is at most
        // `capacity` (kept by `set_length`), and the region was initialised by its owner.
        unsafe { std::slice::from_raw_parts(chunk.as_ptr(), frame.length as usize) }
    }

    /// The frame's bytes, to be changed.
    #[must_use]
    #[inline]
    pub fn bytes_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let length = frame.length as usize;
        &mut self.buffer_mut(frame)[..length]
    }

    /// What lends the heads of many frames, and asks only once whether the chunks are long enough for them.
    #[must_use]
    #[inline]
    pub fn heads(&self) -> Option<Heads<'_>> {
        (self.layout.capacity >= HEAD).then_some(Heads(self))
    }

    /// All bytes that a frame may take in the chunk, to be filled; [`Arena::set_length`] says how many were.
    #[must_use]
    #[inline]
    pub fn buffer_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let chunk = self.chunk(frame);
        // SAFETY: the handle is unique and mutably borrowed, so nobody else reads or writes the chunk; the
        // chunk has `capacity` bytes behind its start.
        unsafe { std::slice::from_raw_parts_mut(chunk.as_ptr(), self.layout.capacity) }
    }

    /// Says how many bytes of the chunk are the frame.
    ///
    /// # Panics
    /// Where it is more than a chunk holds.
    #[inline]
    pub fn set_length(&self, frame: &mut Frame, length: usize) {
        if length > self.layout.capacity {
            too_long(length);
        }
        frame.length = length as u32;
    }

    /// Gives the chunk to somebody who names it by its number alone (a kernel's ring), and forgets the handle.
    ///
    /// # Panics
    /// Where the frame is of another arena.
    #[must_use = "the number is the only thing left of the frame"]
    #[inline]
    pub fn lend(&self, frame: Frame) -> u32 {
        assert!(frame.arena == self.id, "the frame is of another arena");
        frame.index
    }

    /// The handle of a chunk that was lent and has come back with a frame of `length` bytes in it.
    ///
    /// # Safety
    /// The chunk must have been given to [`Arena::lend`] of this arena, be redeemed once per loan, and its
    /// borrower must not touch it any more.
    ///
    /// # Panics
    /// Where the arena has no such chunk, or the length is more than a chunk holds.
    #[must_use]
    #[inline]
    pub unsafe fn redeem(&self, index: u32, length: usize) -> Frame {
        assert!(index < self.layout.count, "the arena has no chunk {index}");
        if length > self.layout.capacity {
            too_long(length);
        }
        Frame { arena: self.id, index, length: length as u32 }
    }

    /// Asks the processor to fetch the frame's first cache line.
    #[inline]
    pub fn prefetch(&self, frame: &Frame) {
        // A frame of another arena would make an address that nothing is at: a prefetch is no access, and may be of any.
        let offset = (frame.index as usize).wrapping_mul(self.layout.stride).wrapping_add(self.layout.start);
        prefetch_at(self.base.as_ptr().wrapping_add(offset));
    }
}

/// Apart, so that whoever sets a length does not keep it in memory for the message.
#[cold]
#[inline(never)]
fn too_long(length: usize) -> ! {
    panic!("a frame of {length} bytes does not fit its chunk")
}

/// An arena whose chunks are known to be no shorter than a head.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a>(&'a Arena);

impl<'a> Heads<'a> {
    /// The first bytes of the chunk, however long the frame is: behind its end stands what was there before. Of a
    /// fixed number, so that reading a field needs no check of its place.
    #[must_use]
    #[inline]
    pub fn of<'f>(self, frame: &'f Frame) -> &'f [u8; HEAD]
    where
        'a: 'f,
    {
        let chunk = self.0.chunk(frame);
        // SAFETY: the handle is unique and borrowed, so nobody writes the chunk meanwhile; the chunk has `capacity`
        // bytes behind its start, which were seen to be no fewer, and the region was initialised by its owner.
        unsafe { chunk.cast::<[u8; HEAD]>().as_ref() }
    }

    /// The same, to be changed.
    #[must_use]
    #[inline]
    pub fn of_mut<'f>(self, frame: &'f mut Frame) -> &'f mut [u8; HEAD]
    where
        'a: 'f,
    {
        let chunk = self.0.chunk(frame);
        // SAFETY: as for `of`, and the handle is mutably borrowed, so nobody else reads the chunk either.
        unsafe { chunk.cast::<[u8; HEAD]>().as_mut() }
    }
}

/// The empty frames that a worker has at hand.
#[derive(Debug, Default)]
pub struct FramePool {
    free: Vec<Frame>,
}

impl FramePool {
    /// An empty frame, if there is one.
    #[must_use]
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Takes out up to `count` empty frames, and adds them to `frames`.
    #[inline]
    pub fn take_some(&mut self, count: usize, frames: &mut Vec<Frame>) {
        let at = self.free.len().saturating_sub(count);
        frames.extend(self.free.drain(at..));
    }

    /// Takes all of these frames back.
    #[inline]
    pub fn give_all(&mut self, frames: &mut Vec<Frame>) {
        self.free.extend(frames.drain(..).map(|frame| Frame { length: 0, ..frame }));
    }

    /// Takes a frame back.
    #[inline]
    pub fn give(&mut self, mut frame: Frame) {
        frame.length = 0;
        self.free.push(frame);
    }

    /// How many frames are at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether none is at hand.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// A pool of its own with up to `count` of these frames, for another worker. It has room for as many as this one: those
    /// in the ports' rings come back to their workers' pools, which must not grow then.
    #[must_use]
    pub fn split_off(&mut self, count: usize) -> FramePool {
        let at = self.free.len().saturating_sub(count);
        let mut free = Vec::with_capacity(self.free.capacity());
        free.extend(self.free.drain(at..));
        FramePool { free }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_has_bytes_of_its_own() {
        let (arena, mut pool) = Arena::on_heap(4, 100);
        let mut frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        for (value, frame) in frames.iter_mut().enumerate() {
            arena.set_length(frame, 100);
            arena.bytes_mut(frame).fill(value as u8);
        }
        for (value, frame) in frames.iter().enumerate() {
            assert!(arena.bytes(frame).iter().all(|b| *b == value as u8));
        }
    }

    #[test]
    #[should_panic(expected = "another arena")]
    fn a_frame_of_another_arena_is_refused() {
        let (_a, mut pool) = Arena::on_heap(1, 64);
        let (b, _) = Arena::on_heap(1, 64);
        let frame = pool.take().expect("one frame");
        let _ = b.bytes(&frame);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_frame_never_grows_over_its_chunk() {
        let (arena, mut pool) = Arena::on_heap(1, 64);
        let mut frame = pool.take().expect("one frame");
        arena.set_length(&mut frame, 65);
    }
}
