//! Which rules meet in which closed cell: the lists of all groups, put together pair by pair.

use super::cell::RawCells;
use super::fast::coarse;
use super::intern::Interner;
use super::level::Side;
use super::service::LineBuilder;
use crate::tables::group::{Group, Level, Pairs};

/// Distinct combinations of lists. Number 0 is the empty one.
pub(super) struct Combined<'a> {
    raw: &'a RawCells<'a>,
    parts: Interner,
    ranks: usize,
}

impl<'a> Combined<'a> {
    pub(super) fn new(raw: &'a RawCells<'a>) -> Self {
        Combined { raw, parts: Interner::new(), ranks: 0 }
    }

    /// The number of a combination of lists, of which 0 is none.
    fn number(&mut self, parts: &[u32]) -> u32 {
        let known = self.parts.len();
        let number = self.parts.number(parts);
        if self.parts.len() > known {
            self.ranks += parts.iter().map(|list| self.raw.lists.get(*list).len()).sum::<usize>();
        }
        number
    }

    /// Ranks in all combinations together.
    pub(super) fn ranks(&self) -> usize {
        self.ranks
    }

    /// The distinct lists of ranks that combinations come to; `closed` where no rules but those take part.
    pub(super) fn finish(self, builder: &LineBuilder<'_>, closed: bool) -> Lists {
        let mut lists =
            Lists { lists: Interner::new(), of_combination: Vec::with_capacity(self.parts.len()) };
        let mut ranks: Vec<u32> = Vec::new();
        for number in 0..self.parts.len() as u32 {
            ranks.clear();
            for list in self.parts.get(number) {
                ranks.extend_from_slice(self.raw.lists.get(*list));
            }
            ranks.sort_unstable();
            builder.prune(&mut ranks, closed);
            lists.of_combination.push(lists.lists.number(&ranks));
        }
        lists
    }
}

/// Distinct lists of ranks; number 0 is empty.
pub(super) struct Lists {
    lists: Interner,
    of_combination: Vec<u32>,
}

impl Lists {
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    pub(super) fn get(&self, list: u32) -> &[u32] {
        self.lists.get(list)
    }

    pub(super) fn list_of(&self, combination: u32) -> u32 {
        self.of_combination[combination as usize]
    }
}

/// The cells of one group by one of their numbers.
struct ByNumber {
    starts: Vec<u32>,
    /// The other number, and the list.
    entries: Vec<(u32, u32)>,
}

