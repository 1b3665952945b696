//! Read-only views of what a frame holds.
//!
//! [`Packet::parse`] is a lean extractor for the packet path; it is tested against etherparse's checked slices.
//! In the order of a frame: link header and tags, ARP or IP, the layer above.

pub mod arp;
pub mod checksum;
mod faults;
pub mod ipv4;
pub mod ipv6;
pub mod link;
pub mod ndp;
mod packet;
mod quote;
mod transport;
mod upper;

pub use faults::Faults;
pub use packet::{Addresses, Fragment, Kind, Packet, Upper};
pub use transport::{Icmp, QuotedPacket, SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol};
