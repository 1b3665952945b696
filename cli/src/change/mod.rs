//! Changes of the configuration of a running gateway: seen before they are made, kept, and taken back.
//!
//! ```text
//!  state folder
//!   versions/000007.json   every configuration that was in force, whole
//!   current.json           which one is, and whether that is confirmed
//!   overlay.json           what was done beside the files: members, quarantine, modes
//!   history.jsonl          who changed what and when: a chain of hashes that only grows
//! ```
//!
//! The order of writing is such that the process may be killed at any moment: first the version, then what is
//! current, then the history; and what is current but not confirmed is taken back at the next start.

mod diff;
mod history;
mod in_place;
mod keeper;
mod overlay;
mod versions;

pub use diff::{Difference, TextDiff, compare, compare_text};
pub use history::{Entry, History, Note, VerifyError, verify};
pub use in_place::{Anew, InPlace, Layers};
pub use keeper::{Action, Keeper, KeeperError, Started};
pub use overlay::{Act, Deed, Overlay, quarantine_ids, range};
pub use versions::{Current, Pending, Version, Versions};
