//! `bulkhead run`: the gateway at work, until it is told to stop.

use super::Outcome;
use super::exports::Exports;
use super::replay::{summary_json, summary_text};
use crate::change::{Action, Keeper, KeeperError, Overlay, Started};
use crate::config::{self, Bundle, Configuration};
use crate::control::{Desk, Order, Server};
use crate::run::hub::Hub;
use crate::run::{DEFAULT_STATE, Gateway, Host, HostOptions, Resumption, leave_to_workers};
use crossbeam_channel::Receiver;
use dataplane::generation::LiveFlows;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Run the gateway on its Linux interfaces, until SIGTERM or SIGINT. SIGHUP reads the file again.
///
/// It needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF. On the way out every interface is left as it was.
#[derive(clap::Args, Debug)]
pub(super) struct Run {
    /// The gateway file.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The socket at which the gateway can be asked and told; see `bulkhead show`.
    #[arg(long, value_name = "PATH", default_value = crate::control::SOCKET)]
    socket: PathBuf,
    /// Serve no socket.
    #[arg(long, conflicts_with = "socket")]
    no_socket: bool,
    /// Where versions, history and counts are kept, and the flows between a planned end (SIGTERM, SIGINT) and the
    /// next start.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE, conflicts_with = "no_state")]
    state: PathBuf,
    /// Keep nothing: neither versions nor flows.
    #[arg(long)]
    no_state: bool,
    /// How many versions are kept.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    keep_versions: usize,
    /// How to write the last counters.
    #[arg(short, long, value_enum, default_value_t = super::Output::Text)]
    output: super::Output,
    #[command(flatten)]
    exports: Exports,
}

/// How often the main thread looks after rules that expire, workers that died, and events.
const LOOK_AFTER: Duration = Duration::from_millis(20);
/// Orders that may wait for the main thread.
const ORDERS: usize = 64;

