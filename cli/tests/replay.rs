//! `bulkhead replay` as its user sees it: the lines, the captures, the errors, the exit codes.

mod replay_bed;

use classifier::addr::PortId;
use dataplane::port::capture::Capture;
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use replay_bed::{START, pcap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GATEWAY: &str = r#"
[gateway]
name = "replay"

[policy]
default = "deny"

[[port]]
name = "in"
interface = "i0"
mac = "02:00:00:00:00:01"

[[port]]
name = "out"
interface = "o0"
mac = "02:00:00:00:00:02"

[[vlan]]
id = 10
port = "in"
address = ["10.0.10.1/24"]

[[vlan]]
id = 0
port = "out"
address = ["10.0.20.1/24"]

[segment.web]
members = ["10.0.10.0/24"]

[segment.db]
members = ["10.0.20.0/24"]

[[rule]]
id = "watch"
from = ["web"]
to = ["db"]
service = ["tcp/5432"]
action = "deny"
mode = "monitor"

[[rule]]
id = "web-to-db"
from = ["web"]
to = ["db"]
service = ["tcp/5432"]
action = "allow"

[[rule]]
id = "no-telnet"
from = ["any"]
to = ["db"]
service = ["tcp/23"]
action = "reject"
"#;

const WEB: [u8; 6] = [2, 0, 0, 0, 0x10, 5];
const DB: [u8; 6] = [2, 0, 0, 0, 0x20, 9];

/// A folder of the test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bulkhead-replay-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let folder = Folder(path);
        folder.write("gateway.toml", GATEWAY.as_bytes());
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    fn frames(&self, name: &str) -> Vec<Vec<u8>> {
        Capture::read(self.0.join(name)).unwrap().records().map(|record| record.data.to_vec()).collect()
    }

    fn replay(&self, arguments: &[&str]) -> Output {
        let all = [&["replay", "-c", "gateway.toml"], arguments].concat();
        Command::new(env!("CARGO_BIN_EXE_bulkhead")).args(all).current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary folder harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tagged() -> etherparse::PacketBuilderStep<etherparse::VlanHeader> {
    PacketBuilder::ethernet2(WEB, [2, 0, 0, 0, 0, 1]).single_vlan(10.try_into().unwrap())
}

fn syn(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = tagged().ipv4([10, 0, 10, 5], [10, 0, 20, 9], 64).tcp(4000, port, 100, 8192).syn();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

fn answer(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(DB, [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 20, 9], [10, 0, 10, 5], 64)
        .tcp(port, 4000, 500, 8192)
        .syn()
        .ack(101);
    builder.write(&mut frame, &[]).unwrap();
    frame
}

fn spoofed() -> Vec<u8> {
    let mut frame = Vec::new();
    tagged().ipv4([8, 8, 8, 8], [10, 0, 20, 9], 64).udp(4000, 53).write(&mut frame, b"?").unwrap();
    frame
}

fn ping() -> Vec<u8> {
    let mut frame = Vec::new();
    tagged()
        .ipv4([10, 0, 10, 5], [10, 0, 10, 1], 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut frame, b"hi")
        .unwrap();
    frame
}

fn arp_reply() -> Vec<u8> {
    let head = [&[2, 0, 0, 0, 0, 2][..], &DB, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
    [head, DB.to_vec(), vec![10, 0, 20, 9], vec![2, 0, 0, 0, 0, 2], vec![10, 0, 20, 1]].concat()
}

/// A folder with a capture for each port: a connection, a reject, a deny, spoofing, a ping.
fn recorded(name: &str) -> Folder {
    let folder = Folder::new(name);
    let at = |millis: u64| START + millis * 1_000_000;
    let web =
        [(at(0), syn(5432)), (at(20), syn(23)), (at(30), syn(80)), (at(40), spoofed()), (at(50), ping())];
    folder.write("in.pcap", &pcap(1, &web));
    folder.write("out.pcap", &pcap(1, &[(at(10), answer(5432))]));
    folder
}

const INPUTS: [&str; 4] = ["--in", "in=in.pcap", "--in", "out=out.pcap"];

const LINES: &str = r#"{"frame":1,"port":"in","vlan":10,"verdict":"forward","reason":null,"rule":"web-to-db","tier":"default","would":{"action":"would-deny","rule":"watch"},"flow":"new","from":["web"],"to":["db"],"out":[{"port":"out","vlan":0}]}
{"frame":2,"port":"out","vlan":0,"verdict":"forward","reason":null,"rule":"web-to-db","tier":"default","would":null,"flow":"reply","from":null,"to":null,"out":[{"port":"in","vlan":10}]}
{"frame":3,"port":"in","vlan":10,"verdict":"reject","reason":"policy-reject","rule":"no-telnet","tier":"default","would":null,"flow":null,"from":["web"],"to":["db"],"out":[]}
{"frame":4,"port":"in","vlan":10,"verdict":"drop","reason":"default-deny","rule":null,"tier":null,"would":null,"flow":null,"from":["web"],"to":["db"],"out":[]}
{"frame":5,"port":"in","vlan":10,"verdict":"drop","reason":"spoofed","rule":null,"tier":null,"would":null,"flow":null,"from":null,"to":null,"out":[]}
{"frame":6,"port":"in","vlan":10,"verdict":"local","reason":null,"rule":null,"tier":null,"would":null,"flow":null,"from":null,"to":null,"out":[]}
"#;

#[test]
fn the_lines_are_exactly_those_of_the_format() {
    let folder = recorded("lines");
    let output = folder.replay(&[&INPUTS[..], &["--verdicts", "-"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), LINES);
    let books = String::from_utf8(output.stderr).unwrap();
    assert!(books.contains("6  received") && books.contains("2  forwarded"), "{books}");
}

#[test]
fn the_same_input_gives_the_same_output_byte_for_byte() {
    let folder = recorded("twice");
    for round in ["a", "b"] {
        let (verdicts, pcap) = (format!("{round}.jsonl"), format!("in={round}.pcap"));
        let pcapng = format!("out={round}.pcapng");
        let outputs = ["--verdicts", &verdicts, "--out", &pcap, "--out", &pcapng];
        let output = folder.replay(&[&INPUTS[..], &outputs].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for kind in ["jsonl", "pcap", "pcapng"] {
        let (a, b) = (folder.read(&format!("a.{kind}")), folder.read(&format!("b.{kind}")));
        assert!(!a.is_empty() && a == b, "{kind}");
    }
    assert_eq!(folder.read("a.jsonl"), LINES.as_bytes());
}

#[test]
fn the_captures_hold_what_left_and_what_the_gateway_said_itself() {
    let folder = recorded("captures");
    let outputs = ["--out", "in=to-web.pcap", "--out", "out=to-db.pcapng"];
    assert_eq!(folder.replay(&[&INPUTS[..], &outputs].concat()).status.code(), Some(0));
    let to_db = folder.frames("to-db.pcapng");
    let [forwarded] = to_db.as_slice() else { panic!("one frame: {to_db:?}") };
    // The neighbor is unknown, so it has the placeholder MAC; the tag is gone and the TTL a hop less.
    assert_eq!(forwarded[..14], [2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 8, 0]);
    assert_eq!((forwarded[14 + 8], &forwarded[14 + 20..]), (63, &syn(5432)[18 + 20..]));
    let to_web = folder.frames("to-web.pcap");
    assert_eq!(to_web.len(), 3, "the reply, the reset and the echo reply");
    assert_eq!(to_web[0][12..18], [0x81, 0, 0, 10, 8, 0]);
    let reset = SlicedPacket::from_ethernet(&to_web[1]).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = reset.transport else { panic!("a reset: {reset:?}") };
    assert!(tcp.rst() && tcp.ack());
    assert_eq!((tcp.source_port(), tcp.destination_port(), tcp.acknowledgment_number()), (23, 4000, 101));
    assert_eq!((&to_web[2][..6], to_web[2][18 + 20]), (WEB.as_slice(), 0));
}

#[test]
fn with_wait_for_neighbors_the_gateway_asks_and_frames_wait() {
    let folder = Folder::new("wait");
    folder.write("in.pcap", &pcap(1, &[(START, syn(5432)), (START + 2_000_000, syn(80))]));
    folder.write("out.pcap", &pcap(1, &[(START + 1_000_000_000, arp_reply())]));
    let flags = ["--wait-for-neighbors", "--verdicts", "v.jsonl", "--out", "out=o.pcap"];
    assert_eq!(folder.replay(&[&INPUTS[..], &flags].concat()).status.code(), Some(0));
    let sent = folder.frames("o.pcap");
    assert_eq!(sent[0][12..14], [8, 6], "first it asks");
    let forwarded = sent.last().unwrap();
    assert_eq!(forwarded[..6], DB, "then it sends to the MAC that it was told");
    let lines = String::from_utf8(folder.read("v.jsonl")).unwrap();
    let verdicts: Vec<(u64, String)> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["frame"].as_u64().unwrap(), line["verdict"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(verdicts, [(1, "forward".into()), (2, "drop".into()), (3, "local".into())]);
}

#[test]
fn a_neighbor_that_never_answers_is_told_in_the_lines() {
    let folder = Folder::new("never");
    folder.write("in.pcap", &pcap(1, &[(START, syn(5432))]));
    let output = folder.replay(&["--in", "in=in.pcap", "--wait-for-neighbors", "--verdicts", "-"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["verdict"], &line["reason"]), (&"drop".into(), &"neighbor-failed".into()));
    assert_eq!(line["out"], serde_json::json!([]));
}

#[track_caller]
fn fails(folder: &Folder, arguments: &[&str], words: &[&str]) {
    let output = folder.replay(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn what_can_not_be_done_is_said_and_ends_with_2() {
    let folder = recorded("errors");
    folder.write("ppp.pcap", &pcap(9, &[(START, vec![0; 20])]));
    folder.write("text.pcap", b"this is no capture at all");
    folder.write("bad.toml", b"[gateway]\nnam = 1\n");
    fails(&folder, &["--in", "eth7=in.pcap"], &["eth7", "in, out"]);
    fails(&folder, &["--in", "in=missing.pcap"], &["missing.pcap"]);
    fails(&folder, &["--in", "in=ppp.pcap"], &["ppp.pcap", "link type 9 (PPP) is not Ethernet"]);
    fails(&folder, &["--in", "in=text.pcap"], &["text.pcap"]);
    fails(&folder, &["--in", "in.pcap"], &["PORT=FILE"]);
    fails(&folder, &[], &["--in"]);
    let again = ["--in", "in=in.pcap", "--out", "in=a.pcap", "--out", "in=b.pcap"];
    fails(&folder, &again, &["twice"]);
    fails(&folder, &["--in", "in=in.pcap", "--out", "eth7=a.pcap"], &["eth7"]);
    fails(&folder, &["--in", "in=in.pcap", "--verdicts", "no/such/folder.jsonl"], &["folder.jsonl"]);
    let bad = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["replay", "-c", "bad.toml", "--in", "in=in.pcap"])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("nam"));
}

#[test]
fn frames_at_the_same_moment_come_in_the_order_of_the_inputs() {
    let folder = Folder::new("ties");
    folder.write("in.pcap", &pcap(1, &[(START, syn(5432)), (START, syn(80))]));
    folder.write("out.pcap", &pcap(1, &[(START, answer(5432))]));
    let ports = |inputs: &[&str]| -> Vec<String> {
        let output = folder.replay(&[inputs, &["--verdicts", "-"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines
            .map(|line| format!("{} {}", line["port"].as_str().unwrap(), line["verdict"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(ports(&INPUTS), ["in forward", "in drop", "out forward"]);
    let other = ["--in", "out=out.pcap", "--in", "in=in.pcap"];
    assert_eq!(ports(&other), ["out drop", "in forward", "in drop"]);
}

#[test]
fn a_capture_that_is_cut_off_is_used_as_far_as_it_goes() {
    let folder = recorded("cut");
    let whole = folder.read("in.pcap");
    folder.write("in.pcap", &whole[..whole.len() - 10]);
    let output = folder.replay(&["--in", "in=in.pcap", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"), "a warning");
    let books: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(books["received"], 4);
}

#[test]
fn a_replay_in_the_process_is_the_same_as_the_programs() {
    let folder = recorded("library");
    let configuration = cli::config::load(&folder.0.join("gateway.toml")).unwrap();
    let read = |name: &str| Capture::read(Path::new(&folder.0).join(name)).unwrap();
    let input =
        dataplane::port::capture::merge(vec![(PortId(0), read("in.pcap")), (PortId(1), read("out.pcap"))]);
    let (lines, counters) =
        replay_bed::replay(&configuration, &input, dataplane::engine::Resolve::Placeholder);
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    assert_eq!(text, LINES);
    assert!(counters.balance());
}
