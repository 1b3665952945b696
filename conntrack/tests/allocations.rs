//! After a start the tracker allocates nothing, whatever the packets do.
#![allow(unsafe_code)]

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::wire::{TcpFlags, TcpSegment, Transport, protocol};
use conntrack::config::Config;
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, Relation, RuleKey, Terms, Tracked, Tracker};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

struct Counting;

thread_local! {
    /// Of this thread: the test harness has others, which allocate when they please.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn addresses(n: u32, is_v6: bool) -> (IpAddr, IpAddr) {
    if is_v6 {
        let host = Ipv6Addr::from(0xfd01u128 << 112 | u128::from(n));
        (IpAddr::V6(host), IpAddr::V6(Ipv6Addr::from(0xfd02u128 << 112 | 1)))
    } else {
        (IpAddr::V4(Ipv4Addr::from(0x0a01_0000 | n)), IpAddr::V4(Ipv4Addr::from(0x0a02_0000 | (n % 250))))
    }
}

fn segment(flags: u8, sequence: u32, acknowledgment: u32) -> Transport<'static> {
    let flags = TcpFlags(flags);
    let options: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0];
    Transport::Tcp(TcpSegment { flags, sequence, acknowledgment, window: 1000, options, payload_length: 0 })
}

/// Opens more flows than fit, of both families and several protocols, and lets them end in several ways.
fn churn(tracker: &mut Tracker, mut now: Tick) -> u64 {
    let (ours, theirs) = (VlanKey::new(PortId(0), 1), VlanKey::new(PortId(1), 2));
    let mut opened = 0;
    for n in 0..20_000u32 {
        let (source, destination) = addresses(n % 7000, n % 3 == 0);
        let (ip_protocol, script): (u8, &[(bool, Transport<'_>)]) = match n % 4 {
            0 => (protocol::UDP, &[(true, Transport::Udp), (false, Transport::Udp)]),
            1 => (47, &[(true, Transport::Other)]),
            2 => (protocol::TCP, &[(true, segment(2, 1000, 0))]),
            _ => (
                protocol::TCP,
                &[
                    (true, segment(2, 1000, 0)),
                    (false, segment(0x12, 5000, 1001)),
                    (true, segment(0x10, 1001, 5001)),
                    (true, segment(0x04, 1001, 0)),
                ],
            ),
        };
        for (is_ours, transport) in script {
            let (from, to) = if *is_ours { (source, destination) } else { (destination, source) };
            let (key, sender) = FlowKey::of_ports(Domain::ROUTED, ip_protocol, (from, 9), (to, 9));
            let vlan = if *is_ours { ours } else { theirs };
            let packet = Packet { key, sender, vlan, source_mac: Mac::ZERO, transport: *transport };
            let hash = tracker.hash(&key);
            tracker.prefetch(hash);
            let tracked = tracker.track(now, &packet);
            if let Tracked::Flow { flow, relation } = tracked {
                tracker.count_packet(flow, relation, 100);
            }
            if let Tracked::New(opening) = tracked {
                let terms = Terms {
                    epoch: Epoch(1),
                    rule: Some(RuleKey(n % 10)),
                    idle_timeout: None,
                    max_flows: Some(800),
                    responder_vlan: Some(theirs),
                };
                let flow = tracker.open(now, opening, terms);
                flow.iter().for_each(|flow| tracker.count_packet(*flow, Relation::Established, 60));
                opened += u64::from(flow.is_ok());
            }
        }
        now = now + Duration::from_millis(u64::from(n % 40));
        tracker.advance(now);
        if n % 1000 == 0 {
            assert_eq!(tracker.report_ended(|report| assert!(report.forth.packets > 0)), 0);
        }
    }
    opened
}

#[test]
fn nothing_allocates_after_the_start() {
    let config = Config { max_flows: 3000, ..Config::default() };
    let mut tracker = Tracker::new(&config, [9; 16]);
    tracker.reserve_rules(10);
    tracker.keep_ledger();
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    let opened = churn(&mut tracker, Tick(1_000_000_000));
    let after = ALLOCATIONS.get();
    assert_eq!(after, before);
    assert!(opened > 10_000, "only {opened} flows were opened");
    let statistics = tracker.statistics();
    assert!(statistics.expired > 0 && statistics.evicted_closing > 0, "{statistics:?}");
    assert!(statistics.rule_limited > 0 || statistics.evicted_half_open > 0, "{statistics:?}");
}
