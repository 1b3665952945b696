//! What `why` says of a new flow is what the pipeline makes of its first packet: every address of a list to every
//! other, from every VLAN, by TCP, UDP and ping.

use classifier::addr::Mac;
use cli::config::{Checked, Configuration, load_checked};
use cli::explain::{Answer, Question, why};
use conntrack::time::Tick;
use dataplane::port::capture::Writer;
use etherparse::PacketBuilder;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const V4: &[&str] = &[
    "10.0.10.5",
    "10.0.10.66",
    "10.0.10.1",
    "10.0.10.255",
    "10.0.20.5",
    "10.0.20.70",
    "10.0.20.1",
    "10.0.30.11",
    "10.0.30.12",
    "10.9.1.1",
    "10.1.0.5",
    "10.1.0.7",
    "192.0.2.1",
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.5",
    "255.255.255.255",
    "240.0.0.1",
];
const V6: &[&str] = &[
    "fd00:10::5",
    "fd00:10::1",
    "fd00:20::5",
    "fd00:20::1",
    "fd00:30::5",
    "fe80::5",
    "ff02::5",
    "::1",
    "::",
    "::ffff:10.0.10.5",
];
const VLANS: &[&str] = &["web-net", "app-net", "trunk0.30", "desks", "printers", "cameras"];
const SERVICES: &[&str] = &["tcp/443", "tcp/23", "udp/53", "ping"];

fn gateway_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why/gateway.toml")
}

/// The first packet of the flow that the question is about; `number` tells it from all others.
fn frame(configuration: &Configuration, question: &Question, number: u16) -> Vec<u8> {
    let vlan = question.source_vlan.unwrap();
    // A station of a stitch that is seen on two VLANs at once is a matter of its own.
    let unknown = Mac([2, 0, 0, 1, (vlan.vid() >> 8) as u8, vlan.vid() as u8]);
    let source_mac = configuration.mac_of(vlan, question.source).unwrap_or(unknown);
    let link = PacketBuilder::ethernet2(source_mac.0, [2, 0, 0, 0, 0, 1])
        .single_vlan(etherparse::VlanId::try_new(vlan.vid()).unwrap());
    let ip = match (question.source, question.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
        (_, _) => panic!("a question has one family"),
    };
    let mut bytes = Vec::new();
    let packet = question.packet;
    match packet.protocol {
        6 => ip
            .tcp(packet.source_port, packet.destination_port, u32::from(number), 64_000)
            .syn()
            .write(&mut bytes, &[])
            .unwrap(),
        17 => ip.udp(packet.source_port, packet.destination_port).write(&mut bytes, b"hello").unwrap(),
        1 => ip.icmpv4_echo_request(number, 1).write(&mut bytes, b"hello").unwrap(),
        58 => ip.icmpv6_echo_request(number, 1).write(&mut bytes, b"hello").unwrap(),
        other => panic!("no frame is made for protocol {other}"),
    }
    bytes
}

fn questions(configuration: &Configuration) -> Vec<Question> {
    let mut all = Vec::new();
    let mut source_port = 20_000;
    for addresses in [V4, V6] {
        for vlan in VLANS {
            for from in addresses {
                for to in addresses {
                    // One service each, in turn, so that the list stays short.
                    let service = SERVICES[all.len() % SERVICES.len()];
                    let port = (service != "ping").then_some(source_port);
                    let from = format!("{from}@{vlan}");
                    // In a stitch the destination's VLAN must be said, unless there is but one more.
                    if let Ok(question) =
                        Question::read(configuration, &from, to, service, port).or_else(|_| {
                            Question::read(configuration, &from, &format!("{to}@printers"), service, port)
                        })
                    {
                        all.push(question);
                        source_port += 1;
                    }
                }
            }
        }
    }
    all
}

/// The reason that the packet is dropped for, before the policy or by it.
fn reason(answer: &Answer) -> Option<&'static str> {
    answer.notes.iter().find_map(|note| note.reason).or(answer.reason)
}

#[test]
fn why_says_what_the_pipeline_does() {
    let Checked { configuration, tables } = load_checked(&gateway_file()).unwrap_or_else(|e| panic!("{e}"));
    let questions = questions(&configuration);
    let folder = std::env::temp_dir().join(format!("bulkhead-why-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (capture, verdicts) = (folder.join("in.pcap"), folder.join("verdicts.jsonl"));
    let mut writer = Writer::create(&capture).unwrap();
    // Time enough between two frames for nobody to be limited.
    const START: u64 = 1_767_225_600_000_000_000;
    for (number, question) in (0u16..).zip(&questions) {
        let at = Tick(START + u64::from(number) * 1_000_000);
        writer.write(at, &frame(&configuration, question, number)).unwrap();
    }
    writer.finish().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["replay", "-c", gateway_file().to_str().unwrap()])
        .arg("--in")
        .arg(format!("trunk0={}", capture.display()))
        .arg("--verdicts")
        .arg(&verdicts)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let lines: Vec<Value> = std::fs::read_to_string(&verdicts)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(lines.len(), questions.len());
    let (mut wrong, mut compared) = (Vec::new(), std::collections::BTreeMap::new());
    for (question, line) in questions.iter().zip(&lines) {
        let answer = why(&configuration, &tables, question).unwrap();
        let is_stitched = question.source_vlan.is_some_and(|vlan| vlan.vid() >= 110);
        let is_early = answer.notes.iter().any(|note| note.reason.is_some());
        // A frame to an unknown station of a stitch is judged for every VLAN, and `why` for one.
        if is_stitched && !is_early && line["reason"].as_str().is_none_or(|r| r.starts_with("default")) {
            continue;
        }
        let is_own = answer.notes.iter().any(|note| note.text.contains("answers pings, and"));
        let same = if is_own {
            line["verdict"] == "local"
        } else {
            let rule = if is_early { &None } else { &answer.rule };
            line["reason"].as_str() == reason(&answer) && line["rule"].as_str() == rule.as_deref()
        };
        *compared.entry(reason(&answer).unwrap_or("none")).or_insert(0) += 1;
        if !same {
            wrong.push(format!("{line}\n{}", answer.render(cli::diagnostic::Style::Plain)));
        }
    }
    assert!(wrong.is_empty(), "{} differ, such as\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
    for expected in [
        "none",
        "martian",
        "spoofed",
        "bad-destination",
        "local-deny",
        "no-route",
        "same-vlan",
        "default-reject",
        "policy-deny",
        "policy-reject",
    ] {
        assert!(compared.contains_key(expected), "no packet was about {expected}: {compared:?}");
    }
}
