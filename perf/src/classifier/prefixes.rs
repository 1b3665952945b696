//! Prefixes as a data centre has them: many small ones within some /16s (IPv6: /40s), a few that overlap.
//!
//! ```text
//!   of those that overlap   20 in 26  inside of another, and longer
//!                            5 in 26  the same as another
//!                            1 in 26  around others: /18 to /20 (IPv6: /44 to /46)
//! ```
//!
//! How many overlap is the caller's choice: each of them makes a class that is in several segments, and such a class has
//! the pairs of all of them.

use super::header::Family;
use classifier::addr::IpRange;
use random::Random;
use std::collections::{BTreeMap, HashSet};

/// Length and weight of the prefixes that lie beside all others; most are hosts and subnets of /24 to /31.
const V4_LENGTHS: [(u8, u32); 13] = [
    (32, 400),
    (31, 30),
    (30, 50),
    (29, 80),
    (28, 90),
    (27, 70),
    (26, 50),
    (25, 30),
    (24, 150),
    (23, 20),
    (22, 15),
    (21, 8),
    (20, 7),
];
const V6_LENGTHS: [(u8, u32); 5] = [(128, 300), (64, 550), (60, 40), (56, 80), (48, 30)];
/// Prefixes of a home, on average.
const PER_HOME: u32 = 100;
/// As many homes as a policy has at most.
const HOMES: u32 = 1_000;
/// How often room for a prefix is looked for in one home before another is tried.
const TRIES: usize = 16;

/// A share, in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Millionths(pub(crate) u32);

impl Millionths {
    /// The whole.
    pub(crate) const ALL: Millionths = Millionths(1_000_000);

    /// The share that is given as a number from 0 to 1.
    pub(crate) fn of(share: f64) -> Millionths {
        Millionths((share * f64::from(Self::ALL.0)).round() as u32)
    }
}

/// Hands out prefixes of one family.
#[derive(Debug)]
pub(crate) struct Space {
    family: Family,
    /// The part of the prefixes that overlap others.
    overlap: Millionths,
    /// Where prefixes are: the first address of each /16, or /40.
    homes: Vec<u128>,
    /// First → last address of what was handed out beside all others.
    taken: BTreeMap<u128, u128>,
    /// The same, to draw from.
    ranges: Vec<(u128, u128)>,
}

impl Space {
    /// Room for about `prefixes`, of which that part overlaps others.
    pub(crate) fn new(family: Family, prefixes: u32, overlap: Millionths, random: &mut Random) -> Space {
        let count = (prefixes / PER_HOME).clamp(4, HOMES) as usize;
        let mut known = HashSet::new();
        let mut homes = Vec::new();
        while homes.len() < count {
            let home = match family {
                Family::V4 => u128::from(v4_home(random, homes.len())) << 16,
                // Unique local addresses (RFC 4193): fd00::/8 and 32 random bits, so /40.
                Family::V6 => 0xfd << 120 | u128::from(random.next() as u32) << 88,
            };
            if known.insert(home) {
                homes.push(home);
            }
        }
        Space { family, overlap, homes, taken: BTreeMap::new(), ranges: Vec::new() }
    }

    /// How many homes there are.
    pub(crate) fn homes(&self) -> u32 {
        self.homes.len() as u32
    }

    /// A prefix, most likely in that home.
    pub(crate) fn prefix(&mut self, random: &mut Random, home: u32) -> IpRange {
        let home = self.homes[home as usize];
        let drawn = random.below(Millionths::ALL.0);
        let Millionths(overlap) = self.overlap;
        let overlaps = !self.ranges.is_empty() && drawn < overlap;
        let (first, last) = match overlaps.then(|| u64::from(drawn) * 26 / u64::from(overlap)) {
            Some(0..5) => *random.pick(&self.ranges),
            Some(5..25) => self.inside_another(random),
            Some(_) => {
                let length = self.widest() - 2 + random.below(3) as u8;
                self.place(random, home, length)
            }
            None => self.beside_all(random, home),
        };
        match self.family {
            Family::V4 => IpRange::V4(first as u32, last as u32),
            Family::V6 => IpRange::V6(first, last),
        }
    }

    fn inside_another(&self, random: &mut Random) -> (u128, u128) {
        let (first, last) = *random.pick(&self.ranges);
        let bits = (last - first + 1).trailing_zeros();
        if bits == 0 {
            return (first, last);
        }
        let kept = random.below(bits);
        let start = first + ((wide(random) % (1 << (bits - kept))) << kept);
        (start, start + (1 << kept) - 1)
    }

    fn beside_all(&mut self, random: &mut Random, mut home: u128) -> (u128, u128) {
        loop {
            let length = match self.family {
                Family::V4 => weighted(random, &V4_LENGTHS),
                Family::V6 => weighted(random, &V6_LENGTHS),
            };
            for _ in 0..TRIES {
                let (first, last) = self.place(random, home, length);
                let before = self.taken.range(..=last).next_back();
                if before.is_none_or(|(_, end)| *end < first) {
                    self.taken.insert(first, last);
                    self.ranges.push((first, last));
                    return (first, last);
                }
            }
            home = *random.pick(&self.homes);
        }
    }

    /// A prefix of that length somewhere in the home.
    fn place(&self, random: &mut Random, home: u128, length: u8) -> (u128, u128) {
        let (width, home_length) = match self.family {
            Family::V4 => (32, 16),
            Family::V6 => (128, 40),
        };
        let bits = width - length;
        let start = home + ((wide(random) % (1 << (length - home_length))) << bits);
        (start, start + (1 << bits) - 1)
    }

    /// The longest of the prefixes that lie around others.
    fn widest(&self) -> u8 {
        match self.family {
            Family::V4 => 20,
            Family::V6 => 46,
        }
    }
}

fn wide(random: &mut Random) -> u128 {
    u128::from(random.next()) << 64 | u128::from(random.next())
}

/// The upper half of an address: private and shared space first (RFC 1918, RFC 6598), then public space.
fn v4_home(random: &mut Random, so_far: usize) -> u16 {
    match so_far {
        0..200 => 10 << 8 | random.below(256) as u16,
        200..210 => (172 << 8) | (16 + random.below(16) as u16),
        210..250 => (100 << 8) | (64 + random.below(64) as u16),
        _ => (20 + random.below(70) as u16) << 8 | random.below(256) as u16,
    }
}

fn weighted(random: &mut Random, lengths: &[(u8, u32)]) -> u8 {
    let mut at = random.below(lengths.iter().map(|(_, weight)| weight).sum());
    for (length, weight) in lengths {
        if at < *weight {
            return *length;
        }
        at -= weight;
    }
    unreachable!("the number was below the sum of the weights")
}
