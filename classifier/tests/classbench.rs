//! ClassBench filter sets: rules of overlapping CIDRs and port ranges, which are not shaped like segments.
//!
//! The sets are not part of the project. Where they are missing the test says so and does nothing.

mod random;
// The benchmarks read the same sets; a file can be shared where a dependency would go round in a circle.
#[path = "../../perf/src/classifier/classbench.rs"]
mod reader;

use classifier::addr::{IpRange, Mac, PortId, VlanKey};
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{EndpointSet, Member, Policy, PortRange, Selector};
use classifier::reference::Reference;
use classifier::tables::Tables;
use random::{NOW, Random};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

fn load(name: &str) -> Option<Policy> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../../shared/classbench").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}", path.display());
        return None;
    };
    Some(reader::policy(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn inside(random: &mut Random, set: &EndpointSet) -> Endpoint {
    let address = match set {
        EndpointSet::OneOf(members) if !random.once_in(10) => match &members[0] {
            Member::Selector(Selector { addresses, .. }) => match addresses[0] {
                IpRange::V4(first, last) => {
                    let span = u64::from(last - first) + 1;
                    let edge = random.pick(&[0, span - 1, random.clone().word() % span]);
                    first + edge as u32
                }
                IpRange::V6(..) => unreachable!("the sets are IPv4"),
            },
            Member::Segment(_) => unreachable!("the sets have no segments"),
        },
        EndpointSet::OneOf(_) | EndpointSet::Any => random.word() as u32,
    };
    Endpoint {
        vlan: Some(VlanKey::new(PortId(0), 1)),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        address: IpAddr::V4(Ipv4Addr::from(address)),
    }
}

/// A packet inside of a random rule, mostly, so that packets differ in how many rules match.
fn packet(random: &mut Random, policy: &Policy) -> (Endpoint, Endpoint, ServicePacket) {
    let rule = &policy.rules()[random.below(policy.rules().len())];
    let service = rule.services[0];
    let mut port = |range: PortRange| {
        let span = usize::from(range.last - range.first) + 1;
        random.pick(&[range.first, range.last, range.first + random.clone().below(span) as u16])
    };
    let (source_port, destination_port) = (port(service.source), port(service.destination));
    let protocol = service.protocol.unwrap_or(random.pick(&[6, 17, 1, 47]));
    let ends = (inside(random, &rule.from), inside(random, &rule.to));
    (ends.0, ends.1, ServicePacket { protocol, source_port, destination_port })
}

fn check(name: &str, packets: usize) {
    let Some(policy) = load(name) else {
        return;
    };
    let policy = Arc::new(policy);
    let start = Instant::now();
    let tables = Tables::compile(Arc::clone(&policy), NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("{name}: {:?}, {:?}", start.elapsed(), tables.statistics());
    let reference = Reference::new(&policy, NOW);
    let seed = 7;
    let mut random = Random(seed);
    let mut decided = 0;
    for _ in 0..packets {
        let (source, destination, packet) = packet(&mut random, &policy);
        let ServicePacket { protocol, source_port, destination_port } = packet;
        let (from, to) = (tables.class_of(&source), tables.class_of(&destination));
        let expected = reference.judge(&source, &destination, packet);
        decided += usize::from(expected.decided_by.is_some());
        assert_eq!(
            tables.judge(from, to, protocol, source_port, destination_port),
            expected,
            "{name}, seed {seed}: {source:?} -> {destination:?} {packet:?}"
        );
    }
    assert!(decided > packets / 2, "most packets are inside of a rule: {decided} of {packets}");
}

#[test]
fn access_lists_of_a_thousand_rules_compile_exactly() {
    for name in ["acl1_1k", "acl3_1k", "ipc1_1k"] {
        check(name, 4_000);
    }
}

#[test]
fn firewalls_of_a_thousand_rules_compile_exactly() {
    for name in ["fw1_1k", "fw3_1k"] {
        check(name, 4_000);
    }
}

#[test]
fn large_sets_compile_exactly() {
    for name in ["acl1_10k", "acl3_10k", "ipc1_10k", "fw1_10k", "fw3_10k", "ipc1_50k"] {
        check(name, 500);
    }
}
