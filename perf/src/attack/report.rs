//! What a flood did, for people and for programs.

use super::Attack;
use super::clients::Clients;
use crate::EngineArguments;
use crate::report::{Fate, Machine};
use clap::ValueEnum;
use conntrack::Tracker;
use dataplane::counters::Counters;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What a client may wait.
const PATIENCE: Duration = Duration::from_secs(3);

/// All that was counted.
pub(super) struct Findings<'a> {
    pub(super) arguments: &'a EngineArguments,
    pub(super) kind: Attack,
    pub(super) mpps: f64,
    pub(super) sent: u64,
    pub(super) forwarded: u64,
    pub(super) steady: u64,
    pub(super) goodput: u64,
    pub(super) lost: u64,
    pub(super) clients: &'a Clients<'a>,
    pub(super) busy: Duration,
    pub(super) share_of_core: Option<f64>,
    pub(super) before: &'a Counters,
    pub(super) after: &'a Counters,
    pub(super) tracker: &'a Tracker,
}

/// The result of `engine --attack`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Which attack.
    attack: String,
    /// Its rate by the simulated clock, in millions of packets a second.
    attack_mpps: f64,
    /// How long clients kept coming, by the simulated clock.
    seconds: u64,
    /// Frames of the attack, and how many of them were forwarded.
    attack_frames: u64,
    attack_forwarded: u64,
    /// Established connections, and how many did not live through it.
    established: u32,
    established_lost: u64,
    /// Their frames, and the part of them that was not forwarded.
    goodput_frames: u64,
    goodput_loss: f64,
    /// Connections that began meanwhile, and the part that was through within three seconds.
    clients: usize,
    through_within_3s: f64,
    /// The part that was through within half a second: on the first SYN.
    through_at_once: f64,
    /// How long half of those took that were through, in milliseconds.
    median_ms: Option<f64>,
    /// Millions of packets a second that the engine took, by the wall clock, all frames together.
    engine_mpps: f64,
    ns_per_packet: f64,
    /// The part of the time in which the kernel let it run, and an estimate of what a core of its own would do.
    share_of_core: Option<f64>,
    mpps_on_core: Option<f64>,
    /// Flows that the table may hold, and what it did to hold its own.
    max_flows: usize,
    peak_flows: u64,
    filtered: u64,
    evicted_half_open: u64,
    refused_full: u64,
    refused_by_share: u64,
    floods: u64,
    /// Drops by reason.
    reasons: BTreeMap<&'static str, u64>,
    rules: u32,
    seed: u64,
    machine: Machine,
}

impl Report {
    pub(super) fn new(found: Findings<'_>) -> Report {
        let Findings { arguments, clients, tracker, busy, before, after, .. } = found;
        let statistics = tracker.statistics();
        let frames = (after.received - before.received) as f64;
        let share = |count: usize| count as f64 / clients.count() as f64;
        let name = found.kind.to_possible_value().map(|value| value.get_name().to_owned());
        Report {
            attack: name.unwrap_or_default(),
            attack_mpps: found.mpps,
            seconds: arguments.seconds,
            attack_frames: found.sent,
            attack_forwarded: found.forwarded,
            established: arguments.flows,
            established_lost: found.lost,
            goodput_frames: found.steady,
            goodput_loss: 1.0 - found.goodput as f64 / found.steady as f64,
            clients: clients.count(),
            through_within_3s: share(clients.through_within(PATIENCE)),
            through_at_once: share(clients.through_within(Duration::from_millis(500))),
            median_ms: clients.median().map(|time| time.as_secs_f64() * 1e3),
            engine_mpps: frames / busy.as_secs_f64() / 1e6,
            share_of_core: found.share_of_core,
            mpps_on_core: found.share_of_core.map(|share| frames / busy.as_secs_f64() / 1e6 / share),
            ns_per_packet: busy.as_secs_f64() * 1e9 / frames,
            max_flows: tracker.capacity(),
            peak_flows: statistics.peak,
            filtered: statistics.flood_filtered,
            evicted_half_open: statistics.evicted_half_open,
            refused_full: statistics.table_full,
            refused_by_share: statistics.source_limited
                + statistics.destination_limited
                + statistics.segment_limited,
            floods: statistics.floods,
            reasons: Fate::reasons(before, after),
            rules: arguments.rules,
            seed: arguments.seed,
            machine: Machine::this(),
        }
    }

    pub(crate) fn json(&self) -> String {
        crate::report::json(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} flood of {} Mpps for {} s: {} of {} established connections lost, {:.3} % of their frames",
            self.attack,
            self.attack_mpps,
            self.seconds,
            self.established_lost,
            self.established,
            self.goodput_loss * 100.0
        )?;
        writeln!(
            f,
            "  new connections: {:.2} % of {} through within 3 s, {:.2} % at once; half of them in {:.0} ms",
            self.through_within_3s * 100.0,
            self.clients,
            self.through_at_once * 100.0,
            self.median_ms.unwrap_or(f64::NAN)
        )?;
        writeln!(
            f,
            "  the engine took {:.3} Mpps, {:.1} ns a packet ({:.3} Mpps on a core of its own); {} of {} frames of the \
             attack were forwarded",
            self.engine_mpps,
            self.ns_per_packet,
            self.mpps_on_core.unwrap_or(f64::NAN),
            self.attack_forwarded,
            self.attack_frames
        )?;
        writeln!(
            f,
            "  table: at most {} of {} flows, {} SYNs filtered, {} half-open flows evicted, {} openings refused for \
             want of room and {} by share, {} floods",
            self.peak_flows,
            self.max_flows,
            self.filtered,
            self.evicted_half_open,
            self.refused_full,
            self.refused_by_share,
            self.floods
        )?;
        writeln!(f, "  drops {:?}", self.reasons)?;
        write!(f, "  {}", self.machine)
    }
}
