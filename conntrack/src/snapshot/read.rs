//! Reading a snapshot: what can be read of it, whatever became of the file.

use super::record::{self, Family, FlowRecord};
use super::{HEADER, Header, MAGIC, Names, Skip, Stamp, TAIL, VERSION};
use crate::terms::RuleKey;
use classifier::addr::{PortId, VlanKey};
use classifier::flow::Domain;
use std::collections::HashMap;
use std::fmt;

/// Why nothing of a file can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It is no snapshot.
    Foreign,
    /// It is a snapshot of another version.
    Version(u16),
    /// Both copies of its preamble are damaged or missing.
    Preamble,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Foreign => f.write_str("this is no file of saved flows"),
            Broken::Version(version) => {
                write!(f, "its format is number {version}, and this program reads number {VERSION}")
            }
            Broken::Preamble => f.write_str("both copies of its preamble are damaged"),
        }
    }
}

impl std::error::Error for Broken {}

/// A file of saved flows.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    header: Header,
    names: Names<'a>,
    v4: &'a [u8],
    v6: &'a [u8],
}

impl<'a> Snapshot<'a> {
    /// Reads what the file says of itself; no record yet.
    ///
    /// # Errors
    /// Where nothing can be read.
    pub fn open(bytes: &'a [u8]) -> Result<Snapshot<'a>, Broken> {
        let (header, names, length) = match preamble(bytes) {
            Ok(found) => found,
            Err(Broken::Version(version)) => return Err(Broken::Version(version)),
            Err(first) => second_preamble(bytes).ok_or(first)?,
        };
        let records = bytes.get(length..).unwrap_or_default();
        let (v4, rest) = split(records, header.flows.0, u32::RECORD);
        let (v6, _) = split(rest, header.flows.1, u128::RECORD);
        Ok(Snapshot { header, names, v4, v6 })
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The names in it.
    #[must_use]
    pub fn names(&self) -> &Names<'a> {
        &self.names
    }

    /// How many records are there, good or bad.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() / u32::RECORD + self.v6.len() / u128::RECORD
    }

    /// Whether no record is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many records should be there and are not.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.header.flows.0.saturating_add(self.header.flows.1).saturating_sub(self.len() as u64)
    }

    fn bytes(&self, index: usize) -> (&'a [u8], bool) {
        match self.v4.len() / u32::RECORD {
            v4 if index < v4 => (&self.v4[index * u32::RECORD..][..u32::RECORD], false),
            v4 => (&self.v6[(index - v4) * u128::RECORD..][..u128::RECORD], true),
        }
    }

    /// One of the records.
    ///
    /// # Errors
    /// [`Skip::Damaged`], [`Skip::Implausible`], [`Skip::Network`].
    ///
    /// # Panics
    /// Where there is none of this index.
    pub fn record(&self, index: usize, names: &Translation) -> Result<FlowRecord, Skip> {
        match self.bytes(index) {
            (bytes, false) => FlowRecord::take::<u32>(bytes, names),
            (bytes, true) => FlowRecord::take::<u128>(bytes, names),
        }
    }

    /// The order in which the records are to be restored into a table of `room`: the youngest first, where there
    /// are more than that.
    #[must_use]
    pub fn order(&self, room: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        if order.len() > room {
            order.sort_by_cached_key(|index| record::age(self.bytes(*index as usize).0));
        }
        order
    }
}

/// As many whole records as there are, up to `count`; and what follows them.
fn split(bytes: &[u8], count: u64, length: usize) -> (&[u8], &[u8]) {
    let there = bytes.len() / length;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count <= there { bytes.split_at(count * length) } else { (&bytes[..there * length], &[]) }
}

