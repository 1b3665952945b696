//! Addresses and the names of places: MACs, IP ranges and prefixes, ports and VLANs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IEEE 802 MAC-48 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The broadcast address.
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// All zero: never a station.
    pub const ZERO: Mac = Mac([0; 6]);

    /// Whether the group bit is set (multicast or broadcast; IEEE 802.3 §3.2.3).
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.0;
        write!(f, "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5])
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Mac {
    type Err = ();

    /// Six two-digit hexadecimal groups with colons between them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut octets = [0; 6];
        let mut groups = text.split(':');
        for octet in &mut octets {
            let group = groups.next().ok_or(())?;
            if group.len() != 2 || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            *octet = u8::from_str_radix(group, 16).map_err(|_| ())?;
        }
        if groups.next().is_some() { Err(()) } else { Ok(Mac(octets)) }
    }
}

/// The number of a `[[port]]`, in the order of the file. At most [`PortId::LIMIT`] ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortId(pub u8);

impl PortId {
    /// How many ports a gateway may have: a [`VlanKey`] has four bits for them.
    pub const LIMIT: usize = 16;

    /// The index of the port in a table of ports.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A VLAN on a port: four bits of port, twelve of VID (IEEE 802.1Q §9.6). VID 0 is the untagged traffic.
///
/// The key is the same before and after a reload of the configuration, as long as the ports are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VlanKey(u16);

impl VlanKey {
    /// The VLAN `vid` (its low twelve bits) on `port`.
    #[must_use]
    pub const fn new(port: PortId, vid: u16) -> Self {
        VlanKey(((port.0 as u16) << 12) | (vid & 0xfff))
    }

    /// The port that the VLAN is on.
    #[must_use]
    pub const fn port(self) -> PortId {
        PortId((self.0 >> 12) as u8)
    }

    /// The VLAN's number on the wire, 0 for untagged.
    #[must_use]
    pub const fn vid(self) -> u16 {
        self.0 & 0xfff
    }

    /// The key as an index into a table of 65,536 entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for VlanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.port().0, self.vid())
    }
}

/// An inclusive range of IP addresses of one family.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum IpRange {
    /// From the first to the last IPv4 address, both included.
    V4(u32, u32),
    /// From the first to the last IPv6 address, both included.
    V6(u128, u128),
}

impl IpRange {
    /// The one address.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => IpRange::V4(a.into(), a.into()),
            IpAddr::V6(a) => IpRange::V6(a.into(), a.into()),
        }
    }

    /// The range between two addresses of one family, `None` where the families differ or the order is wrong.
    #[must_use]
    pub fn between(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first, last) {
            (IpAddr::V4(a), IpAddr::V4(b)) if a <= b => Some(IpRange::V4(a.into(), b.into())),
            (IpAddr::V6(a), IpAddr::V6(b)) if a <= b => Some(IpRange::V6(a.into(), b.into())),
            _ => None,
        }
    }

    /// Whether the address lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (IpRange::V4(lo, hi), IpAddr::V4(a)) => (*lo..=*hi).contains(&u32::from(a)),
            (IpRange::V6(lo, hi), IpAddr::V6(a)) => (*lo..=*hi).contains(&u128::from(a)),
            _ => false,
        }
    }
}

impl fmt::Display for IpRange {
    /// As a policy writes it: an address, a prefix where the range is one, else `FIRST-LAST`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last, bits): (IpAddr, IpAddr, u32) = match self {
            IpRange::V4(first, last) => (Ipv4Addr::from(*first).into(), Ipv4Addr::from(*last).into(), 32),
            IpRange::V6(first, last) => (Ipv6Addr::from(*first).into(), Ipv6Addr::from(*last).into(), 128),
        };
        if first == last {
            return write!(f, "{first}");
        }
        let free = match self {
            IpRange::V4(first, last) => (first ^ last).wrapping_add(1).trailing_zeros().min(bits),
            IpRange::V6(first, last) => (first ^ last).wrapping_add(1).trailing_zeros().min(bits),
        };
        let prefix = Prefix::new(first, (bits - free) as u8).filter(|prefix| IpRange::from(*prefix) == *self);
        match prefix {
            Some(_) => write!(f, "{first}/{}", bits - free),
            None => write!(f, "{first}-{last}"),
        }
    }
}

impl From<Prefix> for IpRange {
    fn from(prefix: Prefix) -> Self {
        match prefix.address {
            IpAddr::V4(a) => {
                let mask = prefix.mask_v4();
                IpRange::V4(u32::from(a) & mask, u32::from(a) | !mask)
            }
            IpAddr::V6(a) => {
                let mask = prefix.mask_v6();
                IpRange::V6(u128::from(a) & mask, u128::from(a) | !mask)
            }
        }
    }
}

/// An address with a prefix length (RFC 4632 §3.1). The host bits are kept: `10.0.10.1/24` is both an
/// interface's address and its network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `None` where the length is over 32 (IPv4) or 128 (IPv6).
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Prefix { address, length })
    }

    /// The address as it was written, host bits and all.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    fn mask_v4(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0)
    }

    fn mask_v6(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }

    /// The first address of the network.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match IpRange::from(*self) {
            IpRange::V4(lo, _) => IpAddr::V4(Ipv4Addr::from(lo)),
            IpRange::V6(lo, _) => IpAddr::V6(Ipv6Addr::from(lo)),
        }
    }

    /// Whether any host bit is set.
    #[must_use]
    pub fn has_host_bits(&self) -> bool {
        self.network() != self.address
    }

    /// The IPv4 directed broadcast address; none for IPv6, /31 (RFC 3021) and /32.
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(a) if self.length < 31 => Some(Ipv4Addr::from(u32::from(a) | !self.mask_v4())),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    /// Whether the address lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        IpRange::from(*self).contains(address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl std::str::FromStr for Prefix {
    type Err = ();

    /// `ADDRESS/LENGTH`, or an address alone, which stands for itself.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(());
                }
                (address, Some(length.parse::<u8>().map_err(|_| ())?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let full = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, length.unwrap_or(full)).ok_or(())
    }
}
