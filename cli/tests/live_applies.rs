//! Policies by the tenth of a second, through the control socket of the program as it is used: two workers, two queues, both
//! directions of every flow on different ones, two streams of numbered datagrams, and transfers whose hash is checked.
//!
//! `BULKHEAD_APPLIES` and `BULKHEAD_RULES` make it longer and the policies larger; `perf/applies.sh` runs it like that.
//! `BULKHEAD_BUFFER` is what the listeners have room for, in bytes: with 200,000, which is a socket's default, they lose
//! datagrams themselves where they don't get a core for a third of a second.

mod live;
mod root;

use cli::config::{Bundle, BundleFile};
use cli::control::{ApplyOptions, Client, Request, Show};
use cli::testbed::Namespace;
use live::queues::{bed, queue_by_core, source, text};
use live::{APP, GatewayFile, Program, SOON, at, socket};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use serde_json::{Value, json};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two policies.
const EVERY: Duration = Duration::from_millis(100);
/// Bytes of a transfer.
const TRANSFER: u64 = 1_000_000;

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
    /// Waits until nothing is sent, and what was is judged.
    fn begin(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        while !self.is_kept.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_millis(5));
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

/// Datagrams that the kernel dropped on their way between gateway and listener, which no count of the gateway has: for the
/// listeners' buffers were full (`RcvbufErrors` of /proc/net/snmp), or the queue before a core's softirq
/// (`net.core.netdev_max_backlog`, the second column of /proc/net/softnet_stat).
fn lost_beside(listener: &Namespace) -> [u64; 2] {
    let read = |name: &str| std::fs::read_to_string(Path::new("/proc/thread-self/net").join(name)).unwrap();
    let snmp = listener.enter(|| read("snmp"));
    let udp: Vec<Vec<&str>> =
        snmp.lines().filter(|l| l.starts_with("Udp:")).map(|l| l.split(' ').collect()).collect();
    let column = udp[0].iter().position(|name| *name == "RcvbufErrors").unwrap();
    let dropped = |line: &str| u64::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap();
    [udp[1][column].parse().unwrap(), read("softnet_stat").lines().map(dropped).sum()]
}

/// A folder for the gateway's versions, removed at the end.
struct State(PathBuf);

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A policy that was put into force, in microseconds since the beginning.
struct Applied {
    asked: u64,
    answered: u64,
    /// From the start of its installation until all workers had it.
    in_force: u64,
    is_denying: bool,
}

impl Applied {
    fn installation(&self) -> u64 {
        self.answered.saturating_sub(self.in_force)
    }
}

/// Half of the times are shorter than the first, none is longer than the last; milliseconds.
fn times(mut microseconds: Vec<u64>) -> Value {
    microseconds.sort_unstable();
    let at = |part: usize| microseconds[(microseconds.len() * part / 100).min(microseconds.len() - 1)];
    json!({ "median": at(50) as f64 / 1e3, "p99": at(99) as f64 / 1e3, "max": at(100) as f64 / 1e3 })
}

