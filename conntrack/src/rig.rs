//! A tracker on the bench: two hosts, O and R, whose packets are written in a line each.

use crate::config::Config;
use crate::packet::{Opening, Packet, Relation, Tracked};
use crate::state::State;
use crate::terms::{Epoch, Terms};
use crate::time::Tick;
use crate::tracker::Tracker;
use crate::view::{FlowId, FlowView};
use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, FlowKey, KeyKind, Query};
use classifier::reason::DropReason;
use classifier::wire::{
    Icmp, QuotedPacket, SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol,
};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(crate) const O_VLAN: VlanKey = VlanKey::new(PortId(0), 10);
pub(crate) const R_VLAN: VlanKey = VlanKey::new(PortId(1), 20);
pub(crate) const O_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    O,
    R,
}
pub(crate) use Host::{O, R};

/// What came of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Dropped(DropReason),
    Forward,
    Reply,
    Related,
    New,
}
pub(crate) const INVALID: Fate = Fate::Dropped(DropReason::CtInvalid);

/// A segment in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seg {
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) win: u16,
    pub(crate) len: u16,
    pub(crate) options: &'static [u8],
}

/// A segment: flags by their letters.
pub(crate) fn seg(flags: &str, seq: u32, ack: u32) -> Seg {
    let bit = |letter| 1 << "FSRPAU".find(letter).expect("a flag");
    let flags = flags.chars().map(bit).fold(0, |a: u8, b: u8| a | b);
    Seg { flags, seq, ack, win: 65_535, len: 0, options: &[] }
}

impl Seg {
    pub(crate) fn len(self, len: u16) -> Seg {
        Seg { len, ..self }
    }
    pub(crate) fn win(self, win: u16) -> Seg {
        Seg { win, ..self }
    }
    pub(crate) fn options(self, options: &'static [u8]) -> Seg {
        Seg { options, ..self }
    }
}

pub(crate) struct Rig {
    pub(crate) tracker: Tracker,
    pub(crate) now: Tick,
    pub(crate) terms: Terms,
    /// The opening of the last packet that was `New`.
    pub(crate) opening: Option<Opening>,
    /// Whether a `New` is opened at once.
    pub(crate) opens: bool,
    ports: (u16, u16),
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(Config { max_flows: 64, ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Rig {
        Rig {
            tracker: Tracker::new(&config, [3; 16]),
            now: Tick(1_000_000_000_000),
            terms: Terms {
                epoch: Epoch(1),
                rule: None,
                idle_timeout: None,
                max_flows: None,
                responder_vlan: Some(R_VLAN),
            },
            opening: None,
            opens: true,
            ports: (40_000, 80),
        }
    }

    /// From now on, another pair of ports.
    pub(crate) fn port(&mut self, port: u16) {
        self.ports.0 = port;
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.tracker.advance(self.now);
    }

    fn addresses(host: Host) -> (IpAddr, IpAddr) {
        let (o, r) = (IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10)), IpAddr::V4(Ipv4Addr::new(10, 2, 0, 10)));
        if host == O { (o, r) } else { (r, o) }
    }

