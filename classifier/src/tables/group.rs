//! Groups of rules, and how cells of several groups are put together.
//!
//! Were each rule spread over all pairs of classes that it matches, a rule with a wide side would fill the
//! table. So each side of a rule has a [`Level`], and each class has a number *per level*, that tells apart
//! only what rules of this level tell apart. A group is all rules of one pair of levels; its cells are found
//! by the two numbers. `any` is the widest of the wide: one number for all classes.
//!
//! A cell of a fine group also holds what coarser groups say of its pair, so that most packets need one
//! cell. Only where the fine groups have none do the coarser ones take part, one by one.

use super::line::{Lines, service_key};
use super::outcome::Outcomes;
use super::{BY_SOURCE_PORT, WordMap};
use crate::decision::Judgement;
use crate::endpoint::ServicePacket;

/// How wide one side of a rule is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Level {
    /// In few classes. The numbers of this level tell apart what those of the other levels do, too.
    Narrow = 0,
    /// In many classes, by address alone.
    Wide = 1,
    /// In many classes, and VLAN or MAC take part.
    Place = 2,
}

impl Level {
    /// How many levels there are.
    pub(crate) const COUNT: usize = 3;
    /// All of them, the finest first.
    pub(crate) const ALL: [Level; Level::COUNT] = [Level::Narrow, Level::Wide, Level::Place];

    /// Whether the numbers of this level tell apart all that those of `other` do.
    pub(crate) fn refines(self, other: Level) -> bool {
        self == other || self == Level::Narrow
    }
}

/// The numbers of a class on one side, by level. 0: no rule of that level names it.
pub(crate) type Numbers = [u32; Level::COUNT];

/// What the look-up knows of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// As a source.
    pub(crate) from: Numbers,
    /// As a destination.
    pub(crate) to: Numbers,
}

/// The rules of one pair of levels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Level of the source side.
    pub(crate) from: Level,
    /// Level of the destination side.
    pub(crate) to: Level,
    /// The groups whose rules the cells of this one hold as well: a bit each, its own included.
    pub(crate) folded: u32,
}

/// (group, number, number) → line.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    /// The groups that have rules, each before those that it folds.
    pub(crate) groups: Vec<Group>,
    /// Lines, by [`Pairs::word`].
    pub(crate) cells: WordMap,
}

impl Pairs {
    /// Most groups: every pair of levels.
    pub(crate) const GROUPS: usize = Level::COUNT * Level::COUNT;
    /// Bits of a class's number in a word.
    pub(crate) const NUMBER_BITS: u32 = 29;

    /// The word of a cell.
    #[inline]
    pub(crate) const fn word(group: usize, from: u32, to: u32) -> u64 {
        (group as u64) << (2 * Self::NUMBER_BITS) | (from as u64) << Self::NUMBER_BITS | to as u64
    }

    /// The two numbers of a cell's word.
    pub(crate) const fn numbers(word: u64) -> (u32, u32) {
        let mask = (1 << Self::NUMBER_BITS) - 1;
        ((word >> Self::NUMBER_BITS & mask) as u32, (word & mask) as u32)
    }

    /// The lines that take part, and how many.
    #[inline]
    pub(crate) fn lines(&self, source: &Class, destination: &Class) -> ([u32; Self::GROUPS], usize) {
        let mut lines = [0; Self::GROUPS];
        let mut count = 0;
        let mut done = 0;
        for (at, group) in self.groups.iter().enumerate() {
            let (from, to) = (source.from[group.from as usize], destination.to[group.to as usize]);
            if done & 1 << at != 0 || from == 0 || to == 0 {
                continue;
            }
            if let Some(line) = self.cells.get(Self::word(at, from, to)) {
                lines[count] = line;
                count += 1;
                done |= group.folded;
            }
        }
        (lines, count)
    }
}

/// Cells by group.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    pub(crate) classes: Vec<Class>,
    pub(crate) pairs: Pairs,
    pub(crate) lines: Lines,
    pub(crate) source_lines: Lines,
    pub(crate) outcomes: Outcomes,
}

impl Grouped {
    /// The judgement for a packet between two classes.
    pub(crate) fn judge(&self, source: u32, destination: u32, packet: ServicePacket) -> Judgement {
        let (source, destination) = (&self.classes[source as usize], &self.classes[destination as usize]);
        let (mut found, count) = self.pairs.lines(source, destination);
        match count {
            0 => Judgement::default(),
            1 => self.outcomes.get(self.in_line(found[0], packet)).judgement,
            _ => {
                for line in &mut found[..count] {
                    *line = self.in_line(*line, packet);
                }
                self.outcomes.merge(&found[..count])
            }
        }
    }

    #[inline]
    fn in_line(&self, line: u32, packet: ServicePacket) -> u32 {
        let value = self.lines.get(line, service_key(packet.protocol, packet.destination_port));
        if value & BY_SOURCE_PORT == 0 {
            value
        } else {
            self.source_lines.get(value & !BY_SOURCE_PORT, u32::from(packet.source_port))
        }
    }
}
