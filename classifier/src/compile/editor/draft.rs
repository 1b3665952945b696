//! Changes of the policy itself, and what they mean to the tables.

use super::members::without_others;
use super::rules::is_placed;
use super::swap::Swap;
use super::{EditError, Editor};
use crate::addr::IpRange;
use crate::compile::intern::{WordHashMap, WordHasher};
use crate::policy::{
    Member, Mode, Place, Policy, REMOVED, Rule, RuleId, SUSPENDED, Segment, SegmentId, Selector, Timestamp,
};
use std::hash::Hasher;

/// One change of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The selector is a member of the segment.
    AddMember(SegmentId, Selector),
    /// It no longer is. One of addresses alone goes range by range, wherever each was named or added; any other goes
    /// as it was named.
    RemoveMember(SegmentId, Selector),
    /// The segment has these members, exceptions and mode from now on. Its name stays, and which segments it is made of.
    SetSegment(SegmentId, Box<Segment>),
    /// A new rule, in its place among those of its tier.
    AddRule(Box<Rule>, Place),
    /// The rule is taken out for good.
    RemoveRule(RuleId),
    /// The rule is taken out for a while.
    SuspendRule(RuleId),
    /// A rule that was suspended is put in again.
    ResumeRule(RuleId),
}

/// What a change means to the tables.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A rule goes in.
    Put(RuleId),
    /// A rule goes out.
    Take(RuleId),
    /// Addresses become members, or cease to be.
    Label { segment: SegmentId, ranges: Vec<IpRange>, add: bool },
    /// Addresses become members or exceptions, or cease to be, and perhaps the mode is another.
    Segment { segment: SegmentId, members: Swap, except: Swap, mode: Option<Mode> },
    /// A VLAN or MAC takes part.
    Place,
}

/// A policy with a change.
pub(super) struct Draft {
    pub(super) policy: Policy,
    pub(super) effect: Effect,
    /// The rule that was added.
    pub(super) added: Option<RuleId>,
    /// When the rule that was suspended is to expire.
    pub(super) suspended: Option<Timestamp>,
}

/// The hash of a rule's id.
pub(super) fn name(id: &str) -> u64 {
    let mut hasher = WordHasher::default();
    hasher.write(id.as_bytes());
    hasher.write_u64(id.len() as u64);
    hasher.finish()
}

/// Rules by the hash of their id: of several with one id, the last, which alone may be in force.
pub(super) fn names(policy: &Policy) -> WordHashMap<u64, RuleId> {
    (0u32..).zip(policy.rules()).map(|(at, rule)| (name(&rule.id), RuleId(at))).collect()
}

impl Editor {
    /// Makes a change on a copy of the policy. Whoever does not take it calls [`Editor::take_back`].
    pub(super) fn draft(&mut self, change: &Change) -> Result<Draft, EditError> {
        let mut policy = (*self.policy).clone();
        let (mut added, mut suspended) = (None, None);
        let effect = match change {
            Change::AddMember(segment, selector) => self.add(&mut policy, *segment, selector)?,
            Change::RemoveMember(segment, selector) => remove(&mut policy, *segment, selector)?,
            Change::SetSegment(segment, new) => self.set_segment(&mut policy, *segment, new)?,
            Change::AddRule(rule, place) => {
                let mut errors = Vec::new();
                policy.check_rule(rule, &mut errors);
                if !errors.is_empty() || self.has_rule(&rule.id) {
                    return Err(EditError::Invalid);
                }
                let position = self.order.insert(&mut policy, *place)?;
                let id = policy.put((**rule).clone(), position);
                added = Some(id);
                if rule.expires.is_none_or(|at| at > self.now) { Effect::Put(id) } else { Effect::None }
            }
            Change::RemoveRule(id) => self.expire(&mut policy, *id, REMOVED)?.0,
            Change::SuspendRule(id) => {
                if !policy.rules().get(id.0 as usize).is_some_and(|_| self.is_in_force(*id)) {
                    return Err(EditError::Absent);
                }
                let (effect, expires) = self.expire(&mut policy, *id, SUSPENDED)?;
                suspended = expires;
                effect
            }
            Change::ResumeRule(id) => {
                let rule = policy.rules().get(id.0 as usize).ok_or(EditError::Absent)?;
                if rule.expires != Some(SUSPENDED) {
                    return Err(EditError::Absent);
                }
                let expires = self.suspended.get(&id.0).copied().flatten();
                policy.rules_mut()[id.0 as usize].expires = expires;
                Effect::Put(*id)
            }
        };
        Ok(Draft { policy, effect, added, suspended })
    }

    /// Forgets a change that was drafted.
    pub(super) fn take_back(&mut self, change: &Change) {
        if let Change::AddRule(..) = change {
            self.order.remove_number(RuleId(self.policy.rules().len() as u32));
        }
    }

