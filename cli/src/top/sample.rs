//! What the gateway tells when it is asked: `show status`, `show workers`, `show drops`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A worker, since its start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Worker {
    /// The core that it is pinned to.
    pub core: Option<u64>,
    /// Frames taken from ports.
    pub received: u64,
    /// Frames that went on their way.
    pub forwarded: u64,
    /// Frames dropped or rejected.
    pub dropped: u64,
    /// Flows that it has let in.
    pub opened: u64,
    /// Flows in its table.
    pub flows: u64,
    /// Nanoseconds of turns that had frames.
    pub busy: u64,
    /// Frames by the nanoseconds that their turns took.
    pub turns: BTreeMap<u64, u64>,
}

/// Everything at a moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sample {
    /// When, since the first.
    pub at: Duration,
    /// The gateway's name.
    pub name: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// The number of the generation in force.
    pub generation: u64,
    /// How long it has been at work.
    pub uptime: Duration,
    /// Flows that fit into the tables.
    pub max_flows: u64,
    /// Events that were lost.
    pub events_lost: u64,
    /// The workers.
    pub workers: Vec<Worker>,
    /// Drops by reason.
    pub drops: BTreeMap<String, u64>,
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or(0)
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

impl Sample {
    /// Out of the answers to `status`, `workers` and `drops`.
    #[must_use]
    pub fn new(at: Duration, status: &Value, workers: &[Value], drops: &[Value]) -> Sample {
        Sample {
            at,
            name: word(status, "name"),
            mode: word(status, "mode"),
            generation: number(status, "generation"),
            uptime: Duration::from_secs(number(status, "uptime_s")),
            max_flows: number(status, "max_flows"),
            events_lost: number(status, "events_lost"),
            workers: workers.iter().map(Worker::new).collect(),
            drops: drops.iter().map(|drop| (word(drop, "reason"), number(drop, "frames"))).collect(),
        }
    }
}

impl Worker {
    fn new(value: &Value) -> Worker {
        let turns = value["turns"].as_array().into_iter().flatten();
        Worker {
            core: value["core"].as_u64(),
            received: number(value, "received"),
            forwarded: number(value, "forwarded"),
            dropped: number(value, "dropped"),
            opened: number(value, "flows_opened"),
            flows: number(value, "flows"),
            busy: number(value, "busy_ns"),
            turns: turns.filter_map(|turn| Some((turn[0].as_u64()?, turn[1].as_u64()?))).collect(),
        }
    }

    /// What has happened since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Worker) -> Worker {
        let turn = |(nanoseconds, frames): (&u64, &u64)| {
            let before = earlier.turns.get(nanoseconds).copied().unwrap_or(0);
            (*nanoseconds, frames.saturating_sub(before))
        };
        Worker {
            core: self.core,
            received: self.received.saturating_sub(earlier.received),
            forwarded: self.forwarded.saturating_sub(earlier.forwarded),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            opened: self.opened.saturating_sub(earlier.opened),
            flows: self.flows,
            busy: self.busy.saturating_sub(earlier.busy),
            turns: self.turns.iter().map(turn).filter(|(_, frames)| *frames > 0).collect(),
        }
    }

    /// The time within which a share of its frames was handed on, 0 to 1.
    #[must_use]
    pub fn within(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.turns.values().sum();
        let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all.max(1));
        let mut seen = 0;
        let found = self.turns.iter().find(|(_, frames)| {
            seen += **frames;
            seen >= wanted
        });
        found.map(|(nanoseconds, _)| Duration::from_nanos(*nanoseconds))
    }
}
