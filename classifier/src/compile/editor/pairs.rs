//! Pairs of rows → cells: buckets and matrix, changed in place.
//!
//! Where pairs are hashed, a narrow pair has a cell of its own that holds all its rules, and the matrix holds what
//! rules with a wide side say of all others. Where they are not, all rules are in the matrix.

use super::side::{EditedSide, other};
use super::work::Work;
use super::{EditError, Editor, own};
use crate::compile::cell::Sides;
use crate::compile::fast::unused;
use crate::compile::word_map::word_map;
use crate::policy::RuleId;
use crate::tables::cells::{Bucket, Cells};
use crate::tables::fast::{Answer, Fast};
use crate::tables::ports::Ports;
use crate::tables::{CellTables, Tables};
use std::sync::Arc;

/// Pairs that spill before the tables count as full, beside an eighth of those that are hashed.
const SPILLED: usize = 256;

/// The cells of tables that can be changed.
pub(super) fn fast(tables: &mut Arc<Tables>) -> Result<&mut Fast, EditError> {
    match &mut own(tables).cells {
        CellTables::Closed(fast) => Ok(fast),
        CellTables::Grouped(_) => Err(EditError::Form),
    }
}

/// Which rules count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those of which both sides are narrow.
    Narrow,
    /// The others.
    Wide,
}

impl Editor {
    /// Whether the matrix has the rules with these sides.
    pub(super) fn is_of_matrix(&self, sides: Sides) -> bool {
        !self.hashes || self.sides[0].is_wide(sides.from) || self.sides[1].is_wide(sides.to)
    }

    /// The rules of a pair in the order of evaluation.
    fn rules_of_pair(&self, source: u32, destination: u32, which: Which) -> Vec<RuleId> {
        let [from, to] = &self.sides;
        // From the side that has fewer to choose from.
        let side = usize::from(to.rule_count(destination) < from.rule_count(source));
        let own = [source, destination][side];
        let others = self.sides[1 - side].sets_of([destination, source][side]);
        let is_one = |id: &u32| {
            let sides = self.rules[*id as usize];
            other(sides, side).is_none_or(|set| others.contains(&set))
                && match which {
                    Which::All => true,
                    Which::Narrow => !self.is_of_matrix(sides),
                    Which::Wide => self.is_of_matrix(sides),
                }
        };
        let mut found: Vec<RuleId> = self.sides[side].rules_of_row(own).filter(is_one).map(RuleId).collect();
        found.sort_unstable_by_key(|id| (self.policy.rule(*id).tier, self.policy.position(*id)));
        found
    }

    fn content(&mut self, rules: &[RuleId]) -> Result<(u32, u32), EditError> {
        let made = self.contents.made;
        let (cell, base) = self.contents.cell(&self.policy, rules, fast(&mut self.tables)?)?;
        self.work.spend(if self.contents.made > made { Work::MADE } else { Work::SEEN })?;
        let fast = fast(&mut self.tables)?;
        if cell >= fast.cells.hash.most_cells() {
            return Err(EditError::Full);
        }
        Ok((cell, base))
    }

    /// Makes the cell of a hashed pair anew.
    pub(super) fn pair(&mut self, source: u32, destination: u32) -> Result<(), EditError> {
        let is_narrow = !self.rules_of_pair(source, destination, Which::Narrow).is_empty();
        let rules = self.rules_of_pair(source, destination, Which::All);
        let (cell, base) = self.content(&rules)?;
        let fast = fast(&mut self.tables)?;
        let Fast { cells, ports, .. } = fast;
        let word = cells.hash.word(source, destination);
        let hash = cells.hash.mix(word);
        let index = cells.hash.bucket(hash);
        let (bucket, rest) = (*cells.buckets.get(index), cells.hash.rest(hash));
        let (spare, of) = (unused(cells.hash, index), cells.hash);
        let slot = bucket.slot_of(of, rest);
        let spilled = cells.spilled.get(u64::from(word));
        let free = || bucket.slot_of(of, spare);
        let place = match (slot, spilled) {
            (Some(slot), _) if !is_narrow => {
                cells.buckets.get_mut(index).set(of, slot, spare, 0);
                fast.hashed_pairs -= 1;
                return Ok(());
            }
            (None, None) if !is_narrow => return Ok(()),
            (None, Some(at)) => {
                cells.spilled_cells[at as usize] = cell;
                cells.first_spilled() + at
            }
            (slot, _) => {
                fast.hashed_pairs += usize::from(slot.is_none());
                cells.is_hashed = true;
                match slot.or_else(free) {
                    Some(slot) => {
                        cells.buckets.get_mut(index).set(of, slot, rest, cell);
                        index * 16 + slot as u32
                    }
                    None => spill(cells, ports, word, cell, fast.hashed_pairs)?,
                }
            }
        };
        set_base(ports, place, base);
        Ok(())
    }

