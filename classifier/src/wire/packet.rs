//! A frame taken apart: all that can be told of it without knowing the gateway's configuration.
//!
//! [`Packet::parse`] never fails: what is wrong is noted in [`Packet::faults`] and judged by the pipeline in the
//! order of the reasons, since some checks that need the configuration stand between those that don't.

use super::faults::Faults;
use super::link::{self, Link, ethertype};
use super::transport::{Icmp, SctpPacket, TcpFlags, TcpSegment, Transport, protocol};
use super::{arp, ipv4, ipv6, quote};
use crate::flow::{Domain, End, FlowKey, Key, Query};
use crate::reason::DropReason;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands behind the link header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Neither IPv4, IPv6 nor ARP.
    #[default]
    Other,
    /// ARP.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Source and destination of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Addresses {
    /// IPv4 source and destination.
    V4(u32, u32),
    /// IPv6 source and destination.
    V6(u128, u128),
}

impl Default for Addresses {
    fn default() -> Self {
        Addresses::V4(0, 0)
    }
}

/// The place of a fragment in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Bytes of the datagram before it.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// The datagram's identification.
    pub identification: u32,
}

/// What is known of the layer above IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Upper {
    /// Nothing: a later fragment, or a header that is not whole.
    #[default]
    Unknown,
    /// TCP, with its flags.
    Tcp(TcpFlags),
    /// UDP.
    Udp,
    /// An ICMP query.
    IcmpQuery(Query),
    /// An ICMP error.
    IcmpError,
    /// ICMP that is neither query nor error.
    IcmpOther,
    /// Neighbor discovery (ICMPv6 types 133 to 137), by type.
    Nd(u8),
    /// SCTP.
    Sctp(SctpPacket),
    /// A protocol without ports.
    Other,
}

/// A frame taken apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet {
    /// What is wrong with it by itself.
    pub faults: Faults,
    /// The link header.
    pub link: Link,
    /// What follows it.
    pub kind: Kind,
    /// Source and destination of IP.
    pub addresses: Addresses,
    /// The upper-layer protocol.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Where the upper layer begins in the frame.
    pub upper_offset: u32,
    /// Bytes of the upper layer in this packet.
    pub upper_length: u16,
    /// Bytes of the frame up to the end of the IP packet; padding follows.
    pub end: u32,
    /// For fragments that are not a whole datagram.
    pub fragment: Option<Fragment>,
    /// The upper layer.
    pub upper: Upper,
    /// Source port as policy sees it.
    pub source_port: u16,
    /// Destination port as policy sees it: ICMP type * 256 + code.
    pub destination_port: u16,
}

impl Packet {
    /// Bytes of the IP packet from its header on, without padding; of what is not IP, of all behind the link header.
    #[must_use]
    #[inline]
    pub fn octets(&self) -> u16 {
        // An IP packet without a jumbo payload has at most 65,575 bytes, of which a frame holds far fewer.
        self.end.saturating_sub(u32::from(self.link.payload)).min(u32::from(u16::MAX)) as u16
    }

