//! What workers pass to each other: frames to their owners, frames to whoever serves a port, and word of neighbors.
//!
//! ```text
//!   worker A --- frames ----------> worker B      by their numbers: not a byte of a frame is copied
//!            <-- empty chunks -----               as many as came, from B's own
//!            --- news of neighbors ->
//! ```
//!
//! Every two workers have rings of their own in each direction, so each has one writer and one reader, and nothing
//! locks. Frames are *exchanged*: who takes a frame gives an empty chunk for it, at once or as soon as it has one. So
//! every worker has as many chunks as at the start, wherever the frames of its ports are sent, and its ports never run out
//! because others send. A full ring is a drop, `tx-full`, of the worker that found it full.
//!
//! An unsafe island: chunks go through the rings by their numbers. What makes this sound is that a number goes in
//! only by [`Arena::lend`], which consumes the handle, and a ring gives each word out once.
#![allow(unsafe_code)]

mod ring;

use crate::arena::{Arena, Frame, FramePool};
use crate::ownership::Owners;
use classifier::addr::{Mac, PortId, VlanKey};
use conntrack::Epoch;
use crossbeam_channel::{Receiver, Sender, bounded};
use ring::{Reader, Writer, ring};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// Frames that may be on their way from one worker to another.
pub const ROOM: u32 = 1024;
/// Words of neighbors that may be on their way to a worker.
const NEWS: usize = 1024;

/// What a worker has heard of a neighbor, for the others: what one believes all do, and each what it has asked for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) vlan: VlanKey,
    pub(crate) address: IpAddr,
    pub(crate) mac: Mac,
    /// The worker that heard it believes it: it had asked, or the neighbor had asked for the gateway.
    pub(crate) is_believed: bool,
}

/// What is to be done with a frame that another worker passes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// It came in on the port and is to be judged. The low bits of the epoch by which the other found the owner.
    Judge(u8),
    /// It is judged, and is to be sent by the port.
    Send,
}

/// A frame from another worker.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) frame: Frame,
    pub(crate) port: PortId,
    pub(crate) purpose: Purpose,
}

/// Bits of an epoch in a word.
const EPOCH: u32 = 0x7f;
const SEND: u64 = 1 << 63;

/// What of an epoch a parcel bears.
pub(crate) fn stamp(epoch: Epoch) -> u8 {
    (epoch.0 & EPOCH) as u8
}

fn pack(arena: &Arena, frame: Frame, port: PortId, purpose: Purpose) -> u64 {
    let length = frame.length() as u64;
    let rest = match purpose {
        Purpose::Judge(epoch) => u64::from(epoch) << 56,
        Purpose::Send => SEND,
    };
    u64::from(arena.lend(frame)) | length << 32 | u64::from(port.0) << 48 | rest
}

fn unpack(arena: &Arena, word: u64) -> Parcel {
    // SAFETY: the word came out of a ring, which gives it once; `pack` put it in and consumed the frame's handle.
    let frame = unsafe { arena.redeem(word as u32, usize::from((word >> 32) as u16)) };
    let purpose = match word & SEND {
        0 => Purpose::Judge((word >> 56) as u8),
        _ => Purpose::Send,
    };
    Parcel { frame, port: PortId((word >> 48) as u8), purpose }
}

/// A flag of one worker, which others read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Asleep(AtomicBool);

#[derive(Debug)]
struct Common {
    asleep: Vec<Asleep>,
    /// How many workers have come to each stage of their end.
    ended: [AtomicUsize; 2],
    arena: OnceLock<u32>,
}

/// The way to another worker, and from it.
#[derive(Debug)]
struct Peer {
    frames: Writer,
    /// The empty chunks that it gives for them.
    refunds: Reader,
    inbox: Reader,
    debts: Writer,
    /// Chunks that it is still to be given.
    owed: u32,
    news: Sender<News>,
    has_mail: bool,
}

