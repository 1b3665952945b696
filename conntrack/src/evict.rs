//! What goes when the table is full (TRACKING.md Z05): what has expired, what is closing, the oldest of eight
//! half-open or unreplied flows; never one that is established. What goes when a group of half-open flows is at its
//! share ([`crate::flood`]) is the oldest of eight of its own.
//!
//! Candidates are taken from the table's lists, so one is found wherever there is one, in a bounded time.

use crate::flood::Groups;
use crate::hash::Address;
use crate::moment::Moment;
use crate::table::Table;

/// How many half-open flows are compared.
const SAMPLE: usize = 8;
/// How many half-open flows are looked at, in search of those of one group.
const SEARCH: usize = 32;

/// Where a sample is taken from. It need not be unpredictable, only not the same every time.
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice that begin with a part of the secret.
    pub(crate) fn new(secret: [u8; 16]) -> Dice {
        let [a, b, c, d, e, f, g, h, ..] = secret;
        Dice(u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1)
    }

    /// A number below `limit` (Marsaglia, "Xorshift RNGs", 2003).
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A closing flow: of a sample, the one that would end first.
pub(crate) fn closing<A: Address>(table: &Table<A>, dice: &mut Dice, now: Moment) -> Option<u32> {
    sample(table.closing(), dice).min_by_key(|slot| table.entry(*slot).body.deadline.from(now))
}

/// The oldest of a sample of half-open or unreplied flows.
pub(crate) fn half_open<A: Address>(table: &Table<A>, dice: &mut Dice, now: Moment) -> Option<u32> {
    sample(table.half_open(), dice).max_by_key(|slot| now.from(table.opened(*slot)))
}

/// The oldest of a sample of those half-open or unreplied flows that `is_one` picks, if a few places hold any.
pub(crate) fn half_open_among<A: Address>(
    table: &Table<A>,
    dice: &mut Dice,
    now: Moment,
    is_one: impl Fn(&Groups) -> bool,
) -> Option<u32> {
    let ones = places(table.half_open(), dice, SEARCH).filter(|slot| is_one(&table.groups(*slot)));
    ones.take(SAMPLE).max_by_key(|slot| now.from(table.opened(*slot)))
}

/// Eight consecutive places of a list, from a random one on; all of a list that is no longer than that.
fn sample<'a>(list: &'a [u32], dice: &mut Dice) -> impl Iterator<Item = u32> + 'a {
    places(list, dice, SAMPLE)
}

fn places<'a>(list: &'a [u32], dice: &mut Dice, count: usize) -> impl Iterator<Item = u32> + 'a {
    let start = if list.is_empty() { 0 } else { dice.below(list.len()) };
    (0..count.min(list.len())).map(move |n| list[(start + n) % list.len()])
}