    pub(crate) fn key(&self, host: Host, ip_protocol: u8) -> (FlowKey, classifier::flow::End) {
        let (source, destination) = Rig::addresses(host);
        let (sport, dport) = if host == O { self.ports } else { (self.ports.1, self.ports.0) };
        let has_ports = matches!(ip_protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        let (sport, dport) = if has_ports { (sport, dport) } else { (0, 0) };
        FlowKey::of_ports(Domain::ROUTED, ip_protocol, (source, sport), (destination, dport))
    }

    pub(crate) fn deliver(&mut self, packet: &Packet<'_>) -> Fate {
        match self.tracker.track(self.now, packet) {
            Tracked::Drop(reason) => Fate::Dropped(reason),
            Tracked::Flow { relation: Relation::Established, .. } => Fate::Forward,
            Tracked::Flow { relation: Relation::Reply, .. } => Fate::Reply,
            Tracked::Related { .. } => Fate::Related,
            Tracked::New(opening) => {
                self.opening = Some(opening);
                if self.opens {
                    self.tracker.open(self.now, opening, self.terms).expect("there is room");
                }
                Fate::New
            }
        }
    }

    fn packet<'a>(&self, host: Host, ip_protocol: u8, transport: Transport<'a>) -> Packet<'a> {
        let (key, sender) = self.key(host, ip_protocol);
        let vlan = if host == O { O_VLAN } else { R_VLAN };
        Packet { key, sender, vlan, source_mac: O_MAC, transport }
    }

    pub(crate) fn tcp_packet(&self, host: Host, segment: Seg) -> Packet<'static> {
        let segment = TcpSegment {
            flags: TcpFlags(segment.flags),
            sequence: segment.seq,
            acknowledgment: segment.ack,
            window: segment.win,
            options: segment.options,
            payload_length: segment.len,
        };
        self.packet(host, protocol::TCP, Transport::Tcp(segment))
    }

    pub(crate) fn tcp(&mut self, host: Host, segment: Seg) -> Fate {
        let packet = self.tcp_packet(host, segment);
        self.deliver(&packet)
    }

    pub(crate) fn udp(&mut self, host: Host) -> Fate {
        let packet = self.packet(host, protocol::UDP, Transport::Udp);
        self.deliver(&packet)
    }

    pub(crate) fn other(&mut self, host: Host, ip_protocol: u8) -> Fate {
        let packet = self.packet(host, ip_protocol, Transport::Other);
        self.deliver(&packet)
    }

    pub(crate) fn sctp(&mut self, host: Host, tag: u32, first: SctpChunk) -> Fate {
        self.sctp_packet(host, SctpPacket { tag, first, is_only_chunk: true, is_tag_reflected: false })
    }

    pub(crate) fn sctp_packet(&mut self, host: Host, chunks: SctpPacket) -> Fate {
        let packet = self.packet(host, protocol::SCTP, Transport::Sctp(chunks));
        self.deliver(&packet)
    }

    pub(crate) fn ping(&mut self, host: Host, is_request: bool, identifier: u16) -> Fate {
        let (source, destination) = Rig::addresses(host);
        let query = Query { kind: KeyKind::Echo, is_request, identifier };
        let (key, sender) = FlowKey::of_query(Domain::ROUTED, protocol::ICMP, source, destination, query);
        let transport = Transport::Icmp(Icmp::Query(query));
        let packet = Packet { key, sender, ..self.packet(host, protocol::ICMP, transport) };
        self.deliver(&packet)
    }

    /// An ICMP error that comes in on `vlan` about a packet that `quoted` had sent.
    pub(crate) fn error(&mut self, vlan: VlanKey, quoted: Host, ip_protocol: u8, seq: Option<u32>) -> Fate {
        let (key, sender) = self.key(quoted, ip_protocol);
        let transport = Transport::Icmp(Icmp::Error(Some(QuotedPacket { key, sender, tcp_sequence: seq })));
        let packet = Packet { vlan, ..self.packet(R, protocol::ICMP, transport) };
        self.deliver(&packet)
    }

    /// The flow with the ports of now, as the table has it.
    pub(crate) fn id(&self, ip_protocol: u8) -> Option<FlowId> {
        let (key, _) = self.key(O, ip_protocol);
        self.tracker.flows().find(|id| self.tracker.flow(*id).key == key)
    }

    pub(crate) fn view(&self) -> Option<FlowView> {
        self.id(protocol::TCP).map(|id| self.tracker.flow(id))
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.view().map(|view| view.state)
    }

    pub(crate) fn expires_in(&self) -> u64 {
        self.view().expect("the flow lives").expires_in.as_secs()
    }

    /// SYN 1000, SYN-ACK 5000 and ACK.
    pub(crate) fn establish(&mut self) {
        assert_eq!(self.tcp(O, seg("S", 1000, 0)), Fate::New);
        assert_eq!(self.tcp(R, seg("SA", 5000, 1001)), Fate::Reply);
        assert_eq!(self.tcp(O, seg("A", 1001, 5001)), Fate::Forward);
        assert_eq!(self.state(), Some(State::Established));
    }
}
