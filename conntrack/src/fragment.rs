//! Virtual reassembly: datagrams that come in fragments, watched but never put together.
//!
//! The first fragment is judged like any packet, and those behind it follow its fate. What comes before its first is
//! held, as a copy, within a budget; nothing is held for long, and nothing in a port's own memory. The bytes of a
//! datagram are only counted, never compared: whoever sends a byte twice gets nothing more of that datagram
//! through (RFC 5722, RFC 1858, RFC 3128).
//!
//! ```text
//!               +--- fragment before its first: held ---+
//!               v                                       |
//!   (none) --> early --- first ---> judged --- all bytes seen ---> (none)
//!     |          |                    |
//!     |          +---- overlap ... ---+---> dead ----+
//!     |          |                    |              |
//!     +<---------+----- timeout ------+--------------+
//! ```
//!
//! What is kept of a datagram, and of its held frames, is limited to [`BUDGET`] bytes in all and [`SHARE`] bytes for
//! each source. Where that is used up, the newcomer is refused; only a first fragment, behind which a flow may
//! stand, may take the place of the oldest datagram that has no first.
//!
//! This module knows no packets: [`Place`] is where a fragment lies, and what its fate is and where a held frame
//! came from are the caller's types.

mod hold;
mod key;
mod order;
mod span;
mod table;

#[cfg(test)]
mod tests;

pub use key::DatagramKey;
pub use span::{Extents, Fit, MOST, Place};
pub use table::{DatagramId, Examined, Fallen, Held, Statistics, Table};

/// Bytes that a worker spends on fragments: records of datagrams and held frames together.
pub const BUDGET: usize = 1 << 20;
/// Of these, the bytes that one source may take.
pub const SHARE: u32 = (BUDGET / 8) as u32;
