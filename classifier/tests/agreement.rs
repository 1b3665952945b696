//! The compiled tables and the linear scan give the same answer for every packet.

mod random;

use classifier::compile::Limits;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::reference::Reference;
use classifier::tables::Tables;
use random::{NOW, Random, Scenario, Size};
use std::sync::Arc;

/// Compares what tables and reference say of a packet.
fn compare(
    tables: &Tables,
    reference: &Reference<'_>,
    (source, destination, packet): (Endpoint, Endpoint, ServicePacket),
    seed: u64,
) {
    let ServicePacket { protocol, source_port, destination_port } = packet;
    let from = tables.source_class(
        source.vlan.expect("a source has a VLAN"),
        source.mac.expect("a source has a MAC"),
        source.address,
    );
    let to = tables.destination_class(
        destination.vlan.expect("a destination has a VLAN"),
        destination.mac,
        destination.address,
    );
    let context =
        || format!("seed {seed}: {source:?} -> {destination:?} {packet:?}\n{:#?}", reference.policy());
    let judgement = tables.judge(from, to, protocol, source_port, destination_port);
    assert_eq!(judgement, reference.judge(&source, &destination, packet), "judgement, {}", context());
    let decision = tables.decide(from, to, protocol, source_port, destination_port);
    assert_eq!(decision, reference.decide(&source, &destination, packet), "decision, {}", context());
    assert_eq!(tables.segments_of(from), reference.segments_of(&source), "source's segments, {}", context());
    assert_eq!(tables.segments_of(to), reference.segments_of(&destination), "segments, {}", context());
    // `why` may not know a VLAN: then no condition on one holds.
    let blind = Endpoint { vlan: None, ..destination };
    let segments = reference.segments_of(&blind);
    assert_eq!(tables.segments_of(tables.class_of(&blind)), segments, "without a VLAN, {}", context());
    assert_eq!(tables.is_softened(to), reference.is_softened(&destination), "softened, {}", context());
}

fn run(first_seed: u64, policies: u64, packets: usize, size: Size) {
    let mut groups = [0; 10];
    for seed in first_seed..first_seed + policies {
        let mut random = Random(seed);
        let scenario = Scenario::new(&mut random, size);
        let policy = Arc::new(scenario.policy.clone());
        // Few pairs are welcome, so that sets of all levels of width come up.
        let limits = Limits {
            spread_of_choice: random.pick(&[0, 10, 50, 200, 1000]),
            folded: random.pick(&[0, 1 << 20, 1 << 20]),
            ..Limits::default()
        };
        let tables = Tables::compile_within(Arc::clone(&policy), NOW, &limits)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        groups[tables.statistics().groups] += 1;
        let reference = Reference::new(&policy, NOW);
        for _ in 0..packets {
            compare(&tables, &reference, scenario.packet(&mut random), seed);
        }
    }
    println!("seeds {first_seed}..{}: tables by number of groups {groups:?}", first_seed + policies);
}

#[test]
fn tables_agree_with_the_reference_on_small_policies() {
    run(1, 6_000, 250, Size { segments: 6, rules: 12 });
}

#[test]
fn tables_agree_with_the_reference_on_large_policies() {
    run(100_001, 60, 5_000, Size { segments: 60, rules: 120 });
}
