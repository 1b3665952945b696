//! The flow table as a file, so that a planned restart keeps what it knows.
//!
//! ```text
//!  +----------+------------------+------------------+----------+------+
//!  | preamble | IPv4 records     | IPv6 records     | preamble | tail |
//!  +----------+------------------+------------------+----------+------+
//!
//!  preamble (all numbers are little-endian, all CRCs are CRC-32C)
//!    0   8  magic "BULKFLOW"
//!    8   2  version, 1
//!   10   2  names of ports
//!   12   2  names of stitches
//!   14   2  zero
//!   16   4  names of rules
//!   20   4  bytes of all names
//!   24   8  IPv4 records
//!   32   8  IPv6 records
//!   40   8  when it was saved: ms since the Unix epoch
//!   48   8  the same since the machine was started
//!   56  16  which start of the machine that was
//!   72   4  CRC of the configuration's text
//!   76   4  CRC of the names
//!   80   4  CRC of bytes 0 to 79
//!   84      names: of ports, stitches, rules; each two bytes of length and its UTF-8
//!
//!  tail
//!    0   4  length of the preamble
//!    4   4  CRC of bytes 0 to 3
//! ```
//!
//! Records are [`record`]'s. Every one has its own CRC, and the preamble stands there twice, so that a byte that
//! has changed costs one record at most, and a file that was cut off is good up to the cut.
//!
//! Nothing in the file is a number that only the process that wrote it understands: ports, stitches and rules
//! are told by name, and times by what was left of them. No record is trusted: what it says must be a flow that
//! a tracker could have made, and whether the flow may be is for the policy in force to say.
//!
//! The crate still touches no file: it writes to and reads from what it is handed.

mod read;
mod record;
mod stamp;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Broken, Snapshot, Translation};
pub use record::FlowRecord;
pub use stamp::Stamp;
pub use write::write;

/// The first eight bytes of a preamble.
const MAGIC: [u8; 8] = *b"BULKFLOW";
/// What this program reads and writes.
const VERSION: u16 = 1;
/// Bytes of a preamble before its names.
const HEADER: usize = 84;
/// Bytes of the tail.
const TAIL: usize = 8;

/// The names behind the numbers of a process, in the order of those numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names<'a> {
    /// By port number.
    pub ports: Vec<&'a str>,
    /// By number of a stitch; its domain is one more.
    pub stitches: Vec<&'a str>,
    /// The ids of the rules, by [`crate::RuleKey`].
    pub rules: Vec<&'a str>,
}

/// The CRC-32C of several texts, one after the other.
#[must_use]
pub fn checksum<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    texts.into_iter().fold(0, crc32c::crc32c_append)
}

/// What a snapshot says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// When it was taken.
    pub saved: Stamp,
    /// A CRC of the text of the configuration that was in force.
    pub configuration: u32,
    /// How many IPv4 and IPv6 flows were written.
    pub flows: (u64, u64),
}

/// Why a saved flow is not restored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Skip {
    /// The record's checksum is wrong.
    Damaged = 0,
    /// The file ends before the record does.
    Missing = 1,
    /// The record says what no tracker would have written.
    Implausible = 2,
    /// Its port, VLAN or stitch is not there any more.
    Network = 3,
    /// Its time has come while the gateway was away.
    Expired = 4,
    /// The policy in force does not allow it.
    Policy = 5,
    /// Its key has come before.
    Duplicate = 6,
    /// The flow table is full; the oldest flows are left out.
    NoRoom = 7,
}

impl Skip {
    /// Every cause, in the order of its number.
    pub const ALL: [Skip; 8] = [
        Skip::Damaged,
        Skip::Missing,
        Skip::Implausible,
        Skip::Network,
        Skip::Expired,
        Skip::Policy,
        Skip::Duplicate,
        Skip::NoRoom,
    ];

    /// The name that a person is shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Skip::Damaged => "damaged",
            Skip::Missing => "missing",
            Skip::Implausible => "implausible",
            Skip::Network => "network-changed",
            Skip::Expired => "expired",
            Skip::Policy => "policy-changed",
            Skip::Duplicate => "duplicate",
            Skip::NoRoom => "flow-table-full",
        }
    }
}
