//! The flow table of one address family: entries in fixed places, found by hash and ended by the wheel.
//!
//! ```text
//!  key --hash--> index (2 cache lines) --> entries[slot]   key, deadline, state
//!                                          notes[slot]     age, place in a list below
//!                                          wheel[slot]     chain of its tick
//!                half_open, closing: the slots that may be evicted, in no order
//! ```
//!
//! All of it is reserved at the start and written to only as it is used. IPv4, per entry: 96 bytes, 8 for
//! the notes, 8 for the wheel, at most 8 for the lists, and 8 for the index at 80 % load. The table does not
//! know what a packet is, nor what a protocol does.

use crate::entry::{Body, Entry};
use crate::flood::{Cells, Census, Groups};
use crate::hash::{Address, Secret};
use crate::index::{Index, Place};
use crate::ledger::{EndReason, Ledger, Tally};
use crate::memory::{prefetch, reserve};
use crate::moment::Moment;
use crate::peers::Side;
use crate::state::Class;
use crate::time::Tick;
use crate::wheel::{Wheel, WheelTick};
use classifier::flow::Key;

/// What is seldom looked at.
#[derive(Clone, Copy)]
struct Note {
    opened: Moment,
    /// The place in the list of the entry's class.
    place: u32,
}

/// The table of one address family.
pub(crate) struct Table<A> {
    secret: Secret,
    index: Index,
    entries: Vec<Entry<A>>,
    notes: Vec<Note>,
    wheel: Wheel,
    half_open: Vec<u32>,
    closing: Vec<u32>,
    census: Census,
    length: usize,
    /// Where somebody wants to know what passes.
    ledger: Option<Box<Ledger<A>>>,
}

impl<A: Address> Table<A> {
    /// A table for `capacity` flows.
    pub(crate) fn new(capacity: usize, secret: [u8; 16]) -> Table<A> {
        Table {
            secret: Secret::new(secret),
            index: Index::new(capacity),
            entries: reserve(capacity),
            notes: reserve(capacity),
            wheel: Wheel::new(capacity),
            half_open: Vec::with_capacity(capacity),
            closing: Vec::with_capacity(capacity),
            census: Census::new(secret),
            length: 0,
            ledger: None,
        }
    }

    /// Entries, expired ones that no timer has met yet included.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The hash of a key.
    #[inline]
    pub(crate) fn hash(&self, key: &Key<A>) -> u64 {
        A::hash(&self.secret, key)
    }

