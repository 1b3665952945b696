//! VLAN and MAC → class, where the policy speaks of them.
//!
//! The address yields a state. A VLAN, then a MAC, may each *refine* it into another; where neither says
//! anything, the state stays, and after both it is the class. A profile is what a VLAN or MAC means to the
//! policy: all VLANs and MACs that mean the same share one, and 0 is the profile of those that mean nothing.

use super::WordMap;
use crate::addr::{Mac, VlanKey};

/// How a profile refines states.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Row {
    /// Every state has an entry in the dense part, from this index on.
    Dense(u32),
    /// Few states change; they are in the sparse part.
    Sparse,
}

/// (profile, state) → state.
#[derive(Clone, Debug)]
pub(crate) struct Refinement {
    /// By profile; the row of profile 0 is never looked at.
    pub(crate) rows: Vec<Row>,
    /// Dense rows.
    pub(crate) dense: Vec<u32>,
    /// The states that rows are for; what refines later ones is in [`LaterPlaces`].
    pub(crate) width: u32,
    /// Entries of sparse rows, by [`Refinement::word`].
    pub(crate) sparse: WordMap,
}

impl Refinement {
    /// The word of an entry in the sparse part.
    #[inline]
    pub(crate) const fn word(profile: u32, state: u32) -> u64 {
        (profile as u64) << 32 | state as u64
    }

    /// One that refines nothing.
    pub(crate) fn none(sparse: WordMap) -> Self {
        Refinement { rows: Vec::new(), dense: Vec::new(), width: 0, sparse }
    }

    #[inline]
    fn get(&self, profile: u32, state: u32, later: Option<&WordMap>) -> u32 {
        if state >= self.width {
            let found = later.and_then(|later| later.get(Self::word(profile, state)));
            return found.unwrap_or(state);
        }
        match self.rows[profile as usize] {
            Row::Dense(first) => self.dense[(first + state) as usize],
            Row::Sparse => self.sparse.get(Self::word(profile, state)).unwrap_or(state),
        }
    }

    fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.dense.len() * 4 + self.sparse.bytes()
    }
}

/// How VLANs and MACs refine states that came after the table was built, by [`Refinement::word`].
#[derive(Clone, Debug)]
pub(crate) struct LaterPlaces {
    /// What a VLAN does.
    pub(crate) by_vlan: WordMap,
    /// What a MAC does.
    pub(crate) by_mac: WordMap,
    /// Profiles of MACs that have another than in the table.
    pub(crate) macs: WordMap,
}

/// All that the policy says of VLANs and MACs.
#[derive(Clone, Debug)]
pub(crate) struct PlaceTable {
    /// Profile by [`VlanKey::index`]; `None` where the policy speaks of no VLAN.
    pub(crate) vlans: Option<Box<[u16]>>,
    /// What a VLAN does to the state of an address.
    pub(crate) by_vlan: Refinement,
    /// Profile by MAC; `None` where the policy speaks of no MAC.
    pub(crate) macs: Option<WordMap>,
    /// What a MAC does to the state of an address on a VLAN.
    pub(crate) by_mac: Refinement,
}

impl PlaceTable {
    /// The MAC as a word.
    #[inline]
    pub(crate) const fn mac_word(mac: Mac) -> u64 {
        let m = mac.0;
        u64::from_be_bytes([0, 0, m[0], m[1], m[2], m[3], m[4], m[5]])
    }

    /// The class of an endpoint whose address has this state.
    #[inline]
    pub(crate) fn refine(
        &self,
        state: u32,
        vlan: Option<VlanKey>,
        mac: Option<Mac>,
        later: Option<&LaterPlaces>,
    ) -> u32 {
        let mut state = state;
        if let (Some(profiles), Some(vlan)) = (&self.vlans, vlan) {
            let profile = profiles[vlan.index()];
            if profile != 0 {
                state = self.by_vlan.get(u32::from(profile), state, later.map(|later| &later.by_vlan));
            }
        }
        if let (Some(profiles), Some(mac)) = (&self.macs, mac)
            && let word = Self::mac_word(mac)
            && let known = later.and_then(|later| later.macs.get(word)).or_else(|| profiles.get(word))
            && let Some(profile) = known.filter(|profile| *profile != 0)
        {
            state = self.by_mac.get(profile, state, later.map(|later| &later.by_mac));
        }
        state
    }

    /// Whether the policy speaks of VLANs or MACs.
    #[inline]
    pub(crate) fn speaks_of_places(&self) -> bool {
        self.vlans.is_some() || self.macs.is_some()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let vlans = self.vlans.as_ref().map_or(0, |v| v.len() * 2);
        let macs = self.macs.as_ref().map_or(0, WordMap::bytes);
        vlans + macs + self.by_vlan.bytes() + self.by_mac.bytes()
    }
}
