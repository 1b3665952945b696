//! The short way gives the answers of the whole way, letter by letter: two engines, of which one has it closed, are fed
//! the same random frames, reloads, neighbors and hours, and must agree in all that can be seen of them.

use crate::bed::frame::{ACK, FIN, Ip, PSH, RST, SYN, URG, arp, link_option, nd};
use crate::bed::network::{
    DB, DESK, FAR, Host, PRINTER, SHY, TRUNK, TRUNK_MAC, WAN, WEB, address, open, policy, rule, service,
};
use crate::bed::{Bed, Left, Setup};
use classifier::addr::Mac;
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, Policy, PolicyBuilder, Rule, Segment,
    Selector, Timestamp,
};
use classifier::reason::DropReason;
use conntrack::FlowReport;
use conntrack::config::{Config, Pickup};
use dataplane::batch::{FlowRole, Verdict};
use dataplane::counters::Counters;
use dataplane::event::{ReportSource, report_ring};
use dataplane::topology::SpoofGuard;
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A conversation of two hosts, with the sequence numbers that they would send next.
#[derive(Clone, Copy)]
struct Talk {
    hosts: [Host; 2],
    ports: [u16; 2],
    v6: bool,
    tcp: bool,
    sequences: [u32; 2],
    /// What each side has sent that the other may acknowledge.
    sent: [u32; 2],
    stage: u8,
}

pub(crate) struct World {
    pub(crate) random: Random,
    talks: Vec<Talk>,
    /// One frame in so many is of a flow that was never seen; none for 0.
    strangers: u64,
}

