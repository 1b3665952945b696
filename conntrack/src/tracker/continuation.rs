//! Packets that come in fragments: the first moves its flow like any packet, and those behind it move nothing, but
//! that of a TCP segment they bring the bytes that the other side will acknowledge.

use super::Tracker;
use crate::peers::{Side, UNACKED};
use crate::state::State;
use crate::time::Tick;
use crate::view::FlowId;
use classifier::flow::{End, FlowKey};

impl Tracker {
    /// The live flow of a key, without a packet of it.
    pub fn live(&mut self, now: Tick, key: &FlowKey) -> Option<FlowId> {
        let now = self.clock(now);
        self.find(now, key)
    }

    /// A TCP segment whose first fragment was let through has sent up to `end`, one past its last sequence
    /// number. Without it the acknowledgment of the whole would be one of bytes that were never sent (rule III).
    pub fn extend(&mut self, flow: FlowId, sender: End, end: u32) {
        let body = self.body_mut(flow);
        let is_open = match body.state() {
            State::SynSent
            | State::SimultaneousSyn
            | State::SynReceived
            | State::Established
            | State::FinWait
            | State::CloseWait
            | State::LastAck
            | State::TimeWait
            | State::Closed => true,
            State::OneWay
            | State::TwoWay
            | State::SctpInit
            | State::SctpEchoed
            | State::SctpShutdown
            | State::SctpEstablished
            | State::SctpClosed => false,
        };
        if !is_open {
            return;
        }
        let side = if body.opener() == sender { Side::Opener } else { Side::Responder };
        let peer = body.peers.side_mut(side);
        if peer.end.wrapping_sub(end).cast_signed() < 0 {
            peer.end = end;
            body.peers.set(side, UNACKED);
        }
    }
}
