//! The datagrams that are under way, and the frames that wait for their first fragments. All memory is taken at the
//! start, and its sum is [`BUDGET`](super::BUDGET).

use super::hold::{BLOCK, Hold, blocks_for};
use super::key::DatagramKey;
use super::order::Order;
use super::span::{Extents, Fit, Place};
use super::{BUDGET, SHARE};
use crate::time::Tick;
use classifier::reason::DropReason;
use siphasher::sip::SipHasher13;
use std::time::Duration;

/// The end of a list of 16-bit numbers.
pub(super) const NONE: u16 = u16::MAX;

/// Datagrams under way.
const RECORDS: usize = 640;
/// Frames that are held.
const FRAMES: usize = 2048;
/// Heads of the index's chains: a power of two.
const HEADS: usize = 1024;
/// Counters of what sources take, by a keyed hash: a power of two. Two sources may share one.
const SOURCES: usize = 2048;
/// How many of the oldest datagrams are looked at for one that may make room.
const LOOKED_AT: usize = 32;

/// A datagram of a [`Table`]. It stays good until the next [`Table::end_batch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramId(u16);

/// What a fragment is to its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Examined {
    /// The first fragment: it is to be judged, its fate told by [`Table::set_fate`], and what is held released.
    First(DatagramId),
    /// It follows the fate of the first.
    Later(DatagramId),
    /// It came before its first. A copy is kept.
    Held,
    /// It is dropped.
    Refused(DropReason),
}

/// A frame that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held<O> {
    /// Where it came from, in the caller's words.
    pub origin: O,
    /// Its bytes.
    pub length: u32,
}

/// A held frame whose datagram came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fallen<O> {
    /// Where it came from, in the caller's words.
    pub origin: O,
    /// `fragment-orphan`: its first did not come. `fragment-invalid`: its datagram is dead.
    pub reason: DropReason,
}

/// What the table holds, and what it has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Datagrams under way, dead ones included.
    pub datagrams: u32,
    /// Frames that are held.
    pub held_frames: u32,
    /// Bytes that held frames take.
    pub held_bytes: u32,
    /// Datagrams of which every byte was seen.
    pub completed: u64,
    /// Datagrams that died of a fragment that contradicts the others.
    pub killed: u64,
    /// Datagrams that were forgotten when their time was over, dead ones included.
    pub expired: u64,
    /// Datagrams without a first that made room for one with it.
    pub displaced: u64,
    /// Fragments that found no room.
    pub refused: u64,
}

/// Where a datagram stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Early,
    Judged,
    Dead,
}

/// What is known of a datagram.
#[derive(Clone, Copy)]
struct Record<F> {
    key: DatagramKey,
    extents: Extents,
    fate: Option<F>,
    deadline: Tick,
    /// The batch in which it was last met: it is not given away before that one's end.
    batch: u64,
    stage: Stage,
    source: u16,
    head: u16,
    /// The next record of the chain, or the next free or retired one.
    next: u16,
    first_held: u16,
    last_held: u16,
}

/// A held frame's place.
#[derive(Clone, Copy)]
struct Slot<O> {
    origin: Option<O>,
    length: u32,
    block: u16,
    next: u16,
    source: u16,
    reason: DropReason,
}

/// The datagrams of a worker. `F` is what the caller remembers of a datagram's fate, `O` where a held frame came from.
pub struct Table<F, O> {
    records: Box<[Option<Record<F>>]>,
    heads: Box<[u16]>,
    order: Order,
    free_record: u16,
    retired: u16,
    slots: Box<[Slot<O>]>,
    free_slot: u16,
    fallen_first: u16,
    fallen_last: u16,
    hold: Hold,
    sources: Box<[u32]>,
    hasher: SipHasher13,
    timeout: Duration,
    batch: u64,
    links: Box<[u16]>,
    statistics: Statistics,
}

impl<F: Copy, O: Copy> Table<F, O> {
    /// What a record counts for.
    const RECORD: u32 = size_of::<Option<Record<F>>>() as u32;
    /// All but the blocks.
    const FIXED: usize = RECORDS * (size_of::<Option<Record<F>>>() + 6)
        + HEADS * 2
        + FRAMES * size_of::<Slot<O>>()
        + SOURCES * 4;
    /// Frames are kept in what is left of the budget.
    const BLOCKS: usize = (BUDGET - Self::FIXED) / (BLOCK + 2);

