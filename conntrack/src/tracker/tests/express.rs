//! The short way against the whole one: two trackers are told the same random packets, of which one lets what may take
//! the short way. Packet by packet the same must come of them, and the same must be counted.

use super::*;
use crate::ledger::FlowReport;
use crate::packet::Packet;
use crate::packet::Tracked;
use crate::time::Tick;
use crate::tracker::{Beginning, Family, Tracker};
use crate::view::{FlowId, FlowView};
use classifier::addr::Mac;
use classifier::flow::{Domain, Key};
use classifier::wire::{TcpFlags, TcpSegment};
use random::Random;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const START: Tick = Tick(1_000_000_000_000);
/// Flows between the two hosts, told apart by the opener's port.
const FLOWS: u32 = 14;

/// A tracker, and what has passed by all its flows: octets from openers, and from responders.
struct Twin {
    tracker: Tracker,
    octets: [u64; 2],
    entered: u32,
    begun: [u32; 2],
}

impl Twin {
    fn new(max_flows: u32) -> Twin {
        let mut tracker = Tracker::new(&Config { max_flows, ..Config::default() }, [3; 16]);
        tracker.keep_ledger();
        tracker.reserve_rules(8);
        Twin { tracker, octets: [0; 2], entered: 0, begun: [0; 2] }
    }

    fn count(&mut self, fate: Fate, octets: u16) -> Fate {
        self.octets[usize::from(fate == Fate::Reply)] += u64::from(octets);
        fate
    }

    /// The whole way, as the pipeline goes it.
    fn whole(&mut self, now: Tick, packet: &Packet<'_>, terms: &Terms, octets: u16) -> Fate {
        match self.tracker.track(now, packet) {
            Tracked::Drop(reason) => Fate::Dropped(reason),
            Tracked::Related { .. } => unreachable!("there are no errors"),
            Tracked::Flow { flow, relation } => {
                if self.tracker.standing(flow).epoch != terms.epoch {
                    self.tracker.renew(flow, *terms);
                }
                self.tracker.let_pass(flow, relation);
                self.tracker.count_packet(flow, relation, octets);
                let fate = if relation == Relation::Reply { Fate::Reply } else { Fate::Forward };
                self.count(fate, octets)
            }
            Tracked::New(opening) => match self.tracker.open(now, opening, *terms) {
                Ok(flow) => {
                    self.tracker.let_pass(flow, Relation::Established);
                    self.tracker.count_packet(flow, Relation::Established, octets);
                    self.count(Fate::New, octets)
                }
                Err(reason) => Fate::Dropped(reason),
            },
        }
    }

    /// The short way, if the packet may take it.
    fn short<A: Family>(
        &mut self,
        now: Tick,
        key: &Key<A>,
        packet: &Packet<'_>,
        terms: &Terms,
        octets: u16,
    ) -> Option<Fate> {
        let Packet { sender, vlan, source_mac, transport, .. } = *packet;
        let settled = self.tracker.settle(now);
        let hash = self.tracker.hash_of(key);
        let place = self.tracker.prefetch_index::<A>(hash);
        self.tracker.prefetch_second::<A>(place);
        let found = self.tracker.candidate::<A>(place);
        let Some(candidate) = found.or_else(|| self.tracker.second_candidate::<A>(place)) else {
            assert!(!self.tracker.knows(key, hash), "what is known is a candidate");
            let beginning = match transport {
                Transport::Udp => Beginning::of_datagram(),
                Transport::Tcp(segment) if segment.flags.0 == 0x02 => Beginning::of_syn(&segment)?,
                _ => return None,
            };
            self.tracker.prefetch_opening(hash);
            self.begun[usize::from(matches!(transport, Transport::Tcp(_)))] += 1;
            let from = (vlan, source_mac);
            return Some(
                match self.tracker.begin(settled, (key, hash, place), sender, from, &beginning, terms) {
                    Ok(entrance) => {
                        assert_eq!((entrance.rule, entrance.relation()), (terms.rule, Relation::Established));
                        self.tracker.count_entered::<A>(settled, entrance, octets);
                        self.count(Fate::New, octets)
                    }
                    Err(reason) => Fate::Dropped(reason),
                },
            );
        };
        let entrance = match transport {
            Transport::Udp => {
                let entrance =
                    self.tracker.enter(settled, (candidate, hash), (key, sender), (vlan, terms.epoch))?;
                self.tracker.datagram::<A>(settled, entrance);
                entrance
            }
            Transport::Tcp(segment) if segment.flags.0 == 0x10 => {
                let entrance =
                    self.tracker.enter(settled, (candidate, hash), (key, sender), (vlan, terms.epoch))?;
                self.entered += 1;
                if let Err(reason) = self.tracker.acknowledge::<A>(settled, entrance, &segment) {
                    return Some(Fate::Dropped(reason));
                }
                entrance
            }
            _ => return None,
        };
        self.entered += 1;
        assert!(self.tracker.knows(key, hash));
        self.tracker.count_entered::<A>(settled, entrance, octets);
        let fate = if entrance.relation() == Relation::Reply { Fate::Reply } else { Fate::Forward };
        Some(self.count(fate, octets))
    }

