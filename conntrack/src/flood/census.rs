//! Who holds how many half-open flows: exactly in all, and by source, destination and segment pair in sketches whose
//! answer is never too low.
//!
//! A sketch has two rows of counters; a group counts in one cell of each, and has at most what the lower of the two
//! says (Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch", 2005). A flow is
//! counted out of the same cells that it was counted into, so errors do not add up. With 4,096 cells a row, what
//! random strangers add to a group is a four-thousandth of all half-open flows: a sixteenth of a percent of the
//! table's half, where the smallest share is six percent.

use super::shares::{Share, Shares};
use crate::hash::Address;
use crate::terms::RuleKey;
use classifier::addr::VlanKey;
use classifier::flow::{End, Key};
use classifier::wire::protocol;

/// Counters of a row: sources and destinations.
const HOSTS: usize = 4096;
/// Counters of a row: segment pairs.
const PAIRS: usize = 1024;

/// What kind of half-open flow it is. Each kind has room of its own: a spray of datagrams ends no handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// TCP and SCTP: an opener that is there repeats what is lost.
    Handshake,
    /// Anything else that was not replied to yet.
    Datagram,
}

impl Kind {
    /// The kind of a protocol's flows.
    pub(crate) fn of(ip_protocol: u8) -> Kind {
        if matches!(ip_protocol, protocol::TCP | protocol::SCTP) { Kind::Handshake } else { Kind::Datagram }
    }
}

/// Whom a half-open flow is counted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Groups {
    pub(crate) kind: Kind,
    /// The opener; of IPv6 its /64, within which one host can have any address.
    source: u128,
    destination: u128,
    /// What the policy has of a segment pair in a flow: the VLAN that the opener is on, and the rule that names both.
    pair: (VlanKey, Option<RuleKey>),
}

impl Groups {
    /// The groups of a flow.
    pub(crate) fn of<A: Address>(key: &Key<A>, opener: End, vlan: VlanKey, rule: Option<RuleKey>) -> Groups {
        let (source, destination) = match opener {
            End::First => (key.first, key.second),
            End::Second => (key.second, key.first),
        };
        let source: u128 = source.into();
        let source = if size_of::<A>() == size_of::<u128>() { source >> 64 } else { source };
        // Addresses are unique within a domain only.
        let domain = u128::from(key.domain.0).rotate_right(16);
        Groups {
            kind: Kind::of(key.protocol),
            source: source ^ domain,
            destination: destination.into() ^ domain,
            pair: (vlan, rule),
        }
    }

    /// Whether two flows count for the same source, destination or pair.
    pub(crate) fn share(&self, other: &Groups, share: Share) -> bool {
        match share {
            Share::Source => self.source == other.source,
            Share::Destination => self.destination == other.destination,
            Share::Pair => self.pair == other.pair,
        }
    }

    fn pair_number(&self) -> u128 {
        let (vlan, rule) = self.pair;
        (vlan.index() as u128) << 32 | u128::from(rule.map_or(u32::MAX, |rule| rule.0))
    }
}

/// Counters of groups of one sort.
struct Sketch<const WIDTH: usize> {
    rows: Box<[[u32; WIDTH]; 2]>,
    secret: [u64; 2],
}

/// The counter of a group in each row of a sketch.
type Pair = [u16; 2];

impl<const WIDTH: usize> Sketch<WIDTH> {
    fn new(secret: [u64; 2]) -> Sketch<WIDTH> {
        const { assert!(WIDTH.is_power_of_two() && WIDTH <= 1 << 16) };
        // Factors that are odd have no divisor in common with the word's range.
        Sketch { rows: Box::new([[0; WIDTH]; 2]), secret: secret.map(|word| word | 1) }
    }

    /// The counters of a group: a keyed multiplication of each half, folded; of the upper one only where it is not zero, as
    /// it is of IPv4 on routed VLANs.
    #[inline]
    fn cells(&self, group: u128) -> Pair {
        let [a, b] = self.secret;
        let low = u128::from(group as u64 ^ a) * u128::from(b);
        let mut mixed = (low ^ low >> 64) as u64;
        let upper = (group >> 64) as u64;
        if upper != 0 {
            let high = u128::from(upper ^ b) * u128::from(a);
            mixed ^= ((high ^ high >> 64) as u64).rotate_left(32);
        }
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mask = WIDTH as u64 - 1;
        [(mixed >> 20 & mask) as u16, (mixed >> 44 & mask) as u16]
    }

    #[inline]
    fn of(&self, [a, b]: Pair) -> u32 {
        let mask = WIDTH - 1;
        self.rows[0][usize::from(a) & mask].min(self.rows[1][usize::from(b) & mask])
    }

    #[inline]
    fn add(&mut self, [a, b]: Pair) {
        let mask = WIDTH - 1;
        self.rows[0][usize::from(a) & mask] += 1;
        self.rows[1][usize::from(b) & mask] += 1;
    }

