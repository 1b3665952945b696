//! Flows and drops as IPFIX records (RFC 7011; both directions in one record, RFC 5103), by UDP.
//!
//! ```text
//!   worker ─ ring of flow reports ─┐
//!   worker ─ ring of flow reports ─┼─▶ this thread ─▶ collector
//!   hub ──── queue of drops ───────┘
//! ```
//!
//! A flow is told when it ends, and now and then while it lives; what is told each time is what has passed since the
//! time before. The thread waits for nobody's sake: what finds no room before it, or can't be sent, is counted, and the
//! counts go out in records of their own.

mod collector;
mod record;
mod template;
#[cfg(test)]
mod tests;

use super::Exporting;
use crate::control::desk::Shared;
use crate::run::hub::{Feed, Told, What};
use collector::Collector;
use conntrack::FlowReport;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataplane::event::{ReportSource, report_ring};
use dataplane::inspect::PORTION;
use record::{Record, Wall};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use template::Templates;

/// Drops that wait for the thread.
const ROOM: usize = 16 * 1024;
/// How often records go out, and rings are looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How often the export tells of itself, where nothing was lost, and at most where something was.
const TOTALS_EVERY: Duration = Duration::from_secs(60);
const LOSS_EVERY: Duration = Duration::from_secs(1);
/// How long the last look at the flows may take.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct IpfixOptions {
    /// The collector.
    pub collector: SocketAddr,
    /// How often a flow that lives is told.
    pub active: Duration,
    /// The enterprise under which rules are named; `None`: they are not.
    pub enterprise: Option<u32>,
}

/// A collector as it is written: `ADDRESS:PORT`, or `udp:ADDRESS:PORT` as for syslog.
///
/// # Errors
/// What else it is.
pub fn collector_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.strip_prefix("udp:").unwrap_or(text);
    address.parse().map_err(|_| format!("`{text}` is no collector: write `192.0.2.1:4739`"))
}

/// The export at work.
#[derive(Debug)]
pub struct Ipfix {
    thread: Exporting,
    look: Arc<LastLook>,
}

#[derive(Debug, Default)]
struct LastLook {
    is_wanted: AtomicBool,
    is_done: AtomicBool,
}

