//! Where packets for an address leave and with which MACs: what the routing table, the file's neighbors and the
//! neighbor cache said of it, remembered.
//!
//! ```text
//!   destination --hash--> set: two slots          address, generation, until, changes  |  MACs, VLAN, watch
//! ```
//!
//! A slot holds as long as its generation is in force, its time has not come, and nothing under its watch has changed
//! ([`crate::neighbors::Watch`]). What does not hold is looked up again, so that a cache that is too small, or
//! filled with rubbish, costs time and nothing else. Addresses whose next hop is not known, or must be asked, are not
//! in it, nor are those that no host has: what is in it lives behind its VLAN, be it as a destination or as a source.

use crate::keyed::Keyed;
use crate::neighbors::{Lease, Neighbors, Watch};
use crate::network::{Hop, Network, VlanIndex};
use classifier::addr::Mac;
use classifier::wire::{ipv4, ipv6};
use conntrack::Epoch;
use conntrack::time::Tick;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sets of a cache, at least and at most; in between a sixteenth of the flows.
const FEWEST_SETS: usize = 1 << 10;
const MOST_SETS: usize = 1 << 16;
const FLOWS_PER_SET: usize = 16;
/// A slot's time is kept in units of 2^30 ns: 1.07 s.
const TIME_SHIFT: u32 = 30;

/// How a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Adjacency {
    /// Destination and source MAC, as they stand in the frame.
    pub(crate) macs: [u8; 12],
    /// The VLAN that it leaves on.
    pub(crate) egress: VlanIndex,
    watch: Watch,
}

impl Adjacency {
    const NONE: Adjacency = Adjacency { macs: [0; 12], egress: VlanIndex(0), watch: Watch::NOTHING };
}

#[derive(Clone, Copy, Debug)]
struct Slot<A> {
    address: A,
    epoch: Epoch,
    until: u32,
    changes: u32,
    adjacency: Adjacency,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set<A>([Slot<A>; 2]);

const _: () = assert!(size_of::<Set<u32>>() == 64);

/// An address as a cache has it.
pub(crate) trait Destination: Copy + Eq {
    /// Zero, which stands in slots that are empty.
    const ZERO: Self;
    /// Whether a host may have it, as far as it tells by itself: no martian, and of no single link.
    fn is_fit(self) -> bool;
    /// As the routing table takes it.
    fn address(self) -> IpAddr;
    /// Gives it to a hasher.
    fn feed(self, hasher: &mut impl Hasher);
}

impl Destination for u32 {
    const ZERO: u32 = 0;

    #[inline]
    fn is_fit(self) -> bool {
        !ipv4::is_martian(self)
    }

    fn address(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self))
    }

    #[inline]
    fn feed(self, hasher: &mut impl Hasher) {
        hasher.write_u32(self);
    }
}

impl Destination for u128 {
    const ZERO: u128 = 0;

    #[inline]
    fn is_fit(self) -> bool {
        !ipv6::is_martian(self) && !ipv6::is_link_local(self)
    }

    fn address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self))
    }

    #[inline]
    fn feed(self, hasher: &mut impl Hasher) {
        hasher.write_u128(self);
    }
}

/// The cache of one address family.
#[derive(Debug)]
pub(crate) struct Adjacencies<A> {
    sets: Box<[Set<A>]>,
    keyed: Keyed,
}

/// What a slot is held against: the moment, the generation and the neighbor cache.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) now: Tick,
    pub(crate) epoch: Epoch,
    pub(crate) neighbors: &'a Neighbors,
}

impl<A: Destination> Adjacencies<A> {
    /// A cache beside a table of `flows`.
    pub(crate) fn new(flows: usize) -> Adjacencies<A> {
        let sets = (flows / FLOWS_PER_SET).next_power_of_two().clamp(FEWEST_SETS, MOST_SETS);
        let empty =
            Slot { address: A::ZERO, epoch: Epoch(0), until: 0, changes: 0, adjacency: Adjacency::NONE };
        let mut memory = conntrack::memory::reserve(sets);
        memory.resize(sets, Set([empty; 2]));
        Adjacencies { sets: memory.into(), keyed: Keyed::default() }
    }

    #[inline]
    fn set_of(&self, address: A) -> usize {
        let mut hasher = self.keyed.build_hasher();
        address.feed(&mut hasher);
        hasher.finish() as usize & (self.sets.len() - 1)
    }

    /// Asks the CPU for the set of an address; which it is.
    #[inline]
    pub(crate) fn prefetch(&self, address: A) -> u32 {
        let set = self.set_of(address);
        conntrack::memory::prefetch(&self.sets[set]);
        set as u32
    }

    /// How packets for an address leave, where that is remembered in its set and still holds.
    #[inline]
    pub(crate) fn find(&self, standing: Standing<'_>, set: u32, address: A) -> Option<&Adjacency> {
        let Set(slots) = &self.sets[set as usize];
        let now = (standing.now.0 >> TIME_SHIFT) as u32;
        let slot = slots.iter().find(|slot| slot.address == address && slot.epoch == standing.epoch)?;
        let holds = now < slot.until && slot.changes == standing.neighbors.changes(slot.adjacency.watch);
        holds.then_some(&slot.adjacency)
    }

    /// Looks up how packets for an address leave, and remembers it. `None`: the whole way must be gone.
    #[cold]
    pub(crate) fn look_up(
        &mut self,
        standing: Standing<'_>,
        network: &Network,
        address: A,
    ) -> Option<Adjacency> {
        if !address.is_fit() {
            return None;
        }
        let (egress, next) = match network.route(address.address())? {
            Hop::Connected(egress) => (egress, address.address()),
            Hop::Via(egress, next) => (egress, next),
            Hop::Own | Hop::Broadcast => return None,
        };
        let lease = match network.static_neighbor(egress, next) {
            Some(mac) => Lease { mac, until: Tick(u64::MAX), watch: Watch::NOTHING },
            None => standing.neighbors.lease(standing.now, egress, next)?,
        };
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&lease.mac.0);
        let Mac(own) = network.vlan(egress).own_mac();
        macs[6..].copy_from_slice(&own);
        let adjacency = Adjacency { macs, egress, watch: lease.watch };
        let slot = Slot {
            address,
            epoch: standing.epoch,
            until: u32::try_from(lease.until.0 >> TIME_SHIFT).unwrap_or(u32::MAX),
            changes: standing.neighbors.changes(lease.watch),
            adjacency,
        };
        let at = self.set_of(address);
        let Set(slots) = &mut self.sets[at];
        let place = usize::from(slots[0].address != address);
        if place == 1 && slots[1].address != address {
            // The one that was looked up last stands first, and the one before it second.
            slots[1] = slots[0];
            slots[0] = slot;
        } else {
            slots[place] = slot;
        }
        Some(adjacency)
    }
}
