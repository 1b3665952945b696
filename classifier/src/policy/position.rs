//! Where rules stand that were put between others.

use super::list::List;
use super::model::{Policy, Rule, RuleId, Timestamp};

/// A place for a new rule among those of its tier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
    /// Just before this one.
    Before(RuleId),
    /// Just behind this one.
    Behind(RuleId),
}

/// When a rule that was taken out for good is said to have expired.
pub(crate) const REMOVED: Timestamp = Timestamp(i128::MIN);
/// When a rule that was taken out, and may come back, is said to have expired.
pub(crate) const SUSPENDED: Timestamp = Timestamp(i128::MIN + 1);

/// Where a rule stands. Those of the files keep their place for ever; the ones that came later stand in the *gaps*
/// before them, each with a label that leaves room between it and its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Position {
    /// The rule of the files behind the gap; their number for the gap behind them all.
    pub(crate) gap: u32,
    /// The order within the gap; [`Position::FILED`] for the rule of the files behind it.
    pub(crate) label: u64,
}

impl Position {
    /// The label of a rule of the files.
    pub(crate) const FILED: u64 = u64::MAX;
}

impl Policy {
    /// Rules that have their place from the files.
    pub(crate) fn filed(&self) -> u32 {
        (self.rules.len() - self.positions.len()) as u32
    }

    /// Where a rule stands; of two in one tier, the one with the lower position is evaluated first.
    pub(crate) fn position(&self, RuleId(id): RuleId) -> Position {
        match id.checked_sub(self.filed()) {
            None => Position { gap: id, label: Position::FILED },
            Some(at) => self.positions[at as usize],
        }
    }

    /// Adds a rule, whose position no other has.
    pub(crate) fn put(&mut self, rule: Rule, position: Position) -> RuleId {
        let id = RuleId(self.rules.len() as u32);
        self.rules.push(rule);
        self.positions.push(position);
        id
    }

    /// Moves an added rule.
    pub(crate) fn reposition(&mut self, RuleId(id): RuleId, position: Position) {
        let at = id - self.filed();
        self.positions[at as usize] = position;
    }

    /// The rules in the order in which files would have them, without those that were taken out for good.
    #[must_use]
    pub fn listed(&self) -> Vec<RuleId> {
        let mut order: Vec<RuleId> = (0..self.rules.len() as u32).map(RuleId).collect();
        if !self.positions.is_empty() {
            order.sort_by_key(|id| self.position(*id));
        }
        if self.removed > 0 {
            order.retain(|id| self.rule(*id).expires != Some(REMOVED));
        }
        order
    }

    /// Takes a rule out for good.
    pub(crate) fn remove(&mut self, RuleId(id): RuleId) {
        self.rules[id as usize].expires = Some(REMOVED);
        self.removed += 1;
    }

    /// The same policy as if its files had been written so: no rule that was taken out is left, all others stand in
    /// their order, and their [`RuleId`]s are counted anew.
    #[must_use]
    pub fn flattened(&self) -> Policy {
        Policy {
            rules: self.listed().into_iter().map(|id| self.rule(id).clone()).collect(),
            segments: self.segments.iter().cloned().collect(),
            positions: List::default(),
            removed: 0,
            ..self.clone()
        }
    }

    /// A copy in which the rule stands before another, or behind all.
    pub(crate) fn with_rule(&self, rule: Rule, before: Option<RuleId>) -> Policy {
        let mut changed = self.clone();
        let end = Position { gap: self.filed(), label: Position::FILED };
        let behind = before.map_or(end, |id| self.position(id));
        let added = self.positions.iter().filter(|position| position.gap == behind.gap);
        let mut labels: Vec<u64> = added.map(|position| position.label).collect();
        labels.sort_unstable();
        // A copy for a trial may number its gap anew each time.
        let fresh = |label: u64| labels.partition_point(|known| *known < label) as u64 * 2 + 2;
        for at in 0..changed.positions.len() {
            if changed.positions[at].gap == behind.gap {
                changed.positions[at].label = fresh(changed.positions[at].label);
            }
        }
        changed.put(rule, Position { gap: behind.gap, label: fresh(behind.label) - 1 });
        changed
    }
}
