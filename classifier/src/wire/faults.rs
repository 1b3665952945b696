//! What is wrong with a frame by itself, as a set of reasons: the first in the order of the checks counts.

use crate::reason::DropReason;

/// A set of [`DropReason`]s, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults(u64);

const _: () = assert!(DropReason::COUNT <= 64);

impl Faults {
    /// Nothing is wrong.
    pub const NONE: Faults = Faults(0);

    /// Adds a reason.
    #[inline]
    pub fn add(&mut self, reason: DropReason) {
        self.0 |= 1 << reason.index();
    }

    /// Adds a reason where `wrong` says so.
    #[inline]
    pub fn add_if(&mut self, wrong: bool, reason: DropReason) {
        self.0 |= u64::from(wrong) << reason.index();
    }

    /// Takes a reason out.
    #[inline]
    pub fn remove(&mut self, reason: DropReason) {
        self.0 &= !(1 << reason.index());
    }

    /// Whether the reason is in the set.
    #[must_use]
    #[inline]
    pub fn has(self, reason: DropReason) -> bool {
        self.0 & (1 << reason.index()) != 0
    }

    /// The first reason that stands before `reason` in the order of the checks.
    #[must_use]
    #[inline]
    pub fn before(self, reason: DropReason) -> Option<DropReason> {
        let earlier = self.0 & ((1 << reason.index()) - 1);
        if earlier == 0 { None } else { Some(DropReason::ALL[earlier.trailing_zeros() as usize]) }
    }

    /// The first reason of all.
    #[must_use]
    #[inline]
    pub fn first(self) -> Option<DropReason> {
        if self.0 == 0 { None } else { Some(DropReason::ALL[self.0.trailing_zeros() as usize]) }
    }

    /// Whether nothing is wrong.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_in_the_order_of_the_checks_counts() {
        let mut faults = Faults::NONE;
        faults.add(DropReason::MalformedL4);
        faults.add(DropReason::MalformedIp);
        assert_eq!(faults.first(), Some(DropReason::MalformedIp));
        assert_eq!(faults.before(DropReason::MalformedIp), None);
        assert_eq!(faults.before(DropReason::Spoofed), Some(DropReason::MalformedIp));
        faults.remove(DropReason::MalformedIp);
        assert_eq!(faults.before(DropReason::Spoofed), None);
        assert_eq!(faults.before(DropReason::TcpFlags), Some(DropReason::MalformedL4));
    }
}
