//! How much of a core the benchmark got: on a machine that is shared with others, less than all of it.
//!
//! Time that a hypervisor took away is not seen here.

use std::time::Duration;

/// How long this thread has run so far (Linux, Documentation/scheduler/sched-stats.rst); `None` where the kernel
/// does not count it. It lags by a scheduler's tick at most.
pub(crate) fn now() -> Option<Duration> {
    of("thread-self")
}

/// The same of the thread whose directory under `/proc` this is.
pub(crate) fn of(task: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{task}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
