//! IPv6 address → value, by a binary search over runs.
//!
//! The builder is `compile`. Every address has a value; what a value means is the caller's business.

/// Runs of addresses of one value.
#[derive(Clone, Debug)]
pub(crate) struct V6Table {
    /// First address of each run, sorted; the first is 0.
    pub(crate) starts: Box<[u128]>,
    /// Value of each run.
    pub(crate) values: Box<[u32]>,
}

impl V6Table {
    /// The value of the address.
    #[inline]
    pub(crate) fn get(&self, address: u128) -> u32 {
        self.values[self.starts.partition_point(|start| *start <= address) - 1]
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.starts.len() * 20
    }
}