    /// The rows of the other side that have hashed pairs with this one.
    pub(super) fn hashed_with(&self, side: usize, row: u32) -> Vec<u32> {
        let mut rows = Vec::new();
        if !self.hashes {
            return rows;
        }
        let own = &self.sides[side];
        for set in own.sets_of(row).iter().filter(|set| !own.is_wide[**set as usize]) {
            for id in &own.rules_of[*set as usize] {
                if let Some(set) = other(self.rules[*id as usize], side)
                    && !self.sides[1 - side].is_wide[set as usize]
                {
                    rows.extend_from_slice(&self.sides[1 - side].rows_with[set as usize]);
                }
            }
        }
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// The row of these sets; with its cells, where it is new.
    pub(super) fn row(&mut self, side: usize, sets: &[u32]) -> Result<u32, EditError> {
        let (row, is_new) = self.sides[side].row_with(sets);
        if !is_new {
            return Ok(row);
        }
        let hash = fast(&mut self.tables)?.cells.hash;
        let bits = if side == 0 { hash.bits - hash.low } else { hash.low };
        if row > u32::from(u16::MAX) || row >> bits != 0 {
            return Err(EditError::Full);
        }
        let coarse = match self.sides[side].coarse_of(row) {
            Some(coarse) => coarse,
            None => self.coarse_like(side, row, None)?,
        };
        let cells = &mut fast(&mut self.tables)?.cells;
        let numbers = if side == 0 { &mut cells.coarse_from } else { &mut cells.coarse_to };
        numbers.push(coarse as u16);
        for counterpart in self.hashed_with(side, row) {
            let (source, destination) = if side == 0 { (row, counterpart) } else { (counterpart, row) };
            self.pair(source, destination)?;
        }
        Ok(row)
    }

    /// A row of each coarse number of a side.
    fn representatives(&mut self, side: usize) -> Result<Vec<u32>, EditError> {
        let mut rows = vec![u32::MAX; self.sides[side].coarse_count as usize];
        let cells = &fast(&mut self.tables)?.cells;
        let numbers = if side == 0 { &cells.coarse_from } else { &cells.coarse_to };
        for (row, number) in (0u32..).zip(numbers) {
            let first = &mut rows[usize::from(*number)];
            *first = row.min(*first);
        }
        Ok(rows)
    }

    /// A new coarse number for rows like this one: with the cells of a known number, or made from the rules.
    fn coarse_like(&mut self, side: usize, row: u32, like: Option<u32>) -> Result<u32, EditError> {
        let counterparts = self.representatives(1 - side)?;
        let number = self.sides[side].push_coarse(row);
        let (rows, columns) = (self.sides[0].coarse_count, self.sides[1].coarse_count);
        if rows as usize * columns as usize > self.limits.matrix.max(1 << 16) {
            return Err(EditError::Full);
        }
        let fast_now = fast(&mut self.tables)?;
        grow(fast_now, rows, columns);
        if fast_now.cells.places() > Answer::PLACES {
            return Err(EditError::Full);
        }
        for (other, representative) in (0u32..).zip(counterparts) {
            // A number that no row has any more.
            if representative == u32::MAX {
                continue;
            }
            let at = |own: u32| if side == 0 { (own, other) } else { (other, own) };
            let content = match like {
                Some(like) => in_matrix(fast(&mut self.tables)?, at(like)),
                None => {
                    let (source, destination) =
                        if side == 0 { (row, representative) } else { (representative, row) };
                    let rules = self.rules_of_pair(source, destination, Which::Wide);
                    self.content(&rules)?
                }
            };
            set_matrix(fast(&mut self.tables)?, at(number), content);
        }
        Ok(number)
    }

    /// Makes the coarse numbers of a side tell a set apart.
    pub(super) fn isolate(&mut self, side: usize, set: Option<u32>) -> Result<(), EditError> {
        let Some(set) = set else { return Ok(()) };
        self.sides[side].mark_relevant(Some(set));
        let numbers = |cells: &Cells| {
            if side == 0 { cells.coarse_from.clone() } else { cells.coarse_to.clone() }
        };
        let mut coarse = numbers(&fast(&mut self.tables)?.cells);
        let mut is_in = vec![false; coarse.len()];
        for row in &self.sides[side].rows_with[set as usize] {
            is_in[*row as usize] = true;
        }
        let mut has = vec![[false; 2]; self.sides[side].coarse_count as usize];
        for (number, is_in) in coarse.iter().zip(&is_in) {
            has[usize::from(*number)][usize::from(*is_in)] = true;
        }
        let mut moved: Vec<Option<u32>> = vec![None; has.len()];
        for row in 0..coarse.len() {
            let old = usize::from(coarse[row]);
            if !is_in[row] || has[old] != [true; 2] {
                continue;
            }
            let new = match moved[old] {
                Some(new) => new,
                None => self.coarse_like(side, row as u32, Some(old as u32))?,
            };
            moved[old] = Some(new);
            coarse[row] = new as u16;
        }
        self.sides[side].index_coarse(&coarse);
        let cells = &mut fast(&mut self.tables)?.cells;
        *(if side == 0 { &mut cells.coarse_from } else { &mut cells.coarse_to }) = coarse;
        Ok(())
    }

    /// Makes the cells of the matrix anew that rules with these sides are in.
    pub(super) fn matrix(&mut self, sides: Sides) -> Result<(), EditError> {
        self.isolate(0, sides.from)?;
        self.isolate(1, sides.to)?;
        let mut here = [Vec::new(), Vec::new()];
        for (side, (set, here)) in [sides.from, sides.to].into_iter().zip(&mut here).enumerate() {
            let rows = self.sides[side].rows_in(set);
            let cells = &fast(&mut self.tables)?.cells;
            let numbers = if side == 0 { &cells.coarse_from } else { &cells.coarse_to };
            *here = rows.into_iter().map(|row| (u32::from(numbers[row as usize]), row)).collect();
            here.sort_unstable();
            here.dedup_by_key(|(number, _)| *number);
        }
        let [sources, destinations] = here;
        for (from, source) in sources {
            for (to, destination) in &destinations {
                let rules = self.rules_of_pair(source, *destination, Which::Wide);
                let content = self.content(&rules)?;
                set_matrix(fast(&mut self.tables)?, (from, *to), content);
            }
        }
        Ok(())
    }
}

/// What the compiler made of a side's coarse numbers.
pub(super) fn index_coarse(sides: &mut [EditedSide; 2], cells: &Cells) {
    for (side, numbers) in sides.iter_mut().zip([&cells.coarse_from, &cells.coarse_to]) {
        side.coarse_count = numbers.iter().max().map_or(1, |most| u32::from(*most) + 1);
        side.index_coarse(numbers);
    }
}

fn set_base(ports: &mut Ports, place: u32, base: u32) {
    if let Ports::Lines(lines) = ports {
        *lines.bases.get_mut(place) = base;
    }
}

fn base_at(ports: &Ports, place: u32) -> u32 {
    match ports {
        Ports::Lines(lines) => *lines.bases.get(place),
        Ports::Rows(_) => 0,
    }
}

/// Makes room in the bases for the places of the cells. The matrix is behind the spilled pairs, so its own move.
fn move_matrix(cells: &Cells, ports: &mut Ports, first: u32, bases: &[u32]) {
    if let Ports::Lines(lines) = ports {
        lines.bases.extend_to(cells.places(), 0);
        for (place, base) in (first..).zip(bases) {
            *lines.bases.get_mut(place) = *base;
        }
    }
}

/// Puts a pair beside its bucket, which is full; its place.
fn spill(cells: &mut Cells, ports: &mut Ports, word: u32, cell: u32, pairs: usize) -> Result<u32, EditError> {
    let at = cells.spilled_cells.len() as u32;
    if at as usize >= SPILLED + pairs / 8 || cells.places() >= Answer::PLACES {
        return Err(EditError::Full);
    }
    let first = cells.first_of_matrix();
    let bases: Vec<u32> = (first..first + cells.matrix.len() as u32).map(|at| base_at(ports, at)).collect();
    let index = cells.hash.bucket(cells.hash.mix(word));
    cells.buckets.get_mut(index).spill();
    cells.spilled_cells.push(cell);
    let mut entries: Vec<(u64, u32)> = cells.spilled.entries().collect();
    entries.push((u64::from(word), at));
    cells.spilled = word_map(&entries);
    move_matrix(cells, ports, first + 1, &bases);
    Ok(cells.first_spilled() + at)
}

/// The index of a cell of the matrix.
fn matrix_at(cells: &Cells, (from, to): (u32, u32)) -> u32 {
    from * cells.width + to
}

fn in_matrix(fast: &Fast, at: (u32, u32)) -> (u32, u32) {
    let cell = fast.cells.of_matrix(matrix_at(&fast.cells, at));
    (cell.cell, base_at(&fast.ports, cell.place))
}

fn set_matrix(fast: &mut Fast, at: (u32, u32), (cell, base): (u32, u32)) {
    let Fast { cells, ports, .. } = fast;
    let at = matrix_at(cells, at);
    cells.matrix[at as usize] = cell as u16;
    if let Some(upper) = &mut cells.matrix_upper {
        upper[at as usize] = (cell >> 16) as u16;
    }
    set_base(ports, cells.first_of_matrix() + at, base);
    if cells.width == 0 {
        // What the matrix says of all pairs alike stands in the buckets, too.
        for index in 0..cells.hash.buckets {
            let hash = cells.hash;
            if cells.buckets.get(index).has_spilled() {
                continue;
            }
            cells.buckets.get_mut(index).set(hash, Bucket::PAIRS, 0, cell);
            set_base(ports, index * 16 + Bucket::PAIRS as u32, base);
        }
    }
}

/// Makes a matrix of so many rows and columns of what there is.
fn grow(fast: &mut Fast, rows: u32, columns: u32) {
    let Fast { cells, ports, .. } = fast;
    let first = cells.first_of_matrix();
    let old = cells.width.max(1);
    let count = cells.matrix.len() as u32 / old;
    let width = if columns > old { columns + columns / 8 + 4 } else { old };
    let mut bases: Vec<u32> = Vec::new();
    if width != old {
        bases = (first..first + cells.matrix.len() as u32).map(|at| base_at(ports, at)).collect();
        let spread = |values: &[u16]| {
            let mut wider = vec![0; (count * width) as usize];
            for (new, old) in wider.chunks_exact_mut(width as usize).zip(values.chunks_exact(old as usize)) {
                new[..old.len()].copy_from_slice(old);
            }
            wider
        };
        cells.matrix = spread(&cells.matrix);
        cells.matrix_upper = cells.matrix_upper.as_ref().map(|upper| spread(upper));
        let mut wider = vec![0; (count * width) as usize];
        for (new, old) in wider.chunks_exact_mut(width as usize).zip(bases.chunks_exact(old as usize)) {
            new[..old.len()].copy_from_slice(old);
        }
        bases = wider;
    }
    let cells_now = (rows.max(count) * width) as usize;
    cells.matrix.resize(cells_now, 0);
    if let Some(upper) = &mut cells.matrix_upper {
        upper.resize(cells_now, 0);
    }
    if cells_now > 1 {
        if cells.width == 0 {
            // From now on a pair that its bucket does not hold is to be looked for in the matrix.
            (0..cells.hash.buckets).for_each(|index| cells.buckets.get_mut(index).spill());
        }
        cells.width = width;
    }
    move_matrix(cells, ports, first, &bases);
}
