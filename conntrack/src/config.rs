//! `[conntrack]`: how flows are tracked.

use std::time::Duration;

/// Whether TCP flows are taken up in mid-stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pickup {
    /// Never: a TCP flow begins with a SYN.
    Strict,
    /// For this long after a start.
    Grace(Duration),
    /// Always.
    Always,
}

/// Idle timeouts by state. Each is longer than zero and at most [`Timeouts::LIMIT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP: SYN seen.
    pub tcp_syn_sent: Duration,
    /// TCP: SYN-ACK seen.
    pub tcp_syn_recv: Duration,
    /// TCP: established.
    pub tcp_established: Duration,
    /// TCP: data that stays unacknowledged, or is sent again and again.
    pub tcp_unacknowledged: Duration,
    /// TCP: one FIN seen.
    pub tcp_fin_wait: Duration,
    /// TCP: the FIN is acknowledged.
    pub tcp_close_wait: Duration,
    /// TCP: both FINs seen.
    pub tcp_last_ack: Duration,
    /// TCP: both FINs acknowledged.
    pub tcp_time_wait: Duration,
    /// TCP: reset.
    pub tcp_close: Duration,
    /// UDP: one direction seen.
    pub udp: Duration,
    /// UDP: both directions seen.
    pub udp_stream: Duration,
    /// ICMP and ICMPv6 queries.
    pub icmp: Duration,
    /// SCTP: association being set up or shut down.
    pub sctp_setup: Duration,
    /// SCTP: established.
    pub sctp_established: Duration,
    /// SCTP: aborted or shut down.
    pub sctp_close: Duration,
    /// GRE.
    pub gre: Duration,
    /// ESP.
    pub esp: Duration,
    /// Any other protocol.
    pub other: Duration,
    /// An incomplete datagram in fragments.
    pub fragment: Duration,
}

impl Timeouts {
    /// The longest timeout that can be configured.
    pub const LIMIT: Duration = Duration::from_secs(10 * 86_400);
}

impl Default for Timeouts {
    /// TRACKING.md §1.6, column "ours".
    fn default() -> Self {
        let s = Duration::from_secs;
        Timeouts {
            tcp_syn_sent: s(20),
            tcp_syn_recv: s(30),
            tcp_established: s(7440),
            tcp_unacknowledged: s(300),
            tcp_fin_wait: s(120),
            tcp_close_wait: s(60),
            tcp_last_ack: s(30),
            tcp_time_wait: s(120),
            tcp_close: s(10),
            udp: s(30),
            udp_stream: s(180),
            icmp: s(30),
            sctp_setup: s(30),
            sctp_established: s(7440),
            sctp_close: s(10),
            gre: s(180),
            esp: s(180),
            other: s(120),
            fragment: s(5),
        }
    }
}

/// All of `[conntrack]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Most flows over all workers.
    pub max_flows: u32,
    /// Mid-stream pickup.
    pub pickup: Pickup,
    /// Whether both ends may open a TCP connection at once (RFC 9293 §3.5). Off: the split handshake is a known evasion.
    pub simultaneous_open: bool,
    /// Idle timeouts.
    pub timeouts: Timeouts,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_flows: 1_000_000,
            pickup: Pickup::Strict,
            simultaneous_open: false,
            timeouts: Timeouts::default(),
        }
    }
}