#[test]
fn ten_policies_a_second_lose_nothing_that_all_allow_and_cut_at_once_what_one_denies() {
    let Some((bed, web, app)) = bed("applies", 2) else { return };
    queue_by_core(&bed);
    let (applies, rules) = (setting("BULKHEAD_APPLIES", 30), setting("BULKHEAD_RULES", 200));
    let policy = |services: &str| {
        let services = format!("\"tcp/9000\", {services}");
        let mut all = text(2).replace(r#""tcp/9000-9010", "udp/9000-9010""#, &services);
        for n in 0..rules {
            all += &format!(
                "[[rule]]\nid = \"filler-{n}\"\nfrom = [\"10.{}.{}.0/24\"]\nto = [\"app\"]\nservice = [\"tcp/{}\"]\n\
                 action = \"allow\"\n",
                100 + n / 250,
                n % 250,
                2000 + n % 1000
            );
        }
        all
    };
    let (with, without) = (policy(r#""udp/9003-9004""#), policy(r#""udp/9003""#));
    let bundle = |text: &String| Bundle {
        files: vec![BundleFile { path: "gateway.toml".into(), text: text.clone() }],
    };
    let (with, without) = (bundle(&with), bundle(&without));
    let (file, socket) = (GatewayFile::new(&bed, &with.files[0].text), socket(&bed));
    let state = State(std::env::temp_dir().join(format!("{}.state", bed.name())));
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", state.0.to_str().unwrap()];
    let program = Program::start(&bed, &file, &arguments);
    let mut client = Client::connect(&socket).unwrap();
    let sockets = |port: u16, n: u8| {
        let ear = app.udp_socket(at(port)).unwrap();
        // Who listens may not have a core for a while, and has lost nothing then.
        set_socket_recv_buffer_size_force(&ear, setting("BULKHEAD_BUFFER", 8 << 20) as usize).unwrap();
        let mouth = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
        mouth.connect(at(port)).unwrap();
        (mouth, ear)
    };
    let ((kept, kept_ear), (cut, cut_ear)) = (sockets(9003, 0), sockets(9004, 1));
    let _sink = app.bulk_sink(at(9000)).unwrap();
    // Neighbors are known from here on.
    assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
    let (begun, stop_sending, stop_hearing) =
        (Instant::now(), AtomicBool::new(false), AtomicBool::new(false));
    let now = || begun.elapsed().as_micros() as u64;
    // Before a policy allows the other stream again it pauses: what was sent before and is judged after would come through.
    let (pause, never) = (Pause::default(), Pause::default());
    let mut all = Vec::new();
    let beside = lost_beside(app.namespace());
    let (sent, transfers, kept_heard, cut_heard) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| stream(&kept, begun, &never, &stop_sending));
        let other = scope.spawn(|| stream(&cut, begun, &pause, &stop_sending));
        let transfers = scope.spawn(|| {
            let mut transfers = 0_u64;
            while !stop_sending.load(Ordering::Relaxed) {
                web.bulk_send(at(9000), TRANSFER, SOON).unwrap_or_else(|error| panic!("{error}"));
                transfers += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            transfers
        });
        let ears =
            (scope.spawn(|| heard(&kept_ear, &stop_hearing)), scope.spawn(|| heard(&cut_ear, &stop_hearing)));
        for n in 0..applies {
            std::thread::sleep((EVERY * n).saturating_sub(begun.elapsed()));
            let is_denying = n % 2 == 0;
            if !is_denying {
                pause.begin();
            }
            let bundle = if is_denying { without.clone() } else { with.clone() };
            let asked = now();
            let request = Request::Apply { bundle, options: ApplyOptions::default() };
            let answer = client.ask(request, |_| ()).unwrap_or_else(|error| panic!("{error}"));
            let answered = now();
            let in_force = (answer["in_force_ms"].as_f64().unwrap() * 1e3) as u64;
            all.push(Applied { asked, answered, in_force, is_denying });
            pause.end();
        }
        stop_sending.store(true, Ordering::Relaxed);
        let (sent, transfers) = (sender.join().unwrap(), transfers.join().unwrap());
        other.join().unwrap();
        stop_hearing.store(true, Ordering::Relaxed);
        (sent, transfers, ears.0.join().unwrap(), ears.1.join().unwrap())
    });
    let beside_after = lost_beside(app.namespace());
    let mut ports = Vec::new();
    client.ask(Request::Show { what: Show::Ports }, |item| ports.extend(item)).unwrap();
    program.signal(libc::SIGTERM);
    let (status, counters) = program.wait();
    assert!(status.success());
    let counters: Value = serde_json::from_str(&counters).unwrap();
    let seconds = (all[all.len() - 1].answered - all[0].asked) as f64 / 1e6;
    // Of the other stream: what was sent last under each denying policy and came through, and what should not have.
    let (mut cut_after, mut late) = (Vec::new(), 0);
    for (n, applied) in all.iter().enumerate().filter(|(_, applied)| applied.is_denying) {
        let end = all.get(n + 1).map_or(u64::MAX, |next| next.asked);
        let through =
            cut_heard.iter().map(|(_, sent)| *sent).filter(|sent| (applied.asked..end).contains(sent));
        let last = through.clone().max().unwrap_or(0);
        cut_after.push(last.saturating_sub(applied.installation()));
        late += through.filter(|sent| *sent > applied.answered).count();
    }
    let numbers: Vec<u64> = kept_heard.iter().map(|(number, _)| *number).collect();
    let reordered = numbers.windows(2).filter(|pair| pair[0] >= pair[1]).count();
    let report = json!({
        "applies": applies, "per_second": f64::from(applies) / seconds, "rules": rules,
        "in_force_ms": times(all.iter().map(|applied| applied.in_force).collect()),
        "asked_to_answered_ms": times(all.iter().map(|a| a.answered - a.asked).collect()),
        "cut_ms": times(cut_after), "cut_late": late,
        "datagrams": sent, "lost": sent - numbers.len() as u64, "reordered": reordered,
        "other_stream_through": cut_heard.len(), "transfers": transfers, "transferred_bytes": transfers * TRANSFER,
        // Where it was lost, if it was: behind the gateway, by it, or before it.
        "listeners_and_backlog": [beside_after[0] - beside[0], beside_after[1] - beside[1]],
        "dropped": counters["dropped"], "kernel": ports.iter().map(|port| &port["kernel"]).collect::<Vec<_>>(),
    });
    println!("{report}");
    assert!(numbers.iter().copied().eq(0..sent), "lost or out of order: {report}");
    assert_eq!(late, 0, "sent when it was denied, and came through: {report}");
    let allowing = all.iter().filter(|applied| !applied.is_denying).count();
    assert!(cut_heard.len() > allowing * 5, "it was let through in between: {report}");
    assert!(transfers > 0);
    // On a machine that does something else besides, a worker may not run at all for longer than that once in a while.
    assert!(report["in_force_ms"]["median"].as_f64().unwrap() <= 50.0, "{report}");
    assert!(counters["forwarded"].as_u64().unwrap() >= sent, "{counters}");
}