    fn short_or_whole(&mut self, now: Tick, packet: &Packet<'_>, terms: &Terms, octets: u16) -> Fate {
        let fate = match &packet.key {
            FlowKey::V4(key) => self.short(now, key, packet, terms, octets),
            FlowKey::V6(key) => self.short(now, key, packet, terms, octets),
        };
        fate.unwrap_or_else(|| self.whole(now, packet, terms, octets))
    }

    fn flows(&self) -> Vec<FlowView> {
        self.tracker.flows().map(|flow| self.tracker.flow(flow)).collect()
    }

    /// What is to be told of flows, those that live and those that have ended.
    fn reports(&mut self) -> Vec<FlowReport> {
        let ids: Vec<FlowId> = self.tracker.flows().collect();
        let mut all: Vec<FlowReport> = ids.into_iter().filter_map(|flow| self.tracker.report(flow)).collect();
        assert_eq!(self.tracker.report_ended(|report| all.push(report)), 0);
        for report in &all {
            self.octets[0] -= report.forth.octets;
            self.octets[1] -= report.back.octets;
            assert!(report.first <= report.last && report.view.age >= Duration::ZERO, "{report:?}");
        }
        all
    }

    /// All that has passed was told, once.
    fn finish(mut self, now: Tick) {
        self.tracker.advance(now + Duration::from_secs(20_000));
        assert!(self.tracker.is_empty());
        self.reports();
        assert_eq!(self.octets, [0; 2]);
    }
}

fn hosts(number: u32) -> [(IpAddr, u16); 2] {
    let port = 40_000 + number as u16;
    match number % 3 {
        0 => [
            (Ipv6Addr::from(0xfd01_u128 << 112 | 10).into(), port),
            (Ipv6Addr::from(0xfd02_u128 << 112 | 10).into(), 80),
        ],
        1 => [(Ipv4Addr::new(10, 1, 0, 10).into(), port), (Ipv4Addr::new(10, 2, 0, 10).into(), 80)],
        _ => [(Ipv4Addr::new(10, 2, 0, 11).into(), port), (Ipv4Addr::new(10, 1, 0, 11).into(), 80)],
    }
}

/// What a side of a connection sends next, and what it may acknowledge.
type Numbers = [u32; 2];

/// A segment that most often fits what was sent before.
fn segment<'a>(random: &mut Random, next: &mut Numbers, side: usize, is_open: bool) -> TcpSegment<'a> {
    const OPTIONS: &[u8] = &[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0];
    const MALFORMED: &[u8] = &[3, 0, 0, 0];
    let flags = match (is_open, side) {
        (false, 0) => 0x02,
        _ if random.one_in(12) => *random.pick(&[0x02, 0x11, 0x04, 0x14, 0x00, 0x03]),
        (_, 1) if random.one_in(4) => 0x12,
        _ => 0x10,
    };
    let start = [1000, 5000][side];
    let is_syn = flags & 2 != 0;
    let payload_length = if is_syn { 0 } else { *random.pick(&[0, 0, 1, 100, 1400]) };
    let off = if random.one_in(12) { *random.pick(&[1, 70_000, 1 << 30, u32::MAX]) } else { 0 };
    let (sequence, acknowledgment) = match is_syn {
        true => (start, if flags & 0x10 != 0 { [5001, 1001][side] } else { 0 }),
        false => (next[side].wrapping_add(off), next[1 - side]),
    };
    if is_syn {
        next[side] = start + 1;
    } else if off == 0 && flags & 4 == 0 {
        next[side] = sequence.wrapping_add(u32::from(payload_length)).wrapping_add(u32::from(flags & 1));
    }
    let options = match is_syn {
        true if random.one_in(10) => MALFORMED,
        true if random.one_in(2) => OPTIONS,
        _ => &[],
    };
    let window = *random.pick(&[0, 500, 8192, 65_535]);
    TcpSegment { flags: TcpFlags(flags), sequence, acknowledgment, window, options, payload_length }
}