/// A host that is behind another router.
const BEHIND: Host = Host { v4: "10.9.1.1", v6: "fd00:20::77", ..SHY };

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let pairs = [
            (WEB, DB),
            (DB, WEB),
            (WEB, FAR),
            (WEB, SHY),
            (FAR, DB),
            (SHY, WEB),
            (WEB, BEHIND),
            (DESK, PRINTER),
        ];
        let talks = (0..28)
            .map(|n| {
                let (from, to) = pairs[n % pairs.len()];
                Talk {
                    hosts: [from, to],
                    ports: [4000 + n as u16, random.pick(&[443, 5000, 22])],
                    v6: n % 3 == 2,
                    tcp: n % 2 == 1,
                    sequences: [random.next() as u32, random.next() as u32],
                    sent: [0; 2],
                    stage: 0,
                }
            })
            .collect();
        World { random, talks, strangers: 0 }
    }

    /// A frame of a conversation, most often a sound one, and the port that it comes in on.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        if self.strangers != 0 && self.random.one_in(self.strangers) {
            return self.first_frame();
        }
        let at = self.random.below(self.talks.len() as u64) as usize;
        let mut talk = self.talks[at];
        let side = self.random.below(2) as usize;
        let (from, to) = (talk.hosts[side], talk.hosts[1 - side]);
        let (source, destination) = if talk.v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        let ports = (talk.ports[side], talk.ports[1 - side]);
        let length = self.random.pick(&[0, 1, 7, 8, 18, 40, 100, 1200]);
        let payload: Vec<u8> = (0..length).map(|_| self.random.next() as u8).collect();
        let mut ip = if talk.tcp {
            self.segment(&mut talk, side, &payload)
        } else {
            Ip::udp(source, destination, ports, &payload)
        };
        self.talks[at] = talk;
        let r = &mut self.random;
        match r.below(60) {
            0 => ip = ip.ttl(r.pick(&[0, 1, 2])),
            1 if !talk.v6 => ip = ip.fragment(r.pick(&[0x2000, 0x8000, 0x0001, 0x4000, 0x0000])),
            2 if !talk.v6 => ip = ip.options(&[1, 1, 1, 0]),
            3 if !talk.tcp => ip = ip.upper_raw(6, &[0, 0]),
            4 if !talk.tcp => {
                let wrong = r.below(30) as u8;
                ip = ip.upper(4, &[0, wrong]);
            }
            5 => ip = ip.upper_raw(if talk.tcp { 16 } else { 6 }, &[r.next() as u8, 9]),
            // Anything but the protocol: what is ICMP by error would be sent on with a checksum that is wrong for it.
            6 if talk.v6 => ip = ip.header_raw(r.pick(&[0, 1, 4, 5, 7]), &[r.next() as u8]),
            6 => ip = ip.header_raw(r.pick(&[0, 1, 2, 3, 6, 7, 8, 10, 11]), &[r.next() as u8]),
            7 if talk.v6 => ip = ip.extension(60, &[0, 1, 4, 0, 0, 0, 0]),
            8 => ip = Ip::ping(source, destination, ports.0),
            9 => {
                let quoted = Ip::udp(destination, source, (ports.1, ports.0), b"12345678").bytes();
                let rest = [&[0; 4][..], &quoted].concat();
                ip = Ip::icmp(source, destination, if talk.v6 { 1 } else { 3 }, 1, &rest);
            }
            _ => {}
        }
        let mut frame = ip.by(&from);
        match r.below(60) {
            0 => frame = frame.from(r.pick(&[Mac::ZERO, Mac::BROADCAST, DB.mac, Mac([2, 9, 9, 9, 9, 9])])),
            1 => frame = frame.to(r.pick(&[Mac::BROADCAST, WEB.mac, Mac([1, 0, 0x5e, 0, 0, 1])])),
            2 => frame = frame.tags(&[(0x8100, r.pick(&[10, 20, 110, 99, 0xe00a, 0x6014]))]),
            3 => frame = frame.tags(&[(0x88a8, from.vid), (0x8100, from.vid)]),
            4 => frame = frame.tags(&[]),
            5..10 => frame = frame.padded(&[0xee; 18]),
            10 => frame = frame.padded(&[0; 1000]),
            _ => {}
        }
        let mut bytes = frame.bytes();
        if r.one_in(80) {
            let at = r.below(bytes.len() as u64) as usize;
            bytes[if talk.v6 && (18..26).contains(&at) { 0 } else { at }] ^= 1 << r.below(8);
        }
        if r.one_in(150) {
            bytes.truncate(r.below(bytes.len() as u64) as usize);
        }
        (if r.one_in(100) { 1 - from.port } else { from.port }, bytes)
    }

    /// The first frame of a flow, most often a sound one.
    fn first_frame(&mut self) -> (u8, Vec<u8>) {
        const NEAR: [&str; 3] = ["10.0.10.77", "10.0.10.78", "10.0.10.79"];
        let r = &mut self.random;
        let (from, to) =
            r.pick(&[(WEB, DB), (WEB, DB), (DB, WEB), (WEB, FAR), (FAR, DB), (WEB, BEHIND), (WEB, SHY)]);
        let v6 = r.one_in(3);
        let (mut source, mut destination) = if v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        match r.below(16) {
            0..3 if !v6 => source = address(r.pick(&NEAR)),
            0 => source = address("fd00:10::77"),
            3 => {
                source = address(match v6 {
                    true => r.pick(&[
                        "fe80::1",
                        "::1",
                        "ff02::5",
                        "fd00:20::9",
                        "2001:db8::5",
                        "::ffff:10.0.10.9",
                    ]),
                    false => r.pick(&[
                        "10.0.20.9",
                        "127.0.0.1",
                        "0.1.2.3",
                        "224.0.0.5",
                        "255.255.255.255",
                        "10.9.3.3",
                        "198.51.100.7",
                        "10.0.10.1",
                        "10.0.10.255",
                    ]),
                });
            }
            4 => {
                destination = address(match v6 {
                    true => r.pick(&[
                        "fe80::1",
                        "::1",
                        "ff02::5",
                        "fd00:10::1",
                        "fd00:10::99",
                        "::ffff:10.0.20.9",
                    ]),
                    false => r.pick(&[
                        "10.0.20.1",
                        "10.0.20.255",
                        "127.0.0.1",
                        "224.0.0.5",
                        "255.255.255.255",
                        "240.1.1.1",
                        "10.0.10.99",
                        "10.9.3.3",
                        "203.0.113.1",
                    ]),
                });
            }
            5 => destination = source,
            _ => {}
        }
        let port = 1024 + r.below(60_000) as u16;
        let ports = match r.below(30) {
            0 => (0, 443),
            1 => (port, 0),
            _ => (port, r.pick(&[443, 443, 5000, 22])),
        };
        let length = r.pick(&[0, 1, 8, 18, 100, 700, 1290]);
        let payload: Vec<u8> = (0..length).map(|_| r.next() as u8).collect();
        let mut ip = if r.one_in(2) {
            Ip::udp(source, destination, ports, &payload)
        } else {
            let flags = r.pick(&[SYN, SYN, SYN, SYN, SYN | PSH, SYN | 0xc0, SYN | URG, ACK, SYN | ACK, RST]);
            let length = if r.one_in(4) { payload.len() } else { 0 };
            let ip = Ip::tcp(source, destination, ports, flags, (r.next() as u32, 0), &payload[..length]);
            match r.below(5) {
                0 => ip.tcp_options(&[3, 3, 7, 4, 2, 1, 1, 0]),
                1 => ip.tcp_options(&[5, 0, 1, 1]),
                2 => ip.tcp_options(&[2, 4, 5, 0xb4]),
                _ => ip,
            }
        };
        match r.below(40) {
            0 => ip = ip.ttl(r.pick(&[0, 1, 2])),
            1 => ip = ip.upper_raw(6, &[r.next() as u8, 9]),
            2 if !v6 => ip = ip.options(&[1, 1, 1, 0]),
            _ => {}
        }
        let mut frame = ip.by(&from);
        match r.below(40) {
            0 => frame = frame.from(r.pick(&[Mac::ZERO, Mac::BROADCAST, Mac([2, 9, 9, 9, 9, 9])])),
            1 => frame = frame.to(r.pick(&[Mac::BROADCAST, WEB.mac])),
            2..5 => frame = frame.padded(&[0xee; 18]),
            _ => {}
        }
        let bytes = frame.bytes();
        if r.one_in(5) {
            // It will come again: what begins a flow the first time belongs to it the second.
            let talk = &mut self.talks[r.below(28) as usize];
            (talk.ports[0], talk.stage) = (port.max(1), 0);
        }
        (from.port, bytes)
    }

    /// The next segment of a connection, or one that is out of place.
    fn segment(&mut self, talk: &mut Talk, side: usize, payload: &[u8]) -> Ip {
        let r = &mut self.random;
        let (from, to) = (talk.hosts[side], talk.hosts[1 - side]);
        let (source, destination) = if talk.v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        let ports = (talk.ports[side], talk.ports[1 - side]);
        let (sequence, acknowledged) = (talk.sequences[side], talk.sequences[1 - side]);
        let mut flags = match (talk.stage, side) {
            (0, 0) => SYN,
            (1, 1) => SYN | ACK,
            _ => r.pick(&[ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | 0x40]),
        };
        if r.one_in(40) {
            flags = r.pick(&[
                FIN | ACK,
                FIN | ACK,
                RST,
                RST | ACK,
                SYN,
                SYN | ACK,
                0,
                FIN | SYN,
                ACK | URG,
                0xff,
            ]);
        }
        let is_syn = flags & SYN != 0;
        let payload = if is_syn { &[] } else { payload };
        let off = match r.below(30) {
            0 => r.pick(&[1_u32, 1000, 70_000, 1 << 20, u32::MAX, 0x8000_0000, 0_u32.wrapping_sub(3000)]),
            1 => talk.sent[side].wrapping_neg(),
            _ => 0,
        };
        let ack_off = if r.one_in(30) { r.pick(&[1_u32, 66_000, u32::MAX, 0x8000_0000]) } else { 0 };
        let numbers = (sequence.wrapping_add(off), acknowledged.wrapping_add(ack_off));
        let mut ip = Ip::tcp(source, destination, ports, flags, numbers, payload);
        if r.one_in(4) {
            let window = r.pick(&[0_u16, 1, 100, 0xffff]);
            ip = ip.upper(14, &window.to_be_bytes());
        }
        let edge = numbers.1.wrapping_add(500).to_be_bytes();
        let [a, b, c, d] = edge;
        ip = match r.below(12) {
            0..5 if is_syn => ip.tcp_options(&[3, 3, 7, 4, 2, 1, 1, 0]),
            0 => ip.tcp_options(&[1, 1, 5, 10, 0, 0, 0, 1, a, b, c, d]),
            1 => ip.tcp_options(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            2 => ip.tcp_options(&[5, 0, 1, 1]),
            _ => ip,
        };
        if off == 0 && ack_off == 0 {
            let advance = payload.len() as u32 + u32::from(is_syn) + u32::from(flags & FIN != 0);
            talk.sequences[side] = sequence.wrapping_add(advance);
            talk.sent[side] = advance;
            talk.stage = match (talk.stage, flags & (SYN | ACK | RST)) {
                (_, f) if f & RST != 0 => 0,
                (0, SYN) => 1,
                (1, f) if f == SYN | ACK => 2,
                (stage, _) => stage,
            };
        }
        if r.one_in(300) {
            talk.stage = 0;
        }
        ip
    }

    /// ARP and ND: known neighbors move, unknown ones answer.
    pub(crate) fn word_of_neighbors(&mut self) -> (u8, Vec<u8>) {
        let r = &mut self.random;
        let mac = r.pick(&[SHY.mac, SHY.mac, SHY.mac, Mac([2, 0, 0, 0, 7, 7])]);
        let host = Host { mac, ..SHY };
        let gateway = address("10.0.20.1");
        let frame = match r.below(4) {
            0 => arp(&host, 2, host.v4(), gateway).to(TRUNK_MAC),
            1 => arp(&host, 1, host.v4(), gateway),
            2 => {
                let answer = nd(host.v6(), address("fd00:20::1"), 136, 0x60, host.v6(), &link_option(2, mac));
                answer.by(&host)
            }
            _ => arp(&Host { mac: Mac([2, 0, 0, 0, 0x20, 0xfe]), ..DB }, 2, address("10.0.20.254"), gateway)
                .to(TRUNK_MAC),
        };
        (TRUNK, frame.bytes())
    }

    pub(crate) fn policy(&mut self, now: Timestamp) -> Policy {
        let r = &mut self.random;
        let allow = |id: &str| rule(id, Action::Allow);
        let rules: Vec<Rule> = match r.below(8) {
            0 => vec![],
            1 => vec![Rule { services: service(17, 5000), ..allow("udp") }, allow("rest")],
            2 => vec![Rule { idle_timeout: Some(Duration::from_secs(5)), ..allow("short") }],
            3 => vec![Rule { established: Established::Keep, services: service(6, 443), ..allow("kept") }],
            4 => vec![Rule { max_flows: Some(3), ..allow("few") }],
            5 => {
                vec![Rule { expires: Some(Timestamp(now.0 + 3_000_000_000)), ..allow("soon") }, allow("rest")]
            }
            6 => vec![Rule { services: service(6, 443), ..rule("reject", Action::Reject) }, allow("rest")],
            _ => vec![allow("all")],
        };
        let mode = if r.one_in(6) { Mode::Monitor } else { Mode::Enforce };
        if r.one_in(3) {
            return of_places(mode, rules);
        }
        policy(DefaultAction::Deny, mode, rules)
    }

    /// Changes of the network that leave its VLANs as they are.
    pub(crate) fn rewire(&mut self, setup: &mut Setup) {
        let r = &mut self.random;
        match r.below(4) {
            0 => setup.topology.neighbors[2].mac = r.pick(&[DB.mac, Mac([2, 0, 0, 0, 0x20, 0x99])]),
            1 => setup.topology.routes[1].via = r.pick(&[address("10.0.20.254"), DB.v4()]),
            2 => setup.topology.vlans[1].spoof_guard = r.pick(&[SpoofGuard::Subnet, SpoofGuard::Bindings]),
            _ => setup.topology.ports[1].mtu = Some(r.pick(&[1300, 700])),
        }
    }
}

