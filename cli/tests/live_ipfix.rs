//! What a collector of another project, nfdump's nfcapd, hears from a gateway at work.

mod live;
mod root;

use cli::testbed::{Bed, Host, TcpOutcome, UdpOutcome};
use live::{BRIEFLY, GatewayFile, PING, Program, SOON, at, hosts, text, wait_until};
use root::may_run;
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Whether the collector is installed.
fn has_nfdump() -> bool {
    let has = Command::new("nfcapd").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !has {
        eprintln!("skipped: there is no nfcapd here; it is in the package nfdump");
    }
    has
}

/// nfcapd on the loopback of the gateway's namespace.
struct Collector {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Collector {
    fn start(bed: &Bed, port: &str) -> Collector {
        let folder = std::env::temp_dir().join(format!("{}-flows", bed.name()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let mut command = bed.gateway().command("nfcapd");
        command.args(["-b", "127.0.0.1", "-p", port, "-t", "3600", "-w"]).arg(&folder);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let collector = Collector { child, address: format!("127.0.0.1:{port}"), folder };
        wait_until("nfcapd listens", || collector.backlog(bed).is_some());
        collector
    }

    /// Bytes that wait in its socket, where it has one.
    fn backlog(&self, bed: &Bed) -> Option<u64> {
        let sockets = bed.gateway().command("ss").args(["-Hlun"]).output().unwrap();
        let sockets = String::from_utf8(sockets.stdout).unwrap();
        let own = sockets.lines().find(|line| line.contains(&self.address))?;
        own.split_whitespace().nth(1)?.parse().ok()
    }

    /// Ends it; the records that it has written, and what it says of them.
    fn finish(mut self, bed: &Bed) -> (Vec<Value>, String) {
        // What is in its socket is still to be read.
        wait_until("nfcapd has read everything", || self.backlog(bed) == Some(0));
        std::thread::sleep(Duration::from_millis(500));
        cli::testbed::send_signal(self.child.id(), libc::SIGTERM).unwrap();
        self.child.wait().unwrap();
        let file = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nfcapd.2")))
            .expect("nfcapd has written a file");
        let text =
            format!("[{}]", nfdump(&["-q", "-o", "json", "-r"], &file).trim().trim_matches(['[', ']']));
        let records = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (records, nfdump(&["-E"], &file))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Where the test has failed; else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn nfdump(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("nfdump").args(arguments).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Two hosts, and a collector beside the gateway that is to be, where these can be had.
fn collected(name: &str, port: &str) -> Option<(Bed, Host, Host, Collector)> {
    if !may_run() || !has_nfdump() {
        return None;
    }
    let mut bed = Bed::new(name).unwrap();
    let (web, app) = hosts(&mut bed);
    assert!(bed.gateway().command("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let collector = Collector::start(&bed, port);
    Some((bed, web, app, collector))
}

fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or(0)
}

#[test]
fn a_collector_counts_the_flows_packets_bytes_and_drops_that_the_gateway_has_counted() {
    let Some((bed, web, app, collector)) = collected("ipfix", "4739") else { return };
    let services = format!(r#""tcp/9001", "udp/9002", {PING}, "icmpv6/echo-request""#);
    let file = GatewayFile::new(&bed, &text(&services, "adaptive"));
    let arguments = ["--ipfix", "127.0.0.1:4739", "--ipfix-enterprise", "55555", "--event-rate", "0"];
    let program = Program::start(&bed, &file, &arguments);
    let _echo = (app.tcp_echo(at(9001)).unwrap(), app.udp_echo(at(9002)).unwrap());
    let v6: IpAddr = "fd00:20::10".parse().unwrap();
    for payload in [100, 200, 300] {
        assert_eq!(
            web.udp_request(at(9002), &vec![7; payload], SOON).unwrap(),
            UdpOutcome::Answered(vec![7; payload])
        );
    }
    for _ in 0..20 {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    }
    assert!(web.ping(at(0).ip(), SOON).unwrap().is_answered());
    assert!(web.ping(v6, SOON).unwrap().is_answered());
    // A datagram is sent once; a SYN would be sent again where the machine is slow.
    assert_eq!(web.udp_request(at(22), &[7; 32], BRIEFLY).unwrap(), UdpOutcome::TimedOut);
    program.signal(libc::SIGTERM);
    let (status, counters) = program.wait();
    assert!(status.success());
    let counters: Value = serde_json::from_str(&counters).unwrap();
    let (records, exporters) = collector.finish(&bed);
    assert!(exporters.contains("Sequence failures: 0"), "{exporters}");
    // A drop goes nowhere.
    let (flows, drops): (Vec<_>, Vec<_>) = records.iter().partition(|r| number(r, "output_snmp") != 0);
    assert_eq!(Some(flows.len() as u64), counters["flows"].as_u64(), "{counters}");
    let packets: u64 = flows.iter().map(|r| number(r, "in_packets") + number(r, "out_packets")).sum();
    assert_eq!(Some(packets), counters["forwarded"].as_u64(), "{counters}");
    let dropped = counters["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap());
    assert_eq!(drops.len() as u64, dropped.sum::<u64>(), "{counters}");
    let of = |protocol: u64, port: u64| {
        let is_one = move |r: &&&Value| number(r, "proto") == protocol && number(r, "dst_port") == port;
        flows.iter().filter(is_one).copied().collect::<Vec<_>>()
    };
    let bytes = |records: &[&Value]| {
        let both = |r: &&Value| (number(r, "in_bytes"), number(r, "out_bytes"));
        let mut bytes: Vec<_> = records.iter().map(both).collect();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(bytes(&of(17, 9002)), [(128, 128), (228, 228), (328, 328)]);
    let tcp = of(6, 9001);
    assert_eq!(tcp.len(), 20);
    for record in tcp {
        // A SYN of 60 bytes, and more; what answers it is a SYN of 60 bytes too.
        assert!(number(record, "in_packets") >= 3 && number(record, "in_bytes") >= 60 + 2 * 52, "{record}");
        assert!(number(record, "out_packets") >= 2 && number(record, "out_bytes") >= 60 + 52, "{record}");
        assert_eq!((number(record, "src_vlan"), number(record, "dst_vlan")), (10, 20));
        assert_eq!(record["src4_addr"], "10.0.10.10");
    }
    for (protocol, kind, address) in [(1, 8, "dst4_addr"), (58, 128, "dst6_addr")] {
        let ping = flows.iter().find(|r| number(r, "proto") == protocol && number(r, "icmp_type") == kind);
        let ping = ping.expect("the ping is told");
        let there = if protocol == 1 { "10.0.20.10" } else { "fd00:20::10" };
        assert_eq!((ping[address].as_str(), number(ping, "out_packets")), (Some(there), 1));
    }
    let denied: Vec<_> = drops.iter().filter(|r| number(r, "dst_port") == 22).collect();
    assert_eq!((denied.len(), number(denied[0], "in_bytes"), number(denied[0], "src_vlan")), (1, 60, 10));
}

/// Where ports are opened anew, the exporter goes on in the same stream, and nothing is told twice.
#[test]
fn a_collector_misses_nothing_where_ports_are_opened_anew() {
    let Some((mut bed, web, app, collector)) = collected("ipfixanew", "4741") else { return };
    let mac = "interface = \"trunk0\"\nmac = \"02:00:00:00:00:01\"";
    let text = text(r#""udp/9002""#, "adaptive").replace("interface = \"trunk0\"", mac);
    let file = GatewayFile::new(&bed, &text);
    let arguments = ["--ipfix", "127.0.0.1:4741", "--event-rate", "0"];
    let mut program = Program::start(&bed, &file, &arguments);
    let _echo = app.udp_echo(at(9002)).unwrap();
    let stream = web.udp_socket("10.0.10.10:0".parse().unwrap()).unwrap();
    stream.connect(at(9002)).unwrap();
    stream.set_read_timeout(Some(BRIEFLY)).unwrap();
    let exchange = || stream.send(b"hello").is_ok() && stream.recv(&mut [0; 8]).is_ok();
    for round in 1..=2 {
        wait_until("datagrams flow", exchange);
        (0..10).for_each(|_| assert!(exchange()));
        assert!(bed.gateway().command("ip").args(["link", "delete", "trunk0"]).status().unwrap().success());
        program.wait_for("trunk0 is gone", round);
        bed.lay_trunk_again(0).unwrap();
        program.wait_for("all ports are opened anew", round);
    }
    wait_until("datagrams flow", exchange);
    (0..10).for_each(|_| assert!(exchange()));
    program.signal(libc::SIGTERM);
    let (status, counters) = program.wait();
    assert!(status.success());
    let counters: Value = serde_json::from_str(&counters).unwrap();
    let (records, exporters) = collector.finish(&bed);
    assert!(exporters.contains("Sequence failures: 0"), "{exporters}");
    let flows = records.iter().filter(|record| number(record, "output_snmp") != 0);
    let packets: u64 = flows.map(|r| number(r, "in_packets") + number(r, "out_packets")).sum();
    assert_eq!(Some(packets), counters["forwarded"].as_u64(), "{counters} {records:#?}");
}
