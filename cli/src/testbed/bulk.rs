//! Many bytes over TCP, and proof that they arrived as they were sent: the receiver answers with a hash.
//!
//! ```text
//!   sender -> sink:   length (8 bytes, big endian), the bytes
//!   sink -> sender:   FNV-1a of the bytes (8 bytes, big endian)
//! ```

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const BLOCK: usize = 64 * 1024;

/// Why bytes did not arrive as they were sent.
#[derive(Debug)]
pub enum BulkError {
    /// The connection failed.
    Network(io::Error),
    /// Other bytes arrived.
    Altered {
        /// The hash of what was sent.
        sent: u64,
        /// The hash of what arrived.
        arrived: u64,
    },
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BulkError::Network(error) => write!(f, "the transfer failed: {error}"),
            BulkError::Altered { sent, arrived } => {
                write!(f, "the bytes changed on their way: hash {sent:016x} was sent, {arrived:016x} arrived")
            }
        }
    }
}

impl std::error::Error for BulkError {}

/// FNV-1a with 64 bits.
struct Hash(u64);

impl Hash {
    fn new() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Bytes that don't repeat within a transfer: splitmix64.
struct Stream(u64);

impl Stream {
    fn fill(&mut self, block: &mut [u8]) {
        for chunk in block.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let bytes = (z ^ (z >> 31)).to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

pub(super) fn send(mut stream: TcpStream, bytes: u64, timeout: Duration) -> Result<(), BulkError> {
    let mut exchange = || {
        stream.set_write_timeout(Some(timeout))?;
        stream.set_read_timeout(Some(timeout))?;
        stream.write_all(&bytes.to_be_bytes())?;
        let (mut hash, mut source, mut block) = (Hash::new(), Stream(bytes), vec![0; BLOCK]);
        let mut left = bytes;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            source.fill(&mut block[..part]);
            hash.add(&block[..part]);
            stream.write_all(&block[..part])?;
            left -= part as u64;
        }
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        Ok((hash.0, u64::from_be_bytes(answer)))
    };
    match exchange().map_err(BulkError::Network)? {
        (sent, arrived) if sent == arrived => Ok(()),
        (sent, arrived) => Err(BulkError::Altered { sent, arrived }),
    }
}

pub(super) fn receive(stream: &mut TcpStream) -> io::Result<()> {
    let mut length = [0; 8];
    stream.read_exact(&mut length)?;
    let (mut hash, mut left, mut block) = (Hash::new(), u64::from_be_bytes(length), vec![0; BLOCK]);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let got = stream.read(&mut block[..most])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.add(&block[..got]);
        left -= got as u64;
    }
    stream.write_all(&hash.0.to_be_bytes())
}
