//! Workers as `bulkhead run` has them, with ports in memory: what several do together, and what handing over costs.
//!
//! ```text
//!   trace 0 -> port 0 -> worker 0 --+-- out
//!                          ^  |  rings
//!                          |  v
//!   trace 1 -> port 1 -> worker 1 --+-- out
//! ```
//!
//! Every flow is opened at its owner first. Then each worker receives its own frames (`owner`, as ports with symmetric
//! receive side scaling deliver them), or whichever chance gives it (`anywhere`, as ports without do), as fast as it can.
//! What counts is what is sent. Where a worker falls behind, for instance because something else runs on its core,
//! the others' frames for it are dropped as `tx-full`, and the report says so.

use crate::engine::{CHUNK, FRAMES, Failure, SECRET};
use crate::report::{Fate, Machine};
use crate::workload::Workload;
use crate::{EngineArguments, Protocol, share};
use clap::ValueEnum;
use classifier::addr::PortId;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use conntrack::LimitShare;
use conntrack::config::Config;
use dataplane::arena::{Arena, Frame, FramePool};
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve};
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::ownership::{Owners, Spread};
use dataplane::port::Port;
use dataplane::port::memory::{Tally, TracePort};
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Stopped, Worker};
use random::Random;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// By which worker's queue frames come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Arrival {
    /// By that of their owner: nothing is handed over.
    Owner,
    /// By any: of two workers every second frame is handed over.
    Anywhere,
}

/// How long workers run before it counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// What several workers did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    workers: usize,
    arrival: &'static str,
    /// Millions of packets that were sent in a second.
    mpps: f64,
    /// The same as if each worker had had its core for itself: what each sent in the time that it was let run, added
    /// up; null where the kernel does not count that.
    mpps_on_cores: Option<f64>,
    /// The part of the time that each was let run.
    shares_of_cores: Option<Vec<f64>>,
    /// The part of the packets that was handed over.
    handed_share: f64,
    /// The part that took the short way.
    express_share: f64,
    /// Packets that came in while it was measured.
    packets: u64,
    seconds: f64,
    flows: u32,
    rules: u32,
    protocol: &'static str,
    size: u16,
    seed: u64,
    /// From the first frame to the last: what was dropped, by reason.
    dropped: BTreeMap<&'static str, u64>,
    machine: Machine,
}

impl Report {
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names are always JSON")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} workers, frames by {}: {:.3} Mpps", self.workers, self.arrival, self.mpps)?;
        if let Some((mpps, shares)) = self.mpps_on_cores.zip(self.shares_of_cores.as_ref()) {
            let shares: Vec<String> = shares.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
            write!(f, " ({mpps:.3} with whole cores; they had {})", shares.join(", "))?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "  {:.1} % handed over, {:.1} % by the short way, dropped {:?}",
            self.handed_share * 100.0,
            self.express_share * 100.0,
            self.dropped
        )?;
        writeln!(
            f,
            "  {} {} flows, {} rules, {} bytes on the wire, seed {}; {:.2} s",
            self.flows, self.protocol, self.rules, self.size, self.seed, self.seconds
        )?;
        write!(f, "  {}", self.machine)
    }
}

/// What all ports wait for between the opening and the rest.
#[derive(Default)]
struct Gate {
    opened: AtomicUsize,
    is_open: AtomicBool,
}

/// The opening frames once, then, once all workers have had theirs, the steady ones without end.
struct PhasedPort {
    opening: Option<(TracePort, usize)>,
    steady: TracePort,
    gate: Arc<Gate>,
}

impl Port for PhasedPort {
    #[inline]
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        if let Some((opening, left)) = &mut self.opening {
            let before = frames.len();
            opening.receive(arena, pool, room.min(*left), frames);
            *left -= frames.len() - before;
            if *left == 0 {
                self.opening = None;
                self.gate.opened.fetch_add(1, Ordering::AcqRel);
            }
        } else if self.gate.is_open.load(Ordering::Relaxed) {
            self.steady.receive(arena, pool, room, frames);
        }
    }

    #[inline]
    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        self.steady.transmit(arena, pool, frames);
    }

    fn service(&mut self, _arena: &Arena, _pool: &mut FramePool) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}

/// A worker at work.
struct Running {
    thread: JoinHandle<Stopped>,
    tally: Arc<Tally>,
    /// Its directory under `/proc`.
    task: String,
}

