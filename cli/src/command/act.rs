//! `bulkhead segment`, `quarantine`, `release`, `mode` and `flow`: what operators do to a running gateway beside its
//! files.

use super::Outcome;
use super::change::{ask, duration};
use super::show::{At, FLOWS};
use super::table::{Column, Form, Rows};
use crate::change::Deed;
use crate::control::{FlowFilter, Request};
use serde_json::Value;
use std::time::Duration;

/// Put addresses into a segment or take them out, and tell the segments of an address.
///
/// What is done here lies over the files, and over those that are applied later, until it is released or its time is
/// over.
#[derive(clap::Args, Debug)]
pub(super) struct Segment {
    #[command(subcommand)]
    what: OnSegment,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Subcommand, Debug)]
enum OnSegment {
    /// These addresses are in the segment.
    Add(Membership),
    /// These addresses are not in the segment.
    Remove(Membership),
    /// As the files say again.
    Release(Membership),
    /// The segments that an address is in.
    Of {
        /// The address, or `ADDRESS@VLAN`.
        address: String,
    },
    /// All that is in force beside the files.
    List {
        /// How to write it.
        #[arg(short, long, value_enum, default_value_t = Form::Table)]
        output: Form,
    },
}

#[derive(clap::Args, Debug)]
struct Membership {
    /// The segment.
    segment: String,
    /// An address, a prefix, or FIRST-LAST.
    address: String,
    /// How long: `2h`; left out, for good.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
}

/// Let nothing go to or come from these addresses, and end their flows at once.
#[derive(clap::Args, Debug)]
pub(super) struct Quarantine {
    /// An address, a prefix, or FIRST-LAST.
    address: String,
    /// How long: `1h`; left out, until `bulkhead release`.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
    #[command(flatten)]
    at: At,
}

/// End a quarantine.
#[derive(clap::Args, Debug)]
pub(super) struct Release {
    /// As it was written to `bulkhead quarantine`.
    address: String,
    #[command(flatten)]
    at: At,
}

/// Set the mode of a segment: whether the default verdict is enforced towards it, or only recorded.
#[derive(clap::Args, Debug)]
pub(super) struct Mode {
    /// The segment.
    segment: String,
    /// The mode; `file`: as the files say.
    mode: ModeName,
    /// How long: `1h`; left out, for good.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum ModeName {
    Enforce,
    Monitor,
    File,
}

/// List, count or end live flows.
#[derive(clap::Args, Debug)]
pub(super) struct Flow {
    #[command(subcommand)]
    what: OnFlows,
    #[command(flatten)]
    at: At,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Form::Table, global = true)]
    output: Form,
}

#[derive(clap::Subcommand, Debug)]
enum OnFlows {
    /// Those that fit.
    List(FlowFilter),
    /// How many fit.
    Count(FlowFilter),
    /// End those that fit; at least one condition must be given. Their next packets are judged as any others.
    Kill(FlowFilter),
}

const ACTS: &[Column] = &[
    Column { heading: "WHAT", key: "what", is_wide: false },
    Column { heading: "SINCE", key: "since", is_wide: false },
    Column { heading: "UNTIL", key: "until", is_wide: false },
    Column { heading: "BY", key: "user", is_wide: false },
];

fn act(at: &At, deed: Deed, lasts: Option<Duration>) -> Outcome {
    let text = deed.to_string();
    let for_s = lasts.map(|lasts| lasts.as_secs_f64());
    ask(at, Request::Act { deed, for_s }, None, |answer| {
        match answer["until"].as_str() {
            Some(until) => answer!("{text} until {until}"),
            None => answer!("{text}"),
        }
        if let Some(ended) = answer["flows_ended"].as_u64() {
            answer!("flows ended: {ended}");
        }
        Outcome::Success
    })
}

fn undo(at: &At, deed: Deed) -> Outcome {
    ask(at, Request::Undo { deed }, None, |answer| {
        answer!("no more: {}", answer["ended"].as_str().unwrap_or_default());
        Outcome::Success
    })
}

impl Segment {
    pub(super) fn run(self) -> Outcome {
        let deed = |m: &Membership, is_in| Deed::Member {
            segment: m.segment.clone(),
            address: m.address.clone(),
            is_in,
        };
        match self.what {
            OnSegment::Add(m) => act(&self.at, deed(&m, true), m.lasts),
            OnSegment::Remove(m) => act(&self.at, deed(&m, false), m.lasts),
            OnSegment::Release(m) => undo(&self.at, deed(&m, true)),
            OnSegment::Of { address } => ask(&self.at, Request::SegmentsOf { address }, None, |answer| {
                let names = answer["segments"].as_array().into_iter().flatten();
                let names: Vec<&str> = names.filter_map(Value::as_str).collect();
                answer!("{}", if names.is_empty() { "none".to_owned() } else { names.join("\n") });
                if names.is_empty() { Outcome::Negative } else { Outcome::Success }
            }),
            OnSegment::List { output } => {
                let mut rows = Rows::new(output, Some(ACTS));
                let outcome = ask(&self.at, Request::Acts, Some(&mut rows), |_| Outcome::Success);
                if outcome == Outcome::Success {
                    rows.finish(&Value::Null);
                }
                outcome
            }
        }
    }
}

impl Quarantine {
    pub(super) fn run(self) -> Outcome {
        act(&self.at, Deed::Quarantine { address: self.address }, self.lasts)
    }
}

impl Release {
    pub(super) fn run(self) -> Outcome {
        undo(&self.at, Deed::Quarantine { address: self.address })
    }
}

impl Mode {
    pub(super) fn run(self) -> Outcome {
        let deed = Deed::Mode { segment: self.segment, is_monitored: self.mode == ModeName::Monitor };
        match self.mode {
            ModeName::File => undo(&self.at, deed),
            ModeName::Enforce | ModeName::Monitor => act(&self.at, deed, self.lasts),
        }
    }
}

impl Flow {
    pub(super) fn run(self) -> Outcome {
        match self.what {
            OnFlows::List(filter) => {
                let mut rows = Rows::new(self.output, Some(FLOWS));
                let request = Request::Flows { filter, limit: None };
                let mut summary = Value::Null;
                let outcome = ask(&self.at, request, Some(&mut rows), |answer| {
                    summary = answer.clone();
                    Outcome::Success
                });
                if outcome == Outcome::Success {
                    rows.finish(&summary);
                }
                outcome
            }
            OnFlows::Count(filter) => ask(&self.at, Request::CountFlows { filter }, None, |answer| {
                answer!("{}", answer["flows"]);
                Outcome::Success
            }),
            OnFlows::Kill(filter) if filter == FlowFilter::default() => {
                tell!(
                    "error: say which flows: `--from`, `--to`, `--with`, `--service`, `--rule` or `--state`"
                );
                Outcome::Failure
            }
            OnFlows::Kill(filter) => ask(&self.at, Request::KillFlows { filter }, None, |answer| {
                answer!("flows ended: {}", answer["ended"]);
                Outcome::Success
            }),
        }
    }
}
