//! Small changes to compiled tables, without compiling anew.
//!
//! An [`Editor`] belongs to the control thread. Each change rewrites the few pages that it touches, in copies;
//! [`Editor::tables`] is the new generation, which shares all other pages with the ones before. Publishing it is
//! the caller's business: one swap of an `Arc`. A page is freed with the last generation that has it.
//!
//! Not every policy can be changed in this way, and not every change: what can't is an [`EditError`], and calls for
//! a compilation of [`Editor::policy`].

use super::fast::unused;
use super::intern::WordHashMap;
use super::ports::{GENERAL, LinePlan, NOTHING};
use super::space::Runs;
use super::word_map::word_map;
use super::{CompileError, Limits, Parts, compile_parts};
use crate::addr::IpRange;
use crate::decision::Judgement;
use crate::policy::{Member, Policy, RuleId, SegmentId, Selector, Timestamp};
use crate::tables::fast::{Answer, Fast, Meanings, code_of};
use crate::tables::ports::{PortLine, Ports};
use crate::tables::{BY_SOURCE_PORT, CellTables, Tables};
use std::fmt;
use std::sync::Arc;

/// Why a change can't be made in place. The tables are as they were.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EditError {
    /// The policy has VLANs, MACs, wide rules or `any`: only one of segments alone can be changed in place.
    Policy,
    /// The change names IPv6 addresses.
    Family,
    /// The segment, rule or member is not there, or was changed so already.
    Absent,
    /// The tables have no room for what the change brings.
    Full,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EditError::Policy => "the policy is not of segments alone, so it must be compiled anew",
            EditError::Family => {
                "members of IPv6 can't be changed in place, so the policy must be compiled anew"
            }
            EditError::Absent => "there is no such segment, rule or member, or it is as wished already",
            EditError::Full => "the tables have no room left, so the policy must be compiled anew",
        })
    }
}

impl std::error::Error for EditError {}

/// Compiled tables that can be changed.
pub struct Editor<'p> {
    policy: &'p Policy,
    tables: Tables,
    parts: Parts<'p>,
    plan: LinePlan<'p>,
    shapes: WordHashMap<PortLine, u32>,
    /// Ranks by the set that they name: as source, as destination.
    by_set: [Vec<Vec<u32>>; 2],
    /// Rows by the set that they have.
    rows_with: [Vec<Vec<u32>>; 2],
    /// Whether each rank takes part.
    active: Vec<bool>,
    rank_of: WordHashMap<u32, u32>,
    /// The address ranges of segments that were changed.
    members: WordHashMap<u32, Vec<(u32, u32)>>,
    is_editable: bool,
    /// Whether a change has failed half-way. What it made is in no answer, but nothing more can be built on it.
    is_full: bool,
}

impl fmt::Debug for Editor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("statistics", &self.tables.statistics).finish_non_exhaustive()
    }
}

/// The plain IPv4 ranges of a segment: those that no VLAN or MAC narrows.
fn plain_ranges(policy: &Policy, segment: u32) -> Vec<(u32, u32)> {
    let members = policy.segments()[segment as usize].members.iter();
    let ranges = members.flat_map(|member| match member {
        Member::Selector(selector) => selector.addresses.as_slice(),
        Member::Segment(_) => &[],
    });
    let v4 = ranges.filter_map(|range| match range {
        IpRange::V4(first, last) => Some((*first, *last)),
        IpRange::V6(..) => None,
    });
    v4.collect()
}

