//! Real hosts, a real gateway: what passes, what does not, and that the books balance.

mod live;
mod root;

use classifier::reason::DropReason;
use classifier::wire::Packet;
use cli::testbed::{Bed, Host, HostSpec, PingOutcome, RawSocket, TcpOutcome, UdpOutcome};
use dataplane::counters::Counters;
use dataplane::engine::Engine;
use dataplane::event::Event;
use dataplane::port::xdp::ModeInForce;
use live::{BRIEFLY, SOON, host, start, stop, wait_until};
use root::may_run;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

const ROUTED: &str = r#"
[[port]]
name = "trunk0"
interface = "trunk0"
mac = "02:00:00:00:00:01"

[[vlan]]
id = 10
port = "trunk0"
address = ["10.0.10.1/24", "fd00:10::1/64"]
[[vlan]]
id = 20
port = "trunk0"
address = ["10.0.20.1/24", "fd00:20::1/64"]
[[vlan]]
id = 0
port = "trunk0"
address = ["10.0.40.1/24", "fd00:40::1/64"]

[segment.web]
members = ["10.0.10.0/24", "fd00:10::/64"]
[segment.app]
members = ["10.0.20.0/24", "fd00:20::/64"]
[segment.old]
members = ["10.0.40.0/24", "fd00:40::/64"]

[service]
ping = ["icmp/echo-request", "icmpv6/echo-request"]

[[rule]]
id = "served"
from = ["web"]
to = ["app", "old"]
service = ["ping", "tcp/8080", "tcp/9000", "udp/53"]
action = "allow"
[[rule]]
id = "refused"
from = ["app"]
to = ["web"]
action = "reject"
"#;

const WEB: [&str; 2] = ["10.0.10.10", "fd00:10::10"];
const APP: [&str; 2] = ["10.0.20.10", "fd00:20::10"];
const OLD: [&str; 2] = ["10.0.40.10", "fd00:40::10"];

struct Hosts {
    web: Host,
    app: Host,
    old: Host,
}

fn hosts(bed: &mut Bed) -> Hosts {
    let mut host = |name, vlan, [v4, v6]: [&str; 2]| host(bed, name, vlan, v4, v6);
    Hosts { web: host("web", 10, WEB), app: host("app", 20, APP), old: host("old", 0, OLD) }
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

fn dropped(counters: &Counters, reason: DropReason) -> u64 {
    counters.dropped[reason.index()]
}

/// Whether an IP packet with this source has arrived by now. What the host itself sends is not looked at.
fn has_heard_from(ear: &RawSocket, source: &str) -> bool {
    let source: IpAddr = source.parse().unwrap();
    let wanted = Duration::from_millis(200);
    ear.wait_for(wanted, |c| !c.outgoing && Packet::parse(&c.frame).source() == source).unwrap().is_some()
}

#[test]
fn ping_tcp_and_udp_pass_between_routed_vlans_tagged_or_not_as_the_policy_allows() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("routed").unwrap();
    let hosts = hosts(&mut bed);
    let gateway = start(&bed, ROUTED);
    for (server, addresses) in [(&hosts.app, APP), (&hosts.old, OLD)] {
        for to in addresses {
            let _tcp = server.tcp_echo(at(to, 8080)).unwrap();
            let _udp = server.udp_echo(at(to, 53)).unwrap();
            let ping = hosts.web.ping(to.parse().unwrap(), SOON).unwrap();
            assert!(ping.is_answered(), "{to}: {ping:?}");
            assert_eq!(hosts.web.tcp_connect(at(to, 8080), SOON).unwrap(), TcpOutcome::Connected, "{to}");
            // The policy lets it pass, and nobody listens there: the answer is the host's own.
            assert_eq!(hosts.web.tcp_connect(at(to, 9000), SOON).unwrap(), TcpOutcome::Refused, "{to}");
            let answer = hosts.web.udp_request(at(to, 53), b"a question", SOON).unwrap();
            assert_eq!(answer, UdpOutcome::Answered(b"a question".to_vec()), "{to}");
            // And what no rule speaks of: nothing, in either direction.
            assert_eq!(hosts.web.tcp_connect(at(to, 22), BRIEFLY).unwrap(), TcpOutcome::TimedOut, "{to}");
        }
    }
    let counters = stop(gateway);
    assert!(dropped(&counters, DropReason::DefaultDeny) >= 4, "{counters:?}");
    assert!(counters.flows >= 16, "{counters:?}");
}

