//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each section in a byte order of its own.
//!
//! ```text
//!   block    | type 4 | length 4 | body ... | length 4 |        lengths are of the whole block, multiples of 4
//!   section  | SHB | IDB | IDB | EPB | EPB | ... | SHB | IDB | ...
//! ```
//!
//! Blocks are cut here, by their checked lengths, and those with interfaces and packets are read by
//! `pcap_parser`, but for the obsolete packet block, which it does not know. All other blocks are skipped. A
//! simple packet has no time stamp: it gets that of the packet before it, and the first of a file gets 0.

use super::{Contents, Damage, Fault, LinkType, Span, without_fcs};
use conntrack::time::Tick;
use pcap_parser::pcapng::{
    InterfaceDescriptionBlock, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_simplepacketblock_be,
    parse_simplepacketblock_le,
};
use pcap_parser::{OptionCode, PcapNGOption};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Type, length and length again.
const FRAMING: usize = 12;
/// The shortest section header: framing, byte-order magic, version, section length.
const SHORTEST_SECTION: usize = 28;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Interface, time stamp (two words), captured and original length, after type and length.
const PACKET_HEADER: usize = 28;
/// Interface option: the length of the FCS that frames end in.
const IF_FCSLEN: OptionCode = OptionCode(13);
/// Packet option of enhanced packets: flags, with the length of the FCS in bits 5 to 8.
const EPB_FLAGS: OptionCode = OptionCode(2);

/// Whether a file that begins so is of this format: the section header's type reads the same both ways.
pub(super) fn is_magic(magic: [u8; 4]) -> bool {
    u32::from_le_bytes(magic) == SECTION_HEADER
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Big,
    Little,
}

impl Order {
    fn word(self, bytes: &[u8], offset: usize) -> u32 {
        let word = bytes[offset..offset + 4].try_into().expect("the slice has four bytes");
        match self {
            Order::Big => u32::from_be_bytes(word),
            Order::Little => u32::from_le_bytes(word),
        }
    }

    fn half(self, bytes: &[u8], offset: usize) -> u16 {
        let half = bytes[offset..offset + 2].try_into().expect("the slice has two bytes");
        match self {
            Order::Big => u16::from_be_bytes(half),
            Order::Little => u16::from_le_bytes(half),
        }
    }

    fn offset(self, bytes: [u8; 8]) -> i64 {
        match self {
            Order::Big => i64::from_be_bytes(bytes),
            Order::Little => i64::from_le_bytes(bytes),
        }
    }
}

/// The value of the first option of that code.
fn value<'a>(options: &'a [PcapNGOption<'_>], code: OptionCode) -> Option<&'a [u8]> {
    options.iter().find(|option| option.code == code)?.as_bytes().ok()
}

/// What is to be known of an interface to read its packets.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link_type: LinkType,
    snap_length: usize,
    resolution: Resolution,
    /// Seconds to add to each time stamp.
    offset: i64,
    fcs: usize,
}

impl Interface {
    fn of(block: &InterfaceDescriptionBlock<'_>, order: Order) -> Interface {
        let fcs = match value(&block.options, IF_FCSLEN) {
            // Octets, but early drafts of the format said bits, and no FCS has 16 octets.
            Some(&[bits]) if bits >= 16 => usize::from(bits / 8),
            Some(&[octets]) => usize::from(octets),
            Some(_) | None => 0,
        };
        Interface {
            // The block's field has 16 bits, whatever the type that it is given in.
            link_type: LinkType((block.linktype.0 & 0xffff) as u16),
            snap_length: if block.snaplen == 0 { usize::MAX } else { block.snaplen as usize },
            resolution: Resolution::of(block.if_tsresol),
            // The library reads this option as little-endian in sections of both byte orders.
            offset: value(&block.options, OptionCode::IfTsoffset)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0, |bytes| order.offset(bytes)),
            fcs,
        }
    }

    fn timestamp(&self, high: u32, low: u32) -> Tick {
        let units = u64::from(high) << 32 | u64::from(low);
        let nanoseconds = self.resolution.nanoseconds(units) + i128::from(self.offset) * 1_000_000_000;
        Tick(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
    }
}