impl Ipfix {
    /// Has the workers count what passes by their flows, and tells a collector. `interfaces` are the numbers of the
    /// ports' interfaces.
    ///
    /// # Errors
    /// The system has no thread left, or a worker does not answer.
    pub fn start(
        options: IpfixOptions,
        shared: Arc<Shared>,
        feed: &Feed,
        interfaces: Vec<u32>,
    ) -> io::Result<Ipfix> {
        let sources = (0..shared.control.workers())
            .map(|worker| {
                let (sink, source) = report_ring();
                let answer = shared.control.ask(worker, move |engine| engine.report_flows(sink));
                answer.and_then(dataplane::Answer::wait).map_err(io::Error::other)?;
                Ok(source)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (_, drops) = feed.subscribe("ipfix", ROOM, false);
        let look = Arc::new(LastLook::default());
        let teller = Teller {
            collector: Collector::new(options.collector, Templates::new(options.enterprise)),
            active: options.active,
            lost: vec![0; sources.len()],
            sources,
            shared,
            interfaces,
            feed: feed.clone(),
            told: 0,
        };
        let last = Arc::clone(&look);
        let thread = std::thread::Builder::new()
            .name("export-ipfix".to_owned())
            .spawn(move || teller.run(&drops, &last))?;
        Ok(Ipfix { thread: Exporting { thread }, look })
    }

    /// Has it tell of the flows that live, before their workers end.
    pub fn last_look(&self) {
        self.look.is_wanted.store(true, Ordering::Release);
        let deadline = Instant::now() + LAST_LOOK;
        let is_there = || !self.thread.thread.is_finished() && !self.look.is_done.load(Ordering::Acquire);
        while is_there() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The thread, to be waited for.
    #[must_use]
    pub fn into_exporting(self) -> Exporting {
        self.thread
    }
}

struct Teller {
    collector: Collector,
    active: Duration,
    sources: Vec<ReportSource>,
    /// By source: what it had lost at the last look.
    lost: Vec<u64>,
    shared: Arc<Shared>,
    interfaces: Vec<u32>,
    feed: Feed,
    /// Losses that the gateway's own counter knows of.
    told: u64,
}

impl Teller {
    fn run(mut self, drops: &Receiver<Arc<Told>>, look: &LastLook) {
        let (mut walked, mut totals_at, mut flushed) = (Instant::now(), Instant::now(), Instant::now());
        let mut reported = self.collector.totals;
        loop {
            let is_over = match drops.recv_timeout(EVERY) {
                Ok(told) => {
                    self.tell(&told);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            drops.try_iter().take(ROOM).for_each(|told| self.tell(&told));
            if flushed.elapsed() < EVERY && !is_over {
                continue;
            }
            flushed = Instant::now();
            self.tell_ended();
            if look.is_wanted.load(Ordering::Acquire) && !look.is_done.load(Ordering::Acquire) {
                self.walk();
                look.is_done.store(true, Ordering::Release);
            } else if walked.elapsed() >= self.active {
                walked = Instant::now();
                self.walk();
            }
            self.collector.flush();
            let totals = &self.collector.totals;
            let has_lost = totals.lost + totals.ignored > reported.lost + reported.ignored;
            let every = if has_lost { LOSS_EVERY } else { TOTALS_EVERY };
            if totals_at.elapsed() >= every || is_over {
                (totals_at, reported) = (Instant::now(), *totals);
                self.collector.tell_totals();
            }
            let lost = self.collector.totals.lost;
            self.feed.count_lost("ipfix", lost - std::mem::replace(&mut self.told, lost));
            if is_over {
                return;
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        match &told.what {
            What::Event(record) => {
                let wall = Wall::now(self.shared.clock);
                if let Some(record) = Record::of_drop(record, wall, &self.interfaces) {
                    self.collector.push(&record);
                }
            }
            What::Lost { count, .. } => {
                // The hub has counted them.
                self.collector.totals.lost += count;
                self.told += count;
            }
            What::Suppressed { count, .. } => self.collector.totals.ignored += count,
            What::Note(_) => {}
        }
    }

    /// Tells of the flows that have ended.
    fn tell_ended(&mut self) {
        for index in 0..self.sources.len() {
            let source = self.sources[index].receiver.clone();
            let mut reports: Vec<FlowReport> = source.try_iter().take(PORTION).collect();
            while !reports.is_empty() {
                self.tell_flows(&reports);
                reports.clear();
                reports.extend(source.try_iter().take(PORTION));
            }
            let lost = self.sources[index].lost();
            self.collector.totals.lost += lost - std::mem::replace(&mut self.lost[index], lost);
        }
    }

    /// Tells of what has passed by the flows that live.
    fn walk(&mut self) {
        for worker in 0..self.shared.control.workers() {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                let mut reports = Vec::with_capacity(PORTION);
                let asked = self.shared.control.ask(worker, move |engine| {
                    let next = engine.reports_from(from, &mut reports);
                    (reports, next)
                });
                // What is not told now is told the next time.
                let Ok((reports, next)) = asked.and_then(dataplane::Answer::wait) else { break };
                self.tell_flows(&reports);
                self.tell_ended();
                cursor = next;
            }
        }
    }

    fn tell_flows(&mut self, reports: &[FlowReport]) {
        let wall = Wall::now(self.shared.clock);
        let generation = self.shared.control.generation();
        for report in reports {
            let rule = report.view.rule.and_then(|key| generation.rule_name(key));
            self.collector.push(&Record::of_flow(report, rule, wall, &self.interfaces));
        }
    }
}
