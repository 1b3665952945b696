//! What a machine does to a gateway at work: clocks that jump, disks that are full, clients without end.

mod live;
mod root;

use cli::testbed::{Bed, Host, TcpOutcome};
use live::{
    BRIEFLY, Folder, GatewayFile, Program, SOON, at, bulkhead, hosts, json, socket, text, wait_until,
};
use root::may_run;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn connects(web: &Host, port: u16, patience: Duration) -> bool {
    web.tcp_connect(at(port), patience).unwrap() == TcpOutcome::Connected
}

/// A library that shifts a program's wall clock by as many seconds as a file says, and no other clock: setting the
/// machine's would be felt by everybody on it.
const SHIFTED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <time.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static volatile long long *shift;
    if (!shift) {
        int file = open(getenv("SHIFT_FILE"), O_RDONLY);
        shift = mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    int answer = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME)
        time->tv_sec += *shift;
    return answer;
}
"#;

#[test]
fn a_wall_clock_that_jumps_by_an_hour_ends_nothing_early_and_nothing_late() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("clock").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let (library, source) = (folder.path("shifted.so"), folder.file("shifted.c", SHIFTED_CLOCK));
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, &source]).status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no C compiler for a clock that jumps");
        return;
    }
    let shift = folder.path("shift");
    let jump = |seconds: i64| {
        // In place, for it is mapped.
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&shift).unwrap();
        file.write_all(&seconds.to_ne_bytes()).unwrap();
    };
    jump(0);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let state = folder.path("state");
    let mut command = bed.gateway().command(env!("CARGO_BIN_EXE_bulkhead"));
    command.env("LD_PRELOAD", &library).env("SHIFT_FILE", &shift);
    let mut program =
        Program::begin(command, &file, &["--socket", socket.to_str().unwrap(), "--state", &state]);
    program.wait_for("bulkhead: running", 1);
    let _echoes = [app.tcp_echo(at(9001)).unwrap(), app.tcp_echo(at(9002)).unwrap()];
    assert!(connects(&web, 9001, SOON));
    let flows = || json(&socket, &["show", "flows"])["items"].as_array().unwrap().len();
    let other = folder.file("other.toml", &text(r#""tcp/9001", "tcp/9002""#, "adaptive"));
    let mut reverts = 0;
    for hours in [1, -2, 2] {
        let held = flows();
        assert!(held > 0);
        let begun = Instant::now();
        assert_eq!(bulkhead(&socket, &["apply", &other, "--confirm=4s"]).0, 0);
        assert_eq!(bulkhead(&socket, &["segment", "add", "app", "10.0.99.1", "--for", "4s"]).0, 0);
        jump(hours * 3600);
        if hours == 1 {
            // It has reached the gateway.
            assert_eq!(bulkhead(&socket, &["segment", "add", "app", "10.0.99.2"]).0, 0);
            let acts = json(&socket, &["segment", "list"]);
            let since =
                acts["items"].as_array().unwrap().last().unwrap()["since"].as_str().unwrap().to_owned();
            let since: jiff::Timestamp = since.parse().unwrap();
            assert!(since.duration_since(jiff::Timestamp::now()).as_secs() > 3500, "{since}");
            assert!(json(&socket, &["show", "status"])["uptime_s"].as_i64().unwrap() < 3600);
        }
        // Long enough for whoever looks at the clock to have looked; then nothing is over yet, unless the machine was so
        // slow that it has to be.
        std::thread::sleep(Duration::from_millis(500));
        let is_in_force = connects(&web, 9002, BRIEFLY);
        let is_member = bulkhead(&socket, &["segment", "list"]).1.contains("10.0.99.1");
        let is_early = begun.elapsed() < Duration::from_secs(4);
        assert!((is_in_force && is_member) || !is_early, "{hours} hours: {is_in_force} {is_member}");
        assert!(flows() >= held, "{hours} hours: flows live by another clock");
        reverts += 1;
        program.wait_for("is in force again", reverts);
        assert!(!connects(&web, 9002, BRIEFLY));
        wait_until("the act is over", || !bulkhead(&socket, &["segment", "list"]).1.contains("10.0.99.1"));
    }
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

/// A file system that is soon full, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(folder: &Folder) -> Option<SmallDisk> {
        let path = PathBuf::from(folder.path("disk"));
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "bulkhead-test"])
            .arg(&path)
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(SmallDisk(path))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_changes_and_nothing_else() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("full").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let Some(disk) = SmallDisk::new(&folder) else {
        eprintln!("skipped: no file system can be mounted");
        return;
    };
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let (state, events) = (disk.0.join("state"), disk.0.join("events.jsonl"));
    let arguments = [
        "--socket",
        socket.to_str().unwrap(),
        "--state",
        state.to_str().unwrap(),
        "--events",
        events.to_str().unwrap(),
    ];
    let program = Program::start(&bed, &file, &arguments);
    let _echoes = [app.tcp_echo(at(9001)).unwrap(), app.tcp_echo(at(9002)).unwrap()];
    assert!(connects(&web, 9001, SOON));
    let other = folder.file("other.toml", &text(r#""tcp/9001", "tcp/9002""#, "adaptive"));
    disk.fill();
    // What can't be kept is not done; else a restart would undo it without a word.
    assert_eq!(bulkhead(&socket, &["apply", &other]).0, 4);
    assert_eq!(bulkhead(&socket, &["segment", "add", "app", "10.0.99.1"]).0, 4);
    for _ in 0..20 {
        assert!(connects(&web, 9001, SOON));
    }
    assert!(!connects(&web, 9002, BRIEFLY));
    assert!(!bulkhead(&socket, &["segment", "list"]).1.contains("10.0.99.1"));
    assert_eq!(json(&socket, &["show", "status"])["deny_all"], Value::Null);
    disk.clear();
    assert_eq!(bulkhead(&socket, &["apply", &other]).0, 0);
    assert!(connects(&web, 9002, SOON));
    assert_eq!(bulkhead(&socket, &["history", "--verify"]).0, 0);
    // Full again at the end: the flows are not saved, it says so, and ends in order.
    disk.fill();
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    disk.clear();
    let program = Program::start(&bed, &file, &arguments);
    assert!(connects(&web, 9002, SOON), "what was applied is in force");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

/// Requests in all; `BULKHEAD_REQUESTS=100000` is the whole of it.
fn requests() -> u64 {
    std::env::var("BULKHEAD_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

fn client(socket: &Path) -> (UnixStream, BufReader<UnixStream>) {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    lines.read_line(&mut String::new()).unwrap();
    (stream, lines)
}

#[test]
fn clients_without_end_are_all_answered_and_no_datagram_is_lost_meanwhile() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("endless").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(r#""udp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let _echo = app.udp_echo(at(9001)).unwrap();
    let stream = web.udp_socket("10.0.10.10:0".parse().unwrap()).unwrap();
    stream.connect(at(9001)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let each = requests() / 4;
    let (sent, received) = std::thread::scope(|scope| {
        // Some that ask, in bursts that are larger than what a socket holds.
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut stream, mut lines) = client(&socket);
                    let request =
                        json!({ "protocol": 1, "request": { "command": "show", "what": "workers" } });
                    let burst = format!("{request}\n").repeat(50);
                    for _ in 0..each / 50 {
                        stream.write_all(burst.as_bytes()).unwrap();
                        let mut ends = 0;
                        while ends < 50 {
                            let mut line = String::new();
                            assert!(lines.read_line(&mut line).unwrap() > 0, "let go before the end");
                            ends += u64::from(line.starts_with("{\"ok\"") || line.starts_with("{\"error\""));
                        }
                        answered.fetch_add(ends, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // Some that ask and never read, that send garbage, and that send a line without end.
        for kind in 0..3 {
            let (socket, is_over) = (&socket, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let Ok(mut stream) = UnixStream::connect(socket) else { continue };
                    let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
                    let _ = match kind {
                        0 => stream.write_all(
                            "{\"protocol\":1,\"request\":{\"command\":\"show\",\"what\":\"config\"}}\n"
                                .repeat(2000)
                                .as_bytes(),
                        ),
                        1 => stream.write_all(&(0..=255_u8).cycle().take(1 << 20).collect::<Vec<_>>()),
                        _ => stream.write_all(&vec![b'['; 8 << 20]),
                    };
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // Meanwhile, datagrams go there and back, each with its number.
        let (mut sent, mut received) = (0_u64, 0_u64);
        while !asking.iter().all(|thread| thread.is_finished()) {
            stream.send(&sent.to_be_bytes()).unwrap();
            sent += 1;
            let mut bytes = [0; 8];
            if stream.recv(&mut bytes).is_ok() {
                assert_eq!(u64::from_be_bytes(bytes), received, "in order");
                received += 1;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (sent, received)
    });
    assert_eq!(sent, received, "no datagram is lost");
    assert!(sent > 100, "{sent} datagrams in the time of {} requests", requests());
    assert_eq!(answered.load(Ordering::Relaxed), each / 50 * 50 * 4);
    let (mut stream, mut lines) = client(&socket);
    stream.write_all(b"{\"protocol\":1,\"request\":{\"command\":\"show\",\"what\":\"status\"}}\n").unwrap();
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"ok\""), "{line}");
    drop((stream, lines));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
