//! Rules in and out, and the sets of endpoints that new ones name.

use super::pairs::fast;
use super::{EditError, Editor};
use crate::compile::atom::{Effect, SetId};
use crate::compile::cell::Sides;
use crate::policy::{EndpointSet, Member, Rule, RuleId, SegmentId};
use std::sync::Arc;

/// Cells that one change makes anew at most: beyond, a compilation is the shorter way.
const CELLS: usize = 1 << 16;
/// Rows of the narrower side of a wide rule, at most.
const ROWS: usize = 1 << 12;
/// A new set in more rows than these is wide.
const NARROW: usize = 1 << 10;

impl Editor {
    /// Puts a rule of the policy into the tables.
    pub(super) fn put_in(&mut self, id: RuleId) -> Result<(), EditError> {
        let policy = Arc::clone(&self.policy);
        let rule: &Rule = policy.rule(id);
        for set in [&rule.from, &rule.to] {
            if let EndpointSet::OneOf(members) = set
                && !self.sets.contains_key(members.as_slice())
                && members.iter().any(is_placed)
            {
                return Err(EditError::Place);
            }
        }
        self.contents.admit(&rule.services, fast(&mut self.tables)?)?;
        self.is_whole = false;
        let sides = Sides { from: self.set(0, &rule.from)?, to: self.set(1, &rule.to)? };
        self.is_whole = true;
        let pairs = self.affected(sides)?;
        self.is_whole = false;
        let at = id.0 as usize;
        if self.rules.len() <= at {
            self.rules.resize(at + 1, Sides { from: None, to: None });
        }
        self.rules[at] = sides;
        self.sides[0].rules_of_mut(sides.from).push(id.0);
        self.sides[1].rules_of_mut(sides.to).push(id.0);
        self.update(sides, &pairs)
    }

    /// Takes a rule out of the tables that is in them.
    pub(super) fn take_out(&mut self, RuleId(id): RuleId) -> Result<(), EditError> {
        let sides = self.rules[id as usize];
        let pairs = self.affected(sides)?;
        self.is_whole = false;
        for (side, set) in self.sides.iter_mut().zip([sides.from, sides.to]) {
            let rules = side.rules_of_mut(set);
            let at = rules.iter().position(|other| *other == id).expect("the rule is in the tables");
            rules.swap_remove(at);
        }
        self.update(sides, &pairs)
    }

    /// Makes the cells anew that rules with these sides are in.
    fn update(&mut self, sides: Sides, pairs: &[(u32, u32)]) -> Result<(), EditError> {
        if self.is_of_matrix(sides) {
            self.matrix(sides)?;
        }
        for (source, destination) in pairs {
            self.pair(*source, *destination)?;
        }
        Ok(())
    }

    /// The hashed pairs that rules with these sides are in.
    ///
    /// # Errors
    /// There are too many, or too many cells of the matrix.
    fn affected(&self, sides: Sides) -> Result<Vec<(u32, u32)>, EditError> {
        let rows = [self.sides[0].rows_in(sides.from), self.sides[1].rows_in(sides.to)];
        let mut pairs = Vec::new();
        if !self.is_of_matrix(sides) {
            if rows[0].len() * rows[1].len() > CELLS {
                return Err(EditError::Wide);
            }
            for source in &rows[0] {
                pairs.extend(rows[1].iter().map(|destination| (*source, *destination)));
            }
            return Ok(pairs);
        }
        let coarse = |side: usize| rows[side].len().min(self.sides[side].coarse_count as usize + 1);
        if coarse(0) * coarse(1) > CELLS {
            return Err(EditError::Wide);
        }
        if !self.hashes {
            return Ok(pairs);
        }
        let side = usize::from(rows[1].len() < rows[0].len());
        if rows[side].len() > ROWS {
            return Err(EditError::Wide);
        }
        let mut is_in = vec![false; self.sides[1 - side].rows() as usize];
        for row in &rows[1 - side] {
            is_in[*row as usize] = true;
        }
        for row in &rows[side] {
            for other in self.hashed_with(side, *row) {
                if is_in[other as usize] {
                    pairs.push(if side == 0 { (*row, other) } else { (other, *row) });
                }
            }
            if pairs.len() > CELLS {
                return Err(EditError::Wide);
            }
        }
        Ok(pairs)
    }

