//! A flow as the rest of the gateway sees it.

use crate::entry::Body;
use crate::peers::Side;
use crate::state::State;
use crate::terms::{Epoch, RuleKey};
use classifier::addr::{Mac, VlanKey};
use classifier::flow::{End, FlowKey};
use std::time::Duration;

/// A flow in the table. It stays good until the next call of [`crate::Tracker::track`], `open`, `advance` or
/// `remove`: each of these may end a flow and give its place to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId(u32);

const V6: u32 = 1 << 31;

impl FlowId {
    pub(crate) fn v4(slot: u32) -> FlowId {
        FlowId(slot)
    }

    pub(crate) fn v6(slot: u32) -> FlowId {
        FlowId(slot | V6)
    }

    pub(crate) fn is_v6(self) -> bool {
        self.0 & V6 != 0
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 & !V6
    }
}

/// What the verdict on a packet of a flow needs; [`FlowView`] has all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The VLAN that the opener is on.
    pub opener_vlan: VlanKey,
    /// The VLAN that the other end is on; `None` while that is not known.
    pub responder_vlan: Option<VlanKey>,
    /// The rule that let the flow in; `None`: the default did.
    pub rule: Option<RuleKey>,
    /// The policy that it was last judged under.
    pub epoch: Epoch,
}

/// What the table knows of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowView {
    /// The key.
    pub key: FlowKey,
    /// The end that opened the flow.
    pub opener: End,
    /// The VLAN that the opener is on.
    pub opener_vlan: VlanKey,
    /// The VLAN that the other end is on; `None` while a stitched destination MAC is not learned.
    pub responder_vlan: Option<VlanKey>,
    /// The MAC that the first packet came from.
    pub opener_mac: Mac,
    /// The rule that let the flow in; `None`: the default did.
    pub rule: Option<RuleKey>,
    /// The policy that it was last judged under.
    pub epoch: Epoch,
    /// Where it stands.
    pub state: State,
    /// How long ago it was opened, modulo 49 days.
    pub age: Duration,
    /// When it ends if nothing more is heard of it.
    pub expires_in: Duration,
}

impl FlowView {
    pub(crate) fn of(key: FlowKey, body: &Body, age: Duration, expires_in: Duration) -> FlowView {
        FlowView {
            key,
            opener: body.opener(),
            opener_vlan: body.vlan(Side::Opener).expect("the opener's VLAN is always known"),
            responder_vlan: body.vlan(Side::Responder),
            opener_mac: body.opener_mac(),
            rule: body.rule(),
            epoch: body.epoch(),
            state: body.state(),
            age,
            expires_in,
        }
    }
}
