//! How much a change may do before a compilation is the shorter way.
//!
//! Steps are counted in units of about the same time, since no clock is read here: what a compilation takes is some units a
//! rule, so a change that is refused has taken less than the compilation that then makes it.

use super::EditError;

/// Units for each rule of the policy: half of what compiling it took where both were measured.
const OF_RULE: usize = 4;
/// Units that any change has.
const LEAST: usize = 1 << 14;

/// The units of a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    done: usize,
    most: usize,
}

impl Work {
    /// A cell is looked at whose content is known.
    pub(super) const SEEN: usize = 1;
    /// A content is made.
    pub(super) const MADE: usize = 25;
    /// An item is put in or out over a range of addresses, within 16 bits of them.
    pub(super) const RANGE: usize = 10;

    /// The work that is left to changes of a policy of so many rules.
    pub(super) fn new(rules: usize) -> Work {
        Work { done: 0, most: LEAST + rules * OF_RULE }
    }

    /// A change begins.
    pub(super) fn begin(&mut self) {
        self.done = 0;
    }

    /// Takes a step of the change.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), EditError> {
        self.done += units;
        if self.done > self.most { Err(EditError::Wide) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_do_more_in_a_larger_policy_and_the_next_as_much() {
        for rules in [0, 10, 1_000_000] {
            let mut work = Work::new(rules);
            for _ in 0..2 {
                work.begin();
                let steps = (0..).take_while(|_| work.spend(Work::MADE).is_ok()).count();
                assert_eq!(steps, (LEAST + rules * OF_RULE) / Work::MADE);
            }
        }
    }
}
