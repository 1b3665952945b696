//! Members in and out: addresses to states, states to classes.

use super::pairs::fast;
use super::work::Work;
use super::{EditError, Editor, LATER, own};
use crate::addr::IpRange;
use crate::compile::atom::Effect;
use crate::compile::intern::WordHashMap;
use crate::compile::space::{Runs, SpaceBuilder};
use crate::compile::space_v6::space_v6;
use crate::policy::{Member, Segment};
use crate::tables::Tables;
use crate::tables::space_v6::SpaceV6;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs of IPv6 addresses that changes may have before the table is built anew with them.
const V6_RUNS: usize = 512;

/// IPv6 addresses → states, as runs.
#[derive(Debug)]
pub(super) struct RunsV6 {
    /// All of them.
    runs: BTreeMap<u128, u32>,
    /// What has changed since the table was built: [`SpaceV6::UNCHANGED`] elsewhere.
    changes: BTreeMap<u128, u32>,
    /// Whether the tables are still those of before.
    is_ahead: bool,
}

impl RunsV6 {
    pub(super) fn new(runs: Vec<(u128, u32)>) -> Self {
        let changes = BTreeMap::from([(0, SpaceV6::UNCHANGED)]);
        RunsV6 { runs: runs.into_iter().collect(), changes, is_ahead: false }
    }

    /// The runs of a span of addresses.
    fn within(&self, first: u128, last: u128) -> Vec<(u128, u32)> {
        let before = self.runs.range(..=first).next_back().map(|(_, state)| (first, *state));
        let inside = self.runs.range(first..=last).filter(|(start, _)| **start != first);
        before.into_iter().chain(inside.map(|(start, state)| (*start, *state))).collect()
    }

    fn replace(&mut self, last: u128, runs: &[(u128, u32)]) {
        replace(&mut self.runs, last, runs);
        replace(&mut self.changes, last, runs);
        self.is_ahead = true;
    }

    /// Makes the tables those of the runs.
    pub(super) fn publish(&mut self, tables: &mut Tables) {
        if !std::mem::take(&mut self.is_ahead) {
            return;
        }
        let all = |map: &BTreeMap<u128, u32>| map.iter().map(|(a, s)| (*a, *s)).collect::<Vec<_>>();
        if self.changes.len() > V6_RUNS {
            (tables.v6, tables.v6_changes) = (Arc::new(space_v6(&all(&self.runs))), None);
            self.changes = BTreeMap::from([(0, SpaceV6::UNCHANGED)]);
        } else {
            tables.v6_changes = Some(Arc::new(space_v6(&all(&self.changes))));
        }
    }
}

/// Which states the lists of items have whose number is not that of their state, for VLANs and MACs have made states that
/// no list stands for.
#[derive(Debug, Default)]
pub(super) struct Renumbered {
    /// States by number of a list.
    states: WordHashMap<u32, u32>,
    /// Lists by state.
    lists: WordHashMap<u32, u32>,
}

impl Renumbered {
    /// The state of a list.
    fn state_of(&self, list: u32) -> u32 {
        self.states.get(&list).copied().unwrap_or(list)
    }

    /// The list of a state of addresses.
    fn items_of(&self, state: u32) -> u32 {
        self.lists.get(&state).copied().unwrap_or(state)
    }

    fn note(&mut self, list: u32, state: u32) {
        self.states.insert(list, state);
        self.lists.insert(state, list);
    }
}

/// Replaces the runs from the first of these on, to `last`.
fn replace(map: &mut BTreeMap<u128, u32>, last: u128, runs: &[(u128, u32)]) {
    let first = runs[0].0;
    if let Some(next) = last.checked_add(1) {
        let (_, state) = map.range(..=last).next_back().expect("the first run begins at the first address");
        let state = *state;
        map.entry(next).or_insert(state);
    }
    let old: Vec<u128> = map.range(first..=last).map(|(start, _)| *start).collect();
    for start in old {
        map.remove(&start);
    }
    let mut before = map.range(..first).next_back().map(|(_, state)| *state);
    for (start, state) in runs {
        if before != Some(*state) {
            map.insert(*start, *state);
            before = Some(*state);
        }
    }
    if let Some(next) = last.checked_add(1)
        && map.get(&next).copied() == before
    {
        map.remove(&next);
    }
}

/// The ranges that the plain selectors of a segment have beside one, which they have once more often.
pub(super) fn without_others(segment: &Segment, range: IpRange) -> Vec<IpRange> {
    let mut left = vec![range];
    for member in &segment.members {
        let Member::Selector(selector) = member else { continue };
        if selector.vlan.is_some() || !selector.macs.is_empty() {
            continue;
        }
        for other in &selector.addresses {
            left = left.into_iter().flat_map(|range| without(range, *other)).collect();
        }
    }
    left
}

/// A range without another: what is before and what is behind.
fn without(range: IpRange, other: IpRange) -> Vec<IpRange> {
    let mut left = Vec::new();
    match (range, other) {
        (IpRange::V4(first, last), IpRange::V4(a, b)) if a <= last && b >= first => {
            if a > first {
                left.push(IpRange::V4(first, a - 1));
            }
            if b < last {
                left.push(IpRange::V4(b + 1, last));
            }
        }
        (IpRange::V6(first, last), IpRange::V6(a, b)) if a <= last && b >= first => {
            if a > first {
                left.push(IpRange::V6(first, a - 1));
            }
            if b < last {
                left.push(IpRange::V6(b + 1, last));
            }
        }
        (IpRange::V4(..) | IpRange::V6(..), _) => left.push(range),
    }
    left
}

