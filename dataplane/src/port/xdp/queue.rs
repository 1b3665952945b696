//! One queue of a port: frames between a worker and the kernel's rings.
//!
//! An unsafe island: it gives chunks to the kernel and takes them back. What makes this sound is that a chunk goes
//! into a ring only by [`Arena::lend`], which consumes its handle, and comes back only when the kernel hands it
//! over.
//!
//! ```text
//!            lend                       kernel                    redeem
//!   pool  ----------->  fill ring  ------------->  receive ring  ---------->  worker
//!   worker ---------->  transmit ring ---------->  completion ring -------->  pool
//! ```
#![allow(unsafe_code)]

use super::memory::{CAPACITY, CHUNK, HEADROOM, RING};
use super::statistics::{Statistics, socket_statistics};
use crate::arena::{Arena, Frame, FramePool};
use crate::port::Port;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::umem::{CompQueue, FillQueue, Umem};
use xsk_rs::{RxQueue, TxQueue};

/// The shortest frame that is worth sending: an Ethernet header. The kernel refuses less.
const SHORTEST: usize = 14;

/// The four rings of one queue.
pub(super) struct Rings {
    pub(super) receive: RxQueue,
    pub(super) transmit: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
}

/// One queue of an AF_XDP port.
///
/// Frames that it holds when it is dropped are gone with it: they never come back to the pool.
pub struct XdpPort {
    umem: Umem,
    descriptors: Arc<[FrameDesc]>,
    arena: u32,
    rings: Rings,
    copies: bool,
    /// Chunks in the fill ring, in the driver, or in the receive ring.
    receiving: usize,
    /// Chunks in the transmit ring, in flight, or in the completion ring.
    sending: usize,
    /// Room for as many descriptors as a ring has; empty between two calls.
    scratch: Box<[FrameDesc]>,
    statistics: Statistics,
}

impl XdpPort {
    pub(super) fn new(
        umem: Umem,
        descriptors: Arc<[FrameDesc]>,
        arena: &Arena,
        rings: Rings,
        copies: bool,
    ) -> XdpPort {
        XdpPort {
            umem,
            descriptors,
            arena: arena.id(),
            rings,
            copies,
            receiving: 0,
            sending: 0,
            scratch: vec![FrameDesc::default(); RING as usize].into(),
            statistics: Statistics::default(),
        }
    }