impl<'p> Editor<'p> {
    /// Compiles the policy as it stands at `now`.
    ///
    /// # Errors
    /// Where the policy does not compile within its limits.
    pub fn new(policy: &'p Arc<Policy>, now: Timestamp, limits: &Limits) -> Result<Self, CompileError> {
        let (tables, parts) = compile_parts(policy, now, limits)?;
        let plan = LinePlan::new(policy, &parts.builder);
        let mut shapes = WordHashMap::default();
        if let CellTables::Closed(Fast { ports: Ports::Lines(lines), .. }) = &tables.cells {
            for at in 0..lines.lines.len() as u32 {
                shapes.insert(*lines.lines.get(at), at);
            }
        }
        let mut by_set = [vec![Vec::new(); parts.atoms.sets.len()], vec![Vec::new(); parts.atoms.sets.len()]];
        for (rank, sides) in (0u32..).zip(&parts.rules) {
            for (by_set, set) in by_set.iter_mut().zip([sides.from, sides.to]) {
                if let Some(set) = set {
                    by_set[set as usize].push(rank);
                }
            }
        }
        let rows_with = [&parts.from, &parts.to].map(|side| {
            let mut rows = vec![Vec::new(); parts.atoms.sets.len()];
            for row in 0..side.rows() as u32 {
                for set in side.sets_of_row(row) {
                    rows[*set as usize].push(row);
                }
            }
            rows
        });
        let rank_of = (0u32..).zip(parts.builder.ranked()).map(|(rank, r)| (r.rule.0, rank)).collect();
        let is_editable = is_editable(&tables, &parts) && !plan.is_crowded();
        Ok(Editor {
            policy,
            tables,
            active: vec![true; parts.rules.len()],
            parts,
            plan,
            shapes,
            by_set,
            rows_with,
            rank_of,
            members: WordHashMap::default(),
            is_editable,
            is_full: false,
        })
    }

