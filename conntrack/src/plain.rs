//! UDP, ICMP queries and protocols without ports: a flow is heard from one side, then from both.
//!
//! ```text
//!  opener's packet --> OneWay --reply--> TwoWay
//!                       ^  |              ^  |
//!                       +--+ opener       +--+ either
//! ```

use crate::entry::Body;
use crate::packet::{Opening, Packet};
use crate::peers::{Peers, Side};
use crate::state::State;
use crate::step::Step;
use classifier::wire::{Icmp, Transport};

/// What a packet of no known flow begins: of ICMP queries only the request does.
pub(crate) fn open(packet: &Packet<'_>) -> Option<Opening> {
    if let Transport::Icmp(Icmp::Query(query)) = packet.transport
        && !query.is_request
    {
        return None;
    }
    Some(Opening::of(packet, State::OneWay, Peers::default()))
}

/// A packet of a known flow.
pub(crate) fn step(body: &mut Body, side: Side) -> Step {
    if side == Side::Responder && body.state() == State::OneWay {
        body.set_state(State::TwoWay);
        body.set_assured(true);
    }
    Step::Update { at_most: None }
}
