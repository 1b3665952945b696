//! Several hundred first packets at once, by the short way and by the whole way: who is let in, who must come again and
//! who is pushed out is the same where half-open flows are at their shares, in a flood, and in a full table.
//!
//! Flows that are half-open here are never answered, and those that are followed are not half-open: so packets that
//! overtake others within a batch change nothing that an eviction hangs on, and whole batches can be compared.

use crate::bed::frame::{ACK, Ip, RST, SYN};
use crate::bed::network::{DB, FAR, Host, TRUNK, WAN, WEB, open};
use crate::bed::{Bed, Setup};
use conntrack::config::Config;
use conntrack::{FloodLevel, Statistics};
use dataplane::batch::LANES;
use dataplane::counters::Counters;
use random::Random;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Flows that live through all of it.
const FOLLOWED: u16 = 20;
/// Openings that are remembered to be sent again, as clients do.
const REMEMBERED: usize = 20_000;

/// Who opens flows, and how.
#[derive(Clone, Copy)]
struct Kind {
    /// Datagrams in a hundred openings; the others are SYNs.
    datagrams: u32,
    /// Openings in a hundred that come from anywhere behind the open side of the network.
    strangers: u32,
    /// Of the other sources, how many there are.
    hosts: u32,
    /// IPv6 in a hundred.
    wide: u32,
    /// Openings in a hundred that were sent before, one second ago or more.
    again: u32,
    /// The longest pause between two rounds, in milliseconds.
    pause: u32,
}

const CALM: Kind = Kind { datagrams: 40, strangers: 50, hosts: 200, wide: 20, again: 10, pause: 1_500 };
/// SYNs of sources that do not exist.
const FLOOD: Kind = Kind { datagrams: 5, strangers: 60, hosts: 250, wide: 5, again: 3, pause: 60 };
/// One host that opens all it can.
const GREEDY: Kind = Kind { datagrams: 30, strangers: 1, hosts: 1, wide: 40, again: 30, pause: 300 };
/// Nobody.
const QUIET: Kind = Kind { datagrams: 50, strangers: 50, hosts: 200, wide: 20, again: 0, pause: 9_000 };

struct Twins {
    short: Bed,
    whole: Bed,
    random: Random,
    sent: VecDeque<(u64, u8, Vec<u8>)>,
    port: u16,
    /// Levels that were met.
    levels: [bool; 3],
}

impl Twins {
    fn new(seed: u64, max_flows: u32) -> Twins {
        let setup = Setup { conntrack: Config { max_flows, ..Config::default() }, ..open() };
        let (short, mut whole) = (Bed::new(setup.clone()), Bed::new(setup));
        whole.engine.set_express(false);
        let mut twins = Twins {
            short,
            whole,
            random: Random::new(seed),
            sent: VecDeque::new(),
            port: 1024,
            levels: [false; 3],
        };
        for number in 0..FOLLOWED {
            for (from, to, ports) in [(WEB, DB, (600 + number, 53)), (DB, WEB, (53, 600 + number))] {
                let datagram = Ip::udp(from.v4(), to.v4(), ports, b"followed").by(&from).bytes();
                twins.send(TRUNK, &[datagram]);
            }
            // A connection that is refused later than it may be: it is closing.
            let segment = |from: Host, to: Host, ports, flags, numbers| {
                Ip::tcp(from.v4(), to.v4(), ports, flags, numbers, b"").by(&from).bytes()
            };
            let (out, back) = ((700 + number, 443), (443, 700 + number));
            twins.send(TRUNK, &[segment(WEB, DB, out, SYN, (1000, 0))]);
            twins.send(TRUNK, &[segment(DB, WEB, back, SYN | ACK, (2000, 1001))]);
            twins.send(TRUNK, &[segment(WEB, DB, out, RST, (1001, 0))]);
        }
        twins
    }

    /// The same frames to both, of which the same must come.
    fn send(&mut self, port: u8, frames: &[Vec<u8>]) {
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let (short, whole) = (self.short.send_all(port, &slices), self.whole.send_all(port, &slices));
        for (lane, (a, b)) in short.into_iter().zip(whole).enumerate() {
            let at = format!("lane {lane} of {}: {:02x?}", frames.len(), frames[lane]);
            assert_eq!((a.outcome, a.rule, a.moved), (b.outcome, b.rule, b.moved), "{at}");
            assert_eq!(a.told, b.told, "{at}");
            let [mut a, mut b] = [a.left, b.left];
            a.sort_unstable();
            b.sort_unstable();
            assert_eq!(a, b, "{at}");
        }
        let (short, whole) = (self.short.engine.tracker(), self.whole.engine.tracker());
        assert_eq!(short.statistics(), whole.statistics());
        assert_eq!(short.half_open(), whole.half_open());
        assert_eq!(short.flood_level(), whole.flood_level());
        self.levels[short.flood_level() as usize] = true;
    }

