//! The memory that all ports of a process share with the kernel (a UMEM), as an [`Arena`].
//!
//! An unsafe island: it finds the region's address, which the library below keeps to itself. Nothing here
//! touches a frame.
//!
//! ```text
//!   chunk of 4096 bytes
//!   |<-- 256 for XDP -->|<------------ 3840: the frame ------------>|
//! ```
#![allow(unsafe_code)]

use super::error::OpenError;
use crate::arena::{Arena, FramePool, Layout};
use std::error::Error;
use std::io;
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;
use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::umem::Umem;
use xsk_rs::umem::frame::FrameDesc;

/// Bytes of a chunk: the largest that an aligned UMEM may have on machines with pages of 4 KiB.
pub(super) const CHUNK: usize = 4096;
/// Bytes before a frame, for XDP programs to grow it into (`XDP_PACKET_HEADROOM`).
pub(super) const HEADROOM: usize = 256;
/// The longest frame.
pub(super) const CAPACITY: usize = CHUNK - HEADROOM;
/// Entries of each of the four rings of a queue.
pub(super) const RING: u32 = 2048;
/// Chunks on a huge page of 2 MiB: a region is always a multiple of it.
const CHUNKS_PER_HUGE_PAGE: u32 = (2 << 20) / CHUNK as u32;

/// The shared memory, before it has become an arena.
pub(super) struct Memory {
    pub(super) umem: Umem,
    /// How the rings name each chunk, by its number.
    pub(super) descriptors: Arc<[FrameDesc]>,
    /// Whether it lies on huge pages.
    pub(super) huge: bool,
}

impl Memory {
    /// At least `frames` chunks, on huge pages where there are enough.
    pub(super) fn new(frames: u32) -> Result<Memory, OpenError> {
        let ring = QueueSize::new(RING).expect("the ring size is a power of two");
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(CHUNK as u32).expect("the chunk size is above the least one"))
            .fill_queue_size(ring)
            .comp_queue_size(ring)
            .build()
            .expect("the headroom is smaller than a chunk");
        let count = frames.max(1).next_multiple_of(CHUNKS_PER_HUGE_PAGE);
        let count = NonZeroU32::new(count).expect("a multiple of 512 that is at least 1");
        let (made, huge) = match Umem::new(config, count, true) {
            Ok(made) => (Ok(made), true),
            Err(_) => (Umem::new(config, count, false), false),
        };
        let (umem, descriptors) = made.map_err(|error| {
            let bytes = u64::from(count.get()) * CHUNK as u64;
            open_error(bytes, system_error(&error))
        })?;
        Ok(Memory { umem, descriptors: descriptors.into(), huge })
    }

    /// The arena over this memory, which it keeps alive, and the handles of all its chunks.
    pub(super) fn arena(&self) -> (Arena, FramePool) {
        let mut first = self.descriptors[0];
        assert!(first.addr() == HEADROOM, "the library puts frames right behind the headroom");
        // SAFETY: no frame handle exists yet and no ring holds a chunk, so nobody else touches the first chunk.
        let (_, mut data) = unsafe { self.umem.frame_mut(&mut first) };
        let start = data.cursor().buf_len();
        assert!(start == CAPACITY, "a frame takes the rest of its chunk");
        // SAFETY: as above.
        let (_, data) = unsafe { self.umem.frame(&self.descriptors[0]) };
        // The library shows one chunk at a time. The region is one mapping all the same, whose address it gave
        // to C code (and so exposed) when it registered it with the kernel.
        let address = data.contents().as_ptr().addr() - HEADROOM;
        let base = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(address));
        let layout = Layout {
            stride: CHUNK,
            start: HEADROOM,
            capacity: CAPACITY,
            count: u32::try_from(self.descriptors.len()).expect("made from a 32-bit count"),
        };
        let owner = Box::new(self.umem.clone());
        // SAFETY: the region has a chunk for each descriptor, zeroed by the kernel; the clone of the UMEM keeps
        // it mapped; but for the kernel and `queue.rs`, which follow the rules of lent frames, nobody has it.
        unsafe { Arena::new(base.expect("a mapping is never at zero"), layout, owner) }
    }
}

/// The kernel's error below one of the library's.
pub(super) fn system_error(error: &dyn Error) -> io::Error {
    let code = error.source().and_then(|e| e.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

fn open_error(bytes: u64, error: io::Error) -> OpenError {
    match error.raw_os_error() {
        // The kernel answers ENOBUFS where RLIMIT_MEMLOCK is exceeded (xdp_umem_account_pages).
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => OpenError::LockedMemory { bytes },
        _ => OpenError::system("AF_XDP", "register the memory of the frames", error),
    }
}