    /// A table that forgets incomplete datagrams after `timeout`. `secret` keys its hash.
    #[must_use]
    pub fn new(timeout: Duration, secret: [u8; 16]) -> Table<F, O> {
        const { assert!(Self::FIXED < BUDGET / 4 * 3, "most of the records must leave room for frames") };
        let chain = |count: usize| (1..=count).map(move |at| if at < count { at as u16 } else { NONE });
        let slot = Slot {
            origin: None,
            length: 0,
            block: NONE,
            next: NONE,
            source: 0,
            reason: DropReason::FragmentOrphan,
        };
        Table {
            records: vec![None; RECORDS].into_boxed_slice(),
            heads: vec![NONE; HEADS].into_boxed_slice(),
            order: Order::new(RECORDS),
            free_record: 0,
            retired: NONE,
            slots: chain(FRAMES).map(|next| Slot { next, ..slot }).collect(),
            free_slot: 0,
            fallen_first: NONE,
            fallen_last: NONE,
            hold: Hold::new(Self::BLOCKS),
            sources: vec![0; SOURCES].into_boxed_slice(),
            hasher: SipHasher13::new_with_key(&secret),
            timeout,
            batch: 0,
            links: chain(RECORDS).collect(),
            statistics: Statistics::default(),
        }
    }