impl ByNumber {
    fn new(cells: &[(u64, u32)], flip: bool) -> Self {
        let mut entries: Vec<(u32, u32, u32)> = cells
            .iter()
            .map(|(word, list)| {
                let (from, to) = Pairs::numbers(*word);
                if flip { (to, from, *list) } else { (from, to, *list) }
            })
            .collect();
        if flip {
            entries.sort_unstable();
        }
        let most = entries.last().map_or(0, |(number, ..)| *number);
        let mut starts = vec![0; most as usize + 2];
        for (number, ..) in &entries {
            starts[*number as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        ByNumber { starts, entries: entries.into_iter().map(|(_, other, list)| (other, list)).collect() }
    }

    fn get(&self, number: u32) -> &[(u32, u32)] {
        match self.starts.get(number as usize + 1) {
            Some(end) => &self.entries[self.starts[number as usize] as usize..*end as usize],
            None => &[],
        }
    }
}

/// Whether both sides of the group are narrow.
pub(super) fn is_narrow(group: &Group) -> bool {
    group.from == Level::Narrow && group.to == Level::Narrow
}

impl RawCells<'_> {
    /// Sources by what rules with a wide side say of them.
    pub(super) fn coarse_sources(&self) -> Vec<u32> {
        let by: Vec<Option<ByNumber>> = self.of_half_narrow(Level::Narrow, false);
        coarse(self.from, |row, signature| {
            let numbers = self.from.numbers_of_row(row);
            signature.extend([numbers[Level::Wide as usize], numbers[Level::Place as usize]]);
            for by in by.iter().flatten() {
                for (other, list) in by.get(numbers[Level::Narrow as usize]) {
                    signature.extend([*other, *list]);
                }
                signature.push(u32::MAX);
            }
        })
    }

    /// Destinations likewise.
    pub(super) fn coarse_destinations(&self) -> Vec<u32> {
        let by: Vec<Option<ByNumber>> = self.of_half_narrow(Level::Narrow, true);
        coarse(self.to, |row, signature| {
            let numbers = self.to.numbers_of_row(row);
            signature.extend([numbers[Level::Wide as usize], numbers[Level::Place as usize]]);
            for by in by.iter().flatten() {
                for (other, list) in by.get(numbers[Level::Narrow as usize]) {
                    signature.extend([*other, *list]);
                }
                signature.push(u32::MAX);
            }
        })
    }

    /// The cells of groups of which one side alone is narrow: the destination with `flip`, else the source.
    fn of_half_narrow(&self, narrow: Level, flip: bool) -> Vec<Option<ByNumber>> {
        let of_group = |(group, cells): (&Group, &Vec<(u64, u32)>)| {
            let (own, other) = if flip { (group.to, group.from) } else { (group.from, group.to) };
            (own == narrow && other != narrow).then(|| ByNumber::new(cells, flip))
        };
        self.groups.iter().zip(&self.cells).map(of_group).collect()
    }

    /// The combinations of these sources with these destinations, row by row, of the groups `of` which it is;
    /// `None` where there are more than `most`.
    pub(super) fn matrix(
        &self,
        rows: &[u32],
        columns: &[u32],
        of: impl Fn(&Group) -> bool,
        combined: &mut Combined<'_>,
        most: usize,
    ) -> Option<Vec<u32>> {
        let groups: Vec<(&Group, ByNumber)> = self
            .groups
            .iter()
            .zip(&self.cells)
            .filter(|(group, _)| of(group))
            .map(|(group, cells)| (group, ByNumber::new(cells, false)))
            .collect();
        let mut matrix = Vec::with_capacity(rows.len() * columns.len());
        // By group: the lists of one source, by number of the destination.
        let highest = |group: &Group| {
            (0..self.to.rows() as u32).map(|r| self.to.numbers_of_row(r)[group.to as usize]).max()
        };
        let mut here: Vec<Vec<u32>> =
            groups.iter().map(|(group, _)| vec![0; highest(group).unwrap_or(0) as usize + 1]).collect();
        let mut parts = Vec::new();
        let mut last: (Vec<u32>, u32) = (Vec::new(), 0);
        for row in rows {
            let numbers = self.from.numbers_of_row(*row);
            for ((group, by), here) in groups.iter().zip(&mut here) {
                for (to, list) in by.get(numbers[group.from as usize]) {
                    here[*to as usize] = *list;
                }
            }
            for column in columns {
                let to = self.to.numbers_of_row(*column);
                parts.clear();
                for ((group, _), here) in groups.iter().zip(&here) {
                    let list = here[to[group.to as usize] as usize];
                    if list != 0 {
                        parts.push(list);
                    }
                }
                // Neighbours are alike more often than not.
                if parts != last.0 {
                    last = (parts.clone(), combined.number(&parts));
                }
                matrix.push(last.1);
            }
            if combined.parts.len() > most {
                return None;
            }
            for ((group, by), here) in groups.iter().zip(&mut here) {
                for (to, _) in by.get(numbers[group.from as usize]) {
                    here[*to as usize] = 0;
                }
            }
        }
        Some(matrix)
    }

    /// The rows of one side by the wide sets alone that they are in.
    pub(super) fn widest(side: &Side) -> Vec<u32> {
        coarse(side, |row, signature| {
            let numbers = side.numbers_of_row(row);
            signature.extend([numbers[Level::Wide as usize], numbers[Level::Place as usize]]);
        })
    }

    /// The narrow pairs: rows of source and destination, and the combination; with the rules of wide sets where
    /// `closed`.
    pub(super) fn narrow(&self, closed: bool, combined: &mut Combined<'_>) -> Vec<(u32, u32, u32)> {
        let maps: Vec<_> = self.cells.iter().map(|cells| super::word_map::word_map(cells)).collect();
        let mut pairs = Vec::new();
        let mut parts = Vec::new();
        for (group, cells) in self.groups.iter().zip(&self.cells) {
            if !is_narrow(group) {
                continue;
            }
            for (word, list) in cells {
                let (f, t) = Pairs::numbers(*word);
                let (row, column) = (self.from.row_of_narrow(f), self.to.row_of_narrow(t));
                let (from, to) = (self.from.numbers_of_row(row), self.to.numbers_of_row(column));
                parts.clear();
                parts.push(*list);
                for (at, other) in self.groups.iter().enumerate() {
                    if is_narrow(other) || !closed {
                        continue;
                    }
                    let (f, t) = (from[other.from as usize], to[other.to as usize]);
                    if f != 0
                        && t != 0
                        && let Some(list) = maps[at].get(Pairs::word(at, f, t))
                    {
                        parts.push(list);
                    }
                }
                pairs.push((row, column, combined.number(&parts)));
            }
        }
        pairs
    }
}
