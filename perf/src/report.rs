//! What a benchmark found, for people and for programs.

use crate::engine::Failure;
use crate::stages::StageCycles;
use classifier::reason::DropReason;
use dataplane::counters::Counters;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// The result of `engine`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// What was measured: `engine`, or `ports` where only the harness ran.
    pub(crate) subject: &'static str,
    /// Millions of packets a second, in and out again.
    pub(crate) mpps: f64,
    /// The part of the time in which the kernel let it run; null where the kernel does not count that.
    pub(crate) share_of_core: Option<f64>,
    /// Millions of packets a second of that part: an estimate of what a core of its own would do.
    pub(crate) mpps_on_core: Option<f64>,
    /// Nanoseconds a packet, all included.
    pub(crate) ns_per_packet: f64,
    /// Ticks of the time-stamp counter a packet, without the port, by stage; null where the processor has no such
    /// counter, or only the ports ran. Not the core's own cycles.
    pub(crate) cycles_per_packet: Option<StageCycles>,
    /// The same with the port, all that there is in a turn.
    pub(crate) cycles_with_port: Option<f64>,
    /// The part of the packets that took the short way of live flows.
    pub(crate) express_share: f64,
    /// Flows that were alive.
    pub(crate) flows: u32,
    /// Rules of the policy.
    pub(crate) rules: u32,
    /// Segments of the policy.
    pub(crate) segments: u32,
    /// Bytes of a frame on the wire, tag and FCS included.
    pub(crate) size: u16,
    /// Whether it was IPv6; then frames are no shorter than their headers.
    pub(crate) v6: bool,
    /// Whether frames were of three sizes instead.
    pub(crate) imix: bool,
    /// `udp` or `tcp`.
    pub(crate) protocol: &'static str,
    /// The seed.
    pub(crate) seed: u64,
    /// The core that it ran on; null where it could not be chosen.
    pub(crate) core: Option<usize>,
    /// The part of the packets that opened a flow while it was measured.
    pub(crate) new_flow_share: f64,
    /// Flows that were opened a second.
    pub(crate) new_flows_per_s: f64,
    /// Packets that came in while it was measured.
    pub(crate) packets: u64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// What became of the packets.
    #[serde(flatten)]
    pub(crate) fate: Fate,
    /// Bytes of the frames that were handed out in turn.
    pub(crate) footprint: usize,
    /// Neighbors whose MAC the topology gives.
    pub(crate) neighbors: usize,
    /// How long a batch took, from the first frame received to the last sent.
    pub(crate) batch: Percentiles,
    /// Where it ran.
    pub(crate) machine: Machine,
}

/// What became of the frames of a stretch of time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fate {
    /// Handed out by the port.
    pub(crate) received: u64,
    /// Counted by the engine as received.
    pub(crate) judged: u64,
    /// Taken back by the port.
    pub(crate) sent: u64,
    /// Dropped by the engine.
    pub(crate) dropped: u64,
    /// Those, by reason.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Taken for the gateway's own business.
    pub(crate) local: u64,
    /// Frames that the gateway made itself.
    pub(crate) answers: u64,
    /// Still waiting for a neighbor at the end.
    pub(crate) waiting: u64,
    /// Whether every frame is under exactly one heading.
    pub(crate) balanced: bool,
}

impl Fate {
    /// Drops between two moments, by reason.
    pub(crate) fn reasons(before: &Counters, after: &Counters) -> BTreeMap<&'static str, u64> {
        let count = |reason: &DropReason| after.dropped[reason.index()] - before.dropped[reason.index()];
        let reasons = DropReason::ALL.iter().map(|reason| (reason.name(), count(reason)));
        reasons.filter(|(_, count)| *count > 0).collect()
    }

    /// Whether every frame that came in went out again, and nothing else did. Where there is `junk` among them, that is
    /// dropped.
    pub(crate) fn check(&self, junk: bool) -> Result<(), Failure> {
        let of_junk = match self.reasons.get(DropReason::UnsupportedEthertype.name()) {
            Some(count) if junk => *count,
            Some(_) | None => 0,
        };
        let is_whole = self.judged == self.received
            && self.sent + of_junk == self.received
            && self.dropped == of_junk
            && self.local + self.answers + self.waiting == 0
            && self.balanced;
        if is_whole { Ok(()) } else { Err(Failure::Lost(Box::new(self.clone()))) }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fate { received, judged, sent, dropped, reasons, local, answers, waiting, balanced } = self;
        write!(
            f,
            "{received} in, {judged} judged, {sent} out, {dropped} dropped {reasons:?}, {local} local, \
             {answers} answers, {waiting} waiting, books {}",
            if *balanced { "balanced" } else { "NOT balanced" }
        )
    }
}

/// A report for programs.
pub(crate) fn json(report: &impl Serialize) -> String {
    serde_json::to_string(report).expect("numbers and strings can always be written")
}

/// The distribution of a time, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    /// Frames of a batch, at most.
    pub(crate) frames: u16,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Percentiles {
    pub(crate) fn of(histogram: &Histogram<u64>, frames: u16) -> Percentiles {
        Percentiles {
            frames,
            p50_ns: histogram.value_at_quantile(0.5),
            p90_ns: histogram.value_at_quantile(0.9),
            p99_ns: histogram.value_at_quantile(0.99),
            p999_ns: histogram.value_at_quantile(0.999),
            max_ns: histogram.max(),
        }
    }
}

/// A machine, as far as a reader of results must know it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's model, as Linux calls it.
    pub(crate) processor: String,
    /// Processors that may be used.
    pub(crate) processors: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, processors, kernel } = self;
        write!(f, "{processor}, {processors} processors, Linux {kernel}")
    }
}

impl Report {
    pub(crate) fn json(&self) -> String {
        json(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.batch;
        write!(f, "{}: {:.3} Mpps, {:.1} ns a packet", self.subject, self.mpps, self.ns_per_packet)?;
        if let Some((share, mpps)) = self.share_of_core.zip(self.mpps_on_core) {
            write!(f, " ({mpps:.3} on {:.0} % of a core)", share * 100.0)?;
        }
        match self.cycles_with_port {
            Some(cycles) => writeln!(f, ", {cycles:.0} ticks of the time-stamp counter")?,
            None => writeln!(f)?,
        }
        if let Some(StageCycles { total, parts }) = &self.cycles_per_packet {
            write!(f, "  without the port {total:.0} ticks:")?;
            for (part, ticks) in parts {
                write!(f, " {part} {ticks:.0}")?;
            }
            writeln!(f, "; {:.1} % by the short way", self.express_share * 100.0)?;
        }
        writeln!(
            f,
            "  {} {} flows, {} rules over {} segments, {} bytes on the wire, seed {}",
            self.flows, self.protocol, self.rules, self.segments, self.size, self.seed
        )?;
        if self.new_flow_share > 0.0 {
            let (share, rate) = (self.new_flow_share * 100.0, self.new_flows_per_s / 1e6);
            writeln!(f, "  {share:.1} % open a flow: {rate:.3} million a second")?;
        }
        writeln!(f, "  {}; {:.2} s", self.fate, self.seconds)?;
        writeln!(
            f,
            "  a batch of {}: {} ns half the time, p90 {}, p99 {}, p99.9 {}, at most {}",
            b.frames, b.p50_ns, b.p90_ns, b.p99_ns, b.p999_ns, b.max_ns
        )?;
        write!(f, "  {}", self.machine)
    }
}
