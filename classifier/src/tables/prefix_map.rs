//! A longest-prefix-match map, for routes and for whatever else goes by prefix.
//!
//! It has the layout of the class tables; [`crate::compile`] builds it.

use super::v4::V4Table;
use super::v6::V6Table;
use crate::addr::Prefix;
use crate::compile;
use std::net::IpAddr;

/// Prefix → value; of all prefixes that hold an address, the longest counts.
#[derive(Clone, Debug)]
pub struct PrefixMap {
    pub(crate) v4: V4Table,
    pub(crate) v6: V6Table,
    /// The values, behind one index: a value may be any number, a table's entry may not. Index 0 is no prefix.
    pub(crate) values: Vec<u32>,
}

impl PrefixMap {
    /// The map of these prefixes (their host bits don't count). Of one prefix that comes twice, the last counts.
    #[must_use]
    pub fn new(entries: &[(Prefix, u32)]) -> Self {
        compile::prefix_map(entries)
    }

    /// The value of the longest prefix that holds the address.
    #[must_use]
    #[inline]
    pub fn get(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(a) => self.get_v4(a.into()),
            IpAddr::V6(a) => self.get_v6(a.into()),
        }
    }

    /// The same for an IPv4 address.
    #[must_use]
    #[inline]
    pub fn get_v4(&self, address: u32) -> Option<u32> {
        self.value(self.v4.get(address))
    }

    /// The same for an IPv6 address.
    #[must_use]
    #[inline]
    pub fn get_v6(&self, address: u128) -> Option<u32> {
        self.value(self.v6.get(address))
    }

    #[inline]
    fn value(&self, index: u32) -> Option<u32> {
        if index == 0 { None } else { Some(self.values[index as usize]) }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + self.values.len() * 4
    }
}
