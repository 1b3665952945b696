//! The compiled tables and the linear scan give the same answer for every packet.

mod random;

use classifier::compile::Limits;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::reference::Reference;
use classifier::tables::{Answer, Form, Instructions, Places, Query, Tables};
use random::{NOW, Random, Scenario, Size};
use std::net::IpAddr;
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

/// Compares what look-ups in bulk say on all instructions.
fn compare_batch(tables: &Tables, reference: &Reference<'_>, packets: &[Packet], seed: u64) {
    for instructions in Instructions::ALL {
        let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut places_v4, mut places_v6) = (Vec::new(), Vec::new());
        let (mut expected_v4, mut expected_v6) = (Vec::new(), Vec::new());
        for (source, destination, packet) in packets {
            let decision = reference.decide(source, destination, *packet);
            let expected = (reference.judge(source, destination, *packet), decision);
            let places = Places {
                source: (source.vlan, source.mac),
                destination: (destination.vlan, destination.mac),
            };
            let ServicePacket { protocol, source_port, destination_port } = *packet;
            let (source_endpoint, destination_endpoint) = (*source, *destination);
            match (source.address, destination.address) {
                (IpAddr::V4(from), IpAddr::V4(to)) => {
                    let (source, destination) = (from.into(), to.into());
                    v4.push(Query { source, destination, source_port, destination_port, protocol });
                    places_v4.push(places);
                    expected_v4.push((expected, (source_endpoint, destination_endpoint, *packet)));
                }
                (IpAddr::V6(from), IpAddr::V6(to)) => {
                    let (source, destination) = (from.into(), to.into());
                    v6.push(Query { source, destination, source_port, destination_port, protocol });
                    places_v6.push(places);
                    expected_v6.push((expected, (source_endpoint, destination_endpoint, *packet)));
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                    panic!("a packet has addresses of one family")
                }
            }
        }
        let mut answers = vec![Answer::default(); v4.len()];
        tables.classify_v4(&v4, &places_v4, &mut answers);
        let mut answers_v6 = vec![Answer::default(); v6.len()];
        tables.classify_v6(&v6, &places_v6, &mut answers_v6);
        let both = answers.iter().zip(&expected_v4).chain(answers_v6.iter().zip(&expected_v6));
        for (answer, ((judgement, decision), packet)) in both {
            let context = || format!("seed {seed}, {instructions}: {packet:?}\n{:#?}", reference.policy());
            assert_eq!(tables.judgement_of(*answer), *judgement, "{}", context());
            assert_eq!(tables.decision_of(*answer), *decision, "{}", context());
            assert_eq!(tables.verdict_of(*answer), decision.verdict, "{}", context());
        }
    }
}

type Packet = (Endpoint, Endpoint, ServicePacket);

fn run(first_seed: u64, policies: u64, packets: usize, size: Size) {
    let mut groups = [0; 10];
    let mut forms = [0; 4];
    for seed in first_seed..first_seed + policies {
        let mut random = Random(seed);
        let scenario = Scenario::new(&mut random, size);
        let policy = Arc::new(scenario.policy.clone());
        // Few pairs are welcome, so that sets of all levels of width come up.
        let limits = Limits {
            spread_of_choice: random.pick(&[0, 10, 50, 200, 1000]),
            folded: random.pick(&[0, 1 << 20, 1 << 20, 1 << 20, 1 << 20]),
            matrix: random.pick(&[0, 1, 100, 1 << 20]),
            rows: random.pick(&[0, 500, 2_000, 1 << 20, 1 << 20]),
            ..Limits::default()
        };
        let tables = Tables::compile_within(Arc::clone(&policy), NOW, &limits)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let statistics = tables.statistics();
        assert_eq!(
            statistics.form == Form::Grouped,
            statistics.grouping.is_some(),
            "seed {seed}: it says why"
        );
        groups[tables.statistics().groups] += 1;
        forms[tables.statistics().form as usize] += 1;
        let reference = Reference::new(&policy, NOW);
        let packets: Vec<Packet> = (0..packets).map(|_| scenario.packet(&mut random)).collect();
        for packet in &packets {
            compare(&tables, &reference, *packet, seed);
        }
        compare_batch(&tables, &reference, &packets, seed);
    }
    println!(
        "seeds {first_seed}..{}: tables by number of groups {groups:?}, by form {forms:?}",
        first_seed + policies
    );
}

#[test]
fn tables_agree_with_the_reference_on_small_policies() {
    run(1, 6_000, 250, Size { segments: 6, rules: 12 });
}

#[test]
fn tables_agree_with_the_reference_on_large_policies() {
    run(100_001, 60, 5_000, Size { segments: 60, rules: 120 });
}
