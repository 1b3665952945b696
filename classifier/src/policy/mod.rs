//! The policy as it is meant: segments, services, tiers and rules, all references resolved.
//!
//! [`PolicyBuilder`] is the only way to a [`Policy`], and refuses one that is not valid. The meaning of a
//! policy is defined by the linear scan in `reference`, and nowhere else.

mod builder;
mod list;
mod model;
mod position;

pub use builder::{PolicyBuilder, PolicyError};
pub use list::{Iter, List};
pub use model::{
    Action, DefaultAction, EndpointSet, Established, Member, Mode, Policy, PortRange, Rule, RuleId, Segment,
    SegmentId, Selector, Service, TierId, Timestamp,
};
pub use position::Place;
pub(crate) use position::{Position, REMOVED, SUSPENDED};
