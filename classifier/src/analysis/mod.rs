//! Reasoning over policies: why a flow gets what it gets, and what would let it in.
//!
//! All of it is slow and exact: it evaluates with [`crate::reference`] and never guesses.

mod change;
mod explanation;
mod nearest;
mod walk;

pub use change::{Change, Side};
pub use explanation::{Explanation, explain};
pub use nearest::{NearestAllow, nearest_allow};
pub use walk::{Step, TierEnd, TierWalk, walk};