    /// The tables as they are now: a generation of its own, which no later change touches.
    #[must_use]
    pub fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// The policy with all changes that were made. Slow: for a compilation, and for those who want to read it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = self.policy.clone();
        for (segment, ranges) in &self.members {
            let members = &mut policy.segments_mut()[*segment as usize].members;
            for member in members.iter_mut() {
                if let Member::Selector(selector) = member {
                    selector.addresses.retain(|range| matches!(range, IpRange::V6(..)));
                }
            }
            members.retain(|member| match member {
                Member::Selector(selector) => !selector.addresses.is_empty(),
                Member::Segment(_) => true,
            });
            members.extend(ranges.iter().map(|(first, last)| {
                let addresses = vec![IpRange::V4(*first, *last)];
                Member::Selector(Selector { addresses, ..Selector::default() })
            }));
        }
        for (rank, active) in self.active.iter().enumerate() {
            if !active {
                let RuleId(id) = self.parts.builder.ranked()[rank].rule;
                policy.rules_mut()[id as usize].expires = Some(Timestamp(i128::MIN));
            }
        }
        policy
    }

    /// Makes the addresses a member of the segment.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn add_member(&mut self, segment: SegmentId, range: IpRange) -> Result<(), EditError> {
        self.member(segment, range, true)
    }

    /// Takes a member out of the segment: one that was named, or added, as just this range.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn remove_member(&mut self, segment: SegmentId, range: IpRange) -> Result<(), EditError> {
        self.member(segment, range, false)
    }

    /// Takes a rule out: from now on it is as if it had expired.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn suspend_rule(&mut self, rule: RuleId) -> Result<(), EditError> {
        self.rule(rule, false)
    }

    /// Puts a rule in again that was suspended.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn resume_rule(&mut self, rule: RuleId) -> Result<(), EditError> {
        self.rule(rule, true)
    }

    fn check(&self) -> Result<(), EditError> {
        match (self.is_editable, self.is_full) {
            (true, false) => Ok(()),
            (false, _) => Err(EditError::Policy),
            (true, true) => Err(EditError::Full),
        }
    }

    fn rule(&mut self, rule: RuleId, active: bool) -> Result<(), EditError> {
        let rank = *self.rank_of.get(&rule.0).ok_or(EditError::Absent)?;
        if self.active[rank as usize] == active {
            return Err(EditError::Absent);
        }
        self.check()?;
        let sides = self.parts.rules[rank as usize];
        let (Some(from), Some(to)) = (sides.from, sides.to) else { return Err(EditError::Policy) };
        self.active[rank as usize] = active;
        let sources = self.rows_with[0][from as usize].clone();
        let destinations = self.rows_with[1][to as usize].clone();
        let saved = self.tables.cells.clone();
        for source in sources {
            for destination in &destinations {
                if let Err(error) = self.pair(source, *destination) {
                    self.tables.cells = saved;
                    self.active[rank as usize] = !active;
                    self.is_full = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, segment: SegmentId, range: IpRange, add: bool) -> Result<(), EditError> {
        let IpRange::V4(first, last) = range else { return Err(EditError::Family) };
        let SegmentId(id) = segment;
        if id as usize >= self.policy.segments().len() || first > last {
            return Err(EditError::Absent);
        }
        self.check()?;
        let policy = self.policy;
        let ranges = self.members.entry(id).or_insert_with(|| plain_ranges(policy, id));
        let mut affected = vec![(first, last)];
        let removed = if add {
            None
        } else {
            let at = ranges.iter().position(|r| *r == (first, last)).ok_or(EditError::Absent)?;
            ranges.swap_remove(at);
            // What other ranges of the segment hold stays in it.
            for (a, b) in ranges.iter() {
                affected = affected.into_iter().flat_map(|span| without(span, (*a, *b))).collect();
            }
            Some(())
        };
        if removed.is_none() {
            ranges.push((first, last));
        }
        let space = self.parts.space.clone();
        let mut states: WordHashMap<u32, u32> = WordHashMap::default();
        for span in affected {
            if let Err(error) = self.span(span, 2 * id, add, &mut states) {
                // Classes that were made stay: nothing leads to them.
                self.is_full = true;
                self.tables.v4 = space.space.clone();
                self.parts.space = space;
                let ranges = self.members.get_mut(&id).expect("it was put in above");
                if add {
                    ranges.pop();
                } else {
                    ranges.push((first, last));
                }
                return Err(error);
            }
        }
        self.tables.v4 = self.parts.space.space.clone();
        Ok(())
    }

    /// Puts an item in or out, all over a span of addresses.
    fn span(
        &mut self,
        (first, last): (u32, u32),
        item: u32,
        add: bool,
        states: &mut WordHashMap<u32, u32>,
    ) -> Result<(), EditError> {
        for upper in (first >> 16) as u16..=(last >> 16) as u16 {
            let base = u32::from(upper) << 16;
            let (from, to) = (first.max(base) - base, last.min(base | 0xffff) - base);
            let runs = self.parts.space.runs(upper);
            let mut changed: Runs = Vec::with_capacity(runs.len() + 2);
            let mut push = |start: u32, state: u32| {
                if changed.last().is_none_or(|(_, last)| *last != state) {
                    changed.push((start as u16, state));
                }
            };
            for (at, (start, state)) in runs.iter().enumerate() {
                let (start, end) = (u32::from(*start), runs.get(at + 1).map_or(1 << 16, |r| u32::from(r.0)));
                if end <= from || start > to {
                    push(start, *state);
                    continue;
                }
                let inside = match states.get(state) {
                    Some(known) => *known,
                    None => {
                        let found = self.state(*state, item, add)?;
                        states.insert(*state, found);
                        found
                    }
                };
                if start < from {
                    push(start, *state);
                }
                push(start.max(from), inside);
                if end > to + 1 {
                    push(to + 1, *state);
                }
            }
            self.parts.space.set(upper, &changed);
        }
        Ok(())
    }

    /// The state that another becomes with an item, or without it.
    fn state(&mut self, state: u32, item: u32, add: bool) -> Result<u32, EditError> {
        let mut items = self.parts.items.get(state).to_vec();
        match (items.binary_search(&item), add) {
            (Err(at), true) => items.insert(at, item),
            (Ok(at), false) => drop(items.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
        let classes = self.tables.softened.len();
        if classes >= 1 << 16 {
            return Err(EditError::Full);
        }
        let number = self.parts.items.number(&items);
        for class in classes..=number as usize {
            self.class(class as u32)?;
        }
        Ok(number)
    }

    /// Makes the class of a state that has none yet.
    fn class(&mut self, state: u32) -> Result<(), EditError> {
        let Parts { atoms, nesting, evaluator, items, from, to, .. } = &mut self.parts;
        let membership = evaluator.evaluate(atoms, nesting, items.get(state));
        let mut numbers = [0; 2];
        let mut new = [false; 2];
        for (side, rows) in [from, to].into_iter().enumerate() {
            let named = |set: &u32| !self.by_set[side][*set as usize].is_empty();
            let sets: Vec<u32> = membership.sets.iter().copied().filter(named).collect();
            let before = rows.rows();
            numbers[side] = rows.row_with(&sets);
            new[side] = rows.rows() > before;
            if new[side] {
                for set in &sets {
                    self.rows_with[side][*set as usize].push(numbers[side]);
                }
            }
        }
        let CellTables::Closed(fast) = &mut self.tables.cells else { return Err(EditError::Policy) };
        let hash = fast.cells.hash;
        let is_wide = numbers.iter().any(|number| *number > u32::from(u16::MAX));
        if is_wide || numbers[0] >> (hash.bits - hash.low) != 0 || numbers[1] >> hash.low != 0 {
            return Err(EditError::Full);
        }
        Arc::make_mut(&mut fast.from).push(numbers[0] as u16);
        Arc::make_mut(&mut fast.to).push(numbers[1] as u16);
        let tables = &mut self.tables;
        Arc::make_mut(&mut tables.softened).push(membership.softened);
        tables.any_softened |= membership.softened;
        Arc::make_mut(&mut tables.segments).extend_from_slice(&membership.segments);
        let end = tables.segments.len() as u32;
        Arc::make_mut(&mut tables.segment_ends).push(end);
        tables.statistics.classes += 1;
        for side in 0..2 {
            if !new[side] {
                continue;
            }
            let mut others: Vec<u32> = Vec::new();
            let own = if side == 0 { &self.parts.from } else { &self.parts.to };
            for set in own.sets_of_row(numbers[side]) {
                for rank in &self.by_set[side][*set as usize] {
                    let sides = self.parts.rules[*rank as usize];
                    let other = if side == 0 { sides.to } else { sides.from };
                    if let Some(other) = other {
                        others.extend_from_slice(&self.rows_with[1 - side][other as usize]);
                    }
                }
            }
            others.sort_unstable();
            others.dedup();
            for other in others {
                let (source, destination) = if side == 0 { (numbers[0], other) } else { (other, numbers[1]) };
                self.pair(source, destination)?;
            }
        }
        Ok(())
    }

    /// Makes the cell of a pair anew.
    fn pair(&mut self, source: u32, destination: u32) -> Result<(), EditError> {
        let destinations = self.parts.to.sets_of_row(destination);
        let mut ranks: Vec<u32> = Vec::new();
        for set in self.parts.from.sets_of_row(source) {
            ranks.extend(self.by_set[0][*set as usize].iter().filter(|rank| {
                let to = self.parts.rules[**rank as usize].to;
                self.active[**rank as usize] && to.is_some_and(|to| destinations.contains(&to))
            }));
        }
        ranks.sort_unstable();
        let builder = &mut self.parts.builder;
        builder.prune(&mut ranks, true);
        let CellTables::Closed(fast) = &mut self.tables.cells else { return Err(EditError::Policy) };
        let Fast { ports: Ports::Lines(lines), cells, meanings, .. } = fast else {
            return Err(EditError::Policy);
        };
        let meanings_len = meanings.codes.len() as u32;
        let mut new_codes: Vec<(u32, u8)> = Vec::new();
        let (cell, base) = if ranks.is_empty() {
            (NOTHING, 0)
        } else {
            let number = builder.line(&ranks, true).map_err(|_| EditError::Full)?;
            let line = builder.line_of(number);
            let mut encode = |judgement: Judgement| match (judgement.decided_by, judgement.first_monitor) {
                (None, None) => 0,
                (Some(rule), None) => Meanings::RULE | rule.0,
                (_, Some(_)) => {
                    let meanings = Arc::make_mut(meanings);
                    meanings.judgements.push(judgement);
                    meanings.judgements.len() as u32 - 1
                }
            };
            match self.plan.shape(line, builder) {
                Some((shape, found)) => {
                    let base = lines.outcomes.len() as u32;
                    for outcome in found {
                        lines.outcomes.push(encode(builder.judgement(outcome)));
                    }
                    let cell = *self.shapes.entry(shape).or_insert_with(|| lines.lines.push(shape));
                    (cell, base)
                }
                None => {
                    let mut words = line.to_vec();
                    for value in words.iter_mut().skip(1).step_by(2) {
                        if *value & BY_SOURCE_PORT != 0 {
                            return Err(EditError::Full);
                        }
                        let judgement = builder.judgement(*value);
                        let outcome = encode(judgement);
                        *value = new_codes.len() as u32 + meanings_len;
                        new_codes.push((outcome, code_of(self.policy, judgement) as u8));
                    }
                    (GENERAL, Arc::make_mut(&mut lines.general).push(&words))
                }
            }
        };
        if !new_codes.is_empty() {
            let meanings = Arc::make_mut(meanings);
            meanings.of_rows.extend(new_codes.iter().map(|(outcome, _)| *outcome));
            meanings.codes.extend(new_codes.iter().map(|(_, code)| *code));
        }
        if cell >= cells.hash.most_cells() {
            return Err(EditError::Full);
        }
        let word = cells.hash.word(source, destination);
        let hash = cells.hash.mix(word);
        let index = cells.hash.bucket(hash);
        let (bucket, rest) = (*cells.buckets.get(index), cells.hash.rest(hash));
        let spare = unused(cells.hash, index);
        let slot = bucket.slot_of(cells.hash, rest);
        let spilled = cells.spilled.get(u64::from(word));
        let place = match (slot, spilled) {
            (None, Some(at)) => {
                cells.spilled_cells[at as usize] = cell;
                cells.first_spilled() + at
            }
            (None, None) if ranks.is_empty() => return Ok(()),
            (slot, _) => match slot.or_else(|| bucket.slot_of(cells.hash, spare)) {
                Some(slot) => {
                    cells.buckets.get_mut(index).set(cells.hash, slot, rest, cell);
                    index * 16 + slot as u32
                }
                None => {
                    cells.buckets.get_mut(index).spill();
                    let at = cells.spilled_cells.len() as u32;
                    cells.spilled_cells.push(cell);
                    let mut entries: Vec<(u64, u32)> = cells.spilled.entries().collect();
                    entries.push((u64::from(word), at));
                    cells.spilled = word_map(&entries);
                    cells.first_spilled() + at
                }
            },
        };
        if cells.places() > Answer::PLACES {
            return Err(EditError::Full);
        }
        // The matrix is one cell, behind the spilled ones; there no rule decides.
        lines.bases.extend_to(cells.places(), 0);
        *lines.bases.get_mut(cells.first_of_matrix()) = 0;
        *lines.bases.get_mut(place) = base;
        Ok(())
    }
}

/// Whether the tables have the form that changes in place can be made to.
fn is_editable(tables: &Tables, parts: &Parts<'_>) -> bool {
    let CellTables::Closed(fast) = &tables.cells else { return false };
    let is_lines = matches!(fast.ports, Ports::Lines(_)) && fast.cells.is_hashed && fast.cells.width == 0;
    let is_plain = parts.atoms.gates.is_empty() && tables.v4.upper.is_none();
    is_lines && is_plain && parts.rules.iter().all(|sides| sides.from.is_some() && sides.to.is_some())
}

/// A span without another: what is before and what is behind.
fn without((first, last): (u32, u32), (a, b): (u32, u32)) -> impl Iterator<Item = (u32, u32)> {
    let is_apart = b < first || a > last;
    let whole = is_apart.then_some((first, last));
    let before = (!is_apart && a > first).then(|| (first, a - 1));
    let behind = (!is_apart && b < last).then(|| (b + 1, last));
    whole.into_iter().chain(before).chain(behind)
}
