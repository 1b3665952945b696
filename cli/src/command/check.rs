//! `bulkhead check`: is the gateway file valid, does its policy compile, and do its tests hold?

use super::{Outcome, Output};
use crate::config::{Checked, Configuration, LoadError, load_checked};
use crate::diagnostic::{Report, Severity, Style};
use crate::stats::Stats;
use classifier::compile::Limits;
use serde_json::json;
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
    /// Say how large the compiled policy is, and which rules make it so.
    #[arg(long)]
    stats: bool,
}

impl Check {
    pub(super) fn run(self) -> Outcome {
        let path = self.file.or(self.config).expect("the parser wants one of the two");
        let (checked, mut report) = match load_checked(&path) {
            Ok(checked) => {
                let warnings = checked.configuration.warnings.clone();
                (Some(checked), warnings)
            }
            Err(LoadError::Invalid(report)) => (None, report),
            Err(LoadError::Unreadable(error)) => {
                tell!("error: {}: {error}", path.display());
                return Outcome::Failure;
            }
        };
        let stats = checked.as_ref().filter(|_| self.stats).map(stats);
        if let Some(stats) = &stats {
            report = report.merged(stats.warnings.clone());
        }
        match self.output {
            Output::Text => {
                crate::stream::tell_text(&report.render(Style::for_stderr()));
                match &checked {
                    Some(Checked { configuration, .. }) => {
                        answer!("{}: valid: {}", path.display(), summary(configuration, &report));
                    }
                    None => tell!(
                        "
{}: invalid: {}",
                        path.display(),
                        counts(&report)
                    ),
                }
                if let Some(stats) = &stats {
                    answer!("{}", stats.to_string().trim_end());
                }
            }
            Output::Json => {
                let diagnostics = report.to_json();
                let json = if self.stats {
                    json!({ "stats": stats.as_ref().map(Stats::to_json), "diagnostics": diagnostics })
                } else {
                    diagnostics
                };
                let json = serde_json::to_string_pretty(&json).expect("a tree of strings and numbers");
                // A reader that has gone away is no fault of the file.
                let _ = writeln!(std::io::stdout(), "{json}");
            }
        }
        if report.has_errors() { Outcome::Negative } else { Outcome::Success }
    }
}

fn stats(checked: &Checked) -> Stats {
    Stats::new(&checked.configuration, checked.tables.compiled_for(), &Limits::default())
        .expect("it has compiled before, for the same moment and within the same limits")
}

fn summary(configuration: &Configuration, report: &Report) -> String {
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let mut parts = vec![
        count(configuration.topology.ports.len(), "port"),
        count(configuration.topology.vlans.len(), "VLAN"),
        count(configuration.policy.segments().len(), "segment"),
        count(configuration.policy.rules().len(), "rule"),
        count(configuration.tests.len(), "test"),
    ];
    let warnings = report.count(Severity::Warning);
    if warnings > 0 {
        parts.push(count(warnings, "warning"));
    }
    parts.join(", ")
}

fn counts(report: &Report) -> String {
    let errors = report.count(Severity::Error);
    format!("{errors} error{}", if errors == 1 { "" } else { "s" })
}
