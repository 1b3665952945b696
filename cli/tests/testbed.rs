//! The test bed itself: what a switch with VLANs does, without a gateway.

mod root;

use classifier::addr::Mac;
use cli::testbed::{Bed, HostSpec, PingOutcome, TcpOutcome, UdpOutcome};
use root::may_run;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(300);

fn spec(vlan: Option<u16>, addresses: &[&str]) -> HostSpec {
    let addresses = addresses.iter().map(|a| a.parse().expect("a prefix")).collect();
    HostSpec { vlan, addresses, ..HostSpec::default() }
}

#[test]
fn hosts_of_one_vlan_hear_each_other_and_nobody_else() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("vlans").unwrap();
    let a = bed.host("a", &spec(Some(10), &["10.0.0.1/24", "fd00::1/64"])).unwrap();
    let b = bed.host("b", &spec(Some(10), &["10.0.0.2/24", "fd00::2/64"])).unwrap();
    let c = bed.host("c", &spec(Some(20), &["10.0.0.3/24"])).unwrap();
    let d = bed.host("d", &spec(None, &["10.0.0.4/24"])).unwrap();
    for to in ["10.0.0.2", "fd00::2"] {
        let outcome = a.ping(to.parse().unwrap(), SOON).unwrap();
        assert!(outcome.is_answered(), "{to}: {outcome:?}");
    }
    for (from, to) in [(&a, "10.0.0.3"), (&a, "10.0.0.4"), (&c, "10.0.0.1"), (&d, "10.0.0.3")] {
        let outcome = from.ping(to.parse().unwrap(), BRIEFLY).unwrap();
        assert_eq!(outcome, PingOutcome::TimedOut, "{} to {to}", from.name());
    }
    drop(b);
}

#[test]
fn tcp_and_udp_end_as_they_would_on_a_wire() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("sockets").unwrap();
    let a = bed.host("a", &spec(Some(10), &["10.0.0.1/24"])).unwrap();
    let b = bed.host("b", &spec(Some(10), &["10.0.0.2/24"])).unwrap();
    let at = |port: u16| SocketAddr::from(([10, 0, 0, 2], port));
    let _tcp = b.tcp_echo(at(80)).unwrap();
    let _udp = b.udp_echo(at(53)).unwrap();
    let _sink = b.bulk_sink(at(9000)).unwrap();
    assert_eq!(a.tcp_connect(at(80), SOON).unwrap(), TcpOutcome::Connected);
    assert_eq!(a.tcp_connect(at(81), SOON).unwrap(), TcpOutcome::Refused);
    assert_eq!(a.udp_request(at(53), b"hello", SOON).unwrap(), UdpOutcome::Answered(b"hello".to_vec()));
    assert_eq!(a.udp_request(at(54), b"hello", SOON).unwrap(), UdpOutcome::Refused);
    let nobody = SocketAddr::from(([192, 0, 2, 1], 80));
    assert_eq!(a.tcp_connect(nobody, SOON).unwrap(), TcpOutcome::Unreachable);
    a.bulk_send(at(9000), 3_000_001, SOON).unwrap();
}

#[test]
fn the_wire_has_the_tag_of_the_vlan_in_both_directions() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("wire").unwrap();
    let mac = Mac([2, 0, 0, 0, 0x10, 5]);
    let mut tagged = spec(Some(10), &["10.0.0.5/24"]);
    tagged.mac = Some(mac);
    let host = bed.host("a", &tagged).unwrap();
    let plain = bed.host("b", &spec(None, &["10.0.0.6/24"])).unwrap();
    let (wire, raw, other) = (bed.wire(0).unwrap(), host.raw().unwrap(), plain.raw().unwrap());

    // A frame of a type that nobody uses (IEEE 802: local experimental), so that it is not taken for another.
    let untagged = |last: u8| [&[0xff; 6][..], &mac.0, &[0x88, 0xb5], &[last; 50]].concat();
    let with_tag =
        |vid: u8, last: u8| [&[0xff; 6][..], &mac.0, &[0x81, 0, 0, vid, 0x88, 0xb5], &[last; 50]].concat();
    raw.send(&untagged(1)).unwrap();
    assert!(wire.wait_for(SOON, |c| c.outgoing && c.frame == with_tag(10, 1)).unwrap().is_some());
    other.send(&untagged(2)).unwrap();
    assert!(wire.wait_for(SOON, |c| c.outgoing && c.frame == untagged(2)).unwrap().is_some());

    // What the gateway would send: from its end of the trunk.
    let gateway = cli::testbed::RawSocket::open(bed.gateway(), bed.trunk()).unwrap();
    gateway.send(&with_tag(11, 3)).unwrap();
    gateway.send(&untagged(4)).unwrap();
    gateway.send(&with_tag(10, 5)).unwrap();
    let heard = raw.wait_for(SOON, |c| !c.outgoing && c.frame[12..14] == [0x88, 0xb5]).unwrap();
    assert_eq!(heard.unwrap().frame, untagged(5), "another VLAN's frame must not arrive");
    let heard = other.wait_for(SOON, |c| !c.outgoing && c.frame[12..14] == [0x88, 0xb5]).unwrap();
    assert_eq!(heard.unwrap().frame, untagged(4));
}

/// Set for the process that makes a bed and waits for its end.
const CHILD: &str = "BULKHEAD_TEST_HOLD_BED";

/// Not a test by itself: the process that the test below ends.
#[test]
fn a_process_that_has_a_bed_until_it_is_ended() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let _bed = Bed::new("term").unwrap();
    println!("the bed is made");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_process_that_is_told_to_end_removes_its_bed_first() {
    if !may_run() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_has_a_bed_until_it_is_ended", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("the bed is made")));
    let name = format!("bh-{}-term", child.id());
    assert!(is_listed(&name));
    cli::testbed::send_signal(child.id(), 15).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15), "it ends as it was told to");
    assert!(!is_listed(&name));
}

/// Whether there is a namespace with this in its name.
fn is_listed(name: &str) -> bool {
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8_lossy(&list.stdout).lines().any(|line| line.contains(name))
}

#[test]
fn nothing_is_left_of_a_bed_that_was_dropped_or_whose_process_was_killed() {
    if !may_run() {
        return;
    }
    let left = |role: &str| is_listed(&format!("bh-{}{role}", std::process::id()));
    let mut bed = Bed::new("gone").unwrap();
    let _host = bed.host("a", &spec(Some(10), &["10.0.0.1/24"])).unwrap();
    assert!(left("-gone-switch"));
    drop((bed, _host));
    assert!(!left("-gone-"));

    // No process has this number: it is above the largest that the kernel gives.
    let stale = "bh-4999999-stale-gw";
    let made = Command::new("ip").args(["netns", "add", stale]).status().unwrap();
    assert!(made.success());
    drop(Bed::new("sweep").unwrap());
    assert!(!is_listed(stale));
}
