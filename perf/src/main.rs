//! `bulkhead-perf`: benchmarks of the engine.
//!
//! What is measured, and how to read it, is in `engine`; what passes through it is in `workload`. The tables alone are
//! measured in `classifier`. A result means something only with its command, its machine and its date: `--json`
//! prints the first two.

mod classifier;
mod engine;
mod random;
mod report;
mod workload;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::{self, Write};
use std::process::ExitCode;

/// Benchmarks of the Bulkhead engine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Frames from memory through the engine and back into memory, on one core
    Engine(EngineArguments),
    /// Headers from memory through the compiled policy, on one core
    Classifier(crate::classifier::ClassifierArguments),
}

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// Flows begin with their first packet.
    Udp,
    /// Flows begin with a handshake, which is not measured.
    Tcp,
}

/// What `engine` is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct EngineArguments {
    /// Flows that are alive at once
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    pub(crate) flows: u32,
    /// Rules of the policy
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub(crate) rules: u32,
    /// Bytes of a frame on the wire, tag and FCS included, as RFC 2544 counts
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(64..=9_022))]
    pub(crate) size: u16,
    /// How long to measure
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// What the flows are
    #[arg(long, value_enum, default_value_t = Protocol::Udp)]
    pub(crate) proto: Protocol,
    /// Frames that the engine is given at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) batch: u16,
    /// The seed of the policy, the flows and their order
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The core to run on; left out: any
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Engine(arguments) => engine(&arguments),
        Command::Classifier(arguments) => match crate::classifier::classifier(&arguments) {
            Ok(text) => print(&text),
            Err(text) => {
                eprintln!("bulkhead-perf: {text}");
                ExitCode::FAILURE
            }
        },
    }
}

fn engine(arguments: &EngineArguments) -> ExitCode {
    if let Some(core) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        eprintln!("bulkhead-perf: can't run on core {core}");
        return ExitCode::FAILURE;
    }
    let workload = workload::Workload::new(arguments);
    let report = engine::engine(workload, arguments);
    print(&if arguments.json { report.json() } else { report.to_string() })
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
