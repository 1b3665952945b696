//! `bulkhead-perf`: benchmarks of the engine.
//!
//! What is measured, and how to read it, is in `engine`; what passes through it is in `workload`. The tables alone are
//! measured in `classifier`. A result means something only with its command, its machine and its date: `--json`
//! prints the first two.

mod applies;
mod attack;
mod classifier;
mod cycles;
mod engine;
mod hash_attack;
mod report;
mod share;
mod stages;
mod table;
mod verify;
mod workers;
mod workload;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::error::Error;
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
    /// Whether the compiled policy says what the linear scan says, packet by packet, on all instructions
    Verify(crate::verify::VerifyArguments),
    /// Policies that take turns under workers at full load: frames lost, batches torn, how long until they are in force
    Applies(applies::AppliesArguments),
    /// The flow table alone: memory, insertion and look-up as it fills
    Table(crate::table::TableArguments),
    /// Flows whose hashes collide under one secret, against a table with that secret and one with another
    HashAttack(crate::hash_attack::HashAttackArguments),
}

/// A transport protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// Flows begin with their first packet.
    Udp,
    /// Flows begin with a handshake, which is not measured.
    Tcp,
}

/// What stands between receiving and sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Subject {
    /// The whole pipeline.
    Engine,
    /// Nothing: what the harness itself costs, to be subtracted from what it measures.
    Ports,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Engine => "engine",
            Subject::Ports => "ports",
        }
    }
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
    /// Measure exactly so many packets, however long they take: for counting instructions
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) packets: Option<u64>,
    /// What the flows are
    #[arg(long, value_enum, default_value_t = Protocol::Udp)]
    pub(crate) proto: Protocol,
    /// IPv6 instead of IPv4; a frame is no shorter than its headers, so that 64 bytes are 70 and more
    #[arg(long)]
    pub(crate) v6: bool,
    /// Frames of 64, 594 and 1,518 bytes, seven to four to one, instead of one size
    #[arg(long, conflicts_with = "size")]
    pub(crate) imix: bool,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Subject::Engine)]
    pub(crate) subject: Subject,
    /// Frames that the engine is given at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) batch: u16,
    /// The seed of the policy, the flows and their order
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The core to run on; left out: the last one
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Workers, each on a core of its own from the first on, as `bulkhead run` has them; left out: the engine alone
    #[arg(long, conflicts_with_all = ["packets", "core", "batch", "subject"], value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: Option<u16>,
    /// By which worker's queue frames come in
    #[arg(long, value_enum, default_value_t = workers::Arrival::Owner, requires = "workers")]
    pub(crate) arrival: workers::Arrival,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) mix: workload::MixArguments,
    #[command(flatten)]
    pub(crate) attack: attack::AttackArguments,
    #[command(flatten)]
    pub(crate) export: workload::export::ExportArguments,
}

fn main() -> ExitCode {
    let report = match Arguments::parse().command {
        Command::Engine(mut arguments) => engine(&mut arguments),
        Command::Classifier(arguments) => {
            crate::classifier::classifier(&arguments).map_err(|text| text.to_string().into())
        }
        Command::Verify(arguments) => crate::verify::verify(&arguments).map_err(Into::into),
        Command::Applies(arguments) => applies::applies(&arguments),
        Command::Table(arguments) => Ok(table::table(&arguments)),
        Command::HashAttack(arguments) => Ok(hash_attack::hash_attack(&arguments)),
    };
    match report.map(|text| writeln!(io::stdout(), "{text}")) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bulkhead-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn engine(arguments: &mut EngineArguments) -> Result<String, Box<dyn Error>> {
    if let Some(count) = arguments.workers {
        let workload = workload::Workload::new(arguments);
        let report = workers::workers(&workload, arguments, usize::from(count))?;
        return Ok(if arguments.json { report.json() } else { report.to_string() });
    }
    // Interrupts and whoever else is at home tend to be on the first core.
    let last = || core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id));
    arguments.core = arguments.core.or_else(last);
    if let Some(core) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        return Err(format!("can't run on core {core}").into());
    }
    if let Some(kind) = arguments.attack.attack {
        let report = attack::attack(arguments, kind)?;
        return Ok(if arguments.json { report.json() } else { report.to_string() });
    }
    let workload = workload::Workload::new(arguments);
    if arguments.export.wanted() {
        return Ok(arguments.export.write(&workload, arguments.proto)?);
    }
    let report = engine::engine(&workload, arguments)?;
    Ok(if arguments.json { report.json() } else { report.to_string() })
}