    /// The set of a rule's side, which classes are in from now on.
    fn set(&mut self, side: usize, set: &EndpointSet) -> Result<Option<u32>, EditError> {
        let EndpointSet::OneOf(members) = set else { return Ok(None) };
        if let Some(known) = self.sets.get(members.as_slice()).copied() {
            if !self.sides[side].is_used[known as usize] {
                let classes = self.classes_in(known, side, members)?;
                self.start_using(known, side, &classes)?;
            }
            return Ok(Some(known));
        }
        let new = self.sets.len() as u32;
        self.sets.insert(members.clone(), new);
        self.sides.iter_mut().for_each(super::side::EditedSide::push_set);
        for member in members {
            if let Member::Segment(SegmentId(inner)) = member {
                self.nesting.effects[*inner as usize].push(Effect::Set(SetId(new)));
            }
        }
        let classes = self.classes_in(new, side, members)?;
        self.start_using(new, side, &classes)?;
        let item = self.new_item(new);
        for member in members {
            if let Member::Selector(selector) = member {
                for range in &selector.addresses {
                    self.label(*range, item, true)?;
                }
            }
        }
        Ok(Some(new))
    }

    /// The classes that are in a set which no rule has named on this side so far.
    fn classes_in(&mut self, set: u32, side: usize, members: &[Member]) -> Result<Vec<u32>, EditError> {
        let count = self.tables.softened.len() as u32;
        if self.sides[1 - side].is_used[set as usize] {
            let of_side = &self.sides[1 - side];
            let mut is_in = vec![false; of_side.rows() as usize];
            for row in &of_side.rows_with[set as usize] {
                is_in[*row as usize] = true;
            }
            let fast = fast(&mut self.tables)?;
            let rows = if side == 0 { &fast.to } else { &fast.from };
            return Ok((0..count).filter(|class| is_in[usize::from(rows[*class as usize])]).collect());
        }
        let is_in = |class: &u32| {
            let segments = self.tables.segments_of(crate::tables::ClassId(*class));
            segments.iter().any(|id| members.contains(&Member::Segment(*id)))
        };
        Ok((0..count).filter(is_in).collect())
    }

    /// Puts a set in the rows of the classes that are in it.
    fn start_using(&mut self, set: u32, side: usize, classes: &[u32]) -> Result<(), EditError> {
        self.sides[side].is_used[set as usize] = true;
        if !self.hashes {
            self.sides[side].mark_relevant(Some(set));
        }
        let fast_now = fast(&mut self.tables)?;
        let rows_of = if side == 0 { &fast_now.from } else { &fast_now.to };
        let mut moved: Vec<(u16, u32)> =
            classes.iter().map(|class| (rows_of[*class as usize], *class)).collect();
        moved.sort_unstable();
        let count = moved.chunk_by(|a, b| a.0 == b.0).count();
        self.sides[side].is_wide[set as usize] = count > NARROW;
        for same in moved.chunk_by(|a, b| a.0 == b.0) {
            let mut sets = self.sides[side].sets_of(u32::from(same[0].0)).to_vec();
            if let Err(at) = sets.binary_search(&set) {
                sets.insert(at, set);
            }
            let row = self.row(side, &sets)?;
            let fast = fast(&mut self.tables)?;
            let rows_of = Arc::make_mut(if side == 0 { &mut fast.from } else { &mut fast.to });
            for (_, class) in same {
                rows_of[*class as usize] = row as u16;
            }
        }
        Ok(())
    }

    /// Notes the rules that the compiler has put in.
    pub(super) fn index_rules(&mut self) {
        for id in 0..self.rules.len() as u32 {
            if !self.is_in_force(RuleId(id)) {
                continue;
            }
            let sides = self.rules[id as usize];
            for (own, set) in self.sides.iter_mut().zip([sides.from, sides.to]) {
                own.rules_of_mut(set).push(id);
                if let Some(set) = set {
                    own.is_used[set as usize] = true;
                }
            }
            if self.is_of_matrix(sides) {
                self.sides[0].mark_relevant(sides.from);
                self.sides[1].mark_relevant(sides.to);
            }
        }
    }

    /// Whether the rule takes part at the moment that the tables are for.
    pub(super) fn is_in_force(&self, rule: RuleId) -> bool {
        self.policy.rule(rule).expires.is_none_or(|at| at > self.now)
    }
}

/// Whether a member asks for a VLAN or MAC.
pub(super) fn is_placed(member: &Member) -> bool {
    match member {
        Member::Selector(selector) => selector.vlan.is_some() || !selector.macs.is_empty(),
        Member::Segment(_) => false,
    }
}
