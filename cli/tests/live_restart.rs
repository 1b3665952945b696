//! A planned restart of `bulkhead run` under traffic, and what is left of its flows when it was none.

mod live;
mod root;

use cli::testbed::{Bed, Host, TcpOutcome};
use live::{BRIEFLY, GatewayFile, Program, SOON, host};
use root::may_run;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const APP: &str = "10.0.20.10";
/// What a planned restart may cost.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// A gateway between two VLANs; `services` are what web may use of app.
fn text(services: &str, pickup: &str) -> String {
    format!(
        r#"
[conntrack]
pickup = "{pickup}"
[[port]]
name = "trunk0"
interface = "trunk0"
[[vlan]]
id = 10
port = "trunk0"
address = ["10.0.10.1/24", "fd00:10::1/64"]
[[vlan]]
id = 20
port = "trunk0"
address = ["10.0.20.1/24", "fd00:20::1/64"]
[segment.web]
members = ["10.0.10.0/24", "fd00:10::/64"]
[segment.app]
members = ["10.0.20.0/24", "fd00:20::/64"]
[[rule]]
id = "served"
from = ["web"]
to = ["app"]
service = [{services}]
action = "allow"
"#
    )
}

const ALL: &str = r#""tcp/9001", "tcp/9002", "udp/9003""#;

fn hosts(bed: &mut Bed) -> (Host, Host) {
    (host(bed, "web", 10, "10.0.10.10", "fd00:10::10"), host(bed, "app", 20, APP, "fd00:20::10"))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(APP.parse().unwrap(), port)
}

/// A directory for flows, removed at the end.
struct State(PathBuf);

