//! Is this machine fit to be a gateway? Each finding says what was found, and what to do about it.
//!
//! What the kernel tells in files is read under a root that tests can choose; what it tells by requests comes through
//! [`Cards`].

mod cards;
mod machine;
mod port;
#[cfg(test)]
mod tests;

pub use cards::{Cards, Live};

use dataplane::topology::PortConfig;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How good or bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, slower or less surely than it could.
    Warn,
    /// It does not work so.
    Fail,
}

impl Level {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// `machine`, `gateway`, or the port.
    pub subject: String,
    /// What was looked at.
    pub check: &'static str,
    /// How good or bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it, where it is not ok.
    pub remedy: Option<String>,
}

/// The findings about one subject.
pub(crate) struct Findings<'a> {
    subject: &'a str,
    all: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(crate) fn about(subject: &'a str) -> Findings<'a> {
        Findings { subject, all: Vec::new() }
    }

    fn add(&mut self, check: &'static str, level: Level, found: impl Into<String>, remedy: Option<String>) {
        let subject = self.subject.to_owned();
        self.all.push(Finding { subject, check, level, found: found.into(), remedy });
    }

    pub(crate) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Level::Ok, found, None);
    }

    pub(crate) fn warn(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Warn, found, Some(remedy.into()));
    }

    pub(crate) fn fail(&mut self, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Fail, found, Some(remedy.into()));
    }

    pub(crate) fn into_all(self) -> Vec<Finding> {
        self.all
    }
}

/// What is to run here.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The ports.
    pub ports: Vec<PortConfig>,
    /// The cores that workers are pinned to.
    pub cores: Vec<usize>,
    /// Whether a gateway has the ports already: what it changes about them is changed.
    pub is_running: bool,
}

impl Plan {
    fn workers(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// A file's text without the blanks around it.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.0.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// A list of numbers as the kernel writes it: `0-3,8`.
    pub(crate) fn numbers(&self, path: &str) -> Option<Vec<usize>> {
        let text = self.text(path)?;
        let parts = text.split(',').filter(|part| !part.is_empty());
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
        };
        parts.map(range).collect::<Option<Vec<_>>>().map(|ranges| ranges.into_iter().flatten().collect())
    }
}

/// Looks at everything. The kernel's files are under `root`: `/`.
#[must_use]
pub fn examine(root: &Path, cards: &dyn Cards, plan: &Plan) -> Vec<Finding> {
    let files = Files(root.to_owned());
    let mut all = machine::examine(&files, plan);
    for port in &plan.ports {
        all.extend(port::examine(&files, cards, plan, port));
    }
    all
}
