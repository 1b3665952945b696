//! Where the flows are kept between two runs.
//!
//! ```text
//!   DIR/lock             held by the gateway whose directory this is
//!   DIR/flows            written at a planned end, and renamed before anything in it is used
//!   DIR/flows.new        while it is being written
//!   DIR/flows.restored   what the last start has taken up, for whoever wants to look at it
//!   DIR/flows.broken     what a start could make nothing of
//! ```
//!
//! A file is used once: were it still there after a crash, it would bring back flows that had ended long ago.
//! Where it can't be renamed it is not used. Nothing here keeps a gateway from starting: without its flows it begins
//! as after a crash, with `pickup`.
//!
//! What is in the file is [`conntrack::snapshot`]'s.

use crate::config::Configuration;
use conntrack::Tracker;
use conntrack::snapshot::{self, Broken, Names, Skip, Snapshot, Stamp};
use conntrack::time::Tick;
use dataplane::engine::Engine;
use dataplane::ownership::Owners;
use dataplane::restore::{Restored, restore};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where flows are kept unless the operator says otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/bulkhead";

/// How long a gateway that is on its way out may hold the directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The largest file that is read: twice as many flows as a table may have.
const LARGEST: u64 = 16 << 30;

/// A directory that this process alone keeps flows in.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Held, not read.
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory where it is not there, and takes it.
    ///
    /// # Errors
    /// Where that can't be done, or another gateway has it.
    pub fn take(path: &Path) -> io::Result<StateDirectory> {
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        let options = OpenOptions::new().write(true).create(true).mode(0o600).to_owned();
        let lock = options.open(path.join("lock"))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(StateDirectory { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let what = "another gateway keeps its flows there; give each its own with `--state DIR`";
                    return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
                }
            }
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes up the flows that were saved, if there are any.
    pub fn restore(&self, into: Newcomers<'_>) -> Resumption {
        let bytes = match self.consume() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Resumption::Nothing,
            Err(error) => return Resumption::Refused(self.file("flows"), error),
        };
        let snapshot = match Snapshot::open(&bytes) {
            Ok(snapshot) => snapshot,
            Err(why) => {
                let aside = self.file("flows.broken");
                // Where it can't be put aside it stays under its other name, and is not used again either.
                let _ = fs::rename(self.file("flows.restored"), &aside);
                return Resumption::Broken(aside, why);
            }
        };
        into.take_up(&snapshot)
    }

    /// The saved flows, which from now on nobody else gets.
    fn consume(&self) -> io::Result<Option<Vec<u8>>> {
        let options =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).to_owned();
        let mut file = match options.open(self.file("flows")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or a far too large one"));
        }
        fs::rename(self.file("flows"), self.file("flows.restored"))?;
        self.sync()?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(metadata.len() as usize).map_err(|_| io::ErrorKind::OutOfMemory)?;
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Saves flows; how many. Either all are saved or none.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, flows: &Leaving<'_>) -> io::Result<u64> {
        let new = self.file("flows.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let written = flows
            .write(&mut file)
            .and_then(|flows| file.flush().and_then(|()| file.sync_all()).map(|()| flows));
        match written.and_then(|flows| fs::rename(&new, self.file("flows")).map(|()| flows)) {
            Ok(flows) => self.sync().map(|()| flows),
            Err(error) => {
                // What is left of it must not fill the disk up; the next one would remove it as well.
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }

    /// Sees to it that renamed files are still so after a power cut.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// The flows of trackers that get no more packets.
#[derive(Clone, Copy)]
pub struct Leaving<'a> {
    /// By worker.
    pub trackers: &'a [Tracker],
    /// What rules and VLANs are called.
    pub names: &'a Names<'a>,
    /// What was in force.
    pub configuration: &'a Configuration,
}

impl Leaving<'_> {
    /// Writes them; how many.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn write(&self, into: &mut impl Write) -> io::Result<u64> {
        snapshot::write(self.trackers, self.names, &stamp(), checksum(self.configuration), into)
    }
}

/// Engines that have seen no packet yet, and are to have the flows of others.
pub struct Newcomers<'a> {
    /// By worker.
    pub engines: &'a mut [Engine],
    /// Whose a flow is.
    pub owners: &'a Owners,
    /// The time of the workers.
    pub now: Tick,
    /// What rules and VLANs are called.
    pub names: &'a Names<'a>,
    /// What is in force.
    pub configuration: &'a Configuration,
}

