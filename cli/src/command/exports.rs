//! Where `bulkhead run` tells others of events and counters.

use crate::control::Desk;
use crate::export::{
    Collect, EventFile, Exporter, Exporting, FileOptions, Ipfix, IpfixOptions, Responder, Syslog,
    SyslogTarget, collector_address, listen_address,
};
use crate::run::{Host, Sandbox};
use crate::run::hub::{Feed, Told, What};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The options of `bulkhead run` that are about events and counters.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Events and counters")]
pub(super) struct Exports {
    /// Write a JSON line for each new flow and each dropped frame, at the end of this file; `-` is the standard
    /// output. Without it, only rules with `log = true` are told of, on the standard error. SIGHUP opens the file
    /// again.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Rotate the file of `--events` when it would get larger: `100M`, `2G`; 0: never.
    #[arg(long, value_name = "SIZE", default_value = "100M", value_parser = size)]
    events_max_size: u64,
    /// Keep so many older files, as FILE.1 (the newest) and so on.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    events_keep: u32,
    /// Keep so many of the last events for `bulkhead observe --last` and `--since`.
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    event_history: usize,
    /// Tell of so many drops a second for each reason, and of more only as a number; 0: of all.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    event_rate: u64,
    /// Send events as syslog messages (RFC 5424): `unix:/dev/log` or `udp:ADDRESS:PORT`.
    #[arg(long, value_name = "WHERE")]
    syslog: Option<SyslogTarget>,
    /// Send flows and drops as IPFIX records (RFC 7011) by UDP to a collector: `ADDRESS:PORT`, with 4739 as its usual port.
    #[arg(long, value_name = "ADDRESS", value_parser = collector_address)]
    ipfix: Option<SocketAddr>,
    /// Tell the collector of flows that live every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ipfix_active: u64,
    /// Name the rule in each record, as element 1 of this private enterprise number (your own, of IANA's registry).
    #[arg(long, value_name = "NUMBER")]
    ipfix_enterprise: Option<u32>,
    /// Serve counters to Prometheus at `http://ADDRESS/metrics`; a port alone is one of 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    metrics: Option<SocketAddr>,
}

/// How long exporters may take at the end to hand on what they have.
const AT_THE_END: Duration = Duration::from_secs(2);

/// The exporters at work.
pub(super) struct Exporters {
    at_work: Vec<Exporting>,
    ipfix: Option<Ipfix>,
    reopen: Arc<AtomicBool>,
}

impl Exports {
    /// A feed that keeps as much as is asked for.
    pub(super) fn feed(&self) -> Feed {
        Feed::new(self.event_history)
    }

    /// Drops of each reason that are told in a second; 0: all.
    pub(super) fn rate(&self) -> u64 {
        self.event_rate
    }

    /// Serves counters, where that is asked for.
    pub(super) fn metrics(&self, desk: &Arc<Desk>) -> Result<Option<Responder>, String> {
        let Some(address) = self.metrics else { return Ok(None) };
        let desk = Arc::clone(desk);
        let collect: Collect = Box::new(move || desk.metrics().map_err(|failure| failure.to_string()));
        let responder = Responder::start(address, collect);
        responder.map(Some).map_err(|error| format!("the address {address}: {error}"))
    }

    /// What is written to again and again: a folder, where files are rotated in it.
    pub(super) fn written(&self) -> impl Iterator<Item = &Path> {
        let events = self.events.as_deref().filter(|path| path.as_os_str() != "-");
        events.into_iter().map(|path| if path.is_file() { Sandbox::folder_of(path) } else { path })
    }

    /// Opens what is written to, before anything is changed.
    pub(super) fn open(&self) -> Result<Opened, String> {
        let reopen = Arc::new(AtomicBool::new(false));
        let options = FileOptions { max_size: self.events_max_size, keep: self.events_keep };
        let file = self.events.as_ref().map(|path| {
            EventFile::open(path, options, Arc::clone(&reopen))
                .map_err(|error| format!("{}: {error}", path.display()))
        });
        let ipfix = self.ipfix.map(|collector| IpfixOptions {
            collector,
            active: Duration::from_secs(self.ipfix_active),
            enterprise: self.ipfix_enterprise,
        });
        Ok(Opened { file: file.transpose()?, syslog: self.syslog.clone(), ipfix, reopen })
    }
}

/// What is written to, opened.
pub(super) struct Opened {
    file: Option<EventFile>,
    syslog: Option<SyslogTarget>,
    ipfix: Option<IpfixOptions>,
    reopen: Arc<AtomicBool>,
}

impl Opened {
    /// Starts the exporters.
    pub(super) fn start(self, feed: &Feed, host: &Host) -> std::io::Result<Exporters> {
        let mut at_work = Vec::new();
        at_work.push(match self.file {
            Some(file) => Exporting::start("file", feed, file)?,
            None => Exporting::start("log", feed, Log)?,
        });
        if let Some(target) = self.syslog {
            at_work.push(Exporting::start("syslog", feed, Syslog::new(target, &host_name()))?);
        }
        let interfaces = || host.gateway().guards().iter().map(|guard| guard.interface().index).collect();
        let ipfix =
            self.ipfix.map(|options| Ipfix::start(options, Arc::clone(host.shared()), feed, interfaces()));
        Ok(Exporters { at_work, ipfix: ipfix.transpose()?, reopen: self.reopen })
    }
}

impl Exporters {
    /// Opens files again by their names, soon.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Tells of what only workers know. To be called before they end.
    pub(super) fn last_look(&self) {
        self.ipfix.iter().for_each(Ipfix::last_look);
    }

    /// Waits for what is still to be handed on, once the hub has ended.
    pub(super) fn finish(self) {
        let deadline = Instant::now() + AT_THE_END;
        let at_work = self.at_work.into_iter().chain(self.ipfix.map(Ipfix::into_exporting));
        let late = at_work.filter_map(|export| (!export.finish(deadline)).then_some(())).count();
        if late > 0 {
            tell!("bulkhead: the last events could not be handed on in {} seconds", AT_THE_END.as_secs());
        }
    }
}

/// The name of this machine.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Rules with `log = true`, on the standard error.
struct Log;

impl Exporter for Log {
    fn take(&mut self, told: &Told) {
        match &told.what {
            What::Event(record) if record.is_logged => tell!("{}", told.to_json()),
            What::Lost { count, why } => tell!("bulkhead: {count} events are lost: {why}"),
            What::Event(_) | What::Note(_) | What::Suppressed { .. } => {}
        }
    }

    fn settle(&mut self) {}
}

/// A number of bytes: `4096`, `100K`, `100M`, `2G`, in powers of 1,000.
fn size(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is no size: write bytes, or `100K`, `100M`, `2G`");
    let (digits, unit) = match text.bytes().last().map(|letter| letter.to_ascii_uppercase()) {
        Some(b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits.parse().map_err(|_| fault())?;
    number.checked_mul(unit).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("100M"), Ok(100_000_000));
        assert_eq!(size("2g"), Ok(2_000_000_000));
        for wrong in ["", "M", "-1", "1T", "99999999999G", "1.5M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
