//! What the rules of a cell come to, and how the outcomes of several cells are put together.
//!
//! An outcome is a judgement, first match already resolved, beside the *events* that it came from: in rank
//! order, for each tier, the first monitor rule and the first enforced rule that match. When two cells hold
//! rules for one packet, walking the union of their events is the same as walking the union of their rules:
//! in each tier the earliest enforced match of the union is the earlier one of the two. Events that a cell
//! has twice do no harm, so cells may overlap.

use crate::decision::Judgement;
use crate::policy::{Action, Mode, RuleId, TierId};

/// What a match of a rule does to the evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Allow, deny or reject: the evaluation ends.
    Decide,
    /// The evaluation goes on with the next tier.
    Pass,
    /// It is recorded, and the evaluation goes on.
    Record,
}

impl Effect {
    /// The effect of a rule.
    pub(crate) const fn of(mode: Mode, action: Action) -> Effect {
        match (mode, action) {
            (Mode::Monitor, _) => Effect::Record,
            (Mode::Enforce, Action::Pass) => Effect::Pass,
            (Mode::Enforce, Action::Allow | Action::Deny | Action::Reject) => Effect::Decide,
        }
    }
}

/// A rule as the evaluation sees it. Its index in the table of all is its *rank*.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranked {
    /// Which rule it is.
    pub(crate) rule: RuleId,
    /// Its tier.
    pub(crate) tier: TierId,
    /// What a match does.
    pub(crate) effect: Effect,
}

/// What one cell says of one packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// The judgement, where this cell is the only one.
    pub(crate) judgement: Judgement,
    /// Where its events are.
    pub(crate) first_event: u32,
    /// How many there are.
    pub(crate) events: u32,
}

/// All outcomes. Number 0 is the empty one: no rule matches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    /// By number.
    pub(crate) outcomes: Vec<Outcome>,
    /// Ranks.
    pub(crate) events: Vec<u32>,
    /// Rules by rank.
    pub(crate) ranks: Vec<Ranked>,
}

impl Outcomes {
    /// The outcome of that number.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> &Outcome {
        &self.outcomes[number as usize]
    }

    fn events_of(&self, number: u32) -> &[u32] {
        let Outcome { first_event, events, .. } = *self.get(number);
        &self.events[first_event as usize..(first_event + events) as usize]
    }

    /// The judgement of several cells together.
    pub(crate) fn merge(&self, numbers: &[u32]) -> Judgement {
        let mut walk = Walk::default();
        // The next rank that may be looked at. Each round takes the lowest of all lists: these are a few
        // lists of a few events, so a heap would cost more than it saves.
        let mut next = 0;
        loop {
            let mut lowest = u32::MAX;
            for number in numbers {
                let events = self.events_of(*number);
                if let Some(rank) = events.iter().find(|rank| **rank >= next) {
                    lowest = lowest.min(*rank);
                }
            }
            let Some(ranked) = self.ranks.get(lowest as usize) else {
                return walk.end();
            };
            if let Some(judgement) = walk.step(ranked) {
                return judgement;
            }
            next = lowest + 1;
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.outcomes.len() * size_of::<Outcome>()
            + self.events.len() * 4
            + self.ranks.len() * size_of::<Ranked>()
    }
}

/// Evaluation over matching rules in rank order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    passed: Option<TierId>,
    first_monitor: Option<RuleId>,
}

impl Walk {
    /// The next matching rule; `Some` where it decides.
    pub(crate) fn step(&mut self, ranked: &Ranked) -> Option<Judgement> {
        if self.passed == Some(ranked.tier) {
            return None;
        }
        match ranked.effect {
            Effect::Record => self.first_monitor = self.first_monitor.or(Some(ranked.rule)),
            Effect::Pass => self.passed = Some(ranked.tier),
            Effect::Decide => {
                let decided_by = Some(ranked.rule);
                return Some(Judgement { decided_by, first_monitor: self.first_monitor });
            }
        }
        None
    }

    /// No more rule matches.
    pub(crate) fn end(self) -> Judgement {
        Judgement { decided_by: None, first_monitor: self.first_monitor }
    }
}
