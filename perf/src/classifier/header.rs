//! What is looked up: addresses, protocol and ports of a packet, in blocks of one family.

use classifier::addr::{Mac, PortId, VlanKey};
use classifier::endpoint::{Endpoint, ServicePacket};
use std::net::IpAddr;

/// Headers that are looked up together: a batch of the engine, whose lanes are taken family by family.
pub(crate) const BLOCK: usize = 64;
/// Where sources are: a station and a VLAN of which no generated policy speaks.
pub(crate) const SOURCE_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x0a]);

/// The VLAN of all sources.
pub(crate) fn ingress() -> VlanKey {
    VlanKey::new(PortId(0), 10)
}

/// The VLAN of all destinations.
pub(crate) fn egress() -> VlanKey {
    VlanKey::new(PortId(0), 20)
}

pub(crate) use classifier::tables::Query as Header;

/// A header between two addresses.
pub(crate) fn between<A>(source: A, destination: A, packet: ServicePacket) -> Header<A> {
    let ServicePacket { protocol, source_port, destination_port } = packet;
    Header { source, destination, source_port, destination_port, protocol }
}

/// The ends as the reference wants them: a routed destination has no MAC.
pub(crate) fn ends(header: &Header<IpAddr>) -> (Endpoint, Endpoint) {
    let source = Endpoint { vlan: Some(ingress()), mac: Some(SOURCE_MAC), address: header.source };
    let destination = Endpoint { vlan: Some(egress()), mac: None, address: header.destination };
    (source, destination)
}

/// What the header asks for.
pub(crate) fn packet<A>(header: &Header<A>) -> ServicePacket {
    ServicePacket {
        protocol: header.protocol,
        source_port: header.source_port,
        destination_port: header.destination_port,
    }
}

/// The same header with addresses of another type.
pub(crate) fn convert<A: Copy, B>(header: &Header<A>, convert: impl Fn(A) -> B) -> Header<B> {
    between(convert(header.source), convert(header.destination), packet(header))
}

/// The family of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Headers in the order in which they are looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Headers {
    /// Those of IPv4: whole blocks.
    pub(crate) v4: Vec<Header<u32>>,
    /// Those of IPv6: whole blocks.
    pub(crate) v6: Vec<Header<u128>>,
    /// Of which family the first, second, … block is.
    pub(crate) order: Vec<Family>,
}

/// A block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Block<'a> {
    /// Of IPv4.
    V4(&'a [Header<u32>]),
    /// Of IPv6.
    V6(&'a [Header<u128>]),
}

impl Headers {
    /// How many headers there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len() * BLOCK
    }

    /// The blocks, in order.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        let (mut v4, mut v6) = (self.v4.chunks_exact(BLOCK), self.v6.chunks_exact(BLOCK));
        self.order.iter().map(move |family| match family {
            Family::V4 => Block::V4(v4.next().expect("as many blocks as the order names")),
            Family::V6 => Block::V6(v6.next().expect("as many blocks as the order names")),
        })
    }

    /// The header of that place in the order.
    pub(crate) fn get(&self, at: usize) -> Header<IpAddr> {
        let (block, lane) = (at / BLOCK, at % BLOCK);
        let family = self.order[block];
        let before = self.order[..block].iter().filter(|other| **other == family).count();
        let at = before * BLOCK + lane;
        match family {
            Family::V4 => convert(&self.v4[at], |address| IpAddr::V4(address.into())),
            Family::V6 => convert(&self.v6[at], |address| IpAddr::V6(address.into())),
        }
    }
}
