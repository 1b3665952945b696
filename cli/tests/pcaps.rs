//! Other people's captures, whole, through the pipeline of `replay`: nothing crashes, every frame has its line, and
//! the books balance.
//!
//! The captures lie beside the project; without them the tests are skipped.

mod replay_bed;

use classifier::addr::PortId;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use cli::config::Configuration;
use cli::replay::{Line, Names};
use cli::run::EventLine;
use conntrack::time::Tick;
use dataplane::arena::Arena;
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::event;
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::port::Port;
use dataplane::port::capture::{Capture, Merge, merge};
use dataplane::port::memory::MemoryPort;
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Hands, Worker};
use replay_bed::{configuration, replay, root, shared};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Takes whatever comes: no MAC, so that every unicast MAC is the gateway's own, no guard, and a way to everywhere.
const ROUTED: &str = r#"
[gateway]
name = "catch-all"

[policy]
default = "reject"

[[port]]
name = "p"
interface = "p0"
mtu = 9000

[[vlan]]
id = 0
port = "p"
address = ["192.0.2.1/24", "2001:db8::1/64"]
spoof_guard = "off"
hairpin = true

[[vlan]]
id = 10
port = "p"
address = ["198.51.100.1/24"]
spoof_guard = "off"

[[route]]
to = "0.0.0.0/0"
via = "192.0.2.254"

[[route]]
to = "::/0"
via = "2001:db8::fe"

[conntrack]
max_flows = 10000
pickup = "always"

[sanity]
ip_options = "pass"

[[rule]]
id = "most"
from = ["any"]
to = ["any"]
service = ["tcp/1-1023", "udp", "icmp", "icmpv6", "sctp", "proto/47"]
action = "allow"
"#;

/// A bridge between two VLANs that lets through what is not IP.
const STITCHED: &str = r#"
[gateway]
name = "bridge"

[policy]
default = "reject"

[[port]]
name = "p"
interface = "p0"

[[port]]
name = "q"
interface = "q0"
mtu = 1400

[[vlan]]
id = 0
port = "p"
name = "here"

[[vlan]]
id = 7
port = "p"
name = "there"

[[vlan]]
id = 0
port = "q"
name = "yonder"

[[stitch]]
name = "all"
vlans = ["here", "there", "yonder"]
other = "pass"

[conntrack]
max_flows = 10000

[[rule]]
id = "to-there"
from = ["any"]
to = ["vlan:there"]
action = "allow"

[[rule]]
id = "web"
from = ["any"]
to = ["any"]
service = ["tcp/80", "udp/53"]
action = "allow"
"#;

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    paths.sort();
    paths
}

/// One line per frame, in order, that agrees with the books.
fn check(what: &str, frames: usize, lines: &[Line], counters: &Counters) {
    assert_eq!(lines.len(), frames, "{what}: lines");
    for (line, number) in lines.iter().zip(1..) {
        assert_eq!(line.frame, number, "{what}: lines in order");
        let has_way_out = !line.out.is_empty();
        let is_forwarded = line.verdict == "forward";
        assert_eq!(has_way_out, is_forwarded, "{what}: {line:?}");
        assert_eq!(line.reason.is_none(), matches!(line.verdict, "forward" | "local"), "{what}: {line:?}");
    }
    assert!(counters.balance(), "{what}: {counters:?}");
    assert_eq!((counters.received, counters.waiting), (frames as u64, 0), "{what}");
    let count = |verdicts: &[&str]| lines.iter().filter(|l| verdicts.contains(&l.verdict)).count() as u64;
    assert_eq!(counters.forwarded, count(&["forward"]), "{what}");
    assert_eq!(counters.local, count(&["local"]), "{what}");
    assert_eq!(counters.dropped_total(), count(&["drop", "reject"]), "{what}");
    let flows = lines.iter().filter(|l| l.flow == Some("new")).count() as u64;
    assert_eq!(counters.flows, flows, "{what}: new flows");
}

/// How often each reason has come with each rule.
type Found = BTreeMap<(String, Option<String>), u64>;

fn found<'a>(lines: impl Iterator<Item = (Option<&'a str>, Option<&'a String>)>) -> Found {
    let mut found = Found::new();
    for (reason, rule) in lines {
        if let Some(reason) = reason {
            *found.entry((reason.to_owned(), rule.cloned())).or_default() += 1;
        }
    }
    found
}

/// The drops that a worker tells of, as `observe` names them, and what it counts.
fn work(configuration: &Configuration, input: &Merge) -> (Found, Counters) {
    let start = input.iter().next().map_or(Tick(0), |(_, at, _)| at);
    let longest = input.iter().map(|(_, _, data)| data.len()).max().unwrap_or(0);
    let facts = PortFacts::of_file(&configuration.topology);
    let (policy, topology) = (Arc::clone(&configuration.policy), &configuration.topology);
    let now = Timestamp(i128::from(start.0));
    let generation = Arc::new(Generations::default().compile(policy, topology, &facts, now).unwrap());
    let control = Arc::new(Control::new(Arc::clone(&generation), 1).unwrap());
    let (arena, pool) = Arena::on_heap(1_536, (longest + 64).max(4_096));
    let (conntrack, arena) = (&configuration.conntrack, Arc::new(arena));
    let engine = Engine::new(Arc::clone(&generation), conntrack, [7; 16], arena, pool, Resolve::Placeholder);
    let (ports, wires): (Vec<_>, Vec<_>) = topology
        .ports
        .iter()
        .map(|_| MemoryPort::with_wire())
        .map(|(port, wire)| (Box::new(port) as Box<dyn Port>, wire))
        .unzip();
    let (sink, source) = event::ring();
    let mut worker = Worker::new(engine, ports, Arc::clone(&control), 0, Idle::Poll, Some(sink));
    let mut hands = Hands::default();
    let mut told = Vec::new();
    for (port, at, data) in input.iter() {
        worker.engine().tick(at, Sweep::All);
        wires[port.index()].push(data);
        worker.step(at, &mut hands);
        told.extend(source.receiver.try_iter());
    }
    control.stop();
    let counters = worker.run(Clock::start()).counters;
    told.extend(source.receiver.try_iter());
    assert_eq!(source.lost(), 0);
    let names = Names { topology, generation: &generation };
    let events: Vec<EventLine> =
        told.iter().map(|event| EventLine::new(names, event, String::new())).collect();
    (found(events.iter().map(|event| (event.reason, event.rule.as_ref()))), counters)
}

