//! `bulkhead replay`: what would the gateway have made of these captures?

use super::Outcome;
use crate::config::{self, Configuration};
use crate::replay::{Line, Replay, ReplayError};
use classifier::addr::PortId;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use dataplane::counters::Counters;
use dataplane::engine::Resolve;
use dataplane::port::capture::{Capture, Merge, Writer, merge};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::str::FromStr;

/// Run the pipeline on captures, frame by frame. Needs no privileges.
///
/// Frames are taken in the order of their time stamps, and time is theirs alone: the same input gives the same
/// output, byte for byte.
#[derive(clap::Args, Debug)]
pub(super) struct ReplayCommand {
    /// The gateway file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// A capture (pcap or pcapng, Ethernet) that comes in on a port; may be given again and again.
    #[arg(long = "in", value_name = "PORT=FILE", required = true)]
    inputs: Vec<PortFile>,
    /// Where to write what leaves by a port, as pcap, or as pcapng where the file is called so.
    #[arg(long = "out", value_name = "PORT=FILE")]
    outputs: Vec<PortFile>,
    /// Where to write a JSON line per frame; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    verdicts: Option<PathBuf>,
    /// Ask for unknown neighbors and wait, as `run` does, instead of using a placeholder MAC.
    #[arg(long)]
    wait_for_neighbors: bool,
    /// How to write the summary.
    #[arg(short, long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

/// `PORT=FILE`.
#[derive(Clone, Debug)]
struct PortFile {
    port: String,
    file: PathBuf,
}

impl FromStr for PortFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((port, file)) if !port.is_empty() && !file.is_empty() => {
                Ok(PortFile { port: port.to_owned(), file: PathBuf::from(file) })
            }
            Some(_) | None => Err(format!("`{text}` is not PORT=FILE, as in trunk0=capture.pcap")),
        }
    }
}

impl ReplayCommand {
    pub(super) fn run(self) -> Outcome {
        if self.on_stdout() > 1 {
            return failed("only one of --out and --verdicts can have the standard output");
        }
        let Some(configuration) = super::report(&self.config, config::load(&self.config)) else {
            return Outcome::Failure;
        };
        let input = match self.read_inputs(&configuration) {
            Ok(input) => input,
            Err(message) => return failed(&message),
        };
        // The policy must hold when the captures begin; what the system's clock says does not count here.
        let start = input.iter().next().map_or_else(config::now, |(_, at, _)| Timestamp(i128::from(at.0)));
        let Some(checked) = super::report(&self.config, config::check(configuration, start)) else {
            return Outcome::Failure;
        };
        match self.replay(&checked.configuration, &input) {
            Ok(counters) => {
                self.summarize(&counters);
                Outcome::Success
            }
            // Who has seen enough (`| head`) has had what he asked for.
            Err(Stopped::NobodyReads) => Outcome::Success,
            Err(Stopped::Fault(message)) => failed(&message),
        }
    }

