//! Why a capture can't be used, said to an operator.

use super::Damage;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A link type, as the registry at <https://www.tcpdump.org/linktypes.html> numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Frames that begin with an Ethernet header.
    pub const ETHERNET: LinkType = LinkType(1);

    /// The registry's name for the link types that operators meet, without its `LINKTYPE_`.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "NULL",
            1 => "ETHERNET",
            3 => "AX25",
            6 => "IEEE802_5",
            8 => "SLIP",
            9 => "PPP",
            10 => "FDDI",
            12 | 14 | 101 => "RAW",
            50 => "PPP_HDLC",
            51 => "PPP_ETHER",
            100 => "ATM_RFC1483",
            104 => "C_HDLC",
            105 => "IEEE802_11",
            107 => "FRELAY",
            108 => "LOOP",
            113 => "LINUX_SLL",
            117 => "PFLOG",
            119 => "IEEE802_11_PRISM",
            123 => "SUNATM",
            127 => "IEEE802_11_RADIOTAP",
            147..=162 => "USER0 to USER15",
            182 => "MFR",
            187 => "BLUETOOTH_HCI_H4",
            189 => "USB_LINUX",
            195 => "IEEE802_15_4_WITHFCS",
            220 => "USB_LINUX_MMAPPED",
            228 => "IPV4",
            229 => "IPV6",
            239 => "NFLOG",
            252 => "WIRESHARK_UPPER_PDU",
            253 => "NETLINK",
            276 => "LINUX_SLL2",
            _ => return None,
        })
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A capture file that can't be used, and why.
#[derive(Debug)]
pub struct CaptureError {
    path: PathBuf,
    fault: Fault,
}

impl CaptureError {
    pub(super) fn new(path: impl Into<PathBuf>, fault: Fault) -> Self {
        CaptureError { path: path.into(), fault }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Unreadable(cause) | Fault::Unwritable(cause) => Some(cause),
            Fault::Empty | Fault::Unknown | Fault::Compressed(_) | Fault::LinkType(_) | Fault::Damaged(_) => {
                None
            }
        }
    }
}

/// What is wrong with a capture file.
#[derive(Debug)]
pub enum Fault {
    /// The system said no to reading.
    Unreadable(io::Error),
    /// The system said no to writing.
    Unwritable(io::Error),
    /// Not one byte.
    Empty,
    /// Neither pcap nor pcapng.
    Unknown,
    /// A compressed file, by this program's name.
    Compressed(&'static str),
    /// Frames that do not begin with an Ethernet header.
    LinkType(LinkType),
    /// The header of the file is not whole.
    Damaged(Damage),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreadable(cause) => write!(f, "can't be read: {cause}"),
            Fault::Unwritable(cause) => write!(f, "can't be written: {cause}"),
            Fault::Empty => write!(f, "the file is empty"),
            Fault::Unknown => write!(f, "neither a pcap nor a pcapng file"),
            Fault::Compressed(program) => {
                write!(f, "compressed with {program}: unpack it first")
            }
            Fault::LinkType(link_type) => {
                write!(f, "link type {link_type} is not Ethernet")
            }
            Fault::Damaged(damage) => damage.fmt(f),
        }
    }
}

/// What to say of a file that begins with `magic`, which is no capture.
pub(super) fn of_magic(magic: [u8; 4]) -> Fault {
    match magic {
        [0x1f, 0x8b, _, _] => Fault::Compressed("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Fault::Compressed("zstd"),
        [0xfd, b'7', b'z', b'X'] => Fault::Compressed("xz"),
        [0x04, 0x22, 0x4d, 0x18] => Fault::Compressed("lz4"),
        _ => Fault::Unknown,
    }
}
