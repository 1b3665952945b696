//! The short way of a packet that begins a flow: a UDP datagram, or a SYN, whose key is not in the table.
//!
//! ```text
//!   hash --> candidate: None --> knows: no --> Beginning --> begin --> Entrance
//! ```
//!
//! It does what [`Tracker::track`] and [`Tracker::open`] would do, and hashes and looks nothing up a second time.

use super::Tracker;
use super::express::{Entrance, Family, Settled};
use crate::entry::Body;
use crate::hash::FlowHash;
use crate::index::Place;
use crate::peers::{Peers, Side};
use crate::state::State;
use crate::tcp;
use crate::terms::Terms;
use classifier::addr::{Mac, VlanKey};
use classifier::flow::{End, Key};
use classifier::reason::DropReason;
use classifier::wire::TcpSegment;

/// What an ordinary first packet says of its flow.
#[derive(Clone, Copy, Debug)]
pub struct Beginning {
    state: State,
    peers: Peers,
}

impl Beginning {
    /// Of a UDP datagram.
    #[must_use]
    #[inline]
    pub fn of_datagram() -> Beginning {
        Beginning { state: State::OneWay, peers: Peers::default() }
    }

    /// Of a segment with SYN, and neither ACK, FIN, RST nor URG; `None` where its options are malformed.
    #[must_use]
    #[inline]
    pub fn of_syn(segment: &TcpSegment<'_>) -> Option<Beginning> {
        Some(Beginning { state: State::SynSent, peers: tcp::first_peers(segment).ok()? })
    }
}

impl Tracker {
    /// Whether the table has a flow of a key, be its time over or not.
    #[must_use]
    pub fn knows<A: Family>(&self, key: &Key<A>, hash: u64) -> bool {
        A::table(self).find(hash, key).is_some()
    }

    /// Asks the CPU for the memory in which openings are remembered, where they are: during a flood.
    #[inline]
    pub fn prefetch_opening(&self, hash: u64) {
        self.flood.prefetch(FlowHash::V4(hash));
    }

    /// Enters the flow that a packet begins, whose key has that hash and place ([`Tracker::prefetch_index`]), and which `sender` has sent by a VLAN and from a MAC, on the policy's terms; more
    /// packets of its kind may take the short way. The table must not know its key ([`Tracker::knows`]), the terms have no
    /// `max_flows`, and the responder's VLAN is known.
    ///
    /// # Errors
    /// Why there is no room: `flow-table-full` or `segment-limit`.
    #[inline]
    pub fn begin<A: Family>(
        &mut self,
        now: Settled,
        (key, hash, place): (&Key<A>, u64, Place),
        sender: End,
        (vlan, mac): (VlanKey, Mac),
        beginning: &Beginning,
        terms: &Terms,
    ) -> Result<Entrance, DropReason> {
        debug_assert!(!self.knows(key, hash) && terms.max_flows.is_none() && terms.responder_vlan.is_some());
        let body = Body::new(sender, vlan, mac, beginning.state, beginning.peers);
        let slot = self.enter_flow(now.tick, (*key, hash, place), body, terms, false)?;
        A::parts(self).0.body_mut(slot).set_passed(Side::Opener);
        Ok(Entrance { slot, side: Side::Opener, rule: terms.rule })
    }
}
