//! On what terms the policy lets a flow in.

use classifier::addr::VlanKey;
use std::time::Duration;

/// A generation of the policy. A flow remembers the one that it was last judged under.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Epoch(pub u32);

/// The stable, interned identity of a rule: the same before and after a change of policy. Below `u32::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct RuleKey(pub u32);

/// What the policy said of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The policy that was asked.
    pub epoch: Epoch,
    /// The rule that decided; `None`: the default did.
    pub rule: Option<RuleKey>,
    /// Replaces the timeout of an established TCP connection (those of setup and closing stay), of an SCTP
    /// association until it has ended, and of any flow of another protocol. Rounded up to whole seconds.
    pub idle_timeout: Option<Duration>,
    /// How many flows the rule may have at once.
    pub max_flows: Option<u32>,
    /// The VLAN that the flow's first packet leaves on; `None` while that is not known.
    pub responder_vlan: Option<VlanKey>,
}