/// A policy that tells VLANs and MACs apart: what comes from the one or goes to the other is denied before the rules.
fn of_places(mode: Mode, rules: Vec<Rule>) -> Policy {
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, mode);
    let mut segment = |name: &str, selector: Selector| {
        builder.segment(Segment {
            name: name.into(),
            members: vec![Member::Selector(selector)],
            except: Vec::new(),
            mode: Mode::Enforce,
        })
    };
    let none = || Selector { vlan: None, macs: Vec::new(), addresses: Vec::new() };
    let far = segment("far", Selector { vlan: Some(FAR.vlan()), ..none() });
    let web = segment("web", Selector { macs: vec![DB.mac], ..none() });
    let one = |segment| EndpointSet::OneOf(vec![Member::Segment(segment)]);
    let to = one(far);
    builder.rule(Rule { to, ..rule("not-far", Action::Deny) });
    builder.rule(Rule { from: one(web), ..rule("not-web", Action::Deny) });
    rules.into_iter().for_each(|rule| builder.rule(rule));
    builder.build().expect("it is a valid policy")
}

fn plain(counters: &Counters) -> Counters {
    Counters { express: 0, ..counters.clone() }
}

/// All that can be seen of the flows.
fn flows(bed: &Bed) -> Vec<String> {
    let tracker = bed.engine.tracker();
    let mut all: Vec<String> = tracker.flows().map(|flow| format!("{:?}", tracker.flow(flow))).collect();
    all.sort_unstable();
    all
}

