//! The command line: one file for each command, and the exit codes that they share.

mod act;
mod capture;
mod change;
mod check;
mod completions;
mod demo;
mod doctor;
mod exports;
mod man;
mod observe;
mod replay;
mod run;
mod schema;
mod show;
mod table;
mod top;
mod why;

use crate::config::{Checked, LoadError, load_checked};
use crate::control::{ClientError, FailureCode};
use crate::diagnostic::Style;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::Path;
use std::process::ExitCode;

/// A microsegmentation gateway.
#[derive(Parser, Debug)]
#[command(name = "bulkhead", version, about = "A microsegmentation gateway", propagate_version = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// Every word that the program understands.
#[derive(Subcommand, Debug)]
enum Command {
    /// Put a gateway file into force on a running gateway.
    Apply(change::Apply),
    /// Write frames that a running gateway judges, with their verdicts, to a pcapng file.
    Capture(capture::Capture),
    /// Check a gateway file and all that it includes, and run its tests.
    Check(check::Check),
    /// Keep the change that was applied with `--confirm`.
    Confirm(change::Confirm),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
    /// Write the manual pages into a folder.
    Man(man::Man),
    /// Show the gateway at work between three network namespaces.
    Demo(demo::DemoCommand),
    /// Say whether this machine is fit to be a gateway.
    Doctor(doctor::Doctor),
    /// Tell what a file or an earlier version would change of what is in force.
    Diff(change::Diff),
    /// List, count or end live flows.
    Flow(act::Flow),
    /// Tell who changed what, and when.
    History(change::History),
    /// Watch flows that begin and frames that are dropped on a running gateway.
    Observe(observe::Observe),
    /// Run the pipeline on captures, frame by frame.
    Replay(replay::ReplayCommand),
    /// Set the mode of a segment.
    Mode(act::Mode),
    /// Let nothing go to or come from these addresses, and end their flows at once.
    Quarantine(act::Quarantine),
    /// End a quarantine.
    Release(act::Release),
    /// Put an earlier version into force again.
    Rollback(change::Rollback),
    /// Run the gateway.
    Run(run::Run),
    /// Print the JSON Schema of the gateway file, for editors.
    Schema(schema::Schema),
    /// Put addresses into a segment or take them out, and tell the segments of an address.
    Segment(act::Segment),
    /// Show what a running gateway knows and counts.
    Show(show::Show),
    /// Show what a running gateway does, on a screen.
    Top(top::Top),
    /// Say what the policy makes of one new flow, and why.
    Why(why::WhyCommand),
}

impl CommandLine {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let outcome = match self.command {
            Command::Apply(apply) => apply.run(),
            Command::Capture(capture) => capture.run(),
            Command::Check(check) => check.run(),
            Command::Confirm(confirm) => confirm.run(),
            Command::Completions(completions) => completions.run(CommandLine::command()),
            Command::Man(man) => man.run(CommandLine::command()),
            Command::Demo(demo) => demo.run(),
            Command::Doctor(doctor) => doctor.run(),
            Command::Diff(diff) => diff.run(),
            Command::Flow(flow) => flow.run(),
            Command::History(history) => history.run(),
            Command::Mode(mode) => mode.run(),
            Command::Quarantine(quarantine) => quarantine.run(),
            Command::Release(release) => release.run(),
            Command::Segment(segment) => segment.run(),
            Command::Observe(observe) => observe.run(),
            Command::Replay(replay) => replay.run(),
            Command::Rollback(rollback) => rollback.run(),
            Command::Run(run) => run.run(),
            Command::Schema(schema) => schema.run(),
            Command::Show(show) => show.run(),
            Command::Top(top) => top.run(),
            Command::Why(why) => why.run(),
        };
        outcome.into()
    }
}

/// Reads a gateway file for a command that needs a good one (see [`load_checked`]); prints what is wrong.
fn load_with_tables(path: &Path) -> Option<Checked> {
    report(path, load_checked(path))
}

/// Prints what is wrong with a gateway file, if anything is.
fn report<T>(path: &Path, loaded: Result<T, LoadError>) -> Option<T> {
    match loaded {
        Ok(loaded) => Some(loaded),
        Err(LoadError::Invalid(report)) => {
            crate::stream::tell_text(&report.render(Style::for_stderr()));
            None
        }
        Err(LoadError::Unreadable(error)) => {
            tell!("error: {}: {error}", path.display());
            None
        }
    }
}

/// What was counted, for programs.
#[must_use]
pub(crate) fn counters_json(counters: &dataplane::counters::Counters) -> serde_json::Value {
    replay::summary_json(counters)
}

/// Says why a running gateway gave no answer, and how the command ends then.
fn failed(error: &ClientError) -> Outcome {
    tell!("error: {error}");
    match error {
        ClientError::NotRunning(_) | ClientError::Broken(_) => Outcome::NotRunning,
        ClientError::NotPermitted(_) => Outcome::NotPermitted,
        ClientError::Garbled(_) => Outcome::Failure,
        ClientError::Failed(failure) => match failure.code {
            FailureCode::No => Outcome::Negative,
            FailureCode::Usage => Outcome::Failure,
            FailureCode::Refused | FailureCode::Busy => Outcome::Refused,
            FailureCode::NotPermitted => Outcome::NotPermitted,
        },
    }
}

/// How a command ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It did what it was asked to.
    Success,
    /// It did, and the answer is no: the file is invalid, the packet is denied.
    Negative,
    /// It could not: bad usage, or a file that can't be read.
    Failure,
    /// No gateway answers.
    NotRunning,
    /// The gateway refused, or what was done went back.
    Refused,
    /// The user may not ask for that.
    NotPermitted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        match outcome {
            Outcome::Success => ExitCode::SUCCESS,
            Outcome::Negative => ExitCode::from(1),
            Outcome::Failure => ExitCode::from(2),
            Outcome::NotRunning => ExitCode::from(3),
            Outcome::Refused => ExitCode::from(4),
            Outcome::NotPermitted => ExitCode::from(5),
        }
    }
}

/// What `-o` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}
