//! What the process may still do to the file system once it is at work (Landlock): read the folders of its
//! configuration and of its feeds, and write those of its state, its socket and its log. It starts no program.
//!
//! The kernel restricts the thread that asks and those that it starts from then on, so this comes before the first.
//! A gateway is started under it as well: it must be able to open its ports again.

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the kernel is asked to know of; one that knows less restricts less.
const KNOWN: ABI = ABI::V5;
/// What a gateway reads beside its own: its kernel's settings, randomness, and the names of users.
const SYSTEM: [&str; 4] = ["/proc", "/sys", "/dev/urandom", "/etc/passwd"];

/// The paths that are left to the process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sandbox {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
}

/// How much of it is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enforced {
    /// All that is asked for.
    Whole,
    /// What this kernel knows of.
    Partly,
    /// Nothing: the kernel has no Landlock, or it is switched off.
    Not,
}

impl Sandbox {
    /// Lets a folder be read.
    pub fn read(&mut self, folder: &Path) {
        self.read.insert(folder.to_owned());
    }

    /// Lets a folder be read and written.
    pub fn write(&mut self, folder: &Path) {
        self.write.insert(folder.to_owned());
    }

    /// The folder of a file.
    #[must_use]
    pub fn folder_of(file: &Path) -> &Path {
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Puts it into force, for this thread and all that it starts.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enforce(&self) -> Result<Enforced, RulesetError> {
        let reading = AccessFs::ReadFile | AccessFs::ReadDir;
        let writing = AccessFs::from_all(KNOWN) & !(AccessFs::Execute | AccessFs::IoctlDev);
        let mut rules = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?.create()?;
        let read = SYSTEM.iter().map(Path::new).chain(self.read.iter().map(PathBuf::as_path));
        let read = read.map(|path| (path, reading));
        for (path, access) in read.chain(self.write.iter().map(|path| (path.as_path(), writing))) {
            // What is not there need not be allowed.
            let Ok(opened) = PathFd::new(path) else { continue };
            rules = rules.add_rule(PathBeneath::new(opened, fitting(path, access)))?;
        }
        Ok(match rules.restrict_self()?.ruleset {
            RulesetStatus::FullyEnforced => Enforced::Whole,
            RulesetStatus::PartiallyEnforced => Enforced::Partly,
            RulesetStatus::NotEnforced => Enforced::Not,
        })
    }
}

/// What of it there is for a file, where the path is none of a folder.
fn fitting(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) }
}
