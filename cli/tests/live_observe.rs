//! What a gateway at work tells others: clients that observe, files, syslog, Prometheus.

mod live;
mod prometheus;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{BRIEFLY, GatewayFile, Program, SOON, at, hosts, socket, text, wait_until};
use prometheus::Scrape;
use root::may_run;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `bulkhead observe` writes, and how it ends.
fn observe(socket: &Path, arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["observe", "-o", "jsonl"])
        .args(arguments)
        .arg("--socket")
        .arg(socket)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines)
}

fn get(bed: &Bed, address: SocketAddr) -> String {
    let mut stream = bed.gateway().enter(|| TcpStream::connect(address)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body.to_owned()
}

#[test]
fn events_are_found_by_every_filter_and_followed_and_counted() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("observe").unwrap();
    let (web, app) = hosts(&mut bed);
    assert!(bed.gateway().command("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let socket = socket(&bed);
    let log = std::env::temp_dir().join(format!("{}.log", bed.name()));
    let _ = std::fs::remove_file(&log);
    let collector = UnixDatagram::bind(&log).unwrap();
    collector.set_read_timeout(Some(SOON)).unwrap();
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let syslog = format!("unix:{}", log.display());
    let arguments =
        ["--socket", socket.to_str().unwrap(), "--metrics", "9469", "--syslog", &syslog, "--event-rate", "0"];
    let program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let mut follower = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["observe", "-f", "-o", "jsonl", "--reason", "default-deny", "--socket"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let followed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let (hear, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || followed.map_while(Result::ok).try_for_each(|line| hear.send(line)));
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    // What comes before it is connected is missed.
    let mut line = None;
    wait_until("the follower hears of a drop", || {
        assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
        line = heard.try_recv().ok();
        line.is_some()
    });
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!((&line["destination_port"], &line["reason"]), (&json!(22), &json!("default-deny")));
    follower.kill().unwrap();
    follower.wait().unwrap();

    let ports = |filter: &[&str]| -> Vec<Value> {
        let (code, lines) = observe(&socket, filter);
        assert_eq!(code, 0, "{filter:?}");
        let mut ports: Vec<Value> =
            lines.iter().filter(|l| l["protocol"] == 6).map(|l| l["destination_port"].clone()).collect();
        ports.dedup();
        ports
    };
    assert_eq!(ports(&[]), [json!(9001), json!(22)]);
    for filter in [
        &["--verdict", "forward"][..],
        &["--rule", "served"],
        &["--service", "tcp/9001"],
        &["--service", "tcp/9001", "--from", "web", "--to", "10.0.20.0/24", "--since", "1h"],
    ] {
        assert_eq!(ports(filter), [json!(9001)], "{filter:?}");
    }
    for filter in [
        &["--reason", "default-deny"][..],
        &["--verdict", "drop", "--from", "10.0.10.10", "--to", "segment:app"],
        &["--rule", "default", "--service", "tcp/22"],
    ] {
        assert_eq!(ports(filter), [json!(22)], "{filter:?}");
    }
    for filter in [
        &["--from", "app"][..],
        &["--since", "2200-01-01T00:00:00Z"],
        &["--last", "0"],
        &["--reason", "spoofed"],
    ] {
        assert!(ports(filter).is_empty(), "{filter:?}");
    }
    assert_eq!(observe(&socket, &["--last", "1"]).1.len(), 1);
    for wrong in [&["--reason", "default-denny"][..], &["--from", "nobody"], &["-f", "-o", "json"]] {
        let status = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
            .arg("observe")
            .args(wrong)
            .arg("--socket")
            .arg(&socket)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{wrong:?}");
    }

    // Syslog has the same.
    let mut of_ssh = String::new();
    while !of_ssh.contains("dpt=\"22\"") {
        let mut bytes = [0; 4096];
        let length = collector.recv(&mut bytes).expect("a message of the drop");
        of_ssh = String::from_utf8(bytes[..length].to_vec()).unwrap();
    }
    // Facility 16, severity 4.
    assert!(of_ssh.starts_with("<132>1 "), "{of_ssh}");
    assert!(
        of_ssh.contains(r#"reason="default-deny""#) && of_ssh.contains(r#"src="10.0.10.10""#),
        "{of_ssh}"
    );

    // Prometheus too.
    let metrics = "127.0.0.1:9469".parse().unwrap();
    let scrape = Scrape::parse(&get(&bed, metrics)).unwrap_or_else(|error| panic!("{error}"));
    let drops = observe(&socket, &["--reason", "default-deny"]).1.len() as f64;
    assert_eq!(scrape.value("bulkhead_drops_total", &[("reason", "default-deny")]), Some(drops));
    let hits = [("rule", "served"), ("what", "flows")];
    assert_eq!(scrape.value("bulkhead_rule_hits_total", &hits), Some(1.0));
    assert_eq!(scrape.value("bulkhead_default_hits_total", &[("what", "drops")]), Some(drops));
    // A veth has no carrier for a moment when a program is attached to it.
    assert!(scrape.value("bulkhead_port_up", &[("port", "trunk0")]).is_some());
    assert!(scrape.value("bulkhead_frames_received_total", &[("worker", "0")]) > Some(2.0));
    assert_eq!(scrape.value("bulkhead_events_lost_total", &[("at", "ring")]), Some(0.0));

    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let _ = std::fs::remove_file(&log);
}

/// Sends datagrams that the policy denies.
fn flood(web: &cli::testbed::Host, count: u32) {
    web.namespace().enter(|| {
        let socket = std::net::UdpSocket::bind("10.0.10.10:0").unwrap();
        for _ in 0..count {
            // What the kernel has no room for is not sent.
            let _ = socket.send_to(b"x", at(7777));
        }
    });
}

#[test]
fn stalled_readers_and_full_disks_hold_nobody_up_and_drops_over_the_rate_are_counted() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("stalled").unwrap();
    let (web, app) = hosts(&mut bed);
    assert!(bed.gateway().command("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    // A disk that is always full, and a collector that is not there.
    let arguments = [
        "--socket",
        socket.to_str().unwrap(),
        "--events",
        "/dev/full",
        "--syslog",
        "udp:127.0.0.1:9",
        "--metrics",
        "9469",
        "--event-rate",
        "100",
    ];
    let program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    // One that observes and never reads.
    let mut stalled = UnixStream::connect(&socket).unwrap();
    let request = json!({ "protocol": 1, "request": { "command": "observe", "follow": true } });
    writeln!(stalled, "{request}").unwrap();
    flood(&web, 20_000);
    for _ in 0..5 {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    }
    let metrics = "127.0.0.1:9469".parse().unwrap();
    let denied = [("reason", "default-deny")];
    wait_until("what was over is told", || {
        std::thread::sleep(Duration::from_millis(600));
        let scrape = Scrape::parse(&get(&bed, metrics)).unwrap_or_else(|error| panic!("{error}"));
        let over = scrape.value("bulkhead_events_suppressed_total", &denied).unwrap_or(0.0);
        let lost = scrape.value("bulkhead_events_lost_total", &[("at", "ring")]).unwrap_or(0.0);
        let told = observe(&socket, &["--reason", "default-deny"]).1;
        let events =
            told.iter().filter(|line| line["suppressed"].is_null() && line["lost"].is_null()).count();
        let dropped = scrape.value("bulkhead_drops_total", &denied).unwrap();
        over > 0.0 && events as f64 + over + lost == dropped
    });
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn the_parser_of_the_tests_refuses_what_prometheus_would() {
    for (wrong, text) in [
        ("no end", "# TYPE a gauge\na 1"),
        ("a sample before its type", "a 1\n# TYPE a gauge\n"),
        ("no type", "a 1\n"),
        ("a name", "# TYPE 1a counter\n1a 1\n"),
        ("twice", "# TYPE a gauge\na{b=\"1\"} 1\na{b=\"1\"} 2\n"),
        ("a label twice", "# TYPE a gauge\na{b=\"1\",b=\"2\"} 1\n"),
        ("an escape", "# TYPE a gauge\na{b=\"\\x\"} 1\n"),
        ("an open value", "# TYPE a gauge\na{b=\"1} 1\n"),
        ("a number", "# TYPE a gauge\na one\n"),
        ("a counter's name", "# TYPE a counter\na 1\n"),
        ("two types", "# TYPE a gauge\na 1\n# TYPE a gauge\n"),
        ("apart", "# TYPE a gauge\na{x=\"1\"} 1\n# TYPE b gauge\nb 1\na{x=\"2\"} 1\n"),
        ("a negative counter", "# TYPE a_total counter\na_total -1\n"),
    ] {
        assert!(Scrape::parse(text).is_err(), "{wrong}");
    }
    let good = "# HELP a_total x\\\\y\\nz\n# TYPE a_total counter\na_total{b=\"\\\"\\\\\\n\"} 1\n";
    let scrape = Scrape::parse(good).unwrap();
    assert_eq!(scrape.value("a_total", &[("b", "\"\\\n")]), Some(1.0));
}
