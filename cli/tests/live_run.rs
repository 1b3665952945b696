//! `bulkhead run` as its operator has it: signals, reloads, and what is left when it ends.

mod live;
mod root;

use cli::testbed::{Bed, PingOutcome, TcpOutcome};
use dataplane::port::xdp::offload;
use live::{APP, BRIEFLY, GatewayFile, PING, Program, SOON, asks, at, hosts, link, text, wait_until};
use root::may_run;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

#[test]
fn a_new_policy_cuts_what_it_denies_and_leaves_a_running_transfer_alone() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("reload").unwrap();
    let (web, app) = hosts(&mut bed);
    let both = text(r#""tcp/9000", "tcp/9001""#, "adaptive");
    let file = GatewayFile::new(&bed, &both);
    let mut program = Program::start(&bed, &file, &[]);
    let _sink = app.bulk_sink(at(9000)).unwrap();
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let connection = web.connect(at(9001), SOON).unwrap();
    assert!(asks(&connection, SOON));

    // Policies change all the while; all of them have what the transfer needs.
    let megabytes = 200;
    let reloads = std::thread::scope(|scope| {
        let transfer = scope.spawn(|| web.bulk_send(at(9000), megabytes * 1_000_000, 3 * SOON));
        let mut reloads = 0;
        while !transfer.is_finished() {
            let other = format!(r#""tcp/9001", "tcp/{}", "tcp/9000""#, 1000 + reloads);
            file.write(&text(&other, "adaptive"));
            program.signal(libc::SIGHUP);
            reloads += 1;
            program.wait_for("is in force", reloads);
        }
        transfer.join().unwrap().expect("the transfer is allowed before and after");
        reloads
    });
    assert!(reloads >= 3, "the transfer was over too soon to be disturbed: {reloads}");
    println!("{reloads} policies during {megabytes} MB");

    assert!(asks(&connection, SOON), "it is still allowed");
    file.write(&text(r#""tcp/9000""#, "adaptive"));
    program.signal(libc::SIGHUP);
    program.wait_for("is in force", reloads + 1);
    assert!(!asks(&connection, BRIEFLY), "it is denied now");
    assert_eq!(web.tcp_connect(at(9001), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    web.bulk_send(at(9000), 1_000_000, SOON).unwrap();

    program.signal(libc::SIGTERM);
    let (status, counters) = program.wait();
    assert!(status.success());
    let counters: serde_json::Value = serde_json::from_str(&counters).unwrap();
    assert!(counters["dropped"]["policy-changed"].as_u64() >= Some(1), "{counters}");
    // What came in after the change for the flow that is no more, and nothing of the transfer.
    assert!(counters["dropped"]["ct-invalid"].as_u64().unwrap_or(0) < 20, "{counters}");
}

#[test]
fn a_faulty_file_changes_nothing_and_it_is_said() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("faulty").unwrap();
    let (web, app) = hosts(&mut bed);
    let good = text(r#""tcp/9001""#, "adaptive");
    let file = GatewayFile::new(&bed, &good);
    let mut program = Program::start(&bed, &file, &[]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let connection = web.connect(at(9001), SOON).unwrap();
    assert!(asks(&connection, SOON));
    let failing = r#"
[[test]]
name = "what is not so"
from = "10.0.10.10"
to = "10.0.20.10"
service = "tcp/22"
expect = "allow"
"#;
    let other_ports =
        good.replace("interface = \"trunk0\"", "interface = \"trunk0\"\nmac = \"02:00:00:00:00:07\"");
    let mut refused = 0;
    for (bad, said) in [
        (format!("{good}\n[[rule]\n"), "error"),
        (good.replace("\"web\"]", "\"nobody\"]"), "nobody"),
        (format!("{good}{failing}"), "what is not so"),
        (other_ports, "ports can't change while the gateway runs"),
    ] {
        file.write(&bad);
        program.signal(libc::SIGHUP);
        refused += 1;
        program.wait_for("nothing has changed", refused);
        assert!(program.count(said) > 0, "{said}");
        assert!(asks(&connection, SOON), "{said}");
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected, "{said}");
        assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut, "{said}");
    }
    assert_eq!(program.count("is in force"), 0);
    program.signal(libc::SIGINT);
    assert!(program.wait().0.success());
}

#[test]
fn a_rule_that_expires_takes_its_flows_with_it() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("expires").unwrap();
    let (web, app) = hosts(&mut bed);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    // On a slow machine the first of them may have expired before it was of use.
    let begun = [3, 6, 15].into_iter().find_map(|seconds| {
        let expires = jiff::Timestamp::now() + Duration::from_secs(seconds);
        let rule = format!("action = \"allow\"\nexpires = {expires:.0}");
        let text = text(r#""tcp/9001""#, "adaptive").replace("action = \"allow\"", &rule);
        let file = GatewayFile::new(&bed, &text);
        let program = Program::start(&bed, &file, &[]);
        let connection = web.connect(at(9001), BRIEFLY).ok()?;
        asks(&connection, BRIEFLY).then_some((program, connection))
    });
    let (mut program, connection) = begun.expect("the rule lets a connection in until it expires");
    program.wait_for("a rule has expired", 1);
    assert!(!asks(&connection, BRIEFLY));
    assert_eq!(web.tcp_connect(at(9001), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn told_to_end_it_puts_the_interface_back_and_tells_what_it_counted() {
    if !may_run() {
        return;
    }
    let bed = Bed::new("term").unwrap();
    // As an interface is found: with the offloads that it comes with.
    let pair = ["link", "add", "p0", "type", "veth", "peer", "name", "p1"];
    assert!(bed.gateway().command("ip").args(pair).status().unwrap().success());
    for end in ["p0", "p1"] {
        assert!(bed.gateway().command("ip").args(["link", "set", end, "up"]).status().unwrap().success());
    }
    let state = || (bed.gateway().enter(|| offload::active("p0").unwrap()), link(&bed, "p0"));
    let before = state();
    assert!(before.0.iter().any(|feature| feature == "rx-vlan-hw-parse"), "{before:?}");
    let file =
        GatewayFile::new(&bed, &text(PING, "adaptive").replace("\"trunk0\"\n[[vlan]]", "\"p0\"\n[[vlan]]"));
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let program = Program::start(&bed, &file, &[]);
        let during = state();
        assert!(during.1.contains("prog/xdp") && during.1.contains("promiscuity 1"), "{}", during.1);
        assert!(!during.0.iter().any(|feature| feature == "rx-vlan-hw-parse"), "{during:?}");
        assert_eq!(program.count("switched off"), 1);
        program.signal(signal);
        let (status, counters) = program.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        let counters: serde_json::Value = serde_json::from_str(&counters).expect("the last counters");
        assert!(counters["received"].is_u64(), "{counters}");
        assert_eq!(state(), before, "{signal}");
    }
}

#[test]
fn killed_it_leaves_no_program_and_forwards_nothing_and_can_be_started_again() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("killed").unwrap();
    let (web, app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let ping = |timeout| web.ping(APP.parse().unwrap(), timeout).unwrap();
    for _ in 0..2 {
        let program = Program::start(&bed, &file, &[]);
        assert!(ping(SOON).is_answered());
        assert!(link(&bed, "trunk0").contains("prog/xdp"));
        let ear = app.raw().unwrap();
        program.signal(libc::SIGKILL);
        assert_eq!(program.wait().0.signal(), Some(9));
        wait_until("the program goes with the process", || !link(&bed, "trunk0").contains("prog/xdp"));
        assert_eq!(ping(BRIEFLY), PingOutcome::TimedOut);
        let arrived = ear.wait_for(Duration::from_millis(200), |c| {
            !c.outgoing && c.frame.len() > 34 && c.frame[26..30] == [10, 0, 10, 10]
        });
        assert!(arrived.unwrap().is_none(), "the kernel has forwarded a frame");
    }
}

#[test]
fn a_link_that_goes_is_told_of_and_carries_again_when_it_comes_back() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("flap").unwrap();
    let (web, _app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let mut program = Program::start(&bed, &file, &[]);
    let ip = |arguments: &[&str]| {
        assert!(bed.gateway().command("ip").args(arguments).status().unwrap().success());
    };
    assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
    ip(&["link", "set", "trunk0", "down"]);
    program.wait_for("trunk0 is down", 1);
    assert!(!web.ping(APP.parse().unwrap(), BRIEFLY).unwrap().is_answered());
    ip(&["link", "set", "trunk0", "up"]);
    program.wait_for("trunk0 is up", 1);
    wait_until("frames flow again", || web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
    ip(&["link", "delete", "trunk0"]);
    program.wait_for("trunk0 is gone", 1);
    let before = worker_time(program.id());
    std::thread::sleep(Duration::from_millis(500));
    assert!(worker_time(program.id()) - before < Duration::from_millis(200), "a dead port keeps nobody busy");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

/// CPU time of a process's worker.
fn worker_time(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let worker = threads
        .map(|t| t.path())
        .find(|t| std::fs::read_to_string(t.join("comm")).is_ok_and(|name| name.trim() == "worker-0"))
        .expect("the worker's thread has its name");
    let schedstat = std::fs::read_to_string(worker.join("schedstat")).unwrap();
    // The first number: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
    Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn an_idle_worker_sleeps_where_it_may_and_wakes_for_a_frame() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("idle").unwrap();
    let (web, _app) = hosts(&mut bed);
    let mut shares = Vec::new();
    for idle in ["adaptive", "poll"] {
        let file = GatewayFile::new(&bed, &text(PING, idle));
        let program = Program::start(&bed, &file, &[]);
        assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
        let (start, before) = (Instant::now(), worker_time(program.id()));
        std::thread::sleep(Duration::from_secs(1));
        let used = worker_time(program.id()) - before;
        shares.push(used.as_secs_f64() / start.elapsed().as_secs_f64());
        // It still hears: this one comes to a worker that sleeps or spins.
        assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered(), "{idle}");
        program.signal(libc::SIGTERM);
        assert!(program.wait().0.success());
    }
    println!("of a core: adaptive {:.3}, poll {:.3}", shares[0], shares[1]);
    assert!(shares[0] < 0.2, "{shares:?}");
    assert!(shares[1] > shares[0], "what is measured is the worker: {shares:?}");
}

#[test]
fn events_are_lines_with_the_rule_and_the_reason() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("events").unwrap();
    let (web, app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(r#""icmp/echo-request", "tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--events", "-"]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    // The first frame has to wait until the gateway knows the host's MAC, and nobody has the other address.
    assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
    let nobody = web.ping("10.0.20.99".parse().unwrap(), SOON).unwrap();
    assert_eq!(nobody, PingOutcome::Error { kind: 3, code: 1 });
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    program.signal(libc::SIGTERM);
    let (status, written) = program.wait();
    assert!(status.success());
    let lines: Vec<serde_json::Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let line = |port: u16| {
        let mut of_port = lines.iter().filter(|l| l["protocol"] == 6 && l["destination_port"] == port);
        of_port.next().unwrap_or_else(|| panic!("no line of port {port}: {written}"))
    };
    let ping = |to: &str| {
        let of_ping: Vec<_> = lines.iter().filter(|l| l["protocol"] == 1 && l["destination"] == to).collect();
        assert_eq!(of_ping.len(), 1, "{to}: {written}");
        (of_ping[0]["verdict"].clone(), of_ping[0]["reason"].clone())
    };
    assert_eq!(ping(APP), ("forward".into(), serde_json::Value::Null));
    assert_eq!(ping("10.0.20.99"), ("drop".into(), "neighbor-failed".into()));
    assert_eq!(line(9001)["verdict"], "forward");
    assert_eq!(line(9001)["rule"], "served");
    assert_eq!(line(9001)["from"], serde_json::json!(["web"]));
    assert_eq!((&line(22)["verdict"], &line(22)["reason"]), (&"drop".into(), &"default-deny".into()));
    assert_eq!(line(22)["source"], "10.0.10.10");
    assert_eq!(line(22)["vlan"], 10);
}
