//! What the gateway says itself: to pings, about errors, and how often.

use crate::bed::frame::{Ip, SYN};
use crate::bed::network::{DB, FAR, TRUNK, WAN, WEB, address, bed_with, open_bed};
use classifier::policy::DefaultAction;
use classifier::reason::DropReason;
use dataplane::batch::Verdict;
use std::time::Duration;

#[test]
fn a_ping_to_any_of_the_gateways_addresses_is_answered_from_any_vlan() {
    let own = ["10.0.10.1", "10.0.20.1", "192.0.2.1", "fd00:10::1", "fd00:20::1", "2001:db8::1"];
    for host in [WEB, DB, FAR] {
        let mut bed = bed_with(DefaultAction::Deny, vec![]);
        for own in own.map(address) {
            let source = if own.is_ipv4() { host.v4() } else { host.v6() };
            let frame = Ip::ping(source, own, 77).by(&host);
            let sent = bed.send(host.port, frame.bytes());
            let reply = sent.replied();
            assert_eq!(reply[..12], [host.mac.0, host.gateway().0].concat());
            let ip = reply.len() - Ip::ping(source, own, 77).bytes().len();
            let (upper, kind) = if own.is_ipv4() { (ip + 20, 0) } else { (ip + 40, 129) };
            assert_eq!((reply[upper], &reply[upper + 4..]), (kind, &[0, 77, 0, 1, b'h', b'i'][..]));
        }
    }
}

#[test]
fn anything_else_to_the_gateway_is_local_deny_whatever_the_policy() {
    let mut bed = open_bed();
    let own = address("10.0.20.1");
    let packets = [
        Ip::tcp(WEB.v4(), own, (4000, 22), SYN, (1, 0), b""),
        Ip::udp(WEB.v4(), own, (4000, 53), b"?"),
        Ip::icmp(WEB.v4(), own, 13, 0, &[0; 16]),
        Ip::icmp(WEB.v4(), own, 0, 0, &[0; 4]),
        Ip::icmp(WEB.v4(), own, 3, 1, &[0; 32]),
        Ip::new(WEB.v4(), own, 89, vec![0; 24]),
        Ip::udp(WEB.v6(), address("fd00:20::1"), (4000, 53), b"?"),
        // Neither a broken ping nor a part of one is answered.
        Ip::ping(WEB.v4(), own, 7).upper_raw(2, &[0, 0]),
        Ip::ping(WEB.v4(), own, 7).upper(1, &[1]),
        Ip::ping(WEB.v4(), own, 7).cut(0..8).fragment(0x2000),
    ];
    for packet in packets {
        bed.send(TRUNK, packet.by(&WEB).bytes()).dropped(DropReason::LocalDeny);
    }
    // A ping has reached its end there: its TTL does not matter.
    bed.send(TRUNK, Ip::ping(WEB.v4(), own, 7).ttl(1).by(&WEB).bytes()).replied();
}

#[test]
fn z11_answers_are_limited_per_vlan() {
    let mut bed = open_bed();
    let ping = Ip::ping(WEB.v4(), address("10.0.10.1"), 7).by(&WEB).bytes();
    for _ in 0..1000 {
        bed.send(TRUNK, &ping).replied();
    }
    for _ in 0..10 {
        let sent = bed.send(TRUNK, &ping);
        assert_eq!(sent.moved, [("received", 1), ("local", 1), ("answers_suppressed", 1)]);
    }
    let expired = Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), b"x").ttl(1).by(&WEB);
    let sent = bed.send(TRUNK, expired.bytes());
    assert_eq!(sent.moved, [("received", 1), ("answers_suppressed", 1), ("ttl-expired", 1)]);
    let other = Ip::ping(FAR.v4(), address("192.0.2.1"), 7).by(&FAR).bytes();
    bed.send(WAN, other).replied();
    bed.wait(Duration::from_millis(5));
    for _ in 0..5 {
        bed.send(TRUNK, &ping).replied();
    }
    bed.send(TRUNK, &ping).must_be(Verdict::Local, None);
}

#[test]
fn z11_no_error_is_sent_about_an_icmp_error() {
    let quote = Ip::udp(address("8.8.8.8"), WEB.v4(), (53, 4000), b"answer").bytes();
    let rest = [&[0, 0, 0, 0], quote.as_slice()].concat();
    for (kind, code) in [(3, 3), (11, 0), (12, 0), (5, 1)] {
        let error = Ip::icmp(WEB.v4(), address("8.8.8.8"), kind, code, &rest);
        open_bed().send(TRUNK, error.by(&WEB).bytes()).dropped(DropReason::NoRoute);
        open_bed().send(TRUNK, error.ttl(1).by(&WEB).bytes()).dropped(DropReason::TtlExpired);
    }
    let v6 = Ip::icmp(WEB.v6(), DB.v6(), 1, 0, &[0; 52]).ttl(1);
    open_bed().send(TRUNK, v6.by(&WEB).bytes()).dropped(DropReason::TtlExpired);
}

#[test]
fn z11_no_error_is_sent_about_what_went_to_a_group() {
    use crate::bed::network::DESK;
    use classifier::addr::Mac;
    let groups = ["224.0.0.5", "255.255.255.255"].map(address);
    for to in groups {
        let mut bed = bed_with(DefaultAction::Reject, vec![]);
        let packet = Ip::udp(DESK.v4(), to, (4000, 5000), b"all");
        bed.send(TRUNK, packet.between_macs(&DESK, Mac::BROADCAST).bytes())
            .must_be(Verdict::Reject, Some(DropReason::DefaultReject));
        assert_eq!(bed.engine.counters().answers, 0);
        let routed = Ip::udp(WEB.v4(), to, (4000, 5000), b"all").ttl(1);
        bed.send(TRUNK, routed.by(&WEB).bytes()).dropped(DropReason::BadDestination);
    }
}

#[test]
fn an_icmp_error_about_a_flow_is_related_and_another_is_ct_invalid() {
    use dataplane::batch::FlowRole::Related;
    let mut bed = open_bed();
    let query = Ip::udp(WEB.v4(), DB.v4(), (4000, 53), b"?");
    bed.send(TRUNK, query.by(&WEB).bytes()).opened();
    let quoting =
        |quoted: &Ip| Ip::icmp(DB.v4(), WEB.v4(), 3, 3, &[&[0; 4], quoted.bytes().as_slice()].concat());
    bed.send(TRUNK, quoting(&query).by(&DB).bytes()).followed(Related);
    let other = Ip::udp(WEB.v4(), DB.v4(), (4001, 53), b"?");
    bed.send(TRUNK, quoting(&other).by(&DB).bytes()).dropped(DropReason::CtInvalid);
}
