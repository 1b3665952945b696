//! The demo as a user has it: the program, run as root.

mod root;

use root::may_run;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("demo");
    command
}

/// The namespaces of a process.
fn namespaces_of(process: u32) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|e| e.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("bh-{process}-"))).collect()
}

#[test]
fn everything_comes_out_as_the_policy_says_and_nothing_is_left_behind() {
    if !may_run() {
        return;
    }
    let start = Instant::now();
    let child = demo().args(["-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let process = child.id();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let came: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(came["as_expected"], true, "{text}");
    let scenes = came["scenes"].as_array().unwrap();
    assert_eq!(scenes.len(), 17);
    for (saw, verdict, arrived, count) in [
        ("answered", "forward", true, 6),
        ("refused", "reject", false, 2),
        ("prohibited", "reject", false, 2),
        ("silence", "drop", false, 4),
        ("-", "drop", false, 3),
    ] {
        let alike = |s: &&serde_json::Value| {
            s["saw"] == saw && s["verdict"] == verdict && s["arrived"] == arrived && s["as_expected"] == true
        };
        assert_eq!(scenes.iter().filter(alike).count(), count, "{saw}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert_eq!(namespaces_of(process), [""; 0]);
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}

/// Starts a demo that stays, and waits until it says so.
fn paused() -> Child {
    let mut child = demo().arg("--pause").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("Enter or Ctrl-C ends it")));
    child
}

#[test]
fn a_paused_demo_can_be_looked_at_and_ends_on_enter() {
    if !may_run() {
        return;
    }
    let mut child = paused();
    let web = format!("bh-{}-demo-web", child.id());
    let mut ping = cli::testbed::command_in(&web, "ping").unwrap();
    ping.args(["-c", "1", "-W", "5", "10.0.20.10"]).stdout(Stdio::null());
    assert!(ping.status().unwrap().success());
    assert_eq!(namespaces_of(child.id()).len(), 5);
    let process = child.id();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("All 17 came out"));
    assert_eq!(namespaces_of(process), [""; 0]);
}

#[test]
fn a_demo_that_is_told_to_end_leaves_nothing_whenever_that_is() {
    if !may_run() {
        return;
    }
    for (signal, number, after) in [("INT", 2, 30), ("TERM", 15, 300), ("INT", 2, 700), ("HUP", 1, 2000)] {
        // Who started the tests may have them ignore SIGINT, as a shell does with what it puts into the background.
        let mut child = Command::new("env");
        child.args(["--default-signal", env!("CARGO_BIN_EXE_bulkhead"), "demo"]);
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        cli::testbed::send_signal(child.id(), number).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(number), "{signal} after {after} ms");
        assert_eq!(namespaces_of(child.id()), [""; 0], "{signal} after {after} ms");
    }
    let mut child = paused();
    cli::testbed::send_signal(child.id(), 2).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert_eq!(namespaces_of(child.id()), [""; 0]);
}

#[test]
fn without_root_it_says_so_in_a_line() {
    if !may_run() {
        return;
    }
    // Where nobody can reach it, which the build's folder may not be.
    let copy = std::env::temp_dir().join(format!("bulkhead-test-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_bulkhead"), &copy).unwrap();
    let output = Command::new(&copy).arg("demo").uid(65534).gid(65534).current_dir("/").output();
    std::fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("root") && said.lines().count() == 1, "{said}");
}
