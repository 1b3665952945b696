//! The evaluation of the rules, tier by tier, as a person wants to read it.

use crate::endpoint::{Endpoint, ServicePacket};
use crate::policy::{Action, Mode, RuleId, TierId};
use crate::reference::Reference;

/// What a rule that matches did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A monitor rule: it was recorded, and the evaluation went on.
    Recorded(RuleId),
    /// A pass: the evaluation went on with the next tier.
    Passed(RuleId),
    /// It decided.
    Decided(RuleId),
}

impl Step {
    /// The rule that matched.
    #[must_use]
    pub const fn rule(self) -> RuleId {
        match self {
            Step::Recorded(rule) | Step::Passed(rule) | Step::Decided(rule) => rule,
        }
    }
}

/// How a tier ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TierEnd {
    /// This rule decided; no further tier was looked at.
    Decided(RuleId),
    /// This rule passed on to the next tier.
    Passed(RuleId),
    /// No enforced rule matched.
    NoMatch,
}

/// One tier that the evaluation came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TierWalk {
    /// Which tier.
    pub tier: TierId,
    /// Its name.
    pub name: String,
    /// The rules that matched, in order. Those behind the one that ended the tier were not looked at.
    pub steps: Vec<Step>,
    /// How it ended.
    pub end: TierEnd,
}

/// Walks the tiers, up to and with the one that decides.
#[must_use]
pub fn walk(
    reference: &Reference<'_>,
    source: &Endpoint,
    destination: &Endpoint,
    packet: ServicePacket,
) -> Vec<TierWalk> {
    let policy = reference.policy();
    let mut tiers = Vec::new();
    for (at, name) in (0u16..).zip(policy.tiers()) {
        let tier = TierId(at);
        let (mut steps, mut end) = (Vec::new(), TierEnd::NoMatch);
        for &id in reference.order() {
            let rule = policy.rule(id);
            if rule.tier != tier || !reference.matches(rule, source, destination, packet) {
                continue;
            }
            match (rule.mode, rule.action) {
                (Mode::Monitor, _) => {
                    steps.push(Step::Recorded(id));
                    continue;
                }
                (Mode::Enforce, Action::Pass) => {
                    steps.push(Step::Passed(id));
                    end = TierEnd::Passed(id);
                }
                (Mode::Enforce, Action::Allow | Action::Deny | Action::Reject) => {
                    steps.push(Step::Decided(id));
                    end = TierEnd::Decided(id);
                }
            }
            break;
        }
        tiers.push(TierWalk { tier, name: name.clone(), steps, end });
        if let TierEnd::Decided(_) = end {
            break;
        }
    }
    tiers
}
