//! What clients of the control socket, dead collectors and stalled disks cost a worker at full load: frames a second of the
//! worker's own CPU time, in turns with them and without. On a core of its own that is the rate.

use arc_swap::ArcSwap;
use cli::config::{self, Bundle, BundleFile};
use cli::control::desk::Shared;
use cli::control::{Desk, Server};
use cli::export::{Ipfix, IpfixOptions};
use cli::feed::Shelf;
use cli::run::hub::{Feed, Hub};
use dataplane::arena::Arena;
use dataplane::engine::{Engine, Resolve};
use dataplane::event::{self, EventSource};
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::port::Port;
use dataplane::port::memory::{Tally, Trace, TracePort};
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Stopped, Worker};
use etherparse::PacketBuilder;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const POLICY: &str = r#"
[[port]]
name = "trunk0"
[[vlan]]
id = 10
port = "trunk0"
address = "10.0.10.1/24"
[[vlan]]
id = 20
port = "trunk0"
address = "10.0.20.1/24"
[segment.web]
members = ["10.0.10.0/24"]
[segment.app]
members = ["10.0.20.0/24"]
[[rule]]
id = "served"
from = ["web"]
to = ["app"]
service = ["udp/9001"]
action = "allow"
"#;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Flows in the trace.
const FLOWS: u16 = 1000;
/// The thread that is measured.
const WORKER: &str = "rate-worker";
/// One measurement at a time: threads are known by their names.
static ALONE: Mutex<()> = Mutex::new(());
/// One turn.
const TURN: Duration = Duration::from_millis(300);

/// Frames of many flows, one in eight of which no rule lets in if `with_drops` says so.
fn trace(with_drops: bool) -> Trace {
    let frame = |flow: u16| {
        let service = if with_drops && flow.is_multiple_of(8) { 9002 } else { 9001 };
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 1, 1], MAC)
            .single_vlan(10.try_into().unwrap())
            .ipv4([10, 0, 10, 10], [10, 0, 20, 10], 64)
            .udp(10_000 + flow, service);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[0; 18]).unwrap();
        bytes
    };
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(frame).collect();
    Trace::new(&frames, &(0..u32::from(FLOWS)).collect::<Vec<_>>())
}

/// Nanoseconds that the worker's thread has had.
fn cpu_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let is_it = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == WORKER)
    };
    let worker = tasks.into_iter().find(is_it).expect("the worker lives");
    let schedstat = std::fs::read_to_string(worker.join("schedstat")).unwrap();
    schedstat.split_whitespace().next().unwrap().parse().unwrap()
}

/// Asks again and again in bursts, as long as it is wanted.
fn ask(socket: &Path, request: &str, wanted: &AtomicBool, is_over: &AtomicBool, answered: &AtomicU64) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    let burst = format!("{{\"protocol\":1,\"request\":{request}}}\n").repeat(20);
    while !is_over.load(Ordering::Relaxed) {
        if !wanted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        stream.write_all(burst.as_bytes()).unwrap();
        let mut ends = 0;
        while ends < 20 {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "let go");
            ends += u64::from(line.starts_with("{\"ok\"") || line.starts_with("{\"error\""));
        }
        answered.fetch_add(ends, Ordering::Relaxed);
    }
}

/// Garbage, lines without end, and requests whose answers are never read.
fn annoy(socket: &Path, wanted: &AtomicBool, is_over: &AtomicBool) {
    let unread = "{\"protocol\":1,\"request\":{\"command\":\"show\",\"what\":\"config\"}}\n".repeat(500);
    let kinds = [unread.into_bytes(), vec![b'['; 1 << 20], (0..=255).cycle().take(1 << 18).collect()];
    for bytes in kinds.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        if wanted.load(Ordering::Relaxed)
            && let Ok(mut stream) = UnixStream::connect(socket)
        {
            let _ = stream.set_write_timeout(Some(Duration::from_millis(20)));
            let _ = stream.write_all(bytes);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A worker at full load, and what its surroundings know of it.
struct Bench {
    control: Arc<Control>,
    shared: Arc<Shared>,
    tally: Arc<Tally>,
    events: EventSource,
    worker: JoinHandle<Stopped>,
}

impl Bench {
    fn start(trace: Trace) -> Bench {
        let file = BundleFile { path: "gw.toml".into(), text: POLICY.to_owned() };
        let configuration = config::load_bundle(&Bundle { files: vec![file] }, config::now()).unwrap();
        let facts = [PortFacts { mac: Some(classifier::addr::Mac(MAC)), mtu: 1500 }];
        let policy = Arc::clone(&configuration.policy);
        let generation =
            Generations::default().compile(policy, &configuration.topology, &facts, config::now()).unwrap();
        let generation = Arc::new(generation);
        let control = Arc::new(Control::new(Arc::clone(&generation), 1).unwrap());
        let (arena, pool) = Arena::on_heap(8192, 2048);
        let engine = Engine::new(
            generation,
            &configuration.conntrack,
            [7; 16],
            Arc::new(arena),
            pool,
            Resolve::Placeholder,
        );
        let port = TracePort::new(Arc::new(trace));
        let tally = port.tally();
        let ports: Vec<Box<dyn Port>> = vec![Box::new(port)];
        let clock = Clock::start();
        let (sink, events) = event::ring();
        let worker = Worker::new(engine, ports, Arc::clone(&control), 0, Idle::Poll, Some(sink));
        let worker = std::thread::Builder::new().name(WORKER.to_owned()).spawn(move || {
            let core = core_affinity::get_core_ids().and_then(|cores| cores.last().copied());
            if let Some(core) = core {
                // Where it can't be pinned, it is measured as it runs.
                let _ = core_affinity::set_for_current(core);
            }
            worker.run(clock)
        });
        let worker = worker.unwrap();
        let shared = Arc::new(Shared {
            control: Arc::clone(&control),
            configuration: ArcSwap::from_pointee(configuration.clone()),
            base: ArcSwap::from_pointee(configuration),
            clock,
            shelf: Shelf::new(Path::new("gw.toml"), None),
            started: jiff::Timestamp::now(),
            began: Instant::now(),
        });
        Bench { control, shared, tally, events, worker }
    }

    /// Millions of frames that it takes in a second of its CPU time, in turns: without what `set` sets, and with it.
    ///
    /// What the machine does besides takes the worker's cache away now and then. It does so in all of three tries only
    /// where it always does.
    fn take_turns(&self, mut set: impl FnMut(bool)) -> [f64; 2] {
        let mut medians = [0.0; 2];
        for _ in 0..3 {
            medians = self.take_turns_once(&mut set);
            if medians[1] / medians[0] >= BAR {
                break;
            }
            println!("{:.1} %: once more, if it was not the last", medians[1] / medians[0] * 100.0);
        }
        medians
    }

    fn take_turns_once(&self, set: &mut impl FnMut(bool)) -> [f64; 2] {
        let mut rates = [Vec::new(), Vec::new()];
        let turns = if cfg!(debug_assertions) { 6 } else { 20 };
        std::thread::sleep(TURN);
        for turn in 0..turns * 2 {
            let is_set = turn % 2 == 1;
            set(is_set);
            std::thread::sleep(TURN / 10);
            let (frames, time) = (self.tally.received(), cpu_time());
            std::thread::sleep(TURN);
            let (frames, time) = (self.tally.received() - frames, cpu_time() - time);
            rates[usize::from(is_set)].push(frames as f64 * 1e3 / time as f64);
        }
        rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        })
    }

    fn stop(self) {
        self.control.stop();
        assert!(self.worker.join().unwrap().counters.balance());
    }
}

