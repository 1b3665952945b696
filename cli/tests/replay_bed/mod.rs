//! What the tests of replay have in common: captures made of frames, and a replay inside the process.

#![allow(dead_code, reason = "each test takes what it needs")]

use classifier::addr::PortId;
use cli::config::{self, Configuration};
use cli::replay::{Line, Replay};
use conntrack::time::Tick;
use dataplane::counters::Counters;
use dataplane::engine::Resolve;
use dataplane::port::capture::{Capture, Merge, merge};
use std::path::{Path, PathBuf};

/// When the captures of the tests begin, in nanoseconds since 1970.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;

/// The folder of the whole project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

/// What lies beside the project, if it is there; says so where it is not.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared").join(path))
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: there is no shared/{path} beside the project");
    }
    found
}

/// A classic capture with nanoseconds, of this link type.
pub(crate) fn pcap(link_type: u32, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let word = |value: u32| value.to_le_bytes();
    let mut file: Vec<u8> =
        [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, 262_144, link_type].into_iter().flat_map(word).collect();
    for (at, frame) in frames {
        let length = frame.len() as u32;
        let (seconds, nanos) = ((at / 1_000_000_000) as u32, (at % 1_000_000_000) as u32);
        file.extend([seconds, nanos, length, length].into_iter().flat_map(word));
        file.extend(frame);
    }
    file
}

/// An Ethernet capture in memory.
pub(crate) fn capture(frames: &[(u64, Vec<u8>)]) -> Capture {
    Capture::from_bytes("made.pcap", pcap(1, frames)).expect("a sound capture")
}

/// The configuration that a text is.
pub(crate) fn configuration(name: &str, text: &str) -> Configuration {
    let path = std::env::temp_dir().join(format!("bulkhead-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let configuration = config::load(&path).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(&path).unwrap();
    configuration
}

/// Replays one capture on one port; the lines and the books.
pub(crate) fn replay(
    configuration: &Configuration,
    input: &Merge,
    resolve: Resolve,
) -> (Vec<Line>, Counters) {
    let writers = configuration.topology.ports.iter().map(|_| None).collect();
    let mut lines = Vec::new();
    let mut settled = |line: &Line| {
        lines.push(line.clone());
        Ok(())
    };
    let mut replay = Replay::new(configuration, input, writers, resolve).unwrap();
    for (port, at, data) in input.iter() {
        replay.frame(port, at, data, &mut settled).unwrap();
    }
    let counters = replay.finish(&mut settled).unwrap();
    (lines, counters)
}

/// Replays frames, each with its port, `step` apart.
pub(crate) fn replay_frames(
    configuration: &Configuration,
    frames: &[(PortId, Vec<u8>)],
    step: std::time::Duration,
) -> (Vec<Line>, Counters) {
    let mut by_port: Vec<Vec<(u64, Vec<u8>)>> =
        configuration.topology.ports.iter().map(|_| Vec::new()).collect();
    let mut at = Tick(START);
    for (port, frame) in frames {
        by_port[port.index()].push((at.0, frame.clone()));
        at = at + step;
    }
    let captures = by_port.iter().enumerate().map(|(port, frames)| (PortId(port as u8), capture(frames)));
    replay(configuration, &merge(captures.collect()), Resolve::Placeholder)
}
