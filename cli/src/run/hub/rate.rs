//! How many drops of one reason are told in a second.

use classifier::reason::DropReason;
use conntrack::time::Tick;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A window of a second for each reason, which begins with the first drop after the one before has ended.
#[derive(Debug)]
pub(super) struct Rates {
    limit: u64,
    windows: Vec<Window>,
    reported: Tick,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Tick,
    admitted: u64,
    /// What was over, and is not reported yet.
    over: u64,
}

impl Rates {
    /// `limit` drops of each reason and second; 0: no limit.
    pub(super) fn new(limit: u64) -> Rates {
        Rates { limit, windows: vec![Window::default(); DropReason::COUNT], reported: Tick::default() }
    }

    /// Whether a drop is told; one that is not is counted.
    pub(super) fn admits(&mut self, reason: DropReason, at: Tick) -> bool {
        if self.limit == 0 {
            return true;
        }
        let window = &mut self.windows[reason.index()];
        if at.since(window.began) >= SECOND {
            (window.began, window.admitted) = (at, 0);
        }
        let fits = window.admitted < self.limit;
        if fits {
            window.admitted += 1;
        } else {
            window.over += 1;
        }
        fits
    }

    /// What was over since this was asked last, by reason; at most once a second, unless it `is_last`.
    pub(super) fn over(&mut self, now: Tick, is_last: bool) -> Vec<(DropReason, u64)> {
        if now.since(self.reported) < SECOND && !is_last {
            return Vec::new();
        }
        self.reported = now;
        let reasons = DropReason::ALL.iter().zip(&mut self.windows);
        reasons
            .filter_map(|(reason, window)| match std::mem::take(&mut window.over) {
                0 => None,
                over => Some((*reason, over)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_in_a_second_is_counted_by_reason_and_reported_once() {
        let mut rates = Rates::new(3);
        let at = |ms| Tick(1_000_000_000_000) + Duration::from_millis(ms);
        assert!(rates.over(at(0), false).is_empty());
        let admitted =
            |rates: &mut Rates, reason, ms| (0..5).filter(|_| rates.admits(reason, at(ms))).count();
        assert_eq!(admitted(&mut rates, DropReason::DefaultDeny, 0), 3);
        assert_eq!(admitted(&mut rates, DropReason::DefaultDeny, 900), 0);
        assert_eq!(admitted(&mut rates, DropReason::Spoofed, 900), 3, "each reason has its own");
        assert!(rates.over(at(950), false).is_empty(), "not within the same second");
        let mut over = rates.over(at(1000), false);
        over.sort_by_key(|(_, count)| *count);
        assert_eq!(over, [(DropReason::Spoofed, 2), (DropReason::DefaultDeny, 7)]);
        assert_eq!(admitted(&mut rates, DropReason::DefaultDeny, 1000), 3, "a new second");
        assert_eq!(rates.over(at(1001), true), [(DropReason::DefaultDeny, 2)]);
        assert!(rates.over(at(3000), true).is_empty());
        let mut unlimited = Rates::new(0);
        assert_eq!(admitted(&mut unlimited, DropReason::Spoofed, 0), 5);
    }
}
