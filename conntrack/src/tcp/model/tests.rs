//! Random connections, through the tracker and through the model: after each segment the same verdict, the same
//! state and the same deadline.

use super::{Kind, Model, Segment, St, Verdict};
use crate::packet::Packet;
use crate::rig::{Fate, Host, INVALID, O_VLAN, R_VLAN, Rig, seg};
use crate::state::State;
use classifier::wire::{TcpSegment, Transport};
use std::time::Duration;

const SEED: u64 = 0x5eed_0fc0_11ec_7ed5;
/// Connections that are played, unless [`WISH`] says another number.
const CONNECTIONS: u64 = 30_000;
/// Connections of the shortest run that may be wished for: fewer would meet some states too seldom.
const FEWEST: u64 = 1_000;
/// The environment variable for a longer run, or a shorter one.
const WISH: &str = "BULKHEAD_SEQUENCES";
const SEGMENTS: u32 = 40;
/// The tracker's stamp of stray SYNs wraps after 65.5 seconds; the model's does not.
const LONGEST: u64 = 60_000;

/// Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
    fn near(&mut self, x: u32) -> u32 {
        let far = [0, 0, 1, 2, 10, 500, 1000, 66_000, 70_000, 1 << 30, 1 << 31];
        let distance = self.of(&far);
        if self.one_in(2) { x.wrapping_add(distance) } else { x.wrapping_sub(distance) }
    }
}

impl Segment {
    fn has_ack(&self) -> bool {
        !matches!(self.kind, Kind::Syn | Kind::Rst)
    }
}

/// A segment that belongs to the connection, more or less.
fn invent(random: &mut Random, flow: Option<&Model>, last: Option<Segment>) -> Segment {
    if let Some(last) = last.filter(|_| random.one_in(6)) {
        return last;
    }
    let host = random.below(2) as usize;
    let mut segment = Segment {
        host,
        kind: Kind::Syn,
        seq: random.of(&[u32::MAX - 3, u32::MAX - 600, 0, 1000, 0x7fff_fff0]),
        ack: 0,
        win: random.of(&[0, 1, 512, 1000, 8192, 65_535]),
        len: if random.one_in(8) { 100 } else { 0 },
        scale: random.of(&[None, Some(0), Some(2), Some(14), Some(15)]),
        sack_permitted: random.one_in(2),
        sack: None,
    };
    let Some(flow) = flow else { return segment };
    segment.kind = match (flow.state, random.below(20)) {
        (St::Ss, 0..12) => {
            segment.host = 1 - flow.opener;
            Kind::SynAck
        }
        (St::Sr, 0..9) => {
            segment.host = flow.opener;
            Kind::Ack
        }
        (_, 0) => Kind::Syn,
        (_, 1) => Kind::SynAck,
        (_, 2) => Kind::Rst,
        (_, 3) => Kind::RstAck,
        (_, 4..7) => Kind::Fin,
        _ => Kind::Ack,
    };
    let me = usize::from(segment.host != flow.opener);
    let (own, other) = (&flow.sides[me], &flow.sides[1 - me]);
    let alt = flow.alt.map_or(flow.isn, |alt| alt.seq);
    if segment.kind != Kind::Syn {
        segment.len = random.of(&[0, 0, 0, 1, 100, 1000, 5000]);
        segment.ack = match random.below(12) {
            0..8 => other.end,
            8 => other.maxack.unwrap_or(0),
            9 => alt.wrapping_add(1),
            10 => own.maxack.unwrap_or(0),
            _ => random.near(other.end),
        };
    }
    let is_first = segment.kind == Kind::SynAck && flow.state == St::Ss;
    segment.seq = match (random.below(12), segment.kind) {
        (_, Kind::SynAck) if is_first => segment.seq,
        (0..4, Kind::Syn) => flow.isn,
        (4..6, Kind::Syn) => alt,
        (6, Kind::Syn) => own.end.wrapping_sub(1),
        (7 | 8, Kind::Syn) => segment.seq,
        (0..8, _) => own.end,
        (8, _) => own.maxend,
        (9, _) => other.maxack.unwrap_or(own.end),
        (10, _) => random.near(own.maxend),
        _ => random.near(own.end),
    };
    if segment.has_ack() && random.one_in(6) {
        segment.sack = Some((other.end.wrapping_sub(10), random.near(other.end)));
    }
    segment
}

