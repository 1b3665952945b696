//! Calls of `ip`, which the test bed is built with.

use super::namespace::Namespace;
use std::io;
use std::process::Command;

fn finish(mut command: Command, arguments: &str) -> io::Result<String> {
    let output = command.args(arguments.split_whitespace()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("`ip` (of iproute2) could not be run: {error}"))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("`ip {arguments}`: {}", said.trim())))
}

/// `ip ARGUMENTS` where this process is.
pub(super) fn ip(arguments: &str) -> io::Result<String> {
    finish(Command::new("ip"), arguments)
}

/// `ip ARGUMENTS` in a namespace.
pub(super) fn ip_in(namespace: &Namespace, arguments: &str) -> io::Result<String> {
    finish(namespace.command("ip"), arguments)
}
