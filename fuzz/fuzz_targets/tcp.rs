//! A connection that a fuzzer makes up fares in the tracker as in the plain model: after each segment the same verdict,
//! the same state and the same deadline.
//!
//! One thing the tracker says differently once in some ten million inputs: it knows a repeated segment by fourteen bits of a
//! hash, the model by all that it is. Where they differ, and then only by the shorter timer of segments that were
//! repeated, the input ends; more than one such in a thousand is a finding all the same.
//!
//! `cargo +nightly fuzz run tcp`. Eight bytes of input are a segment. Its numbers are told by what the model knows,
//! and a distance from that, so that the fuzzer need not guess 32 bits.
#![no_main]

#[path = "../../conntrack/src/tcp/model.rs"]
mod model;

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::wire::{TcpFlags, TcpSegment, Transport, protocol};
use conntrack::config::Config;
use conntrack::time::Tick;
use conntrack::{Epoch, Packet, Relation, State, Terms, Tracked, Tracker};
use libfuzzer_sys::fuzz_target;
use model::{Kind, Model, Segment, St, Verdict};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const HOSTS: [(IpAddr, u16); 2] =
    [(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10)), 40_000), (IpAddr::V4(Ipv4Addr::new(10, 2, 0, 10)), 80)];
const VLANS: [VlanKey; 2] = [VlanKey::new(PortId(0), 10), VlanKey::new(PortId(1), 20)];
const PAUSES: [u64; 8] = [0, 0, 1, 100, 499, 500, 1000, 10_000];
const WINDOWS: [u16; 8] = [0, 1, 512, 1000, 8192, 65_535, 65_535, 32_768];
const LENGTHS: [u16; 8] = [0, 0, 0, 1, 100, 1000, 5000, 65_000];
const SCALES: [Option<u8>; 4] = [None, Some(0), Some(7), Some(15)];
const DISTANCES: [u32; 8] = [0, 1, 2, 500, 66_000, 70_000, 1 << 30, 1 << 31];
/// The longest timer of a flow in which a segment was repeated (TRACKING.md §1.4), in milliseconds.
const REPEATED: u64 = 300_000;
/// The tracker's stamp of stray SYNs wraps after 65.5 seconds; the model's does not.
const LONGEST: u64 = 60_000;

/// Beyond this a tracker begins anew: clocks have an end.
const LATEST: Tick = Tick(1 << 62);
/// What is waited for of a flow's last wait, as long as no input asks for more: a turn of the wheel for each input
/// would be most of the work.
const PATIENCE: u64 = 10_000;

/// A tracker that lives as long as the fuzzer, and its time. Between two inputs all its flows end.
struct Bench {
    tracker: Tracker,
    now: Tick,
    inputs: u64,
    /// Inputs in which two segments had the same digest.
    doubles: u64,
}

impl Bench {
    fn new() -> Bench {
        let config = Config { max_flows: 8, ..Config::default() };
        let tracker = Tracker::new(&config, [3; 16]);
        Bench { tracker, now: Tick(1_000_000_000_000), inputs: 0, doubles: 0 }
    }

    /// Ends the flow that the model leaves behind: at its deadline, and not before; or, mostly, by hand.
    fn end(&mut self, left: Option<u64>, is_patient: bool) {
        if let Some(left) = left.filter(|left| is_patient || *left <= PATIENCE) {
            let deadline = self.now + Duration::from_millis(left);
            self.tracker.advance(deadline - Duration::from_millis(1));
            assert_eq!(self.tracker.len(), 1, "no flow ends before its time");
            // Timers have a grain.
            self.now = deadline + Duration::from_millis(64);
            self.tracker.advance(self.now);
        } else {
            let flow = self.tracker.flows().next();
            flow.into_iter().for_each(|flow| self.tracker.remove(flow));
        }
        // An RST ends a flow with the next call.
        self.tracker.advance_some(self.now, 8);
        assert!(self.tracker.is_empty(), "every flow ends");
        if self.now > LATEST {
            *self = Bench { inputs: self.inputs, doubles: self.doubles, ..Bench::new() };
        }
    }

