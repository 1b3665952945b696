//! The pcapng file of a capture (draft-ietf-opsawg-pcapng): one section, an interface for each port, each packet with a
//! comment, and what was lost at the end.
//!
//! ```text
//!   SHB | IDB trunk0 | EPB .. EPB | IDB wan0 | EPB .. | ISB trunk0 | ISB wan0
//! ```

use std::io::{self, Write};

const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;
/// The most that readers accept (MAXIMUM_SNAPLEN of libpcap).
const SNAP: u32 = 262_144;

const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
/// isb_ifdrop: packets that were dropped for want of room.
const DROPPED: u16 = 5;
/// The longest comment.
const LONGEST: usize = 4096;

/// A file that is being written, in little-endian order and nanoseconds.
#[derive(Debug)]
pub struct Pcapng<W> {
    sink: W,
}

impl<W: Write> Pcapng<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// The sink takes no bytes.
    pub fn new(sink: W) -> io::Result<Pcapng<W>> {
        let mut file = Pcapng { sink };
        // The version is 1.0, the section's length is not told.
        let mut body = words(&[BYTE_ORDER, 1, u32::MAX, u32::MAX]);
        option(&mut body, USER_APPLICATION, concat!("bulkhead ", env!("CARGO_PKG_VERSION")).as_bytes());
        file.block(SECTION, body)?;
        Ok(file)
    }

    /// Adds an interface: the first is 0.
    ///
    /// # Errors
    /// The sink takes no bytes.
    pub fn interface(&mut self, name: &str) -> io::Result<()> {
        let mut body = words(&[ETHERNET, SNAP]);
        option(&mut body, INTERFACE_NAME, name.as_bytes());
        option(&mut body, TIME_RESOLUTION, &[9]);
        self.block(INTERFACE, body)
    }

    /// Adds a packet of `length` bytes, of which `bytes` are kept; its time is in nanoseconds since 1970.
    ///
    /// # Errors
    /// The sink takes no bytes.
    pub fn packet(
        &mut self,
        interface: u32,
        time_ns: u64,
        length: u32,
        bytes: &[u8],
        comment: &str,
    ) -> io::Result<()> {
        let kept = bytes.len() as u32;
        let mut body = words(&[interface, (time_ns >> 32) as u32, time_ns as u32, kept, length]);
        padded(&mut body, bytes);
        option(&mut body, COMMENT, &comment.as_bytes()[..comment.floor_char_boundary(LONGEST)]);
        self.block(PACKET, body)
    }

    /// Says how many packets of an interface are missing.
    ///
    /// # Errors
    /// The sink takes no bytes.
    pub fn statistics(&mut self, interface: u32, time_ns: u64, dropped: u64) -> io::Result<()> {
        let mut body = words(&[interface, (time_ns >> 32) as u32, time_ns as u32]);
        option(&mut body, DROPPED, &dropped.to_le_bytes());
        self.block(STATISTICS, body)
    }

    /// Hands on what is buffered.
    ///
    /// # Errors
    /// The sink takes no bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Writes a block whose body ends in options: their end, and its length on both sides.
    fn block(&mut self, kind: u32, mut body: Vec<u8>) -> io::Result<()> {
        body.extend([0; 4]);
        let length = body.len() as u32 + 12;
        self.sink.write_all(&[&words(&[kind, length])[..], &body, &length.to_le_bytes()].concat())
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn option(into: &mut Vec<u8>, code: u16, value: &[u8]) {
    into.extend(code.to_le_bytes());
    into.extend((value.len() as u16).to_le_bytes());
    padded(into, value);
}

fn padded(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(bytes);
    into.resize(into.len().next_multiple_of(4), 0);
}
