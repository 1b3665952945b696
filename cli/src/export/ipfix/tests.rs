//! What goes over the wire, read back by the templates that went before it (RFC 7011 §3).

use super::collector::Collector;
use super::record::{Record, Totals};
use super::template::Templates;
use conntrack::Passed;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Fields by number and enterprise, with their bytes.
type Fields = HashMap<(u16, u32), Vec<u8>>;

/// A collector as RFC 7011 wants one, that knows nothing of the sender's code.
#[derive(Default)]
struct Reader {
    templates: HashMap<u16, Vec<(u16, u32, u16)>>,
    /// Data records that were heard.
    heard: u32,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(word(bytes, at)) << 16 | u32::from(word(bytes, at + 2))
}

impl Reader {
    /// The data records of a message, with their templates.
    fn read(&mut self, message: &[u8]) -> Vec<(u16, Fields)> {
        assert_eq!((word(message, 0), usize::from(word(message, 2))), (10, message.len()));
        assert_eq!((long(message, 8), long(message, 12)), (self.heard, 1), "sequence and domain");
        assert!(message.len() <= 1400);
        let (mut records, mut at) = (Vec::new(), 16);
        while at < message.len() {
            let (id, length) = (word(message, at), usize::from(word(message, at + 2)));
            let set = &message[at + 4..at + length];
            match id {
                2 | 3 => self.learn(set, id == 3),
                _ => records.extend(self.data(id, set).into_iter().map(|fields| (id, fields))),
            }
            at += length;
        }
        assert_eq!(at, message.len());
        self.heard += records.len() as u32;
        records
    }

    fn learn(&mut self, set: &[u8], is_options: bool) {
        let mut at = 0;
        while at < set.len() {
            let (id, count) = (word(set, at), word(set, at + 2));
            at += if is_options { 6 } else { 4 };
            let mut fields = Vec::new();
            for _ in 0..count {
                let (number, length) = (word(set, at), word(set, at + 2));
                let enterprise = if number & 1 << 15 != 0 { long(set, at + 4) } else { 0 };
                at += if enterprise == 0 { 4 } else { 8 };
                fields.push((number & !(1 << 15), enterprise, length));
            }
            self.templates.insert(id, fields);
        }
    }

    fn data(&self, id: u16, set: &[u8]) -> Vec<Fields> {
        let (mut records, mut at) = (Vec::new(), 0);
        while at < set.len() {
            let mut fields = Fields::new();
            for (number, enterprise, length) in &self.templates[&id] {
                let length = match *length {
                    u16::MAX => {
                        at += 1;
                        usize::from(set[at - 1])
                    }
                    length => usize::from(length),
                };
                fields.insert((*number, *enterprise), set[at..at + length].to_vec());
                at += length;
            }
            records.push(fields);
        }
        records
    }
}

fn record(source: &str, protocol: u8, is_denied: bool) -> Record {
    let source: IpAddr = source.parse().unwrap();
    Record {
        is_denied,
        start: 1_800_000_000_123,
        end: 1_800_000_000_456,
        source,
        destination: source,
        source_port: 40_000,
        destination_port: 0x0800,
        protocol,
        forth: Passed { packets: 3, octets: 300 },
        back: Passed { packets: 2, octets: 2_000 },
        vlan: 10,
        post_vlan: 20,
        ingress: 7,
        egress: 8,
        end_reason: 1,
        forwarding: 64,
        rule: Some("web→app".to_owned()),
    }
}

struct Bench {
    socket: UdpSocket,
    collector: Collector,
    reader: Reader,
}

impl Bench {
    fn new(enterprise: Option<u32>) -> Bench {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let collector = Collector::new(socket.local_addr().unwrap(), Templates::new(enterprise));
        Bench { socket, collector, reader: Reader::default() }
    }

    /// Everything that has arrived.
    fn hear(&mut self) -> Vec<(u16, Fields)> {
        let mut records = Vec::new();
        let mut bytes = [0; 65536];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            records.extend(self.reader.read(&bytes[..length]));
        }
        records
    }
}

