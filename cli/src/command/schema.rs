//! `bulkhead schema`: the JSON Schema of the gateway file.

use super::Outcome;
use crate::config;
use std::io::Write;

/// Print the JSON Schema of the gateway file, for editors.
#[derive(clap::Args, Debug)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Outcome {
        let json =
            serde_json::to_string_pretty(&config::json_schema()).expect("a tree of strings and numbers");
        match writeln!(std::io::stdout(), "{json}") {
            Ok(()) => Outcome::Success,
            // A reader that has gone away has what it wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Outcome::Success,
            Err(error) => {
                tell!("error: the schema can't be written: {error}");
                Outcome::Failure
            }
        }
    }
}