    /// Asks the CPU for the index's first line of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) -> Place {
        self.index.prefetch(hash)
    }

    /// Asks the CPU for the other line of the index.
    #[inline]
    pub(crate) fn prefetch_second(&self, place: Place) {
        self.index.prefetch_second(place);
    }

    /// Asks the CPU for the entries of a hash; its index lines should have come by now.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        self.index.find(hash, |slot| {
            self.prefetch_slot(slot);
            false
        });
    }

    /// The slot that may be that of a hash with this place, as the index's first line says, whose entry the CPU is asked
    /// for. That line should have come by now. What stands in the slot is to be held against the key.
    #[inline]
    pub(crate) fn candidate(&self, place: Place) -> Option<u32> {
        self.index.candidate(place).inspect(|slot| self.prefetch_slot(*slot))
    }

    /// The same by the other line.
    #[inline]
    pub(crate) fn second_candidate(&self, place: Place) -> Option<u32> {
        self.index.second_candidate(place).inspect(|slot| self.prefetch_slot(*slot))
    }

    #[inline]
    fn prefetch_slot(&self, slot: u32) {
        let entry = &self.entries[slot as usize];
        // Its first line and its last: where one of 96 bytes begins with a line, the flags at its end are in the next.
        prefetch(&entry.key);
        prefetch(&entry.body.peers.flags);
    }

    /// The slot of a key, whether or not its flow has expired.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &Key<A>) -> Option<u32> {
        let entries = &self.entries;
        self.index.find(hash, |slot| A::same(&entries[slot as usize].key, key))
    }

    /// An entry.
    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> &Entry<A> {
        &self.entries[slot as usize]
    }

    /// An entry's body, to change. Afterwards [`Table::rearm`] or [`Table::reclassify`] may be due.
    #[inline]
    pub(crate) fn body_mut(&mut self, slot: u32) -> &mut Body {
        &mut self.entries[slot as usize].body
    }

    /// When an entry was opened.
    pub(crate) fn opened(&self, slot: u32) -> Moment {
        self.notes[slot as usize].opened
    }

    /// Says when an entry was opened, where that was not now.
    pub(crate) fn set_opened(&mut self, slot: u32, opened: Moment) {
        self.notes[slot as usize].opened = opened;
    }

    /// The place of a hash in the index.
    #[inline]
    pub(crate) fn place(&self, hash: u64) -> Place {
        self.index.place(hash)
    }

    /// Enters a flow, which must not be there, under the place of its key's hash, and sets its timer. `cells` is where it is
    /// counted, if it is half-open and that is known already. `None`: there is no room.
    pub(crate) fn insert(
        &mut self,
        now: Tick,
        (key, place): (Key<A>, Place),
        body: Body,
        cells: Option<Cells>,
    ) -> Option<u32> {
        let slot = self.wheel.take_slot()?;
        if !self.index.insert_at(place, slot) {
            self.wheel.give_back(slot);
            return None;
        }
        let note = Note { opened: Moment::of(now), place: 0 };
        match self.entries.get_mut(slot as usize) {
            Some(entry) => {
                // Field by field: made as a whole first, it would be copied twice.
                entry.key = key;
                entry.body = body;
                self.notes[slot as usize] = note;
            }
            None => {
                self.entries.push(Entry { key, body });
                self.notes.push(note);
            }
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.begin(slot);
        }
        self.length += 1;
        self.enlist(slot, body.class(), cells);
        self.arm(now, slot);
        Some(slot)
    }

    /// Ends a flow.
    pub(crate) fn remove(&mut self, slot: u32, why: EndReason) {
        self.wheel.unset(slot);
        self.release(slot, why);
    }

    /// Gives back the place of an entry that is off the wheel.
    fn release(&mut self, slot: u32, why: EndReason) {
        let entry = &mut self.entries[slot as usize];
        let class = entry.body.class();
        if let Some(ledger) = &mut self.ledger {
            // One that its ends have closed has only waited for stragglers.
            let is_closed = why == EndReason::Idle && class == Class::Closing;
            let why = if is_closed { EndReason::Closed } else { why };
            ledger.end(slot, *entry, self.notes[slot as usize].opened, why);
        }
        entry.body.bury();
        self.index.remove(A::hash(&self.secret, &entry.key), slot);
        self.delist(slot, class);
        self.wheel.give_back(slot);
        self.length -= 1;
    }

    /// Sets the timer of an entry that is off the wheel.
    fn arm(&mut self, now: Tick, slot: u32) {
        let body = &mut self.entries[slot as usize].body;
        let tick = WheelTick::of_deadline(now, body.deadline.from(Moment::of(now)));
        body.scheduled = self.wheel.set(slot, tick).short();
    }

    /// Changes when an entry ends. The wheel is touched only where it would come too late.
    #[inline]
    pub(crate) fn rearm(&mut self, now: Tick, slot: u32, deadline: Moment) {
        let body = &mut self.entries[slot as usize].body;
        let is_nearer = deadline.is_before(body.deadline);
        body.deadline = deadline;
        if is_nearer {
            let tick = WheelTick::of_deadline(now, deadline.from(Moment::of(now)));
            if tick.short().is_before(body.scheduled) {
                self.wheel.unset(slot);
                self.arm(now, slot);
            }
        }
    }

    /// Moves an entry from the list of its old class to that of its new one.
    #[inline]
    pub(crate) fn reclassify(&mut self, slot: u32, old: Class) {
        let new = self.entries[slot as usize].body.class();
        if new != old {
            self.delist(slot, old);
            self.enlist(slot, new, None);
        }
    }

    fn list_mut(&mut self, class: Class) -> Option<&mut Vec<u32>> {
        match class {
            Class::Closing => Some(&mut self.closing),
            Class::HalfOpen => Some(&mut self.half_open),
            Class::Settled => None,
        }
    }

    fn enlist(&mut self, slot: u32, class: Class, cells: Option<Cells>) {
        let Some(list) = self.list_mut(class) else { return };
        let place = list.len() as u32;
        list.push(slot);
        self.notes[slot as usize].place = place;
        if class == Class::HalfOpen {
            let cells = cells.unwrap_or_else(|| self.cells(slot));
            self.census.enter(&cells);
        }
    }

    fn delist(&mut self, slot: u32, class: Class) {
        let place = self.notes[slot as usize].place;
        let Some(list) = self.list_mut(class) else { return };
        let gone = list.swap_remove(place as usize);
        assert_eq!(gone, slot, "an entry knows its place in its list");
        if let Some(moved) = list.get(place as usize).copied() {
            self.notes[moved as usize].place = place;
        }
        if class == Class::HalfOpen {
            let cells = self.cells(slot);
            self.census.leave(&cells);
        }
    }

    /// Where an entry is counted while it is half-open.
    #[inline]
    fn cells(&self, slot: u32) -> Cells {
        self.census.cells(&self.groups(slot))
    }

    /// Whom an entry is counted for while it is half-open.
    #[inline]
    pub(crate) fn groups(&self, slot: u32) -> Groups {
        let Entry { key, body } = &self.entries[slot as usize];
        let vlan = body.vlan(Side::Opener).expect("the opener's VLAN is always known");
        Groups::of(key, body.opener(), vlan, body.rule())
    }

    /// Who holds how many half-open flows.
    pub(crate) fn census(&self) -> &Census {
        &self.census
    }

    /// Changes the terms of an entry; its class stays.
    pub(crate) fn amend(&mut self, slot: u32, change: impl FnOnce(&mut Body)) {
        let is_counted = self.entries[slot as usize].body.class() == Class::HalfOpen;
        let before = self.cells(slot);
        change(&mut self.entries[slot as usize].body);
        if is_counted {
            let after = self.cells(slot);
            self.census.leave(&before);
            self.census.enter(&after);
        }
    }

    /// The slots of closing flows, in no order.
    pub(crate) fn closing(&self) -> &[u32] {
        &self.closing
    }

    /// The slots of half-open and unreplied flows, in no order.
    pub(crate) fn half_open(&self) -> &[u32] {
        &self.half_open
    }

    /// Ends what has expired before the tick of `now` began, and hands each to `gone`; `all`: everything has.
    /// Looks at no more than `most` entries, and says whether it is done.
    pub(crate) fn sweep(&mut self, now: Tick, all: bool, most: u32, mut gone: impl FnMut(&Body)) -> bool {
        let (moment, tick) = (Moment::of(now), WheelTick::of(now));
        for _ in 0..most {
            let Some(slot) = self.wheel.next_due(tick) else { return true };
            let body = &self.entries[slot as usize].body;
            if all || body.deadline.has_come(moment) {
                gone(body);
                self.release(slot, EndReason::Idle);
            } else {
                self.arm(now, slot);
            }
        }
        false
    }

    /// Counts what passes from now on, in a table of `capacity` slots. This allocates.
    pub(crate) fn keep_ledger(&mut self, capacity: usize) {
        self.ledger.get_or_insert_with(|| Box::new(Ledger::new(capacity, self.entries.len())));
    }

    /// Counts a packet of an entry's flow, where there is a ledger.
    #[inline]
    pub(crate) fn count_packet(&mut self, slot: u32, now: Moment, side: Side, octets: u16) {
        if let Some(ledger) = &mut self.ledger {
            ledger.add(slot, now, side, octets);
        }
    }

    /// What has passed by a flow since this was asked last.
    pub(crate) fn take_tally(&mut self, slot: u32) -> Option<Tally> {
        self.ledger.as_mut().map(|ledger| ledger.take(slot))
    }

    /// The ledger.
    pub(crate) fn ledger_mut(&mut self) -> Option<&mut Ledger<A>> {
        self.ledger.as_deref_mut()
    }

    /// The slots in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> {
        (0..self.wheel.touched() as u32).filter(|slot| self.wheel.is_used(*slot))
    }

    /// Places that were ever in use.
    pub(crate) fn places(&self) -> u64 {
        self.wheel.touched() as u64
    }

    /// Whether a slot is in use.
    pub(crate) fn is_used(&self, slot: u32) -> bool {
        self.wheel.is_used(slot)
    }

    /// Bytes of memory that a full table takes up.
    pub(crate) fn bytes(&self, capacity: usize) -> usize {
        let per_slot = size_of::<Entry<A>>() + size_of::<Note>() + Wheel::BYTES_PER_SLOT + size_of::<u32>();
        capacity * per_slot + self.index.bytes() + Census::BYTES
    }
}

#[cfg(test)]
mod tests;