/// The unit of time stamps, as `if_tsresol` gives it.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    /// Ten to the minus this many seconds.
    Decimal(u32),
    /// Two to the minus this many seconds.
    Binary(u32),
}

impl Resolution {
    fn of(option: u8) -> Resolution {
        let exponent = u32::from(option & 0x7f);
        if option & 0x80 == 0 { Resolution::Decimal(exponent) } else { Resolution::Binary(exponent) }
    }

    /// Both products fit: 2^64 times 10^9 is below 2^94.
    fn nanoseconds(self, units: u64) -> i128 {
        let units = i128::from(units);
        match self {
            Resolution::Decimal(exponent) if exponent <= 9 => units * 10_i128.pow(9 - exponent),
            Resolution::Decimal(exponent) => {
                10_i128.checked_pow(exponent - 9).map_or(0, |divisor| units / divisor)
            }
            Resolution::Binary(exponent) => (units * 1_000_000_000) >> exponent,
        }
    }
}

/// What the blocks before say of the blocks to come.
#[derive(Debug)]
struct Reader {
    order: Order,
    interfaces: Vec<Interface>,
    latest: Tick,
    contents: Contents,
}

/// Why reading stops at a block.
#[derive(Debug)]
enum Stop {
    /// The block is not whole: what came before it is used.
    Damaged(&'static str),
    /// The block holds what the gateway has no use for: the file is refused.
    LinkType(LinkType),
}

/// The records of a file that begins with a section header's type.
pub(super) fn parse(file: &[u8]) -> Result<Contents, Fault> {
    let mut reader = Reader {
        order: Order::Little,
        interfaces: Vec::new(),
        latest: Tick(0),
        contents: Contents::default(),
    };
    let mut offset = 0;
    while offset < file.len() {
        match reader.step(file, offset) {
            Ok(length) => offset += length,
            Err(Stop::Damaged(what)) if offset == 0 => {
                return Err(Fault::Damaged(Damage { offset, what }));
            }
            Err(Stop::Damaged(what)) => {
                reader.contents.damage = Some(Damage { offset, what });
                break;
            }
            Err(Stop::LinkType(link_type)) => return Err(Fault::LinkType(link_type)),
        }
    }
    Ok(reader.contents)
}

impl Reader {
    /// Reads the block at `offset`, and says how long it is.
    fn step(&mut self, file: &[u8], offset: usize) -> Result<usize, Stop> {
        let rest = &file[offset..];
        let length = self.length(rest)?;
        self.block(&rest[..length], offset)?;
        Ok(length)
    }

    /// The length of the block that `rest` begins with. A section header's sets the byte order first.
    fn length(&mut self, rest: &[u8]) -> Result<usize, Stop> {
        if rest.len() < FRAMING {
            return Err(Stop::Damaged(Damage::CUT_OFF));
        }
        let is_section = self.order.word(rest, 0) == SECTION_HEADER;
        if is_section {
            self.order = if Order::Little.word(rest, 8) == BYTE_ORDER_MAGIC {
                Order::Little
            } else if Order::Big.word(rest, 8) == BYTE_ORDER_MAGIC {
                Order::Big
            } else {
                return Err(Stop::Damaged("a section header without its byte-order magic"));
            };
        }
        let length = self.order.word(rest, 4) as usize;
        if length < if is_section { SHORTEST_SECTION } else { FRAMING } || !length.is_multiple_of(4) {
            return Err(Stop::Damaged("a block of impossible length"));
        }
        if length > rest.len() {
            return Err(Stop::Damaged(Damage::CUT_OFF));
        }
        if self.order.word(rest, length - 4) as usize != length {
            return Err(Stop::Damaged("a block whose two lengths differ"));
        }
        Ok(length)
    }

    fn block(&mut self, block: &[u8], offset: usize) -> Result<(), Stop> {
        match self.order.word(block, 0) {
            SECTION_HEADER => {
                if self.order.half(block, 12) != 1 {
                    return Err(Stop::Damaged("a pcapng version other than 1"));
                }
                self.interfaces.clear();
                Ok(())
            }
            INTERFACE => self.interface(block),
            ENHANCED_PACKET => self.enhanced(block, offset),
            SIMPLE_PACKET => self.simple(block, offset),
            OBSOLETE_PACKET => self.obsolete(block, offset),
            _ => Ok(()),
        }
    }

