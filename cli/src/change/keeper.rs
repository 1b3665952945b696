//! What keeps a gateway's configurations: which is in force, which was before, and what has to be confirmed.
//!
//! A [`Keeper`] writes before the gateway does, so that a process that is killed in between is found to have
//! meant what it did. A change that was to be confirmed and was not when the process ended goes back at the next
//! start, whatever the clock says then.

use super::history::{Entry, History, Note, VerifyError};
use super::versions::{Current, Pending, Version, Versions};
use crate::config::Bundle;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Who does something, and what they say of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// The word for it in the history.
    pub name: &'static str,
    /// Who.
    pub user: String,
    /// What they say.
    pub message: Option<String>,
}

impl Action {
    /// What the gateway does by itself.
    #[must_use]
    pub fn of_gateway(name: &'static str, message: impl Into<String>) -> Action {
        Action { name, user: "bulkhead".to_owned(), message: Some(message.into()) }
    }

    fn note(&self, version: Option<u64>, configuration: Option<String>) -> Note {
        Note {
            user: self.user.clone(),
            action: self.name.to_owned(),
            version,
            configuration,
            message: self.message.clone(),
            details: serde_json::Value::Null,
        }
    }
}

/// Why a change can't be kept.
#[derive(Debug)]
pub enum KeeperError {
    /// There is nothing to confirm.
    NothingPending,
    /// There is no such version.
    NoVersion(Option<u64>),
    /// A file of the state folder can't be written or read.
    Io(io::Error),
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeeperError::NothingPending => f.write_str("there is nothing to confirm"),
            KeeperError::NoVersion(None) => f.write_str("there is no earlier version to go back to"),
            KeeperError::NoVersion(Some(number)) => {
                write!(f, "version {number} is not kept; `bulkhead history` lists those that are")
            }
            KeeperError::Io(error) => write!(f, "the state folder: {error}"),
        }
    }
}

impl std::error::Error for KeeperError {}

impl From<io::Error> for KeeperError {
    fn from(error: io::Error) -> KeeperError {
        KeeperError::Io(error)
    }
}

/// What a gateway starts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Started {
    /// The gateway file, as it is on the disk.
    File,
    /// A version, and why it and not the file.
    Version(Box<Version>, String),
    /// Nothing that is fit: nothing may pass.
    Nothing,
}

/// Keeps the configurations of a gateway.
#[derive(Debug)]
pub struct Keeper {
    versions: Versions,
    history: History,
    current: Current,
    /// When the change that is not confirmed goes back.
    due: Option<Instant>,
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now).to_string()
}

