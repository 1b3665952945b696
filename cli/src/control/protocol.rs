//! The lines that travel on the control socket.

use crate::change::Deed;
use crate::config::Bundle;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The version of the protocol. It grows with every change that an older client or server would misread.
pub const PROTOCOL: u32 = 1;

/// The server's first line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the program.
    pub bulkhead: String,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// `[gateway] name`.
    pub gateway: String,
}

/// A line of the client's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// What is asked.
    pub request: Request,
}

/// What can be asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is there.
    Show {
        /// Of what.
        what: Show,
    },
    /// The flows in the tables.
    Flows {
        /// Which.
        #[serde(default)]
        filter: FlowFilter,
        /// How many at most.
        #[serde(default)]
        limit: Option<u64>,
    },
    /// Flows that begin and frames that are dropped.
    Observe {
        /// Which.
        #[serde(default)]
        filter: EventFilter,
        /// Go on with those to come, until the client goes away.
        #[serde(default)]
        follow: bool,
        /// Of those that are kept: from this moment on, RFC 3339.
        #[serde(default)]
        since: Option<String>,
        /// Of those that are kept: the last so many. With `follow`, none are told unless this or `since` says so.
        #[serde(default)]
        last: Option<u64>,
    },
    /// Frames as they come in, with what becomes of them, until the client goes away.
    Capture {
        /// Which.
        #[serde(default)]
        filter: EventFilter,
        /// How many, and how much of each.
        #[serde(default)]
        options: CaptureOptions,
    },
    /// Puts a configuration into force.
    Apply {
        /// Its files.
        bundle: Bundle,
        /// How.
        #[serde(default)]
        options: ApplyOptions,
    },
    /// Confirms what was applied with a time to confirm it in.
    Confirm {
        /// What the user says of it.
        #[serde(default)]
        message: Option<String>,
    },
    /// Puts an earlier version into force.
    Rollback {
        /// Which; left out: the one before, or behind what is not confirmed.
        #[serde(default)]
        version: Option<u64>,
        /// What the user says of it.
        #[serde(default)]
        message: Option<String>,
    },
    /// What files, or a version, would change of what is in force.
    Diff {
        /// The files.
        #[serde(default)]
        bundle: Option<Bundle>,
        /// The version; left out, as the files: the one before.
        #[serde(default)]
        version: Option<u64>,
    },
    /// Does something beside the files.
    Act {
        /// What.
        deed: Deed,
        /// For how many seconds; left out: for good.
        #[serde(default)]
        for_s: Option<f64>,
    },
    /// Ends what was done about the same.
    Undo {
        /// What: that it is about the same counts.
        deed: Deed,
    },
    /// What is in force beside the files.
    Acts,
    /// The segments of an address.
    SegmentsOf {
        /// `ADDRESS` or `ADDRESS@VLAN`.
        address: String,
    },
    /// How many flows there are.
    CountFlows {
        /// Which.
        #[serde(default)]
        filter: FlowFilter,
    },
    /// Ends flows.
    KillFlows {
        /// Which.
        filter: FlowFilter,
    },
    /// Who changed what, and when.
    History {
        /// Check that nothing was changed in it, instead of telling it.
        #[serde(default)]
        verify: bool,
    },
}

/// How much is captured.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureOptions {
    /// Only what is dropped or rejected.
    pub drops: bool,
    /// The answer ends after so many frames.
    pub count: Option<u64>,
    /// The answer ends after so many seconds.
    pub for_s: Option<f64>,
    /// Bytes of each frame that are told.
    pub snaplen: Option<u64>,
}

/// How a configuration is put into force.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplyOptions {
    /// Seconds after which it goes back, unless it is confirmed.
    pub confirm_s: Option<f64>,
    /// What the user says of it.
    pub message: Option<String>,
    /// What happens to the flows that there are.
    pub established: EstablishedFlows,
    /// Only tell what it would change.
    pub dry_run: bool,
}

/// What a change does to the flows that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EstablishedFlows {
    /// They are judged again at their next packet.
    #[default]
    Recheck,
    /// They live on.
    Keep,
    /// They end.
    Flush,
}

/// What can be shown, but for flows, which take a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// How the gateway does, in one line.
    Status,
    /// The ports: interface, mode, what the kernel counts.
    Ports,
    /// The VLANs and their addresses.
    Vlans,
    /// The segments and their members.
    Segments,
    /// The rules, and how often each has decided.
    Rules,
    /// Neighbors and stations.
    Neighbors,
    /// Everything that is counted.
    Counters,
    /// Drops by reason.
    Drops,
    /// The workers.
    Workers,
    /// The files of the configuration in force.
    Config,
}

