//! The files of a configuration as they are on the disk, and whether they have changed since they were read.

use super::bundle::{Bundle, Disk, Files};
use super::{load_from, now};
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

/// The hash of a gateway file and all that it includes. They are read and understood once, and again only when
/// something of them has changed: whoever changes the policy through the control socket leaves them as they are.
#[derive(Debug)]
pub struct OnDisk {
    path: PathBuf,
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    asked: Vec<Asked>,
    hash: Option<String>,
}

/// What was asked of the disk, and what it said; `None` where it had an error.
#[derive(Debug)]
enum Asked {
    Read(PathBuf, Option<Vec<u8>>),
    Canonical(PathBuf, Option<PathBuf>),
    Expand(PathBuf, String, Option<Vec<PathBuf>>),
}

impl Asked {
    fn is_still_so(&self) -> bool {
        match self {
            Asked::Read(path, said) => Disk.read(path).ok() == *said,
            Asked::Canonical(path, said) => Disk.canonical(path).ok() == *said,
            Asked::Expand(base, pattern, said) => Disk.expand(base, pattern).ok() == *said,
        }
    }
}

impl OnDisk {
    /// Those of that gateway file.
    #[must_use]
    pub fn new(path: PathBuf) -> OnDisk {
        OnDisk { path, known: None }
    }

    /// Their hash, as [`Bundle::hash`] has it, where there is no error in them.
    pub fn hash(&mut self) -> Option<String> {
        if let Some(Known { asked, hash }) = &self.known
            && asked.iter().all(Asked::is_still_so)
        {
            return hash.clone();
        }
        let recorder = Recorder::default();
        let configuration = load_from(&recorder, &self.path, now());
        let hash = configuration.ok().map(|configuration| Bundle::of(configuration.sources()).hash());
        self.known = Some(Known { asked: recorder.asked.into_inner(), hash: hash.clone() });
        hash
    }
}

/// The disk, and what it was asked.
#[derive(Default)]
struct Recorder {
    asked: RefCell<Vec<Asked>>,
}

impl Recorder {
    fn note(&self, asked: Asked) {
        self.asked.borrow_mut().push(asked);
    }
}

impl Files for Recorder {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let said = Disk.read(path);
        self.note(Asked::Read(path.to_owned(), said.as_ref().ok().cloned()));
        said
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let said = Disk.canonical(path);
        self.note(Asked::Canonical(path.to_owned(), said.as_ref().ok().cloned()));
        said
    }

    fn expand(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let said = Disk.expand(base, pattern);
        self.note(Asked::Expand(base.to_owned(), pattern.to_owned(), said.as_ref().ok().cloned()));
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_at;

    #[test]
    fn every_change_of_the_files_is_seen() {
        let folder = std::env::temp_dir().join(format!("bulkhead-on-disk-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        let gateway_file = folder.join("gw.toml");
        let fresh = || Some(Bundle::of(load_at(&gateway_file, now()).ok()?.sources()).hash());
        write("gw.toml", "include = [\"d/*.toml\", \"last.toml\"]\n");
        write("last.toml", "");
        write("d/first.toml", "");
        let mut files = OnDisk::new(gateway_file.clone());
        let mut seen = Vec::new();
        let mut look = || {
            let hash = files.hash();
            assert_eq!(hash, fresh());
            assert_eq!(hash, files.hash(), "nothing has changed");
            seen.push(hash);
        };
        look();
        write("last.toml", "[segment.a]\nmembers = [\"10.0.0.0/24\"]\n");
        look();
        // Of the same length, and within one tick of any clock.
        write("last.toml", "[segment.b]\nmembers = [\"10.0.0.0/24\"]\n");
        look();
        write("d/new.toml", "[segment.c]\nmembers = [\"10.0.1.0/24\"]\n");
        look();
        write("d/new.toml", "[segment.b]\n");
        look();
        std::fs::remove_file(folder.join("d/new.toml")).unwrap();
        look();
        std::fs::remove_file(folder.join("last.toml")).unwrap();
        look();
        let none: Vec<usize> = (0..seen.len()).filter(|at| seen[*at].is_none()).collect();
        assert_eq!(none, [4, 6], "two segments had one name, and a file was not there");
        assert_eq!(seen[5], seen[2], "what was there before is known again");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