/// A worker's place among the others.
#[derive(Debug)]
pub struct Seat {
    index: usize,
    /// By worker; its own place is empty.
    peers: Vec<Option<Peer>>,
    /// The peer whose frames are taken next.
    next: usize,
    news: Receiver<News>,
    common: Arc<Common>,
    owners: Owners,
    /// The worker that serves each port, where this one does not.
    servers: Vec<Option<usize>>,
}

/// The places of all workers, in their order.
#[must_use]
pub fn seats(owners: &Owners) -> Vec<Seat> {
    let workers = owners.workers();
    let common = Arc::new(Common {
        asleep: (0..workers).map(|_| Asleep::default()).collect(),
        ended: [AtomicUsize::new(0), AtomicUsize::new(0)],
        arena: OnceLock::new(),
    });
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| bounded(NEWS)).unzip();
    let mut peers: Vec<Vec<Option<Peer>>> =
        (0..workers).map(|_| (0..workers).map(|_| None).collect()).collect();
    for a in 1..workers {
        let (before, from_a) = peers.split_at_mut(a);
        for (b, of_b) in before.iter_mut().enumerate() {
            let (frames_ab, inbox_b) = ring(ROOM);
            let (frames_ba, inbox_a) = ring(ROOM);
            let (debts_b, refunds_a) = ring(ROOM);
            let (debts_a, refunds_b) = ring(ROOM);
            let peer = |frames, refunds, inbox, debts, to: usize| {
                let news = senders[to].clone();
                Some(Peer { frames, refunds, inbox, debts, owed: 0, news, has_mail: false })
            };
            from_a[0][b] = peer(frames_ab, refunds_a, inbox_a, debts_a, b);
            of_b[a] = peer(frames_ba, refunds_b, inbox_b, debts_b, a);
        }
    }
    let seats = peers.into_iter().zip(receivers).enumerate().map(|(index, (peers, news))| Seat {
        index,
        peers,
        next: 0,
        news,
        common: Arc::clone(&common),
        owners: owners.clone(),
        servers: Vec::new(),
    });
    seats.collect()
}

/// The queues of a port that a worker serves, of so many: each has one worker.
pub fn queues_of(worker: usize, workers: usize, queues: usize) -> impl Iterator<Item = usize> {
    (worker..queues).step_by(workers)
}

/// The worker that serves a port of so many queues, where they are fewer than the workers and this one serves none.
#[must_use]
pub fn server_of(worker: usize, queues: usize) -> Option<usize> {
    (worker >= queues).then(|| worker % queues)
}

impl Seat {
    /// Says which worker serves each port, where this one does not: what leaves there is passed on to it.
    #[must_use]
    pub fn with_servers(mut self, servers: Vec<Option<usize>>) -> Seat {
        self.servers = servers;
        self
    }

    /// The number of the worker.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The worker that serves a port, where this one does not.
    pub(crate) fn server(&self, port: PortId) -> Option<usize> {
        self.servers.get(port.index()).copied().flatten()
    }

    /// Who owns what.
    pub(crate) fn owners(&mut self) -> &mut Owners {
        &mut self.owners
    }

    /// Takes the place, with frames of this arena.
    ///
    /// # Panics
    /// Where the other workers have another arena, or its chunks are too long for a word.
    pub(crate) fn take_place(&self, arena: &Arena) {
        assert!(*self.common.arena.get_or_init(|| arena.id()) == arena.id(), "workers share their frames");
        assert!(arena.layout().capacity <= usize::from(u16::MAX), "a frame's length must fit a word");
    }

    /// The worker that a frame must be passed to; `None`: this one may judge it.
    #[inline]
    pub(crate) fn destination(&self, port: PortId, frame: &[u8]) -> Option<usize> {
        self.owners.of(port, frame).filter(|owner| *owner != self.index)
    }

    /// Passes a frame on; it goes with the next [`Seat::post`].
    ///
    /// # Errors
    /// The frame, where there is no room.
    #[inline]
    pub(crate) fn pass(
        &mut self,
        arena: &Arena,
        to: usize,
        port: PortId,
        frame: Frame,
        purpose: Purpose,
    ) -> Result<(), Frame> {
        let Some(peer) = &mut self.peers[to] else { return Err(frame) };
        let word = pack(arena, frame, port, purpose);
        if peer.frames.put(word) {
            peer.has_mail = true;
            return Ok(());
        }
        Err(unpack(arena, word).frame)
    }