fn number(fields: &Fields, element: u16, enterprise: u32) -> u64 {
    fields[&(element, enterprise)].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[test]
fn every_kind_of_record_is_read_back_by_its_template() {
    let mut bench = Bench::new(Some(55_555));
    let mut templates = Vec::new();
    for (source, icmp) in [("10.0.0.1", 1), ("fd00::1", 58)] {
        for protocol in [6, icmp] {
            for is_denied in [false, true] {
                let record = record(source, protocol, is_denied);
                bench.collector.push(&record);
                bench.collector.flush();
                let (template, fields) = bench.hear().pop().unwrap();
                templates.push(template);
                assert_eq!((number(&fields, 152, 0), number(&fields, 153, 0)), (record.start, record.end));
                let (address, icmp) = if record.source.is_ipv4() { (8, 32) } else { (27, 139) };
                let expected = match record.source {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                assert_eq!(fields[&(address, 0)], expected);
                if protocol == 6 {
                    assert_eq!((number(&fields, 7, 0), number(&fields, 11, 0)), (40_000, 0x0800));
                } else {
                    assert_eq!(number(&fields, icmp, 0), 0x0800);
                    assert!(!fields.contains_key(&(11, 0)), "a collector may keep both in one place");
                }
                assert_eq!((number(&fields, 1, 0), number(&fields, 2, 0)), (300, 3));
                assert_eq!(fields[&(1, 55_555)], "web→app".as_bytes());
                if is_denied {
                    assert_eq!(number(&fields, 233, 0), 3);
                    assert!(!fields.contains_key(&(1, 29305)));
                } else {
                    assert_eq!((number(&fields, 1, 29305), number(&fields, 2, 29305)), (2_000, 2));
                    assert_eq!((number(&fields, 58, 0), number(&fields, 59, 0)), (10, 20));
                    assert_eq!((number(&fields, 136, 0), number(&fields, 239, 0)), (1, 1));
                    assert!(!fields.contains_key(&(233, 0)));
                }
            }
        }
    }
    templates.sort_unstable();
    assert_eq!(templates, (256..264).collect::<Vec<_>>());
}

#[test]
fn messages_stay_short_and_numbered_and_a_long_name_is_cut_at_a_letter() {
    let mut bench = Bench::new(Some(1));
    let name = "é".repeat(200);
    for port in 0..500 {
        let rule = Some(if port % 7 == 0 { name.clone() } else { String::new() });
        bench.collector.push(&Record { source_port: port, rule, ..record("10.0.0.1", 17, port % 3 == 0) });
        if port % 100 == 99 {
            bench.collector.tell_totals();
        }
    }
    let records = bench.hear();
    let (totals, flows): (Vec<_>, Vec<_>) = records.into_iter().partition(|(template, _)| *template == 264);
    let ports: Vec<u64> = flows.iter().map(|(_, fields)| number(fields, 7, 0)).collect();
    assert_eq!(ports, (0..500).collect::<Vec<_>>());
    assert_eq!(flows[0].1[&(1, 1)], "é".repeat(127).as_bytes());
    let told: Vec<u64> = totals.iter().map(|(_, fields)| number(fields, 42, 0)).collect();
    assert_eq!(told, [100, 200, 300, 400, 500]);
}

#[test]
fn what_a_dead_collector_loses_is_told_to_the_one_that_comes_after_it_with_the_templates() {
    let mut bench = Bench::new(None);
    let address: SocketAddr = bench.socket.local_addr().unwrap();
    bench.collector.push(&record("10.0.0.1", 17, false));
    bench.collector.flush();
    assert_eq!(bench.hear().len(), 1);
    drop(std::mem::replace(&mut bench.socket, UdpSocket::bind("127.0.0.1:0").unwrap()));
    let began = std::time::Instant::now();
    for _ in 0..100 {
        bench.collector.push(&record("10.0.0.1", 17, false));
        bench.collector.flush();
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for it");
    let Totals { lost, records, .. } = bench.collector.totals;
    assert!(lost >= 49 && lost + records == 101, "{lost} lost, {records} sent");
    bench.socket = UdpSocket::bind(address).unwrap();
    bench.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // A new collector: it knows no templates, and begins at the number that it hears first.
    bench.reader = Reader { templates: HashMap::new(), heard: records as u32 };
    // The error of the one before may still be told.
    bench.collector.push(&record("10.0.0.1", 17, false));
    bench.collector.flush();
    let first = bench.hear().len() as u64;
    bench.collector.tell_totals();
    let (template, fields) = bench.hear().pop().unwrap();
    assert_eq!((template, number(&fields, 166, 0)), (264, lost + 1 - first));
    assert_eq!(number(&fields, 42, 0), records + first);
}
