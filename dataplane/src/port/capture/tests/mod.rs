//! What captures of every flavour hold, and that no file can do harm.

mod corpus;
mod damage;
mod flavours;
mod made;
mod ports;
mod written;

use super::{Capture, CaptureError};

/// (time stamp, frame) of each record.
fn contents(capture: &Capture) -> Vec<(u64, Vec<u8>)> {
    capture.records().map(|r| (r.timestamp.0, r.data.to_vec())).collect()
}

fn read(file: Vec<u8>) -> Result<Capture, CaptureError> {
    Capture::from_bytes("test.pcap", file)
}