/// What has passed by each flow since this was asked last, those that have ended included.
fn reports(bed: &mut Bed, ended: &ReportSource) -> Vec<String> {
    assert_eq!(ended.lost(), 0);
    let mut all: Vec<FlowReport> = ended.receiver.try_iter().collect();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = bed.engine.reports_from(from, &mut all);
    }
    let mut all: Vec<String> = all.iter().map(|report| format!("{report:?}")).collect();
    all.sort_unstable();
    all
}

fn sorted(mut left: Vec<Left>) -> Vec<Left> {
    left.sort_unstable();
    left
}

/// Runs both side by side, `lanes` frames at a time; how many packets took the short way, and how many the whole one.
fn agree(seed: u64, steps: u32, lanes: usize, config: Config) -> Counters {
    agree_on(World::new(seed), seed, steps, lanes, config)
}

fn agree_on(mut world: World, seed: u64, steps: u32, lanes: usize, config: Config) -> Counters {
    let setup = Setup { conntrack: config, ..open() };
    let (mut short, mut whole) = (Bed::new(setup.clone()), Bed::new(setup));
    whole.engine.set_express(false);
    let ((sink, of_short), (other, of_whole)) = (report_ring(), report_ring());
    short.engine.report_flows(sink);
    whole.engine.report_flows(other);
    let mut counted = 0;
    for step in 0..steps {
        let at = format!("seed {seed:#x}, step {step}");
        let is_alone = lanes == 1;
        match world.random.below(1000) {
            0..6 => {
                let now = Timestamp(i128::from(short.now.0));
                let policy = world.policy(now);
                world.rewire(&mut short.setup);
                whole.setup = short.setup.clone();
                short.install(policy.clone());
                whole.install(policy);
            }
            6..40 => {
                let millis = match world.random.below(40) {
                    0 => 400_000,
                    1..4 => world.random.below(70_000),
                    4..20 => world.random.below(2_000),
                    _ => world.random.below(40),
                };
                short.wait(Duration::from_millis(millis));
                whole.wait(Duration::from_millis(millis));
                assert_eq!(short.tick(), whole.tick(), "{at}");
            }
            40..60 => {
                let (port, frame) = world.word_of_neighbors();
                let (a, b) = (short.send(port, &frame), whole.send(port, &frame));
                assert_eq!(
                    (a.outcome, a.left, a.late, a.moved),
                    (b.outcome, b.left, b.late, b.moved),
                    "{at}"
                );
            }
            _ => {
                let (port, first) = world.frame();
                let mut frames = vec![first];
                let count = if is_alone { 1 } else { 1 + world.random.below(lanes as u64) as usize };
                for _ in 1..count * 2 {
                    let (other, frame) = world.frame();
                    if other == port && frames.len() < count {
                        frames.push(frame);
                    }
                }
                let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                let (a, b) = (short.send_all(port, &slices), whole.send_all(port, &slices));
                for (lane, (a, b)) in a.into_iter().zip(b).enumerate() {
                    let at = format!("{at}, lane {lane}: {:02x?}", frames[lane]);
                    assert_eq!((a.outcome, a.rule, a.moved), (b.outcome, b.rule, b.moved), "{at}");
                    assert_eq!(a.told, b.told, "{at}");
                    if is_alone {
                        assert_eq!((a.left, a.late), (b.left, b.late), "{at}");
                    } else {
                        // Flows may overtake each other within a batch.
                        assert_eq!((sorted(a.left), a.late), (sorted(b.left), b.late), "{at}");
                    }
                }
                if !is_alone {
                    // The bucket of answers must not run dry within a batch, or the order would show.
                    short.wait(Duration::from_millis(200));
                    whole.wait(Duration::from_millis(200));
                }
            }
        }
        assert_eq!(plain(short.engine.counters()), plain(whole.engine.counters()), "{at}");
        if step % 64 == 0 {
            assert_eq!(short.tick(), whole.tick(), "{at}");
            assert_eq!(flows(&short), flows(&whole), "{at}");
            let passed = reports(&mut short, &of_short);
            assert_eq!(passed, reports(&mut whole, &of_whole), "{at}");
            counted += passed.len();
            assert_eq!(short.engine.tracker().statistics(), whole.engine.tracker().statistics(), "{at}");
        }
    }
    assert!(counted > 500, "{counted} reports of flows");
    assert_eq!(whole.engine.counters().express, 0, "it was closed");
    short.engine.counters().clone()
}