/// Which flows are meant: those that fit everything that is said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct FlowFilter {
    /// The opener: an address, a prefix, or the name of a segment.
    #[arg(long, value_name = "WHO")]
    pub from: Option<String>,
    /// The other end, as `--from`.
    #[arg(long, value_name = "WHO")]
    pub to: Option<String>,
    /// One end or the other, as `--from`.
    #[arg(long, value_name = "WHO")]
    pub with: Option<String>,
    /// A service, as a rule writes it: `tcp/443`, or the name of one.
    #[arg(long)]
    pub service: Option<String>,
    /// The id of the rule that let it in; `default`: none did.
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// A state, as `show flows` writes it.
    #[arg(long)]
    pub state: Option<String>,
}

/// Which events are meant: those that fit everything that is said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct EventFilter {
    /// The source: an address, a prefix, or the name of a segment.
    #[arg(long, value_name = "WHO")]
    pub from: Option<String>,
    /// The destination, as `--from`.
    #[arg(long, value_name = "WHO")]
    pub to: Option<String>,
    /// A service, as a rule writes it: `tcp/443`, or the name of one.
    #[arg(long)]
    pub service: Option<String>,
    /// What became of it.
    #[arg(long, value_enum)]
    pub verdict: Option<EventVerdict>,
    /// Why it was dropped, as `show drops` writes it.
    #[arg(long)]
    pub reason: Option<String>,
    /// The id of the rule that decided; `default`: none did.
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
}

/// What became of a frame that there is an event of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EventVerdict {
    /// A flow began.
    Forward,
    /// It was dropped.
    Drop,
    /// It was dropped, and its sender told so.
    Reject,
}

impl EventVerdict {
    /// The word on the event's line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EventVerdict::Forward => "forward",
            EventVerdict::Drop => "drop",
            EventVerdict::Reject => "reject",
        }
    }
}

/// A line of the server's, behind its [`Hello`]: any number of items and losses, then one `ok` or `error`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// One of many.
    Item(Value),
    /// So many items were lost here.
    Lost(u64),
    /// The end, and the answer.
    Ok(Value),
    /// The end, and why there is no answer.
    Error(Failure),
}

/// Why something was not done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of it.
    pub code: FailureCode,
    /// For people: what is wrong, where, and what to do.
    pub message: String,
    /// For programs, where there is more to say.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Failure {
    /// A failure with a message and nothing more.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), details: Value::Null }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The kind of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The answer is no: there is no such thing.
    No,
    /// The request can't be understood.
    Usage,
    /// The request is understood, and is not carried out; nothing has changed.
    Refused,
    /// The user may not ask for that.
    NotPermitted,
    /// The gateway has too much to do; it may be asked again.
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_the_documentation_says() {
        let line = r#"{"protocol":1,"request":{"command":"show","what":"drops"}}"#;
        let envelope: Envelope = serde_json::from_str(line).unwrap();
        assert_eq!(envelope.request, Request::Show { what: Show::Drops });
        assert_eq!(serde_json::to_string(&envelope).unwrap(), line);
        let line = r#"{"protocol":1,"request":{"command":"flows","filter":{"from":"web"}}}"#;
        let envelope: Envelope = serde_json::from_str(line).unwrap();
        let filter = FlowFilter { from: Some("web".to_owned()), ..FlowFilter::default() };
        assert_eq!(envelope.request, Request::Flows { filter, limit: None });
        let failure = Failure::new(FailureCode::NotPermitted, "no");
        let line = serde_json::to_string(&Reply::Error(failure)).unwrap();
        assert_eq!(line, r#"{"error":{"code":"not-permitted","message":"no"}}"#);
        assert_eq!(serde_json::to_string(&Reply::Lost(3)).unwrap(), r#"{"lost":3}"#);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            r#"{"protocol":1,"request":{"command":"show","what":"everything"}}"#,
            r#"{"protocol":1,"request":{"command":"flows","filter":{"form":"web"}}}"#,
            r#"{"protocol":1,"request":{"command":"explode"}}"#,
            r#"{"request":{"command":"show","what":"drops"}}"#,
        ] {
            assert!(serde_json::from_str::<Envelope>(line).is_err(), "{line}");
        }
    }
}
