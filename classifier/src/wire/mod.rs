//! Read-only views of what a frame holds.

mod transport;

pub use transport::{Icmp, QuotedPacket, SctpChunk, SctpPacket, TcpFlags, TcpSegment, Transport, protocol};