/// Every drop of a mixed hostile corpus has its event, with its reason and the rule where there is one: as the counters
/// have it, and as `replay` has. The reasons.
fn agree(name: &str, text: &str, folder: &Path) -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    let configuration = configuration(name, text);
    for path in captures(folder) {
        let Ok(capture) = Capture::read(&path) else { continue };
        let input = merge(vec![(PortId(0), capture)]);
        let (lines, replayed) = replay(&configuration, &input, Resolve::Placeholder);
        let replay = found(lines.iter().map(|line| (line.reason, line.rule.as_ref())));
        let (events, counters) = work(&configuration, &input);
        let what = path.display();
        assert_eq!(events, replay, "{what}: events and replay");
        assert_eq!(counters.dropped, replayed.dropped, "{what}: counters");
        for reason in DropReason::ALL {
            let told = events.iter().filter(|((name, _), _)| name == reason.name()).map(|(_, n)| n);
            assert_eq!(told.sum::<u64>(), counters.dropped[reason.index()], "{what}: {}", reason.name());
        }
        reasons.extend(events.into_keys().map(|(reason, _)| reason));
    }
    reasons
}

#[test]
fn counters_events_and_replay_of_a_router_agree_on_every_drop_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let reasons = agree("agree-routed", ROUTED, &folder);
    assert!(reasons.len() > 10, "it is a mixed corpus: {reasons:?}");
}

#[test]
fn counters_events_and_replay_of_a_bridge_agree_on_every_drop_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let reasons = agree("agree-stitched", STITCHED, &folder);
    assert!(reasons.len() > 7, "it is a mixed corpus: {reasons:?}");
}

fn play(configuration: &Configuration, folder: &Path, part: usize, parts: usize) -> (u64, u64) {
    let (mut frames, mut forwarded) = (0, 0);
    for path in captures(folder).iter().skip(part).step_by(parts) {
        for port in 0..configuration.topology.ports.len() {
            let Ok(capture) = Capture::read(path) else { continue };
            let input = merge(vec![(PortId(port as u8), capture)]);
            let resolve = if port == 0 { Resolve::Placeholder } else { Resolve::Ask };
            let (lines, counters) = replay(configuration, &input, resolve);
            check(&format!("{} on port {port}", path.display()), input.len(), &lines, &counters);
            frames += counters.received;
            forwarded += counters.forwarded;
        }
    }
    (frames, forwarded)
}

/// Plays the whole corpus on every port, on two threads; how many frames got out.
fn play_all(configuration: &Configuration, folder: &Path) -> (u64, u64) {
    const THREADS: usize = 2;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|part| scope.spawn(move || play(configuration, folder, part, THREADS)))
            .collect();
        let sums = workers.into_iter().map(|worker| worker.join().expect("no capture crashes the pipeline"));
        sums.fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    })
}

#[test]
fn a_router_accounts_for_every_frame_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let (frames, forwarded) = play_all(&configuration("pcaps-routed", ROUTED), &folder);
    println!("{forwarded} of {frames} frames were forwarded");
    assert!(frames > 20_000 && forwarded > frames / 4, "{forwarded} of {frames}");
}

#[test]
fn a_bridge_accounts_for_every_frame_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let (frames, forwarded) = play_all(&configuration("pcaps-stitched", STITCHED), &folder);
    println!("{forwarded} of {frames} frames were forwarded");
    assert!(frames > 40_000 && forwarded > frames / 6, "{forwarded} of {frames}");
}

#[test]
fn the_campus_accounts_for_every_frame_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let mut campus = cli::config::load(&root().join("configs/campus.toml")).unwrap();
    // The tables are laid out anew for each capture.
    campus.conntrack.max_flows = 10_000;
    let (frames, forwarded) = play_all(&campus, &folder);
    println!("{forwarded} of {frames} frames were forwarded");
    assert!(frames > 40_000, "{frames}");
}

#[test]
fn a_capture_of_another_link_type_is_refused_by_its_name() {
    let Some(folder) = shared("pcaps") else { return };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.csv")).unwrap();
    let mut lines = manifest.lines();
    let head: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = head.iter().position(|name| *name == "linktype").unwrap();
    let mut refused = 0;
    for fields in lines.map(|line| line.split(',').collect::<Vec<_>>()) {
        // The upper half says how long the FCS is, and is no part of the type.
        let link_type = fields[column].parse::<u32>().unwrap() & 0xffff;
        match Capture::read(folder.join(fields[0])) {
            Ok(_) => assert_eq!(link_type, 1, "{}", fields[0]),
            Err(error) => {
                let text = error.to_string();
                assert_ne!(link_type, 1, "{text}");
                assert!(text.contains(fields[0]) && text.contains("is not Ethernet"), "{text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 30, "{refused} were refused");
}
