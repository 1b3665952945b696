//! What is written is read back: by the gateway's own reader, and by tcpdump where it is installed.

use super::{Capture, from_hex, to_hex};
use serde_json::json;
use std::process::Command;

fn written(frames: &[(&str, u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut capture = Capture::new(&mut bytes).unwrap();
    for (port, time, frame) in frames {
        let item = json!({
            "time_ns": time, "length": frame.len(), "bytes": to_hex(frame), "port": port, "verdict": "drop",
            "reason": "default-deny", "rule": null, "from": ["web"], "to": ["app", "db"], "flow": null,
            "out": [],
        });
        capture.take(&item).unwrap();
    }
    capture.take(&json!({ "frames": frames.len(), "lost": { "trunk0": 7, "wan0": 0 } })).unwrap();
    assert_eq!(capture.finish().unwrap(), (frames.len() as u64, 7));
    bytes
}

fn frames() -> Vec<(&'static str, u64, Vec<u8>)> {
    let frame = |last: u8, length: usize| vec![last; length];
    vec![
        ("trunk0", 1_800_000_000_123_456_789, frame(1, 60)),
        ("wan0", 1_800_000_001_000_000_001, frame(2, 61)),
        ("trunk0", 1_800_000_002_000_000_000, frame(3, 1514)),
    ]
}

#[test]
fn frames_comments_and_losses_are_in_the_file_to_the_byte() {
    let bytes = written(&frames());
    let mut at = 0;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut kinds = Vec::new();
    while at < bytes.len() {
        let (kind, length) = (word(at), word(at + 4) as usize);
        assert_eq!((length % 4, word(at + length - 4) as usize), (0, length));
        let body = &bytes[at + 8..at + length - 4];
        match kind {
            6 => {
                let (number, kept) = (word(at + 8), word(at + 20) as usize);
                kinds.push((kind, u64::from(number)));
                let comment = &body[20 + kept.next_multiple_of(4)..];
                assert_eq!(comment[..2], [1, 0]);
                let text = std::str::from_utf8(&comment[4..4 + usize::from(comment[2])]).unwrap();
                assert_eq!(text, "drop default-deny from=web to=app,db");
            }
            5 => {
                // isb_ifdrop, eight bytes.
                assert_eq!(body[12..16], [5, 0, 8, 0]);
                kinds.push((kind, u64::from_le_bytes(body[16..24].try_into().unwrap())));
            }
            kind => kinds.push((kind, 0)),
        }
        at += length;
    }
    assert_eq!(kinds, [(0x0a0d_0d0a, 0), (1, 0), (6, 0), (1, 0), (6, 1), (6, 0), (5, 7), (5, 0)]);
}

#[test]
fn other_readers_understand_the_file() {
    let path = std::env::temp_dir().join(format!("bulkhead-capture-{}.pcapng", std::process::id()));
    std::fs::write(&path, written(&frames())).unwrap();
    let read = dataplane::port::capture::Capture::read(&path).unwrap();
    let times: Vec<(u64, usize)> =
        read.records().map(|record| (record.timestamp.0, record.data.len())).collect();
    assert_eq!(times, frames().iter().map(|(_, at, frame)| (*at, frame.len())).collect::<Vec<_>>());
    match Command::new("tcpdump").args(["-tt", "--nano", "-nn", "-r"]).arg(&path).output() {
        Ok(output) => {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && text.lines().count() >= 3, "{text}");
            assert!(text.contains("1800000000.123456789"), "{text}");
        }
        Err(_) => eprintln!("skipped: there is no tcpdump here"),
    }
    let _ = std::fs::remove_file(&path);
}

#[test]
fn bytes_are_digits_and_what_is_not_is_refused() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(from_hex(&to_hex(&all)), Some(all));
    for wrong in ["0", "0g", "é"] {
        assert_eq!(from_hex(wrong), None);
    }
    let mut capture = Capture::new(Vec::new()).unwrap();
    for wrong in [json!({ "bytes": "zz" }), json!({ "bytes": "00" }), json!({ "bytes": "00", "time_ns": 1 })]
    {
        assert!(capture.take(&wrong).is_err());
    }
}
