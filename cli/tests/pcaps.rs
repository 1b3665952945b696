//! Other people's captures, whole, through the pipeline of `replay`: nothing crashes, every frame has its line, and
//! the books balance.
//!
//! The captures lie beside the project; without them the tests are skipped.

mod agreement;
mod replay_bed;

use classifier::addr::PortId;
use cli::config::Configuration;
use cli::replay::Line;
use dataplane::counters::Counters;
use dataplane::engine::Resolve;
use dataplane::port::capture::{Capture, merge};
use replay_bed::{configuration, replay, root, shared};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

/// Before the rules of the router, so that rules drop, too.
const REFUSALS: &str = r#"
[[rule]]
id = "no-names"
from = ["any"]
to = ["any"]
service = ["udp/53"]
action = "deny"

[[rule]]
id = "no-web"
from = ["any"]
to = ["any"]
service = ["tcp/80"]
action = "reject"
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

/// Every drop of a mixed hostile corpus is found, by its reason and the rule where there is one; the reasons, and those
/// of them that came with a rule.
fn agree(name: &str, text: &str, folder: &Path) -> [BTreeSet<String>; 2] {
    let mut reasons = [BTreeSet::new(), BTreeSet::new()];
    let configuration = configuration(name, text);
    let mut asker = agreement::Asker::new(name);
    for path in captures(folder) {
        let Ok(capture) = Capture::read(&path) else { continue };
        let input = merge(vec![(PortId(0), capture)]);
        let what = path.display().to_string();
        for (reason, rule) in agreement::check(&what, &configuration, &input, &mut asker).into_keys() {
            reasons[1].extend(rule.is_some().then(|| reason.clone()));
            reasons[0].insert(reason);
        }
    }
    println!("{name}: {reasons:?}");
    reasons
}

#[test]
fn observe_counters_and_replay_of_a_router_agree_on_every_drop_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let text = ROUTED.replacen("[[rule]]", &format!("{REFUSALS}\n[[rule]]"), 1);
    let [reasons, by_rule] = agree("agree-routed", &text, &folder);
    assert!(by_rule.contains("policy-deny") && by_rule.contains("policy-reject"), "{by_rule:?}");
    assert!(reasons.len() > 10, "it is a mixed corpus: {reasons:?}");
}

#[test]
fn observe_counters_and_replay_of_a_bridge_agree_on_every_drop_of_the_corpus() {
    let Some(folder) = shared("pcaps") else { return };
    let [reasons, _] = agree("agree-stitched", STITCHED, &folder);
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
