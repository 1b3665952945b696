//! Who changed what, and when: a file that only grows, each line bound to the one before by its hash.
//!
//! A line is JSON. Its `hash` is SHA-256 over the line as it is without `hash`, and its `previous` is the hash of the
//! line before; so no line can be changed, taken out or put in without all later ones changing. That the last
//! lines are there at all is shown by the hash that `current.json` remembers.

use crate::config::bundle::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a line says, but for its place in the chain.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Note {
    /// Who.
    pub user: String,
    /// What was done: `apply`, `confirm`, `rollback`, `revert`, `boot`, `quarantine` and the like.
    pub action: String,
    /// The version that it is about.
    pub version: Option<u64>,
    /// SHA-256 of the files of that version.
    pub configuration: Option<String>,
    /// What the user says of it.
    pub message: Option<String>,
    /// What else belongs to the action.
    #[serde(default)]
    pub details: Value,
}

/// A line of the history.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1.
    pub number: u64,
    /// When, as RFC 3339 in UTC.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub note: Note,
    /// The hash of the line before; empty on the first.
    pub previous: String,
    /// The hash of this line.
    pub hash: String,
}

impl Entry {
    fn hash_of(&self) -> String {
        let bare = Entry { hash: String::new(), ..self.clone() };
        hex(&Sha256::digest(serde_json::to_vec(&bare).expect("strings and numbers")))
    }
}

/// What is wrong with a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyError {
    /// A line is not one that was written.
    Damaged {
        /// Counts from 1.
        line: usize,
    },
    /// A line does not follow the one before it.
    Broken {
        /// Counts from 1.
        line: usize,
    },
    /// The last lines are missing.
    Cut {
        /// The hash that the last line should have.
        expected: String,
    },
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Damaged { line } => write!(f, "line {line} was changed, or is damaged"),
            VerifyError::Broken { line } => {
                write!(
                    f,
                    "line {line} does not follow the line before it: one was taken out, put in or replaced"
                )
            }
            VerifyError::Cut { expected } => {
                write!(f, "the end is missing: the last line should have the hash {expected}")
            }
        }
    }
}

impl std::error::Error for VerifyError {}

/// Checks a history. `last` is the hash of its last line, where that is known from elsewhere. How many lines there are.
///
/// # Errors
/// The first [`VerifyError`].
pub fn verify(text: &[u8], last: Option<&str>) -> Result<usize, VerifyError> {
    let mut previous = String::new();
    let mut count = 0;
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_slice(line).map_err(|_| VerifyError::Damaged { line: at + 1 })?;
        // The hash is over the words of the line, so the line must be those words and no others.
        let is_exact = serde_json::to_vec(&entry).is_ok_and(|exact| exact == line);
        if !is_exact || entry.hash != entry.hash_of() {
            return Err(VerifyError::Damaged { line: at + 1 });
        }
        count += 1;
        if entry.previous != previous || entry.number != count as u64 {
            return Err(VerifyError::Broken { line: at + 1 });
        }
        previous = entry.hash;
    }
    match last {
        Some(last) if last != previous => Err(VerifyError::Cut { expected: last.to_owned() }),
        Some(_) | None => Ok(count),
    }
}

/// A history that is written on.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    last: Option<Entry>,
}

impl History {
    /// Opens the history of a state folder, or begins one. What is damaged in it stays as it is, for
    /// [`verify`] to find; new lines follow the last good one.
    ///
    /// # Errors
    /// The file is there, and can't be read.
    pub fn open(folder: &Path) -> io::Result<History> {
        let path = folder.join("history.jsonl");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let last = text.split(|b| *b == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok());
        Ok(History { path, last })
    }

    /// The hash of the last line; empty where there is none.
    #[must_use]
    pub fn head(&self) -> &str {
        self.last.as_ref().map_or("", |entry| &entry.hash)
    }

    /// Writes a line, to the disk.
    ///
    /// # Errors
    /// It can't be written; then the history is as it was, but for a part of a line at its end.
    pub fn add(&mut self, time: String, note: Note) -> io::Result<&Entry> {
        let number = self.last.as_ref().map_or(1, |entry| entry.number + 1);
        let mut entry = Entry { number, time, note, previous: self.head().to_owned(), hash: String::new() };
        entry.hash = entry.hash_of();
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        // What a crash or a full disk has left of a line ends where the next begins.
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut end = [0];
            file.read_exact(&mut end)?;
            if end != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line)?;
        file.sync_data()?;
        Ok(self.last.insert(entry))
    }

    /// All lines that can be read, oldest first.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        match std::fs::read(&self.path) {
            Ok(text) => {
                let lines = text.split(|b| *b == b'\n');
                Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Checks the file against `last`, the hash that its last line should have.
    ///
    /// # Errors
    /// The file can't be read, or the first [`VerifyError`].
    pub fn verify(&self, last: Option<&str>) -> io::Result<Result<usize, VerifyError>> {
        match std::fs::read(&self.path) {
            Ok(text) => Ok(verify(&text, last)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(verify(b"", last)),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> (PathBuf, Vec<u8>, String) {
        let folder = std::env::temp_dir().join(format!("bulkhead-history-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut history = History::open(&folder).unwrap();
        for number in 0..4 {
            let note = Note {
                user: "root".to_owned(),
                action: "apply".to_owned(),
                version: Some(number),
                message: Some("naïve \"quoted\"".to_owned()),
                details: serde_json::json!({ "b": 1.5, "a": [null, true] }),
                ..Note::default()
            };
            history.add(format!("2026-11-22T00:00:0{number}Z"), note).unwrap();
        }
        let text = std::fs::read(folder.join("history.jsonl")).unwrap();
        (folder, text, history.head().to_owned())
    }

    #[test]
    fn every_changed_byte_and_every_missing_line_is_found() {
        let (folder, text, head) = sample("bytes");
        assert_eq!(verify(&text, Some(&head)), Ok(4));
        for at in 0..text.len() {
            for flip in [1, 0x20, 0x80] {
                let mut damaged = text.clone();
                damaged[at] ^= flip;
                assert!(verify(&damaged, Some(&head)).is_err(), "byte {at} by {flip:#x}");
            }
        }
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for out in 0..lines.len() {
            let mut rest = lines.clone();
            rest.remove(out);
            assert!(verify(&rest.concat(), Some(&head)).is_err(), "without line {out}");
        }
        for cut in 0..text.len() - 1 {
            assert!(verify(&text[..cut], Some(&head)).is_err(), "cut at {cut}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_torn_line_is_left_behind_and_the_chain_goes_on() {
        let (folder, text, _) = sample("torn");
        let path = folder.join("history.jsonl");
        let torn = text.len() - 20;
        std::fs::write(&path, &text[..torn]).unwrap();
        let mut history = History::open(&folder).unwrap();
        let note = Note { action: "boot".to_owned(), ..Note::default() };
        assert_eq!(history.add("2026-11-22T01:00:00Z".to_owned(), note).unwrap().number, 4);
        assert_eq!(history.entries().unwrap().len(), 4);
        let found = history.verify(Some(history.head())).unwrap();
        assert_eq!(found, Err(VerifyError::Damaged { line: 4 }), "what was torn is not hidden");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
