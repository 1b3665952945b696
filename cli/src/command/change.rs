//! `bulkhead apply`, `confirm`, `rollback`, `history` and `diff`: changes of a running gateway's configuration.

use super::Outcome;
use super::show::At;
use super::table::{Column, Form, Rows};
use crate::config::{Bundle, load_to_send};
use crate::control::{ApplyOptions, Client, ClientError, EstablishedFlows, Request};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Put a gateway file into force on a running gateway.
///
/// It is checked first, and put into force on all workers between two batches, or not at all. Ports, workers and
/// `[conntrack]` can't be changed without a restart.
#[derive(clap::Args, Debug)]
pub(super) struct Apply {
    /// The gateway file.
    file: PathBuf,
    /// Go back unless `bulkhead confirm` comes in time, also after a restart in between: `--confirm=10m`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    confirm: Option<Duration>,
    /// What the history is to say of it.
    #[arg(short, long)]
    message: Option<String>,
    /// What happens to the flows that there are.
    #[arg(long, value_enum, default_value = "recheck")]
    established: EstablishedFlows,
    /// Only tell what it would change, and which live flows it would end.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
    /// How to write the answer.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Keep the change that was applied with `--confirm`.
#[derive(clap::Args, Debug)]
pub(super) struct Confirm {
    /// What the history is to say of it.
    #[arg(short, long)]
    message: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Put an earlier version into force again.
#[derive(clap::Args, Debug)]
pub(super) struct Rollback {
    /// Its number, as `bulkhead history` tells it; left out: the version before this one.
    // Not called `version`, which is what every command has for `--version`.
    number: Option<u64>,
    /// What the history is to say of it.
    #[arg(short, long)]
    message: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Tell who changed what, and when.
#[derive(clap::Args, Debug)]
pub(super) struct History {
    /// Check that no line was changed, taken out or put in since it was written.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    at: At,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// Tell what a file or an earlier version would change of what is in force.
#[derive(clap::Args, Debug)]
pub(super) struct Diff {
    /// A gateway file, or the number of a version; left out: the version before this one.
    what: Option<String>,
    /// The text of the files, as a unified diff.
    #[arg(long)]
    text: bool,
    #[command(flatten)]
    at: At,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

const HISTORY: &[Column] = &[
    Column { heading: "#", key: "number", is_wide: false },
    Column { heading: "TIME", key: "time", is_wide: false },
    Column { heading: "USER", key: "user", is_wide: false },
    Column { heading: "ACTION", key: "action", is_wide: false },
    Column { heading: "VERSION", key: "version", is_wide: false },
    Column { heading: "IN FORCE", key: "current", is_wide: true },
    Column { heading: "KEPT", key: "kept", is_wide: true },
    Column { heading: "MESSAGE", key: "message", is_wide: false },
    Column { heading: "HASH", key: "hash", is_wide: true },
];
const DIFFERENCES: &[Column] = &[
    Column { heading: "WHAT", key: "kind", is_wide: false },
    Column { heading: "NAME", key: "name", is_wide: false },
    Column { heading: "CHANGE", key: "change", is_wide: false },
    Column { heading: "DETAILS", key: "details", is_wide: false },
];

/// A duration as `90`, `2s`, `10m` or `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no time: write seconds, or `90s`, `10m`, `1h30m`, `2d`");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let (mut total, mut number) = (0_u64, None);
    for letter in text.chars() {
        match (letter.to_digit(10), number) {
            (Some(digit), None) => number = Some(u64::from(digit)),
            (Some(digit), Some(so_far)) if so_far < 1 << 40 => number = Some(so_far * 10 + u64::from(digit)),
            (None, Some(count)) => {
                let unit = match letter {
                    's' => 1,
                    'm' => 60,
                    'h' => 3600,
                    'd' => 86_400,
                    _ => return Err(fault()),
                };
                total = u64::checked_add(total, u64::checked_mul(count, unit).ok_or_else(fault)?)
                    .ok_or_else(fault)?;
                number = None;
            }
            (Some(_) | None, _) => return Err(fault()),
        }
    }
    if number.is_some() || text.is_empty() {
        return Err(fault());
    }
    Ok(Duration::from_secs(total))
}

/// Asks, and hands the answer on.
pub(super) fn ask(
    at: &At,
    request: Request,
    rows: Option<&mut Rows>,
    say: impl FnOnce(&Value) -> Outcome,
) -> Outcome {
    let mut unexpected = Rows::new(Form::Json, None);
    let rows = rows.unwrap_or(&mut unexpected);
    let answer =
        Client::connect(&at.socket).and_then(|mut client| client.ask(request, |item| rows.take(item)));
    match answer {
        Ok(answer) => say(&answer),
        Err(error) => super::failed(&error),
    }
}

impl Apply {
    pub(super) fn run(self) -> Outcome {
        let Some(configuration) = super::report(&self.file, load_to_send(&self.file)) else {
            return Outcome::Refused;
        };
        let bundle = Bundle::of(configuration.sources());
        let options = ApplyOptions {
            confirm_s: self.confirm.map(|time| time.as_secs_f64()),
            message: self.message,
            established: self.established,
            dry_run: self.dry_run,
        };
        if self.dry_run {
            return look_ahead(&self.at, Request::Apply { bundle, options }, self.output, false);
        }
        ask(&self.at, Request::Apply { bundle, options }, None, |answer| {
            match self.output {
                Form::Json | Form::Jsonl => answer!("{answer}"),
                Form::Table | Form::Wide => {
                    let version = &answer["version"];
                    match version {
                        Value::Null => answer!("in force"),
                        _ => answer!("version {version} is in force"),
                    }
                    if let Some(until) = answer["confirm_until"].as_str() {
                        answer!("it goes back at {until}, unless `bulkhead confirm` comes before");
                    }
                }
            }
            Outcome::Success
        })
    }
}

impl Confirm {
    pub(super) fn run(self) -> Outcome {
        ask(&self.at, Request::Confirm { message: self.message }, None, |answer| {
            answer!("version {} stays in force", answer["version"]);
            Outcome::Success
        })
    }
}

impl Rollback {
    pub(super) fn run(self) -> Outcome {
        let request = Request::Rollback { version: self.number, message: self.message };
        ask(&self.at, request, None, |answer| {
            answer!("version {} is in force", answer["version"]);
            Outcome::Success
        })
    }
}

impl History {
    pub(super) fn run(self) -> Outcome {
        let mut rows = Rows::new(self.output, Some(HISTORY));
        let mut pending = None;
        let outcome = ask(&self.at, Request::History { verify: self.verify }, Some(&mut rows), |answer| {
            if self.verify {
                answer!("{} lines, none of them changed", answer["lines"]);
            }
            pending = answer["pending"]["until"].as_str().map(str::to_owned);
            Outcome::Success
        });
        if outcome == Outcome::Success && !self.verify {
            rows.finish(&Value::Null);
            if let Some(until) = pending {
                tell!("what is in force goes back at {until}, unless `bulkhead confirm` comes before");
            }
        }
        outcome
    }
}

impl Diff {
    pub(super) fn run(self) -> Outcome {
        let request = match self.what.as_deref().map(|what| (what, what.parse::<u64>())) {
            None => Request::Diff { bundle: None, version: None },
            Some((_, Ok(version))) => Request::Diff { bundle: None, version: Some(version) },
            Some((file, Err(_))) => {
                let file = PathBuf::from(file);
                let Some(configuration) = super::report(&file, load_to_send(&file)) else {
                    return Outcome::Failure;
                };
                Request::Diff { bundle: Some(Bundle::of(configuration.sources())), version: None }
            }
        };
        look_ahead(&self.at, request, self.output, self.text)
    }
}

/// Tells what a change would come to.
fn look_ahead(at: &At, request: Request, form: Form, text: bool) -> Outcome {
    let mut rows = Rows::new(form, Some(DIFFERENCES));
    let answer: Result<Value, ClientError> =
        Client::connect(&at.socket).and_then(|mut client| client.ask(request, |item| rows.take(item)));
    let summary = match answer {
        Ok(summary) => summary,
        Err(error) => return super::failed(&error),
    };
    let is_for_people = matches!(form, Form::Table | Form::Wide);
    if text && is_for_people {
        answer!("{}", summary["text"].as_str().unwrap_or_default().trim_end());
        return Outcome::Success;
    }
    if is_for_people && rows.values().is_empty() {
        answer!("nothing of the policy or the network differs");
    } else {
        rows.finish(&summary);
    }
    if is_for_people {
        answer!("live flows that it would end: {} of {}", summary["flows_ended"], summary["live_flows"]);
        if let Some(what) = summary["needs_restart"].as_str() {
            answer!("it can't be applied: {what}");
        }
    }
    Outcome::Success
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let seconds = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("2s"), Ok(2));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("2d"), Ok(172_800));
        for wrong in ["", "m", "10x", "1h30", "-1", "99999999999999999999s", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
