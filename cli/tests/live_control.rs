//! The control socket of a gateway at work: what it answers, and what it withstands.

mod live;
mod root;

use cli::testbed::{Bed, Host, TcpOutcome, UdpOutcome};
use live::{
    BRIEFLY, Folder, GatewayFile, Program, SOON, at, bulkhead, hosts, json, socket, text, wait_until,
};
use root::may_run;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn connects(web: &Host, port: u16) -> bool {
    web.tcp_connect(at(port), SOON).unwrap() == TcpOutcome::Connected
}

fn is_unanswered(web: &Host, port: u16) -> bool {
    web.tcp_connect(at(port), BRIEFLY).unwrap() == TcpOutcome::TimedOut
}

fn item<'a>(answer: &'a Value, key: &str, value: &str) -> &'a Value {
    let mut items = answer["items"].as_array().unwrap().iter();
    items.find(|item| item[key] == value).unwrap_or_else(|| panic!("no {key} {value} in {answer:#}"))
}

#[test]
fn a_gateway_at_work_tells_what_it_knows() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("show").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    // A datagram is sent once; a SYN would be sent again where the machine is slow.
    assert_eq!(web.udp_request(at(22), b"x", BRIEFLY).unwrap(), UdpOutcome::TimedOut);

    let status = json(&socket, &["show", "status"]);
    assert_eq!((&status["rules"], &status["workers"]), (&json!(1), &json!(1)));
    assert_eq!(status["in_force_on_all_workers"], true);
    let rules = json(&socket, &["show", "rules"]);
    let served = item(&rules, "id", "served");
    assert_eq!((&served["flows"], &served["drops"]), (&json!(1), &json!(0)));
    assert!(served["last_hit"].is_string());
    let drops = json(&socket, &["show", "drops"]);
    assert_eq!(item(&drops, "reason", "default-deny")["frames"], 1);
    let flows = json(&socket, &["show", "flows", "--service", "tcp/9001", "--from", "web"]);
    let flow = item(&flows, "rule", "served");
    assert_eq!((&flow["source"], &flow["destination"]), (&json!("10.0.10.10"), &json!(live::APP)));
    assert_eq!(flow["destination_port"], 9001);
    let none = json(&socket, &["show", "flows", "--from", "app"]);
    assert_eq!(none["items"], json!([]));
    let neighbors = json(&socket, &["show", "neighbors"]);
    assert_eq!(item(&neighbors, "address", live::APP)["state"], "known");
    // A veth may have no carrier for a moment after its XDP program is attached.
    let link = || item(&json(&socket, &["show", "ports"]), "name", "trunk0")["link"].clone();
    wait_until("the link is up", || link() == "up");
    for what in ["vlans", "segments", "workers", "config"] {
        assert!(!json(&socket, &["show", what])["items"].as_array().unwrap().is_empty(), "{what}");
    }
    assert_eq!(json(&socket, &["show", "counters"])["dropped"]["default-deny"], 1);
    let (code, table) = bulkhead(&socket, &["show", "rules"]);
    assert_eq!(code, 0);
    assert!(table.lines().next().unwrap().starts_with("RULE"), "{table}");
    assert_eq!(bulkhead(&socket, &["show", "flows", "--from", "nobody"]).0, 2);

    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    assert!(!socket.exists(), "the socket is taken away");
    assert_eq!(bulkhead(&socket, &["show", "status"]).0, 3);
}

