//! What befalls the ports of a gateway at work: links that flap, programs that are detached, interfaces that are deleted
//! and made again.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use dataplane::port::xdp::Interface;
use dataplane::port::xdp::bpf::{self, Hook, ProgramKind};
use dataplane::port::xdp::insn::{Assembler, Register};
use live::{APP, BRIEFLY, GatewayFile, PING, Program, SOON, at, hosts, json, socket, text, wait_until};
use root::may_run;
use serde_json::Value;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is noticed, is noticed in this time.
const NOTICED: Duration = Duration::from_secs(1);

fn port(socket: &Path) -> Value {
    json(socket, &["show", "ports"])["items"][0].clone()
}

/// Waits for a line, which must come within a second, or more of them; what threads wait for a core does not count.
fn noticed(program: &mut Program, text: &str, times: usize, within: Duration) {
    let waited = |program: &Program| waited_for_a_core(program.id()) + waited_for_a_core(std::process::id());
    let (started, before) = (Instant::now(), waited(program));
    program.wait_for(text, times);
    let (took, waited) = (started.elapsed(), waited(program).saturating_sub(before));
    assert!(took < within + waited, "`{text}` took {took:?}, of which {waited:?} for a core");
}

/// How long the threads of a process have waited for a core, all together.
fn waited_for_a_core(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let of = |thread: std::fs::DirEntry| {
        // The second number: nanoseconds on a run queue (Documentation/scheduler/sched-stats.rst).
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of).sum())
}

#[test]
fn a_program_that_is_detached_is_attached_again_and_another_is_waited_out() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("detach").unwrap();
    let (web, _app) = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let mut program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let ping = |patience| web.ping(APP.parse().unwrap(), patience).unwrap().is_answered();
    assert!(ping(SOON));

    // The kernel does not let just anybody do it.
    let off =
        bed.gateway().command("ip").args(["link", "set", "dev", "trunk0", "xdp", "off"]).output().unwrap();
    assert!(!off.status.success());
    let index = bed.gateway().enter(|| Interface::look_up("trunk0")).unwrap().index;
    assert!(bed.gateway().enter(|| bpf::detach_program_of(index)).unwrap());
    noticed(
        &mut program,
        "trunk0 had its XDP program detached by somebody; it is attached again",
        1,
        NOTICED,
    );
    wait_until("frames flow again", || ping(SOON));

    // Another program in its place lets everything up to the kernel, and nothing through the gateway.
    let pass = Assembler::new().set(Register::R0, 2).exit().finish();
    let other = bpf::load_program(ProgramKind::Xdp, c"other", &pass).unwrap();
    let mode = if port(&socket)["xdp"] == "skb" { Hook::Generic } else { Hook::Driver };
    let link = bed.gateway().enter(|| {
        let started = Instant::now();
        loop {
            bpf::detach_program_of(index).unwrap();
            match bpf::link_xdp(other.as_fd(), index, mode) {
                Ok(link) => break link,
                // The gateway was quicker.
                Err(error) => assert!(started.elapsed() < SOON, "{error}"),
            }
        }
    });
    noticed(&mut program, "trunk0 has another XDP program", 1, NOTICED);
    assert_eq!(port(&socket)["link"], "detached");
    assert!(!ping(BRIEFLY));
    drop(link);
    wait_until("the port is up", || port(&socket)["link"] == "up");
    wait_until("frames flow again", || ping(SOON));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn an_interface_that_is_made_again_is_opened_again_with_the_flows_and_counts_that_there_were() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("again").unwrap();
    let (web, app) = hosts(&mut bed);
    let socket = socket(&bed);
    let events = std::env::temp_dir().join(format!("{}.jsonl", bed.name()));
    // A new interface has a new MAC, and hosts remember the old one for long: as an operator would, the port has its own.
    let mac = "interface = \"trunk0\"\nmac = \"02:00:00:00:00:01\"";
    let text = text(r#""tcp/9001""#, "adaptive").replace("interface = \"trunk0\"", mac);
    let file = GatewayFile::new(&bed, &text);
    let arguments = ["--socket", socket.to_str().unwrap(), "--events", events.to_str().unwrap()];
    let mut program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    let flows = || json(&socket, &["show", "flows", "--rule", "served"])["items"].as_array().unwrap().len();
    let rule = |key: &str| json(&socket, &["show", "rules"])["items"][0][key].as_u64().unwrap();
    let forwarded = || json(&socket, &["show", "status"])["forwarded"].as_u64().unwrap();
    let (flows_before, hits_before, forwarded_before) = (flows(), rule("flows"), forwarded());
    assert!(flows_before > 0 && hits_before > 0 && forwarded_before > 0);
    for round in 1..=3 {
        assert!(bed.gateway().command("ip").args(["link", "delete", "trunk0"]).status().unwrap().success());
        noticed(&mut program, "trunk0 is gone", round, NOTICED);
        assert_eq!(port(&socket)["link"], "gone");
        bed.lay_trunk_again(0).unwrap();
        noticed(&mut program, "all ports are opened anew", round, 3 * NOTICED);
        assert!(flows() >= flows_before, "no flow is lost");
        assert!(rule("flows") >= hits_before && forwarded() >= forwarded_before, "no count begins anew");
        wait_until("the port is up", || port(&socket)["link"] == "up");
        wait_until("frames flow again", || {
            web.tcp_connect(at(9001), BRIEFLY).unwrap() == TcpOutcome::Connected
        });
    }
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let told = std::fs::read_to_string(&events).unwrap();
    let _ = std::fs::remove_file(&events);
    let told = |event: &str| {
        let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["event"] == event).count()
    };
    assert_eq!(told("ports-opened-anew"), 3);
    assert!(told("port") >= 3, "each time that it was gone");
}

/// A new interface has a new MAC. Hosts that send nothing would believe in the old one for as long as they like.
#[test]
fn hosts_hear_of_the_gateways_new_mac_when_an_interface_is_made_again() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("announce").unwrap();
    let (web, _app) = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let mut program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let answers = || json(&socket, &["show", "counters"])["answers"].as_u64().unwrap();
    // Two VLANs, two addresses each, twice.
    wait_until("all is announced twice", || answers() >= 8);
    let addresses = ["10.0.10.1", "fd00:10::1"];
    for address in addresses {
        wait_until(address, || web.ping(address.parse().unwrap(), SOON).unwrap().is_answered());
    }
    let mac = |bed: &Bed| bed.gateway().enter(|| Interface::look_up("trunk0")).unwrap().mac.to_string();
    let knows = |mac: &str| {
        addresses.iter().all(|address| web.ip(&format!("neigh show {address}")).unwrap().contains(mac))
    };
    let old = mac(&bed);
    assert!(knows(&old), "{}", web.ip("neigh show").unwrap());
    assert!(bed.gateway().command("ip").args(["link", "delete", "trunk0"]).status().unwrap().success());
    noticed(&mut program, "trunk0 is gone", 1, NOTICED);
    bed.lay_trunk_again(0).unwrap();
    program.wait_for("all ports are opened anew", 1);
    assert_ne!(mac(&bed), old);
    wait_until("web knows the new MAC, and has sent nothing", || knows(&mac(&bed)));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
