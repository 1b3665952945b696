//! When a snapshot was taken, and how long ago that is, though clocks are set and machines restarted.

use std::time::Duration;

/// A moment by two clocks: the one on the wall, and the one that starts with the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch. This clock may be set.
    pub unix_millis: u64,
    /// Milliseconds since the machine was started, sleep included.
    pub uptime_millis: u64,
    /// Which start that was; all zeroes where the system does not tell.
    pub boot: [u8; 16],
}

impl Stamp {
    /// How much time lies between this moment and a later one: by the machine's own clock where it has run through,
    /// else by the wall's. `None`: the wall clock was set back, and nobody knows.
    #[must_use]
    pub fn until(&self, now: &Stamp) -> Option<Duration> {
        let is_same_start = self.boot == now.boot && self.boot != [0; 16];
        let own = now.uptime_millis.checked_sub(self.uptime_millis).filter(|_| is_same_start);
        let millis = own.or_else(|| now.unix_millis.checked_sub(self.unix_millis));
        millis.map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: Stamp = Stamp { unix_millis: 1_000_000, uptime_millis: 5_000, boot: [7; 16] };

    #[test]
    fn a_wall_clock_that_was_set_does_not_count_while_the_machine_has_run_through() {
        for unix_millis in [0, 1_000_100, u64::MAX] {
            let now = Stamp { unix_millis, uptime_millis: 5_300, ..SAVED };
            assert_eq!(SAVED.until(&now), Some(Duration::from_millis(300)));
        }
    }

    #[test]
    fn after_a_restart_of_the_machine_the_wall_clock_counts() {
        let now = Stamp { unix_millis: 1_060_000, uptime_millis: 9_000, boot: [8; 16] };
        assert_eq!(SAVED.until(&now), Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_snapshot_from_the_future_has_no_age() {
        let now = Stamp { unix_millis: 999_999, uptime_millis: 9_000, boot: [8; 16] };
        assert_eq!(SAVED.until(&now), None);
    }

    #[test]
    fn a_system_that_tells_no_start_has_the_wall_clock_alone() {
        let saved = Stamp { boot: [0; 16], ..SAVED };
        let now = Stamp { unix_millis: 1_002_000, uptime_millis: 5_001, boot: [0; 16] };
        assert_eq!(saved.until(&now), Some(Duration::from_secs(2)));
    }
}
