//! The workload is what it says: valid frames of allowed flows, the same for the same seed.

use super::*;
use crate::Subject;
use classifier::policy::{Action, EndpointSet, Member, Service};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

const SEED: u64 = 7;

fn arguments(flows: u32, rules: u32, size: u16, proto: Protocol) -> EngineArguments {
    EngineArguments {
        packets: None,
        v6: false,
        imix: false,
        mix: Default::default(),
        flows,
        rules,
        size,
        seconds: 1,
        proto,
        subject: Subject::Engine,
        batch: 64,
        seed: SEED,
        core: None,
        json: false,
        attack: crate::attack::AttackArguments::default(),
        export: export::ExportArguments::default(),
    }
}

/// Every frame of the trace, once.
fn frames_of(trace: Arc<Trace>) -> Vec<Vec<u8>> {
    export::frames_of(&trace)
}

/// The frame's VID, and its flow as seen from its sender. Panics where anything in the frame is wrong.
fn dissect(frame: &[u8]) -> (u16, Flow) {
    let packet = SlicedPacket::from_ethernet(frame).expect("the headers are whole");
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    let header = ip.header();
    assert_eq!(header.to_header().calc_header_checksum(), header.header_checksum());
    // A packet shorter than the shortest frame is padded; no other is.
    assert_eq!(usize::from(header.total_len()).max(60 - 18), frame.len() - 18);
    let (source, destination) = match packet.transport.as_ref().expect("a transport header") {
        TransportSlice::Udp(udp) => {
            let calculated = udp.to_header().calc_checksum_ipv4(&header.to_header(), udp.payload()).unwrap();
            assert_eq!(udp.checksum(), calculated);
            (udp.source_port(), udp.destination_port())
        }
        TransportSlice::Tcp(tcp) => {
            let calculated = tcp.to_header().calc_checksum_ipv4(&header.to_header(), tcp.payload()).unwrap();
            assert_eq!(tcp.checksum(), calculated);
            (tcp.source_port(), tcp.destination_port())
        }
        TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
            panic!("neither UDP nor TCP")
        }
    };
    let (client, server) = (header.source_addr().into(), header.destination_addr().into());
    (packet.vlan_ids()[0].value(), Flow { client, server, source, destination })
}

fn reversed(flow: Flow) -> Flow {
    Flow { client: flow.server, server: flow.client, source: flow.destination, destination: flow.source }
}

#[test]
fn frames_of_both_directions_are_valid_and_of_the_size_that_was_asked_for() {
    for proto in [Protocol::Udp, Protocol::Tcp] {
        for size in [64, 128, 1_518, 9_022] {
            let workload = Workload::new(&arguments(50, 20, size, proto));
            let mut expected: Vec<(u16, Flow)> =
                workload.flows.iter().flat_map(|flow| [(10, *flow), (20, reversed(*flow))]).collect();
            let frames = frames_of(workload.steady);
            assert!(frames.iter().all(|frame| frame.len() == usize::from(size) - 4));
            let mut seen: Vec<(u16, Flow)> = frames.iter().map(|frame| dissect(frame)).collect();
            let key =
                |(vid, flow): &(u16, Flow)| (*vid, flow.client, flow.server, flow.source, flow.destination);
            expected.sort_unstable_by_key(key);
            seen.sort_unstable_by_key(key);
            assert_eq!(seen, expected, "{proto:?} {size}");
        }
    }
}

#[test]
fn flows_are_opened_in_the_order_that_the_tracker_wants() {
    let workload = Workload::new(&arguments(9, 20, 64, Protocol::Udp));
    let opened: Vec<(u16, Flow)> = frames_of(workload.opening).iter().map(|frame| dissect(frame)).collect();
    let both = |flow: &Flow| [(10, *flow), (20, reversed(*flow))];
    assert_eq!(opened, workload.flows.iter().flat_map(both).collect::<Vec<_>>());

    let workload = Workload::new(&arguments(9, 20, 1_518, Protocol::Tcp));
    let opened = frames_of(workload.opening);
    assert_eq!(opened.len(), 27);
    for (three, flow) in opened.chunks(3).zip(&workload.flows) {
        let vids = three.iter().map(|frame| dissect(frame)).collect::<Vec<_>>();
        assert_eq!(vids, [(10, *flow), (20, reversed(*flow)), (10, *flow)]);
        // The flags' low byte lies behind Ethernet, tag, IPv4 and thirteen bytes: SYN, SYN-ACK, ACK.
        assert_eq!([0, 1, 2].map(|index: usize| three[index][18 + 20 + 13]), [0x02, 0x12, 0x10]);
    }
}

#[test]
fn new_flows_and_junk_come_as_often_as_was_asked_for_and_evenly() {
    let mix = |new_flow_share, junk_share| MixArguments { new_flow_share, junk_share };
    let with = |mix| Workload::new(&EngineArguments { mix, ..arguments(50, 20, 64, Protocol::Udp) });
    let workload = with(mix(Some(0.25), None));
    let frames = frames_of(workload.steady);
    assert_eq!(frames.len(), 800_000, "200,000 of them are new");
    let known: BTreeSet<(u32, u16)> = workload.flows.iter().map(|flow| (flow.client, flow.source)).collect();
    let is_new = |frame: &Vec<u8>| {
        let (vid, flow) = dissect(frame);
        vid == 10 && !known.contains(&(flow.client, flow.source))
    };
    for some in frames[..4_000].chunks(400) {
        let count = some.iter().filter(|frame| is_new(frame)).count();
        // A few new flows have client and port of an old one.
        assert!((98..=101).contains(&count), "{count}");
    }
    let frames = frames_of(with(mix(None, Some(0.5))).steady);
    let is_junk: Vec<bool> = frames.iter().map(|frame| frame[16..18] == [0x88, 0xb5]).collect();
    assert_eq!(is_junk.len(), 200);
    assert!(is_junk.windows(2).all(|pair| pair[0] != pair[1]), "they alternate");
}

