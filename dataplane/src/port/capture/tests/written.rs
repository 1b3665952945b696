//! What the writer writes is read back, by the reader and by tcpdump, and is always the same.

use super::contents;
use super::made::frame;
use crate::port::capture::{Capture, CaptureError, Writer};
use conntrack::time::Tick;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A sink whose bytes the test can see.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn frames() -> Vec<(u64, Vec<u8>)> {
    let start = 1_700_000_000_000_000_000;
    let lengths = [60, 61, 62, 63, 64, 0, 1_514, 9_018];
    lengths.iter().enumerate().map(|(i, l)| (start + i as u64 * 1_001, frame(*l, i as u8))).collect()
}

fn write(name: &str) -> Vec<u8> {
    let sink = Shared::default();
    let mut writer = Writer::to(name, Box::new(sink.clone())).unwrap();
    for (at, frame) in frames() {
        writer.write(Tick(at), &frame).unwrap();
    }
    writer.finish().unwrap();
    sink.bytes()
}

#[test]
fn both_formats_are_read_back_as_written() {
    for name in ["out.pcap", "out.PCAPNG", "out"] {
        let capture = Capture::from_bytes(name, write(name)).unwrap();
        assert_eq!(contents(&capture), frames(), "{name}");
        assert!(!capture.truncated());
    }
}

#[test]
fn the_extension_chooses_the_format() {
    assert_eq!(write("out.pcap")[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
    assert_eq!(write("out.pcapng")[..8], [0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0]);
    assert_eq!(write("-")[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    for name in ["out.pcap", "out.pcapng"] {
        assert_eq!(write(name), write(name));
    }
}

#[test]
fn a_time_after_the_last_second_of_the_format_is_that_second() {
    let sink = Shared::default();
    let mut writer = Writer::to("out.pcap", Box::new(sink.clone())).unwrap();
    writer.write(Tick(u64::MAX), &[0; 60]).unwrap();
    writer.finish().unwrap();
    let stamp = Capture::from_bytes("out.pcap", sink.bytes()).unwrap().record(0).unwrap().timestamp;
    assert_eq!(stamp.0 / 1_000_000_000, u64::from(u32::MAX));
}

#[test]
fn tcpdump_reads_what_was_written() {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        eprintln!("skipped: tcpdump is not installed");
        return;
    }
    for name in ["written.pcap", "written.pcapng"] {
        let path = scratch(name);
        let mut writer = Writer::create(&path).unwrap();
        // tcpdump takes a record without bytes for a damaged one.
        let frames: Vec<_> = frames().into_iter().filter(|(_, frame)| !frame.is_empty()).collect();
        for (at, frame) in &frames {
            writer.write(Tick(*at), frame).unwrap();
        }
        writer.finish().unwrap();
        let output =
            Command::new("tcpdump").args(["-nn", "-tt", "--nano", "-r"]).arg(&path).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        let stamps: Vec<&str> = text.lines().filter(|l| l.starts_with("17000")).collect();
        assert_eq!(stamps.len(), frames.len(), "{text}");
        for (line, (at, _)) in stamps.iter().zip(frames) {
            let stamp = format!("{}.{:09} ", at / 1_000_000_000, at % 1_000_000_000);
            assert!(line.starts_with(&stamp), "{line} has not the time stamp {stamp}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_created_is_named() {
    let message = Writer::create("/no/such/folder/out.pcap").unwrap_err().to_string();
    assert!(message.starts_with("/no/such/folder/out.pcap: can't be written: "), "{message}");
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let attempt = || -> Result<(), CaptureError> {
        let mut writer = Writer::to("out.pcap", Box::new(Full))?;
        writer.write(Tick(0), &[0; 60])?;
        writer.finish()
    };
    assert!(attempt().is_err());
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("bulkhead-{}-{name}", std::process::id()))
}