/// What was fed is what the test is about.
fn is_about_it(counters: &Counters) {
    eprintln!("{} of {} forwarded by the short way; {counters:?}", counters.express, counters.forwarded);
    assert!(counters.express * 3 > counters.forwarded, "{counters:?}");
    assert!(counters.express < counters.forwarded, "{counters:?}");
    for reason in
        [DropReason::CtInvalid, DropReason::MalformedL4, DropReason::TtlExpired, DropReason::PolicyChanged]
    {
        assert!(counters.dropped[reason.index()] > 0, "{reason}: {counters:?}");
    }
}

#[test]
fn one_by_one_the_short_way_answers_as_the_whole_way() {
    for seed in 0..6 {
        is_about_it(&agree(0xe891_0000 + seed, 30_000, 1, Config { max_flows: 10_000, ..Config::default() }));
    }
}

#[test]
fn one_by_one_with_a_full_table_the_short_way_answers_as_the_whole_way() {
    for seed in 0..3 {
        let counters = agree(0xe892_0000 + seed, 20_000, 1, Config { max_flows: 12, ..Config::default() });
        assert!(counters.express > 1000, "{counters:?}");
    }
}

#[test]
fn one_by_one_connections_in_mid_stream_are_answered_as_by_the_whole_way() {
    for seed in 0..3 {
        let config = Config { max_flows: 10_000, pickup: Pickup::Always, ..Config::default() };
        is_about_it(&agree(0xe893_0000 + seed, 20_000, 1, config));
    }
}

