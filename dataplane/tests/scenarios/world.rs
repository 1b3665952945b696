//! A small world that goes its random way: conversations whose frames are most often sound, neighbors that move, and
//! policies and routes that change.

use crate::bed::Setup;
use crate::bed::frame::{ACK, FIN, Ip, PSH, RST, SYN, URG, arp, link_option, nd};
use crate::bed::network::{
    DB, DESK, FAR, Host, PRINTER, SHY, TRUNK, TRUNK_MAC, WEB, address, policy, rule, service,
};
use classifier::addr::Mac;
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, Policy, PolicyBuilder, Rule, Segment,
    Selector, Timestamp,
};
use dataplane::topology::SpoofGuard;
use random::Random;
use std::time::Duration;

/// What happens next.
pub(crate) enum Step {
    /// Another policy comes into force, over a network that has changed.
    Reload,
    /// Nothing, for so long.
    Wait(Duration),
    /// A word of neighbors comes in by a port.
    Neighbors(u8, Vec<u8>),
    /// Frames of conversations come in.
    Frames,
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
    strangers: u32,
}

/// A host that is behind another router.
const BEHIND: Host = Host { v4: "10.9.1.1", v6: "fd00:20::77", ..SHY };

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
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
                    ports: [4000 + n as u16, *random.pick(&[443, 5000, 22])],
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

    /// A world in which one frame in so many is of a flow that was never seen.
    pub(crate) fn with_strangers(seed: u64, one_in: u32) -> World {
        World { strangers: one_in, ..World::new(seed) }
    }

    /// What happens next.
    pub(crate) fn step(&mut self) -> Step {
        match self.random.below(1000) {
            0..6 => Step::Reload,
            6..40 => {
                let millis = match self.random.below(40) {
                    0 => 400_000,
                    1..4 => self.random.below(70_000),
                    4..20 => self.random.below(2_000),
                    _ => self.random.below(40),
                };
                Step::Wait(Duration::from_millis(u64::from(millis)))
            }
            40..60 => {
                let (port, frame) = self.word_of_neighbors();
                Step::Neighbors(port, frame)
            }
            _ => Step::Frames,
        }
    }

    /// A frame of a conversation, most often a sound one, and the port that it comes in on.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        if self.strangers != 0 && self.random.one_in(self.strangers) {
            return self.first_frame();
        }
        let at = self.random.index(self.talks.len());
        let mut talk = self.talks[at];
        let side = self.random.index(2);
        let (from, to) = (talk.hosts[side], talk.hosts[1 - side]);
        let (source, destination) = if talk.v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        let ports = (talk.ports[side], talk.ports[1 - side]);
        let length = *self.random.pick(&[0, 1, 7, 8, 18, 40, 100, 1200]);
        let payload: Vec<u8> = (0..length).map(|_| self.random.next() as u8).collect();
        let mut ip = if talk.tcp {
            self.segment(&mut talk, side, &payload)
        } else {
            Ip::udp(source, destination, ports, &payload)
        };
        self.talks[at] = talk;
        let r = &mut self.random;
        match r.below(60) {
            0 => ip = ip.ttl(*r.pick(&[0, 1, 2])),
            1 if !talk.v6 => ip = ip.fragment(*r.pick(&[0x2000, 0x8000, 0x0001, 0x4000, 0x0000])),
            2 if !talk.v6 => ip = ip.options(&[1, 1, 1, 0]),
            3 if !talk.tcp => ip = ip.upper_raw(6, &[0, 0]),
            4 if !talk.tcp => {
                let wrong = r.below(30) as u8;
                ip = ip.upper(4, &[0, wrong]);
            }
            5 => ip = ip.upper_raw(if talk.tcp { 16 } else { 6 }, &[r.next() as u8, 9]),
            // Anything but the protocol: what is ICMP by error would be sent on with a checksum that is wrong for it.
            6 if talk.v6 => ip = ip.header_raw(*r.pick(&[0, 1, 4, 5, 7]), &[r.next() as u8]),
            6 => ip = ip.header_raw(*r.pick(&[0, 1, 2, 3, 6, 7, 8, 10, 11]), &[r.next() as u8]),
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
            0 => frame = frame.from(*r.pick(&[Mac::ZERO, Mac::BROADCAST, DB.mac, Mac([2, 9, 9, 9, 9, 9])])),
            1 => frame = frame.to(*r.pick(&[Mac::BROADCAST, WEB.mac, Mac([1, 0, 0x5e, 0, 0, 1])])),
            2 => frame = frame.tags(&[(0x8100, *r.pick(&[10, 20, 110, 99, 0xe00a, 0x6014]))]),
            3 => frame = frame.tags(&[(0x88a8, from.vid), (0x8100, from.vid)]),
            4 => frame = frame.tags(&[]),
            5..10 => frame = frame.padded(&[0xee; 18]),
            10 => frame = frame.padded(&[0; 1000]),
            _ => {}
        }
        let mut bytes = frame.bytes();
        if r.one_in(80) {
            let at = r.index(bytes.len());
            bytes[if talk.v6 && (18..26).contains(&at) { 0 } else { at }] ^= 1 << r.below(8);
        }
        if r.one_in(150) {
            bytes.truncate(r.index(bytes.len()));
        }
        (if r.one_in(100) { 1 - from.port } else { from.port }, bytes)
    }

    /// The first frame of a flow, most often a sound one.
    fn first_frame(&mut self) -> (u8, Vec<u8>) {
        const NEAR: [&str; 3] = ["10.0.10.77", "10.0.10.78", "10.0.10.79"];
        let r = &mut self.random;
        let (from, to) =
            *r.pick(&[(WEB, DB), (WEB, DB), (DB, WEB), (WEB, FAR), (FAR, DB), (WEB, BEHIND), (WEB, SHY)]);
        let v6 = r.one_in(3);
        let (mut source, mut destination) = if v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        match r.below(16) {
            0..3 if !v6 => source = address(r.pick::<&str>(&NEAR)),
            0 => source = address("fd00:10::77"),
            3 => {
                source = address(match v6 {
                    true => r.pick::<&str>(&[
                        "fe80::1",
                        "::1",
                        "ff02::5",
                        "fd00:20::9",
                        "2001:db8::5",
                        "::ffff:10.0.10.9",
                    ]),
                    false => r.pick::<&str>(&[
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
                    true => r.pick::<&str>(&[
                        "fe80::1",
                        "::1",
                        "ff02::5",
                        "fd00:10::1",
                        "fd00:10::99",
                        "::ffff:10.0.20.9",
                    ]),
                    false => r.pick::<&str>(&[
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
            _ => (port, *r.pick(&[443, 443, 5000, 22])),
        };
        let length = *r.pick(&[0, 1, 8, 18, 100, 700, 1290]);
        let payload: Vec<u8> = (0..length).map(|_| r.next() as u8).collect();
        let mut ip = if r.one_in(2) {
            Ip::udp(source, destination, ports, &payload)
        } else {
            let flags = *r.pick(&[SYN, SYN, SYN, SYN, SYN | PSH, SYN | 0xc0, SYN | URG, ACK, SYN | ACK, RST]);
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
            0 => ip = ip.ttl(*r.pick(&[0, 1, 2])),
            1 => ip = ip.upper_raw(6, &[r.next() as u8, 9]),
            2 if !v6 => ip = ip.options(&[1, 1, 1, 0]),
            _ => {}
        }
        let mut frame = ip.by(&from);
        match r.below(40) {
            0 => frame = frame.from(*r.pick(&[Mac::ZERO, Mac::BROADCAST, Mac([2, 9, 9, 9, 9, 9])])),
            1 => frame = frame.to(*r.pick(&[Mac::BROADCAST, WEB.mac])),
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
            _ => *r.pick(&[ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | 0x40]),
        };
        if r.one_in(40) {
            flags = *r.pick(&[
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
            0 => *r.pick(&[1_u32, 1000, 70_000, 1 << 20, u32::MAX, 0x8000_0000, 0_u32.wrapping_sub(3000)]),
            1 => talk.sent[side].wrapping_neg(),
            _ => 0,
        };
        let ack_off = if r.one_in(30) { *r.pick(&[1_u32, 66_000, u32::MAX, 0x8000_0000]) } else { 0 };
        let numbers = (sequence.wrapping_add(off), acknowledged.wrapping_add(ack_off));
        let mut ip = Ip::tcp(source, destination, ports, flags, numbers, payload);
        if r.one_in(4) {
            let window = *r.pick(&[0_u16, 1, 100, 0xffff]);
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
    fn word_of_neighbors(&mut self) -> (u8, Vec<u8>) {
        let r = &mut self.random;
        let mac = *r.pick(&[SHY.mac, SHY.mac, SHY.mac, Mac([2, 0, 0, 0, 7, 7])]);
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
            0 => setup.topology.neighbors[2].mac = *r.pick(&[DB.mac, Mac([2, 0, 0, 0, 0x20, 0x99])]),
            1 => setup.topology.routes[1].via = *r.pick(&[address("10.0.20.254"), DB.v4()]),
            2 => setup.topology.vlans[1].spoof_guard = *r.pick(&[SpoofGuard::Subnet, SpoofGuard::Bindings]),
            _ => setup.topology.ports[1].mtu = Some(*r.pick(&[1300, 700])),
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
