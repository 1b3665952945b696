//! How many flows each rule has: what `max_flows` of a rule is held against.

use crate::terms::RuleKey;

/// Live flows by rule. It grows on the control path alone.
#[derive(Default)]
pub(crate) struct RuleCounts {
    counts: Vec<u32>,
}

impl RuleCounts {
    /// Makes room for the rules below `count`. Allocates.
    pub(crate) fn reserve(&mut self, count: usize) {
        if count > self.counts.len() {
            self.counts.resize(count, 0);
        }
    }

    /// How many flows a rule has; `None` where no room was made for it.
    pub(crate) fn of(&self, rule: RuleKey) -> Option<u32> {
        self.counts.get(rule.0 as usize).copied()
    }

    /// Counts a flow in.
    pub(crate) fn add(&mut self, rule: Option<RuleKey>) {
        if let Some(count) = rule.and_then(|rule| self.counts.get_mut(rule.0 as usize)) {
            *count += 1;
        }
    }

    /// Counts a flow out. A flow that was let in before room was made for its rule was never counted in.
    pub(crate) fn subtract(&mut self, rule: Option<RuleKey>) {
        if let Some(count) = rule.and_then(|rule| self.counts.get_mut(rule.0 as usize)) {
            *count = count.saturating_sub(1);
        }
    }
}