impl Editor {
    /// An item that stands for "is in the set", of addresses.
    pub(super) fn new_item(&mut self, set: u32) -> u32 {
        self.new_items.push(set);
        u32::MAX - self.new_items.len() as u32
    }

    /// Puts an item in or out, all over a range of addresses.
    pub(super) fn label(&mut self, range: IpRange, item: u32, add: bool) -> Result<(), EditError> {
        let spread = match range {
            IpRange::V4(first, last) => (last >> 16) - (first >> 16),
            IpRange::V6(..) => 0,
        };
        self.work.spend(Work::RANGE + spread as usize)?;
        // The state that each state becomes.
        let mut known = WordHashMap::default();
        match range {
            IpRange::V4(first, last) => self.label_v4((first, last), item, add, &mut known),
            IpRange::V6(first, last) => {
                let mut runs = self.runs_v6.within(first, last);
                for (_, state) in &mut runs {
                    *state = self.state(*state, item, add, &mut known)?;
                }
                self.runs_v6.replace(last, &runs);
                Ok(())
            }
        }
    }

    fn label_v4(
        &mut self,
        (first, last): (u32, u32),
        item: u32,
        add: bool,
        known: &mut WordHashMap<u32, u32>,
    ) -> Result<(), EditError> {
        for upper in (first >> 16) as u16..=(last >> 16) as u16 {
            let base = u32::from(upper) << 16;
            let (from, to) = (first.max(base) - base, last.min(base | 0xffff) - base);
            let runs = SpaceBuilder::runs(&self.tables.v4, upper);
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
                let inside = self.state(*state, item, add, known)?;
                if start < from {
                    push(start, *state);
                }
                push(start.max(from), inside);
                if end > to + 1 {
                    push(to + 1, *state);
                }
            }
            self.space.set(&mut own(&mut self.tables).v4, upper, &changed);
        }
        Ok(())
    }

    /// The state that another becomes with an item, or without it.
    fn state(
        &mut self,
        state: u32,
        item: u32,
        add: bool,
        known: &mut WordHashMap<u32, u32>,
    ) -> Result<u32, EditError> {
        if let Some(found) = known.get(&state) {
            return Ok(*found);
        }
        let own = self.placed.items_of(state);
        let mut items = self.items.get(own).to_vec();
        match (items.binary_search(&item), add) {
            (Err(at), true) => items.insert(at, item),
            (Ok(at), false) => drop(items.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
        let classes = self.tables.softened.len();
        if classes >= self.most_classes {
            return Err(EditError::Full);
        }
        let (before, number) = (self.items.len() as u32, self.items.number(&items));
        let number = match &mut self.placing {
            None if number < before => number,
            None => {
                self.class(&items)?;
                number
            }
            Some(_) if number < before => self.placed.state_of(number),
            Some(placing) => {
                let first = placing.len();
                let state = placing.add(&items).map_err(|_| EditError::Full)?;
                if placing.by_vlan.len() + placing.by_mac.len() > LATER {
                    return Err(EditError::Full);
                }
                for class in first..placing.len() {
                    let effects = self.placing.as_ref().map(|placing| placing.effects(class).to_vec());
                    self.class(&effects.unwrap_or_default())?;
                }
                self.placed.note(number, state);
                state
            }
        };
        known.insert(state, number);
        Ok(number)
    }

    /// Makes the next class: in which these effects hold.
    fn class(&mut self, items: &[u32]) -> Result<(), EditError> {
        if self.tables.softened.len() >= self.most_classes {
            return Err(EditError::Full);
        }
        let Editor { evaluator, nesting, new_items, codes, .. } = self;
        let effects = items.iter().map(|item| match new_items.get((u32::MAX - 1 - item) as usize) {
            Some(set) => Effect::Set(crate::compile::atom::SetId(*set)),
            None => codes.effect(*item),
        });
        let membership = evaluator.evaluate(nesting, effects);
        let mut rows = [0; 2];
        for (side, row) in rows.iter_mut().enumerate() {
            let is_used = |set: &u32| self.sides[side].is_used[*set as usize];
            let sets: Vec<u32> = membership.sets.iter().copied().filter(is_used).collect();
            *row = self.row(side, &sets)?;
        }
        let fast = fast(&mut self.tables)?;
        push(&mut fast.from, &[rows[0] as u16]);
        push(&mut fast.to, &[rows[1] as u16]);
        let tables = own(&mut self.tables);
        push(&mut tables.softened, &[membership.softened]);
        tables.any_softened |= membership.softened;
        push(&mut tables.segments, &membership.segments);
        let end = tables.segments.len() as u32;
        push(&mut tables.segment_ends, &[end]);
        tables.statistics.classes += 1;
        Ok(())
    }
}

/// Appends to an array that published tables may have: then it is copied, once and with room for more.
fn push<T: Clone>(array: &mut Arc<Vec<T>>, more: &[T]) {
    match Arc::get_mut(array) {
        Some(own) => own.extend_from_slice(more),
        None => {
            let mut copy = Vec::with_capacity(array.len() + more.len() + 64);
            copy.extend_from_slice(array);
            copy.extend_from_slice(more);
            *array = Arc::new(copy);
        }
    }
}
