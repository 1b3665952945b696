//! The sample capture that is checked in is the one that its generator makes.

use dataplane::port::capture::Capture;
use std::path::Path;

#[allow(dead_code, reason = "the example has a main function of its own")]
#[path = "../examples/three_tier_capture.rs"]
mod three_tier_capture;

#[test]
fn the_sample_capture_is_what_its_generator_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/samples/three-tier.pcap");
    let capture = Capture::read(path).expect("the sample is checked in");
    let stored: Vec<_> = capture.records().map(|record| (record.timestamp, record.data.to_vec())).collect();
    assert_eq!(
        stored,
        three_tier_capture::frames(),
        "run: cargo run -p bulkhead --example three_tier_capture"
    );
}
