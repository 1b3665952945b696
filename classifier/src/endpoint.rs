//! What a rule looks at: the two endpoints of a packet and the service that it asks for.
//!
//! Finding these out (which VLAN a packet leaves on, whether a MAC takes part) is the pipeline's business.

use crate::addr::{Mac, VlanKey};
use std::net::IpAddr;

/// One end of a packet, as far as it is known.
///
/// A source has all three. A destination on a routed path has no MAC, since it is judged before any
/// neighbour is resolved; a `mac:` condition never holds there. Where the VLAN is not known (`bulkhead why`
/// without `@VLAN`), no `vlan:` condition holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Ingress VLAN of a source, egress VLAN of a destination.
    pub vlan: Option<VlanKey>,
    /// The station's MAC, where it counts.
    pub mac: Option<Mac>,
    /// The IP address.
    pub address: IpAddr,
}

/// What a packet asks for: its IP protocol and ports.
///
/// ICMP and ICMPv6 have source port 0 and destination port `type * 256 + code`; protocols without ports
/// have 0 for both (see [`crate::policy::Service`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServicePacket {
    /// IP protocol number.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port, or ICMP type and code.
    pub destination_port: u16,
}
