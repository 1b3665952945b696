//! From what the rules say to what happens: defaults, monitor modes, and the reason of a drop.
//!
//! Evaluating rules is not done here: [`crate::reference`] and [`crate::tables`] do that and yield a
//! [`Judgement`]. What a judgement *means* is decided here and nowhere else.

use crate::policy::{Action, DefaultAction, Mode, Policy, RuleId};
use crate::reason::DropReason;
use std::fmt;

#[cfg(test)]
mod tests;

/// What the evaluation of the rules yields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Judgement {
    /// The rule that decided; `None`: no rule did, so the default does.
    pub decided_by: Option<RuleId>,
    /// The first monitor rule that matched before that.
    pub first_monitor: Option<RuleId>,
}

/// What is done with a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It is let in.
    Allow,
    /// It is dropped without an answer.
    Deny,
    /// It is dropped, and the sender is told.
    Reject,
}

impl Verdict {
    /// The word that the configuration uses for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
            Verdict::Reject => "reject",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<DefaultAction> for Verdict {
    fn from(action: DefaultAction) -> Self {
        match action {
            DefaultAction::Allow => Verdict::Allow,
            DefaultAction::Deny => Verdict::Deny,
            DefaultAction::Reject => Verdict::Reject,
        }
    }
}

/// What would have happened, were it enforced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Would {
    /// What would have been done.
    pub action: Action,
    /// The rule that says so; `None`: the default.
    pub rule: Option<RuleId>,
}

impl Would {
    /// The word that verdict lines and events use for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.action {
            Action::Allow => "would-allow",
            Action::Deny => "would-deny",
            Action::Reject => "would-reject",
            Action::Pass => "would-pass",
        }
    }
}

/// What happens to a new flow, and why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// What is enforced.
    pub verdict: Verdict,
    /// The rule that decided, also where `policy.mode = "monitor"` keeps it from being enforced.
    pub rule: Option<RuleId>,
    /// What is recorded beside it.
    pub would: Option<Would>,
}

impl Decision {
    /// What follows from a judgement (POLICY.md §4, points 3 to 5).
    ///
    /// `softened` says that the destination is in at least one segment and that all of its segments have
    /// `mode = "monitor"`: then a default deny or reject is recorded, and not enforced. A rule's is enforced
    /// there all the same.
    #[must_use]
    #[inline]
    pub fn of(policy: &Policy, judgement: Judgement, softened: bool) -> Decision {
        let computed = match judgement.decided_by.map(|id| policy.rule(id).action) {
            Some(Action::Allow) => Verdict::Allow,
            Some(Action::Deny) => Verdict::Deny,
            Some(Action::Reject) => Verdict::Reject,
            // A pass leaves its tier and never decides, so this is as if no rule had decided.
            Some(Action::Pass) | None => Verdict::from(policy.default()),
        };
        let lenient = match policy.mode() {
            Mode::Monitor => true,
            Mode::Enforce => softened && judgement.decided_by.is_none(),
        };
        let verdict = if lenient { Verdict::Allow } else { computed };
        let by_monitor_rule =
            judgement.first_monitor.map(|id| Would { action: policy.rule(id).action, rule: Some(id) });
        let by_softening = || {
            let action = match computed {
                Verdict::Allow => return None,
                Verdict::Deny => Action::Deny,
                Verdict::Reject => Action::Reject,
            };
            lenient.then_some(Would { action, rule: judgement.decided_by })
        };
        Decision { verdict, rule: judgement.decided_by, would: by_monitor_rule.or_else(by_softening) }
    }

    /// The reason under which the packet is counted, `None` where it is let through.
    #[must_use]
    pub const fn drop_reason(&self) -> Option<DropReason> {
        match (self.verdict, self.rule) {
            (Verdict::Allow, _) => None,
            (Verdict::Deny, Some(_)) => Some(DropReason::PolicyDeny),
            (Verdict::Deny, None) => Some(DropReason::DefaultDeny),
            (Verdict::Reject, Some(_)) => Some(DropReason::PolicyReject),
            (Verdict::Reject, None) => Some(DropReason::DefaultReject),
        }
    }
}