    fn agree_on_flows(&self) {
        let flows = |bed: &Bed| {
            let tracker = bed.engine.tracker();
            let mut all: Vec<String> =
                tracker.flows().map(|flow| format!("{:?}", tracker.flow(flow))).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(flows(&self.short), flows(&self.whole));
    }

    fn wait(&mut self, span: Duration) {
        self.short.wait(span);
        self.whole.wait(span);
        assert_eq!(self.short.tick(), self.whole.tick());
    }

    /// A frame that begins a flow, and where it comes in.
    fn opening(&mut self, kind: Kind) -> (u8, Vec<u8>) {
        let now = self.short.now.millis();
        let r = &mut self.random;
        if r.chance(kind.again) && !self.sent.is_empty() {
            let (at, port, frame) = &self.sent[r.index(self.sent.len())];
            if now - at >= 1_000 {
                return (*port, frame.clone());
            }
        }
        self.port = if self.port == u16::MAX { 1024 } else { self.port + 1 };
        let is_stranger = r.chance(kind.strangers);
        let is_wide = r.chance(kind.wide);
        let (from, to) = match is_stranger {
            true => (FAR, *r.pick(&[WEB, DB])),
            false => (WEB, *r.pick(&[DB, FAR])),
        };
        let number = r.next();
        let source: IpAddr = match (is_stranger, is_wide) {
            (true, false) => Ipv4Addr::from(0x2d00_0000 | number as u32 >> 8).into(),
            (true, true) => Ipv6Addr::from(0x2400_u128 << 112 | u128::from(number) << 48 | 1).into(),
            (false, false) => Ipv4Addr::new(10, 0, 10, 2 + (number % u64::from(kind.hosts)) as u8).into(),
            (false, true) => Ipv6Addr::from(0xfd00_0010_u128 << 96 | u128::from(number) | 2).into(),
        };
        let destination = if is_wide { to.v6() } else { to.v4() };
        let ip = if r.chance(kind.datagrams) {
            Ip::udp(source, destination, (self.port, 5000), b"first")
        } else {
            Ip::tcp(source, destination, (self.port, 443), SYN, (r.next() as u32, 0), b"")
        };
        let frame = (from.port, ip.by(&from).bytes());
        self.sent.push_back((now, frame.0, frame.1.clone()));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        frame
    }

    /// Hundreds of openings at one moment, and between them packets of flows that are followed.
    fn crowd(&mut self, kind: Kind, openings: usize) {
        let mut of_port = [Vec::new(), Vec::new()];
        for _ in 0..openings {
            let (port, frame) = self.opening(kind);
            of_port[usize::from(port)].push(frame);
            if self.random.one_in(12) {
                let number = self.random.below(u32::from(FOLLOWED)) as u16;
                let (from, to, ports) =
                    *self.random.pick(&[(WEB, DB, (600 + number, 53)), (DB, WEB, (53, 600 + number))]);
                let datagram = Ip::udp(from.v4(), to.v4(), ports, b"followed").by(&from).bytes();
                of_port[usize::from(TRUNK)].push(datagram);
            }
        }
        for (port, frames) in [TRUNK, WAN].into_iter().zip(of_port) {
            for batch in frames.chunks(LANES) {
                self.send(port, batch);
            }
        }
    }

    fn rounds(&mut self, kind: Kind, rounds: u32, openings: usize) {
        for round in 0..rounds {
            self.crowd(kind, openings);
            let pause = self.random.below(kind.pause);
            self.wait(Duration::from_millis(u64::from(pause)));
            if round % 8 == 0 {
                self.agree_on_flows();
            }
        }
        self.agree_on_flows();
    }

    fn statistics(&self) -> Statistics {
        *self.short.engine.tracker().statistics()
    }

    fn counters(&self) -> &Counters {
        self.short.engine.counters()
    }

    /// Most flows were begun by the short way, and those that were followed lived.
    fn finish(&mut self) {
        assert_eq!(self.whole.engine.counters().express, 0, "it is closed");
        let Counters { express, forwarded, flows, .. } = *self.counters();
        eprintln!("{express} of {forwarded} by the short way, {flows} flows; {:?}", self.statistics());
        assert!(express * 10 > forwarded * 9, "{express} of {forwarded}");
    }
}

#[test]
fn hundreds_of_first_packets_at_once_push_out_the_same_flows_of_a_full_table() {
    let mut twins = Twins::new(0xc0de_0001, 600);
    twins.rounds(CALM, 40, 400);
    twins.rounds(QUIET, 10, 300);
    let Statistics { evicted_closing, evicted_half_open, expired, .. } = twins.statistics();
    assert!(evicted_closing > 10 && evicted_half_open > 1_000 && expired > 500, "{:?}", twins.statistics());
    assert!(!twins.levels[FloodLevel::Filtering as usize], "a small table has no flood");
    twins.finish();
}

#[test]
fn hundreds_of_first_packets_at_once_meet_the_same_shares_of_half_open_flows() {
    let mut twins = Twins::new(0xc0de_0002, 20_000);
    twins.rounds(GREEDY, 40, 400);
    let Statistics { evicted_half_open, flood_filtered, .. } = twins.statistics();
    assert!(evicted_half_open > 500 && flood_filtered > 500, "{:?}", twins.statistics());
    twins.finish();
}

#[test]
fn hundreds_of_first_packets_at_once_are_asked_to_come_again_alike_in_a_flood() {
    let mut twins = Twins::new(0xc0de_0003, 6_000);
    twins.rounds(CALM, 4, 200);
    twins.rounds(FLOOD, 60, 600);
    twins.rounds(QUIET, 12, 20);
    twins.rounds(FLOOD, 30, 600);
    let Statistics { evicted_half_open, flood_filtered, floods, .. } = twins.statistics();
    assert!(evicted_half_open > 500 && flood_filtered > 5_000 && floods >= 2, "{:?}", twins.statistics());
    assert_eq!(twins.levels, [true; 3], "every level was met");
    twins.finish();
}
