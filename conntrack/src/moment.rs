//! Deadlines in four bytes: milliseconds modulo 2^32.
//!
//! A comparison is right as long as the two moments are less than 24 days apart. Timeouts end at ten days
//! ([`crate::config::Timeouts::LIMIT`]), and the tracker sweeps its timers whenever it was away for longer
//! than a day, so that no live entry holds an older moment. It does not know the time of day.

use crate::time::Tick;
use std::time::Duration;

/// A point in time, modulo 2^32 milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Moment(pub(crate) u32);

/// A length of time in milliseconds: at most ten days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span(pub(crate) u32);

impl Moment {
    /// The moment of a tick.
    pub(crate) const fn of(tick: Tick) -> Moment {
        // Truncation is the point: moments are modular.
        Moment(tick.millis() as u32)
    }

    /// The moment `span` later.
    pub(crate) const fn after(self, span: Span) -> Moment {
        Moment(self.0.wrapping_add(span.0))
    }

    /// Milliseconds from `now` until this moment: negative where it has passed.
    pub(crate) const fn from(self, now: Moment) -> i32 {
        self.0.wrapping_sub(now.0).cast_signed()
    }

    /// Whether the moment has come.
    pub(crate) const fn has_come(self, now: Moment) -> bool {
        self.from(now) <= 0
    }

    /// Whether this moment comes before the other.
    pub(crate) const fn is_before(self, other: Moment) -> bool {
        self.from(other) < 0
    }
}

impl Span {
    /// The span of a duration in whole milliseconds, rounded up and cut off at the longest timeout.
    pub(crate) fn of(duration: Duration) -> Span {
        let longest = crate::config::Timeouts::LIMIT.as_millis();
        let millis = duration.as_nanos().div_ceil(1_000_000).min(longest);
        Span(u32::try_from(millis).expect("ten days in milliseconds fit in 32 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_at_its_millisecond_and_not_before() {
        let now = Moment(5);
        let deadline = now.after(Span(10));
        assert!(!deadline.has_come(Moment(14)));
        assert!(deadline.has_come(Moment(15)));
        assert!(deadline.has_come(Moment(16)));
    }

    #[test]
    fn moments_compare_across_the_wrap() {
        let now = Moment(u32::MAX - 3);
        let deadline = now.after(Span(10));
        assert_eq!(deadline, Moment(6));
        assert!(!deadline.has_come(Moment(u32::MAX)));
        assert!(deadline.has_come(Moment(6)));
        assert!(now.is_before(deadline));
        assert!(!deadline.is_before(now));
    }

    #[test]
    fn a_span_is_rounded_up_and_cut_off_at_the_limit() {
        assert_eq!(Span::of(Duration::from_nanos(1)), Span(1));
        assert_eq!(Span::of(Duration::from_millis(7)), Span(7));
        assert_eq!(Span::of(Duration::from_secs(1 << 40)), Span(864_000_000));
    }
}
