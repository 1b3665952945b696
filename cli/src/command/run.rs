//! `bulkhead run`: the gateway at work, until it is told to stop.

mod beginning;
#[cfg(debug_assertions)]
mod fault;

use super::Outcome;
use super::exports::Exports;
use super::replay::{summary_json, summary_text};
use crate::change::Action;
use crate::config::feed::list_path;
use crate::config::{Bundle, Configuration};
use crate::control::{Desk, Order, Server};
use crate::feed::{Feeds, Shelf};
use crate::run::hub::{Feed, Hub};
use crate::run::{
    DEFAULT_STATE, Enforced, Gateway, Host, HostOptions, Notice, Resumption, Sandbox, Service, Watchdog,
    WorkerDied, leave_to_workers,
};
use crossbeam_channel::Receiver;
use dataplane::generation::LiveFlows;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Run the gateway on its Linux interfaces, until SIGTERM or SIGINT. SIGHUP reads the file again.
///
/// It needs root, or CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK. On the way out every interface is left as it was.
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
    /// Leave the process the whole file system: by default it may read the folders of its configuration and feeds,
    /// and write those of its state, socket and events, and no more (Landlock).
    #[arg(long)]
    no_sandbox: bool,
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
        let shelf = Shelf::new(&self.config, self.folder());
        let (keeper, beginning) = self.beginning(&shelf);
        let deny_all = beginning.deny_all.clone();
        let overlay = self.overlay();
        let base = beginning.configuration.clone();
        let mut feeds = Feeds::new(shelf.clone());
        feeds.adopt(&base);
        let configuration = overlay.over(&feeds.over(&base));
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
        // Before the first thread.
        if !self.no_sandbox {
            self.enter_sandbox(&base, &shelf);
        }
        let report = &mut |word| tell!("bulkhead: {word}");
        let started = self.start(configuration.clone(), report).or_else(|error| match deny_all {
            // Better with fewer ports than not at all.
            Some(_) => {
                tell!("error: {error}");
                self.start_bare(configuration, report)
            }
            None => Err(error),
        });
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
        let options = HostOptions {
            source: self.config.clone(),
            state: self.folder().map(Path::to_owned),
            deny_all: deny_all.clone(),
        };
        let mut host = Host::new(gateway, options, keeper, (base, overlay, feeds), &mut |word| {
            tell!("bulkhead: {word}")
        });
        let sources = host.gateway().events().to_vec();
        let feed = self.exports.feed();
        let exports = opened.start(&feed, &host).and_then(|exporters| {
            // Before anything that came after it.
            restored.into_iter().for_each(|restored| feed.note(restored));
            let hub = Hub::start(sources, Arc::clone(host.shared()), feed.clone(), self.exports.rate())?;
            Ok((exporters, hub))
        });
        host.feeds().complaints().into_iter().for_each(|notice| say(&feed, notice));
        if let Some(why) = &deny_all {
            let what =
                format!("error: nothing may pass: {why}; `bulkhead apply FILE` brings the gateway to life");
            say(&feed, Notice::new("deny-all", what, json!({ "why": why })));
        }
        let (exporters, mut hub) = match exports {
            Ok(exports) => exports,
            Err(error) => {
                tell!("error: events can't be told: {error}");
                return Outcome::Failure;
            }
        };
        let (orders_in, orders) = crossbeam_channel::bounded(ORDERS);
        let desk_of =
            |host: &Host| Arc::new(Desk::new(Arc::clone(host.shared()), orders_in.clone(), feed.clone()));
        let desk = desk_of(&host);
        let mut metrics = match self.exports.metrics(&desk) {
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
        let service = Arc::new(Service::of_environment());
        let watchdog = match Watchdog::start(&service, Arc::clone(&host.shared().control)) {
            Ok(watchdog) => watchdog,
            Err(error) => {
                tell!("error: there is no thread for the watchdog: {error}");
                return Outcome::Failure;
            }
        };
        service.tell("READY=1");
        let ended_well = 'run: loop {
            for signal in signals.pending() {
                match signal {
                    SIGHUP => {
                        exporters.reopen();
                        self.reload(&mut host, &shelf);
                    }
                    _ => break 'run true,
                }
            }
            if !host.is_alive() {
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
            watchdog.main_thread_is_alive();
            #[cfg(debug_assertions)]
            fault::befall(&host);
            let mut notices = host.look_at_links();
            notices.extend(host.look_at_feeds());
            notices.extend(host.notices());
            if host.is_renewed() {
                let sources = host.gateway().events().to_vec();
                hub = match hub.hand_over(sources, Arc::clone(host.shared()), self.exports.rate()) {
                    Ok(hub) => hub,
                    Err(error) => {
                        tell!("error: events can't be told: {error}");
                        return Outcome::Failure;
                    }
                };
                exporters.hand_over(&host);
                let desk = desk_of(&host);
                // Before the new one listens at the same place.
                drop(metrics.take());
                metrics = self.exports.metrics(&desk).unwrap_or_else(|error| {
                    tell!("error: {error}; there are no metrics any more");
                    None
                });
                server.iter().for_each(|server| server.serve_from(Arc::clone(&desk)));
                watchdog.watch(Arc::clone(&host.shared().control));
                announce(host.gateway());
                host.is_known();
            }
            notices.into_iter().for_each(|notice| say(&feed, notice));
            wait(&mut host, &orders);
        };
        service.tell("STOPPING=1");
        // Nobody is served while everything is taken down.
        drop((server, metrics, watchdog));
        if let Err(error) = host.keep_hits() {
            tell!("bulkhead: rule hits are not kept: {error}");
        }
        exporters.last_look();
        let stop = host.into_gateway().ok_or(WorkerDied).and_then(Gateway::stop);
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

    fn reload(&self, host: &mut Host, shelf: &Shelf) {
        let Some(checked) = super::report(&self.config, self.load(shelf)) else {
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

    /// Gives up what of the file system is not needed any more.
    fn enter_sandbox(&self, configuration: &Configuration, shelf: &Shelf) {
        let mut sandbox = Sandbox::default();
        // A pipe has no folder that would be its own.
        if self.config.is_file() {
            sandbox.read(Sandbox::folder_of(&self.config));
        }
        configuration.sources().iter().for_each(|file| {
            if file.path().is_file() {
                sandbox.read(Sandbox::folder_of(file.path()));
            }
        });
        for feed in &configuration.feeds {
            sandbox.read(Sandbox::folder_of(&list_path(&shelf.gateway_file, feed)));
        }
        self.folder().into_iter().for_each(|folder| sandbox.write(folder));
        if !self.no_socket {
            let folder = Sandbox::folder_of(&self.socket);
            // As the server would; where it can't be made the server says so.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
            sandbox.write(folder);
        }
        self.exports.written().for_each(|path| sandbox.write(path));
        match sandbox.enforce() {
            Ok(Enforced::Whole | Enforced::Partly) => {}
            Ok(Enforced::Not) => {
                tell!("bulkhead: this kernel has no Landlock, so the process keeps the whole file system");
            }
            Err(error) => tell!("bulkhead: the process keeps the whole file system: {error}"),
        }
    }

    /// The state folder.
    fn folder(&self) -> Option<&Path> {
        (!self.no_state).then_some(self.state.as_path())
    }
}

/// Tells the log and the readers of events.
fn say(feed: &Feed, notice: Notice) {
    tell!("bulkhead: {}", notice.text);
    feed.note(notice.event);
}

/// Waits for an order, or the time to look after other things; does the orders that are there.
fn wait(host: &mut Host, orders: &Receiver<Order>) {
    let mut next = orders.recv_timeout(LOOK_AFTER).ok();
    while let Some(order) = next {
        order(host);
        if host.is_renewed() {
            return;
        }
        next = orders.try_recv().ok();
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
