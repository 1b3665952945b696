//! Every configuration that was in force, and which one is.

use crate::config::Bundle;
use crate::run::replace_file;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A configuration that was in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Counts from 1.
    pub number: u64,
    /// When it was put into force, as RFC 3339 in UTC.
    pub time: String,
    /// By whom.
    pub user: String,
    /// What they said of it.
    pub message: Option<String>,
    /// SHA-256 of the files: [`Bundle::hash`].
    pub hash: String,
    /// The files.
    pub bundle: Bundle,
}

/// A change that is taken back unless it is confirmed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The version to go back to; `None`: there was none, and nothing may pass.
    pub back_to: Option<u64>,
    /// When, as RFC 3339 in UTC.
    pub until: String,
}

/// Which version is in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// Its number.
    pub version: Option<u64>,
    /// The one that was in force for good before it.
    #[serde(default)]
    pub previous: Option<u64>,
    /// Whether it has to be confirmed yet.
    pub pending: Option<Pending>,
    /// The hash of the gateway file and its includes as they were then: where they are others at the next start,
    /// their author wants them.
    pub file: Option<String>,
    /// The hash of the last line of the history.
    pub history: String,
}

/// The versions in a state folder.
#[derive(Debug)]
pub struct Versions {
    folder: PathBuf,
    keep: usize,
    numbers: Vec<u64>,
}

impl Versions {
    /// Opens the versions of a state folder, which is made if it is not there; of them, `keep` are kept.
    ///
    /// # Errors
    /// The folder can't be made or read.
    pub fn open(folder: &Path, keep: usize) -> io::Result<Versions> {
        let within = folder.join("versions");
        DirBuilder::new().recursive(true).mode(0o700).create(&within)?;
        let mut numbers: Vec<u64> = std::fs::read_dir(&within)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(Versions { folder: folder.to_owned(), keep: keep.max(2), numbers })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join("versions").join(format!("{number:06}.json"))
    }

    /// The numbers of the versions that are kept, oldest first.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// Keeps a new version under the next number, and lets go of the oldest but those in `needed`.
    ///
    /// # Errors
    /// It can't be written.
    pub fn add(&mut self, version: Version, needed: &[u64]) -> io::Result<u64> {
        let number = self.numbers.last().map_or(1, |last| last + 1);
        let version = Version { number, ..version };
        replace_file(&self.path(number), &serde_json::to_vec(&version)?)?;
        self.numbers.push(number);
        let mut surplus = self.numbers.len().saturating_sub(self.keep);
        let folder = &self.folder;
        self.numbers.retain(|old| {
            if surplus == 0 || *old == number || needed.contains(old) {
                return true;
            }
            surplus -= 1;
            // One that can't be removed is only found again at the next start.
            let _ = std::fs::remove_file(folder.join("versions").join(format!("{old:06}.json")));
            false
        });
        Ok(number)
    }

    /// Reads a version, and checks that it is what was written.
    ///
    /// # Errors
    /// It is not there, or is damaged.
    pub fn read(&self, number: u64) -> io::Result<Version> {
        let path = self.path(number);
        let damaged = |what: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {what}", path.display()))
        };
        let version: Version =
            serde_json::from_slice(&std::fs::read(&path)?).map_err(|error| damaged(error.to_string()))?;
        if version.bundle.hash() != version.hash || version.number != number {
            return Err(damaged("its content has not the hash that it was written with".to_owned()));
        }
        Ok(version)
    }

    /// What is in force, as it was written last.
    ///
    /// # Errors
    /// The file is there, and can't be understood.
    pub fn current(&self) -> io::Result<Current> {
        match std::fs::read(self.folder.join("current.json")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("current.json: {error}"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Current::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes what is in force.
    ///
    /// # Errors
    /// It can't be written; what was written before stays.
    pub fn set_current(&self, current: &Current) -> io::Result<()> {
        replace_file(&self.folder.join("current.json"), &serde_json::to_vec(current)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BundleFile;

    fn version(text: &str) -> Version {
        let bundle = Bundle { files: vec![BundleFile { path: "gw.toml".into(), text: text.to_owned() }] };
        Version {
            number: 0,
            time: "2026-11-22T00:00:00Z".to_owned(),
            user: "root".to_owned(),
            message: None,
            hash: bundle.hash(),
            bundle,
        }
    }

    #[test]
    fn versions_are_kept_pruned_and_found_damaged() {
        let folder = std::env::temp_dir().join(format!("bulkhead-versions-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let mut versions = Versions::open(&folder, 3).unwrap();
        for n in 1..=5 {
            assert_eq!(versions.add(version(&format!("# {n}")), &[1]).unwrap(), n);
        }
        assert_eq!(versions.numbers(), [1, 4, 5], "the first is needed");
        let again = Versions::open(&folder, 3).unwrap();
        assert_eq!(again.numbers(), versions.numbers());
        assert_eq!(again.read(4).unwrap().bundle.files[0].text, "# 4");
        let path = folder.join("versions/000004.json");
        let text = std::fs::read(&path).unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            match again.read(4) {
                Err(_) => {}
                // What is said about the files may be damaged; the files may not.
                Ok(read) => assert_eq!(read.bundle.files[0].text, "# 4", "byte {at}"),
            }
            std::fs::write(&path, &text[..at]).unwrap();
            assert!(again.read(4).is_err(), "cut at {at}");
        }
        let current = Current { version: Some(5), ..Current::default() };
        assert_eq!(again.current().unwrap(), Current::default());
        again.set_current(&current).unwrap();
        assert_eq!(again.current().unwrap(), current);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