    /// What has happened so far, the kernel's own counts included.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics + socket_statistics(self.descriptor_number())
    }

    /// The socket.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket stays open as long as its rings, which are borrowed with `self`.
        unsafe { BorrowedFd::borrow_raw(self.descriptor_number()) }
    }

    fn descriptor_number(&self) -> RawFd {
        self.rings.receive.fd().as_raw_fd()
    }

    /// Takes back the frames that the kernel has sent.
    fn reclaim(&mut self, arena: &Arena, pool: &mut FramePool) {
        // SAFETY: the completion ring is of the same UMEM as the descriptors, which it overwrites.
        let count = unsafe { self.rings.completion.consume(&mut self.scratch) };
        for descriptor in &self.scratch[..count] {
            let index = (descriptor.addr() / CHUNK) as u32;
            // SAFETY: the kernel has sent the chunk's frame and gives the chunk back, once per time that it was
            // lent in `submit`.
            pool.give(unsafe { arena.redeem(index, 0) });
        }
        self.sending -= count;
        self.statistics.sent += count as u64;
    }

    /// Gives the kernel empty frames to receive into, as many as the ring takes and the pool has.
    fn refill(&mut self, arena: &Arena, pool: &mut FramePool) {
        let missing = RING as usize - self.receiving;
        let room = (self.rings.fill.nb_free(RING) as usize).min(missing).min(pool.len());
        if room == 0 {
            return;
        }
        for slot in &mut self.scratch[..room] {
            let frame = pool.take().expect("`room` is not more than the pool has");
            *slot = self.descriptors[arena.lend(frame) as usize];
        }
        // SAFETY: each descriptor names a chunk whose handle `lend` has just consumed.
        let given = unsafe { self.rings.fill.produce(&self.scratch[..room]) };
        assert!(given == room, "a ring takes what it said it has room for");
        self.receiving += room;
    }

    /// The handle of a chunk that the kernel has received a frame into; `None` where it can't be one of ours.
    fn accept(&mut self, arena: &Arena, pool: &mut FramePool, received: FrameDesc) -> Option<Frame> {
        let index = received.addr() / CHUNK;
        let length = received.lengths().data();
        if length > CAPACITY {
            // SAFETY: the kernel has handed over the chunk, which it got in `refill`.
            pool.give(unsafe { arena.redeem(index as u32, 0) });
            self.statistics.too_long += 1;
            return None;
        }
        if received.addr() % CHUNK != HEADROOM {
            self.align(received, index);
        }
        // SAFETY: as above, once per chunk: the two are different branches.
        Some(unsafe { arena.redeem(index as u32, length) })
    }

    /// Moves a frame to where the arena looks for it. Some drivers put a prefix of their own before the frame in
    /// zero-copy mode, which shifts it.
    #[cold]
    fn align(&mut self, received: FrameDesc, index: usize) {
        let length = received.lengths().data();
        // SAFETY: the kernel has handed over the chunk, and nobody has a handle of it yet.
        let (_, data) = unsafe { self.umem.frame(&received) };
        let from = data.contents().as_ptr();
        let mut aligned = self.descriptors[index];
        // SAFETY: as above; the view that `from` was taken from is not used any more.
        let (_, mut data) = unsafe { self.umem.frame_mut(&mut aligned) };
        data.cursor().set_pos(length);
        let to = data.contents_mut().as_mut_ptr();
        // SAFETY: both ranges are of `length` bytes and in the same chunk, which is ours; they may overlap.
        unsafe { std::ptr::copy(from, to, length) };
        self.statistics.moved += 1;
    }

    /// Puts the first `count` frames into the transmit ring.
    fn submit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>, count: usize) {
        let mut filled = 0;
        for frame in frames.drain(..count) {
            let length = frame.length();
            if length < SHORTEST {
                self.statistics.too_short += 1;
                pool.give(frame);
                continue;
            }
            let mut descriptor = self.descriptors[arena.lend(frame) as usize];
            // SAFETY: the handle was just consumed, and the kernel does not have the chunk yet.
            let (_, mut data) = unsafe { self.umem.frame_mut(&mut descriptor) };
            data.cursor().set_pos(length);
            self.scratch[filled] = descriptor;
            filled += 1;
        }
        // SAFETY: each descriptor names a chunk whose handle `lend` has consumed.
        let taken = unsafe { self.rings.transmit.produce(&self.scratch[..filled]) };
        assert!(taken == filled, "a ring takes what it said it has room for");
        self.sending += filled;
    }

    /// How many frames wait in the transmit ring.
    fn waiting(&mut self) -> u32 {
        RING - self.rings.transmit.nb_free_exact()
    }

    /// Has the kernel send what is in the transmit ring.
    ///
    /// In copy mode the kernel sends nothing by itself, and one call sends only so many frames (32 by default):
    /// it is called until the ring is empty, or until a call changes nothing because the device or the socket's
    /// buffer is full. With zero-copy the driver sends, and may have to be woken.
    fn kick(&mut self) {
        let mut before = self.waiting();
        while before > 0 && self.rings.transmit.needs_wakeup() {
            self.statistics.kicks += 1;
            if self.rings.transmit.wakeup().is_err() {
                self.statistics.kick_errors += 1;
                return;
            }
            let now = self.waiting();
            if now == before || !self.copies {
                return;
            }
            before = now;
        }
    }
}

impl Port for XdpPort {
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        assert!(arena.id() == self.arena, "the arena is another one");
        let room = room.min(self.scratch.len());
        // SAFETY: the receive ring is of the same UMEM as the descriptors, which it overwrites.
        let count = unsafe { self.rings.receive.consume(&mut self.scratch[..room]) };
        if count == 0 {
            return;
        }
        self.receiving -= count;
        self.statistics.received += count as u64;
        for i in 0..count {
            let received = self.scratch[i];
            frames.extend(self.accept(arena, pool, received));
        }
        self.refill(arena, pool);
    }

    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        assert!(arena.id() == self.arena, "the arena is another one");
        while !frames.is_empty() {
            self.reclaim(arena, pool);
            let room = (self.rings.transmit.nb_free(RING) as usize).min(RING as usize - self.sending);
            let count = frames.len().min(room);
            if count == 0 {
                self.statistics.transmit_full += 1;
                return;
            }
            self.submit(arena, pool, frames, count);
            self.kick();
        }
    }

    fn service(&mut self, arena: &Arena, pool: &mut FramePool) {
        assert!(arena.id() == self.arena, "the arena is another one");
        if self.sending > 0 {
            self.kick();
            self.reclaim(arena, pool);
        }
        self.refill(arena, pool);
        if self.rings.fill.needs_wakeup() && self.rings.fill.wakeup(self.rings.receive.fd_mut(), 0).is_err() {
            self.statistics.kick_errors += 1;
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the socket is this queue's own and open as long as the queue lives, which is borrowed.
        Some(unsafe { BorrowedFd::borrow_raw(self.descriptor_number()) })
    }

    fn held(&self) -> usize {
        self.receiving + self.sending
    }
}

impl std::fmt::Debug for XdpPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XdpPort")
            .field("descriptor", &self.descriptor_number())
            .field("receiving", &self.receiving)
            .field("sending", &self.sending)
            .finish_non_exhaustive()
    }
}
