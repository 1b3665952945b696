//! `bulkhead completions SHELL`: prints a completion script.
//!
//! The script is made from the commands themselves, so it never knows less or more than they do.

use super::Outcome;
use clap::Command;
use clap_complete::Shell;
use std::io::{self, Write};

/// Print a completion script for a shell.
#[derive(clap::Args, Debug)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, command: Command) -> Outcome {
        match write(command, self.shell, &mut io::stdout()) {
            Ok(()) => Outcome::Success,
            // A reader that has gone away has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::Success,
            Err(error) => {
                tell!("error: the script can't be written: {error}");
                Outcome::Failure
            }
        }
    }
}

/// Writes the completion script of `command` for `shell`.
///
/// # Errors
/// Where `out` takes no bytes. A closed pipe (`| head`) is one of them: it is the caller who knows what that
/// means.
fn write(mut command: Command, shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // The generator panics where it can't write, so it writes to memory.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ValueEnum};

    fn command() -> Command {
        Command::new("bulkhead")
            .subcommand(Command::new("replay").about("Runs captures").arg(Arg::new("config").long("config")))
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            write(command(), *shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("replay") && script.contains("config"), "{shell}: {script}");
        }
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_not_a_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write(command(), Shell::Bash, &mut Closed).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