#[test]
fn fifty_megabytes_arrive_as_they_were_sent_over_each_family() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("bulk").unwrap();
    let hosts = hosts(&mut bed);
    let gateway = start(&bed, ROUTED);
    for (server, to, megabytes) in [(&hosts.app, APP[0], 50), (&hosts.old, OLD[1], 50)] {
        let _sink = server.bulk_sink(at(to, 9000)).unwrap();
        let start = Instant::now();
        hosts.web.bulk_send(at(to, 9000), megabytes * 1_000_000 + 1, SOON).unwrap();
        println!("{megabytes} MB to {to} in {:?}", start.elapsed());
    }
    let counters = stop(gateway);
    assert!(counters.forwarded > 2 * 50_000_000 / 1500, "{counters:?}");
    assert_eq!(counters.flows, 2, "replies need no rule and no flow of their own");
}

#[test]
fn what_is_denied_never_arrives_and_a_rejection_comes_at_once() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("denied").unwrap();
    let hosts = hosts(&mut bed);
    let gateway = start(&bed, ROUTED);
    for family in 0..2 {
        let (web, old) = (WEB[family], OLD[family]);
        let _tcp = hosts.web.tcp_echo(at(web, 8080)).unwrap();
        let _open = hosts.web.udp_echo(at(web, 53)).unwrap();
        let _old = hosts.old.tcp_echo(at(old, 8080)).unwrap();
        let (web_ear, old_ear) = (hosts.web.raw().unwrap(), hosts.old.raw().unwrap());

        let start = Instant::now();
        assert_eq!(hosts.app.tcp_connect(at(web, 8080), SOON).unwrap(), TcpOutcome::Refused, "{web}");
        let ping = hosts.app.ping(web.parse().unwrap(), SOON).unwrap();
        let prohibited = [(3, 13), (1, 1)][family];
        assert_eq!(ping, PingOutcome::Error { kind: prohibited.0, code: prohibited.1 });
        let answer = hosts.app.udp_request(at(web, 53), b"a question", SOON).unwrap();
        assert_eq!(answer, UdpOutcome::Unreachable, "{web}");
        assert!(start.elapsed() < SOON / 2, "a rejection is not a timeout: {:?}", start.elapsed());
        assert!(!has_heard_from(&web_ear, APP[family]), "what was rejected arrived");

        assert_eq!(hosts.app.tcp_connect(at(old, 8080), BRIEFLY).unwrap(), TcpOutcome::TimedOut, "{old}");
        assert_eq!(hosts.app.ping(old.parse().unwrap(), BRIEFLY).unwrap(), PingOutcome::TimedOut);
        let answer = hosts.app.udp_request(at(old, 53), b"a question", BRIEFLY).unwrap();
        assert_eq!(answer, UdpOutcome::TimedOut, "{old}");
        assert!(!has_heard_from(&old_ear, APP[family]), "what was denied arrived");
        // The ears do hear what passes.
        assert!(hosts.web.ping(old.parse().unwrap(), SOON).unwrap().is_answered());
        assert!(has_heard_from(&old_ear, web));
    }
    let counters = stop(gateway);
    assert!(dropped(&counters, DropReason::PolicyReject) >= 6, "{counters:?}");
    assert!(dropped(&counters, DropReason::DefaultDeny) >= 6, "{counters:?}");
}

