//! Builds and changes a [`Space`], one /16 at a time.

use super::intern::WordHashMap;
use crate::tables::journal::Journaled;
use crate::tables::lanes::Sixteen;
use crate::tables::space::{Line, Space};

/// Runs within a /16: first address and state. The first starts at 0.
pub(super) type Runs = Vec<(u16, u32)>;

/// What it takes to change a space: of one, and of the copies that follow it.
#[derive(Debug)]
pub(crate) struct SpaceBuilder {
    /// Free blocks of 2^n entries, by n.
    free_blocks: Vec<Vec<u32>>,
    free_lines: Vec<u32>,
    /// The entry that all /16s of one state share.
    uniform: WordHashMap<u32, u32>,
}

/// Blocks are cut no finer: 16 addresses have at most 16 runs.
const FINEST: u32 = 4;
/// The cuts that are tried, the coarsest first.
const SHIFTS: [u32; 8] = [16, 12, 10, 8, 7, 6, 5, FINEST];

impl SpaceBuilder {
    /// The table of these runs: first address and state, sorted, the first at 0.
    pub(super) fn new(runs: &[(u32, u32)], wide: bool) -> (Self, Space) {
        let mut space = Space {
            root: Journaled::filled(0, 1 << 16),
            entries: Journaled::new(),
            lines: Journaled::new(),
            upper: wide.then(Journaled::new),
        };
        let mut builder = SpaceBuilder {
            free_blocks: vec![Vec::new(); 17],
            free_lines: Vec::new(),
            uniform: WordHashMap::default(),
        };
        let mut at = 0;
        let mut here: Runs = Vec::new();
        for upper in 0..1u32 << 16 {
            let last = upper << 16 | 0xffff;
            here.clear();
            while runs.get(at + 1).is_some_and(|next| next.0 <= upper << 16) {
                at += 1;
            }
            here.push((0, runs[at].1));
            while let Some((start, state)) = runs.get(at + 1).filter(|next| next.0 <= last) {
                here.push((*start as u16, *state));
                at += 1;
            }
            let root = builder.block(&mut space, &here);
            *space.root.get_mut(upper) = root;
        }
        (builder, space)
    }

    /// The runs of a /16.
    pub(super) fn runs(space: &Space, upper: u16) -> Runs {
        let root = *space.root.get(u32::from(upper));
        let (first, shift) = (root >> Space::SHIFT_BITS, root & 31);
        let mut runs: Runs = Vec::new();
        let mut before = None;
        for slot in 0..1u32 << (16 - shift) {
            let entry = *space.entries.get(first + slot);
            // Entries side by side share lines.
            if before.replace(entry) == Some(entry) {
                continue;
            }
            let base = slot << shift;
            let line = space.lines.get(entry);
            let upper = space.upper.as_ref().map(|upper| upper.get(entry));
            for run in 0..16 {
                let slot = Line::slot(run);
                let high = upper.map_or(0, |upper| u32::from(upper[slot]) << 16);
                let state = u32::from(line.states[slot]) | high;
                // Unused places repeat the last state.
                if runs.last().is_none_or(|(_, last)| *last != state) {
                    runs.push((u32::from(line.starts[run]).max(base) as u16, state));
                }
            }
        }
        runs
    }

    /// Replaces the runs of a /16.
    pub(super) fn set(&mut self, space: &mut Space, upper: u16, runs: &[(u16, u32)]) {
        let old = *space.root.get(u32::from(upper));
        let new = self.block(space, runs);
        *space.root.get_mut(u32::from(upper)) = new;
        self.release(space, old);
    }

