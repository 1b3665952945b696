//! Two workers with both directions of every flow on different queues: what leaves the switch on one core comes in by one
//! queue, and on the other by the other.

mod live;
mod root;

use cli::config;
use cli::run::Gateway;
use cli::testbed::{Bed, Host, HostSpec, TcpOutcome};
use dataplane::counters::Counters;
use dataplane::generation::LiveFlows;
use live::{APP, GatewayFile, SOON, at, host, stop};
use root::may_run;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Hosts on VLAN 10, each an address of `web`: enough that both workers own some of their flows.
const SOURCES: u8 = 16;

/// A gateway with a worker on each of two cores, whose trunk has so many queues.
fn text(queues: u16) -> String {
    let text = live::text(r#""tcp/9000-9010", "udp/9000-9010", "icmp/echo-request""#, "adaptive");
    let text = text.replace("[workers]\n", "[workers]\ncores = [0, 1]\n");
    text.replace("interface = \"trunk0\"\n", &format!("interface = \"trunk0\"\nqueues = {queues}\n"))
}

fn bed(name: &str, queues: u16) -> Option<(Bed, Host, Host)> {
    if !may_run() {
        return None;
    }
    if core_affinity::get_core_ids().is_none_or(|cores| cores.len() < 2) {
        eprintln!("skipped: two workers need two cores");
        return None;
    }
    let mut bed = Bed::without_signal_handler(name).unwrap();
    bed.add_trunk("trunk0", queues).unwrap();
    let addresses = (0..SOURCES).map(|n| format!("10.0.10.{}/24", 10 + n).parse().unwrap()).collect();
    let gateways = vec!["10.0.10.1".parse().unwrap()];
    let spec = HostSpec { vlan: Some(10), addresses, gateways, ..HostSpec::default() };
    let web = bed.host("web", &spec).unwrap();
    let app = host(&mut bed, "app", 20, APP, "fd00:20::10");
    Some((bed, web, app))
}

/// What each core sends to the gateway's trunk takes the queue of its number, if the kernel can do that (XPS).
fn queue_by_core(bed: &Bed) {
    let set = "for n in 0 1; do echo $((1 << n)) > /sys/class/net/t0/queues/tx-$n/xps_cpus; done";
    let name = format!("{}-switch", bed.name());
    let status = std::process::Command::new("ip").args(["netns", "exec", &name, "sh", "-c", set]).status();
    assert!(status.unwrap().success(), "the kernel has no XPS");
}

fn on_core<T>(core: usize, code: impl FnOnce() -> T) -> T {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: core }));
    code()
}

fn source(n: u8) -> IpAddr {
    format!("10.0.10.{}", 10 + n).parse().unwrap()
}

fn by_worker(gateway: &Gateway) -> Vec<Counters> {
    gateway.control().ask_all(|engine| engine.counters().clone()).unwrap()
}

