//! Writing a snapshot.

use super::{HEADER, MAGIC, Names, Stamp, VERSION};
use crate::tracker::Tracker;
use std::io::{self, Write};

/// Bytes that are handed on at once.
const BLOCK: usize = 1 << 20;

/// Writes the flows of all trackers, as they stand at the last time that each was told; how many.
///
/// # Errors
/// Those of `out`.
pub fn write(
    trackers: &[Tracker],
    names: &Names<'_>,
    saved: &Stamp,
    configuration: u32,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let flows = trackers.iter().flat_map(Tracker::flows);
    let (v4, v6) =
        flows.fold((0_u64, 0_u64), |(v4, v6), flow| if flow.is_v6() { (v4, v6 + 1) } else { (v4 + 1, v6) });
    let preamble = preamble(names, saved, configuration, (v4, v6));
    let mut block = Vec::with_capacity(BLOCK + preamble.len());
    block.extend_from_slice(&preamble);
    for is_v6 in [false, true] {
        for tracker in trackers {
            for flow in tracker.flows().filter(|flow| flow.is_v6() == is_v6) {
                tracker.record(flow).put(&mut block);
                if block.len() >= BLOCK {
                    out.write_all(&block)?;
                    block.clear();
                }
            }
        }
    }
    block.extend_from_slice(&preamble);
    let length = (preamble.len() as u32).to_le_bytes();
    block.extend_from_slice(&length);
    block.extend_from_slice(&crc32c::crc32c(&length).to_le_bytes());
    out.write_all(&block)?;
    Ok(v4 + v6)
}

fn preamble(names: &Names<'_>, saved: &Stamp, configuration: u32, flows: (u64, u64)) -> Vec<u8> {
    let mut text = Vec::new();
    for name in names.ports.iter().chain(&names.stitches).chain(&names.rules) {
        // A name that is too long for the file is one that nobody finds again: its flows are judged anew.
        let length = u16::try_from(name.len()).unwrap_or(0);
        text.extend_from_slice(&length.to_le_bytes());
        text.extend_from_slice(&name.as_bytes()[..usize::from(length)]);
    }
    let mut out = Vec::with_capacity(HEADER + text.len());
    out.extend_from_slice(&MAGIC);
    for word in [VERSION, names.ports.len() as u16, names.stitches.len() as u16, 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [names.rules.len() as u32, text.len() as u32] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [flows.0, flows.1, saved.unix_millis, saved.uptime_millis] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&saved.boot);
    out.extend_from_slice(&configuration.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&text).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    debug_assert_eq!(out.len(), HEADER);
    out.extend_from_slice(&text);
    out
}
