//! How often each rule has decided, and when first and last.
//!
//! A rule is hit when it lets a flow in, or when a packet is dropped or rejected by it; packets of a flow that
//! stands are no hits. So this costs nothing where most packets are. The counts are by [`RuleKey`], which outlives
//! reloads; the worker's owner adds those of all workers up.

use crate::batch::{FlowRole, Outcome};
use conntrack::RuleKey;
use conntrack::time::Tick;

/// What is counted of one rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleHits {
    /// Flows that it let in.
    pub flows: u64,
    /// Packets that were dropped or rejected by it.
    pub drops: u64,
    /// When it was hit first; `None`: never.
    pub first: Option<Tick>,
    /// When it was hit last.
    pub last: Option<Tick>,
}

impl RuleHits {
    /// Both together.
    #[must_use]
    pub fn and(self, other: RuleHits) -> RuleHits {
        RuleHits {
            flows: self.flows + other.flows,
            drops: self.drops + other.drops,
            first: [self.first, other.first].into_iter().flatten().min(),
            last: self.last.max(other.last),
        }
    }

    /// Flows and drops together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.flows + self.drops
    }
}

/// The hits of all rules, and of the default.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    rules: Vec<RuleHits>,
    default: RuleHits,
}

impl Hits {
    /// Makes room for the rules whose keys are below `count`. A rule without room is not counted.
    pub(crate) fn reserve(&mut self, count: usize) {
        if count > self.rules.len() {
            self.rules.resize(count, RuleHits::default());
        }
    }

    /// Takes note of what became of a packet.
    #[inline]
    pub(crate) fn count(&mut self, now: Tick, outcome: &Outcome) {
        let is_drop = outcome.reason.is_some_and(|reason| reason.is_of_rule() || reason.is_of_default());
        // Its first packet may still wait for a neighbor.
        let is_new = outcome.flow == Some(FlowRole::New) && outcome.reason.is_none();
        if !is_new && !is_drop {
            return;
        }
        let hits = match outcome.rule {
            Some(RuleKey(key)) => self.rules.get_mut(key as usize),
            None => Some(&mut self.default),
        };
        let Some(hits) = hits else { return };
        if is_drop {
            hits.drops += 1;
        } else {
            hits.flows += 1;
        }
        hits.first.get_or_insert(now);
        hits.last = Some(now);
    }

    /// The hits of a rule.
    #[must_use]
    pub fn of(&self, rule: RuleKey) -> RuleHits {
        self.rules.get(rule.0 as usize).copied().unwrap_or_default()
    }

    /// What was left to the policy's default.
    #[must_use]
    pub fn of_default(&self) -> RuleHits {
        self.default
    }

    /// The hits of all rules, by [`RuleKey`].
    #[must_use]
    pub fn all(&self) -> &[RuleHits] {
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::reason::DropReason;

    #[test]
    fn flows_and_drops_of_a_rule_are_counted_with_their_times() {
        let mut hits = Hits::default();
        hits.reserve(2);
        let new = Outcome { rule: Some(RuleKey(1)), flow: Some(FlowRole::New), ..Outcome::UNDECIDED };
        let reply = Outcome { flow: Some(FlowRole::Reply), ..new };
        let drop = Outcome { rule: Some(RuleKey(1)), ..Outcome::dropped(DropReason::PolicyDeny) };
        let default = Outcome::dropped(DropReason::DefaultDeny);
        let hostile = Outcome::dropped(DropReason::Runt);
        for (at, outcome) in [(1, new), (2, reply), (5, drop), (6, default), (7, hostile)] {
            hits.count(Tick(at), &outcome);
        }
        let expected = RuleHits { flows: 1, drops: 1, first: Some(Tick(1)), last: Some(Tick(5)) };
        assert_eq!(hits.of(RuleKey(1)), expected);
        assert_eq!(hits.of(RuleKey(0)), RuleHits::default());
        assert_eq!(hits.of_default().drops, 1);
        let earlier = RuleHits { flows: 2, drops: 0, first: Some(Tick(0)), last: Some(Tick(3)) };
        let both = RuleHits { flows: 3, drops: 1, first: Some(Tick(0)), last: Some(Tick(5)) };
        assert_eq!(expected.and(earlier), both);
    }

    #[test]
    fn a_rule_without_room_is_not_counted() {
        let mut hits = Hits::default();
        hits.count(
            Tick(1),
            &Outcome { rule: Some(RuleKey(9)), flow: Some(FlowRole::New), ..Outcome::UNDECIDED },
        );
        assert_eq!(hits.of(RuleKey(9)), RuleHits::default());
    }
}
