//! Which worker owns a frame: the one that has its flow.
//!
//! ```text
//!   routed VLAN:  the pair of addresses, in whatever direction  --spread-->  worker
//!                 an ICMP error: the pair that it quotes
//!                 ARP, what is no IP, what is cut short          where it came in
//!   stitch:       everything that comes in on one of its VLANs  --------->  the worker of the stitch
//! ```
//!
//! By addresses alone, so that the fragments of a datagram, of which only the first has ports, and the errors about a
//! flow meet it. A stitch is one worker's because its stations are: where each is decides what is spoofed and where
//! frames leave, and two tables would disagree.
//!
//! A fragment of an ICMP error is owned by its own addresses: no sound error is so long that it has to be cut
//! (RFC 1812 §4.3.2.3, RFC 4443 §2.4 c).
//!
//! What this says of a frame is a matter of time, never of truth: the owner alone judges it.

use crate::network::{Network, Role};
use crate::rss::SymmetricKey;
use classifier::addr::{PortId, VlanKey};
use classifier::flow::{Domain, FlowKey};
use classifier::wire::link::{HEADER, TAG, ethertype};
use classifier::wire::{Packet, ipv4, ipv6, protocol};

/// Most workers of a process.
pub const WORKERS: usize = 64;
/// What comes in on no stitch.
const NO_STITCH: u8 = u8::MAX;
/// Bytes of an ICMP header, behind which the quoted packet begins.
const ICMP_HEADER: usize = 8;
/// Where the source address stands in a header; the destination is right behind it.
const SOURCE_V4: usize = 12;
const SOURCE_V6: usize = 8;

/// How pairs of addresses are spread over workers. The same in both directions.
#[derive(Clone, Debug)]
pub enum Spread {
    /// By a keyed hash: who does not know the secret can't aim at a worker.
    Keyed(Secret),
    /// As the ports do it in hardware (receive side scaling), so that each frame comes in where it belongs.
    Ports(SymmetricKey),
}

/// The secret of a keyed spread.
#[derive(Clone, Debug)]
pub struct Secret {
    words: [u64; 4],
}

impl Spread {
    /// A spread by a secret, which is drawn anew at every start.
    #[must_use]
    pub fn keyed(secret: [u8; 16]) -> Spread {
        let word = |n: u64| {
            let hasher = siphasher::sip::SipHasher13::new_with_key(&secret);
            hasher.hash(&n.to_le_bytes())
        };
        // Factors that are odd have no divisor in common with the word's range.
        Spread::Keyed(Secret { words: [word(0x6f_776e), word(1), word(2) | 1, word(3) | 1] })
    }

    /// The hash of a pair of IPv4 addresses.
    #[inline]
    fn pair_v4(&self, a: u32, b: u32) -> u32 {
        match self {
            Spread::Keyed(secret) => {
                let [first, second, ..] = &secret.words;
                let low = first.wrapping_add(u64::from(a.min(b))) as u32;
                let high = second.wrapping_add(u64::from(a.max(b))) as u32;
                secret.finish(u64::from(low).wrapping_mul(u64::from(high)))
            }
            Spread::Ports(key) => key.hash_v4(a, b),
        }
    }

    /// The hash of a pair of IPv6 addresses.
    #[inline]
    fn pair_v6(&self, a: u128, b: u128) -> u32 {
        match self {
            Spread::Keyed(secret) => {
                let [first, second, third, _] = &secret.words;
                let fold = |address: u128| {
                    let product = u128::from(first ^ address as u64)
                        .wrapping_mul(u128::from(second ^ (address >> 64) as u64));
                    (product as u64 ^ (product >> 64) as u64).wrapping_mul(*third)
                };
                secret.finish(fold(a).wrapping_add(fold(b)))
            }
            Spread::Ports(key) => key.hash_v6(a, b),
        }
    }

    /// The worker that a hash falls to.
    #[inline]
    fn worker(&self, hash: u32, workers: u32) -> usize {
        match self {
            Spread::Keyed(_) => ((u64::from(hash) * u64::from(workers)) >> 32) as usize,
            Spread::Ports(key) => key.queue(hash) as usize % workers as usize,
        }
    }
}

impl Secret {
    /// Spreads a sum over all bits, of which the high ones count. Addresses in a row make sums in a row: one folded
    /// multiplication would leave many of them side by side.
    #[inline]
    fn finish(&self, sum: u64) -> u32 {
        let [.., third, fourth] = self.words;
        let fold = |word: u64, factor: u64| {
            let product = u128::from(word) * u128::from(factor);
            product as u64 ^ (product >> 64) as u64
        };
        (fold(fold(sum ^ (sum >> 32), fourth), third) >> 32) as u32
    }
}

