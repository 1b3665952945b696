//! The `bulkhead` binary: parses the command line and hands over to the library.

use clap::Parser;
use cli::command::CommandLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
