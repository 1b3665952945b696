//! `bulkhead capture`: a capture of what a running gateway judges.

use super::Outcome;
use super::show::At;
use crate::capture::Capture as File;
use crate::control::{CaptureOptions, Client, EventFilter, Request};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Write frames as they come in to a running gateway, each with what becomes of it, to a pcapng file.
///
/// The verdict is the packet's comment. It ends with `--count`, `--for`, Ctrl-C, or the gateway. What the gateway had no
/// room for is counted and stands in the file (isb_ifdrop).
#[derive(clap::Args, Debug)]
pub(super) struct Capture {
    /// The file; `-` is the standard output.
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Only what is dropped or rejected.
    #[arg(long)]
    drops: bool,
    #[command(flatten)]
    filter: EventFilter,
    /// End after so many frames.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so long: `90s`, `10m`.
    #[arg(long = "for", value_name = "SPAN", value_parser = super::change::duration)]
    span: Option<Duration>,
    /// Keep so many bytes of each frame.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    snaplen: Option<u64>,
    #[command(flatten)]
    at: At,
}

impl Capture {
    pub(super) fn run(self) -> Outcome {
        let is_over = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&is_over)) {
                tell!("error: signals can't be caught: {error}");
                return Outcome::Failure;
            }
        }
        let mut client = match Client::connect(&self.at.socket) {
            Ok(client) => client,
            Err(error) => return super::failed(&error),
        };
        let unwritable = |error: &io::Error| {
            tell!("error: {}: {error}", self.write.display());
            Outcome::Failure
        };
        let mut file = match open(&self.write).and_then(File::new) {
            Ok(file) => file,
            Err(error) => return unwritable(&error),
        };
        let options = CaptureOptions {
            drops: self.drops,
            count: self.count,
            for_s: self.span.map(|span| span.as_secs_f64()),
            snaplen: self.snaplen,
        };
        let request = Request::Capture { filter: self.filter.clone(), options };
        let mut fault = None;
        let answer = client.ask_while(request, |item| {
            if let Ok(item) = item
                && let Err(error) = file.take(&item)
            {
                fault = Some(error);
            }
            match fault.is_some() || is_over.load(Ordering::Acquire) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        match (fault, file.finish()) {
            // Whoever read the other end of a pipe has seen enough.
            (Some(error), _) | (None, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                Outcome::Success
            }
            (Some(error), _) | (None, Err(error)) => unwritable(&error),
            (None, Ok((frames, lost))) => {
                tell!("bulkhead: {frames} frames captured, {lost} lost");
                answer.map_or_else(|error| super::failed(&error), |_| Outcome::Success)
            }
        }
    }
}

fn open(path: &Path) -> io::Result<BufWriter<Box<dyn Write>>> {
    let sink: Box<dyn Write> = match path.to_str() {
        Some("-") => Box::new(io::stdout()),
        _ => Box::new(std::fs::File::create(path)?),
    };
    Ok(BufWriter::new(sink))
}