/// Who owns what, under one network.
#[derive(Clone, Debug)]
pub struct Owners {
    spread: Spread,
    workers: u32,
    /// By [`VlanKey`]: the worker of the VLAN's stitch.
    stitched: Vec<u8>,
}

impl Owners {
    /// The owners in a network, among so many workers.
    ///
    /// # Panics
    /// Where there is no worker, or more than [`WORKERS`].
    #[must_use]
    pub fn new(spread: Spread, workers: usize, network: &Network) -> Owners {
        assert!((1..=WORKERS).contains(&workers), "between one and {WORKERS} workers");
        let mut owners = Owners { spread, workers: workers as u32, stitched: Vec::new() };
        owners.install(network);
        owners
    }

    /// Takes up another network.
    pub fn install(&mut self, network: &Network) {
        self.stitched.clear();
        for vlan in network.vlans() {
            if let Role::Stitched(stitch) = vlan.role {
                if self.stitched.is_empty() {
                    self.stitched
                        .resize(VlanKey::new(PortId((PortId::LIMIT - 1) as u8), 4095).index() + 1, NO_STITCH);
                }
                self.stitched[vlan.key.index()] = self.of_stitch(stitch) as u8;
            }
        }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers as usize
    }

    fn of_stitch(&self, stitch: u16) -> usize {
        usize::from(stitch) % self.workers as usize
    }

    /// The owner of a flow.
    #[must_use]
    pub fn of_flow(&self, key: &FlowKey) -> usize {
        let domain = match key {
            FlowKey::V4(key) => key.domain,
            FlowKey::V6(key) => key.domain,
        };
        if domain != Domain::ROUTED {
            return self.of_stitch(domain.0 - 1);
        }
        let hash = match key {
            FlowKey::V4(key) => self.spread.pair_v4(key.first, key.second),
            FlowKey::V6(key) => self.spread.pair_v6(key.first, key.second),
        };
        self.spread.worker(hash, self.workers)
    }

    /// The owner of a frame that came in on a port; `None`: whoever has it may judge it.
    #[must_use]
    #[inline]
    pub fn of(&self, port: PortId, frame: &[u8]) -> Option<usize> {
        let mut at = HEADER;
        let mut kind = word(frame, HEADER - 2)?;
        let mut vid = 0;
        if kind == ethertype::VLAN {
            vid = word(frame, HEADER)? & 0xfff;
            kind = word(frame, HEADER + 2)?;
            at = HEADER + TAG;
        }
        if !self.stitched.is_empty() {
            let worker = self.stitched[VlanKey::new(port, vid).index()];
            if worker != NO_STITCH {
                return Some(usize::from(worker));
            }
        }
        let hash = match kind {
            ethertype::IPV4 => self.pair_of_v4(frame, at)?,
            ethertype::IPV6 => self.pair_of_v6(frame, at)?,
            _ => return None,
        };
        Some(self.spread.worker(hash, self.workers))
    }

    #[inline]
    fn pair_of_v4(&self, frame: &[u8], at: usize) -> Option<u32> {
        let header: &[u8; ipv4::HEADER] = frame.get(at..)?.first_chunk()?;
        if header[9] == protocol::ICMP
            && let Some(quoted) = quoted(frame)
        {
            return Some(self.hash_v4(quoted));
        }
        Some(self.hash_v4(header))
    }

    #[inline]
    fn hash_v4(&self, header: &[u8; ipv4::HEADER]) -> u32 {
        let long =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        self.spread.pair_v4(long(SOURCE_V4), long(SOURCE_V4 + 4))
    }

    #[inline]
    fn pair_of_v6(&self, frame: &[u8], at: usize) -> Option<u32> {
        let header: &[u8; ipv6::HEADER] = frame.get(at..)?.first_chunk()?;
        if !matches!(header[6], protocol::TCP | protocol::UDP)
            && let Some(quoted) = quoted(frame)
        {
            return Some(self.hash_v6(quoted));
        }
        Some(self.hash_v6(header))
    }

    #[inline]
    fn hash_v6(&self, header: &[u8; ipv6::HEADER]) -> u32 {
        let wide = |at: usize| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&header[at..at + 16]);
            u128::from_be_bytes(bytes)
        };
        self.spread.pair_v6(wide(SOURCE_V6), wide(SOURCE_V6 + 16))
    }
}

#[inline]
fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..at + 2)?.first_chunk()?))
}

/// The header that an ICMP error quotes, behind whatever options or extension headers there are.
#[cold]
fn quoted<const HEADER: usize>(frame: &[u8]) -> Option<&[u8; HEADER]> {
    let packet = Packet::parse(frame);
    if packet.fragment.is_some() || !packet.is_icmp_error() {
        return None;
    }
    frame.get(packet.upper_offset as usize + ICMP_HEADER..)?.first_chunk()
}

#[cfg(test)]
mod tests;
