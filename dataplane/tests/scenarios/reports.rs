//! What is counted of each flow, and how it is told.

use crate::bed::Bed;
use crate::bed::frame::{ACK, Ip, RST, SYN};
use crate::bed::network::{DB, TRUNK, WEB, open};
use conntrack::{EndReason, FlowReport, Passed};
use dataplane::event::{ReportSource, report_ring};
use std::time::Duration;

fn counted() -> (Bed, ReportSource) {
    let mut bed = Bed::new(open());
    let (sink, source) = report_ring();
    bed.engine.report_flows(sink);
    (bed, source)
}

fn udp(payload: usize) -> Vec<u8> {
    Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &vec![1; payload]).by(&WEB).bytes()
}

fn back(payload: usize) -> Vec<u8> {
    Ip::udp(DB.v4(), WEB.v4(), (5000, 4000), &vec![1; payload]).by(&DB).bytes()
}

fn live(bed: &mut Bed) -> Vec<FlowReport> {
    let mut reports = Vec::new();
    assert_eq!(bed.engine.reports_from(0, &mut reports), None);
    reports
}

#[test]
fn both_ways_are_counted_in_ip_bytes_and_a_flow_that_is_idle_is_told_with_them() {
    let (mut bed, ended) = counted();
    let began = bed.now;
    for payload in [1, 100, 200] {
        bed.send(TRUNK, udp(payload));
        bed.wait(Duration::from_millis(5));
    }
    bed.send(TRUNK, back(50));
    let last = bed.now;
    // Its padding to the shortest frame of Ethernet is not of the packet.
    bed.send(TRUNK, [&udp(1)[..], &[0; 20]].concat());
    assert!(bed.engine.counters().express > 0, "the short way is counted too");
    assert!(ended.receiver.is_empty());
    bed.wait(Duration::from_secs(181));
    bed.tick();
    let report = ended.receiver.try_recv().unwrap();
    assert_eq!(report.forth, Passed { packets: 4, octets: 4 * 28 + 302 });
    assert_eq!(report.back, Passed { packets: 1, octets: 78 });
    assert_eq!(report.end, Some(EndReason::Idle));
    let millis = |tick: conntrack::time::Tick| tick.millis();
    assert_eq!((millis(report.first), millis(report.last)), (millis(began), millis(last)));
    assert_eq!(report.view.opener_vlan, WEB.vlan());
    assert_eq!(report.view.responder_vlan, Some(DB.vlan()));
    assert!(ended.receiver.is_empty() && ended.lost() == 0);
}

#[test]
fn a_long_flow_is_told_in_parts_that_add_up_and_not_at_all_where_nothing_passed() {
    let (mut bed, ended) = counted();
    let mut told = Passed::default();
    for round in 1..=3 {
        (0..round).for_each(|_| drop(bed.send(TRUNK, udp(72))));
        let [report] = live(&mut bed)[..] else { panic!("one flow") };
        assert_eq!((report.end, report.forth.packets), (None, round));
        told.packets += report.forth.packets;
        told.octets += report.forth.octets;
        assert!(live(&mut bed).is_empty(), "nothing has passed since");
    }
    assert_eq!(told, Passed { packets: 6, octets: 600 });
    bed.wait(Duration::from_secs(181));
    bed.tick();
    assert!(ended.receiver.is_empty(), "what there was to tell was told");
    assert_eq!(bed.engine.tracker().len(), 0);
}

#[test]
fn how_a_flow_ended_is_told() {
    let tcp = |from: &crate::bed::network::Host, to: &crate::bed::network::Host, ports, flags, numbers| {
        Ip::tcp(from.v4(), to.v4(), ports, flags, numbers, b"").by(from).bytes()
    };
    let (mut bed, ended) = counted();
    bed.send(TRUNK, tcp(&WEB, &DB, (4000, 80), SYN, (1000, 0)));
    bed.send(TRUNK, tcp(&DB, &WEB, (80, 4000), RST | ACK, (0, 1001)));
    bed.tick();
    let refused = ended.receiver.try_recv().unwrap();
    assert_eq!((refused.end, refused.forth.packets, refused.back.packets), (Some(EndReason::Closed), 1, 1));
    bed.send(TRUNK, udp(1));
    let mut count = 0;
    bed.engine.end_flows_from(0, &|_| true, &mut count);
    bed.tick();
    let killed = ended.receiver.try_recv().unwrap();
    assert_eq!((count, killed.end, killed.forth.packets), (1, Some(EndReason::Forced), 1));
}