    /// Notes a change that was made.
    pub(super) fn commit(&mut self, change: &Change, added: Option<RuleId>, suspended: Option<Timestamp>) {
        match (change, added) {
            (Change::AddRule(rule, _), Some(id)) => drop(self.names.insert(name(&rule.id), id)),
            (Change::SuspendRule(id), _) => drop(self.suspended.insert(id.0, suspended)),
            (Change::ResumeRule(id) | Change::RemoveRule(id), _) => drop(self.suspended.remove(&id.0)),
            (
                Change::AddRule(..)
                | Change::AddMember(..)
                | Change::RemoveMember(..)
                | Change::SetSegment(..),
                _,
            ) => {}
        }
    }

    fn has_rule(&self, id: &str) -> bool {
        self.rule_named(id).is_some()
    }

    /// The rule of that id, unless it was taken out for good.
    #[must_use]
    pub fn rule_named(&self, id: &str) -> Option<RuleId> {
        let known = *self.names.get(&name(id))?;
        let rule = self.policy.rule(known);
        (rule.id == id && rule.expires != Some(REMOVED)).then_some(known)
    }

    /// Lets a rule expire; when it was to.
    fn expire(
        &self,
        policy: &mut Policy,
        id: RuleId,
        when: Timestamp,
    ) -> Result<(Effect, Option<Timestamp>), EditError> {
        let rule = policy.rules().get(id.0 as usize).ok_or(EditError::Absent)?;
        let before = rule.expires;
        if before == Some(REMOVED) {
            return Err(EditError::Absent);
        }
        if when == REMOVED {
            policy.remove(id);
        } else {
            policy.rules_mut()[id.0 as usize].expires = Some(when);
        }
        Ok((if self.is_in_force(id) { Effect::Take(id) } else { Effect::None }, before))
    }

    fn add(&self, policy: &mut Policy, id: SegmentId, selector: &Selector) -> Result<Effect, EditError> {
        let at = id.0 as usize;
        let name = policy.segments().get(at).ok_or(EditError::Absent)?.name.clone();
        let member = Member::Selector(selector.clone());
        let mut errors = Vec::new();
        policy.check_members(&name, std::slice::from_ref(&member), &mut errors);
        if !errors.is_empty() {
            return Err(EditError::Invalid);
        }
        let effect = if is_placed(&member) {
            Effect::Place
        } else {
            Effect::Label { segment: id, ranges: selector.addresses.clone(), add: true }
        };
        policy.segments_mut()[at].members.push(member);
        Ok(effect)
    }

    fn set_segment(
        &self,
        policy: &mut Policy,
        segment: SegmentId,
        new: &Segment,
    ) -> Result<Effect, EditError> {
        let at = segment.0 as usize;
        let old = self.policy.segments().get(at).ok_or(EditError::Absent)?;
        let mut errors = Vec::new();
        policy.check_members(&new.name, &new.members, &mut errors);
        policy.check_members(&new.name, &new.except, &mut errors);
        if !errors.is_empty() || new.name != old.name {
            return Err(EditError::Invalid);
        }
        let swaps = (Swap::new(&old.members, &new.members)?, Swap::new(&old.except, &new.except)?);
        let mode = (new.mode != old.mode).then_some(new.mode);
        policy.segments_mut().set(at, new.clone());
        Ok(match swaps {
            (Some(members), Some(except)) => Effect::Segment { segment, members, except, mode },
            (None, _) | (_, None) => Effect::Place,
        })
    }
}

fn remove(policy: &mut Policy, id: SegmentId, selector: &Selector) -> Result<Effect, EditError> {
    let at = id.0 as usize;
    policy.segments().get(at).ok_or(EditError::Absent)?;
    let segment = &mut policy.segments_mut()[at];
    if is_placed(&Member::Selector(selector.clone())) {
        let known = segment.members.iter().position(|m| matches!(m, Member::Selector(s) if s == selector));
        segment.members.remove(known.ok_or(EditError::Absent)?);
        return Ok(Effect::Place);
    }
    for range in &selector.addresses {
        let named = |member: &Member| match member {
            Member::Selector(s) if !is_placed(member) => s.addresses.iter().position(|r| r == range),
            Member::Selector(_) | Member::Segment(_) => None,
        };
        let found = (0..).zip(&segment.members).find_map(|(n, member)| named(member).map(|at| (n, at)));
        let (n, at): (usize, usize) = found.ok_or(EditError::Absent)?;
        if let Member::Selector(selector) = &mut segment.members[n] {
            selector.addresses.swap_remove(at);
            if selector.addresses.is_empty() {
                segment.members.swap_remove(n);
            }
        }
    }
    // What other ranges of the segment hold stays in it.
    let ranges = selector.addresses.iter().flat_map(|range| without_others(segment, *range)).collect();
    Ok(Effect::Label { segment: id, ranges, add: false })
}
