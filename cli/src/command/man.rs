//! `bulkhead man DIR`: writes the manual pages, one for the program and one for each command.
//!
//! The pages are made from the commands themselves; what needs more words than `--help` has is in `docs/`.

use super::Outcome;
use clap::Command;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Write the manual pages into a folder.
#[derive(clap::Args, Debug)]
pub(super) struct Man {
    /// The folder; it is made where it is missing.
    #[arg(value_name = "DIR")]
    into: PathBuf,
}

impl Man {
    pub(super) fn run(self, command: Command) -> Outcome {
        match write(command, &self.into) {
            Ok(_) => Outcome::Success,
            Err(error) => {
                tell!("error: {}: {error}", self.into.display());
                Outcome::Failure
            }
        }
    }
}

/// Writes the pages of `command` and all its subcommands into the folder `into`, which is made where it is
/// missing: `bulkhead.1`, `bulkhead-replay.1`, … Returns the files in the order of the commands.
///
/// # Errors
/// Where a file can't be written.
fn write(command: Command, into: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(into)?;
    let mut written = Vec::new();
    // Long options and global arguments reach the subcommands only when the whole is built.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    pages(&command, into, &mut written)?;
    Ok(written)
}

fn pages(command: &Command, into: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
    // A built subcommand is displayed as `bulkhead-replay`: that is how its page is called.
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = into.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    fs::write(&path, page)?;
    written.push(path);
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        pages(child, into, written)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_hidden_ones_have_none() {
        let command = Command::new("bulkhead")
            .about("A gateway between segments")
            .subcommand(Command::new("replay").about("Runs captures through the pipeline"))
            .subcommand(Command::new("show").subcommand(Command::new("ports").about("Lists ports")))
            .subcommand(Command::new("internal").hide(true));
        let into = std::env::temp_dir().join(format!("bulkhead-man-{}", std::process::id()));
        let written = write(command, &into).unwrap();
        let names: Vec<_> = written.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["bulkhead.1", "bulkhead-replay.1", "bulkhead-show.1", "bulkhead-show-ports.1"]);
        let page = fs::read_to_string(into.join("bulkhead-replay.1")).unwrap();
        fs::remove_dir_all(&into).unwrap();
        assert!(page.contains(".TH bulkhead-replay 1"), "{page}");
        assert!(page.contains("Runs captures through the pipeline"), "{page}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        assert!(write(Command::new("bulkhead"), Path::new("/proc/no/such")).is_err());
    }
}