    /// Bytes of memory, taken at the start.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.records)
            + size_of_val(&*self.links)
            + self.order.bytes()
            + size_of_val(&*self.heads)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.sources)
            + self.hold.bytes()
    }

    /// What the table holds, and what it has counted.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Finds out what a fragment is to its datagram. `frame` is copied where it must be held.
    pub fn examine(
        &mut self,
        now: Tick,
        key: &DatagramKey,
        place: Place,
        origin: O,
        frame: &[u8],
    ) -> Examined {
        self.expire(now);
        let (head, source) = self.places(key);
        let Some(id) = self.find(head, key) else {
            return self.begin(now, key, (head, source), place, origin, frame);
        };
        let batch = self.batch;
        let record = self.record_mut(id);
        record.batch = batch;
        if record.stage == Stage::Dead {
            return Examined::Refused(DropReason::FragmentInvalid);
        }
        match record.extents.fit(place) {
            Fit::Duplicate => Examined::Refused(DropReason::FragmentInvalid),
            Fit::Contradiction => {
                self.die(id);
                Examined::Refused(DropReason::FragmentInvalid)
            }
            Fit::New if place.offset == 0 || record.stage == Stage::Judged => {
                record.stage = Stage::Judged;
                record.extents.take(place);
                if record.extents.are_complete() {
                    self.statistics.completed += 1;
                    self.retire(id);
                }
                if place.offset == 0 {
                    Examined::First(DatagramId(id))
                } else {
                    Examined::Later(DatagramId(id))
                }
            }
            Fit::New => {
                if !self.keep(id, origin, frame) {
                    self.statistics.refused += 1;
                    return Examined::Refused(DropReason::FragmentOrphan);
                }
                self.record_mut(id).extents.take(place);
                Examined::Held
            }
        }
    }

    /// A fragment by itself shows that its datagram is hostile (F02, F04 to F06): nothing more of it passes.
    pub fn kill(&mut self, now: Tick, key: &DatagramKey) {
        self.expire(now);
        let (head, source) = self.places(key);
        let id = self.find(head, key).or_else(|| {
            let id = self.create(now, key, (head, source), Stage::Early);
            self.statistics.refused += u64::from(id.is_none());
            id
        });
        if let Some(id) = id {
            self.die(id);
        }
    }

    /// The fate of a datagram, once it is known.
    #[must_use]
    pub fn fate(&self, id: DatagramId) -> Option<F> {
        self.record(id.0).fate
    }

    /// Says what became of the first fragment.
    pub fn set_fate(&mut self, id: DatagramId, fate: F) {
        self.record_mut(id.0).fate = Some(fate);
    }

    /// Takes out the frame of a datagram that is held the longest; [`Table::next_held`] told how long it is. Without
    /// a place to write it to, it is forgotten.
    pub fn take_held(&mut self, id: DatagramId, into: Option<&mut [u8]>) -> Option<Held<O>> {
        let held = self.next_held(id)?;
        let at = self.record(id.0).first_held;
        let Slot { block, length, next, .. } = self.slots[usize::from(at)];
        if let Some(into) = into {
            self.hold.copy(block, length as usize, into);
        }
        self.record_mut(id.0).first_held = next;
        self.let_go(at);
        Some(held)
    }

    /// The frame of a datagram that is held the longest.
    #[must_use]
    pub fn next_held(&self, id: DatagramId) -> Option<Held<O>> {
        let slot = self.slots.get(usize::from(self.record(id.0).first_held))?;
        slot.origin.map(|origin| Held { origin, length: slot.length })
    }

    /// A held frame whose datagram came to nothing, in the order in which that happened. To be asked until there is
    /// none, after every call that takes a [`Tick`].
    pub fn next_fallen(&mut self) -> Option<Fallen<O>> {
        let at = self.fallen_first;
        let Slot { origin, reason, next, .. } = *self.slots.get(usize::from(at))?;
        self.fallen_first = next;
        self.free_the_slot(at);
        origin.map(|origin| Fallen { origin, reason })
    }

    /// The batch is over: datagrams that were complete are no longer good for a [`DatagramId`].
    pub fn end_batch(&mut self) {
        self.batch += 1;
        while self.retired != NONE {
            let id = self.retired;
            self.retired = self.record(id).next;
            self.forget(id);
        }
    }

    /// Forgets datagrams whose time is over.
    pub fn expire(&mut self, now: Tick) {
        while let Some(id) = self.order.oldest().filter(|id| self.record(*id).deadline <= now) {
            self.statistics.expired += 1;
            self.abandon(id);
        }
    }

    /// Forgets everything; what was held falls as `fragment-orphan`.
    pub fn clear(&mut self) {
        self.end_batch();
        while let Some(id) = self.order.oldest() {
            self.abandon(id);
        }
    }

    fn places(&self, key: &DatagramKey) -> (u16, u16) {
        let (key, source) = key.hashes(&self.hasher);
        ((key as usize % HEADS) as u16, (source as usize % SOURCES) as u16)
    }

    fn record(&self, id: u16) -> &Record<F> {
        self.records[usize::from(id)].as_ref().expect("a number that was given out has a record")
    }

    fn record_mut(&mut self, id: u16) -> &mut Record<F> {
        self.records[usize::from(id)].as_mut().expect("a number that was given out has a record")
    }

    fn find(&self, head: u16, key: &DatagramKey) -> Option<u16> {
        let mut id = self.heads[usize::from(head)];
        while id != NONE {
            let record = self.record(id);
            if record.key == *key {
                return Some(id);
            }
            id = record.next;
        }
        None
    }

    /// The first that is heard of a datagram.
    fn begin(
        &mut self,
        now: Tick,
        key: &DatagramKey,
        places: (u16, u16),
        place: Place,
        origin: O,
        frame: &[u8],
    ) -> Examined {
        if Extents::default().fit(place) != Fit::New {
            self.kill(now, key);
            return Examined::Refused(DropReason::FragmentInvalid);
        }
        let is_first = place.offset == 0;
        let stage = if is_first { Stage::Judged } else { Stage::Early };
        let refused = if is_first { DropReason::FragmentInvalid } else { DropReason::FragmentOrphan };
        let id = self.create(now, key, places, stage);
        let is_kept = id.is_some_and(|id| is_first || self.keep(id, origin, frame));
        match id {
            Some(id) if is_kept => {
                let extents = &mut self.record_mut(id).extents;
                extents.take(place);
                if is_first && extents.are_complete() {
                    self.statistics.completed += 1;
                    self.retire(id);
                }
                if is_first { Examined::First(DatagramId(id)) } else { Examined::Held }
            }
            id => {
                self.statistics.refused += 1;
                if let Some(id) = id {
                    self.abandon(id);
                }
                Examined::Refused(refused)
            }
        }
    }

    /// Makes a record, if there is room. One that has its first may take another's place.
    fn create(
        &mut self,
        now: Tick,
        key: &DatagramKey,
        (head, source): (u16, u16),
        stage: Stage,
    ) -> Option<u16> {
        let is_over = |table: &Self| table.sources[usize::from(source)] + Self::RECORD > SHARE;
        if stage == Stage::Judged && is_over(self) {
            self.displace(Some(source));
        }
        if stage == Stage::Judged && self.free_record == NONE {
            self.displace(None);
        }
        if is_over(self) || self.free_record == NONE {
            return None;
        }
        let id = self.free_record;
        self.free_record = self.links[usize::from(id)];
        let record = Record {
            key: *key,
            extents: Extents::default(),
            fate: None,
            deadline: now + self.timeout,
            batch: self.batch,
            stage,
            source,
            head,
            next: self.heads[usize::from(head)],
            first_held: NONE,
            last_held: NONE,
        };
        self.records[usize::from(id)] = Some(record);
        self.heads[usize::from(head)] = id;
        self.order.push(id);
        self.sources[usize::from(source)] += Self::RECORD;
        self.statistics.datagrams += 1;
        Some(id)
    }

    /// Gives up the oldest datagram that has no first, of one source or of all.
    fn displace(&mut self, source: Option<u16>) {
        let mut at = self.order.oldest();
        for _ in 0..LOOKED_AT {
            let Some(id) = at else { return };
            let record = self.record(id);
            let is_spare = record.stage != Stage::Judged && record.batch != self.batch;
            if is_spare && source.is_none_or(|source| source == record.source) {
                self.statistics.displaced += 1;
                return self.abandon(id);
            }
            at = self.order.newer(id);
        }
    }

    /// Keeps a copy of a frame for a datagram, if there is room.
    fn keep(&mut self, id: u16, origin: O, frame: &[u8]) -> bool {
        let source = self.record(id).source;
        let cost = Self::cost(frame.len());
        let at = self.free_slot;
        if at == NONE || !self.hold.has_room(frame.len()) || self.sources[usize::from(source)] + cost > SHARE
        {
            return false;
        }
        let slot = &mut self.slots[usize::from(at)];
        self.free_slot = slot.next;
        *slot = Slot {
            origin: Some(origin),
            length: frame.len() as u32,
            block: self.hold.store(frame),
            next: NONE,
            source,
            reason: DropReason::FragmentOrphan,
        };
        let record = self.record_mut(id);
        let last = std::mem::replace(&mut record.last_held, at);
        if record.first_held == NONE {
            record.first_held = at;
        } else {
            self.slots[usize::from(last)].next = at;
        }
        self.sources[usize::from(source)] += cost;
        self.statistics.held_frames += 1;
        self.statistics.held_bytes += frame.len() as u32;
        true
    }

    /// What a held frame counts for.
    const fn cost(length: usize) -> u32 {
        (blocks_for(length) * BLOCK + size_of::<Slot<O>>()) as u32
    }

    /// Nothing more of a datagram passes. What is held and was waiting for its first falls with it; what its first, in
    /// this batch, has released already is let go.
    fn die(&mut self, id: u16) {
        let record = self.record_mut(id);
        let stage = std::mem::replace(&mut record.stage, Stage::Dead);
        self.statistics.killed += u64::from(stage != Stage::Dead);
        if stage == Stage::Early {
            self.drop_held(id, DropReason::FragmentInvalid);
        }
    }

    /// The ID is free for another datagram. The record stays until the batch is over.
    fn retire(&mut self, id: u16) {
        self.unlink(id);
        self.record_mut(id).next = self.retired;
        self.retired = id;
    }

    /// Forgets a datagram that is found.
    fn abandon(&mut self, id: u16) {
        self.unlink(id);
        self.forget(id);
    }

    /// Takes a datagram out of the index and the order.
    fn unlink(&mut self, id: u16) {
        let Record { head, next, .. } = *self.record(id);
        let mut before = self.heads[usize::from(head)];
        if before == id {
            self.heads[usize::from(head)] = next;
        } else {
            while self.record(before).next != id {
                before = self.record(before).next;
            }
            self.record_mut(before).next = next;
        }
        self.order.remove(id);
    }

    /// Gives a record back that nothing leads to any more.
    fn forget(&mut self, id: u16) {
        self.drop_held(id, DropReason::FragmentOrphan);
        let source = self.record(id).source;
        self.records[usize::from(id)] = None;
        self.links[usize::from(id)] = self.free_record;
        self.free_record = id;
        self.sources[usize::from(source)] -= Self::RECORD;
        self.statistics.datagrams -= 1;
    }

    /// Lets all held frames of a datagram fall.
    fn drop_held(&mut self, id: u16, reason: DropReason) {
        let mut at = std::mem::replace(&mut self.record_mut(id).first_held, NONE);
        while at != NONE {
            let next = self.slots[usize::from(at)].next;
            self.release_memory(at);
            self.slots[usize::from(at)].reason = reason;
            self.slots[usize::from(at)].next = NONE;
            match self.fallen_first {
                NONE => self.fallen_first = at,
                _ => self.slots[usize::from(self.fallen_last)].next = at,
            }
            self.fallen_last = at;
            at = next;
        }
    }

    fn let_go(&mut self, at: u16) {
        self.release_memory(at);
        self.free_the_slot(at);
    }

    fn release_memory(&mut self, at: u16) {
        let Slot { block, length, source, .. } = self.slots[usize::from(at)];
        self.hold.free(block);
        self.sources[usize::from(source)] -= Self::cost(length as usize);
        self.statistics.held_frames -= 1;
        self.statistics.held_bytes -= length;
    }

    fn free_the_slot(&mut self, at: u16) {
        let slot = &mut self.slots[usize::from(at)];
        slot.origin = None;
        slot.next = self.free_slot;
        self.free_slot = at;
    }
}
