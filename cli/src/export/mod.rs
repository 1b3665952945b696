//! Events and counters for other programs: a file, syslog, an IPFIX collector, Prometheus.
//!
//! Each export of events is a reader of the [hub](crate::run::hub) with a thread of its own. Where its file or its
//! collector stalls, that thread does, its queue fills, and what finds no room there is counted and told of in the
//! same stream once there is room again. Nobody else waits.

mod exposition;
mod file;
mod http;
mod ipfix;
mod syslog;

pub use exposition::{Exposition, Kind};
pub use file::{EventFile, FileOptions};
pub use http::{Collect, Responder, listen_address};
pub use ipfix::{Ipfix, IpfixOptions, collector_address};
pub use syslog::{Syslog, SyslogTarget};

use crate::run::hub::{Feed, Told};
use crossbeam_channel::RecvTimeoutError;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that wait for an exporter: at 10,000 a second, its disk may stall for almost two seconds.
const ROOM: usize = 16 * 1024;
/// Events that an exporter takes before it hands them on.
const PORTION: usize = 512;
/// How often an exporter looks after itself where nothing happens.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// What takes events out of the gateway.
pub trait Exporter: Send + 'static {
    /// Takes one.
    fn take(&mut self, told: &Told);

    /// Hands on what was taken, and looks after itself. Called after each few hundred events, and a few times a
    /// second.
    fn settle(&mut self);
}

/// An exporter at work.
#[derive(Debug)]
pub struct Exporting {
    thread: JoinHandle<()>,
}

impl Exporting {
    /// Gives an exporter all events from now on. `kind` is under what its losses are counted.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(kind: &'static str, feed: &Feed, mut exporter: impl Exporter) -> io::Result<Exporting> {
        let (_, events) = feed.subscribe(kind, ROOM, false);
        let thread = std::thread::Builder::new().name(format!("export-{kind}")).spawn(move || {
            loop {
                match events.recv_timeout(LOOK_AFTER) {
                    Ok(told) => exporter.take(&told),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                events.try_iter().take(PORTION).for_each(|told| exporter.take(&told));
                exporter.settle();
            }
            exporter.settle();
        })?;
        Ok(Exporting { thread })
    }

    /// Waits until it has handed on everything, once its hub has ended; whether it has by the deadline.
    #[must_use]
    pub fn finish(self, deadline: Instant) -> bool {
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}
