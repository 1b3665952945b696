//! A position for each new rule, between two others and without numbering all anew.
//!
//! Rules of the files have theirs for ever. New rules stand in the gaps before them, ordered by labels of 64 bits
//! (order maintenance by labels: Dietz and Sleator, Two algorithms for maintaining order in a list, STOC 1987). Where
//! there is no label left between two, those of this one gap are spread out anew: that moves no rule past another, so
//! the tables stay as they are.

use super::EditError;
use crate::policy::{Place, Policy, Position, REMOVED, RuleId};
use std::collections::BTreeMap;

/// How far a label is put from its neighbour, where there is room.
const STRIDE: u64 = 1 << 40;

/// The rules that were added, in order.
#[derive(Debug, Default)]
pub(super) struct Order {
    added: BTreeMap<Position, RuleId>,
    /// How often a gap was used up.
    pub(super) renumberings: u64,
}

/// Where in its gap a rule goes: between two labels, and by which of them.
struct Slot {
    gap: u32,
    lower: u64,
    upper: u64,
    at_upper: bool,
}

impl Order {
    /// The order of the rules that the policy has already.
    pub(super) fn new(policy: &Policy) -> Self {
        let ids = (policy.filed()..policy.rules().len() as u32).map(RuleId);
        Order { added: ids.map(|id| (policy.position(id), id)).collect(), renumberings: 0 }
    }

    /// A position that no rule has, which the next rule of the policy will have.
    ///
    /// # Errors
    /// The place names a rule that is not there.
    pub(super) fn insert(&mut self, policy: &mut Policy, place: Place) -> Result<Position, EditError> {
        if let Place::Before(id) | Place::Behind(id) = place {
            let rule = policy.rules().get(id.0 as usize).ok_or(EditError::Absent)?;
            if rule.expires == Some(REMOVED) {
                return Err(EditError::Absent);
            }
        }
        let mut slot = self.slot(policy, place);
        if slot.upper - slot.lower < 2 {
            self.renumber(policy, slot.gap);
            slot = self.slot(policy, place);
        }
        let step = ((slot.upper - slot.lower) / 2).min(STRIDE);
        let label = if slot.at_upper { slot.upper - step } else { slot.lower + step };
        let position = Position { gap: slot.gap, label };
        let id = RuleId(policy.rules().len() as u32);
        assert!(self.added.insert(position, id).is_none(), "the label is new");
        Ok(position)
    }

    /// Forgets the rule that was to have a number.
    pub(super) fn remove_number(&mut self, id: RuleId) {
        self.added.retain(|_, known| *known != id);
    }

    fn slot(&self, policy: &Policy, place: Place) -> Slot {
        match place {
            Place::First => Slot { at_upper: true, ..self.behind(0, 0) },
            Place::Last => self.before(Position { gap: policy.filed(), label: Position::FILED }),
            Place::Before(id) => Slot { at_upper: true, ..self.before(policy.position(id)) },
            Place::Behind(id) => {
                let Position { gap, label } = policy.position(id);
                if label == Position::FILED { self.behind(gap + 1, 0) } else { self.behind(gap, label) }
            }
        }
    }

    /// Before a position, and behind the one before it.
    fn before(&self, at: Position) -> Slot {
        let before = self.added.range(Position { gap: at.gap, label: 0 }..at).next_back();
        let lower = before.map_or(0, |(position, _)| position.label);
        Slot { gap: at.gap, lower, upper: at.label, at_upper: false }
    }

    fn behind(&self, gap: u32, label: u64) -> Slot {
        let from = Position { gap, label: label + 1 };
        let next = self.added.range(from..=Position { gap, label: Position::FILED }).next();
        let upper = next.map_or(Position::FILED, |(position, _)| position.label);
        Slot { gap, lower: label, upper, at_upper: false }
    }

    /// Spreads the labels of a gap out.
    fn renumber(&mut self, policy: &mut Policy, gap: u32) {
        let all = Position { gap, label: 0 }..=Position { gap, label: Position::FILED };
        let here: Vec<(Position, RuleId)> = self.added.range(all).map(|(p, id)| (*p, *id)).collect();
        let step = Position::FILED / (here.len() as u64 + 1);
        for (position, _) in &here {
            self.added.remove(position);
        }
        for (n, (_, id)) in (1u64..).zip(here) {
            let position = Position { gap, label: n * step };
            policy.reposition(id, position);
            self.added.insert(position, id);
        }
        self.renumberings += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, DefaultAction, EndpointSet, Mode, PolicyBuilder, Rule, Service, TierId};
    use crate::reference::evaluation_order;

    fn rule(n: usize) -> Rule {
        Rule::new(
            format!("r{n}"),
            TierId(0),
            EndpointSet::Any,
            EndpointSet::Any,
            vec![Service::ANY],
            Action::Allow,
        )
    }

    #[test]
    fn rules_come_where_they_were_put_however_often_a_gap_is_used_up() {
        let mut builder = PolicyBuilder::new(vec!["t".into()], DefaultAction::Deny, Mode::Enforce);
        (0..3).for_each(|n| builder.rule(rule(n)));
        let mut policy = builder.build().expect("it is valid");
        let mut order = Order::new(&policy);
        let mut expected: Vec<u32> = vec![0, 1, 2];
        let mut seed = 1u64;
        let mut random = |bound: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % bound
        };
        for n in 3..1_003u32 {
            // Between the same two rules again and again, so that labels run out; and anywhere.
            let at = match random(4) {
                0 => random(expected.len()),
                _ => expected.iter().position(|id| *id == n - 1).expect("it is there"),
            };
            let (place, at) = match random(8) {
                0 => (Place::First, 0),
                1 => (Place::Last, expected.len()),
                2..5 => (Place::Before(RuleId(expected[at])), at),
                _ => (Place::Behind(RuleId(expected[at])), at + 1),
            };
            let position = order.insert(&mut policy, place).expect("the rule is there");
            policy.put(rule(n as usize), position);
            expected.insert(at, n);
        }
        let found = evaluation_order(&policy, crate::policy::Timestamp(0));
        assert_eq!(found.iter().map(|id| id.0).collect::<Vec<_>>(), expected);
        let ids = |policy: &Policy| policy.rules().iter().map(|r| r.id.clone()).collect::<Vec<_>>();
        let expected: Vec<String> = expected.iter().map(|id| format!("r{id}")).collect();
        assert_eq!(ids(&policy.flattened()), expected);
    }

    #[test]
    fn a_gap_that_is_used_up_is_numbered_anew() {
        let mut builder = PolicyBuilder::new(vec!["t".into()], DefaultAction::Deny, Mode::Enforce);
        (0..2).for_each(|n| builder.rule(rule(n)));
        let mut policy = builder.build().expect("it is valid");
        let mut order = Order::new(&policy);
        let mut place = Place::Before(RuleId(1));
        for n in 2..300 {
            let position = order.insert(&mut policy, place).expect("the rule is there");
            let id = policy.put(rule(n), position);
            place = if n % 2 == 0 { Place::Before(id) } else { Place::Behind(id) };
        }
        assert!(order.renumberings > 0, "sixty-four halvings use a gap up");
        let order = evaluation_order(&policy, crate::policy::Timestamp(0));
        assert_eq!((order[0], order[299]), (RuleId(0), RuleId(1)));
        assert_eq!((order[1], order[298]), (RuleId(3), RuleId(2)));
    }
}