    fn replay(&self, configuration: &Configuration, input: &Merge) -> Result<Counters, Stopped> {
        let writers = self.open_outputs(configuration)?;
        let resolve = if self.wait_for_neighbors { Resolve::Ask } else { Resolve::Placeholder };
        let mut sink: Option<Box<dyn Write>> = match &self.verdicts {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Box::new(BufWriter::new(std::io::stdout()))),
            Some(path) => {
                let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
                Some(Box::new(BufWriter::new(file)))
            }
        };
        let mut settled = |line: &Line| match &mut sink {
            None => Ok(()),
            Some(sink) => {
                serde_json::to_writer(&mut *sink, line)?;
                sink.write_all(b"\n")
            }
        };
        let mut replay = Replay::new(configuration, input, writers, resolve)?;
        for (port, at, data) in input.iter() {
            replay.frame(port, at, data, &mut settled)?;
        }
        let counters = replay.finish(&mut settled)?;
        if let Some(mut sink) = sink {
            sink.flush().map_err(ReplayError::Lines)?;
        }
        Ok(counters)
    }

    fn read_inputs(&self, configuration: &Configuration) -> Result<Merge, String> {
        let mut captures = Vec::new();
        for input in &self.inputs {
            let port = port_named(configuration, &input.port)?;
            let capture = Capture::read(&input.file).map_err(|e| e.to_string())?;
            if let Some(damage) = capture.damage() {
                tell!("warning: {}: {damage}; what comes before is used", input.file.display());
            }
            captures.push((port, capture));
        }
        Ok(merge(captures))
    }

    fn open_outputs(&self, configuration: &Configuration) -> Result<Vec<Option<Writer>>, String> {
        let mut writers: Vec<Option<Writer>> = configuration.topology.ports.iter().map(|_| None).collect();
        for output in &self.outputs {
            let slot = &mut writers[port_named(configuration, &output.port)?.index()];
            if slot.is_some() {
                return Err(format!("--out names the port `{}` twice", output.port));
            }
            *slot = Some(Writer::create(&output.file).map_err(|e| e.to_string())?);
        }
        Ok(writers)
    }

    /// How many of the outputs are `-`.
    fn on_stdout(&self) -> usize {
        let files = self.outputs.iter().map(|output| &output.file).chain(&self.verdicts);
        files.filter(|file| file.as_os_str() == "-").count()
    }

    /// The books, on the standard output, or on the standard error where that has the lines.
    fn summarize(&self, counters: &Counters) {
        let text = match self.output {
            super::Output::Text => summary_text(counters),
            super::Output::Json => format!("{}\n", summary_json(counters)),
        };
        let is_stdout_taken = self.on_stdout() > 0;
        // A reader that has gone away is no fault of the replay.
        let _ = if is_stdout_taken {
            std::io::stderr().write_all(text.as_bytes())
        } else {
            std::io::stdout().write_all(text.as_bytes())
        };
    }
}

/// Why a replay did not come to its end.
enum Stopped {
    /// The lines go into a pipe whose reader has gone.
    NobodyReads,
    Fault(String),
}

impl From<ReplayError> for Stopped {
    fn from(error: ReplayError) -> Stopped {
        match error {
            ReplayError::Lines(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
                Stopped::NobodyReads
            }
            other => Stopped::Fault(other.to_string()),
        }
    }
}

impl From<String> for Stopped {
    fn from(message: String) -> Stopped {
        Stopped::Fault(message)
    }
}

fn failed(message: &str) -> Outcome {
    tell!("error: {message}");
    Outcome::Failure
}

fn port_named(configuration: &Configuration, name: &str) -> Result<PortId, String> {
    let ports = &configuration.topology.ports;
    match ports.iter().position(|p| p.name == name) {
        Some(index) => Ok(PortId(index as u8)),
        None => {
            let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
            Err(format!("there is no port `{name}`; the gateway file has: {}", names.join(", ")))
        }
    }
}

/// What was counted, for people.
pub(super) fn summary_text(counters: &Counters) -> String {
    use std::fmt::Write as _;
    let mut text = format!("{:>10}  received\n", counters.received);
    let _ = writeln!(text, "{:>10}  forwarded", counters.forwarded);
    let _ = writeln!(text, "{:>10}  local", counters.local);
    let _ = writeln!(text, "{:>10}  dropped", counters.dropped_total());
    for reason in DropReason::ALL {
        let count = counters.dropped[reason.index()];
        if count > 0 {
            let _ = writeln!(text, "{count:>14}  {reason}");
        }
    }
    if counters.waiting > 0 {
        let _ = writeln!(text, "{:>10}  waiting for a neighbor", counters.waiting);
    }
    let _ = writeln!(text, "{:>10}  new flows", counters.flows);
    let _ = writeln!(text, "{:>10}  answers sent", counters.answers);
    text
}

/// What was counted, for programs.
pub(super) fn summary_json(counters: &Counters) -> serde_json::Value {
    let dropped: serde_json::Map<String, serde_json::Value> = DropReason::ALL
        .iter()
        .filter(|reason| counters.dropped[reason.index()] > 0)
        .map(|reason| (reason.name().to_owned(), counters.dropped[reason.index()].into()))
        .collect();
    serde_json::json!({
        "received": counters.received,
        "forwarded": counters.forwarded,
        "local": counters.local,
        "dropped": dropped,
        "waiting": counters.waiting,
        "flows": counters.flows,
        "answers": counters.answers,
        "answers_suppressed": counters.answers_suppressed,
        "copies": counters.copies,
        "copies_lost": counters.copies_lost,
    })
}