    /// Makes a block of these runs: its root.
    fn block(&mut self, space: &mut Space, runs: &[(u16, u32)]) -> u32 {
        if let [(_, state)] = runs {
            let first = match self.uniform.get(state) {
                Some(first) => *first,
                None => {
                    let (first, line) = (self.allocate(space, 0), self.new_line(space, runs));
                    *space.entries.get_mut(first) = line;
                    self.uniform.insert(*state, first);
                    first
                }
            };
            return first << Space::SHIFT_BITS | 16;
        }
        let shift = SHIFTS.into_iter().find(|shift| fits(runs, *shift));
        let shift = shift.expect("sixteen addresses have at most sixteen runs");
        let first = self.allocate(space, 16 - shift);
        let slots = 1u32 << (16 - shift);
        let (mut slot, mut at) = (0, 0);
        while slot < slots {
            // As many entries as have no more than sixteen runs together, the one that reaches in among them.
            let begin = slot << shift;
            while runs.get(at + 1).is_some_and(|next| u32::from(next.0) <= begin) {
                at += 1;
            }
            let (mut behind, mut end) = (slot + 1, behind_last(runs, at, ((slot + 1) << shift) - 1));
            while behind < slots {
                let more = behind_last(runs, end - 1, ((behind + 1) << shift) - 1);
                if more - at > 16 {
                    break;
                }
                (behind, end) = (behind + 1, more);
            }
            let line = self.new_line(space, &runs[at..end]);
            for slot in slot..behind {
                *space.entries.get_mut(first + slot) = line;
            }
            (slot, at) = (behind, end - 1);
        }
        first << Space::SHIFT_BITS | shift
    }

    fn release(&mut self, space: &Space, root: u32) {
        let (first, shift) = (root >> Space::SHIFT_BITS, root & 31);
        if shift == 16 && is_uniform(space, *space.entries.get(first)) {
            return;
        }
        let mut before = None;
        for slot in 0..1u32 << (16 - shift) {
            let line = *space.entries.get(first + slot);
            if before.replace(line) != Some(line) {
                self.free_lines.push(line);
            }
        }
        self.free_blocks[(16 - shift) as usize].push(first);
    }

    /// A block of 2^`bits` entries, aligned to its size.
    fn allocate(&mut self, space: &mut Space, bits: u32) -> u32 {
        if let Some(first) = self.free_blocks[bits as usize].pop() {
            return first;
        }
        let size = 1usize << bits;
        let end = space.entries.len();
        let first = end.next_multiple_of(size);
        // What alignment skips is used for smaller blocks.
        let mut skipped = end;
        while skipped < first {
            let bits = skipped.trailing_zeros();
            self.free_blocks[bits as usize].push(skipped as u32);
            skipped += 1 << bits;
        }
        space.entries.extend_to(first + size, 0);
        first as u32
    }

    /// A line of at most 16 runs; the first counts from the beginning, wherever it started.
    fn new_line(&mut self, space: &mut Space, runs: &[(u16, u32)]) -> u32 {
        let last = runs[runs.len() - 1].1;
        let mut line = Line { starts: [u16::MAX; 16], states: [last as u16; 16] };
        let mut upper: Sixteen = [(last >> 16) as u16; 16];
        for (at, (start, state)) in runs.iter().enumerate() {
            line.starts[at] = if at == 0 { 0 } else { *start };
            line.states[Line::slot(at)] = *state as u16;
            upper[Line::slot(at)] = (state >> 16) as u16;
        }
        let at = match self.free_lines.pop() {
            Some(at) => {
                *space.lines.get_mut(at) = line;
                at
            }
            None => space.lines.push(line),
        };
        if let Some(table) = &mut space.upper {
            table.extend_to(at as usize + 1, [0; 16]);
            *table.get_mut(at) = upper;
        }
        at
    }
}

/// Whether a line has one run alone.
fn is_uniform(space: &Space, line: u32) -> bool {
    let states = &space.lines.get(line).states;
    let upper = space.upper.as_ref().map(|upper| upper.get(line));
    let [first, second] = [Line::slot(0), Line::slot(1)];
    states[first] == states[second] && upper.is_none_or(|upper| upper[first] == upper[second])
}

/// The run behind the last that begins no later than `last`; `at` is one that does.
fn behind_last(runs: &[(u16, u32)], at: usize, last: u32) -> usize {
    at + 1 + runs[at + 1..].iter().take_while(|next| u32::from(next.0) <= last).count()
}

/// Whether no entry of a block with this shift needs more than sixteen runs.
fn fits(runs: &[(u16, u32)], shift: u32) -> bool {
    // The run that reaches into an entry from before counts there, too.
    let mut count = 1;
    let mut slot = 0;
    for (start, _) in &runs[1..] {
        let here = u32::from(*start) >> shift;
        if here != slot {
            let reaches_in = u32::from(*start) & ((1 << shift) - 1) != 0;
            (slot, count) = (here, u32::from(reaches_in));
        }
        count += 1;
        if count > 16 {
            return false;
        }
    }
    true
}
