//! One thing is tried: what its host sees, what the other hears, and what the gateway says of it.

use super::forgery::Segment;
use super::script::{Attempt, Expected, Family, Scene};
use super::stage::{Role, Stage};
use crate::replay::{Line, Names};
use crate::testbed::{PingOutcome, RawSocket, TcpOutcome, UdpOutcome};
use classifier::wire::{Packet, TcpFlags, protocol};
use dataplane::event::Event;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long an answer may take that has to come.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long silence has to be: shorter than the second after which a host sends its SYN again (RFC 6298 §2.1).
const SILENCE: Duration = Duration::from_millis(600);
/// How long the gateway's word may take, and a frame to the other host.
const SOON: Duration = Duration::from_secs(1);
/// How long it is waited for a frame that must not arrive.
const MOMENT: Duration = Duration::from_millis(100);
/// The source port of frames that are made by hand.
const BY_HAND: u16 = 40_000;
/// The MAC of the policy's port.
const GATEWAY: classifier::addr::Mac = classifier::addr::Mac([2, 0, 0, 0, 0, 1]);

/// What the host that tries it sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saw {
    /// The other host answered.
    Answered,
    /// A RST came back.
    Refused,
    /// ICMP came back: administratively prohibited.
    Prohibited,
    /// Another ICMP error came back.
    Unreachable,
    /// Nothing came back.
    Silence,
    /// It sent a frame and did not look.
    Nothing,
}

impl Saw {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Saw::Answered => "answered",
            Saw::Refused => "refused",
            Saw::Prohibited => "prohibited",
            Saw::Unreachable => "unreachable",
            Saw::Silence => "silence",
            Saw::Nothing => "-",
        }
    }
}

/// What the host that tries it sees, and how soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// What.
    pub saw: Saw,
    /// After what time.
    pub after: Duration,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// What was tried.
    pub scene: Scene,
    /// What the host that tried it saw.
    pub seen: Seen,
    /// Whether its packet arrived at the other host.
    pub arrived: bool,
    /// The gateway's word, in the words of a verdict line; `None` where it said none.
    pub word: Option<Line>,
}

impl Observed {
    /// Whether it is what the policy says.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        let Expected { saw, arrives, verdict, reason, rule } = self.scene.expected;
        let word = self.word.as_ref();
        self.seen.saw == saw
            && self.arrived == arrives
            && word.is_some_and(|word| {
                word.verdict == verdict && word.reason == reason && word.rule.as_deref() == rule
            })
    }
}

/// By what a packet is known, at the gateway and at the other host.
#[derive(Clone, Copy, Debug)]
struct Mark {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    destination_port: u16,
    vid: u16,
}

impl Mark {
    fn is_of(&self, packet: &Packet) -> bool {
        packet.protocol == self.protocol
            && packet.destination_port == self.destination_port
            && (packet.source(), packet.destination()) == (self.source, self.destination)
    }

    fn is_told_of(&self, event: &Event) -> bool {
        event.vid == self.vid
            && event.protocol == self.protocol
            && event.destination_port == self.destination_port
            && event.addresses == Some((self.source, self.destination))
    }
}

impl Scene {
    fn family(&self) -> Family {
        match self.attempt {
            Attempt::Ping(family) | Attempt::Tcp(family, _) | Attempt::Udp(family, _) => family,
            Attempt::Forged(..) | Attempt::Stray(_) | Attempt::ForeignVlan(..) => Family::V4,
        }
    }

    fn mark(&self) -> Mark {
        let family = self.family();
        // The type of an echo request, in the high byte (RFC 792, RFC 4443).
        let echo = match family {
            Family::V4 => (protocol::ICMP, 8 << 8),
            Family::V6 => (protocol::ICMPV6, 128 << 8),
        };
        let (source, vid, (protocol, destination_port)) = match self.attempt {
            Attempt::Ping(_) => (self.from, self.from.vlan(), echo),
            Attempt::Tcp(_, port) | Attempt::Stray(port) => {
                (self.from, self.from.vlan(), (protocol::TCP, port))
            }
            Attempt::Udp(_, port) => (self.from, self.from.vlan(), (protocol::UDP, port)),
            Attempt::Forged(as_whom, port) => (as_whom, self.from.vlan(), (protocol::TCP, port)),
            Attempt::ForeignVlan(vid, port) => (self.from, vid, (protocol::TCP, port)),
        };
        let (source, destination) = (source.address(family), self.to.address(family));
        Mark { source, destination, protocol, destination_port, vid }
    }

