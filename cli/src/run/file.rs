//! Files that are replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts a file in the place of another: written beside it, flushed to the disk, renamed. Whoever reads finds the old
/// content or the new, also after a loss of power. Its permissions are 0600.
///
/// # Errors
/// The file can't be written; the old one is as it was.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut hidden = path.file_name().unwrap_or_default().to_owned();
    hidden.push(".new");
    let hidden = folder.join(hidden);
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&hidden)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&hidden, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&hidden);
    }
    written
}
