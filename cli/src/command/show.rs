//! `bulkhead show`: what a running gateway knows and counts.

use super::Outcome;
use super::table::{self, Column, Form};
use crate::control::{Client, FlowFilter, Request, Show as What};
use serde_json::Value;
use std::path::PathBuf;

/// Show what a running gateway knows and counts.
#[derive(clap::Args, Debug)]
pub(super) struct Show {
    #[command(subcommand)]
    what: Subject,
    #[command(flatten)]
    at: At,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Form::Table, global = true)]
    output: Form,
}

/// Which gateway is meant.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct At {
    /// The gateway's control socket.
    #[arg(long, value_name = "PATH", default_value = crate::control::SOCKET, global = true)]
    pub(super) socket: PathBuf,
}

/// What is shown.
#[derive(clap::Subcommand, Debug)]
enum Subject {
    /// How the gateway does.
    Status,
    /// The ports: interface, link, AF_XDP mode, what the kernel has dropped.
    Ports,
    /// The VLANs and their addresses.
    Vlans,
    /// The segments and their members.
    Segments,
    /// The rules, how often each has decided, and when first and last.
    Rules,
    /// The flows in the tables.
    Flows {
        #[command(flatten)]
        filter: FlowFilter,
        /// Show so many at most.
        #[arg(long, value_name = "COUNT")]
        limit: Option<u64>,
    },
    /// Neighbors and stations.
    Neighbors,
    /// Everything that is counted.
    Counters,
    /// Dropped frames by reason.
    Drops,
    /// The workers.
    Workers,
    /// The files of the configuration in force.
    Config,
}

/// A column: its heading, the key of its value, whether only `-o wide` has it.
const fn narrow(heading: &'static str, key: &'static str) -> Column {
    Column { heading, key, is_wide: false }
}

const fn wide(heading: &'static str, key: &'static str) -> Column {
    Column { heading, key, is_wide: true }
}

const PORTS: &[Column] = &[
    narrow("PORT", "name"),
    narrow("INTERFACE", "interface"),
    narrow("LINK", "link"),
    narrow("XDP", "xdp"),
    narrow("QUEUES", "queues"),
    narrow("MTU", "mtu"),
    narrow("MAC", "mac"),
    wide("RX DROPPED", "kernel.rx_dropped"),
    wide("RX RING FULL", "kernel.rx_ring_full"),
    wide("FILL EMPTY", "kernel.fill_ring_empty"),
    wide("UNSERVED", "kernel.unserved_queue"),
    wide("SWITCHED OFF", "offloads_switched_off"),
];
const VLANS: &[Column] = &[
    narrow("VLAN", "vlan"),
    narrow("NAME", "name"),
    narrow("ROLE", "role"),
    narrow("ADDRESSES", "addresses"),
    narrow("STITCH", "stitch"),
    narrow("SPOOF GUARD", "spoof_guard"),
    wide("MAC", "mac"),
];
const SEGMENTS: &[Column] = &[
    narrow("SEGMENT", "name"),
    narrow("MODE", "mode"),
    narrow("MEMBERS", "members"),
    wide("EXCEPT", "except"),
];
const RULES: &[Column] = &[
    narrow("RULE", "id"),
    narrow("TIER", "tier"),
    narrow("ACTION", "action"),
    narrow("HITS", "hits"),
    narrow("LAST HIT", "last_hit"),
    wide("FLOWS", "flows"),
    wide("DROPS", "drops"),
    wide("FIRST HIT", "first_hit"),
    wide("MODE", "mode"),
    wide("EXPIRED", "expired"),
];
pub(super) const FLOWS: &[Column] = &[
    narrow("PROTO", "protocol"),
    narrow("SOURCE", "source"),
    narrow("PORT", "source_port"),
    narrow("DESTINATION", "destination"),
    narrow("PORT", "destination_port"),
    narrow("STATE", "state"),
    narrow("RULE", "rule"),
    wide("FROM VLAN", "from_vlan"),
    wide("TO VLAN", "to_vlan"),
    wide("AGE s", "age_s"),
    wide("ENDS IN s", "expires_in_s"),
    wide("WORKER", "worker"),
];
const NEIGHBORS: &[Column] = &[
    narrow("VLAN", "vlan"),
    narrow("ADDRESS", "address"),
    narrow("MAC", "mac"),
    narrow("STATE", "state"),
    wide("WORKER", "worker"),
];
const DROPS: &[Column] = &[narrow("REASON", "reason"), narrow("FRAMES", "frames")];
const WORKERS: &[Column] = &[
    narrow("WORKER", "worker"),
    narrow("CORE", "core"),
    narrow("RECEIVED", "received"),
    narrow("FORWARDED", "forwarded"),
    narrow("DROPPED", "dropped"),
    narrow("FLOWS", "flows"),
    narrow("HANDED OVER", "handed_over"),
    wide("FULL", "hand_over_full"),
    wide("FRAMES/BATCH", "frames_per_batch"),
    wide("P50 ns", "within_ns.p50"),
    wide("P99 ns", "within_ns.p99"),
    wide("WAITING", "waiting"),
    wide("GENERATION", "generation"),
];

impl Show {
    pub(super) fn run(self) -> Outcome {
        let show = |what| Request::Show { what };
        let (request, columns) = match self.what {
            Subject::Status => (show(What::Status), None),
            Subject::Counters => (show(What::Counters), None),
            Subject::Config => (show(What::Config), None),
            Subject::Ports => (show(What::Ports), Some(PORTS)),
            Subject::Vlans => (show(What::Vlans), Some(VLANS)),
            Subject::Segments => (show(What::Segments), Some(SEGMENTS)),
            Subject::Rules => (show(What::Rules), Some(RULES)),
            Subject::Neighbors => (show(What::Neighbors), Some(NEIGHBORS)),
            Subject::Drops => (show(What::Drops), Some(DROPS)),
            Subject::Workers => (show(What::Workers), Some(WORKERS)),
            Subject::Flows { filter, limit } => (Request::Flows { filter, limit }, Some(FLOWS)),
        };
        let is_config = request == show(What::Config);
        let mut rows = table::Rows::new(self.output, columns);
        let answer = Client::connect(&self.at.socket)
            .and_then(|mut client| client.ask(request, |item| rows.take(item)));
        match answer {
            Ok(_) if is_config && matches!(self.output, Form::Table | Form::Wide) => {
                for file in rows.values() {
                    answer!("# {}", file["file"].as_str().unwrap_or_default());
                    answer!("{}", file["text"].as_str().unwrap_or_default().trim_end());
                }
                Outcome::Success
            }
            Ok(summary) => {
                rows.finish(&summary);
                if summary["more"] == Value::Bool(true) {
                    tell!("there are more: raise `--limit`, or narrow the filter");
                }
                Outcome::Success
            }
            Err(error) => super::failed(&error),
        }
    }
}
