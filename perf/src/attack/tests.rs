//! The frames are what they are said to be, and a flood is told from those whom it meets.

use super::*;
use crate::{Protocol, Subject};
use clap::ValueEnum;

const SEED: u64 = 7;

fn arguments(max_flows: u32) -> EngineArguments {
    let attack = AttackArguments {
        attack_mpps: Some(0.02),
        clients: Some(50),
        max_flows: Some(max_flows),
        ..Default::default()
    };
    EngineArguments {
        flows: 20,
        rules: 100,
        size: 64,
        seconds: 1,
        proto: Protocol::Udp,
        subject: Subject::Engine,
        batch: 64,
        seed: SEED,
        core: None,
        packets: None,
        v6: false,
        imix: false,
        mix: Default::default(),
        json: false,
        attack,
        export: Default::default(),
    }
}

#[test]
fn each_attack_goes_by_the_reason_that_it_is_made_for_and_spares_the_others() {
    let reasons = [
        (Attack::Syn, "flow-table-full"),
        (Attack::Ack, "ct-invalid"),
        (Attack::Udp, "default-deny"),
        (Attack::Fragment, "spoofed"),
        (Attack::IcmpError, "ct-invalid"),
    ];
    assert_eq!(reasons.len(), Attack::value_variants().len());
    for (kind, reason) in reasons {
        let report = attack(&arguments(10_000), kind).expect("the policy compiles");
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("it is JSON");
        let is = |key: &str, value: f64| assert_eq!(json[key].as_f64(), Some(value), "{key}: {json}");
        is("established_lost", 0.0);
        is("goodput_loss", 0.0);
        is("clients", 50.0);
        is("through_within_3s", 1.0);
        assert!(json["reasons"][reason].as_u64() > Some(5_000), "{json}");
        // No frame of the attack is broken: all are dropped for what they are.
        for broken in ["malformed-ip", "malformed-l4", "runt", "tcp-flags", "unknown-vlan", "neighbor-failed"]
        {
            assert!(json["reasons"][broken].is_null(), "{broken}: {json}");
        }
    }
}
