//! Writing captures: the same frames at the same times give the same bytes.
//!
//! Files are little-endian with nanosecond time stamps, and bear nothing of the machine, the program or the hour
//! that wrote them.

use super::{CaptureError, Fault, LinkType};
use conntrack::time::Tick;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The snap length that the file states: no frame is cut, and this is the most that readers accept
/// (MAXIMUM_SNAPLEN of libpcap).
const SNAP_LENGTH: u32 = 262_144;

/// The format of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// Classic pcap with nanoseconds.
    Pcap,
    /// pcapng, one section with one interface.
    Pcapng,
}

/// A capture file that is being written.
pub struct Writer {
    path: PathBuf,
    format: Format,
    sink: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Creates the file at `path`, or empties it: pcapng where its extension is `pcapng`, else pcap. `-` stands
    /// for standard output.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Writer, CaptureError> {
        let path = path.as_ref();
        let sink: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(path).map_err(|cause| unwritable(path, cause))?)
        };
        Writer::to(path, sink)
    }

    /// Writes to `sink`, in the format that `path` asks for; errors call it `path`.
    ///
    /// # Errors
    /// Where the sink takes no bytes.
    pub fn to(path: impl Into<PathBuf>, sink: Box<dyn Write + Send>) -> Result<Writer, CaptureError> {
        let path = path.into();
        let is_pcapng = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("pcapng"));
        let format = if is_pcapng { Format::Pcapng } else { Format::Pcap };
        let mut writer = Writer { path, format, sink: Box::new(BufWriter::new(sink)) };
        let header = match format {
            Format::Pcap => pcap_header(),
            Format::Pcapng => pcapng_header(),
        };
        writer.put(&[&header])?;
        Ok(writer)
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// Where the bytes can't be written.
    ///
    /// # Panics
    /// Where a frame has 4 GiB or more.
    pub fn write(&mut self, at: Tick, frame: &[u8]) -> Result<(), CaptureError> {
        let length = u32::try_from(frame.len()).expect("a frame is far shorter than 4 GiB");
        match self.format {
            Format::Pcap => {
                // The format ends in the year 2106: later times are given as its last second.
                let seconds = u32::try_from(at.0 / 1_000_000_000).unwrap_or(u32::MAX);
                let fraction = (at.0 % 1_000_000_000) as u32;
                self.put(&[&words([seconds, fraction, length, length]), frame])
            }
            Format::Pcapng => {
                let padding = &[0; 3][..frame.len().next_multiple_of(4) - frame.len()];
                let total = 32 + length.next_multiple_of(4);
                let header = [6, total, 0, (at.0 >> 32) as u32, at.0 as u32, length, length];
                self.put(&[&words(header), frame, padding, &words([total])])
            }
        }
    }

    /// Writes what is buffered. Dropping the writer does so too, but can't tell of an error.
    ///
    /// # Errors
    /// Where the bytes can't be written.
    pub fn finish(mut self) -> Result<(), CaptureError> {
        self.sink.flush().map_err(|cause| unwritable(&self.path, cause))
    }

    fn put(&mut self, parts: &[&[u8]]) -> Result<(), CaptureError> {
        for part in parts {
            self.sink.write_all(part).map_err(|cause| unwritable(&self.path, cause))?;
        }
        Ok(())
    }
}

fn unwritable(path: &Path, cause: io::Error) -> CaptureError {
    CaptureError::new(path, Fault::Unwritable(cause))
}

fn words<const N: usize>(values: [u32; N]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn pcap_header() -> Vec<u8> {
    // The third word is the version, 2.4, as two halves.
    let version = 4 << 16 | 2;
    words([0xa1b2_3c4d, version, 0, 0, SNAP_LENGTH, u32::from(LinkType::ETHERNET.0)])
}

fn pcapng_header() -> Vec<u8> {
    let section = words([0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28]);
    // if_tsresol (9), one byte, 10^-9, padded; then the end of the options.
    let resolution = [1 << 16 | 9, 9, 0];
    let head = words([1, 32, u32::from(LinkType::ETHERNET.0), SNAP_LENGTH]);
    [section, head, words(resolution), words([32])].concat()
}
