//! A tracker between many hosts, whose packets are written in a line each.

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::reason::DropReason;
use classifier::wire::{TcpFlags, TcpSegment, Transport, protocol};
use conntrack::config::Config;
use conntrack::time::Tick;
use conntrack::{Epoch, FlowId, Packet, Relation, RuleKey, State, Terms, Tracked, Tracker};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const ACK: u8 = 0x10;

/// A flow, and how the gateway meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuple {
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) port: u16,
    /// The VLAN that the opener is on.
    pub(crate) vid: u16,
    /// The rule that lets it in.
    pub(crate) rule: u32,
    pub(crate) is_udp: bool,
    pub(crate) is_v6: bool,
}

impl Tuple {
    /// A connection from `source` to `destination`, from source port `port`.
    pub(crate) fn tcp(source: u32, destination: u32, port: u16) -> Tuple {
        Tuple { source, destination, port, vid: 1, rule: 0, is_udp: false, is_v6: false }
    }

    /// The same of datagrams.
    pub(crate) fn udp(source: u32, destination: u32, port: u16) -> Tuple {
        Tuple { is_udp: true, ..Tuple::tcp(source, destination, port) }
    }

    fn protocol(&self) -> u8 {
        if self.is_udp { protocol::UDP } else { protocol::TCP }
    }

    fn ends(&self) -> ((IpAddr, u16), (IpAddr, u16)) {
        let address = |network: u128, host: u32| {
            if self.is_v6 {
                IpAddr::V6(Ipv6Addr::from(network << 112 | u128::from(host)))
            } else {
                IpAddr::V4(Ipv4Addr::from(host))
            }
        };
        ((address(0xfd01, self.source), self.port), (address(0xfd02, self.destination), 443))
    }
}

/// What came of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Dropped(DropReason),
    Forward,
    Reply,
    New,
}

pub(crate) struct Bench {
    pub(crate) tracker: Tracker,
    now: Tick,
}

impl Bench {
    pub(crate) fn new(config: &Config) -> Bench {
        let mut tracker = Tracker::new(config, *b"0123456789abcdef");
        tracker.reserve_rules(4);
        Bench { tracker, now: Tick(1_000_000_000_000) }
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.tracker.advance(self.now);
    }

    /// A packet of the opener: a segment with these flags, or a datagram. The first sequence numbers are 1,000 and
    /// 5,000, and no data is sent.
    pub(crate) fn opener(&mut self, tuple: Tuple, flags: u8) -> Fate {
        let (from, to) = tuple.ends();
        self.deliver(tuple, from, to, flags, (1_000 + u32::from(flags != SYN), 5_001))
    }

    /// A packet of the responder.
    pub(crate) fn responder(&mut self, tuple: Tuple, flags: u8) -> Fate {
        let (from, to) = tuple.ends();
        self.deliver(tuple, to, from, flags, (5_000 + u32::from(flags != SYN_ACK), 1_001))
    }

    fn deliver(
        &mut self,
        tuple: Tuple,
        from: (IpAddr, u16),
        to: (IpAddr, u16),
        flags: u8,
        (sequence, acknowledgment): (u32, u32),
    ) -> Fate {
        let (key, sender) = FlowKey::of_ports(Domain::ROUTED, tuple.protocol(), from, to);
        let transport = if tuple.is_udp {
            Transport::Udp
        } else {
            Transport::Tcp(TcpSegment {
                flags: TcpFlags(flags),
                sequence,
                acknowledgment: if flags & ACK == 0 { 0 } else { acknowledgment },
                window: 65_535,
                options: &[],
                payload_length: 0,
            })
        };
        let (near, far) = (VlanKey::new(PortId(0), tuple.vid), VlanKey::new(PortId(1), 100));
        let vlan = if from == tuple.ends().0 { near } else { far };
        let packet = Packet { key, sender, vlan, source_mac: Mac::ZERO, transport };
        match self.tracker.track(self.now, &packet) {
            Tracked::Drop(reason) => Fate::Dropped(reason),
            Tracked::Flow { relation: Relation::Established, .. } => Fate::Forward,
            Tracked::Flow { relation: Relation::Reply, .. } => Fate::Reply,
            Tracked::Related { .. } => unreachable!("no packet is an error"),
            Tracked::New(opening) => {
                let terms = Terms {
                    epoch: Epoch(1),
                    rule: Some(RuleKey(tuple.rule)),
                    idle_timeout: None,
                    max_flows: None,
                    responder_vlan: Some(far),
                };
                self.tracker.open(self.now, opening, terms).map_or_else(Fate::Dropped, |_| Fate::New)
            }
        }
    }

    /// A handshake.
    pub(crate) fn establish(&mut self, tuple: Tuple) {
        assert_eq!(self.opener(tuple, SYN), Fate::New);
        assert_eq!(self.responder(tuple, SYN_ACK), Fate::Reply);
        assert_eq!(self.opener(tuple, ACK), Fate::Forward);
    }

    fn id(&self, tuple: Tuple) -> Option<FlowId> {
        let (from, to) = tuple.ends();
        let (key, _) = FlowKey::of_ports(Domain::ROUTED, tuple.protocol(), from, to);
        self.tracker.flows().find(|id| self.tracker.flow(*id).key == key)
    }

    pub(crate) fn state(&self, tuple: Tuple) -> Option<State> {
        self.id(tuple).map(|id| self.tracker.flow(id).state)
    }

    pub(crate) fn expires_in(&self, tuple: Tuple) -> Option<Duration> {
        self.id(tuple).map(|id| self.tracker.flow(id).expires_in)
    }
}
