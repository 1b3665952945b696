//! How wide each side of the rules is, and the numbers that classes get by it (see [`crate::tables::group`]).

use super::intern::Interner;
use crate::tables::group::{Level, Numbers};

/// One side of all rules: sources or destinations.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// The distinct lists of sets that classes are in. What follows is by the number of such a list.
    rows: Interner,
    row_of_class: Vec<u32>,
    /// The level of each set, `any` behind the last.
    levels: Vec<Level>,
    /// The numbers of each row.
    numbers: Vec<Numbers>,
    /// For each set, the numbers of its own level that are in it.
    spread: Vec<Vec<u32>>,
    /// For each number of the narrow level, its row.
    row_of_narrow: Vec<u32>,
}

/// What a side is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sets<'a> {
    /// The sets that each class is in.
    pub(super) of_class: &'a [Vec<u32>],
    /// Whether each set is named on this side.
    pub(super) used: &'a [bool],
    /// Whether VLANs or MACs decide over each set.
    pub(super) by_place: &'a [bool],
}

impl Side {
    /// The rows of a side. [`Side::assign`] does the rest.
    pub(super) fn new(sets: &Sets<'_>) -> Self {
        let mut rows = Interner::new();
        let mut row_of_class = Vec::with_capacity(sets.of_class.len());
        let mut row = Vec::new();
        for of_class in sets.of_class {
            row.clear();
            row.extend(of_class.iter().copied().filter(|set| sets.used[*set as usize]));
            row_of_class.push(rows.number(&row));
        }
        Side {
            rows,
            row_of_class,
            levels: Vec::new(),
            numbers: Vec::new(),
            spread: Vec::new(),
            row_of_narrow: Vec::new(),
        }
    }

    /// Calls a set narrow where it is in at most `narrow` rows, and numbers the rows by level.
    pub(super) fn assign(&mut self, sets: &Sets<'_>, narrow: u32) {
        let any = sets.used.len() as u32;
        let mut width = vec![0u32; sets.used.len()];
        for row in 0..self.rows.len() as u32 {
            for set in self.rows.get(row) {
                width[*set as usize] += 1;
            }
        }
        let level = |(width, by_place): (&u32, &bool)| match (*width <= narrow, by_place) {
            (true, _) => Level::Narrow,
            (false, false) => Level::Wide,
            (false, true) => Level::Place,
        };
        self.levels = width.iter().zip(sets.by_place).map(level).collect();
        self.levels.push(Level::Wide);
        self.spread = vec![Vec::new(); sets.used.len() + 1];
        self.row_of_narrow = vec![0];
        self.numbers = Vec::with_capacity(self.rows.len());
        let mut coarse = [Interner::new(), Interner::new()];
        let mut list = Vec::new();
        for row in 0..self.rows.len() as u32 {
            let sets_here = self.rows.get(row);
            let mut numbers = [0; Level::COUNT];
            for (level, interner) in [Level::Wide, Level::Place].into_iter().zip(&mut coarse) {
                list.clear();
                list.extend(sets_here.iter().copied().filter(|set| self.levels[*set as usize] == level));
                if level == Level::Wide {
                    list.push(any);
                }
                let known = interner.len();
                let number = interner.number(&list);
                numbers[level as usize] = number;
                if interner.len() > known {
                    for set in &list {
                        self.spread[*set as usize].push(number);
                    }
                }
            }
            if sets_here.iter().any(|set| self.levels[*set as usize] == Level::Narrow) {
                let number = self.row_of_narrow.len() as u32;
                self.row_of_narrow.push(row);
                numbers[Level::Narrow as usize] = number;
                for set in sets_here.iter().filter(|set| self.levels[**set as usize] == Level::Narrow) {
                    self.spread[*set as usize].push(number);
                }
            }
            self.numbers.push(numbers);
        }
    }

    /// The level of a set; that of `any` for `None`.
    pub(super) fn level(&self, set: Option<u32>) -> Level {
        self.levels[set.map_or(self.levels.len() - 1, |set| set as usize)]
    }

    /// The numbers, of the set's own level, of the classes that are in it.
    pub(super) fn spread(&self, set: Option<u32>) -> &[u32] {
        &self.spread[set.map_or(self.spread.len() - 1, |set| set as usize)]
    }

    /// The sets of a row.
    pub(super) fn sets_of_row(&self, row: u32) -> &[u32] {
        self.rows.get(row)
    }

    /// The row with these sets, which may be a new one. New rows are in no number and in no spread.
    pub(super) fn row_with(&mut self, sets: &[u32]) -> u32 {
        self.rows.number(sets)
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The row of a class.
    pub(super) fn row_of_class(&self, class: usize) -> u32 {
        self.row_of_class[class]
    }

    /// The numbers of a row.
    pub(super) fn numbers_of_row(&self, row: u32) -> &Numbers {
        &self.numbers[row as usize]
    }

    /// The row of a number of the narrow level.
    pub(super) fn row_of_narrow(&self, number: u32) -> u32 {
        self.row_of_narrow[number as usize]
    }

    /// The numbers of a class.
    pub(super) fn numbers_of_class(&self, class: usize) -> Numbers {
        self.numbers[self.row_of_class[class] as usize]
    }

    /// The number that a number of level `from` has on level `to`, which it refines.
    pub(super) fn coarsen(&self, number: u32, from: Level, to: Level) -> u32 {
        if from == to {
            number
        } else {
            debug_assert_eq!(from, Level::Narrow, "only the narrow level refines another");
            self.numbers[self.row_of_narrow[number as usize] as usize][to as usize]
        }
    }
}