/// The options as they stand in the segment.
fn options(segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::new();
    if matches!(segment.kind, Kind::Syn | Kind::SynAck) {
        if let Some(scale) = segment.scale {
            bytes.extend([1, 3, 3, scale]);
        }
        if segment.sack_permitted {
            bytes.extend([1, 1, 4, 2]);
        }
    } else if let Some((left, right)) = segment.sack {
        bytes.extend([1, 1, 5, 10]);
        bytes.extend(left.to_be_bytes());
        bytes.extend(right.to_be_bytes());
    }
    bytes
}

fn deliver(rig: &mut Rig, segment: &Segment) -> Fate {
    let (host, far) = if segment.host == 0 { (Host::O, R_VLAN) } else { (Host::R, O_VLAN) };
    rig.terms.responder_vlan = Some(far);
    let flags = match segment.kind {
        Kind::Syn => "S",
        Kind::SynAck => "SA",
        Kind::Ack => "A",
        Kind::Fin => "FA",
        Kind::Rst => "R",
        Kind::RstAck => "RA",
    };
    let packet = rig.tcp_packet(host, seg(flags, segment.seq, segment.ack).win(segment.win).len(segment.len));
    let Transport::Tcp(bare) = packet.transport else { unreachable!("it is of TCP") };
    let options = options(segment);
    let transport = Transport::Tcp(TcpSegment { options: &options, ..bare });
    rig.deliver(&Packet { transport, ..packet })
}

fn fate_of(verdict: Verdict) -> Fate {
    match verdict {
        Verdict::Drop => INVALID,
        Verdict::Forward => Fate::Forward,
        Verdict::Reply => Fate::Reply,
        Verdict::New => Fate::New,
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

/// How often each state was met: a test that never leaves the handshake would prove little.
type Visits = [u64; 8];

fn play(seed: u64, visits: &mut Visits) {
    let mut random = Random(seed | 1);
    let mut rig = Rig::new();
    let (mut now, mut flow, mut last) = (0, None::<Model>, None);
    let start = rig.now;
    for step in 0..SEGMENTS {
        let left = flow.as_ref().map_or(0, |flow| flow.deadline.saturating_sub(now));
        let pause = random.of(&[0, 0, 0, 0, 1, 100, 499, 500, 1000, left.saturating_sub(1), left]);
        if now + pause < LONGEST {
            now += pause;
            rig.now = start + Duration::from_millis(now);
            if random.one_in(2) {
                rig.tracker.advance_some(rig.now, 1);
            }
        }
        flow = flow.filter(|flow| now < flow.deadline);
        let segment = invent(&mut random, flow.as_ref(), last);
        last = Some(segment);
        let before = flow.clone();
        let (verdict, after) = match flow {
            Some(flow) => flow.judge(now, &segment),
            None if segment.kind == Kind::Syn => (Verdict::New, Some(Model::open(now, &segment))),
            None => (Verdict::Drop, None),
        };
        flow = after;
        let got = deliver(&mut rig, &segment);
        let told = || format!("seed {seed:#x}, step {step}, {segment:?}\nbefore {before:?}\nafter {flow:?}");
        assert_eq!(got, fate_of(verdict), "verdict; {}", told());
        let view = rig.view();
        assert_eq!(view.map(|v| v.state), flow.as_ref().map(|f| state_of(f.state)), "state; {}", told());
        let expires_in = view.map(|view| view.expires_in.as_millis() as u64);
        assert_eq!(expires_in, flow.as_ref().map(|f| f.deadline - now), "deadline; {}", told());
        if let Some(flow) = &flow {
            visits[flow.state as usize] += 1;
        }
    }
}

#[test]
fn random_connections_fare_as_in_the_model() {
    let wish = std::env::var(WISH).ok();
    let connections = wish.map_or(CONNECTIONS, |wish| wish.parse().expect("a number of connections"));
    assert!(connections >= FEWEST, "a shorter run would meet some states too seldom");
    let mut seeds = Random(SEED);
    let mut visits = Visits::default();
    for _ in 0..connections {
        play(seeds.next(), &mut visits);
    }
    println!(
        "{connections} connections from seed {SEED:#x}; segments after which each state stood: {visits:?}"
    );
    assert!(visits.iter().all(|count| *count > connections / 3), "a state was seldom met: {visits:?}");
}
