//! Captures: frames from files and into files, for `replay`.
//!
//! Reads pcap and pcapng whole ([`Capture`]), orders the records of several files by time ([`merge`]), and
//! writes pcap or pcapng ([`Writer`]). [`CapturePort`] is the `Port` over both.
//!
//! A capture is a file from who knows where: nothing in it is believed. Every length is checked against the
//! file before it is used, so a bad file costs an error and never more memory than a few times its size. What
//! this does not do: look into frames, and make up for what a capture cut off at its snap length (such a frame
//! is handed on as short as it was captured).

mod classic;
mod error;
mod merge;
mod pcapng;
mod port;
mod writer;

pub use error::{CaptureError, Fault, LinkType};
pub use merge::{Merge, merge};
pub use port::CapturePort;
pub use writer::Writer;

use conntrack::time::Tick;
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A frame as it was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// When, in nanoseconds since 1970-01-01T00:00:00Z.
    pub timestamp: Tick,
    /// The frame from its Ethernet header on, without an FCS.
    pub data: &'a [u8],
}

/// Where a record lies in the file.
#[derive(Clone, Debug)]
struct Span {
    timestamp: Tick,
    bytes: Range<usize>,
}

/// Where and why reading stopped before the end of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Offset in the file of the record or block that is not whole.
    pub offset: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Damage {
    /// The commonest one: the capture was interrupted.
    const CUT_OFF: &'static str = "the file ends in the middle of a record";
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged at byte {}: {}", self.offset, self.what)
    }
}

/// What a parser makes of the bytes of a file.
#[derive(Debug, Default)]
struct Contents {
    spans: Vec<Span>,
    damage: Option<Damage>,
}

/// A capture file, read.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    file: Vec<u8>,
    contents: Contents,
}

impl Capture {
    /// Reads the capture file at `path`; `-` stands for standard input.
    ///
    /// # Errors
    /// Where the file can't be read, is no capture, has a damaged header, or holds frames of another link type
    /// than Ethernet. Damage behind the header is no error: see [`Capture::damage`].
    pub fn read(path: impl AsRef<Path>) -> Result<Capture, CaptureError> {
        let path = path.as_ref();
        let read = if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            std::fs::read(path)
        };
        match read {
            Ok(file) => Capture::from_bytes(path, file),
            Err(cause) => Err(CaptureError::new(path, Fault::Unreadable(cause))),
        }
    }

    /// The capture that `file` holds; errors call it `path`.
    ///
    /// # Errors
    /// As [`Capture::read`].
    pub fn from_bytes(path: impl Into<PathBuf>, file: Vec<u8>) -> Result<Capture, CaptureError> {
        let path = path.into();
        match parse(&file) {
            Ok(contents) => Ok(Capture { path, file, contents }),
            Err(fault) => Err(CaptureError::new(path, fault)),
        }
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records in the order of the file, which need not be that of time.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.contents.spans.iter().map(|span| self.at(span))
    }

    /// The record of that number, the first being 0.
    #[must_use]
    pub fn record(&self, index: usize) -> Option<Record<'_>> {
        self.contents.spans.get(index).map(|span| self.at(span))
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.contents.spans.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.spans.is_empty()
    }

    /// Whether the file ends in the middle of a record, or goes on with what can't be one. The records are then
    /// those before.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.contents.damage.is_some()
    }

    /// Where and why reading stopped before the end of the file, if it did.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.contents.damage
    }

    fn at(&self, span: &Span) -> Record<'_> {
        Record { timestamp: span.timestamp, data: &self.file[span.bytes.clone()] }
    }
}

fn parse(file: &[u8]) -> Result<Contents, Fault> {
    if file.is_empty() {
        return Err(Fault::Empty);
    }
    let Some(magic) = file.first_chunk::<4>() else { return Err(Fault::Unknown) };
    if pcapng::is_magic(*magic) {
        pcapng::parse(file)
    } else if let Some(flavour) = classic::Flavour::of(*magic) {
        classic::parse(file, flavour)
    } else {
        Err(error::of_magic(*magic))
    }
}

/// How many of `captured` bytes are the frame, where it ends in `fcs` bytes of FCS and had `original` bytes on
/// the wire: a capture that was cut at its snap length may have none of the FCS, or a part.
fn without_fcs(captured: usize, original: usize, fcs: usize) -> usize {
    captured.min(original.max(captured).saturating_sub(fcs))
}

#[cfg(test)]
mod tests;
