//! Where a flow stands, over all protocols, and what that means when the table is full.

/// The state of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// TCP: the opener's SYN was seen.
    SynSent = 0,
    /// TCP: both sides sent a SYN (only with `simultaneous_open`).
    SimultaneousSyn = 1,
    /// TCP: the SYN-ACK was seen.
    SynReceived = 2,
    /// TCP: the handshake is done, or the flow was taken up in mid-stream.
    Established = 3,
    /// TCP: one side sent its FIN.
    FinWait = 4,
    /// TCP: that FIN is acknowledged.
    CloseWait = 5,
    /// TCP: both sides sent their FINs.
    LastAck = 6,
    /// TCP: both FINs are acknowledged.
    TimeWait = 7,
    /// TCP: reset.
    Closed = 8,
    /// UDP, ICMP queries and protocols without ports: only the opener was heard.
    OneWay = 9,
    /// UDP, ICMP queries and protocols without ports: both sides were heard.
    TwoWay = 10,
    /// SCTP: INIT, and perhaps INIT ACK, seen.
    SctpInit = 11,
    /// SCTP: COOKIE ECHO seen.
    SctpEchoed = 12,
    /// SCTP: COOKIE ACK seen.
    SctpEstablished = 13,
    /// SCTP: SHUTDOWN or SHUTDOWN ACK seen.
    SctpShutdown = 14,
    /// SCTP: SHUTDOWN COMPLETE or ABORT seen.
    SctpClosed = 15,
}

/// How much a flow is worth when the table is full (TRACKING.md Z05).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// On its way out: the first to go.
    Closing,
    /// Half-open, or never replied to: the oldest of a sample goes.
    HalfOpen,
    /// Never evicted.
    Settled,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [State; 16] = [
        State::SynSent,
        State::SimultaneousSyn,
        State::SynReceived,
        State::Established,
        State::FinWait,
        State::CloseWait,
        State::LastAck,
        State::TimeWait,
        State::Closed,
        State::OneWay,
        State::TwoWay,
        State::SctpInit,
        State::SctpEchoed,
        State::SctpEstablished,
        State::SctpShutdown,
        State::SctpClosed,
    ];

    /// The name that a person is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::SynSent => "syn-sent",
            State::SimultaneousSyn => "simultaneous-syn",
            State::SynReceived => "syn-received",
            State::Established | State::SctpEstablished => "established",
            State::FinWait => "fin-wait",
            State::CloseWait => "close-wait",
            State::LastAck => "last-ack",
            State::TimeWait => "time-wait",
            State::Closed | State::SctpClosed => "closed",
            State::OneWay => "one-way",
            State::TwoWay => "two-way",
            State::SctpInit => "init",
            State::SctpEchoed => "cookie-echoed",
            State::SctpShutdown => "shutdown",
        }
    }

    /// The class of a flow in this state. A TCP flow that was taken up in mid-stream is established only once
    /// it is assured (TRACKING.md §1.5).
    pub(crate) const fn class(self, is_assured: bool) -> Class {
        match self {
            State::LastAck | State::TimeWait | State::Closed | State::SctpClosed => Class::Closing,
            State::SynSent | State::SimultaneousSyn | State::SynReceived => Class::HalfOpen,
            State::OneWay | State::SctpInit | State::SctpEchoed => Class::HalfOpen,
            State::Established | State::FinWait | State::CloseWait => {
                if is_assured {
                    Class::Settled
                } else {
                    Class::HalfOpen
                }
            }
            State::TwoWay | State::SctpEstablished | State::SctpShutdown => Class::Settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_found_under_its_number() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
        }
    }
}