fn play(seed: u64, max_flows: u32, steps: u32) -> (u32, [u32; 2]) {
    let mut random = Random::new(seed);
    let (mut short, mut whole) = (Twin::new(max_flows), Twin::new(max_flows));
    let mut numbers = [[1000, 5000]; FLOWS as usize];
    let mut terms = Terms {
        epoch: Epoch(1),
        rule: Some(RuleKey(1)),
        idle_timeout: None,
        max_flows: None,
        responder_vlan: Some(R_VLAN),
    };
    let mut now = START;
    for step in 0..steps {
        let told = format!("seed {seed:#x}, step {step}");
        now = now + Duration::from_millis(*random.pick(&[0, 0, 0, 1, 40, 700, 5_000, 31_000]));
        if random.one_in(150) {
            now = now + Duration::from_secs(u64::from(random.below(8_000)));
        }
        if random.one_in(200) {
            terms.epoch = Epoch(terms.epoch.0 + 1);
            terms.rule = *random.pick(&[None, Some(RuleKey(1)), Some(RuleKey(2))]);
            terms.idle_timeout = *random.pick(&[None, Some(Duration::from_secs(9))]);
        }
        if random.one_in(6) {
            let most = *random.pick(&[1, 8, u32::MAX]);
            assert_eq!(
                short.tracker.advance_some(now, most),
                whole.tracker.advance_some(now, most),
                "{told}"
            );
        }
        let number = random.below(FLOWS);
        let side = random.index(2);
        let ends = hosts(number);
        let is_tcp = number.is_multiple_of(2);
        let ip_protocol = if is_tcp { protocol::TCP } else { protocol::UDP };
        let (key, sender) = FlowKey::of_ports(Domain::ROUTED, ip_protocol, ends[side], ends[1 - side]);
        let transport = match is_tcp {
            true => {
                let is_open = whole.flows().iter().any(|flow| flow.key == key);
                Transport::Tcp(segment(&mut random, &mut numbers[number as usize], side, is_open))
            }
            false => Transport::Udp,
        };
        // What a responder opens has its opener on the other VLAN.
        let home = [O_VLAN, R_VLAN][side];
        let vlan = if random.one_in(25) { ELSEWHERE } else { home };
        let away = if home == O_VLAN { R_VLAN } else { O_VLAN };
        let terms = Terms { responder_vlan: Some(away), ..terms };
        let packet = Packet { key, sender, vlan, source_mac: Mac([2, 0, 0, 0, 0, side as u8]), transport };
        let octets = 40 + random.below(1400) as u16;
        let fate = whole.whole(now, &packet, &terms, octets);
        assert_eq!(short.short_or_whole(now, &packet, &terms, octets), fate, "{told}: {packet:?}");
        assert_eq!(short.flows(), whole.flows(), "{told}: {packet:?}");
        assert_eq!(short.tracker.statistics(), whole.tracker.statistics(), "{told}: {packet:?}");
        assert_eq!(short.tracker.half_open(), whole.tracker.half_open(), "{told}: {packet:?}");
        if random.one_in(50) {
            assert_eq!(short.reports(), whole.reports(), "{told}");
        }
    }
    let counts = (short.entered, short.begun);
    short.finish(now);
    whole.finish(now);
    counts
}

#[test]
fn the_short_way_does_what_the_whole_way_does() {
    for seed in 0..8 {
        let max_flows = [64, 64, 64, 5][seed as usize % 4];
        let (entered, begun) = play(0xe4_b000 + seed, max_flows, 6_000);
        assert!(
            entered > 500 && begun.into_iter().all(|count| count > 100),
            "{entered} entered, {begun:?} begun"
        );
    }
}
