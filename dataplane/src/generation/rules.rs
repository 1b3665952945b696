//! Which key each rule of a policy has, and which rule a key means.
//!
//! A policy of a million rules in which two change has the same numbers for all others: those are shared.

use classifier::policy::{Policy, RuleId, Timestamp};
use conntrack::RuleKey;
use std::collections::HashMap;
use std::sync::Arc;

/// What the generations have in common whose tables were changed in place.
#[derive(Debug)]
struct Shared {
    /// By rule.
    keys: Vec<RuleKey>,
    /// Rules that had not expired.
    live: HashMap<RuleKey, RuleId>,
}

/// Keys by rule, and rules by key.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    shared: Arc<Shared>,
    /// The keys of the rules that came later.
    later: Vec<RuleKey>,
    /// Keys that mean another rule now, or none.
    changed: HashMap<RuleKey, Option<RuleId>>,
}

fn is_live(policy: &Policy, id: RuleId, now: Timestamp) -> bool {
    policy.rule(id).expires.is_none_or(|at| at > now)
}

impl Rules {
    /// The rules of a policy, each with the key that `key` gives to its id.
    pub(super) fn new(policy: &Policy, now: Timestamp, mut key: impl FnMut(&str) -> RuleKey) -> Rules {
        let keys: Vec<RuleKey> = policy.rules().iter().map(|rule| key(&rule.id)).collect();
        let ids = (0..keys.len() as u32).map(RuleId).filter(|id| is_live(policy, *id, now));
        let live = ids.map(|id| (keys[id.0 as usize], id)).collect();
        Rules { shared: Arc::new(Shared { keys, live }), later: Vec::new(), changed: HashMap::new() }
    }

    /// The rules of the same policy once more rules stand behind these, and some of these, which `touched` names, are
    /// out of force.
    pub(super) fn changed(
        &self,
        policy: &Policy,
        touched: &[RuleId],
        now: Timestamp,
        mut key: impl FnMut(&str) -> RuleKey,
    ) -> Rules {
        let mut rules = self.clone();
        for id in touched.iter().filter(|id| (id.0 as usize) < self.count()) {
            let key = self.key_of(*id);
            if rules.rule(key) == Some(*id) && !is_live(policy, *id, now) {
                rules.changed.insert(key, None);
            }
        }
        for id in (self.count() as u32..policy.rules().len() as u32).map(RuleId) {
            let key = key(&policy.rule(id).id);
            rules.later.push(key);
            if is_live(policy, id, now) {
                rules.changed.insert(key, Some(id));
            }
        }
        rules
    }

    /// How many rules there are, those out of force included.
    pub(super) fn count(&self) -> usize {
        self.shared.keys.len() + self.later.len()
    }

    /// The key of a rule.
    #[inline]
    pub(super) fn key_of(&self, rule: RuleId) -> RuleKey {
        let (at, keys) = (rule.0 as usize, &self.shared.keys);
        if at < keys.len() { keys[at] } else { self.later[at - keys.len()] }
    }

    /// The rule in force that a key means.
    pub(super) fn rule(&self, key: RuleKey) -> Option<RuleId> {
        match self.changed.get(&key) {
            Some(changed) => *changed,
            None => self.shared.live.get(&key).copied(),
        }
    }

    /// The rule that a key means, or meant last.
    pub(super) fn last(&self, key: RuleKey) -> Option<RuleId> {
        let all = || (0..self.count() as u32).rev().map(RuleId);
        self.rule(key).or_else(|| all().find(|id| self.key_of(*id) == key))
    }
}
