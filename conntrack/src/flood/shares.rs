//! How many half-open flows there may be: in all, and of one source, one destination, one segment pair.
//!
//! All follow from the size of the table, so that nothing is to be configured and nothing can be forgotten. They
//! bound what may be lost to a flood; they are far above what a working network holds half-open.

/// Below so many half-open flows of a kind nothing is called a flood, and a table that holds no more has none.
const SMALLEST_POOL: usize = 1024;
/// The least that one source may hold: a host that opens a page or scans a segment is no flood.
const SMALLEST_SHARE: usize = 256;

/// Whose share an opening would pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// Of its source.
    Source,
    /// Of its destination.
    Destination,
    /// Of its segment pair.
    Pair,
}

/// The limits of one table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Half-open flows of one [`super::Kind`]: half of the table, so that neither kind of flood takes what the other
    /// needs, and the whole of a small one.
    pub(crate) pool: usize,
    /// Of one source: a sixteenth of that.
    pub(crate) source: u32,
    /// To one destination: a quarter.
    pub(crate) destination: u32,
    /// Of one segment pair: half.
    pub(crate) pair: u32,
    /// Whether the pool is large enough for a flood to be told from a busy moment.
    pub(crate) is_large: bool,
}

impl Shares {
    /// The shares of a table for `capacity` flows.
    pub(crate) fn of(capacity: usize) -> Shares {
        let pool = (capacity / 2).max(capacity.min(SMALLEST_POOL));
        let is_large = pool >= SMALLEST_POOL;
        let part = |n: usize| match u32::try_from((pool / n).max(SMALLEST_SHARE)) {
            Ok(share) if is_large => share,
            Ok(_) | Err(_) => u32::MAX,
        };
        Shares { pool, source: part(16), destination: part(4), pair: part(2), is_large }
    }
}