/// The copy of the preamble at the end, where the first one is lost.
fn second_preamble(bytes: &[u8]) -> Option<(Header, Names<'_>, usize)> {
    let (rest, tail) = bytes.split_last_chunk::<TAIL>()?;
    let (length, crc) = tail.split_at(4);
    if crc32c::crc32c(length).to_le_bytes() != crc {
        return None;
    }
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let found = preamble(&rest[rest.len().checked_sub(length)?..]).ok()?;
    // The records begin after the first copy, which has the same length.
    (found.2 == length).then_some(found)
}

/// The preamble that these bytes begin with, and its length.
fn preamble(bytes: &[u8]) -> Result<(Header, Names<'_>, usize), Broken> {
    if !bytes.starts_with(&MAGIC) {
        return Err(Broken::Foreign);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Broken::Preamble)?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if crc32c::crc32c(&header[..HEADER - 4]) != u32_at(HEADER - 4) {
        return Err(Broken::Preamble);
    }
    if u16_at(8) != VERSION {
        return Err(Broken::Version(u16_at(8)));
    }
    let text = rest.get(..u32_at(20) as usize).ok_or(Broken::Preamble)?;
    if crc32c::crc32c(text) != u32_at(76) {
        return Err(Broken::Preamble);
    }
    let mut left = text;
    let mut take = |count: usize| -> Option<Vec<&str>> {
        (0..count)
            .map(|_| {
                let (length, rest) = left.split_first_chunk()?;
                let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
                left = rest;
                std::str::from_utf8(name).ok()
            })
            .collect()
    };
    let mut take = |count: usize| take(count).ok_or(Broken::Preamble);
    let names = Names {
        ports: take(u16_at(10).into())?,
        stitches: take(u16_at(12).into())?,
        rules: take(u32_at(16) as usize)?,
    };
    let saved = Stamp {
        unix_millis: u64_at(40),
        uptime_millis: u64_at(48),
        boot: header[56..72].try_into().expect("sixteen bytes"),
    };
    let header = Header { saved, configuration: u32_at(72), flows: (u64_at(24), u64_at(32)) };
    Ok((header, names, HEADER + text.len()))
}

/// From the numbers of a file to those of this process, by the names of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translation {
    ports: Vec<Option<PortId>>,
    stitches: Vec<Option<Domain>>,
    rules: Vec<Option<RuleKey>>,
}

impl Translation {
    /// From the names of a file to those of now.
    #[must_use]
    pub fn new(file: &Names<'_>, now: &Names<'_>) -> Translation {
        fn find<T>(file: &[&str], now: &[&str], number: impl Fn(usize) -> T) -> Vec<Option<T>> {
            let known: HashMap<&str, usize> = now.iter().enumerate().map(|(at, name)| (*name, at)).collect();
            file.iter().map(|name| known.get(name).map(|at| number(*at))).collect()
        }
        Translation {
            ports: find(&file.ports, &now.ports, |at| PortId(at as u8)),
            stitches: find(&file.stitches, &now.stitches, |at| Domain(at as u16 + 1)),
            rules: find(&file.rules, &now.rules, |at| RuleKey(at as u32)),
        }
    }

    pub(super) fn vlan(&self, port: u16, vid: u16) -> Result<VlanKey, Skip> {
        let port = self.ports.get(usize::from(port)).ok_or(Skip::Implausible)?.ok_or(Skip::Network)?;
        if vid > 4095 { Err(Skip::Implausible) } else { Ok(VlanKey::new(port, vid)) }
    }

    pub(super) fn domain(&self, domain: u16) -> Result<Domain, Skip> {
        match domain.checked_sub(1) {
            None => Ok(Domain::ROUTED),
            Some(at) => self.stitches.get(usize::from(at)).ok_or(Skip::Implausible)?.ok_or(Skip::Network),
        }
    }

    /// `Ok(None)`: there is no rule of that id any more.
    pub(super) fn rule(&self, rule: u32) -> Result<Option<RuleKey>, Skip> {
        self.rules.get(rule as usize).copied().ok_or(Skip::Implausible)
    }
}
