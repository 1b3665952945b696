//! `bulkhead why`: what becomes of one new flow?

use super::{Outcome, Output};
use crate::config::Checked;
use crate::diagnostic::Style;
use crate::explain::{Answer, Question, why};
use classifier::policy::Timestamp;
use classifier::tables::Tables;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Say what the policy makes of one new flow, and why: the verdict, each tier's walk, and for a deny the nearest
/// allow. Exit status 0 for allow, 1 for deny or reject, 2 for an error.
#[derive(clap::Args, Debug)]
pub(super) struct WhyCommand {
    /// The gateway file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Who opens the flow. Left out, the VLAN is that of the longest network or route that holds the address.
    #[arg(long, value_name = "ADDRESS[@VLAN]")]
    from: String,
    /// Who is asked. Left out, the VLAN is the one that routing selects.
    #[arg(long, value_name = "ADDRESS[@VLAN]")]
    to: String,
    /// One packet: tcp/443, icmp/echo-request, proto/47, or the name of a service that means one.
    #[arg(long, value_name = "SERVICE")]
    service: String,
    /// The source port; left out, a dynamic one.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    source_port: Option<u16>,
    /// When, as 2027-01-31T00:00:00Z: rules that have expired by then are left out. Left out: now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// How to write the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Ok(Timestamp(moment.as_nanosecond())),
        Err(_) => Err("write date, time and offset, as in 2027-01-31T00:00:00Z".to_owned()),
    }
}

impl WhyCommand {
    pub(super) fn run(self) -> Outcome {
        let Some(checked) = super::load_with_tables(&self.config) else { return Outcome::Failure };
        match self.answer(checked) {
            Ok(answer) => self.print(&answer),
            Err(message) => {
                tell!("error: {message}");
                Outcome::Failure
            }
        }
    }

    fn answer(&self, checked: Checked) -> Result<Answer, String> {
        let Checked { configuration, tables } = checked;
        let question = Question::read(&configuration, &self.from, &self.to, &self.service, self.source_port)?;
        // The tests hold now; the question may be about another moment.
        let tables = match self.at {
            None => tables,
            Some(at) => {
                Tables::compile(Arc::clone(&configuration.policy), at).map_err(|error| error.to_string())?
            }
        };
        why(&configuration, &tables, &question).map_err(|error| error.to_string())
    }

    fn print(&self, answer: &Answer) -> Outcome {
        let text = match self.output {
            Output::Text => answer.render(Style::for_stdout()),
            Output::Json => {
                let json = serde_json::to_string_pretty(answer).expect("a tree of strings and numbers");
                format!("{json}\n")
            }
        };
        // A reader that has gone away is no fault of the policy.
        let _ = std::io::stdout().write_all(text.as_bytes());
        if answer.verdict == "allow" { Outcome::Success } else { Outcome::Negative }
    }
}
