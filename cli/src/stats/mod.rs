//! `bulkhead check --stats`: how large a policy is once it is compiled, and which rules make it so.
//!
//! The policy is compiled a second time, so that the time is that of the compilation alone.

mod costly;
mod table;

use crate::config::Configuration;
use crate::diagnostic::Report;
use classifier::compile::{CompileError, Limits, Survey};
use classifier::policy::Timestamp;
use classifier::tables::{Instructions, Statistics};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What there is to tell of the tables of a policy.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Counts and bytes.
    pub statistics: Statistics,
    /// Rules that are looked up apart from those of the pair.
    pub overlay_rules: usize,
    /// (pair of classes, rule) entries.
    pub entries: usize,
    /// How long the compilation took.
    pub compile_time: Duration,
    /// What look-ups run on.
    pub instructions: Instructions,
    /// Warnings about rules that compile badly.
    pub warnings: Report,
}

impl Stats {
    /// Compiles the policy of a configuration as it stands at `now`.
    ///
    /// # Errors
    /// The policy is over a limit of the compiler.
    pub fn new(
        configuration: &Configuration,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<Stats, CompileError> {
        let start = Instant::now();
        let survey = Survey::new(&configuration.policy, now, limits)?;
        let compile_time = start.elapsed();
        let warnings = costly::warnings(configuration, &survey);
        Ok(Stats {
            statistics: survey.tables.statistics(),
            overlay_rules: survey.overlay().count(),
            entries: survey.entries(),
            compile_time,
            instructions: survey.tables.instructions(),
            warnings: Report::new(Arc::clone(configuration.sources()), warnings),
        })
    }
}