impl Keeper {
    /// Opens a state folder, which is made if it is not there. Files in it that are damaged are passed over, and told
    /// to `report`.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn open(folder: &Path, keep: usize, report: &mut dyn FnMut(String)) -> io::Result<Keeper> {
        let versions = Versions::open(folder, keep)?;
        let history = History::open(folder)?;
        let current = versions.current().unwrap_or_else(|error| {
            report(format!("which version was in force is not known: {error}"));
            // The youngest is the best guess.
            Current { version: versions.numbers().last().copied(), ..Current::default() }
        });
        let last = (!current.history.is_empty()).then_some(current.history.as_str());
        match history.verify(last)? {
            Ok(_) => {}
            // The line is written before its hash is noted: a process that was killed in between.
            Err(VerifyError::Cut { .. }) if history.verify(None)?.is_ok() && !history.head().is_empty() => {}
            Err(error) => report(format!("the history is damaged: {error}")),
        }
        Ok(Keeper { versions, history, current, due: None })
    }

    /// What to start with, where the gateway file has that hash, or is not fit (`None`).
    pub fn start_with(&mut self, file: Option<&str>) -> Started {
        let pending = self.current.pending.as_ref();
        if let Some(pending) = pending {
            let why = format!(
                "version {} was not confirmed before the gateway stopped",
                self.current.version.unwrap_or_default()
            );
            return match pending.back_to {
                Some(number) => self.last_good(Some(number), self.current.version, why),
                // Nothing was in force before it. A file that its author has written since is wanted.
                None if file.is_some() && file != self.pending_hash().as_deref() => Started::File,
                None => Started::Nothing,
            };
        }
        match file {
            Some(hash) if self.current.version.is_none() || self.current.file.as_deref() != Some(hash) => {
                Started::File
            }
            Some(_) => {
                let why = "it was in force when the gateway stopped".to_owned();
                match self.last_good(self.current.version, None, why) {
                    Started::Nothing => Started::File,
                    found => found,
                }
            }
            None => self.last_good(self.current.version, None, "the gateway file is not fit".to_owned()),
        }
    }

    /// The hash of the files of what was in force last.
    fn pending_hash(&self) -> Option<String> {
        self.versions.read(self.current.version?).ok().map(|version| version.hash)
    }

    /// The version of that number, or else the youngest that can be read,
    /// but not the one that nobody has confirmed.
    fn last_good(&self, number: Option<u64>, unconfirmed: Option<u64>, why: String) -> Started {
        let numbers = number.into_iter().chain(self.versions.numbers().iter().rev().copied());
        let numbers = numbers.filter(|number| Some(*number) != unconfirmed);
        let mut versions = numbers.filter_map(|number| self.versions.read(number).ok());
        versions.next().map_or(Started::Nothing, |version| Started::Version(Box::new(version), why))
    }

    /// Keeps what is about to be put into force: as a new version, or as `version` where it is one already. `file` is
    /// the hash of the gateway file. What was current is given back, for [`Keeper::abandon`].
    ///
    /// # Errors
    /// It can't be written, and is not to be put into force.
    pub fn begin(
        &mut self,
        bundle: &Bundle,
        version: Option<u64>,
        action: &Action,
        confirm: Option<Duration>,
        file: Option<String>,
    ) -> Result<Current, KeeperError> {
        let old = self.current.clone();
        let hash = bundle.hash();
        let number = match version {
            Some(number) => number,
            None => {
                let version = Version {
                    number: 0,
                    time: now(),
                    user: action.user.clone(),
                    message: action.message.clone(),
                    hash: hash.clone(),
                    bundle: bundle.clone(),
                };
                let back_to = old.pending.as_ref().and_then(|pending| pending.back_to);
                let needed: Vec<u64> = old.version.into_iter().chain(back_to).collect();
                self.versions.add(version, &needed)?
            }
        };
        // A second change before the first is confirmed goes back behind both.
        let back_to = match &old.pending {
            Some(pending) => pending.back_to,
            None => old.version,
        };
        let pending = confirm.map(|after| Pending {
            back_to,
            until: jiff::Timestamp::now().checked_add(after).unwrap_or(jiff::Timestamp::MAX).to_string(),
        });
        self.history.add(now(), action.note(Some(number), Some(hash)))?;
        let history = self.history.head().to_owned();
        // A start puts the same version into force again, and what never was confirmed is nothing to go back to.
        let previous = if back_to == Some(number) { old.previous } else { back_to };
        let file = file.or_else(|| old.file.clone());
        let current = Current { version: Some(number), previous, pending, file, history };
        self.versions.set_current(&current)?;
        self.due = confirm.map(|after| Instant::now() + after);
        self.current = current;
        Ok(old)
    }

    /// Takes [`Keeper::begin`] back: the gateway refused.
    pub fn abandon(&mut self, old: Current, why: &str) {
        let action = Action::of_gateway("refused", why);
        // The answer to the user says it in any case.
        let _ = self.history.add(now(), action.note(self.current.version, None));
        self.current = Current { history: self.history.head().to_owned(), ..old };
        let _ = self.versions.set_current(&self.current);
    }

    /// Confirms what is in force; its version.
    ///
    /// # Errors
    /// Nothing is pending, or the confirmation can't be written: then it is none.
    pub fn confirm(&mut self, action: &Action) -> Result<u64, KeeperError> {
        let (Some(number), Some(_)) = (self.current.version, &self.current.pending) else {
            return Err(KeeperError::NothingPending);
        };
        self.history.add(now(), action.note(Some(number), None))?;
        let history = self.history.head().to_owned();
        let current = Current { pending: None, history, ..self.current.clone() };
        self.versions.set_current(&current)?;
        self.current = current;
        self.due = None;
        Ok(number)
    }

    /// What was to be confirmed in time and was not is out of force, and there is nothing to go back to: nothing may
    /// pass, also after a restart.
    ///
    /// # Errors
    /// It can't be written; it is not in force any more all the same.
    pub fn back_to_nothing(&mut self, action: &Action) -> Result<(), KeeperError> {
        self.due = None;
        self.note(action, serde_json::Value::Null)
    }

    /// Whether there is a version behind what has to be confirmed yet.
    #[must_use]
    pub fn has_way_back(&self) -> bool {
        self.current.pending.as_ref().is_none_or(|pending| pending.back_to.is_some())
    }

    /// Whether what is in force was to be confirmed and was not.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }

    /// Tries again later what could not be taken back now.
    pub fn postpone(&mut self, by: Duration) {
        self.due = Some(Instant::now() + by);
    }

    /// The version to go back to: the one that is asked for, the one that stands behind an unconfirmed change, or the
    /// one before that in force.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn earlier(&self, number: Option<u64>) -> Result<Version, KeeperError> {
        let pending = self.current.pending.as_ref().and_then(|pending| pending.back_to);
        let wanted = number.or(pending).or(self.current.previous).ok_or(KeeperError::NoVersion(number))?;
        if !self.versions.numbers().contains(&wanted) {
            return Err(KeeperError::NoVersion(Some(wanted)));
        }
        Ok(self.versions.read(wanted)?)
    }

    /// A version that is kept.
    ///
    /// # Errors
    /// It is not there, or is damaged.
    pub fn version(&self, number: u64) -> Result<Version, KeeperError> {
        self.earlier(Some(number))
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> &Current {
        &self.current
    }

    /// The numbers of the versions that are kept.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        self.versions.numbers()
    }

    /// Notes something in the history that is no change of the configuration's files.
    ///
    /// # Errors
    /// It can't be written.
    pub fn note(&mut self, action: &Action, details: serde_json::Value) -> Result<(), KeeperError> {
        let note = Note { details, ..action.note(self.current.version, None) };
        self.history.add(now(), note)?;
        self.current.history = self.history.head().to_owned();
        self.versions.set_current(&self.current)?;
        Ok(())
    }

    /// The history, oldest first.
    ///
    /// # Errors
    /// It can't be read.
    pub fn entries(&self) -> Result<Vec<Entry>, KeeperError> {
        Ok(self.history.entries()?)
    }

    /// Checks the chain of the history.
    ///
    /// # Errors
    /// It can't be read.
    pub fn verify(&self) -> Result<Result<usize, VerifyError>, KeeperError> {
        Ok(self.history.verify(Some(&self.current.history))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BundleFile;

    fn bundle(text: &str) -> Bundle {
        Bundle { files: vec![BundleFile { path: "gw.toml".into(), text: text.to_owned() }] }
    }

    fn by_root(name: &'static str) -> Action {
        Action { name, user: "root".to_owned(), message: None }
    }

    struct Folder(std::path::PathBuf);
    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("bulkhead-keeper-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Folder(path)
        }
        fn open(&self) -> Keeper {
            Keeper::open(&self.0, 10, &mut |said| panic!("{said}")).unwrap()
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn text(started: Started) -> String {
        match started {
            Started::Version(version, _) => version.bundle.files[0].text.clone(),
            Started::File => "the file".to_owned(),
            Started::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn what_is_not_confirmed_goes_back_also_after_a_restart() {
        let folder = Folder::new("confirm");
        let mut keeper = folder.open();
        assert_eq!(text(keeper.start_with(Some("f"))), "the file");
        assert_eq!(text(keeper.start_with(None)), "nothing");
        keeper.begin(&bundle("one"), None, &by_root("boot"), None, Some("f".into())).unwrap();
        let two = Some(Duration::from_secs(2));
        keeper.begin(&bundle("two"), None, &by_root("apply"), two, None).unwrap();
        assert!(!keeper.is_due());
        assert_eq!(keeper.earlier(None).unwrap().number, 1);
        // Killed here: the next start has the first again, whatever the file is.
        assert_eq!(text(folder.open().start_with(Some("f"))), "one");
        assert_eq!(text(folder.open().start_with(Some("other"))), "one");
        // A second change goes back behind both.
        keeper.begin(&bundle("three"), None, &by_root("apply"), two, None).unwrap();
        assert_eq!(text(folder.open().start_with(Some("f"))), "one");
        assert_eq!(keeper.confirm(&by_root("confirm")).unwrap(), 3);
        assert_eq!(text(folder.open().start_with(Some("f"))), "three");
        // Whoever has edited the file since wants the file, unless it is not fit.
        assert_eq!(text(folder.open().start_with(Some("other"))), "the file");
        assert_eq!(text(folder.open().start_with(None)), "three");
        assert!(matches!(keeper.confirm(&by_root("confirm")), Err(KeeperError::NothingPending)));
        assert_eq!(keeper.earlier(None).unwrap().number, 1, "the second was never confirmed");
        assert!(matches!(keeper.earlier(Some(9)), Err(KeeperError::NoVersion(Some(9)))));
        assert_eq!(keeper.verify().unwrap(), Ok(4));
        let actions: Vec<String> =
            keeper.entries().unwrap().into_iter().map(|entry| entry.note.action).collect();
        assert_eq!(actions, ["boot", "apply", "apply", "confirm"]);
    }

    #[test]
    fn what_was_never_confirmed_over_nothing_goes_back_to_nothing() {
        let folder = Folder::new("nothing");
        let mut keeper = folder.open();
        keeper.begin(&bundle("one"), None, &by_root("apply"), Some(Duration::ZERO), None).unwrap();
        assert!(keeper.is_due() && !keeper.has_way_back());
        keeper.back_to_nothing(&by_root("deny-all")).unwrap();
        assert!(!keeper.is_due());
        let mut again = folder.open();
        assert_eq!(text(again.start_with(None)), "nothing");
        let same = bundle("one").hash();
        assert_eq!(text(again.start_with(Some(&same))), "nothing", "the file is what was not confirmed");
        assert_eq!(text(again.start_with(Some("other"))), "the file");
        again.begin(&bundle("two"), None, &by_root("apply"), None, None).unwrap();
        assert_eq!(text(folder.open().start_with(None)), "two");
    }

    #[test]
    fn a_gateway_that_refuses_leaves_what_was() {
        let folder = Folder::new("refused");
        let mut keeper = folder.open();
        keeper.begin(&bundle("one"), None, &by_root("boot"), None, Some("f".into())).unwrap();
        let old = keeper.begin(&bundle("two"), None, &by_root("apply"), None, None).unwrap();
        keeper.abandon(old, "no");
        assert_eq!(keeper.current().version, Some(1));
        assert_eq!(text(folder.open().start_with(Some("f"))), "one");
        assert!(keeper.verify().unwrap().is_ok());
    }

    #[test]
    fn no_damage_of_a_state_folder_stops_a_start() {
        let folder = Folder::new("damage");
        let mut keeper = folder.open();
        keeper.begin(&bundle("one"), None, &by_root("boot"), None, Some("f".into())).unwrap();
        keeper.begin(&bundle("two"), None, &by_root("apply"), Some(Duration::from_secs(9)), None).unwrap();
        for name in ["current.json", "history.jsonl", "versions/000001.json", "versions/000002.json"] {
            let path = folder.0.join(name);
            let good = std::fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << (at % 8);
                for damaged in [flipped.as_slice(), &good[..at]] {
                    std::fs::write(&path, damaged).unwrap();
                    let mut keeper = Keeper::open(&folder.0, 10, &mut |_| {}).unwrap();
                    let started = text(keeper.start_with(Some("f")));
                    assert!(["one", "two", "the file", "nothing"].contains(&started.as_str()), "{name} {at}");
                    // The version that was confirmed is gone back to wherever it can be read, and never the other.
                    if name == "versions/000002.json" {
                        assert_eq!(started, "one");
                    }
                    if name == "versions/000001.json" {
                        assert_ne!(started, "two");
                    }
                }
            }
            std::fs::write(&path, &good).unwrap();
        }
    }
}