impl Run {
    pub(super) fn run(self) -> Outcome {
        let Some((keeper, beginning)) = self.beginning() else { return Outcome::Failure };
        let overlay = self.overlay();
        let base = beginning.configuration.clone();
        let configuration = overlay.over(&base);
        let opened = match self.exports.open() {
            Ok(opened) => opened,
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
        leave_to_workers(&configuration.topology.cores);
        let report = &mut |word| tell!("bulkhead: {word}");
        let started = match self.folder() {
            None => Gateway::start(configuration, report).map(|gateway| (gateway, None)),
            Some(folder) => Gateway::resume(configuration, folder, report).map(|(g, r)| (g, Some(r))),
        };
        let (gateway, resumption) = match started {
            Ok(started) => started,
            Err(error) => {
                tell!("error: {error}");
                return Outcome::Failure;
            }
        };
        // Where the folder is another gateway's, or can't be used, nothing is written there.
        let mut keeper = keeper.filter(|_| !matches!(resumption, Some(Resumption::Refused(..))));
        let mut restored = None;
        if let Some(resumption) = resumption {
            tell!("bulkhead: {resumption}");
            restored = resumption.event(&jiff::Timestamp::now().to_string());
        }
        if let Some(Err(error)) = keeper.as_mut().map(|keeper| beginning.keep(keeper)) {
            tell!("bulkhead: what is in force can't be kept: {error}");
            keeper = None;
        }
        let options = HostOptions { source: self.config.clone(), state: self.folder().map(Path::to_owned) };
        let mut host =
            Host::new(gateway, options, keeper, (base, overlay), &mut |word| tell!("bulkhead: {word}"));
        let sources = host.gateway().events().to_vec();
        let feed = self.exports.feed();
        let exports = opened.start(&feed).and_then(|exporters| {
            // Before anything that came after it.
            restored.into_iter().for_each(|restored| feed.note(restored));
            let hub = Hub::start(sources, Arc::clone(host.shared()), feed.clone(), self.exports.rate())?;
            Ok((exporters, hub))
        });
        let (exporters, hub) = match exports {
            Ok(exports) => exports,
            Err(error) => {
                tell!("error: events can't be told: {error}");
                return Outcome::Failure;
            }
        };
        let (orders_in, orders) = crossbeam_channel::bounded(ORDERS);
        let desk = Arc::new(Desk::new(Arc::clone(host.shared()), orders_in, feed));
        let metrics = match self.exports.metrics(&desk) {
            Ok(metrics) => metrics,
            Err(error) => {
                tell!("error: {error}; say `--metrics` with another");
                return Outcome::Failure;
            }
        };
        let server = if self.no_socket {
            None
        } else {
            match Server::start(&self.socket, desk) {
                Ok(server) => Some(server),
                Err(error) => {
                    tell!(
                        "error: the socket {}: {error}; say `--socket` or `--no-socket`",
                        self.socket.display()
                    );
                    return Outcome::Failure;
                }
            }
        };
        announce(host.gateway());
        let ended_well = 'run: loop {
            for signal in signals.pending() {
                match signal {
                    SIGHUP => {
                        exporters.reopen();
                        self.reload(&mut host);
                    }
                    _ => break 'run true,
                }
            }
            if !host.gateway().is_alive() {
                tell!("error: a worker died; nothing is forwarded any more");
                break false;
            }
            match host.gateway_mut().expire_rules() {
                Ok(true) => tell!("bulkhead: a rule has expired, and its flows are judged again"),
                Ok(false) => {}
                Err(error) => {
                    tell!("error: a rule has expired, but the rest can't be put into force: {error}")
                }
            }
            if let Some(what) = host.revert_if_due() {
                tell!("bulkhead: {what}");
            }
            host.expire_acts().iter().for_each(|what| tell!("bulkhead: {what}"));
            host.look_at_links().iter().for_each(|change| tell!("bulkhead: {change}"));
            wait(&mut host, &orders);
        };
        // Nobody is served while everything is taken down.
        drop((server, metrics));
        if let Err(error) = host.keep_hits() {
            tell!("bulkhead: rule hits are not kept: {error}");
        }
        let stop = host.into_gateway().stop();
        // What the workers have told of to the last.
        drop(hub);
        exporters.finish();
        match stop {
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

    fn reload(&self, host: &mut Host) {
        let Some(checked) = super::load_with_tables(&self.config) else {
            tell!("bulkhead: {} is not put into force; nothing has changed", self.config.display());
            return;
        };
        let bundle = Bundle::of(checked.configuration.sources());
        let action = Action::of_gateway("reload", "SIGHUP");
        match host.apply(checked, &bundle, None, &action, None, LiveFlows::Recheck) {
            Ok(_) => tell!("bulkhead: {} is in force", self.config.display()),
            Err(error) => tell!("error: {error}\nbulkhead: nothing has changed"),
        }
    }

    /// The state folder.
    fn folder(&self) -> Option<&Path> {
        (!self.no_state).then_some(self.state.as_path())
    }

    /// What was done beside the files, and is not over.
    fn overlay(&self) -> Overlay {
        let loaded = self.folder().map_or_else(|| Ok(Overlay::default()), Overlay::load);
        loaded.unwrap_or_else(|error| {
            tell!("bulkhead: what was done beside the files is lost: {error}");
            Overlay::default()
        })
    }

    /// What to start with: the gateway file, or what was in force when the gateway stopped.
    fn beginning(&self) -> Option<(Option<Keeper>, Beginning)> {
        let file = super::load(&self.config);
        let source = self.config.display().to_string();
        let of_file =
            |configuration, hash| Beginning { configuration, version: None, hash, source: source.clone() };
        let Some(folder) = self.folder() else { return Some((None, of_file(file?, None))) };
        let keeper = Keeper::open(folder, self.keep_versions, &mut |what| tell!("bulkhead: {what}"));
        let mut keeper = match keeper {
            Ok(keeper) => keeper,
            Err(error) => {
                tell!("bulkhead: no versions are kept, for {} can't be used: {error}", folder.display());
                return Some((None, of_file(file?, None)));
            }
        };
        let hash = file.as_ref().map(|configuration| Bundle::of(configuration.sources()).hash());
        let beginning = match (keeper.start_with(hash.as_deref()), file) {
            (Started::File, Some(configuration)) => of_file(configuration, hash),
            (Started::Version(version, why), _) => {
                tell!("bulkhead: version {} is put into force: {why}", version.number);
                let now = config::now();
                let loaded = config::load_bundle(&version.bundle, now).and_then(|c| config::check(c, now));
                let configuration = super::report(&self.config, loaded)?.configuration;
                Beginning { version: Some(version.number), ..of_file(configuration, hash) }
            }
            (Started::File | Started::Nothing, _) => {
                tell!("error: there is no configuration that is fit, and nothing may pass");
                return None;
            }
        };
        Some((Some(keeper), beginning))
    }
}

/// Waits for an order, or the time to look after other things; does the orders that are there.
fn wait(host: &mut Host, orders: &Receiver<Order>) {
    let mut next = orders.recv_timeout(LOOK_AFTER).ok();
    while let Some(order) = next {
        order(host);
        next = orders.try_recv().ok();
    }
}

/// What a gateway begins with.
struct Beginning {
    configuration: Configuration,
    /// Its number, where it is a version that was kept.
    version: Option<u64>,
    /// The hash of the gateway file.
    hash: Option<String>,
    /// The name of the gateway file.
    source: String,
}

impl Beginning {
    fn keep(self, keeper: &mut Keeper) -> Result<(), KeeperError> {
        let bundle = Bundle::of(self.configuration.sources());
        let action = Action::of_gateway("start", format!("of {}", self.source));
        keeper.begin(&bundle, self.version, &action, None, self.hash).map(|_| ())
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
    let workers = gateway.control().workers();
    if workers > 1 {
        tell!("bulkhead: {workers} workers; both directions of a flow meet: {}", gateway.spread_by());
    }
    tell!("bulkhead: running");
}
