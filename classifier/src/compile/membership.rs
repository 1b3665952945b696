//! The effects that hold in a class → its segments, and the sets of rules that it is in.

use super::atom::{Effect, Nesting};
use crate::policy::{Mode, Policy, SegmentId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a class is in.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// Segments, sorted by name.
    pub(super) segments: Vec<SegmentId>,
    /// Sets that rules name, sorted.
    pub(super) sets: Vec<u32>,
    /// Whether there are segments, and all are in monitor mode.
    pub(super) softened: bool,
}

/// Evaluates memberships, class by class.
#[derive(Debug)]
pub(super) struct Evaluator {
    modes: Vec<Mode>,
    /// Position of each segment in the order of names.
    by_name: Vec<u32>,
    /// The class in which each segment was last found to have a member, or an exception, that holds.
    member_in: Vec<u32>,
    except_in: Vec<u32>,
    class: u32,
    /// Segments with a member that holds, those nested deepest first.
    open: BinaryHeap<Reverse<u32>>,
}

impl Evaluator {
    /// One for a policy.
    pub(super) fn new(policy: &Policy) -> Self {
        let segments = policy.segments();
        let mut names: Vec<u32> = (0..segments.len() as u32).collect();
        names.sort_by_key(|id| &segments[*id as usize].name);
        let mut by_name = vec![0; segments.len()];
        for (at, id) in (0u32..).zip(names) {
            by_name[id as usize] = at;
        }
        let (member_in, except_in) = (vec![0; segments.len()], vec![0; segments.len()]);
        let open = BinaryHeap::new();
        let modes = segments.iter().map(|segment| segment.mode).collect();
        Evaluator { modes, by_name, member_in, except_in, class: 0, open }
    }

    /// Gives a segment another mode.
    pub(super) fn set_mode(&mut self, SegmentId(id): SegmentId, mode: Mode) {
        self.modes[id as usize] = mode;
    }

    /// Whether a class in these segments is softened: there are some, and all are in monitor mode.
    pub(super) fn is_softened(&self, segments: &[SegmentId]) -> bool {
        let mode = |SegmentId(id): &SegmentId| self.modes[*id as usize];
        !segments.is_empty() && segments.iter().all(|id| mode(id) == Mode::Monitor)
    }

    /// What the class with these effects is in.
    pub(super) fn evaluate(
        &mut self,
        nesting: &Nesting,
        effects: impl Iterator<Item = Effect>,
    ) -> Membership {
        self.class += 1;
        let mut found = Membership::default();
        for effect in effects {
            self.apply(nesting, effect, &mut found);
        }
        // Effects of a segment are on segments further on in the order, so each is closed once, when all
        // that it hangs on is known.
        while let Some(Reverse(position)) = self.open.pop() {
            let id = nesting.order[position as usize];
            if self.except_in[id as usize] == self.class {
                continue;
            }
            found.segments.push(SegmentId(id));
            for effect in &nesting.effects[id as usize] {
                self.apply(nesting, *effect, &mut found);
            }
        }
        found.segments.sort_unstable_by_key(|SegmentId(id)| self.by_name[*id as usize]);
        found.sets.sort_unstable();
        found.sets.dedup();
        found.softened = self.is_softened(&found.segments);
        found
    }

    fn apply(&mut self, nesting: &Nesting, effect: Effect, found: &mut Membership) {
        match effect {
            Effect::Member(SegmentId(id)) => {
                if self.member_in[id as usize] != self.class {
                    self.member_in[id as usize] = self.class;
                    self.open.push(Reverse(nesting.position[id as usize]));
                }
            }
            Effect::Except(SegmentId(id)) => self.except_in[id as usize] = self.class,
            Effect::Set(set) => found.sets.push(set.0),
        }
    }
}