    fn interface(&mut self, block: &[u8]) -> Result<(), Stop> {
        let parsed = match self.order {
            Order::Big => parse_interfacedescriptionblock_be(block),
            Order::Little => parse_interfacedescriptionblock_le(block),
        };
        let Ok((_, description)) = parsed else {
            return Err(Stop::Damaged("an interface description that can't be read"));
        };
        self.interfaces.push(Interface::of(&description, self.order));
        Ok(())
    }

    fn enhanced(&mut self, block: &[u8], offset: usize) -> Result<(), Stop> {
        let parsed = match self.order {
            Order::Big => parse_enhancedpacketblock_be(block),
            Order::Little => parse_enhancedpacketblock_le(block),
        };
        let Ok((_, packet)) = parsed else {
            return Err(Stop::Damaged("an enhanced packet that can't be read"));
        };
        let mut interface = self.ethernet(packet.if_id)?;
        if let Some(fcs) = flagged_fcs(self.order, &packet.options) {
            interface.fcs = fcs;
        }
        let header = Header {
            timestamp: interface.timestamp(packet.ts_high, packet.ts_low),
            captured: packet.caplen as usize,
            original: packet.origlen as usize,
        };
        self.packet(block, offset, interface.fcs, PACKET_HEADER, header)
    }

    /// Like an enhanced packet, but for the interface's number, which shares its word with a count of drops.
    fn obsolete(&mut self, block: &[u8], offset: usize) -> Result<(), Stop> {
        if block.len() < PACKET_HEADER + 4 {
            return Err(Stop::Damaged("a packet block that is too short"));
        }
        let interface = self.ethernet(u32::from(self.order.half(block, 8)))?;
        let header = Header {
            timestamp: interface.timestamp(self.order.word(block, 12), self.order.word(block, 16)),
            captured: self.order.word(block, 20) as usize,
            original: self.order.word(block, 24) as usize,
        };
        self.packet(block, offset, interface.fcs, PACKET_HEADER, header)
    }

    fn simple(&mut self, block: &[u8], offset: usize) -> Result<(), Stop> {
        let parsed = match self.order {
            Order::Big => parse_simplepacketblock_be(block),
            Order::Little => parse_simplepacketblock_le(block),
        };
        let Ok((_, packet)) = parsed else {
            return Err(Stop::Damaged("a simple packet that can't be read"));
        };
        // Simple packets are of the section's first interface, and don't say how much was captured.
        let interface = self.ethernet(0)?;
        let original = packet.origlen as usize;
        let header =
            Header { timestamp: self.latest, captured: original.min(interface.snap_length), original };
        self.packet(block, offset, interface.fcs, 12, header)
    }

    fn ethernet(&self, interface: u32) -> Result<Interface, Stop> {
        let interface = self
            .interfaces
            .get(interface as usize)
            .ok_or(Stop::Damaged("a packet of an interface that was never described"))?;
        if interface.link_type != LinkType::ETHERNET {
            return Err(Stop::LinkType(interface.link_type));
        }
        Ok(*interface)
    }

    /// Notes a packet whose frame begins `start` bytes into its block, which begins at `offset` in the file.
    fn packet(
        &mut self,
        block: &[u8],
        offset: usize,
        fcs: usize,
        start: usize,
        header: Header,
    ) -> Result<(), Stop> {
        if header.captured > block.len() - start - 4 {
            return Err(Stop::Damaged("a packet that is longer than its block"));
        }
        let start = offset + start;
        let bytes = start..start + without_fcs(header.captured, header.original, fcs);
        self.latest = header.timestamp;
        self.contents.spans.push(Span { timestamp: header.timestamp, bytes });
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    timestamp: Tick,
    captured: usize,
    original: usize,
}

/// The FCS length that an enhanced packet's own flags give; 0 there means that they don't.
fn flagged_fcs(order: Order, options: &[PcapNGOption<'_>]) -> Option<usize> {
    let flags = value(options, EPB_FLAGS)?;
    if flags.len() != 4 {
        return None;
    }
    match (order.word(flags, 0) >> 5) & 0xf {
        0 => None,
        length => Some(length as usize),
    }
}
