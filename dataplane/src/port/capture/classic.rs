//! The classic pcap format: one header, then records, in the byte order of the machine that wrote it.
//!
//! ```text
//!   file   | magic 4 | major 2 | minor 2 | zone 4 | accuracy 4 | snap length 4 | link type 4 |
//!   record | seconds 4 | fraction 4 | captured 4 | original 4 | (modified: 8 more) | frame ... |
//!   link type field, from its highest bit on:
//!          | FCS length, in 16-bit words: 4 bits | reserved 1 | FCS length is given 1 | reserved 10 | type 16 |
//! ```
//!
//! The time zone is ignored, as every tool does: it has been 0 since the format began. Where the link-type field
//! says how long an FCS the frames carry, it is taken off; where it doesn't say so, frames are taken as they are.

use super::{Contents, Damage, Fault, LinkType, Span, without_fcs};
use conntrack::time::Tick;
use std::ops::Range;

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// The "modified" format of old Linux libpcaps adds interface index, protocol and packet type.
const MODIFIED_RECORD_HEADER: usize = 24;
/// The one major version that there ever was in the wild.
const MAJOR: u16 = 2;
/// More than any tool captures of an Ethernet frame (MAXIMUM_SNAPLEN of libpcap). A record that claims more is
/// not a record: the file is damaged there.
const MOST_CAPTURED: usize = 262_144;

/// What the magic number says of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flavour {
    big_endian: bool,
    nanoseconds: bool,
    modified: bool,
}

impl Flavour {
    /// `None` where it is not the magic number of the format.
    pub(super) fn of(magic: [u8; 4]) -> Option<Flavour> {
        let (big_endian, number) = match magic {
            [0xa1, ..] => (true, u32::from_be_bytes(magic)),
            _ => (false, u32::from_le_bytes(magic)),
        };
        let (nanoseconds, modified) = match number {
            0xa1b2_c3d4 => (false, false),
            0xa1b2_3c4d => (true, false),
            0xa1b2_cd34 => (false, true),
            _ => return None,
        };
        Some(Flavour { big_endian, nanoseconds, modified })
    }

    fn word(self, bytes: &[u8], offset: usize) -> u32 {
        let word = bytes[offset..offset + 4].try_into().expect("the slice has four bytes");
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    fn half(self, bytes: &[u8], offset: usize) -> u16 {
        let half = bytes[offset..offset + 2].try_into().expect("the slice has two bytes");
        if self.big_endian { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) }
    }

    fn record_header(self) -> usize {
        if self.modified { MODIFIED_RECORD_HEADER } else { RECORD_HEADER }
    }

    fn timestamp(self, seconds: u32, fraction: u32) -> Tick {
        let unit = if self.nanoseconds { 1 } else { 1_000 };
        Tick(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit)
    }
}

/// The records of a file whose magic number has been seen.
pub(super) fn parse(file: &[u8], flavour: Flavour) -> Result<Contents, Fault> {
    if file.len() < FILE_HEADER {
        return Err(Fault::Damaged(Damage { offset: 0, what: "the file ends within its header" }));
    }
    if flavour.half(file, 4) != MAJOR {
        return Err(Fault::Damaged(Damage { offset: 4, what: "a pcap version other than 2" }));
    }
    let link = flavour.word(file, 20);
    let link_type = LinkType((link & 0xffff) as u16);
    if link_type != LinkType::ETHERNET {
        return Err(Fault::LinkType(link_type));
    }
    let fcs = if link & (1 << 26) != 0 { (link >> 28) as usize * 2 } else { 0 };

    let mut contents = Contents::default();
    let mut offset = FILE_HEADER;
    while offset < file.len() {
        match record(file, offset, flavour) {
            Ok((timestamp, bytes, original)) => {
                offset = bytes.end;
                let bytes = bytes.start..bytes.start + without_fcs(bytes.len(), original, fcs);
                contents.spans.push(Span { timestamp, bytes });
            }
            Err(what) => {
                contents.damage = Some(Damage { offset, what });
                break;
            }
        }
    }
    Ok(contents)
}

/// Time stamp, place and original length of the record at `offset`, or why there is none.
fn record(file: &[u8], offset: usize, flavour: Flavour) -> Result<(Tick, Range<usize>, usize), &'static str> {
    let start = offset + flavour.record_header();
    if start > file.len() {
        return Err(Damage::CUT_OFF);
    }
    let captured = flavour.word(file, offset + 8) as usize;
    let original = flavour.word(file, offset + 12) as usize;
    if captured > MOST_CAPTURED {
        return Err("a record longer than 262144 bytes");
    }
    if captured > file.len() - start {
        return Err(Damage::CUT_OFF);
    }
    let timestamp = flavour.timestamp(flavour.word(file, offset), flavour.word(file, offset + 4));
    Ok((timestamp, start..start + captured, original))
}
