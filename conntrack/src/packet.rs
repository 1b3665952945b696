//! What the tracker is given, and what it answers.

use crate::peers::Peers;
use crate::state::State;
use crate::view::FlowId;
use classifier::addr::{Mac, VlanKey};
use classifier::flow::{End, FlowKey};
use classifier::reason::DropReason;
use classifier::wire::Transport;

/// A packet that is fit to be judged: parsed, and past every check that comes before the flow table.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its flow's key. Of an ICMP message that is no query, it is not looked at.
    pub key: FlowKey,
    /// The end that sent it.
    pub sender: End,
    /// The VLAN that it came in on.
    pub vlan: VlanKey,
    /// Its source MAC.
    pub source_mac: Mac,
    /// What stands above IP.
    pub transport: Transport<'a>,
}

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Relation {
    /// The opener's direction.
    Established,
    /// The other one.
    Reply,
}

/// What a packet gets.
#[derive(Clone, Copy, Debug)]
pub enum Tracked {
    /// It is dropped: `ct-invalid`, or `tcp-flags` and `malformed-l4` where the parser was lenient.
    Drop(DropReason),
    /// It belongs to a live flow and may go on that flow's verdict. State and timer have moved, or not, as the
    /// rules say.
    Flow {
        /// The flow. Where this packet ended it (an RST that answers a SYN), it can still be looked at, and
        /// the next packet does not find it any more.
        flow: FlowId,
        /// Which way the packet goes.
        relation: Relation,
    },
    /// It is an ICMP error about a packet of a live flow.
    Related {
        /// The flow.
        flow: FlowId,
    },
    /// It may begin a flow: the policy is to be asked, in this packet's direction, and then
    /// [`crate::Tracker::open`]. Until then nothing has changed.
    New(Opening),
}

/// A flow that a packet would begin.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub(crate) key: FlowKey,
    pub(crate) opener: End,
    pub(crate) vlan: VlanKey,
    pub(crate) source_mac: Mac,
    pub(crate) replaces: bool,
    pub(crate) is_midstream: bool,
    pub(crate) state: State,
    pub(crate) peers: Peers,
}

impl Opening {
    /// A flow that `packet` would begin.
    pub(crate) fn of(packet: &Packet<'_>, state: State, peers: Peers) -> Opening {
        Opening {
            key: packet.key,
            opener: packet.sender,
            vlan: packet.vlan,
            source_mac: packet.source_mac,
            replaces: false,
            is_midstream: false,
            state,
            peers,
        }
    }

    /// The key of the flow.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The end that opens it.
    #[must_use]
    pub fn opener(&self) -> End {
        self.opener
    }

    /// Whether a flow that is closing makes way for it.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// Whether it is taken up in mid-stream (`pickup`). Its first packet may be the responder's, so where the
    /// policy denies it in this packet's direction, the other is to be asked too, and if that is allowed
    /// [`Opening::reversed`] is to be opened.
    #[must_use]
    pub fn is_midstream(&self) -> bool {
        self.is_midstream
    }

    /// The same flow, opened by the other end: `vlan` and `source_mac` are that end's. The terms'
    /// `responder_vlan` is then the one that this packet came in on.
    #[must_use]
    pub fn reversed(self, vlan: VlanKey, source_mac: Mac) -> Opening {
        Opening { opener: self.opener.other(), vlan, source_mac, peers: self.peers.reversed(), ..self }
    }
}