#[test]
fn in_batches_the_short_way_answers_as_the_whole_way() {
    for seed in 0..6 {
        is_about_it(&agree(0xe894_0000 + seed, 4_000, 24, Config { max_flows: 10_000, ..Config::default() }));
    }
}

/// Mostly first packets, in batches so many that the policy is asked of them together. One at a time also with a table that
/// has no room, and with one whose half-open flows are at their shares: who is evicted hangs on who overtakes whom.
#[test]
fn first_packets_are_answered_as_by_the_whole_way() {
    let cases = [
        (0, 1, 10_000),
        (1, 1, 12),
        (2, 48, 10_000),
        (3, 48, 10_000),
        (4, 1, 600),
        (5, 1, 60),
        (6, 1, 2_600),
    ];
    for (seed, lanes, max_flows) in cases {
        let seed = 0xe895_0000 + seed;
        let world = World { strangers: if seed % 2 == 0 { 2 } else { 8 }, ..World::new(seed) };
        let steps = if lanes == 1 { 20_000 } else { 2_500 };
        let config = Config { max_flows, ..Config::default() };
        let counters = agree_on(world, seed, steps, lanes, config);
        assert!(counters.flows > 1_000, "{counters:?}");
        for reason in
            [DropReason::Martian, DropReason::Spoofed, DropReason::BadDestination, DropReason::DefaultDeny]
        {
            assert!(counters.dropped[reason.index()] > 0, "{reason}: {counters:?}");
        }
    }
}

