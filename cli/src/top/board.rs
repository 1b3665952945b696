//! What two looks and the events between them come to.

use super::sample::{Sample, Worker};
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Names that are counted. Where there are more, those that were seen least make room.
const NAMES: usize = 4096;

/// How often something was seen, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally(HashMap<String, u64>);

impl Tally {
    /// Counts one.
    pub fn add(&mut self, name: String) {
        *self.0.entry(name).or_default() += 1;
        if self.0.len() > NAMES {
            let mut counts: Vec<u64> = self.0.values().copied().collect();
            let (_, middle, _) = counts.select_nth_unstable(NAMES / 2);
            let middle = *middle;
            self.0.retain(|_, count| *count > middle);
        }
    }

    /// The most frequent, first.
    #[must_use]
    pub fn most(&self, count: usize) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.0.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(count);
        all
    }
}

/// What is shown.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Board {
    before: Option<Sample>,
    now: Sample,
    /// New flows by the rule that let them in, since the start or [`Board::reset`].
    pub rules: Tally,
    /// Drops by the rule that decided.
    pub denying: Tally,
    /// Drops by who wanted what of whom.
    pub pairs: Tally,
    /// Drops that were not told one by one.
    pub suppressed: u64,
    /// Events that did not come here in time.
    pub lost: u64,
    /// Whether it is held still.
    pub is_paused: bool,
}

/// The word for what no rule decided.
const DEFAULT: &str = "(default)";

impl Board {
    /// Takes a look at the gateway.
    pub fn look(&mut self, sample: Sample) {
        let before = std::mem::replace(&mut self.now, sample);
        self.before = (!before.workers.is_empty()).then_some(before);
    }

    /// Takes an event as `observe` tells it; a loss comes as `Err`.
    pub fn hear(&mut self, item: &Result<Value, u64>) {
        let event = match item {
            Ok(event) => event,
            Err(lost) => {
                self.lost += lost;
                return;
            }
        };
        if let Some(count) = event["suppressed"].as_u64() {
            self.suppressed += count;
            return;
        }
        let Some(verdict) = event["verdict"].as_str() else { return };
        let rule = event["rule"].as_str().unwrap_or(DEFAULT);
        if verdict == "forward" {
            self.rules.add(rule.to_owned());
            return;
        }
        // Before policy was asked there is no rule to speak of.
        if event["from"].is_array() {
            self.denying.add(rule.to_owned());
        }
        if let (Some(source), Some(destination)) = (event["source"].as_str(), event["destination"].as_str()) {
            self.pairs.add(format!("{source} -> {destination} {}", service(event)));
        }
    }

    /// Forgets rules and pairs.
    pub fn reset(&mut self) {
        (self.rules, self.denying, self.pairs) = Default::default();
        (self.suppressed, self.lost) = (0, 0);
    }

    /// The last look.
    #[must_use]
    pub fn now(&self) -> &Sample {
        &self.now
    }

    /// The time between the last two looks; zero before the second.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.before.as_ref().map_or(Duration::ZERO, |before| self.now.at.saturating_sub(before.at))
    }

    /// What each worker has done between the last two looks.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        let idle = Worker::default();
        let earlier = |index| self.before.as_ref().and_then(|before: &Sample| before.workers.get(index));
        let is_first = self.before.is_none();
        let since = |(index, worker): (usize, &Worker)| {
            let earlier = if is_first { Some(worker) } else { earlier(index) };
            worker.since(earlier.unwrap_or(&idle))
        };
        self.now.workers.iter().enumerate().map(since).collect()
    }

    /// So many in the span, as a number a second.
    #[must_use]
    pub fn rate(&self, count: u64) -> f64 {
        let seconds = self.span().as_secs_f64();
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Drops: reason, since the last look but one, and since the gateway's start; those of now first.
    #[must_use]
    pub fn drops(&self) -> Vec<(&str, u64, u64)> {
        let before = self.before.as_ref().unwrap_or(&self.now);
        let of = |(reason, count): (&'_ String, &u64)| {
            count.saturating_sub(before.drops.get(reason).copied().unwrap_or(0))
        };
        let drops = self.now.drops.iter();
        let mut drops: Vec<_> = drops.map(|drop| (drop.0.as_str(), of(drop), *drop.1)).collect();
        drops.sort_by_key(|(_, now, total)| std::cmp::Reverse((*now, *total)));
        drops
    }
}

fn service(event: &Value) -> String {
    let port = event["destination_port"].as_u64().unwrap_or(0);
    match event["protocol"].as_u64().unwrap_or(0) {
        1 => format!("icmp/{}", port >> 8),
        58 => format!("icmpv6/{}", port >> 8),
        6 => format!("tcp/{port}"),
        17 => format!("udp/{port}"),
        132 => format!("sctp/{port}"),
        other => format!("protocol {other}"),
    }
}
