//! `bulkhead top` on a gateway at work, as text.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{BRIEFLY, GatewayFile, Program, SOON, at, hosts, text};
use root::may_run;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn top(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("top").arg("--socket").arg(socket).args(arguments).stdout(Stdio::piped());
    command
}

#[test]
fn a_frame_of_text_has_the_gateways_flows_rules_and_denied_pairs() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("top").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = std::env::temp_dir().join(format!("{}.sock", bed.name()));
    let missing = top(&socket, &["--once"]).stderr(Stdio::null()).status().unwrap();
    assert_eq!(missing.code(), Some(3), "nobody answers");
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let child = top(&socket, &["-n", "2", "-d", "2"]).spawn().unwrap();
    // It listens by now.
    std::thread::sleep(Duration::from_millis(700));
    for _ in 0..3 {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    }
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let frames = String::from_utf8(output.stdout).unwrap();
    assert_eq!(frames.matches("bulkhead gateway ").count(), 2, "{frames}");
    let last = &frames[frames.rfind("bulkhead gateway ").unwrap()..];
    let has = |words: &[&str]| {
        last.lines()
            .any(|l| l.split_whitespace().collect::<Vec<_>>().windows(words.len()).any(|w| w == words))
    };
    assert!(has(&["3", "0", "served"]), "{last}");
    assert!(has(&["1", "10.0.10.10", "->", "10.0.20.10", "tcp/22"]), "{last}");
    assert!(last.contains("default-deny"), "{last}");
    // One worker, which has had frames: its times are known in the first frame.
    let worker = |frame: &str| {
        let line = frame.lines().skip_while(|line| !line.contains("p99.9")).nth(1).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = worker(&frames);
    assert_eq!((first[0].as_str(), first.len()), ("0", 10), "{frames}");
    assert!(first[7].ends_with("µs") || first[7].ends_with("ms"), "{first:?}");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