/// Requests and answers of many flows, connections, and a transfer; every one must succeed.
fn everything_works(web: &Host, app: &Host) {
    let (_udp, _tcp, _sink) = on_core(1, || {
        (app.udp_echo(at(9003)).unwrap(), app.tcp_echo(at(9001)).unwrap(), app.bulk_sink(at(9000)).unwrap())
    });
    on_core(0, || {
        for n in 0..SOURCES {
            let socket = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
            socket.connect(at(9003)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            for round in 0..40_u8 {
                socket.send(&[n, round]).unwrap();
                let mut answer = [0; 8];
                let length = socket.recv(&mut answer).unwrap_or_else(|e| panic!("flow {n}, {round}: {e}"));
                assert_eq!(answer[..length], [n, round]);
            }
        }
        assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
        for _ in 0..20 {
            assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
        }
        web.bulk_send(at(9000), 20_000_000, SOON).unwrap();
    });
}

/// Nothing contradicted its flow, and the books balance.
fn all_were_right(gateway: Gateway) -> Counters {
    let counters = stop(gateway);
    for reason in ["ct-invalid", "neighbor-failed", "tx-full", "policy-deny", "default-deny"] {
        let index = classifier::reason::DropReason::ALL.iter().find(|r| r.name() == reason).unwrap().index();
        assert_eq!(counters.dropped[index], 0, "{reason}: {counters:?}");
    }
    counters
}

#[test]
fn every_flow_is_right_with_its_directions_on_different_queues() {
    let Some((bed, web, app)) = bed("queues", 2) else { return };
    queue_by_core(&bed);
    let gateway = live::start(&bed, &text(2));
    everything_works(&web, &app);
    let workers = by_worker(&gateway);
    assert_eq!(workers.len(), 2);
    for worker in &workers {
        assert!(worker.flows > 0 && worker.forwarded > 30, "both own flows: {workers:?}");
        assert!(worker.handed > 30, "both hand over what is the other's: {workers:?}");
    }
    all_were_right(gateway);
}

#[test]
fn a_worker_without_a_queue_of_its_own_works_all_the_same() {
    let Some((bed, web, app)) = bed("onequeue", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    everything_works(&web, &app);
    let workers = by_worker(&gateway);
    assert!(workers.iter().all(|worker| worker.flows > 0 && worker.forwarded > 30), "{workers:?}");
    assert_eq!(workers[1].handed, 0, "nothing comes in there: {workers:?}");
    all_were_right(gateway);
}

/// A frame that waits on another worker's ring wakes the worker up at once.
#[test]
fn a_worker_that_sleeps_is_woken_by_what_it_owns() {
    let Some((bed, web, app)) = bed("asleep", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    let _echo = app.udp_echo(at(9003)).unwrap();
    let mut times = Vec::new();
    for n in 0..SOURCES {
        let socket = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
        socket.connect(at(9003)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = [0; 8];
        // The first may wait for a neighbor.
        for is_counted in [false, true, true] {
            std::thread::sleep(Duration::from_millis(30));
            let sent = std::time::Instant::now();
            socket.send(b"hello").unwrap();
            socket.recv(&mut answer).unwrap();
            if is_counted {
                times.push(sent.elapsed());
            }
        }
    }
    // Not woken, it would have slept for a tenth of a second each time, of which 30 ms were over; what the machine does
    // besides holds up a few of them at the most.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{times:?}");
    all_were_right(gateway);
}

/// A number from the surroundings, or the one for a short run.
fn setting(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Whether a stream is to pause, and whether it does.
#[derive(Default)]
struct Pause {
    is_wanted: AtomicBool,
    is_kept: AtomicBool,
}

impl Pause {
    /// Waits until nothing is sent, and until the workers have judged what was.
    fn begin(&self, gateway: &Gateway) {
        self.is_wanted.store(true, Ordering::SeqCst);
        while !self.is_kept.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(200));
        }
        // After one turn a frame is with its owner, after another it is judged.
        for _ in 0..3 {
            gateway.control().ask_all(|_| ()).unwrap();
        }
    }

    fn end(&self) {
        self.is_kept.store(false, Ordering::SeqCst);
        self.is_wanted.store(false, Ordering::SeqCst);
    }
}

/// Datagrams that bear their number and when they were sent, in microseconds since `begun`, until told to stop.
fn stream(socket: &UdpSocket, begun: Instant, pause: &Pause, stop: &AtomicBool) -> u64 {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        if pause.is_wanted.load(Ordering::SeqCst) {
            pause.is_kept.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let sent = begun.elapsed().as_micros() as u64;
        socket.send(&[number.to_be_bytes(), sent.to_be_bytes()].concat()).unwrap();
        number += 1;
        std::thread::sleep(Duration::from_micros(900));
    }
    number
}

/// Number and time of all that has come, until nothing comes for a while after the end.
fn heard(socket: &UdpSocket, stop: &AtomicBool) -> Vec<(u64, u64)> {
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 16];
    loop {
        match socket.recv(&mut buffer) {
            Ok(16) => {
                let (number, sent) = buffer.split_at(8);
                let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
                all.push((word(number), word(sent)));
            }
            Ok(_) => panic!("that was none of ours"),
            Err(_) if stop.load(Ordering::Relaxed) => return all,
            Err(_) => {}
        }
    }
}

/// Ten policies a second, by turns with and without the service of one of two streams. `BULKHEAD_APPLIES` and
/// `BULKHEAD_RULES` make it longer and the policy larger.
#[test]
fn ten_policies_a_second_lose_nothing_that_all_allow_and_cut_at_once_what_one_denies() {
    let Some((bed, web, app)) = bed("applies", 2) else { return };
    queue_by_core(&bed);
    let (applies, rules) = (setting("BULKHEAD_APPLIES", 30), setting("BULKHEAD_RULES", 200));
    let policy = |services: &str| {
        let mut all = text(2).replace(r#""udp/9000-9010""#, services);
        for n in 0..rules {
            all += &format!(
                "[[rule]]\nid = \"filler-{n}\"\nfrom = [\"10.{}.{}.0/24\"]\nto = [\"app\"]\nservice = [\"tcp/{}\"]\n",
                100 + n / 250,
                n % 250,
                2000 + n % 1000
            );
        }
        all
    };
    let (with, without) = (policy(r#""udp/9003-9004""#), policy(r#""udp/9003""#));
    let file = GatewayFile::new(&bed, &with);
    let mut gateway = live::start(&bed, &with);
    let sockets = |port: u16, n: u8| {
        let ear = app.udp_socket(at(port)).unwrap();
        let mouth = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
        mouth.connect(at(port)).unwrap();
        (mouth, ear)
    };
    let ((kept, kept_ear), (cut, cut_ear)) = (sockets(9003, 0), sockets(9004, 1));
    // Neighbors are known from here on.
    assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
    let (begun, stop_sending, stop_hearing) =
        (Instant::now(), AtomicBool::new(false), AtomicBool::new(false));
    let now = || begun.elapsed().as_micros() as u64;
    // Before a policy allows the other stream again it pauses: what was sent before and is judged after would come through.
    let (pause, never) = (Pause::default(), Pause::default());
    let mut took = Vec::new();
    // From when to when which policy was surely in force.
    let (mut allowed, mut denied) = (Vec::new(), Vec::new());
    let (sent, (kept_heard, cut_heard)) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| stream(&kept, begun, &never, &stop_sending));
        let other = scope.spawn(|| stream(&cut, begun, &pause, &stop_sending));
        let ears =
            (scope.spawn(|| heard(&kept_ear, &stop_hearing)), scope.spawn(|| heard(&cut_ear, &stop_hearing)));
        let mut since = now();
        for n in 0..applies {
            std::thread::sleep(
                Duration::from_millis(100).saturating_sub(Duration::from_micros(now() - since)),
            );
            let is_denied = n % 2 == 0;
            file.write(if is_denied { &without } else { &with });
            let checked = config::check(file.load(), config::now()).unwrap_or_else(|error| panic!("{error}"));
            let until = now();
            if !is_denied {
                pause.begin(&gateway);
            }
            let began = now();
            if is_denied { &mut allowed } else { &mut denied }.push((since, until));
            gateway.reload(checked, LiveFlows::Recheck).unwrap();
            assert!(gateway.control().wait_until_installed(SOON));
            since = now();
            took.push(since - began);
            pause.end();
        }
        stop_sending.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        other.join().unwrap();
        stop_hearing.store(true, Ordering::Relaxed);
        (sent, (ears.0.join().unwrap(), ears.1.join().unwrap()))
    });
    took.sort_unstable();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{applies} policies of {rules} rules: in force on all workers after {median} µs half the time, at most {longest} µs; \
         {sent} datagrams, {} of the other stream came through",
        cut_heard.len()
    );
    let numbers: Vec<u64> = kept_heard.iter().map(|(number, _)| *number).collect();
    assert!(numbers.iter().copied().eq(0..sent), "lost or out of order: {} of {sent}", numbers.len());
    let is_within = |spans: &[(u64, u64)], at: u64| spans.iter().any(|(from, to)| (*from..*to).contains(&at));
    let late: Vec<_> = cut_heard.iter().filter(|(_, at)| is_within(&denied, *at)).collect();
    assert!(late.is_empty(), "sent when it was denied, and came through: {late:?}");
    assert!(
        cut_heard.iter().filter(|(_, at)| is_within(&allowed, *at)).count() > 100,
        "it was let through in between"
    );
    // On a machine that does something else besides, a worker may not run at all for longer than that once in a while.
    assert!(median <= 50_000, "{took:?}");
    let counters = stop(gateway);
    assert!(counters.forwarded >= sent, "{counters:?}");
}