    /// Tries it.
    ///
    /// # Errors
    /// What the kernel says where it is no outcome.
    pub fn play(self, stage: &Stage) -> io::Result<Observed> {
        let mark = self.mark();
        let ear = stage.host(self.to).raw()?;
        // What was said before is of something else.
        while stage.gateway().events()[0].receiver.try_recv().is_ok() {}
        let start = Instant::now();
        let saw = self.attempt(stage)?;
        let seen = Seen { saw, after: start.elapsed() };
        let word = word(stage, &mark);
        let arrived = hears(&ear, &mark, if self.expected.arrives { SOON } else { MOMENT })?;
        Ok(Observed { scene: self, seen, arrived, word })
    }

    fn attempt(&self, stage: &Stage) -> io::Result<Saw> {
        let host = stage.host(self.from);
        let to = self.to.address(self.family());
        let timeout = if self.expected.saw == Saw::Silence { SILENCE } else { PATIENCE };
        match self.attempt {
            Attempt::Ping(_) => Ok(match host.ping(to, timeout)? {
                PingOutcome::Answered { .. } => Saw::Answered,
                // Administratively prohibited: RFC 1812 §5.2.7.1, RFC 4443 §3.1.
                PingOutcome::Error { kind: 3, code: 13 } | PingOutcome::Error { kind: 1, code: 1 } => {
                    Saw::Prohibited
                }
                PingOutcome::Error { .. } | PingOutcome::Unreachable => Saw::Unreachable,
                PingOutcome::TimedOut => Saw::Silence,
            }),
            Attempt::Tcp(_, port) => match host.tcp_connect(SocketAddr::new(to, port), timeout)? {
                TcpOutcome::Connected => converse(stage, *self, SocketAddr::new(to, port)),
                TcpOutcome::Refused => Ok(Saw::Refused),
                TcpOutcome::Unreachable => Ok(Saw::Unreachable),
                TcpOutcome::TimedOut => Ok(Saw::Silence),
            },
            Attempt::Udp(_, port) => {
                Ok(match host.udp_request(SocketAddr::new(to, port), b"bulkhead", timeout)? {
                    UdpOutcome::Answered(_) => Saw::Answered,
                    UdpOutcome::Refused => Saw::Refused,
                    UdpOutcome::Unreachable => Saw::Unreachable,
                    UdpOutcome::TimedOut => Saw::Silence,
                })
            }
            Attempt::Forged(as_whom, port) => {
                host.raw()?.send(&self.segment(as_whom, port, TcpFlags::SYN, None).frame())?;
                Ok(Saw::Nothing)
            }
            Attempt::Stray(port) => {
                host.raw()?.send(&self.segment(self.from, port, TcpFlags::ACK, None).frame())?;
                Ok(Saw::Nothing)
            }
            Attempt::ForeignVlan(vid, port) => {
                stage.wire().send(&self.segment(self.from, port, TcpFlags::SYN, Some(vid)).frame())?;
                Ok(Saw::Nothing)
            }
        }
    }

    fn segment(&self, source: Role, port: u16, flags: u8, vlan: Option<u16>) -> Segment {
        Segment {
            source_mac: self.from.mac(),
            destination_mac: GATEWAY,
            vlan,
            source: v4(source.address(Family::V4)),
            destination: v4(self.to.address(Family::V4)),
            ports: (BY_HAND, port),
            flags,
        }
    }
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("the address of family IPv4 is one"),
    }
}

/// A few bytes there and back.
fn converse(stage: &Stage, scene: Scene, to: SocketAddr) -> io::Result<Saw> {
    let mut stream = stage.host(scene.from).connect(to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 8];
    let answered = stream.write_all(b"bulkhead").and_then(|()| stream.read_exact(&mut answer));
    Ok(if answered.is_ok() && &answer == b"bulkhead" { Saw::Answered } else { Saw::Silence })
}

/// What the gateway says of the packet.
fn word(stage: &Stage, mark: &Mark) -> Option<Line> {
    let gateway = stage.gateway();
    let deadline = Instant::now() + SOON;
    loop {
        let event = gateway.events()[0].receiver.recv_deadline(deadline).ok()?;
        if mark.is_told_of(&event) {
            let generation = gateway.control().generation();
            let names = Names { topology: &gateway.configuration().topology, generation: &generation };
            return Some(Line::new(names, 0, event.port, event.vid, &event.outcome, std::iter::empty()));
        }
    }
}

/// Whether the packet arrives at the other host.
fn hears(ear: &RawSocket, mark: &Mark, timeout: Duration) -> io::Result<bool> {
    let heard = ear.wait_for(timeout, |c| !c.outgoing && mark.is_of(&Packet::parse(&c.frame)))?;
    Ok(heard.is_some())
}
