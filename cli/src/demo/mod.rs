//! `bulkhead demo`: three hosts in network namespaces, the gateway between them on AF_XDP, and what it makes of
//! their traffic, good and bad.
//!
//! [`script`] says what is tried and what the policy has to say to it, [`stage`] is where, [`scene`] tries one
//! thing, and [`show`] is what a person sees. Nothing is left behind, however it ends.

mod forgery;
mod scene;
mod script;
mod show;
mod stage;

pub use scene::{Observed, Saw, Seen};
pub use script::{Attempt, Expected, Family, Scene, script};
pub use show::{Show, to_json};
pub use stage::{Role, SetUpError, Stage};
