//! Messages on their way to the collector (RFC 7011 §3, §10.3): UDP, which neither waits nor tells of loss.
//!
//! ```text
//!   0   version 10 | length      16  set: id | length | records ...    set: ...
//!   4   export time              templates come first in a message, where they are due
//!   8   sequence number          of data records sent before this message
//!  12   observation domain
//! ```

use super::record::{DOMAIN, Record, Totals};
use super::template::{self, TOTALS, Templates};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const VERSION: u16 = 10;
const HEADER: usize = 16;
const SET_HEADER: usize = 4;
/// The longest message: with IPv6 and UDP it fits a path of 1,500 bytes with some room for tunnels (§10.3.3).
const LONGEST: usize = 1400;
/// Templates go out again, for a collector that was not there (§8.4).
const REFRESH: Duration = Duration::from_secs(60);
/// After an error they are in every message for so long: a collector that is started again has none.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long the system's queue may stay full before a message is lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// A collector, and the message for it that is being written.
pub(super) struct Collector {
    address: SocketAddr,
    /// `None`: it is to be opened with the next message.
    socket: Option<UdpSocket>,
    templates: Templates,
    /// When they were sent; `None`: they are due.
    told: Option<Instant>,
    /// When a message could not be sent.
    failed: Option<Instant>,
    /// Data records that were sent.
    sequence: u32,
    message: Vec<u8>,
    /// Where the set that is being written begins, and its number.
    set: Option<(usize, u16)>,
    /// Data records in the message, and those of flows and drops among them.
    waiting: (u32, u64),
    scratch: Vec<u8>,
    /// What was sent and lost.
    pub(super) totals: Totals,
}

impl Collector {
    /// A collector, which need not be there yet.
    pub(super) fn new(address: SocketAddr, templates: Templates) -> Collector {
        Collector {
            address,
            socket: None,
            templates,
            told: None,
            failed: None,
            sequence: 0,
            message: Vec::with_capacity(LONGEST),
            set: None,
            waiting: (0, 0),
            scratch: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Sends a record with the next message.
    pub(super) fn push(&mut self, record: &Record) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        self.templates.write(record, &mut scratch);
        self.add(template::of(record), &scratch);
        self.waiting.1 += 1;
        self.scratch = scratch;
    }

    /// Tells of what was sent and lost up to now, with what is still to be sent.
    pub(super) fn tell_totals(&mut self) {
        self.flush();
        let mut values = Vec::new();
        self.totals.write(&mut values);
        self.add(TOTALS, &values);
        self.flush();
    }

    /// Whether templates are due again.
    fn is_due(&self) -> bool {
        self.told.is_none_or(|told| told.elapsed() >= REFRESH)
            || self.failed.is_some_and(|failed| failed.elapsed() < TROUBLE)
    }

    fn add(&mut self, set: u16, record: &[u8]) {
        if self.message.len() + SET_HEADER + record.len() > LONGEST {
            self.flush();
        }
        if self.message.is_empty() {
            self.message.resize(HEADER, 0);
            if self.is_due() {
                self.message.extend(self.templates.sets());
                self.told = Some(Instant::now());
            }
        }
        if self.set.is_none_or(|(_, id)| id != set) {
            self.end_set();
            self.set = Some((self.message.len(), set));
            self.message.extend(set.to_be_bytes());
            self.message.extend([0; 2]);
        }
        self.message.extend(record);
        self.waiting.0 += 1;
    }

    fn end_set(&mut self) {
        if let Some((at, _)) = self.set.take() {
            let length = (self.message.len() - at) as u16;
            self.message[at + 2..at + 4].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Sends what there is.
    pub(super) fn flush(&mut self) {
        if self.message.is_empty() {
            return;
        }
        self.end_set();
        let seconds = u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or(u32::MAX);
        let length = self.message.len() as u16;
        self.message[..2].copy_from_slice(&VERSION.to_be_bytes());
        self.message[2..4].copy_from_slice(&length.to_be_bytes());
        self.message[4..8].copy_from_slice(&seconds.to_be_bytes());
        self.message[8..12].copy_from_slice(&self.sequence.to_be_bytes());
        self.message[12..16].copy_from_slice(&DOMAIN.to_be_bytes());
        let (records, of_flows) = std::mem::take(&mut self.waiting);
        match self.send() {
            Ok(()) => {
                self.sequence = self.sequence.wrapping_add(records);
                self.totals.messages += 1;
                self.totals.records += of_flows;
                self.totals.octets += u64::from(length);
            }
            Err(_) => {
                self.totals.lost += of_flows;
                self.failed = Some(Instant::now());
            }
        }
        self.message.clear();
    }

    fn send(&mut self) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let any: SocketAddr =
                    if self.address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.connect(self.address)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                socket
            }
        };
        let sent = socket.send(&self.message);
        // That nobody heard the message before makes this one's no worse: the port, which is the stream's name, stays.
        if sent.is_ok() || sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            self.socket = Some(socket);
        }
        sent.map(|_| ())
    }
}