    /// Whether one segment was taken for another: then the timer is as short as it is for one that was repeated.
    fn is_double(&mut self, segment: &Segment, left: Option<u64>, expected: Option<u64>) -> bool {
        let is_shortened = left == Some(REPEATED) && expected > left;
        let is_double = is_shortened && segment.len > 0 && matches!(segment.kind, Kind::Ack | Kind::Fin);
        self.doubles += u64::from(is_double);
        is_double && self.doubles <= 100 + self.inputs / 1000
    }
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fn shifted(number: u32, by: u8) -> u32 {
    let distance = DISTANCES[usize::from(by & 7)];
    if by & 8 == 0 { number.wrapping_add(distance) } else { number.wrapping_sub(distance) }
}

/// The segment that eight bytes stand for; the first is its pause, the last two shift its numbers.
fn segment(bytes: [u8; 8], flow: Option<&Model>) -> Segment {
    let [_, what, sizes, options, base, edge, near_seq, near_ack] = bytes;
    let kinds =
        [Kind::Syn, Kind::SynAck, Kind::Ack, Kind::Ack, Kind::Ack, Kind::Fin, Kind::Rst, Kind::RstAck];
    let host = usize::from(what >> 7);
    let kind = kinds[usize::from(what & 7)];
    let scale = SCALES[usize::from(options & 3)];
    let isn = u32::from_be_bytes([base, edge, 0xff, near_seq]);
    let (mut seq, mut ack, mut sack) = (isn, 0, None);
    if let Some(flow) = flow {
        let me = usize::from(host != flow.opener);
        let (own, other) = (&flow.sides[me], &flow.sides[1 - me]);
        let alt = flow.alt.map_or(flow.isn, |alt| alt.seq);
        let is_answer = kind == Kind::SynAck && flow.state == St::Ss;
        if !is_answer {
            let known = [own.end, own.end, own.maxend, flow.isn, alt, other.maxack.unwrap_or(own.end)];
            seq = shifted(known[usize::from(base % 6)], near_seq);
        }
        let known =
            [other.end, other.end, other.maxack.unwrap_or(0), own.maxack.unwrap_or(0), alt.wrapping_add(1)];
        if kind != Kind::Syn {
            ack = shifted(known[usize::from(base >> 4) % 5], near_ack);
        }
        if !matches!(kind, Kind::Syn | Kind::SynAck | Kind::Rst) && options & 8 != 0 {
            sack = Some((other.end.wrapping_sub(10), shifted(other.end, edge)));
        }
    }
    let win = WINDOWS[usize::from(sizes & 7)];
    let len = LENGTHS[usize::from(sizes >> 3 & 7)];
    Segment { host, kind, seq, ack, win, len, scale, sack_permitted: options & 4 != 0, sack }
}

/// The options as they stand in the segment.
fn options(segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::new();
    if matches!(segment.kind, Kind::Syn | Kind::SynAck) {
        bytes.extend(segment.scale.into_iter().flat_map(|scale| [1, 3, 3, scale]));
        bytes.extend(if segment.sack_permitted { &[1, 1, 4, 2][..] } else { &[] });
    } else if let Some((left, right)) = segment.sack {
        bytes.extend([1, 1, 5, 10]);
        bytes.extend(left.to_be_bytes());
        bytes.extend(right.to_be_bytes());
    }
    bytes
}

fn deliver(Bench { tracker, now, .. }: &mut Bench, segment: &Segment) -> Verdict {
    let flags = match segment.kind {
        Kind::Syn => 0x02,
        Kind::SynAck => 0x12,
        Kind::Ack => 0x10,
        Kind::Fin => 0x11,
        Kind::Rst => 0x04,
        Kind::RstAck => 0x14,
    };
    let options = options(segment);
    let (from, to) = (HOSTS[segment.host], HOSTS[1 - segment.host]);
    let (key, sender) = FlowKey::of_ports(Domain::ROUTED, protocol::TCP, from, to);
    let transport = Transport::Tcp(TcpSegment {
        flags: TcpFlags(flags),
        sequence: segment.seq,
        acknowledgment: segment.ack,
        window: segment.win,
        options: &options,
        payload_length: segment.len,
    });
    let vlan = VLANS[segment.host];
    match tracker.track(*now, &Packet { key, sender, vlan, source_mac: Mac([2, 0, 0, 0, 0, 1]), transport }) {
        Tracked::Drop(_) => Verdict::Drop,
        Tracked::Flow { relation: Relation::Established, .. } => Verdict::Forward,
        Tracked::Flow { relation: Relation::Reply, .. } => Verdict::Reply,
        Tracked::Related { .. } => unreachable!("no ICMP error was sent"),
        Tracked::New(opening) => {
            let terms = Terms {
                epoch: Epoch(1),
                rule: None,
                idle_timeout: None,
                max_flows: None,
                responder_vlan: Some(VLANS[1 - segment.host]),
            };
            tracker.open(*now, opening, terms).expect("there is room");
            Verdict::New
        }
    }
}

fn state_of(state: St) -> State {
    match state {
        St::Ss => State::SynSent,
        St::Sr => State::SynReceived,
        St::Es => State::Established,
        St::Fw => State::FinWait,
        St::Cw => State::CloseWait,
        St::La => State::LastAck,
        St::Tw => State::TimeWait,
        St::Cl => State::Closed,
    }
}

fn play(bench: &mut Bench, input: &[u8]) {
    let start = bench.now;
    bench.inputs += 1;
    let (mut now, mut flow) = (0, None::<Model>);
    for bytes in input.as_chunks::<8>().0 {
        let pause = PAUSES[usize::from(bytes[0] & 7)];
        if now + pause < LONGEST {
            now += pause;
            bench.now = start + Duration::from_millis(now);
        }
        if bytes[0] & 8 != 0 {
            bench.tracker.advance_some(bench.now, 1);
        }
        flow = flow.filter(|flow| now < flow.deadline);
        let segment = segment(*bytes, flow.as_ref());
        let before = flow.clone();
        let (verdict, after) = match flow {
            Some(flow) => flow.judge(now, &segment),
            None if segment.kind == Kind::Syn => (Verdict::New, Some(Model::open(now, &segment))),
            None => (Verdict::Drop, None),
        };
        flow = after;
        let told = || format!("{segment:?}\nbefore {before:?}\nafter {flow:?}");
        assert_eq!(deliver(bench, &segment), verdict, "verdict; {}", told());
        let id = bench.tracker.flows().next();
        let view = id.map(|id| bench.tracker.flow(id));
        assert_eq!(view.map(|v| v.state), flow.as_ref().map(|f| state_of(f.state)), "state; {}", told());
        let left = view.map(|view| view.expires_in.as_millis() as u64);
        let expected = flow.as_ref().map(|f| f.deadline - now);
        if left != expected && bench.is_double(&segment, left, expected) {
            flow.as_mut().expect("it lives").deadline = now + REPEATED;
            break;
        }
        assert_eq!(left, expected, "deadline; {}", told());
    }
    // The bits of the first segment that nothing else is read from.
    let is_patient = input.first().is_some_and(|first| first & 0xf0 == 0xf0);
    bench.end(flow.filter(|flow| now < flow.deadline).map(|flow| flow.deadline - now), is_patient);
}

fuzz_target!(|input: &[u8]| BENCH.with_borrow_mut(|bench| play(bench, input)));