/// Measures so many workers.
pub(crate) fn workers(
    workload: &Workload,
    arguments: &EngineArguments,
    count: usize,
) -> Result<Report, Failure> {
    let facts = PortFacts::of_file(&workload.topology);
    let policy = Arc::clone(&workload.policy);
    let generation = Generations::default().compile(policy, &workload.topology, &facts, Timestamp(0));
    let generation = Arc::new(generation.map_err(Failure::Generation)?);
    let owners = Owners::new(Spread::keyed(SECRET), count, generation.network());
    let control = Control::new(Arc::clone(&generation), count).expect("there are descriptors left");
    let control = Arc::new(control);
    let gate = Arc::new(Gate::default());
    let chunk = CHUNK.max(usize::from(arguments.size));
    let (arena, mut pool) = Arena::on_heap(FRAMES * count as u32, chunk);
    let owner = |frame: &[u8]| owners.of(PortId(0), frame).unwrap_or(0);
    let openings = workload.opening.split(count, |_, frame| owner(frame));
    let mut random = Random::new(arguments.seed);
    let steadies = workload.steady.split(count, |_, frame| match arguments.arrival {
        Arrival::Owner => owner(frame),
        Arrival::Anywhere => random.below(count as u32) as usize,
    });
    let clock = Clock::start();
    let mut limits = LimitShare::of_all(count).into_iter();
    let mut running = Vec::with_capacity(count);
    let feeds = openings.into_iter().zip(steadies);
    for (index, (seat, (opening, steady))) in dataplane::seats(&owners).into_iter().zip(feeds).enumerate() {
        let default = Config::default();
        let most = default.max_flows.max(arguments.flows);
        let config = Config { max_flows: most / count as u32, ..default };
        let pool = pool.split_off(FRAMES as usize);
        let arena = Arc::new(arena.share());
        let mut engine = Engine::new(Arc::clone(&generation), &config, SECRET, arena, pool, Resolve::Ask);
        let steady = TracePort::new(Arc::new(steady.expect("there are frames for everybody")));
        let opening = opening.map(|trace| (trace.len(), TracePort::new(Arc::new(trace))));
        let opening = opening.map(|(length, port)| (port, length));
        if opening.is_none() {
            gate.opened.fetch_add(1, Ordering::AcqRel);
        }
        let tally = steady.tally();
        let port: Box<dyn Port> = Box::new(PhasedPort { opening, steady, gate: Arc::clone(&gate) });
        let control = Arc::clone(&control);
        let worker = if count == 1 {
            Worker::new(engine, vec![port], control, 0, Idle::Poll, None)
        } else {
            engine.join(count, limits.next());
            Worker::among(engine, vec![vec![port]], control, seat, Idle::Poll, None)
        };
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            core_affinity::set_for_current(core_affinity::CoreId { id: index });
            let task = std::fs::read_link("/proc/thread-self").unwrap_or_default();
            sender.send(task.display().to_string()).expect("who started it listens");
            worker.run(clock)
        });
        let task = receiver.recv().expect("the thread has begun");
        running.push(Running { thread, tally, task });
    }
    while gate.opened.load(Ordering::Acquire) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
    // What was opened last is judged by then.
    std::thread::sleep(Duration::from_millis(20));
    gate.is_open.store(true, Ordering::Release);
    std::thread::sleep(WARM_UP);
    let start = Instant::now();
    let before: Vec<_> = running.iter().map(Running::now).collect();
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    let after: Vec<_> = running.iter().map(Running::now).collect();
    let seconds = start.elapsed().as_secs_f64();
    control.stop();
    let counters = running
        .into_iter()
        .map(|worker| worker.thread.join().expect("a worker does not panic").counters)
        .fold(Counters::default(), |sum, counters| sum.and(&counters));
    check(&counters)?;
    let spans: Vec<Span> = before.iter().zip(&after).map(|(before, after)| after.since(before)).collect();
    let sent: u64 = spans.iter().map(|span| span.sent).sum();
    let ran: Option<Vec<f64>> = spans.iter().map(|span| span.ran.map(|ran| ran.as_secs_f64())).collect();
    let on_cores = ran
        .as_ref()
        .map(|ran| spans.iter().zip(ran).map(|(span, ran)| span.sent as f64 / ran).sum::<f64>() / 1e6);
    Ok(Report {
        workers: count,
        arrival: match arguments.arrival {
            Arrival::Owner => "owner",
            Arrival::Anywhere => "anywhere",
        },
        mpps: sent as f64 / seconds / 1e6,
        mpps_on_cores: on_cores,
        shares_of_cores: ran.map(|ran| ran.iter().map(|ran| ran / seconds).collect()),
        handed_share: counters.handed as f64 / counters.received as f64,
        express_share: counters.express as f64 / counters.received as f64,
        packets: spans.iter().map(|span| span.received).sum(),
        seconds,
        flows: workload.flows.len() as u32,
        rules: workload.policy.rules().len() as u32,
        protocol: match arguments.proto {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        },
        size: arguments.size,
        seed: arguments.seed,
        dropped: Fate::reasons(&Counters::default(), &counters),
        machine: Machine::this(),
    })
}

/// Nothing was lost but what a full ring cost, and the books say so.
fn check(all: &Counters) -> Result<(), Failure> {
    let lost = all.dropped[DropReason::TxFull.index()];
    let is_whole = all.balance()
        && all.dropped_total() == lost
        && lost == all.handed_lost
        && all.local + all.answers + all.waiting == 0;
    if is_whole {
        return Ok(());
    }
    Err(Failure::Lost(Box::new(Fate {
        received: all.received,
        judged: all.received,
        sent: all.forwarded,
        dropped: all.dropped_total(),
        reasons: Fate::reasons(&Counters::default(), all),
        local: all.local,
        answers: all.answers,
        waiting: all.waiting,
        balanced: all.balance(),
    })))
}

/// What a worker had done at a moment, or in a span of time.
struct Span {
    received: u64,
    sent: u64,
    ran: Option<Duration>,
}

impl Running {
    fn now(&self) -> Span {
        let ran = share::of(&self.task);
        Span { received: self.tally.received(), sent: self.tally.sent(), ran }
    }
}

impl Span {
    fn since(&self, before: &Span) -> Span {
        Span {
            received: self.received - before.received,
            sent: self.sent - before.sent,
            ran: self.ran.zip(before.ran).map(|(after, before)| after - before),
        }
    }
}