#[test]
fn the_policy_has_as_many_rules_as_were_asked_for() {
    for rules in [1, 2, 100, 10_000] {
        assert_eq!(
            Workload::new(&arguments(1, rules, 64, Protocol::Udp)).policy.rules().len(),
            rules as usize
        );
    }
}

/// The first rule of a tier that matches, by the letter of the policy's page.
fn first_match(policy: &Policy, flow: &Flow, protocol: u8) -> Option<Action> {
    let is_in = |set: &EndpointSet, host: u32| match set {
        EndpointSet::Any => true,
        EndpointSet::OneOf(members) => members.iter().any(|member| contains(policy, member, host)),
    };
    let matches =
        |services: &[Service]| services.iter().any(|s| s.contains(protocol, flow.source, flow.destination));
    for tier in 0..policy.tiers().len() {
        let decided = policy.rules().iter().filter(|rule| usize::from(rule.tier.0) == tier).find(|rule| {
            is_in(&rule.from, flow.client) && is_in(&rule.to, flow.server) && matches(&rule.services)
        });
        match decided.map(|rule| rule.action) {
            Some(Action::Pass) | None => {}
            other => return other,
        }
    }
    None
}

fn contains(policy: &Policy, member: &Member, host: u32) -> bool {
    match member {
        Member::Selector(selector) => selector.addresses.iter().any(|range| range.contains(address(host))),
        Member::Segment(id) => {
            policy.segments()[id.0 as usize].members.iter().any(|member| contains(policy, member, host))
        }
    }
}

#[test]
fn every_flow_is_allowed_and_different() {
    for rules in [1, 30, 1_000] {
        let workload = Workload::new(&arguments(500, rules, 64, Protocol::Udp));
        let mut seen = std::collections::HashSet::new();
        for flow in &workload.flows {
            assert!(seen.insert(*flow), "seed {SEED}: {flow:?} is there twice");
            for protocol in [6, 17] {
                let action = first_match(&workload.policy, flow, protocol);
                assert_eq!(action, Some(Action::Allow), "seed {SEED}, {rules} rules, {flow:?}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_workload() {
    let make = |seed| {
        let workload = Workload::new(&EngineArguments { seed, ..arguments(100, 100, 64, Protocol::Udp) });
        (workload.policy, workload.flows, frames_of(workload.steady))
    };
    assert!(make(1) == make(1));
    assert!(make(1) != make(2));
}

#[test]
fn each_host_in_use_is_a_neighbour_on_its_vlan_and_hosts_are_few() {
    let workload = Workload::new(&arguments(20_000, 1_000, 64, Protocol::Udp));
    let known: BTreeSet<(u16, IpAddr)> =
        workload.topology.neighbors.iter().map(|n| (n.vlan.vid(), n.address)).collect();
    for flow in &workload.flows {
        assert!(known.contains(&(10, address(flow.client))) && known.contains(&(20, address(flow.server))));
    }
    assert!(known.len() <= 2 * 4_096, "{}", known.len());
}

#[test]
fn segments_stay_within_their_vlan_at_any_scale() {
    let plan = policy::plan(200_000, SEED, false);
    for segment in plan.policy.segments() {
        let network = if segment.name.starts_with("client") { Side::CLIENTS } else { Side::SERVERS }.network;
        for member in &segment.members {
            if let Member::Selector(selector) = member {
                for range in &selector.addresses {
                    let classifier::addr::IpRange::V4(first, last) = *range else { panic!("not IPv4") };
                    assert!(first >= network + 256 && last < network + (1 << 20), "{}", segment.name);
                }
            }
        }
    }
}

#[test]
fn a_capture_has_the_frames_in_their_order() {
    let workload = Workload::new(&arguments(40, 20, 128, Protocol::Udp));
    let mut capture = Vec::new();
    export::pcap(&workload.steady, &mut capture).unwrap();
    let expected = frames_of(Arc::clone(&workload.steady));
    assert_eq!(&capture[..4], &[0xd4, 0xc3, 0xb2, 0xa1]);
    assert_eq!(&capture[20..24], &[1, 0, 0, 0]);
    assert_eq!(capture.len(), 24 + 80 * (16 + 124));
    for (record, frame) in capture[24..].chunks(16 + 124).zip(&expected) {
        assert_eq!(record[8..16], [124, 0, 0, 0, 124, 0, 0, 0]);
        assert_eq!(&record[16..], frame);
    }
}

#[test]
fn each_flow_is_within_a_line_of_the_rules_that_allows_it_and_none_that_denies() {
    let workload = Workload::new(&arguments(2_000, 1_000, 64, Protocol::Udp));
    let mut text = Vec::new();
    export::rules(&workload.policy, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 1_000);
    let inside = |prefix: &str, host: u32| {
        let (network, length) = prefix.split_once('/').unwrap();
        let network = u32::from(network.parse::<std::net::Ipv4Addr>().unwrap());
        let bits = 32 - length.parse::<u32>().unwrap();
        assert_eq!(network & ((1 << bits) - 1), 0, "{prefix}");
        network >> bits == host >> bits
    };
    for flow in &workload.flows {
        let mut hit = text.lines().filter(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let ports = words[3].parse::<u16>().unwrap()..=words[4].parse::<u16>().unwrap();
            inside(words[1], flow.client)
                && inside(words[2], flow.server)
                && ports.contains(&flow.destination)
        });
        assert!(hit.next().is_some_and(|line| line.starts_with("allow")), "{flow:?}");
        assert!(hit.all(|line| line.starts_with("allow")), "{flow:?}");
    }
}