#[test]
fn two_ports_carry_what_one_does() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("ports").unwrap();
    let second = bed.add_trunk("trunk1", 1).unwrap();
    let web = host(&mut bed, "web", 10, WEB[0], WEB[1]);
    let app = HostSpec {
        vlan: Some(20),
        trunk: second,
        addresses: vec!["10.0.20.10/24".parse().unwrap()],
        gateways: vec!["10.0.20.1".parse().unwrap()],
        ..HostSpec::default()
    };
    let app = bed.host("app", &app).unwrap();
    let one = "[[vlan]]\nid = 20\nport = \"trunk0\"";
    let other = "[[port]]\nname = \"trunk1\"\ninterface = \"trunk1\"\n[[vlan]]\nid = 20\nport = \"trunk1\"";
    assert!(ROUTED.contains(one));
    let gateway = start(&bed, &ROUTED.replace(one, other));
    let _sink = app.bulk_sink(at(APP[0], 9000)).unwrap();
    web.bulk_send(at(APP[0], 9000), 10_000_001, SOON).unwrap();
    assert_eq!(web.tcp_connect(at(APP[0], 22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    assert!(app.ping(WEB[0].parse().unwrap(), SOON).is_ok_and(|ping| !ping.is_answered()));
    let counters = stop(gateway);
    assert!(counters.forwarded > 10_000_000 / 1500, "{counters:?}");
}

/// The kernel keeps what traffic control has redirected away from generic XDP, so the frames here are sent on the
/// wire itself.
#[test]
fn in_the_kernels_generic_mode_the_gateway_answers_and_forwards() {
    if !may_run() {
        return;
    }
    let bed = Bed::new("generic").unwrap();
    let gateway = start(&bed, &ROUTED.replace("mac = ", "xdp = \"skb\"\nmac = "));
    assert_eq!(gateway.guards()[0].mode(), ModeInForce::Generic);
    let wire = bed.wire(0).unwrap();
    // An ARP request (RFC 826) from 10.0.20.10, by which the gateway knows it.
    let mac = [2, 0, 0, 0, 0x20, 0x10];
    let mut request = [&[0xff; 6][..], &mac, &[0x81, 0, 0, 20, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac].concat();
    request.extend([10, 0, 20, 10, 0, 0, 0, 0, 0, 0, 10, 0, 20, 1]);
    request.resize(64, 0);
    wire.send(&request).unwrap();
    let reply = wire.wait_for(SOON, |c| !c.outgoing && c.frame[..6] == mac).unwrap().expect("a reply");
    assert_eq!(reply.frame[12..26], [0x81, 0, 0, 20, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    wire.send(&syn([2, 0, 0, 0, 0x10, 0x10], Some(10), WEB[0], APP[0])).unwrap();
    let forwarded = wire.wait_for(SOON, |c| !c.outgoing && c.frame[16..18] == [8, 0]).unwrap();
    let packet = Packet::parse(&forwarded.expect("the SYN is let in").frame);
    assert_eq!((packet.link.vid(), packet.destination_port, packet.ttl), (20, 8080, 63));
    let counters = stop(gateway);
    assert_eq!((counters.forwarded, counters.local, counters.flows), (1, 1, 1), "{counters:?}");
}

#[test]
fn the_books_balance_where_a_gateway_stops_in_the_middle_of_a_transfer() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("midway").unwrap();
    let hosts = hosts(&mut bed);
    let gateway = start(&bed, ROUTED);
    let _sink = hosts.app.bulk_sink(at(APP[0], 9000)).unwrap();
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| hosts.web.bulk_send(at(APP[0], 9000), 1 << 40, Duration::from_secs(1)));
        // And frames that nobody ever takes: they wait for a neighbor that does not answer.
        let nobody = hosts.web.udp_socket(at("0.0.0.0", 0)).unwrap();
        for _ in 0..5 {
            nobody.send_to(b"anybody?", at("10.0.20.99", 53)).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        // What the transfer leaves no time for is still in the kernel.
        wait_until("the gateway has taken all five", || {
            let taken = |engine: &mut Engine| {
                engine.waiting() as u64 + dropped(engine.counters(), DropReason::NeighborFailed)
            };
            gateway.control().ask_all(taken).is_ok_and(|taken| taken.iter().sum::<u64>() == 5)
        });
        let counters = stop(gateway);
        assert!(counters.forwarded > 1000, "{counters:?}");
        assert_eq!(counters.waiting, 0, "who waits at the end is given up: {counters:?}");
        assert_eq!(dropped(&counters, DropReason::NeighborFailed), 5, "{counters:?}");
        assert!(transfer.join().unwrap().is_err());
    });
}

/// A SYN from anywhere, of any VLAN.
fn syn(mac: [u8; 6], vlan: Option<u16>, source: &str, destination: &str) -> Vec<u8> {
    let v4 = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let link = etherparse::PacketBuilder::ethernet2(mac, [2, 0, 0, 0, 0, 1]);
    let mut frame = Vec::new();
    let ip = etherparse::IpHeaders::Ipv4(
        etherparse::Ipv4Header::new(20, 64, etherparse::IpNumber::TCP, v4(source), v4(destination)).unwrap(),
        etherparse::Ipv4Extensions::default(),
    );
    let step = match vlan {
        Some(vid) => link.single_vlan(vid.try_into().unwrap()).ip(ip),
        None => link.ip(ip),
    };
    step.tcp(40_000, 8080, 1, 1000).syn().write(&mut frame, &[]).unwrap();
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn forged_sources_and_foreign_vlans_are_dropped_for_their_reason() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("forged").unwrap();
    let hosts = hosts(&mut bed);
    let gateway = start(&bed, ROUTED);
    // Both ends are known to the gateway from here on, so that nothing waits for a neighbor.
    assert!(hosts.web.ping(APP[0].parse().unwrap(), SOON).unwrap().is_answered());
    let ear = hosts.app.raw().unwrap();
    let (wire, raw) = (bed.wire(0).unwrap(), hosts.web.raw().unwrap());
    let mac = [2, 0, 0, 0, 9, 9];
    for _ in 0..5 {
        raw.send(&syn(mac, None, OLD[0], APP[0])).unwrap();
        raw.send(&syn(mac, None, "10.0.10.1", APP[0])).unwrap();
        wire.send(&syn(mac, Some(99), WEB[0], APP[0])).unwrap();
        raw.send(&syn(mac, None, "127.0.0.1", APP[0])).unwrap();
    }
    // The last one is good, and comes after the others.
    raw.send(&syn(mac, None, "10.0.10.77", APP[0])).unwrap();
    let heard = ear.wait_for(SOON, |c| !c.outgoing && Packet::parse(&c.frame).destination_port == 8080);
    let heard = heard.unwrap().expect("the good one arrives");
    assert_eq!(Packet::parse(&heard.frame).source().to_string(), "10.0.10.77", "a forged one arrived");

    // Hosts speak MLD from their link-local addresses when they like, which is spoofed too: only ours are counted.
    let mut events = Vec::new();
    let mut told = |reason| {
        let ours = |e: &Event| (e.protocol, e.destination_port) == (6, 8080);
        events.extend(gateway.events()[0].receiver.try_iter().filter(ours));
        events.iter().filter(|e| e.outcome.reason == Some(reason)).count()
    };
    // The wire's frames may be on their way when the hosts' have arrived.
    wait_until("the foreign ones are told of", || told(DropReason::UnknownVlan) >= 5);
    assert_eq!((told(DropReason::UnknownVlan), told(DropReason::Spoofed)), (5, 10));
    assert!(events.iter().all(|e| e.outcome.reason != Some(DropReason::UnknownVlan) || e.vid == 99));
    let counters = stop(gateway);
    assert!(dropped(&counters, DropReason::Spoofed) >= 10, "{counters:?}");
    assert_eq!(dropped(&counters, DropReason::UnknownVlan), 5, "{counters:?}");
    assert_eq!(dropped(&counters, DropReason::Martian), 5, "{counters:?}");
}

const STITCHED: &str = r#"
[[port]]
name = "trunk0"
interface = "trunk0"

[[vlan]]
id = 110
port = "trunk0"
[[vlan]]
id = 120
port = "trunk0"
[[stitch]]
name = "floor"
vlans = ["trunk0.110", "trunk0.120"]

[segment.desk]
members = ["vlan:trunk0.110"]
[segment.printer]
members = ["vlan:trunk0.120"]

[service]
ping = ["icmp/echo-request", "icmpv6/echo-request"]

[[rule]]
id = "print"
from = ["desk"]
to = ["printer"]
service = ["ping", "tcp/9000"]
action = "allow"
[[rule]]
id = "no-telnet"
from = ["desk"]
to = ["printer"]
service = ["tcp/23"]
action = "reject"
"#;

#[test]
fn stitched_vlans_are_one_subnet_and_policed_where_they_meet() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("stitched").unwrap();
    let desk = host(&mut bed, "desk", 110, "10.1.0.10", "fd00:1::10");
    let printer = host(&mut bed, "printer", 120, "10.1.0.20", "fd00:1::20");
    let gateway = start(&bed, STITCHED);
    for (from, to) in [("10.1.0.10", "10.1.0.20"), ("fd00:1::10", "fd00:1::20")] {
        let _sink = printer.bulk_sink(at(to, 9000)).unwrap();
        let _telnet = printer.tcp_echo(at(to, 23)).unwrap();
        let _desk = desk.tcp_echo(at(from, 9000)).unwrap();
        let ping = desk.ping(to.parse().unwrap(), SOON).unwrap();
        assert!(ping.is_answered(), "ARP and ND pass, and then the ping: {ping:?}");
        desk.bulk_send(at(to, 9000), 5_000_001, SOON).unwrap();
        assert_eq!(desk.tcp_connect(at(to, 23), SOON).unwrap(), TcpOutcome::Refused);
        let ear = desk.raw().unwrap();
        assert_eq!(printer.tcp_connect(at(from, 9000), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
        assert_eq!(printer.ping(from.parse().unwrap(), BRIEFLY).unwrap(), PingOutcome::TimedOut);
        let opened = ear.wait_for(Duration::from_millis(200), |c| {
            let packet = Packet::parse(&c.frame);
            !c.outgoing && packet.destination_port == 9000 && packet.source().to_string() == to
        });
        assert!(opened.unwrap().is_none(), "what is denied arrived");
    }
    // The hosts see each other's own MACs, not the gateway's.
    let seen = desk.ip("neigh show 10.1.0.20").unwrap();
    let own = printer.ip("-o link show eth0").unwrap();
    let mac = seen.split_whitespace().skip_while(|w| *w != "lladdr").nth(1).unwrap();
    assert!(own.contains(mac), "{seen} is not of {own}");
    let counters = stop(gateway);
    assert_eq!(dropped(&counters, DropReason::PolicyReject), 2, "{counters:?}");
    assert!(dropped(&counters, DropReason::DefaultDeny) >= 4, "{counters:?}");
}
