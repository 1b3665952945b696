//! A planned restart of `bulkhead run` under traffic, and what is left of its flows when it was none.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{BRIEFLY, Folder, GatewayFile, Program, SOON, asks, at, hosts, wait_until};
use root::may_run;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a planned restart may cost.
const LONGEST_GAP: Duration = Duration::from_secs(1);

/// The gateway of the other tests, with a way to take up flows.
fn text(services: &str, pickup: &str) -> String {
    format!("[conntrack]\npickup = \"{pickup}\"\n{}", live::text(services, "adaptive"))
}

const ALL: &str = r#""tcp/9001", "tcp/9002", "udp/9003""#;

/// A directory for flows.
struct State(Folder);

impl State {
    fn new(bed: &Bed) -> State {
        State(Folder::new(bed))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path(name).into()
    }

    fn start(&self, bed: &Bed, file: &GatewayFile) -> Program {
        Program::start(bed, file, &["--state", &self.0.path("")])
    }
}

/// How often something came, and the longest time in which nothing did, in microseconds.
#[derive(Default)]
struct Gap {
    times: AtomicU64,
    longest: AtomicU64,
}

impl Gap {
    /// Something came; when it did before is kept in `last`.
    fn came(&self, last: &mut Instant) {
        let now = Instant::now();
        self.longest.fetch_max((now - *last).as_micros() as u64, Ordering::Relaxed);
        *last = now;
        self.times.fetch_add(1, Ordering::Relaxed);
    }

    /// The longest of late, once something has come again.
    fn take(&self) -> Duration {
        let before = self.times.load(Ordering::Relaxed);
        wait_until("something comes again", || self.times.load(Ordering::Relaxed) > before + 1);
        Duration::from_micros(self.longest.swap(0, Ordering::Relaxed))
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

/// Hears them all and checks that they are those; how many.
fn hear(mut stream: TcpStream, gap: &Gap) -> u64 {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut next, mut last, mut rest, mut block) = (0_u64, Instant::now(), Vec::new(), vec![0; 65_536]);
    loop {
        let got = stream.read(&mut block).expect("the transfer goes on");
        if got == 0 {
            assert!(rest.is_empty());
            return next;
        }
        gap.came(&mut last);
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
    let (udp, tcp) = (Gap::default(), Gap::default());
    let (mut udp_gaps, mut tcp_gaps) = (Vec::new(), Vec::new());
    let ((sent, heard), (numbers, arrived)) = std::thread::scope(|scope| {
        let up = scope.spawn(|| count_up(sender, &stop));
        let down = scope.spawn(|| hear(receiver, &tcp));
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
            let (mut arrived, mut last, mut at, mut number) = (0_u64, None, Instant::now(), [0; 8]);
            while !stop.load(Ordering::Relaxed) {
                if datagrams.recv(&mut number).is_ok() {
                    udp.came(&mut at);
                    arrived += 1;
                    let number = u64::from_be_bytes(number);
                    assert!(last.is_none_or(|last| last < number), "none comes twice or out of order");
                    last = Some(number);
                }
            }
            arrived
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
            udp_gaps.push(udp.take());
            tcp_gaps.push(tcp.take());
        }
        std::thread::sleep(Duration::from_millis(700));
        stop.store(true, Ordering::Relaxed);
        let arrived = counted.join().unwrap();
        ((up.join().unwrap(), down.join().unwrap()), (numbered.join().unwrap(), arrived))
    });
    println!("longest gaps: UDP {udp_gaps:?} ({} of {numbers} lost), TCP {tcp_gaps:?}", numbers - arrived);
    udp_gaps.sort_unstable();
    tcp_gaps.sort_unstable();
    // The middle one: a machine with more to do may keep one start waiting.
    let (udp_gap, tcp_gap) = (udp_gaps[1], tcp_gaps[1]);
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
    let program =
        Program::start(&bed, &file, &["--state", &state.0.path(""), "--events", events.to_str().unwrap()]);
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
