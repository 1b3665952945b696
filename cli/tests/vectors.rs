//! Plays the conntrack vectors through the whole pipeline: what must get out gets out, and nothing else.
//!
//! The vectors lie beside the project; without them the test is skipped.

mod replay_bed;

use classifier::addr::PortId;
use replay_bed::{replay_frames, shared};
use std::time::Duration;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn every_frame_of_the_vectors_gets_what_it_must_get() {
    let Some(folder) = shared("vectors") else { return };
    let text = std::fs::read_to_string(folder.join("conntrack.json")).unwrap();
    let scenarios: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut configuration = cli::config::load(&folder.join("gateway.toml")).unwrap();
    // The tables are laid out anew for each scenario.
    configuration.conntrack.max_flows = 1000;
    let (mut faults, mut failed) = (Vec::new(), Vec::new());
    for (name, scenario) in scenarios.as_object().unwrap() {
        let vectors = scenario["frames"].as_array().unwrap();
        let frames: Vec<(PortId, Vec<u8>)> = vectors
            .iter()
            .map(|v| (PortId(u8::from(v["port"] == "s")), hex(v["frame"].as_str().unwrap())))
            .collect();
        let (lines, counters) = replay_frames(&configuration, &frames, Duration::from_millis(2));
        assert!(counters.balance(), "{name}: {counters:?}");
        assert_eq!(lines.len(), vectors.len(), "{name}");
        let mut is_right = true;
        for (line, vector) in lines.iter().zip(vectors) {
            let passed = line.verdict == "forward";
            if passed != (vector["expect"] == "pass") {
                is_right = false;
                faults.push(format!(
                    "{name}, frame {}: expected {}, got {line:?}",
                    line.frame, vector["expect"]
                ));
            }
        }
        if !is_right {
            failed.push(name.as_str());
        }
    }
    let scenarios = scenarios.as_object().unwrap();
    println!("{} scenarios", scenarios.len());
    assert!(failed.is_empty(), "{failed:?}\n{}", faults.join("\n"));
}