impl Newcomers<'_> {
    /// Takes up the flows that [`Leaving::write`] has written.
    ///
    /// # Errors
    /// They can't be read.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Resumption, Broken> {
        Snapshot::open(bytes).map(|snapshot| self.take_up(&snapshot))
    }

    fn take_up(self, snapshot: &Snapshot<'_>) -> Resumption {
        let header = snapshot.header();
        let away = header.saved.until(&stamp());
        let mut engines: Vec<&mut Engine> = self.engines.iter_mut().collect();
        let past = away.unwrap_or_default();
        Resumption::Restored {
            flows: restore(&mut engines, self.owners, self.now, snapshot, self.names, past),
            away,
            is_same_configuration: header.configuration == checksum(self.configuration),
        }
    }
}

/// A CRC of the text of all files of a configuration.
fn checksum(configuration: &Configuration) -> u32 {
    snapshot::checksum(configuration.sources().iter().map(|file| file.text().as_bytes()))
}

/// Now, by all clocks.
fn stamp() -> Stamp {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime = Duration::new(uptime.tv_sec.unsigned_abs(), uptime.tv_nsec.unsigned_abs() as u32);
    Stamp {
        unix_millis: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        uptime_millis: millis(uptime),
        boot: boot_id().unwrap_or_default(),
    }
}

/// The UUID that the kernel has drawn at its start (random(4)).
fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok().map(u128::to_be_bytes)
}

/// What came of the flows that were saved.
#[derive(Debug)]
pub enum Resumption {
    /// None were: a first start, or one after a crash.
    Nothing,
    /// Some live on.
    Restored {
        /// How many, and what became of the others.
        flows: Restored,
        /// How long the gateway was away; `None`: the clock was set back meanwhile.
        away: Option<Duration>,
        /// Whether they were saved under the text that is in force now.
        is_same_configuration: bool,
    },
    /// The file was put aside, for nothing in it can be read.
    Broken(PathBuf, Broken),
    /// The file or its directory can't be used.
    Refused(PathBuf, io::Error),
}

impl Resumption {
    /// As one line of `--events`, where there is something to tell. `time` is RFC 3339.
    #[must_use]
    pub fn event(&self, time: &str) -> Option<serde_json::Value> {
        let Resumption::Restored { flows, away, is_same_configuration } = self else { return None };
        let skipped: serde_json::Map<_, _> =
            causes(flows).map(|(name, count)| (name.to_owned(), count.into())).collect();
        Some(serde_json::json!({
            "time": time,
            "event": "flows-restored",
            "saved": flows.saved,
            "restored": flows.flows,
            "judged_later": flows.marked,
            "skipped": skipped,
            "away_ms": away.map(|away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX)),
            "same_configuration": is_same_configuration,
        }))
    }
}

fn causes(flows: &Restored) -> impl Iterator<Item = (&'static str, u64)> {
    Skip::ALL.into_iter().map(|cause| (cause.name(), flows.skipped(cause))).filter(|(_, count)| *count > 0)
}

impl fmt::Display for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resumption::Nothing => f.write_str("no saved flows; it begins with an empty table"),
            Resumption::Restored { flows, away, is_same_configuration } => {
                write!(f, "{} of {} saved flows are restored", flows.flows, flows.saved)?;
                for (at, (name, count)) in causes(flows).enumerate() {
                    write!(f, "{} {count} {name}", if at == 0 { "; not restored:" } else { "," })?;
                }
                match away {
                    Some(away) => write!(f, "; away for {:.3} s", away.as_secs_f64())?,
                    None => f.write_str("; the clock was set back meanwhile, so none has aged")?,
                }
                if !is_same_configuration {
                    f.write_str("; the configuration has changed meanwhile")?;
                }
                Ok(())
            }
            Resumption::Broken(aside, why) => {
                write!(
                    f,
                    "the saved flows can't be read: {why}; the file is put aside as {}, and the table is empty",
                    aside.display()
                )
            }
            Resumption::Refused(path, error) => {
                write!(f, "{}: {error}; flows are not restored", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests;