impl State {
    fn new(bed: &Bed) -> State {
        State(std::env::temp_dir().join(format!("{}-state", bed.name())))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn start(&self, bed: &Bed, file: &GatewayFile) -> Program {
        Program::start(bed, file, &["--state", self.0.to_str().unwrap()])
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One question and its answer on a connection to an echo server.
fn asks(mut stream: &TcpStream, timeout: Duration) -> bool {
    stream.set_read_timeout(Some(timeout)).unwrap();
    let mut answer = [0; 5];
    stream.write_all(b"again").unwrap();
    stream.read_exact(&mut answer).is_ok() && &answer == b"again"
}

/// When something came, and the longest time in which nothing did.
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Gap {
    fn new() -> Gap {
        Gap { last: Instant::now(), longest: Duration::ZERO }
    }

    fn came(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}

/// Numbers in eight bytes each, one after the other over one connection, until it is told to stop; how many.
fn count_up(mut stream: TcpStream, stop: &AtomicBool) -> u64 {
    stream.set_write_timeout(Some(SOON)).unwrap();
    let mut next = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let block: Vec<u8> = (next..next + 2048).flat_map(u64::to_be_bytes).collect();
        stream.write_all(&block).expect("the transfer goes on");
        next += 2048;
        std::thread::sleep(Duration::from_millis(1));
    }
    next
}

/// Hears them all and checks that they are those; how many, and the longest gap.
fn hear(mut stream: TcpStream) -> (u64, Duration) {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut next, mut gap, mut rest, mut block) = (0_u64, Gap::new(), Vec::new(), vec![0; 65_536]);
    loop {
        let got = stream.read(&mut block).expect("the transfer goes on");
        if got == 0 {
            assert!(rest.is_empty());
            return (next, gap.longest);
        }
        gap.came();
        rest.extend_from_slice(&block[..got]);
        let (words, left) = rest.as_chunks::<8>();
        for word in words {
            assert_eq!(u64::from_be_bytes(*word), next, "every byte arrives, once and in order");
            next += 1;
        }
        rest = left.to_vec();
    }
}

#[test]
fn established_transfers_go_on_over_planned_restarts() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("restart").unwrap();
    let (web, app) = hosts(&mut bed);
    // Strict: what is not restored does not come back.
    let file = GatewayFile::new(&bed, &text(ALL, "strict"));
    let state = State::new(&bed);
    let mut program = Some(state.start(&bed, &file));
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let idle = web.connect(at(9001), SOON).unwrap();
    assert!(asks(&idle, SOON));
    let listener = app.namespace().enter(|| TcpListener::bind(at(9002))).unwrap();
    let sender = web.connect(at(9002), SOON).unwrap();
    let receiver = listener.accept().unwrap().0;
    let datagrams = app.udp_socket(at(9003)).unwrap();
    datagrams.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let source = web.udp_socket(SocketAddr::new("10.0.10.10".parse().unwrap(), 5000)).unwrap();

    let stop = AtomicBool::new(false);
    let ((sent, (heard, tcp_gap)), (numbers, arrived, udp_gap)) = std::thread::scope(|scope| {
        let up = scope.spawn(|| count_up(sender, &stop));
        let down = scope.spawn(|| hear(receiver));
        let numbered = scope.spawn(|| {
            let mut next = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                source.send_to(&next.to_be_bytes(), at(9003)).unwrap();
                next += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            next
        });
        let counted = scope.spawn(|| {
            let (mut arrived, mut last, mut gap, mut number) = (0_u64, None, Gap::new(), [0; 8]);
            while !stop.load(Ordering::Relaxed) {
                if datagrams.recv(&mut number).is_ok() {
                    gap.came();
                    arrived += 1;
                    let number = u64::from_be_bytes(number);
                    assert!(last.is_none_or(|last| last < number), "none comes twice or out of order");
                    last = Some(number);
                }
            }
            (arrived, gap.longest)
        });
        for round in 1..=3 {
            std::thread::sleep(Duration::from_millis(700));
            let began = Instant::now();
            program.as_ref().expect("it runs").signal(libc::SIGTERM);
            let (status, counters) = program.take().expect("it runs").wait();
            let ended = began.elapsed();
            assert!(status.success(), "{counters}");
            let mode = std::fs::metadata(state.file("flows")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let started = state.start(&bed, &file);
            println!("restart {round}: ended after {ended:?}, running again after {:?}", began.elapsed());
            assert_eq!(started.count("3 of 3 saved flows are restored"), 1, "{:#?}", started.said());
            assert!(!state.file("flows").exists(), "it is used once");
            program = Some(started);
        }
        std::thread::sleep(Duration::from_millis(700));
        stop.store(true, Ordering::Relaxed);
        let (arrived, gap) = counted.join().unwrap();
        ((up.join().unwrap(), down.join().unwrap()), (numbered.join().unwrap(), arrived, gap))
    });
    println!("longest gap: UDP {udp_gap:?} ({} of {numbers} lost), TCP {tcp_gap:?}", numbers - arrived);
    assert_eq!(sent, heard);
    assert!(asks(&idle, SOON), "a connection that was silent all the while");
    assert!(udp_gap <= LONGEST_GAP, "{udp_gap:?}");
    // What TCP adds is the sender's: it doubles its patience for as long as nobody answers (RFC 6298 §5.5).
    assert!(tcp_gap <= 2 * LONGEST_GAP, "{tcp_gap:?}");
    // What was never allowed is not allowed by a restart either.
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    let program = program.expect("it runs");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn what_the_file_denies_at_the_restart_is_cut_and_the_rest_goes_on() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("redecide").unwrap();
    let (web, app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(ALL, "strict"));
    let state = State::new(&bed);
    let program = state.start(&bed, &file);
    let (_echo, _other) = (app.tcp_echo(at(9001)).unwrap(), app.tcp_echo(at(9002)).unwrap());
    let kept = web.connect(at(9001), SOON).unwrap();
    let cut = web.connect(at(9002), SOON).unwrap();
    assert!(asks(&kept, SOON) && asks(&cut, SOON));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    file.write(&text(r#""tcp/9001""#, "strict"));
    let events = state.file("events");
    let state_path = state.0.to_str().unwrap();
    let program = Program::start(&bed, &file, &["--state", state_path, "--events", events.to_str().unwrap()]);
    assert_eq!(program.count("1 of 2 saved flows are restored; not restored: 1 policy-changed"), 1);
    assert_eq!(program.count("the configuration has changed"), 1);
    assert!(asks(&kept, SOON));
    assert!(!asks(&cut, BRIEFLY));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let lines = std::fs::read_to_string(events).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["event"], &first["saved"], &first["restored"]),
        (&"flows-restored".into(), &2.into(), &1.into())
    );
    assert_eq!(first["skipped"], serde_json::json!({ "policy-changed": 1 }));
}

#[test]
fn a_crash_brings_no_flow_back_but_those_that_grace_takes_up() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("crash").unwrap();
    let (web, app) = hosts(&mut bed);
    let strict = GatewayFile::new(&bed, &text(ALL, "strict"));
    let state = State::new(&bed);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let program = state.start(&bed, &strict);
    let connection = web.connect(at(9001), SOON).unwrap();
    assert!(asks(&connection, SOON));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let program = state.start(&bed, &strict);
    assert!(asks(&connection, SOON));
    program.signal(libc::SIGKILL);
    program.wait();
    // The flow of the planned restart was used up by it.
    let program = state.start(&bed, &strict);
    assert_eq!(program.count("no saved flows"), 1, "{:#?}", program.said());
    assert!(!asks(&connection, BRIEFLY), "a stale flow came back");
    program.signal(libc::SIGKILL);
    program.wait();
    // A file that nothing can be made of is put aside, and `grace` does what it is for.
    std::fs::write(state.file("flows"), "no flows at all").unwrap();
    strict.write(&text(ALL, "grace"));
    let program = state.start(&bed, &strict);
    assert_eq!(program.count("no file of saved flows"), 1, "{:#?}", program.said());
    assert_eq!(std::fs::read(state.file("flows.broken")).unwrap(), b"no flows at all");
    assert!(!state.file("flows").exists() && !state.file("flows.restored").exists());
    assert!(asks(&connection, SOON), "taken up in mid-stream");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_directory_that_cannot_be_used_is_told_of_and_stops_nothing() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("nostate").unwrap();
    let (web, app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(ALL, "strict"));
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let program = Program::start(&bed, &file, &["--state", "/proc/nowhere"]);
    assert_eq!(program.count("/proc/nowhere: "), 1, "{:#?}", program.said());
    assert!(asks(&web.connect(at(9001), SOON).unwrap(), SOON));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