#[test]
fn a_first_packet_takes_the_short_way_and_a_second_one_follows_it() {
    let mut bed = Bed::new(open());
    bed.send(TRUNK, Ip::udp(WEB.v4(), DB.v4(), (3999, 5000), b"hello").by(&WEB).bytes()).opened();
    let udp = |port: u16| Ip::udp(WEB.v4(), DB.v4(), (port, 5000), b"hello").by(&WEB).bytes();
    let syn = Ip::tcp(WEB.v6(), DB.v6(), (4000, 443), SYN, (7, 0), b"").by(&WEB).bytes();
    let frames: Vec<Vec<u8>> = (4000..4020).map(udp).chain([udp(4000), syn.clone(), syn]).collect();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let roles: Vec<_> = bed.send_all(TRUNK, &slices).iter().map(|sent| sent.outcome.flow).collect();
    let mut expected = vec![Some(FlowRole::New); 23];
    (expected[20], expected[22]) = (Some(FlowRole::Established), Some(FlowRole::Established));
    assert_eq!(roles, expected);
    assert_eq!(bed.engine.counters().flows, 22);
    assert_eq!(bed.engine.counters().express, 21, "the ones that came again went the whole way");
}

/// Two frames of a flow, of which the first goes the whole way and the second could go the short one, keep their order.
#[test]
fn a_packet_does_not_overtake_another_of_its_flow() {
    let mut bed = Bed::new(open());
    let udp = |last: u8| Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &[last; 30]).by(&WEB).bytes();
    let back = Ip::udp(DB.v4(), WEB.v4(), (5000, 4000), b"hello").by(&DB).bytes();
    bed.send(TRUNK, udp(0)).opened();
    bed.send(TRUNK, &back).followed(FlowRole::Reply);
    let fragment =
        Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &[7; 32]).cut(0..24).fragment(0x2000).by(&WEB).bytes();
    let frames = [udp(1), udp(2), fragment, udp(3), udp(4)];
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let sent = bed.send_all(TRUNK, &slices);
    let last: Vec<u8> = sent[4].left.iter().map(|(_, frame)| *frame.last().expect("bytes")).collect();
    let order: Vec<u8> = last.into_iter().filter(|byte| *byte < 7).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert_eq!(bed.engine.counters().express, 4);
}

#[test]
fn a_neighbor_that_moves_is_followed_by_the_next_packet() {
    let mut bed = Bed::new(open());
    let udp = || Ip::udp(WEB.v4(), SHY.v4(), (4000, 5000), b"hello").by(&WEB).bytes();
    let answer = |mac| {
        let host = Host { mac, ..SHY };
        arp(&host, 2, host.v4(), address("10.0.20.1")).to(TRUNK_MAC).bytes()
    };
    bed.send(TRUNK, udp()).must_be(Verdict::Waiting, None);
    bed.send(TRUNK, answer(SHY.mac));
    for mac in [SHY.mac, Mac([2, 0, 0, 0, 7, 7]), Mac([2, 0, 0, 0, 7, 8])] {
        bed.send(TRUNK, answer(mac));
        assert_eq!(bed.send(TRUNK, udp()).only()[..6], mac.0);
        assert_eq!(bed.send(TRUNK, udp()).only()[..6], mac.0);
    }
    assert_eq!(bed.engine.counters().express, 6, "all but the first");
    // A minute later it is asked again, by one packet.
    bed.wait(Duration::from_secs(61));
    assert_eq!(bed.send(TRUNK, udp()).left.len(), 2, "the packet, and a request");
    assert_eq!(bed.send(TRUNK, udp()).left.len(), 1);
}

#[test]
fn ordinary_packets_between_tagged_and_untagged_vlans_take_the_short_way() {
    let mut bed = Bed::new(open());
    let out = Ip::udp(WEB.v4(), FAR.v4(), (4000, 5000), b"hello").by(&WEB).bytes();
    let back = Ip::udp(FAR.v4(), WEB.v4(), (5000, 4000), b"hello").by(&FAR).bytes();
    bed.send(TRUNK, &out).opened();
    let first = bed.send(WAN, &back).followed(FlowRole::Reply).to_vec();
    assert_eq!(bed.engine.counters().express, 0);
    let again = bed.send(TRUNK, &out);
    assert_eq!(again.followed(FlowRole::Established)[12..14], [8, 0], "the tag is gone");
    assert_eq!(bed.send(WAN, &back).followed(FlowRole::Reply), first, "the tag is there");
    assert_eq!(bed.engine.counters().express, 2);
}