    /// Takes a frame apart.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Packet {
        let mut packet = Packet { end: frame.len() as u32, ..Packet::default() };
        let Some(link) = Link::parse(frame) else {
            packet.faults.add(DropReason::Runt);
            packet.link.control = link::vid_of_runt(frame);
            return packet;
        };
        packet.link = link;
        packet.faults.add_if(link.tags > 1 || !link.is_customer, DropReason::UnknownVlan);
        let source = link::source(frame);
        packet.faults.add_if(source.is_group() || source.0 == [0; 6], DropReason::BadSourceMac);
        let payload = &frame[usize::from(link.payload)..];
        match link.ethertype {
            ethertype::IPV4 => {
                packet.kind = Kind::Ipv4;
                ipv4::parse(payload, &mut packet);
            }
            ethertype::IPV6 => {
                packet.kind = Kind::Ipv6;
                ipv6::parse(payload, &mut packet);
            }
            ethertype::ARP => {
                packet.kind = Kind::Arp;
                packet.faults.add_if(payload.len() < arp::FIXED, DropReason::Runt);
                packet.end = packet.end.min(u32::from(link.payload) + arp::LENGTH as u32);
            }
            _ => packet.faults.add(DropReason::UnsupportedEthertype),
        }
        packet
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match self.addresses {
            Addresses::V4(source, _) => IpAddr::V4(Ipv4Addr::from(source)),
            Addresses::V6(source, _) => IpAddr::V6(Ipv6Addr::from(source)),
        }
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        match self.addresses {
            Addresses::V4(_, destination) => IpAddr::V4(Ipv4Addr::from(destination)),
            Addresses::V6(_, destination) => IpAddr::V6(Ipv6Addr::from(destination)),
        }
    }

    /// Whether it is a fragment, but not the first of its datagram.
    #[must_use]
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| f.offset > 0)
    }

    /// Bytes of the IP packet, header included.
    #[must_use]
    #[inline]
    pub fn ip_length(&self) -> usize {
        self.end as usize - usize::from(self.link.payload)
    }

    /// The key of the flow that the packet belongs to, and the end that sent it.
    #[must_use]
    #[inline]
    pub fn key(&self, domain: Domain) -> (FlowKey, End) {
        let protocol = self.protocol;
        match (self.addresses, self.upper) {
            (Addresses::V4(source, destination), Upper::IcmpQuery(query)) => {
                let (key, end) = Key::of_query(domain, protocol, source, destination, query);
                (FlowKey::V4(key), end)
            }
            (Addresses::V6(source, destination), Upper::IcmpQuery(query)) => {
                let (key, end) = Key::of_query(domain, protocol, source, destination, query);
                (FlowKey::V6(key), end)
            }
            (Addresses::V4(source, destination), _) => {
                let (sport, dport) = self.flow_ports();
                let (key, end) = Key::of_ports(domain, protocol, (source, sport), (destination, dport));
                (FlowKey::V4(key), end)
            }
            (Addresses::V6(source, destination), _) => {
                let (sport, dport) = self.flow_ports();
                let (key, end) = Key::of_ports(domain, protocol, (source, sport), (destination, dport));
                (FlowKey::V6(key), end)
            }
        }
    }

    /// Ports that name a flow: ICMP's type and code are not.
    #[inline]
    fn flow_ports(&self) -> (u16, u16) {
        match self.upper {
            Upper::Tcp(_) | Upper::Udp | Upper::Sctp(_) => (self.source_port, self.destination_port),
            Upper::Unknown
            | Upper::IcmpQuery(_)
            | Upper::IcmpError
            | Upper::IcmpOther
            | Upper::Nd(_)
            | Upper::Other => (0, 0),
        }
    }

    /// What the tracker needs to know. The packet must be free of faults.
    #[must_use]
    #[inline]
    pub fn transport<'a>(&self, frame: &'a [u8], domain: Domain) -> Transport<'a> {
        match self.upper {
            Upper::Tcp(flags) => Transport::Tcp(self.segment(frame, flags)),
            Upper::Udp => Transport::Udp,
            Upper::IcmpQuery(query) => Transport::Icmp(Icmp::Query(query)),
            Upper::IcmpError => {
                Transport::Icmp(Icmp::Error(quote::parse(self, self.upper_bytes(frame), domain)))
            }
            Upper::IcmpOther | Upper::Nd(_) => Transport::Icmp(Icmp::Other),
            Upper::Sctp(sctp) => Transport::Sctp(sctp),
            Upper::Other | Upper::Unknown => Transport::Other,
        }
    }

    /// The upper layer's bytes; empty where the frame is not the one that was parsed.
    #[must_use]
    #[inline]
    pub fn upper_bytes<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = self.upper_offset as usize;
        frame.get(start..start + usize::from(self.upper_length)).unwrap_or(&[])
    }

    #[inline]
    fn segment<'a>(&self, frame: &'a [u8], flags: TcpFlags) -> TcpSegment<'a> {
        let bytes = self.upper_bytes(frame);
        let long = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let header = usize::from(bytes[12] >> 4) * 4;
        TcpSegment {
            flags,
            sequence: long(4),
            acknowledgment: long(8),
            window: u16::from_be_bytes([bytes[14], bytes[15]]),
            options: &bytes[20..header],
            payload_length: (bytes.len() - header) as u16,
        }
    }

    /// Whether the packet is an ICMP error, which must never be answered by another (RFC 1122 §3.2.2).
    #[must_use]
    pub fn is_icmp_error(&self) -> bool {
        self.upper == Upper::IcmpError
    }

    /// Whether the upper layer is ICMP of the packet's own family.
    #[must_use]
    #[inline]
    pub fn is_icmp(&self) -> bool {
        matches!((self.kind, self.protocol), (Kind::Ipv4, protocol::ICMP) | (Kind::Ipv6, protocol::ICMPV6))
    }
}
