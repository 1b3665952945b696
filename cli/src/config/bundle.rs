//! The files of a configuration as one value, which can travel and be kept.

use super::source::Sources;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where files come from.
pub(crate) trait Files {
    /// The content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The one name of a file that may have several.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// The files, in name order, that a pattern names; it is relative to the folder `base`.
    fn expand(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String>;
}

/// A file and its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// How the operator knows it.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
}

/// The files of a configuration; the first is the gateway file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// In the order in which they are read.
    pub files: Vec<BundleFile>,
}

impl Bundle {
    /// The files that a configuration was read from.
    #[must_use]
    pub fn of(sources: &Sources) -> Bundle {
        let file =
            |f: &super::source::SourceFile| BundleFile { path: plain(f.path()), text: f.text().to_owned() };
        Bundle { files: sources.iter().map(file).collect() }
    }

    /// SHA-256 over names and texts, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            let name = file.path.to_string_lossy();
            for part in [name.as_bytes(), file.text.as_bytes()] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hex(&hash.finalize())
    }

    fn file(&self, path: &Path) -> io::Result<&BundleFile> {
        let wanted = plain(path);
        let file = self.files.iter().find(|file| plain(&file.path) == wanted);
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The name of the gateway file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |file| &file.path)
    }
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path without `.` and `..`, as far as its text tells.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                plain.push(part);
            }
        }
    }
    plain
}

impl Files for Bundle {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.file(path).map(|file| file.text.clone().into_bytes())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.file(path).map(|_| plain(path))
    }

    fn expand(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let full = plain(&base.join(pattern));
        let pattern = glob::Pattern::new(&full.to_string_lossy()).map_err(|error| error.msg.to_owned())?;
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::new()
        };
        let paths = self.files.iter().map(|file| plain(&file.path));
        let mut paths: Vec<PathBuf> = paths.filter(|path| pattern.matches_path_with(path, options)).collect();
        paths.sort();
        Ok(paths)
    }
}

/// The files of this machine.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn expand(&self, base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let full = if Path::new(pattern).is_absolute() || base.as_os_str().is_empty() {
            pattern.to_owned()
        } else {
            format!("{}/{pattern}", glob::Pattern::escape(&base.to_string_lossy()))
        };
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let mut paths: Vec<PathBuf> = glob::glob_with(&full, options)
            .map_err(|error| error.msg.to_owned())?
            .filter_map(Result::ok)
            .filter(|path| !path.is_dir())
            .collect();
        paths.sort();
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{load, load_bundle, now};

    #[test]
    fn a_bundle_reads_as_the_files_did() {
        let folder = std::env::temp_dir().join(format!("bulkhead-bundle-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("policy.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("gw.toml", "include = [\"./policy.d/*.toml\", \"../%/last.toml\"]\n");
        let up = folder.file_name().unwrap().to_string_lossy().into_owned();
        write("gw.toml", &format!("include = [\"./policy.d/*.toml\", \"../{up}/last.toml\"]\n"));
        write("policy.d/b.toml", "[segment.b]\nmembers = [\"10.0.1.0/24\"]\n");
        write("policy.d/a.toml", "[segment.a]\nmembers = [\"10.0.0.0/24\"]\n");
        write("policy.d/.hidden.toml", "nonsense");
        write("last.toml", "[segment.c]\nmembers = [\"10.0.2.0/24\"]\n");
        let original = load(&folder.join("gw.toml")).unwrap();
        let bundle = Bundle::of(original.sources());
        std::fs::remove_dir_all(&folder).unwrap();
        let again = load_bundle(&bundle, now()).unwrap();
        assert_eq!(bundle.files.len(), 4);
        assert_eq!(again.policy.segments(), original.policy.segments());
        assert_eq!(Bundle::of(again.sources()), bundle);
        assert_eq!(Bundle::of(again.sources()).hash(), bundle.hash());
        let mut other = bundle.clone();
        other.files[3].text.push(' ');
        assert_ne!(other.hash(), bundle.hash());
    }

    #[test]
    fn a_bundle_never_reaches_for_the_disk() {
        let file = BundleFile { path: "/x/gw.toml".into(), text: "include = [\"/etc/passwd\"]\n".into() };
        let error = load_bundle(&Bundle { files: vec![file] }, now()).unwrap_err();
        assert!(error.to_string().contains("there is no such file"), "{error}");
    }
}