/// 95 % of a program as it is used; one for tests has slower errands.
const BAR: f64 = if cfg!(debug_assertions) { 0.85 } else { 0.95 };

fn check(what: &str, [without, with]: [f64; 2]) {
    println!(
        "{without:.3} million frames a second of CPU time without, {with:.3} with {what}: {:.1} %",
        with / without * 100.0
    );
    assert!(with / without >= BAR, "{what}: {:.3}", with / without);
}

#[test]
fn abuse_of_the_socket_leaves_a_worker_its_rate() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::start(trace(false));
    let shared = Arc::clone(&bench.shared);
    let (orders, _kept) = crossbeam_channel::bounded(4);
    let socket = std::env::temp_dir().join(format!("bulkhead-rate-{}.sock", std::process::id()));
    let server = Server::start(&socket, Arc::new(Desk::new(shared, orders, Feed::new(0)))).unwrap();

    let (wanted, is_over, answered) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let rates = std::thread::scope(|scope| {
        for request in [
            r#"{"command":"show","what":"workers"}"#,
            r#"{"command":"show","what":"drops"}"#,
            r#"{"command":"count-flows","filter":{"from":"web"}}"#,
        ] {
            let (socket, wanted, is_over, answered) = (&socket, &wanted, &is_over, &answered);
            scope.spawn(move || ask(socket, request, wanted, is_over, answered));
        }
        scope.spawn(|| annoy(&socket, &wanted, &is_over));
        let rates = bench.take_turns(|is_set| wanted.store(is_set, Ordering::Relaxed));
        is_over.store(true, Ordering::Relaxed);
        rates
    });
    drop(server);
    bench.stop();
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > 100);
    check(&format!("{answered} requests and what else abuses it"), rates);
}

/// A collector that is not there, and a disk that does not take what it is given: the worker does not wait for them, and
/// what they lose is counted.
#[test]
fn dead_collectors_and_stalled_disks_leave_a_worker_its_rate() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::start(trace(true));
    let feed = Feed::new(0);
    let hub =
        Hub::start(vec![bench.events.clone()], Arc::clone(&bench.shared), feed.clone(), 10_000).unwrap();
    let mut collector = Some(UdpSocket::bind("127.0.0.1:0").unwrap());
    let address = collector.as_ref().unwrap().local_addr().unwrap();
    // Every flow that lives is told five times a second.
    let options = IpfixOptions { collector: address, active: TURN / 2, enterprise: None };
    let ipfix = Ipfix::start(options, Arc::clone(&bench.shared), &feed, vec![1]).unwrap();
    let (_, lines) = feed.subscribe("file", 1024, false);
    let is_stalled = AtomicBool::new(false);
    let lost = |reader: &str| feed.untold().by_reader.get(reader).copied().unwrap_or(0);
    let (rates, written) = std::thread::scope(|scope| {
        // A disk, and whoever writes on it.
        let disk = scope.spawn(|| {
            let mut written = 0_u64;
            while let Ok(_line) = lines.recv() {
                written += 1;
                while is_stalled.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            written
        });
        let rates = bench.take_turns(|is_set| {
            is_stalled.store(is_set, Ordering::Relaxed);
            collector = (!is_set).then(|| UdpSocket::bind(address).ok()).flatten();
        });
        is_stalled.store(false, Ordering::Relaxed);
        bench.stop();
        // Its readers are told what is missing, and that it is over.
        drop(hub);
        (rates, disk.join().unwrap())
    });
    drop(ipfix);
    assert!(written > 100, "it wrote in between: {written}");
    let (collector, disk) = (lost("ipfix"), lost("file"));
    assert!(collector > 0 && disk > 0, "the collector has lost {collector}, the disk {disk}");
    check(&format!("a dead collector ({collector} lost) and a stalled disk ({disk} lost)"), rates);
}
