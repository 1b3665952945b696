//! `bulkhead check`: is the gateway file valid, does its policy compile, and do its tests hold?

use super::{Outcome, Output};
use crate::config::{Configuration, LoadError, load_checked};
use crate::diagnostic::{Report, Severity, Style};
use std::io::Write;
use std::path::PathBuf;

/// Check a gateway file and all that it includes, and run its tests.
#[derive(clap::Args, Debug)]
pub(super) struct Check {
    /// The gateway file.
    #[arg(required_unless_present = "config", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The gateway file, as other commands take it.
    #[arg(short, long, conflicts_with = "file", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to write the diagnostics.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let path = self.file.or(self.config).expect("the parser wants one of the two");
        let (summary, report) = match load_checked(&path) {
            Ok(checked) => (Some(summary(&checked.configuration)), checked.configuration.warnings),
            Err(LoadError::Invalid(report)) => (None, report),
            Err(LoadError::Unreadable(error)) => {
                tell!("error: {}: {error}", path.display());
                return Outcome::Failure;
            }
        };
        match self.output {
            Output::Text => {
                crate::stream::tell_text(&report.render(Style::for_stderr()));
                match (&summary, report.has_errors()) {
                    (Some(summary), false) => answer!("{}: valid: {summary}", path.display()),
                    (_, _) => tell!("\n{}: invalid: {}", path.display(), counts(&report)),
                }
            }
            Output::Json => {
                let json =
                    serde_json::to_string_pretty(&report.to_json()).expect("a tree of strings and numbers");
                // A reader that has gone away is no fault of the file.
                let _ = writeln!(std::io::stdout(), "{json}");
            }
        }
        if report.has_errors() { Outcome::Negative } else { Outcome::Success }
    }
}

fn summary(configuration: &Configuration) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let mut parts = vec![
        count(configuration.topology.ports.len(), "port"),
        count(configuration.topology.vlans.len(), "VLAN"),
        count(configuration.policy.segments().len(), "segment"),
        count(configuration.policy.rules().len(), "rule"),
        count(configuration.tests.len(), "test"),
    ];
    let warnings = configuration.warnings.count(Severity::Warning);
    if warnings > 0 {
        parts.push(count(warnings, "warning"));
    }
    parts.join(", ")
}

fn counts(report: &Report) -> String {
    let errors = report.count(Severity::Error);
    format!("{errors} error{}", if errors == 1 { "" } else { "s" })
}
