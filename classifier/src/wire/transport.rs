//! What the connection tracker needs to know of a packet above IP.

use crate::flow::{End, FlowKey, Query};

/// IP protocol numbers (IANA protocol-numbers) that the gateway knows by name.
pub mod protocol {
    /// Internet Control Message (RFC 792).
    pub const ICMP: u8 = 1;
    /// Transmission Control (RFC 9293).
    pub const TCP: u8 = 6;
    /// User Datagram (RFC 768).
    pub const UDP: u8 = 17;
    /// Generic Routing Encapsulation (RFC 2784).
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission (RFC 9260).
    pub const SCTP: u8 = 132;
}

/// The control bits of a TCP header (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronize sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment field is significant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u8 = 0x20;

    /// FIN is set.
    #[must_use]
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }

    /// SYN is set.
    #[must_use]
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }

    /// RST is set.
    #[must_use]
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }

    /// ACK is set.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }

    /// Whether a real stack sends this combination; PSH, ECE and CWR are not looked at.
    /// Legal are SYN, SYN-ACK, RST, RST-ACK, FIN-ACK, FIN-ACK-URG, ACK and ACK-URG.
    #[must_use]
    pub const fn are_legal(self) -> bool {
        const SYN_ACK: u8 = TcpFlags::SYN | TcpFlags::ACK;
        const RST_ACK: u8 = TcpFlags::RST | TcpFlags::ACK;
        const FIN_ACK: u8 = TcpFlags::FIN | TcpFlags::ACK;
        const FIN_ACK_URG: u8 = FIN_ACK | TcpFlags::URG;
        const ACK_URG: u8 = TcpFlags::ACK | TcpFlags::URG;
        matches!(
            self.0 & (Self::FIN | Self::SYN | Self::RST | Self::ACK | Self::URG),
            Self::SYN | SYN_ACK | Self::RST | RST_ACK | FIN_ACK | FIN_ACK_URG | Self::ACK | ACK_URG
        )
    }
}

impl std::fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (bit, letter) in "FSRPAUEC".chars().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A TCP header that is whole and legal.
#[derive(Clone, Copy, Debug)]
pub struct TcpSegment<'a> {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number; meaningless without ACK.
    pub acknowledgment: u32,
    /// The window field, unscaled.
    pub window: u16,
    /// The options, as they stand in the header.
    pub options: &'a [u8],
    /// Bytes of payload behind the header.
    pub payload_length: u16,
}

/// A chunk type that moves the state of an SCTP association (RFC 9260 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SctpChunk {
    /// INIT, with the tag that the other side shall use.
    Init(u32),
    /// INIT ACK, with the tag that the other side shall use.
    InitAck(u32),
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// ABORT.
    Abort,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// DATA and all else.
    Other,
}

/// An SCTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SctpPacket {
    /// The verification tag of the common header.
    pub tag: u32,
    /// The first chunk.
    pub first: SctpChunk,
    /// Whether there is no other chunk.
    pub is_only_chunk: bool,
    /// The T bit of an ABORT or SHUTDOWN COMPLETE: the tag is the sender's peer's own.
    pub is_tag_reflected: bool,
}

/// The packet that an ICMP error quotes, as far as it can be tied to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuotedPacket {
    /// Its key.
    pub key: FlowKey,
    /// The end that had sent it: the error must go there.
    pub sender: End,
    /// Its TCP sequence number.
    pub tcp_sequence: Option<u32>,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Icmp {
    /// Echo, timestamp, information or mask, request or reply.
    Query(Query),
    /// An error whose quotation is sound and addressed to the quoted sender. `None`: it is not.
    Error(Option<QuotedPacket>),
    /// Neither query nor error.
    Other,
}

/// What stands above IP.
#[derive(Clone, Copy, Debug)]
pub enum Transport<'a> {
    /// TCP.
    Tcp(TcpSegment<'a>),
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp(Icmp),
    /// SCTP.
    Sctp(SctpPacket),
    /// Any other protocol.
    Other,
}
