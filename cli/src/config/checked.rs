//! A configuration that is fit for use: it is valid, its policy compiles, and its tests hold.
//!
//! `check`, `replay`, `run` and `why` all come through here, so that none takes what another refuses.

use super::feed::{self, List};
use super::{Configuration, LoadError, load, now, testing};
use crate::diagnostic::{Code, Diagnostic, Report};
use classifier::compile::{CompileError, Limits};
use classifier::policy::Timestamp;
use classifier::tables::Tables;
use std::path::Path;
use std::sync::Arc;

use super::source::{FileId, Span};

/// A configuration with the tables of its policy.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the files say.
    pub configuration: Configuration,
    /// The policy, compiled for the moment of the check.
    pub tables: Tables,
}

/// Reads a gateway file and all that it includes, compiles its policy and runs its tests. The system's clock tells
/// which rules have expired.
///
/// # Errors
/// The file can't be read, there is at least one error in it or in what it includes, the policy is over a limit of
/// the compiler, or a test fails.
pub fn load_checked(path: &Path) -> Result<Checked, LoadError> {
    check(load(path)?, now())
}

/// As [`check`], with the lists of the feeds: the tables and the tests know them, and the configuration that comes back
/// does not.
///
/// # Errors
/// As [`check`].
pub fn check_with_lists<'a>(
    configuration: Configuration,
    lists: impl IntoIterator<Item = &'a List>,
    now: Timestamp,
) -> Result<Checked, LoadError> {
    let tables = check(feed::with_lists(&configuration, lists), now)?.tables;
    Ok(Checked { configuration, tables })
}

/// Compiles the policy of a configuration as it stands at `now`, and runs its tests.
///
/// # Errors
/// The policy is over a limit of the compiler, or a test fails.
pub fn check(configuration: Configuration, now: Timestamp) -> Result<Checked, LoadError> {
    check_within(configuration, now, &Limits::default())
}

/// As [`check`], within other limits of the compiler.
///
/// # Errors
/// As [`check`].
pub fn check_within(
    configuration: Configuration,
    now: Timestamp,
    limits: &Limits,
) -> Result<Checked, LoadError> {
    let faults = match Tables::compile_within(Arc::clone(&configuration.policy), now, limits) {
        Ok(tables) => {
            let failures = testing::run(&configuration, &tables);
            if !failures.has_errors() {
                return Ok(Checked { configuration, tables });
            }
            failures
        }
        Err(error) => {
            Report::new(Arc::clone(configuration.sources()), vec![too_large(&configuration, &error)])
        }
    };
    Err(LoadError::Invalid(configuration.warnings.merged(faults)))
}

/// A policy that does not compile, at the rule that is most to blame where there is one.
fn too_large(configuration: &Configuration, error: &CompileError) -> Diagnostic {
    let place = match error {
        CompileError::Pairs { rule, .. } => {
            configuration.rule(rule).map(|id| configuration.rule_spans[id.0 as usize])
        }
        CompileError::Overlap { .. }
        | CompileError::Classes { .. }
        | CompileError::Places { .. }
        | CompileError::Boundaries { .. } => None,
    };
    let start = Span::new(FileId(0), 0..0);
    // What to do stands behind the semicolon.
    let text = error.to_string();
    let (message, help) = text.split_once("; ").unwrap_or((&text, "make the policy smaller"));
    Diagnostic::error(Code::PolicyLimit, place.unwrap_or(start), message).help(help)
}
