//! Rule hits of earlier runs, kept in a file of the state folder, so that a restart forgets none.
//!
//! The file is JSON: by rule id, what all runs before this one have counted. It is replaced whole, by a rename.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The name under which hits of the policy's default are kept; no rule's id has a blank in it.
pub const DEFAULT: &str = "the default";

/// What earlier runs counted of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptHits {
    /// Flows that it let in.
    pub flows: u64,
    /// Packets that were dropped or rejected by it.
    pub drops: u64,
    /// When it was hit first, as RFC 3339 in UTC.
    pub first: Option<String>,
    /// When it was hit last.
    pub last: Option<String>,
}

impl KeptHits {
    /// What was kept, and what has come since.
    #[must_use]
    pub fn and(&self, newer: &KeptHits) -> KeptHits {
        KeptHits {
            flows: self.flows + newer.flows,
            drops: self.drops + newer.drops,
            first: self.first.clone().or_else(|| newer.first.clone()),
            last: newer.last.clone().or_else(|| self.last.clone()),
        }
    }
}

/// By rule id.
pub type HitTable = BTreeMap<String, KeptHits>;

fn file(folder: &Path) -> PathBuf {
    folder.join("hits.json")
}

/// Reads what was kept. A file that can't be understood is put aside as `hits.json.bad`, and counting begins anew:
/// the error tells.
///
/// # Errors
/// The file is there, and can't be read or understood.
pub(super) fn load(folder: &Path) -> io::Result<HitTable> {
    let path = file(folder);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HitTable::new()),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text).map_err(|error| {
        let _ = std::fs::rename(&path, path.with_extension("json.bad"));
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}; it is put aside", path.display()))
    })
}

/// Keeps hits for the next run.
///
/// # Errors
/// The file can't be written; the old one is as it was.
pub(super) fn save(folder: &Path, hits: &HitTable) -> io::Result<()> {
    super::replace_file(&file(folder), &serde_json::to_vec(hits)?)
}
