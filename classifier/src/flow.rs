//! The key under which a flow is known: both directions of a flow have the same key.
//!
//! TCP, UDP, SCTP and port-less protocols are ordered by (address, port), the lower end first. An ICMP query
//! is ordered by role, the requester first, since a request by the other side with the same identifier
//! is a flow of its own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The space in which addresses are unique: all routed VLANs are one, each stitch is its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Domain(pub u16);

impl Domain {
    /// All routed VLANs.
    pub const ROUTED: Domain = Domain(0);
}

/// Which end of the key's order sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// The first end of the key: the lower (address, port), or an ICMP requester.
    First,
    /// The second end of the key.
    Second,
}

impl End {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> End {
        match self {
            End::First => End::Second,
            End::Second => End::First,
        }
    }
}

/// What tells apart flows of one protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum KeyKind {
    /// The ports, if the protocol has any.
    Ports = 0,
    /// ICMP or ICMPv6 echo, by identifier.
    Echo = 1,
    /// ICMP timestamp (RFC 792), by identifier.
    Timestamp = 2,
    /// ICMP information (RFC 792), by identifier.
    Information = 3,
    /// ICMP address mask (RFC 950), by identifier.
    Mask = 4,
}

/// A key with addresses of type `A` (`u32` for IPv4, `u128` for IPv6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C)]
pub struct Key<A> {
    /// The first end's address.
    pub first: A,
    /// The second end's address.
    pub second: A,
    /// The first end's port, or the identifier of an ICMP query.
    pub first_port: u16,
    /// The second end's port; 0 for ICMP queries.
    pub second_port: u16,
    /// Where the addresses are unique.
    pub domain: Domain,
    /// IP protocol number.
    pub protocol: u8,
    /// What the ports mean.
    pub kind: KeyKind,
}

const _: () = assert!(size_of::<Key<u32>>() == 16);
const _: () = assert!(size_of::<Key<u128>>() == 48);

impl<A: Copy + Ord> Key<A> {
    /// The key of a packet with ports (0 where the protocol has none), and the end that sent it.
    #[must_use]
    #[inline]
    pub fn of_ports(domain: Domain, protocol: u8, source: (A, u16), destination: (A, u16)) -> (Self, End) {
        let (end, first, second) = if source <= destination {
            (End::First, source, destination)
        } else {
            (End::Second, destination, source)
        };
        let key = Key {
            first: first.0,
            second: second.0,
            first_port: first.1,
            second_port: second.1,
            domain,
            protocol,
            kind: KeyKind::Ports,
        };
        (key, end)
    }

    /// The key of an ICMP query, and the end that sent it: the first for a request, the second for a reply.
    #[must_use]
    #[inline]
    pub fn of_query(domain: Domain, protocol: u8, source: A, destination: A, query: Query) -> (Self, End) {
        let (end, first, second) = if query.is_request {
            (End::First, source, destination)
        } else {
            (End::Second, destination, source)
        };
        let key = Key {
            first,
            second,
            first_port: query.identifier,
            second_port: 0,
            domain,
            protocol,
            kind: query.kind,
        };
        (key, end)
    }
}

/// An ICMP query message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// Echo, timestamp, information or mask.
    pub kind: KeyKind,
    /// Whether it asks (or answers).
    pub is_request: bool,
    /// The identifier field.
    pub identifier: u16,
}

/// The key of an IPv4 or an IPv6 flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowKey {
    /// IPv4.
    V4(Key<u32>),
    /// IPv6.
    V6(Key<u128>),
}

impl FlowKey {
    /// The key of a packet with ports (0 where the protocol has none), and the end that sent it.
    ///
    /// # Panics
    /// Where the addresses are of two families: no packet has that.
    #[must_use]
    pub fn of_ports(
        domain: Domain,
        protocol: u8,
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
    ) -> (Self, End) {
        match (source.0, destination.0) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let (key, end) =
                    Key::of_ports(domain, protocol, (u32::from(s), source.1), (u32::from(d), destination.1));
                (FlowKey::V4(key), end)
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let (key, end) = Key::of_ports(
                    domain,
                    protocol,
                    (u128::from(s), source.1),
                    (u128::from(d), destination.1),
                );
                (FlowKey::V6(key), end)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("a packet has addresses of one family")
            }
        }
    }

    /// The key of an ICMP query, and the end that sent it.
    ///
    /// # Panics
    /// Where the addresses are of two families: no packet has that.
    #[must_use]
    pub fn of_query(
        domain: Domain,
        protocol: u8,
        source: IpAddr,
        destination: IpAddr,
        query: Query,
    ) -> (Self, End) {
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let (key, end) = Key::of_query(domain, protocol, u32::from(s), u32::from(d), query);
                (FlowKey::V4(key), end)
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let (key, end) = Key::of_query(domain, protocol, u128::from(s), u128::from(d), query);
                (FlowKey::V6(key), end)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!("a packet has addresses of one family")
            }
        }
    }

    /// IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self {
            FlowKey::V4(k) => k.protocol,
            FlowKey::V6(k) => k.protocol,
        }
    }

    /// What the ports mean.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self {
            FlowKey::V4(k) => k.kind,
            FlowKey::V6(k) => k.kind,
        }
    }

    /// The address of an end.
    #[must_use]
    pub fn address(&self, end: End) -> IpAddr {
        match (self, end) {
            (FlowKey::V4(k), End::First) => IpAddr::V4(Ipv4Addr::from(k.first)),
            (FlowKey::V4(k), End::Second) => IpAddr::V4(Ipv4Addr::from(k.second)),
            (FlowKey::V6(k), End::First) => IpAddr::V6(Ipv6Addr::from(k.first)),
            (FlowKey::V6(k), End::Second) => IpAddr::V6(Ipv6Addr::from(k.second)),
        }
    }

    /// The port of an end; of an ICMP query, the identifier at the first end.
    #[must_use]
    pub fn port(&self, end: End) -> u16 {
        match (self, end) {
            (FlowKey::V4(k), End::First) => k.first_port,
            (FlowKey::V4(k), End::Second) => k.second_port,
            (FlowKey::V6(k), End::First) => k.first_port,
            (FlowKey::V6(k), End::Second) => k.second_port,
        }
    }

    /// The (source, destination) ports that policy sees for a packet that `opener` sends: the ports, or for
    /// an ICMP query 0 and `type * 256` of its request (see [`crate::policy::Service`]).
    #[must_use]
    pub fn policy_ports(&self, opener: End) -> (u16, u16) {
        let request: u8 = match self.kind() {
            KeyKind::Ports => return (self.port(opener), self.port(opener.other())),
            KeyKind::Echo if self.protocol() == 58 => 128,
            KeyKind::Echo => 8,
            KeyKind::Timestamp => 13,
            KeyKind::Information => 15,
            KeyKind::Mask => 17,
        };
        (0, u16::from_be_bytes([request, 0]))
    }
}

impl fmt::Display for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}:{} <> {}:{}",
            self.protocol(),
            self.address(End::First),
            self.port(End::First),
            self.address(End::Second),
            self.port(End::Second)
        )
    }
}
