//! The timer wheel: when to look at an entry again.
//!
//! ```text
//!  tick (64 ms) mod 8192   0    1    2    3   ...                 8191
//!                        +----+----+----+----+----             -+----+
//!  heads                 |  - |  . |  - |  . |                  |  - |
//!                        +----+--|-+----+--|-+----             -+----+
//!                                v         v
//!                              entry     entry
//!                                |
//!                              entry                a slot that is not in use hangs on the free chain
//! ```
//!
//! An entry stands at the tick of its deadline, or at the end of the wheel (8.7 minutes) where that is
//! farther. A deadline that moves away leaves the entry where it is: when its tick comes the deadline is
//! looked at and the entry set again. Only a deadline that comes nearer moves it. Both are O(1). The wheel
//! knows slots and ticks; deadlines are the table's.

use crate::time::Tick;

/// Milliseconds of a tick, as a shift: 64 ms. TRACKING.md §1.6 asks for one second or less.
const TICK_SHIFT: u32 = 6;
/// Ticks in a turn: 524 seconds, longer than all but the established timeouts.
const TURN: u32 = 8192;
const NONE: u32 = u32::MAX;
/// In `previous`: this is the first of its chain, and the rest is the number of the head.
const HEAD: u32 = 1 << 31;
/// In `previous`: the slot is free.
const FREE: u32 = u32::MAX;

/// A tick of the wheel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct WheelTick(u64);

impl WheelTick {
    /// The tick that `now` lies in.
    pub(crate) fn of(now: Tick) -> WheelTick {
        WheelTick(now.millis() >> TICK_SHIFT)
    }

    /// The first tick that begins at or after a deadline `millis` from `now`.
    pub(crate) fn of_deadline(now: Tick, millis: i32) -> WheelTick {
        let deadline = now.millis().saturating_add_signed(i64::from(millis));
        WheelTick(deadline.div_ceil(1 << TICK_SHIFT))
    }

    fn head(self) -> u32 {
        (self.0 % u64::from(TURN)) as u32
    }

    /// The tick in four bytes, for an entry that is on the wheel and so never far from it.
    pub(crate) fn short(self) -> ShortTick {
        // Truncation is the point: short ticks are modular.
        ShortTick(self.0 as u32)
    }
}

/// A tick modulo 2^32: comparable as long as the two are less than four years apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct ShortTick(pub(crate) u32);

impl ShortTick {
    /// Whether this tick comes before the other.
    pub(crate) fn is_before(self, other: ShortTick) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() < 0
    }
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
}

/// The wheel of one table.
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    links: Vec<Link>,
    capacity: usize,
    free: u32,
    now: WheelTick,
}

impl Wheel {
    /// A wheel for `capacity` slots.
    pub(crate) fn new(capacity: usize) -> Wheel {
        assert!(capacity < HEAD as usize, "slots have 31 bits");
        Wheel {
            heads: vec![NONE; TURN as usize].into(),
            links: Vec::with_capacity(capacity),
            capacity,
            free: NONE,
            now: WheelTick(0),
        }
    }