#[test]
fn no_client_can_harm_the_gateway() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("abuse").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let connect = || {
        let stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut hello = String::new();
        lines.read_line(&mut hello).unwrap();
        (stream, lines, hello)
    };

    // Nonsense is answered, and the connection goes on.
    let (mut stream, mut lines, hello) = connect();
    assert_eq!(serde_json::from_str::<Value>(&hello).unwrap()["protocol"], 1);
    for nonsense in
        ["", "{", "[1,2]", "\u{7f}\0", r#"{"protocol":2}"#, r#"{"protocol":1,"request":{"command":"x"}}"#]
    {
        writeln!(stream, "{nonsense}").unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["error"]["code"], "usage", "{nonsense:?}: {line}");
    }

    // One that asks and never reads, one that sends a line without end, and some that say nothing.
    let (mut unread, _lines, _) = connect();
    unread.set_nonblocking(true).unwrap();
    let request =
        format!("{}\n", json!({ "protocol": 1, "request": { "command": "show", "what": "config" } }));
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(500) {
        let _ = unread.write(request.as_bytes());
    }
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    let (mut endless, _, _) = connect();
    endless.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let _ = endless.write_all(&vec![b'x'; 32 << 20]);

    // Meanwhile, requests are answered and frames forwarded.
    let ask = format!("{}\n", json!({ "protocol": 1, "request": { "command": "show", "what": "drops" } }));
    let asks = 10_000;
    let sender = std::thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || (0..asks).for_each(|_| stream.write_all(ask.as_bytes()).unwrap())
    });
    for _ in 0..5 {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    }
    let mut answers = 0;
    while answers < asks {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{answers} answers");
        assert!(!line.starts_with(r#"{"error"#), "{line}");
        answers += u32::from(line.starts_with(r#"{"ok"#));
    }
    sender.join().unwrap();

    // More clients than there are places are told so.
    let crowd: Vec<_> = (0..40).map(|_| connect()).collect();
    let mut last = crowd.into_iter().next_back().unwrap();
    let mut said = String::new();
    last.1.read_to_string(&mut said).unwrap();
    assert!(said.contains("busy"), "{said}");
    drop((silent, unread, endless));

    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_change_is_seen_made_confirmed_and_taken_back() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("apply").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let state = folder.path("state");
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state];
    let mut program = Program::start(&bed, &file, &arguments);
    let (_one, _two) = (app.tcp_echo(at(9001)).unwrap(), app.tcp_echo(at(9002)).unwrap());
    let (can, cannot) = (|port| connects(&web, port), |port| is_unanswered(&web, port));
    assert!(can(9001) && cannot(9002));

    let other = folder.file("other.toml", &text(r#""tcp/9002""#, "adaptive"));
    // Seen: what differs, and that the flow on 9001 would end. Nothing changes by it.
    let seen = json(&socket, &["apply", &other, "--dry-run"]);
    assert_eq!(item(&seen, "name", "served")["details"], json!(["service: tcp/9001 -> tcp/9002"]));
    assert!(seen["summary"]["flows_ended"].as_u64().unwrap() >= 1, "{seen:#}");
    assert!(can(9001) && cannot(9002));

    // Made, and not confirmed: it goes back by itself.
    let applied = json(&socket, &["apply", &other, "--confirm=5s", "-m", "move to 9002"]);
    assert_eq!(applied["version"], 2);
    assert!(applied["in_force_ms"].as_f64().unwrap() < 1000.0, "{applied}");
    assert!(cannot(9001) && can(9002));
    program.wait_for("was not confirmed in time: version 1 is in force again", 1);
    assert!(can(9001) && cannot(9002));

    // Made, and the process killed before it is confirmed: the next one begins with what was before.
    json(&socket, &["apply", &other, "--confirm=60s"]);
    assert!(can(9002));
    program.signal(libc::SIGKILL);
    drop(program);
    let program = Program::start(&bed, &file, &arguments);
    assert!(can(9001) && cannot(9002));

    // Made and confirmed: it stays, also after a restart, until it is taken back.
    json(&socket, &["apply", &other, "--confirm=60s"]);
    assert_eq!(bulkhead(&socket, &["confirm", "-m", "works"]).0, 0);
    assert_eq!(bulkhead(&socket, &["confirm"]).0, 1);
    program.signal(libc::SIGTERM);
    program.wait();
    let program = Program::start(&bed, &file, &arguments);
    assert!(cannot(9001) && can(9002));
    assert_eq!(bulkhead(&socket, &["rollback"]).0, 0);
    assert!(can(9001) && cannot(9002));
    assert_eq!(bulkhead(&socket, &["rollback", "77"]).0, 4);

    // A file that is not fit changes nothing.
    std::fs::write(&other, "[segment.web]\nmembers = [\"nonsense\"]\n").unwrap();
    assert_eq!(bulkhead(&socket, &["apply", &other]).0, 4);
    // Nor does one that wants a restart.
    std::fs::write(&other, text(r#""tcp/9002""#, "poll")).unwrap();
    assert_eq!(bulkhead(&socket, &["apply", &other]).0, 4);
    assert!(can(9001) && cannot(9002));

    let history = json(&socket, &["history"]);
    let actions: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|i| i["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions,
        ["start", "apply", "revert", "apply", "start", "apply", "confirm", "start", "rollback"]
    );
    assert_eq!(bulkhead(&socket, &["history", "--verify"]).0, 0);
    let path = folder.path("state/history.jsonl");
    let tampered = std::fs::read_to_string(&path).unwrap().replace("move to 9002", "move to 9003");
    std::fs::write(&path, tampered).unwrap();
    assert_eq!(bulkhead(&socket, &["history", "--verify"]).0, 1);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn what_is_done_beside_the_files_holds_ends_and_is_kept() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("acts").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let state = folder.path("state");
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state];
    let mut program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let (can, cannot) = (|| connects(&web, 9001), || is_unanswered(&web, 9001));
    let say = |arguments: &[&str]| {
        let (code, text) = bulkhead(&socket, arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    };
    assert!(can());
    assert_eq!(say(&["segment", "of", "10.0.10.10"]), "web\n");

    // Quarantine ends the flows that there are, holds over a restart, and ends by itself.
    assert!(say(&["flow", "count", "--with", "10.0.10.10"]).trim() != "0");
    let text_of = say(&["quarantine", "10.0.10.10"]);
    assert!(text_of.contains("flows ended: ") && !text_of.contains("ended: 0"), "{text_of}");
    assert_eq!(say(&["flow", "count", "--with", "10.0.10.10"]).trim(), "0");
    assert!(cannot());
    program.signal(libc::SIGTERM);
    program.wait();
    program = Program::start(&bed, &file, &arguments);
    assert!(cannot());
    assert_eq!(
        item(&json(&socket, &["show", "rules"]), "id", "quarantine-from:10.0.10.10")["tier"],
        "default"
    );
    say(&["quarantine", "10.0.10.10", "--for", "1s"]);
    program.wait_for("the time is over", 1);
    assert!(can());
    assert_eq!(bulkhead(&socket, &["release", "10.0.10.10"]).0, 1);

    // A member taken out, and put back by its release; the files are as they were.
    say(&["segment", "remove", "web", "10.0.10.0/28"]);
    assert!(cannot());
    assert_eq!(bulkhead(&socket, &["segment", "of", "10.0.10.10"]).0, 1);
    say(&["segment", "release", "web", "10.0.10.0/28"]);
    assert!(can());
    assert_eq!(bulkhead(&socket, &["segment", "add", "nobody", "10.0.10.10"]).0, 4);

    // A segment in monitor mode lets through what the default denies.
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    say(&["mode", "app", "monitor", "--for", "1h"]);
    assert_eq!(web.tcp_connect(at(22), SOON).unwrap(), TcpOutcome::Refused);
    let acts = json(&socket, &["segment", "list"]);
    assert_eq!(item(&acts, "what", "app is in monitor mode")["user"], "root");
    say(&["mode", "app", "file"]);
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);

    // Flows can be ended, but not all of them by a slip.
    assert!(can());
    assert_eq!(bulkhead(&socket, &["flow", "kill"]).0, 2);
    assert!(say(&["flow", "kill", "--rule", "served"]).starts_with("flows ended: "));
    assert_eq!(say(&["flow", "count", "--rule", "served"]).trim(), "0");
    assert_eq!(bulkhead(&socket, &["history", "--verify"]).0, 0);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