    #[inline]
    fn subtract(&mut self, [a, b]: Pair) {
        let mask = WIDTH - 1;
        self.rows[0][usize::from(a) & mask] -= 1;
        self.rows[1][usize::from(b) & mask] -= 1;
    }
}

/// Where a flow is counted in one census.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    kind: Kind,
    source: Pair,
    destination: Pair,
    pair: Pair,
}

/// The half-open flows of one table.
pub(crate) struct Census {
    counts: [usize; 2],
    sources: Sketch<HOSTS>,
    destinations: Sketch<HOSTS>,
    pairs: Sketch<PAIRS>,
}

impl Census {
    /// A census of nobody. Who knows the secret can make groups share their counters.
    pub(crate) fn new(secret: [u8; 16]) -> Census {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| secret[at + byte]));
        let (a, b) = (word(0), word(8));
        let other = |n: u64| [a.rotate_left(17) ^ n, b.rotate_left(31) ^ n.rotate_left(32)];
        Census {
            counts: [0; 2],
            sources: Sketch::new(other(0x243f_6a88_85a3_08d3)),
            destinations: Sketch::new(other(0x1319_8a2e_0370_7344)),
            pairs: Sketch::new(other(0xa409_3822_299f_31d0)),
        }
    }

    /// Half-open flows of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// Where a flow of these groups is counted.
    #[inline]
    pub(crate) fn cells(&self, groups: &Groups) -> Cells {
        Cells {
            kind: groups.kind,
            source: self.sources.cells(groups.source),
            destination: self.destinations.cells(groups.destination),
            pair: self.pairs.cells(groups.pair_number()),
        }
    }

    /// Whose share is used up, if one is.
    #[inline]
    pub(crate) fn exceeded(&self, cells: &Cells, shares: &Shares) -> Option<Share> {
        if self.pairs.of(cells.pair) >= shares.pair {
            Some(Share::Pair)
        } else if self.sources.of(cells.source) >= shares.source {
            Some(Share::Source)
        } else if self.destinations.of(cells.destination) >= shares.destination {
            Some(Share::Destination)
        } else {
            None
        }
    }

    /// Counts a half-open flow in.
    #[inline]
    pub(crate) fn enter(&mut self, cells: &Cells) {
        self.counts[cells.kind as usize] += 1;
        self.sources.add(cells.source);
        self.destinations.add(cells.destination);
        self.pairs.add(cells.pair);
    }

    /// Counts one out, which was counted in under the same groups.
    #[inline]
    pub(crate) fn leave(&mut self, cells: &Cells) {
        self.counts[cells.kind as usize] -= 1;
        self.sources.subtract(cells.source);
        self.destinations.subtract(cells.destination);
        self.pairs.subtract(cells.pair);
    }

    /// Bytes of memory.
    pub(crate) const BYTES: usize = 2 * (2 * HOSTS + PAIRS) * size_of::<u32>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use classifier::addr::PortId;
    use classifier::flow::Domain;
    use std::collections::HashMap;

    fn groups(source: u32, destination: u32, vid: u16) -> Groups {
        let (key, opener) = Key::of_ports(Domain::ROUTED, protocol::TCP, (source, 40_000), (destination, 80));
        Groups::of(&key, opener, VlanKey::new(PortId(0), vid), Some(RuleKey(7)))
    }

    #[test]
    fn a_group_never_seems_smaller_than_it_is_and_nothing_remains_of_those_that_left() {
        let mut census = Census::new([5; 16]);
        let mut sources: HashMap<u128, u32> = HashMap::new();
        let all: Vec<Groups> =
            (0..30_000u32).map(|n| groups(n % 7_001, 1_000_000 + n % 13, (n % 3) as u16)).collect();
        for one in &all {
            census.enter(&census.cells(one));
            *sources.entry(one.source).or_default() += 1;
        }
        assert_eq!(census.count(Kind::Handshake), all.len());
        for (source, count) in &sources {
            let seems = census.sources.of(census.sources.cells(*source));
            assert!(seems >= *count && seems < count + 100, "{count} seem {seems}");
        }
        assert_eq!(census.pairs.of(census.cells(&all[0]).pair), 10_000);
        for one in &all {
            census.leave(&census.cells(one));
        }
        assert_eq!(census.count(Kind::Handshake), 0);
        let hosts = census.sources.rows.iter().chain(census.destinations.rows.iter()).flatten();
        assert!(hosts.chain(census.pairs.rows.iter().flatten()).all(|count| *count == 0));
    }

    #[test]
    fn hosts_of_an_ipv6_subnet_count_as_one_source() {
        let group = |host: u128| {
            let source = (0xfd01_u128 << 112 | host, 40_000);
            let (key, opener) = Key::of_ports(Domain::ROUTED, protocol::TCP, source, (0xfd02 << 112, 80));
            Groups::of(&key, opener, VlanKey::new(PortId(0), 1), None)
        };
        assert!(group(1).share(&group(u128::from(u64::MAX)), Share::Source));
        assert!(!group(1).share(&group(1 << 64), Share::Source));
    }
}
