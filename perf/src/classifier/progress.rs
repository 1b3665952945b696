//! Says on standard error what a long run is at. Standard output is the result's alone.

use std::time::Instant;

/// Since when a run runs.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
    is_quiet: bool,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Progress {
        Progress { start: Instant::now(), is_quiet }
    }

    /// A line: the seconds so far, and what is done now.
    pub(crate) fn say(&self, what: &str) {
        if !self.is_quiet {
            eprintln!("{:8.2} s  {what}", self.start.elapsed().as_secs_f64());
        }
    }
}
