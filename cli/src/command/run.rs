//! `bulkhead run`: the gateway at work, until it is told to stop.

use super::Outcome;
use super::replay::{summary_json, summary_text};
use crate::replay::Names;
use crate::run::{DEFAULT_STATE, EventLine, Gateway, Links, Resumption};
use dataplane::event::Event;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Run the gateway on its Linux interfaces, until SIGTERM or SIGINT. SIGHUP reads the file again.
///
/// It needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF. On the way out every interface is left as it was.
#[derive(clap::Args, Debug)]
pub(super) struct Run {
    /// The gateway file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Write a JSON line for each new flow and each dropped frame; `-` is the standard output. Without it, only
    /// rules with `log = true` are told of, on the standard error.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Where the flows are kept between a planned end (SIGTERM, SIGINT) and the next start.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE, conflicts_with = "no_state")]
    state: PathBuf,
    /// Neither save the flows at the end nor restore them at the start.
    #[arg(long)]
    no_state: bool,
    /// How to write the last counters.
    #[arg(short, long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
}

/// How often the main thread looks after rules that expire, workers that died, and events.
const LOOK_AFTER: Duration = Duration::from_millis(20);

impl Run {
    pub(super) fn run(self) -> Outcome {
        let Some(configuration) = super::load(&self.config) else { return Outcome::Failure };
        let mut events = match self.open_events() {
            Ok(events) => events,
            Err(message) => {
                tell!("error: {message}");
                return Outcome::Failure;
            }
        };
        // Signals are caught before anything is changed, so that none finds an interface half prepared.
        let mut signals = match Signals::new([SIGHUP, SIGINT, SIGTERM]) {
            Ok(signals) => signals,
            Err(error) => {
                tell!("error: signals can't be caught: {error}");
                return Outcome::Failure;
            }
        };
        let report = &mut |word| tell!("bulkhead: {word}");
        let started = match self.no_state {
            true => Gateway::start(configuration, report).map(|gateway| (gateway, None)),
            false => Gateway::resume(configuration, &self.state, report).map(|(g, r)| (g, Some(r))),
        };
        let (mut gateway, resumption) = match started {
            Ok(started) => started,
            Err(error) => {
                tell!("error: {error}");
                return Outcome::Failure;
            }
        };
        if let Some(resumption) = resumption {
            tell!("bulkhead: {resumption}");
            events.resumed(&resumption);
        }
        announce(&gateway);
        let mut lost = 0;
        let mut links = Links::new(&gateway);
        let ended_well = 'run: loop {
            for signal in signals.pending() {
                match signal {
                    SIGHUP => self.reload(&mut gateway),
                    _ => break 'run true,
                }
            }
            if !gateway.is_alive() {
                tell!("error: a worker died; nothing is forwarded any more");
                break false;
            }
            match gateway.expire_rules() {
                Ok(true) => tell!("bulkhead: a rule has expired, and its flows are judged again"),
                Ok(false) => {}
                Err(error) => {
                    tell!("error: a rule has expired, but the rest can't be put into force: {error}")
                }
            }
            links.look(&gateway).iter().for_each(|change| tell!("bulkhead: {change}"));
            events.drain(&gateway, &mut lost);
        };
        events.drain(&gateway, &mut lost);
        match gateway.stop() {
            Ok(stop) => {
                match stop.saved {
                    Some(Ok(flows)) => tell!("bulkhead: {flows} flows are saved in {}", self.state.display()),
                    Some(Err(error)) => {
                        tell!("error: the flows can't be saved in {}: {error}", self.state.display());
                    }
                    None => {}
                }
                match self.output {
                    super::Output::Text => answer!("{}", summary_text(&stop.counters).trim_end()),
                    super::Output::Json => answer!("{}", summary_json(&stop.counters)),
                }
                if ended_well { Outcome::Success } else { Outcome::Failure }
            }
            Err(error) => {
                tell!("error: {error}");
                Outcome::Failure
            }
        }
    }

    fn reload(&self, gateway: &mut Gateway) {
        let Some(configuration) = super::load(&self.config) else {
            tell!("bulkhead: {} is not put into force; nothing has changed", self.config.display());
            return;
        };
        match gateway.reload(configuration) {
            Ok(()) => tell!("bulkhead: {} is in force", self.config.display()),
            Err(error) => tell!("error: {error}\nbulkhead: nothing has changed"),
        }
    }

    fn open_events(&self) -> Result<Events, String> {
        let sink: Option<Box<dyn Write>> = match &self.events {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Box::new(std::io::stdout())),
            Some(path) => {
                let file = std::fs::File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
                Some(Box::new(BufWriter::new(file)))
            }
        };
        Ok(Events { sink })
    }
}

/// Where events go.
struct Events {
    sink: Option<Box<dyn Write>>,
}

impl Events {
    /// Writes what came of the saved flows.
    fn resumed(&mut self, resumption: &Resumption) {
        let line = resumption.event(&jiff::Timestamp::now().to_string());
        if let (Some(sink), Some(line)) = (&mut self.sink, line) {
            // A full disk must not stop the gateway.
            let _ = writeln!(sink, "{line}");
        }
    }

    /// Writes what the workers have told of, waiting a moment for the first.
    fn drain(&mut self, gateway: &Gateway, lost: &mut u64) {
        let source = gateway.events();
        let mut next = source.receiver.recv_timeout(LOOK_AFTER).ok();
        while let Some(event) = next {
            self.write(gateway, &event);
            next = source.receiver.try_recv().ok();
        }
        let lost_now = source.lost();
        if lost_now > *lost {
            tell!("bulkhead: {} events found no room and were lost", lost_now - *lost);
            *lost = lost_now;
        }
        if let Some(sink) = &mut self.sink {
            // A full disk must not stop the gateway; the next line says the same again.
            let _ = sink.flush();
        }
    }

    fn write(&mut self, gateway: &Gateway, event: &Event) {
        let generation = gateway.control().generation();
        let is_logged = event.outcome.rule.and_then(|key| generation.rule(key)).is_some_and(|rule| rule.log);
        if self.sink.is_none() && !is_logged {
            return;
        }
        let names = Names {
            topology: &gateway.configuration().topology,
            generations: gateway.generations(),
            generation: &generation,
        };
        let age = gateway.now().since(event.at);
        let time = jiff::Timestamp::now().checked_sub(age).unwrap_or_default();
        let line = EventLine::new(names, event, time.to_string());
        let text = serde_json::to_string(&line).expect("a line of strings and numbers");
        match &mut self.sink {
            Some(sink) => {
                // As above.
                let _ = writeln!(sink, "{text}");
            }
            None => tell!("{text}"),
        }
    }
}

fn announce(gateway: &Gateway) {
    let topology = &gateway.configuration().topology;
    for (port, guard) in topology.ports.iter().zip(gateway.guards()) {
        let interface = guard.interface();
        tell!(
            "bulkhead: port {} on {} ({}), AF_XDP mode {}",
            port.name,
            interface.name,
            interface.mac,
            guard.mode()
        );
        if !guard.offloads_changed().is_empty() {
            tell!("bulkhead: port {}: switched off: {}", port.name, guard.offloads_changed().join(", "));
        }
    }
    if topology.cores.len() > 1 {
        tell!("bulkhead: this version runs one worker; cores after the first are not used");
    }
    if topology.ports.iter().any(|p| p.queues > 1) {
        tell!("bulkhead: this version serves one queue of a port; the interface must have no more");
    }
    tell!("bulkhead: running");
}
