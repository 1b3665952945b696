//! `bulkhead top` on a gateway at work, as text.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome, UdpOutcome};
use live::{BRIEFLY, GatewayFile, Program, SOON, at, hosts, socket, text};
use root::may_run;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

fn top(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("top").arg("--socket").arg(socket).args(arguments).stdout(Stdio::piped());
    command
}

/// How each frame begins.
const TITLE: &str = "bulkhead gateway ";

/// The frames of a `top` without end, one after the other.
struct Frames {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Frames {
    fn of(mut command: Command) -> Frames {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Frames { child, lines }
    }

    /// The first frame that is as wanted.
    fn wait_for(&mut self, mut is_wanted: impl FnMut(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        let mut frame = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.starts_with(TITLE) {
                if is_wanted(&frame) {
                    return frame;
                }
                assert!(Instant::now() < deadline, "{frame}");
                frame.clear();
            }
            frame += &line;
            frame.push('\n');
        }
        panic!("it has ended: {frame}");
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has(frame: &str, words: &[&str]) -> bool {
    let of_line = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    frame.lines().any(|line| of_line(line).windows(words.len()).any(|window| window == words))
}

#[test]
fn a_frame_of_text_has_the_gateways_flows_rules_and_denied_pairs() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("top").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = socket(&bed);
    let missing = top(&socket, &["--once"]).stderr(Stdio::null()).status().unwrap();
    assert_eq!(missing.code(), Some(3), "nobody answers");
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let output = top(&socket, &["-n", "2"]).output().unwrap();
    assert!(output.status.success());
    let two = String::from_utf8(output.stdout).unwrap();
    assert_eq!(two.matches(TITLE).count(), 2, "{two}");

    let mut frames = Frames::of(top(&socket, &[]));
    // It hears of events from some time on, which is known when it has heard of one.
    frames.wait_for(|frame| {
        assert_eq!(web.udp_request(at(7), b"x", BRIEFLY).unwrap(), UdpOutcome::TimedOut);
        frame.contains("udp/7")
    });
    for _ in 0..3 {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    }
    assert_eq!(web.udp_request(at(22), b"x", BRIEFLY).unwrap(), UdpOutcome::TimedOut);
    let last = frames.wait_for(|frame| {
        has(frame, &["3", "0", "served"]) && has(frame, &["1", "10.0.10.10", "->", "10.0.20.10", "udp/22"])
    });
    assert!(last.contains("default-deny"), "{last}");
    // One worker, which has had frames: its times are known.
    let line = last.lines().skip_while(|line| !line.contains("p99.9")).nth(1).unwrap();
    let worker: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((worker[0], worker.len()), ("0", 10), "{last}");
    assert!(worker[7].ends_with("µs") || worker[7].ends_with("ms"), "{worker:?}");
    drop(frames);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