    /// How many frames may be passed to a worker.
    pub(crate) fn room(&mut self, to: usize) -> usize {
        self.peers[to].as_mut().map_or(0, |peer| peer.frames.room())
    }

    /// Tells all others of a neighbor; how many could not be told.
    pub(crate) fn tell(&mut self, news: &News) -> u64 {
        let mut lost = 0;
        for peer in self.peers.iter_mut().flatten() {
            peer.has_mail = true;
            lost += u64::from(peer.news.try_send(*news).is_err());
        }
        lost
    }

    /// Lets the others see what was passed on; `wake` is told of those that sleep.
    #[inline]
    pub(crate) fn post(&mut self, wake: &dyn Fn(usize)) {
        let mut has_mail = false;
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.has_mail) {
            peer.frames.publish();
            has_mail = true;
        }
        if !has_mail {
            return;
        }
        // A worker that lies down says so and then looks once more; here it is the other way round. So one of the two
        // sees the other.
        fence(Ordering::SeqCst);
        for (worker, peer) in self.peers.iter_mut().enumerate() {
            let Some(peer) = peer.as_mut().filter(|peer| peer.has_mail) else { continue };
            peer.has_mail = false;
            let asleep = &self.common.asleep[worker].0;
            if asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::AcqRel) {
                wake(worker);
            }
        }
    }

    /// A frame that another worker has passed on, if there is one.
    #[inline]
    pub(crate) fn take(&mut self, arena: &Arena) -> Option<Parcel> {
        for _ in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[self.next] {
                if let Some(word) = peer.inbox.take() {
                    peer.owed += 1;
                    return Some(unpack(arena, word));
                }
                peer.inbox.release();
            }
            self.next = if self.next + 1 == self.peers.len() { 0 } else { self.next + 1 };
        }
        None
    }

    /// What another worker has heard of a neighbor.
    #[inline]
    pub(crate) fn hear(&self) -> Option<News> {
        if self.news.is_empty() { None } else { self.news.try_recv().ok() }
    }

    /// Gives the others empty chunks for what was taken, and takes theirs.
    #[inline]
    pub(crate) fn settle(&mut self, arena: &Arena, pool: &mut FramePool) {
        // None is always served last.
        self.next = if self.next + 1 >= self.peers.len() { 0 } else { self.next + 1 };
        for peer in self.peers.iter_mut().flatten() {
            while let Some(word) = peer.refunds.take() {
                pool.give(unpack(arena, word).frame);
            }
            peer.refunds.release();
            peer.inbox.release();
            if peer.owed == 0 {
                continue;
            }
            while peer.owed > 0 {
                let Some(chunk) = pool.take() else { break };
                let word = pack(arena, chunk, PortId(0), Purpose::Send);
                if !peer.debts.put(word) {
                    pool.give(unpack(arena, word).frame);
                    break;
                }
                peer.owed -= 1;
            }
            peer.debts.publish();
        }
    }

    /// Says that this worker is about to sleep. Whether it may: nothing was passed to it meanwhile.
    pub(crate) fn lie_down(&self) -> bool {
        self.common.asleep[self.index].0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_quiet = self.news.is_empty() && self.peers.iter().flatten().all(|peer| peer.inbox.is_empty());
        if !is_quiet {
            self.get_up();
        }
        is_quiet
    }

    /// Says that this worker is awake.
    pub(crate) fn get_up(&self) {
        self.common.asleep[self.index].0.store(false, Ordering::Relaxed);
    }

    /// Says that this worker has come to a stage of its end: 0, it receives no more; 1, it judges no more.
    pub(crate) fn come_to(&self, stage: usize) {
        self.common.ended[stage].fetch_add(1, Ordering::AcqRel);
    }

    /// Whether all workers have come to a stage.
    pub(crate) fn all_have_come_to(&self, stage: usize) -> bool {
        self.common.ended[stage].load(Ordering::Acquire) >= self.peers.len()
    }
}
