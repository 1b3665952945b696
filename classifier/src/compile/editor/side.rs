//! One side of all rules: sources or destinations.

use crate::compile::cell::Sides;
use crate::compile::intern::WordHashMap;
use crate::compile::level::Side;
use crate::tables::group::Level;

/// The rows of a side, and the rules that name the sets that these are in.
#[derive(Debug)]
pub(super) struct EditedSide {
    side: Side,
    /// Rows by the set that they have.
    pub(super) rows_with: Vec<Vec<u32>>,
    /// Rules in force by the set that they name.
    pub(super) rules_of: Vec<Vec<u32>>,
    /// Rules in force that name every endpoint.
    pub(super) any: Vec<u32>,
    /// Whether a rule names, or has named, each set: the others are in no row.
    pub(super) is_used: Vec<bool>,
    /// Whether each set is in so many rows that its rules are in the matrix.
    pub(super) is_wide: Vec<bool>,
    /// Whether a rule of the matrix names each set.
    is_relevant: Vec<bool>,
    /// The coarse number of rows, by the relevant ones of their sets.
    coarse: WordHashMap<Vec<u32>, u32>,
    /// How many coarse numbers there are.
    pub(super) coarse_count: u32,
}

impl EditedSide {
    /// The side as the compiler leaves it; rules are added later.
    pub(super) fn new(side: Side, sets: usize) -> Self {
        let mut rows_with = vec![Vec::new(); sets];
        for row in 0..side.rows() as u32 {
            for set in side.sets_of_row(row) {
                rows_with[*set as usize].push(row);
            }
        }
        let is_wide = (0..sets as u32).map(|set| side.level(Some(set)) != Level::Narrow).collect();
        EditedSide {
            side,
            rows_with,
            rules_of: vec![Vec::new(); sets],
            any: Vec::new(),
            is_used: vec![false; sets],
            is_wide,
            is_relevant: vec![false; sets],
            coarse: WordHashMap::default(),
            coarse_count: 0,
        }
    }

    /// Adds a set that no rule has named so far; it is in no row.
    pub(super) fn push_set(&mut self) {
        self.rows_with.push(Vec::new());
        self.rules_of.push(Vec::new());
        self.is_used.push(false);
        self.is_wide.push(false);
        self.is_relevant.push(false);
    }

    /// The sets of a row.
    pub(super) fn sets_of(&self, row: u32) -> &[u32] {
        self.side.sets_of_row(row)
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u32 {
        self.side.rows() as u32
    }

    /// The row of these sets, and whether it is new.
    pub(super) fn row_with(&mut self, sets: &[u32]) -> (u32, bool) {
        let before = self.rows();
        let row = self.side.row_with(sets);
        if row < before {
            return (row, false);
        }
        for set in sets {
            self.rows_with[*set as usize].push(row);
        }
        (row, true)
    }

    /// The rows of a set, or all.
    pub(super) fn rows_in(&self, set: Option<u32>) -> Vec<u32> {
        match set {
            Some(set) => self.rows_with[set as usize].clone(),
            None => (0..self.rows()).collect(),
        }
    }

    /// Whether the rules of a set, or of all, are wide on this side.
    pub(super) fn is_wide(&self, set: Option<u32>) -> bool {
        set.is_none_or(|set| self.is_wide[set as usize])
    }

    /// The rules of a set, or of all.
    pub(super) fn rules_of_mut(&mut self, set: Option<u32>) -> &mut Vec<u32> {
        match set {
            Some(set) => &mut self.rules_of[set as usize],
            None => &mut self.any,
        }
    }

    /// The rules that name sets of a row.
    pub(super) fn rules_of_row(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let of_sets = self.sets_of(row).iter().flat_map(|set| &self.rules_of[*set as usize]);
        of_sets.chain(&self.any).copied()
    }

    /// How many those are.
    pub(super) fn rule_count(&self, row: u32) -> usize {
        self.any.len() + self.sets_of(row).iter().map(|set| self.rules_of[*set as usize].len()).sum::<usize>()
    }

    fn signature(&self, row: u32) -> Vec<u32> {
        self.sets_of(row).iter().copied().filter(|set| self.is_relevant[*set as usize]).collect()
    }

    /// The coarse number of a row that may have none: of one with the same relevant sets.
    pub(super) fn coarse_of(&self, row: u32) -> Option<u32> {
        self.coarse.get(&self.signature(row)).copied()
    }

    /// Gives rows like this one a new coarse number.
    pub(super) fn push_coarse(&mut self, row: u32) -> u32 {
        let number = self.coarse_count;
        self.coarse.insert(self.signature(row), number);
        self.coarse_count += 1;
        number
    }

    /// Notes that a rule of the matrix names a set.
    pub(super) fn mark_relevant(&mut self, set: Option<u32>) {
        if let Some(set) = set {
            self.is_relevant[set as usize] = true;
        }
    }

    /// Takes the coarse numbers from the tables.
    pub(super) fn index_coarse(&mut self, numbers: &[u16]) {
        self.coarse.clear();
        for (row, number) in (0u32..).zip(numbers) {
            self.coarse.insert(self.signature(row), u32::from(*number));
        }
    }
}

/// The other side of a rule.
pub(super) fn other(sides: Sides, side: usize) -> Option<u32> {
    if side == 0 { sides.to } else { sides.from }
}