    /// A slot that is not in use. `None`: all `capacity` are.
    pub(crate) fn take_slot(&mut self) -> Option<u32> {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.links[slot as usize].next;
            return Some(slot);
        }
        if self.links.len() == self.capacity {
            return None;
        }
        self.links.push(Link { next: NONE, previous: FREE });
        Some((self.links.len() - 1) as u32)
    }

    /// Gives back a slot that is not on the wheel.
    pub(crate) fn give_back(&mut self, slot: u32) {
        self.links[slot as usize] = Link { next: self.free, previous: FREE };
        self.free = slot;
    }

    /// Whether a slot is in use.
    pub(crate) fn is_used(&self, slot: u32) -> bool {
        self.links.get(slot as usize).is_some_and(|link| link.previous != FREE)
    }

    /// Sets a slot to come up at `tick`, or at the end of the wheel; returns when.
    pub(crate) fn set(&mut self, slot: u32, tick: WheelTick) -> WheelTick {
        let tick = WheelTick(tick.0.clamp(self.now.0 + 1, self.now.0 + u64::from(TURN) - 1));
        let head = tick.head();
        let next = std::mem::replace(&mut self.heads[head as usize], slot);
        if next != NONE {
            self.links[next as usize].previous = slot;
        }
        self.links[slot as usize] = Link { next, previous: HEAD | head };
        tick
    }

    /// Takes a slot off the wheel.
    pub(crate) fn unset(&mut self, slot: u32) {
        let Link { next, previous } = self.links[slot as usize];
        if previous & HEAD == 0 {
            self.links[previous as usize].next = next;
        } else {
            self.heads[(previous & !HEAD) as usize] = next;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
    }

    /// Turns the wheel towards `now` until a slot is due, and takes that off. `None`: `now` is reached, and
    /// nothing is due. A caller may stop at any slot: what is left comes up at the next call.
    pub(crate) fn next_due(&mut self, now: WheelTick) -> Option<u32> {
        loop {
            let slot = self.heads[self.now.head() as usize];
            if slot != NONE {
                self.unset(slot);
                return Some(slot);
            }
            if now <= self.now {
                return None;
            }
            // After a long absence one turn visits every entry: what lies before it can be left out.
            self.now = WheelTick((self.now.0 + 1).max((now.0 + 1).saturating_sub(u64::from(TURN))));
        }
    }

    /// Slots that have ever been used.
    pub(crate) fn touched(&self) -> usize {
        self.links.len()
    }

    /// Bytes of memory per slot.
    pub(crate) const BYTES_PER_SLOT: usize = size_of::<Link>();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_at(wheel: &mut Wheel, now: WheelTick) -> Vec<u32> {
        let mut slots = Vec::new();
        while let Some(slot) = wheel.next_due(now) {
            slots.push(slot);
            wheel.give_back(slot);
        }
        slots.sort_unstable();
        slots
    }

    #[test]
    fn slots_come_up_at_their_tick_and_not_before() {
        let mut wheel = Wheel::new(8);
        let slots: Vec<u32> = (0..3).map(|_| wheel.take_slot().unwrap()).collect();
        wheel.set(slots[0], WheelTick(5));
        wheel.set(slots[1], WheelTick(5));
        wheel.set(slots[2], WheelTick(6));
        assert!(due_at(&mut wheel, WheelTick(4)).is_empty());
        assert_eq!(due_at(&mut wheel, WheelTick(5)), [slots[0], slots[1]]);
        assert_eq!(due_at(&mut wheel, WheelTick(7)), [slots[2]]);
    }

    #[test]
    fn a_slot_that_is_unset_does_not_come_up_wherever_it_stood_in_its_chain() {
        for gone in 0..3 {
            let mut wheel = Wheel::new(8);
            let slots: Vec<u32> = (0..3).map(|_| wheel.take_slot().unwrap()).collect();
            for slot in &slots {
                wheel.set(*slot, WheelTick(5));
            }
            wheel.unset(slots[gone]);
            let mut rest = slots.clone();
            rest.remove(gone);
            assert_eq!(due_at(&mut wheel, WheelTick(9)), rest);
        }
    }

    #[test]
    fn what_is_farther_than_a_turn_comes_up_at_its_end() {
        let mut wheel = Wheel::new(8);
        let slot = wheel.take_slot().unwrap();
        assert_eq!(wheel.set(slot, WheelTick(1_000_000)), WheelTick(u64::from(TURN) - 1));
        assert_eq!(due_at(&mut wheel, WheelTick(u64::from(TURN) - 1)), [slot]);
    }

    #[test]
    fn a_jump_of_years_visits_every_slot_once() {
        let mut wheel = Wheel::new(64);
        let slots: Vec<u32> = (0..64).map(|_| wheel.take_slot().unwrap()).collect();
        for slot in &slots {
            wheel.set(*slot, WheelTick(1 + u64::from(*slot) * 127));
        }
        assert_eq!(due_at(&mut wheel, WheelTick(500_000_000)), slots);
    }

    #[test]
    fn what_is_left_of_a_tick_comes_up_at_the_next_call_unless_it_is_unset() {
        let mut wheel = Wheel::new(8);
        let slots: Vec<u32> = (0..3).map(|_| wheel.take_slot().unwrap()).collect();
        for slot in &slots {
            wheel.set(*slot, WheelTick(5));
        }
        let first = wheel.next_due(WheelTick(7)).unwrap();
        let rest: Vec<u32> = slots.iter().copied().filter(|slot| *slot != first).collect();
        wheel.unset(rest[0]);
        assert_eq!(wheel.set(first, WheelTick(0)), WheelTick(6), "never at the tick that it stands at");
        assert_eq!(due_at(&mut wheel, WheelTick(5)), [rest[1]]);
        assert_eq!(due_at(&mut wheel, WheelTick(6)), [first]);
    }

    #[test]
    fn slots_are_used_again_and_never_more_than_there_are() {
        let mut wheel = Wheel::new(4);
        let slots: Vec<u32> = std::iter::from_fn(|| wheel.take_slot()).collect();
        assert_eq!(slots.len(), 4);
        wheel.give_back(slots[2]);
        assert!(!wheel.is_used(slots[2]));
        assert_eq!(wheel.take_slot(), Some(slots[2]));
        assert_eq!(wheel.take_slot(), None);
    }

    #[test]
    fn a_deadline_belongs_to_the_first_tick_that_does_not_begin_before_it() {
        let now = Tick(1_000_000_000_000);
        assert_eq!(WheelTick::of_deadline(now, 0), WheelTick::of(now));
        let later = WheelTick::of_deadline(now, 1);
        assert_eq!(later.0 - WheelTick::of(now).0, 1);
    }
}
