//! The flow table and the connection tracker: what the gateway remembers.
//!
//! This crate is pure: no sockets, no files, no clocks. Time is an argument ([`time::Tick`]), and the only
//! randomness is the secret that [`Tracker::new`] is given.
//!
//! Invariants:
//! - All memory is taken in [`Tracker::new`] and [`Tracker::reserve_rules`], and
//!   [`Tracker::keep_ledger`] where flows are counted; nothing else allocates.
//! - A flow whose deadline has passed is never found, whether or not its timer has run.
//! - A packet that is forwarded without an update creates nothing, extends no timer and changes no state.
//! - A flow that is established is never evicted.

pub mod config;
pub mod fragment;
pub mod memory;
pub mod snapshot;
pub mod time;

mod entry;
mod evict;
mod flood;
mod hash;
mod index;
mod ledger;
mod limits;
mod moment;
mod packet;
mod peers;
mod plain;
mod related;
#[cfg(test)]
mod rig;
mod sctp;
mod state;
mod statistics;
mod step;
mod table;
mod tcp;
mod terms;
mod timeouts;
mod tracker;
mod view;
mod wheel;

pub use flood::FloodLevel;
pub use hash::FlowHash;
pub use index::Place;
pub use ledger::{EndReason, FlowReport, Passed};
pub use limits::LimitShare;
pub use packet::{Opening, Packet, Relation, Tracked};
pub use state::State;
pub use statistics::Statistics;
pub use tcp::{BadOptions, TcpOptions};
pub use terms::{Epoch, RuleKey, Terms};
pub use tracker::{Beginning, Entrance, Family, Settled, Tracker};
pub use view::{FlowId, FlowView, Standing};
