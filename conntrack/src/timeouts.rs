//! The configured timeouts, as the packet path uses them.

use crate::config::Timeouts;
use crate::entry::Body;
use crate::flood;
use crate::moment::Span;
use crate::state::State;
use classifier::wire::protocol;

/// [`Timeouts`] in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Spans {
    /// By [`State`], for the states that have one timeout whatever the protocol.
    by_state: [Span; 16],
    syn_sent: Span,
    /// TCP data that stays unacknowledged.
    pub(crate) unacknowledged: Span,
    udp: Span,
    udp_stream: Span,
    icmp: Span,
    gre: Span,
    esp: Span,
    other: Span,
}

impl Spans {
    /// Converts the configuration.
    pub(crate) fn new(timeouts: &Timeouts) -> Spans {
        let by_state = State::ALL.map(|state| {
            Span::of(match state {
                State::SynSent | State::SimultaneousSyn => timeouts.tcp_syn_sent,
                State::SynReceived => timeouts.tcp_syn_recv,
                State::Established => timeouts.tcp_established,
                State::FinWait => timeouts.tcp_fin_wait,
                State::CloseWait => timeouts.tcp_close_wait,
                State::LastAck => timeouts.tcp_last_ack,
                State::TimeWait => timeouts.tcp_time_wait,
                State::Closed => timeouts.tcp_close,
                State::OneWay | State::TwoWay => timeouts.other,
                State::SctpInit | State::SctpEchoed | State::SctpShutdown => timeouts.sctp_setup,
                State::SctpEstablished => timeouts.sctp_established,
                State::SctpClosed => timeouts.sctp_close,
            })
        });
        Spans {
            by_state,
            syn_sent: Span::of(timeouts.tcp_syn_sent),
            unacknowledged: Span::of(timeouts.tcp_unacknowledged),
            udp: Span::of(timeouts.udp),
            udp_stream: Span::of(timeouts.udp_stream),
            icmp: Span::of(timeouts.icmp),
            gre: Span::of(timeouts.gre),
            esp: Span::of(timeouts.esp),
            other: Span::of(timeouts.other),
        }
    }

    /// Gives half-open connections less time to be answered, or as much again as is configured.
    pub(crate) fn shorten(&mut self, is_flood: bool) {
        let span = if is_flood { self.syn_sent.min(Span::of(flood::SYN_SENT)) } else { self.syn_sent };
        self.by_state[State::SynSent as usize] = span;
        self.by_state[State::SimultaneousSyn as usize] = span;
    }

    /// How long a flow of this protocol may be idle in the state that it is in. The rule's `idle_timeout`
    /// replaces it in every state but those in which a TCP connection begins or ends, and an SCTP association
    /// that has ended.
    pub(crate) fn idle(&self, ip_protocol: u8, body: &Body) -> Span {
        let state = body.state();
        match state {
            State::Established
            | State::SctpInit
            | State::SctpEchoed
            | State::SctpEstablished
            | State::SctpShutdown => body.idle_timeout().unwrap_or(self.by_state[state as usize]),
            State::TwoWay => body.idle_timeout().unwrap_or(match ip_protocol {
                protocol::UDP => self.udp_stream,
                _ => self.one_way(ip_protocol),
            }),
            State::OneWay => body.idle_timeout().unwrap_or(self.one_way(ip_protocol)),
            State::SynSent
            | State::SimultaneousSyn
            | State::SynReceived
            | State::FinWait
            | State::CloseWait
            | State::LastAck
            | State::TimeWait
            | State::Closed
            | State::SctpClosed => self.by_state[state as usize],
        }
    }

    /// The same for a TCP connection that is established.
    #[inline]
    pub(crate) fn established(&self, body: &Body) -> Span {
        body.idle_timeout().unwrap_or(self.by_state[State::Established as usize])
    }

    /// The same for a flow of UDP.
    #[inline]
    pub(crate) fn datagram(&self, body: &Body) -> Span {
        let span = if body.is_answered() { self.udp_stream } else { self.udp };
        body.idle_timeout().unwrap_or(span)
    }

    fn one_way(&self, ip_protocol: u8) -> Span {
        match ip_protocol {
            protocol::UDP => self.udp,
            protocol::ICMP | protocol::ICMPV6 => self.icmp,
            protocol::GRE => self.gre,
            protocol::ESP => self.esp,
            _ => self.other,
        }
    }
}
