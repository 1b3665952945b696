//! A gateway from its start to its end.

use super::carried::Carried;
use super::crew;
use super::state::{Leaving, Newcomers, Resumption, StateDirectory};
use crate::config::{self, Configuration};
use classifier::policy::{RuleId, Timestamp};
use classifier::tables::Tables;
use conntrack::Tracker;
use conntrack::time::Tick;
use dataplane::arena::Arena;
use dataplane::counters::Counters;
use dataplane::event::{self, EventSource};
use dataplane::generation::{GenerationError, Generations, LiveFlows};
use dataplane::network::PortFacts;
use dataplane::ownership::Owners;
use dataplane::port::xdp::{self, OpenError, Opened, PortGuard, PortRequest, Spreading};
use dataplane::restore;
use dataplane::topology::PortConfig;
use dataplane::worker::{Clock, Control, Stopped};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Why a gateway did not start. Nothing is left changed then.
#[derive(Debug)]
pub enum StartError {
    /// A port can't be opened.
    Port(OpenError),
    /// A port's `mtu` is over what its interface takes.
    Mtu {
        /// The port.
        port: String,
        /// What the file says.
        wanted: u16,
        /// What the interface has.
        interface: u32,
    },
    /// The policy can't be put into force.
    Generation(GenerationError),
    /// The system has no randomness, thread or descriptor for us.
    System(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Port(error) => write!(f, "{error}\n  help: {}", error.remedy()),
            StartError::Mtu { port, wanted, interface } => write!(
                f,
                "port `{port}` is given an MTU of {wanted}, but its interface has {interface}\n  \
                 help: raise the interface's MTU with `ip link set`, or lower the port's"
            ),
            StartError::Generation(error) => error.fmt(f),
            StartError::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a new configuration was not put into force. The old one is, unchanged.
#[derive(Debug)]
pub enum ReloadError {
    /// Ports and workers can't change while the gateway runs.
    NeedsRestart(&'static str),
    /// The policy can't be put into force.
    Generation(GenerationError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::NeedsRestart(what) => {
                write!(
                    f,
                    "{what} can't change while the gateway runs: restart it to put this file into force"
                )
            }
            ReloadError::Generation(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReloadError {}

/// A running gateway. Dropping it stops it and puts the interfaces back.
pub struct Gateway {
    configuration: Arc<Configuration>,
    generations: Generations,
    facts: Vec<PortFacts>,
    control: Arc<Control>,
    workers: Vec<JoinHandle<Stopped>>,
    state: Option<StateDirectory>,
    expiry: Option<Timestamp>,
    clock: Clock,
    /// By worker.
    events: Vec<EventSource>,
    /// The cards that spread frames over their queues as the workers own them.
    spreading: Vec<Spreading>,
    /// Last: the interfaces are put back when no worker uses them any more.
    guards: Vec<PortGuard>,
}

impl Gateway {
    /// Opens the ports and starts the workers; `report` is told of what takes time.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left changed then.
    pub fn start(
        configuration: Configuration,
        report: &mut dyn FnMut(String),
    ) -> Result<Gateway, StartError> {
        Gateway::begin(configuration, Past::None, report).map(|(gateway, _)| gateway)
    }

    /// As [`Gateway::start`], with the flows that were saved in a directory; where it can't be used the gateway
    /// starts without.
    ///
    /// # Errors
    /// Those of [`Gateway::start`].
    pub fn resume(
        configuration: Configuration,
        state: &Path,
        report: &mut dyn FnMut(String),
    ) -> Result<(Gateway, Resumption), StartError> {
        Gateway::begin(configuration, Past::Directory(state), report)
    }

    /// As [`Gateway::start`], with what another gateway of this process has left.
    ///
    /// # Errors
    /// Those of [`Gateway::start`]; what was left is as it was then.
    pub fn go_on(
        configuration: Configuration,
        carried: &mut Carried,
        report: &mut dyn FnMut(String),
    ) -> Result<(Gateway, Resumption), StartError> {
        Gateway::begin(configuration, Past::Carried(carried), report)
    }

    fn begin(
        configuration: Configuration,
        past: Past<'_>,
        report: &mut dyn FnMut(String),
    ) -> Result<(Gateway, Resumption), StartError> {
        let requests: Vec<PortRequest> = configuration.topology.ports.iter().map(Gateway::request).collect();
        let workers = crew::workers(&configuration.topology);
        let opened = open(&requests, workers, report)?;
        let facts = port_facts(&configuration, &opened.guards)?;
        let mut generations = Generations::default();
        let now = config::now();
        let generation = generations
            .compile(Arc::clone(&configuration.policy), &configuration.topology, &facts, now)
            .map_err(StartError::Generation)?;
        let generation = Arc::new(generation);
        let control = Control::new(Arc::clone(&generation), workers).map_err(StartError::System)?;
        let control = Arc::new(control);
        // To each its own: whoever tells much crowds out nobody else.
        let (sinks, events): (Vec<_>, Vec<_>) = (0..workers).map(|_| event::ring()).unzip();
        let secret = secret().map_err(StartError::System)?;
        let (spread, spreading) = crew::spread(&configuration.topology, workers, secret);
        let owners = Owners::new(spread, workers, generation.network());
        let mut engines =
            crew::engines(&configuration, &generation, workers, secret, &opened.arena, opened.pool);
        let clock = Clock::start();
        // Only now: a gateway that is on its way out has let go of its ports when its flows are saved.
        let names = restore::names(&configuration.topology, &generations);
        let newcomers = Newcomers {
            engines: &mut engines,
            owners: &owners,
            now: clock.now(),
            names: &names,
            configuration: &configuration,
        };
        let (state, resumption) = match past {
            Past::None => (None, Resumption::Nothing),
            Past::Directory(path) => match StateDirectory::take(path) {
                Err(error) => (None, Resumption::Refused(path.to_owned(), error)),
                Ok(state) => {
                    let resumption = state.restore(newcomers);
                    (Some(state), resumption)
                }
            },
            Past::Carried(carried) => {
                let resumption = carried.restore(newcomers);
                (carried.state.take(), resumption)
            }
        };
        let workers = crew::hire(&configuration.topology, engines, opened.ports, &owners, &control, sinks);
        let mut gateway = Gateway {
            expiry: configuration.policy.next_expiry(now),
            configuration: Arc::new(configuration),
            generations,
            facts,
            control,
            workers: Vec::new(),
            state,
            clock,
            events,
            spreading,
            guards: opened.guards,
        };
        for (index, worker) in workers.into_iter().enumerate() {
            let core = gateway.configuration.topology.cores.get(index).copied();
            // Where a thread can't be had, dropping the gateway ends those that there are.
            gateway.workers.push(crew::begin(worker, index, core, clock).map_err(StartError::System)?);
        }
        if let Some(cores) = crew::missing(&gateway.configuration.topology.cores) {
            report(format!("this machine has no core {cores}: its workers run on any"));
        }
        Ok((gateway, resumption))
    }

    /// What a port asks of its interface.
    #[must_use]
    pub fn request(port: &PortConfig) -> PortRequest {
        PortRequest { interface: port.interface.clone(), queues: port.queues, mode: port.xdp }
    }

    /// Puts another configuration into force between two batches, or changes nothing.
    ///
    /// # Errors
    /// Where it asks for other ports or workers, or its policy can't be put into force.
    pub fn reload(
        &mut self,
        configuration: Arc<Configuration>,
        tables: impl Into<Arc<Tables>>,
        flows: LiveFlows,
    ) -> Result<(), ReloadError> {
        self.may_become(&configuration)?;
        let now = config::now();
        let generation = self.generations.of_tables(tables, &configuration.topology, &self.facts, now, flows);
        self.control.publish(Arc::new(generation.map_err(ReloadError::Generation)?));
        self.expiry = configuration.policy.next_expiry(now);
        self.configuration = configuration;
        Ok(())
    }

    /// Puts tables into force that those in force were changed to in place, between two batches: the policy of
    /// `configuration` is theirs, and all else is as it was. `removed` are the rules that are out of force now; those that
    /// came never expire.
    pub fn change(&mut self, configuration: Configuration, tables: Arc<Tables>, removed: &[RuleId]) {
        let before = self.control.generation();
        let flows = LiveFlows::Recheck;
        let generation = self.generations.of_changed(&before, tables, removed, config::now(), flows);
        self.control.publish(Arc::new(generation));
        self.configuration = Arc::new(configuration);
    }

    /// Whether a configuration can be put into force without a restart.
    ///
    /// # Errors
    /// What would have to be other ports or workers.
    pub fn may_become(&self, configuration: &Configuration) -> Result<(), ReloadError> {
        let (old, new) = (&self.configuration.topology, &configuration.topology);
        if old.ports != new.ports {
            return Err(ReloadError::NeedsRestart("ports"));
        }
        if (&old.cores, old.idle) != (&new.cores, new.idle) {
            return Err(ReloadError::NeedsRestart("`[workers]`"));
        }
        if self.configuration.conntrack != configuration.conntrack {
            return Err(ReloadError::NeedsRestart("`[conntrack]`"));
        }
        Ok(())
    }

    /// Takes rules whose time has come out of force. To be called now and then; whether there were any.
    ///
    /// # Errors
    /// Where what is left of the policy can't be put into force.
    pub fn expire_rules(&mut self) -> Result<bool, GenerationError> {
        let now = config::now();
        if self.expiry.is_none_or(|expiry| now < expiry) {
            return Ok(false);
        }
        self.expiry = self.configuration.policy.next_expiry(now);
        let configuration = Arc::clone(&self.configuration);
        self.publish(&configuration, now)?;
        Ok(true)
    }

    fn publish(&mut self, configuration: &Configuration, now: Timestamp) -> Result<(), GenerationError> {
        let policy = Arc::clone(&configuration.policy);
        let generation = self.generations.compile(policy, &configuration.topology, &self.facts, now)?;
        self.control.publish(Arc::new(generation));
        Ok(())
    }

    /// Stops the workers, saves the flows where the gateway has a directory for them, and puts the interfaces back;
    /// what was counted.
    ///
    /// # Errors
    /// Where a worker had panicked; no flow is saved then.
    pub fn stop(mut self) -> Result<Stop, WorkerDied> {
        let (counters, trackers) = self.join()?;
        let names = restore::names(&self.configuration.topology, &self.generations);
        let leaving = Leaving { trackers: &trackers, names: &names, configuration: &self.configuration };
        let saved = self.state.as_ref().map(|state| state.save(&leaving));
        Ok(Stop { counters, saved })
    }

    /// Stops the workers and puts the interfaces back, as [`Gateway::stop`] does, for another gateway of this process
    /// to go on.
    ///
    /// # Errors
    /// Where a worker had panicked.
    pub fn pause(mut self) -> Result<Carried, WorkerDied> {
        let (counters, trackers) = self.join()?;
        let state = self.state.take();
        let names = restore::names(&self.configuration.topology, &self.generations);
        let leaving = Leaving { trackers: &trackers, names: &names, configuration: &self.configuration };
        Ok(Carried::new(state, &leaving, counters))
    }

    fn join(&mut self) -> Result<(Counters, Vec<Tracker>), WorkerDied> {
        self.control.stop();
        let mut counters: Option<Counters> = None;
        let mut trackers = Vec::new();
        for worker in self.workers.drain(..) {
            let stopped = worker.join().map_err(|_| WorkerDied)?;
            counters = Some(counters.unwrap_or_default().and(&stopped.counters));
            trackers.push(stopped.tracker);
        }
        counters.map(|counters| (counters, trackers)).ok_or(WorkerDied)
    }

    /// Whether every worker is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.workers.iter().all(|worker| !worker.is_finished())
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// Who sees to it that both directions of a flow come to one worker.
    #[must_use]
    pub fn spread_by(&self) -> &'static str {
        match (self.workers.len(), self.spreading.is_empty()) {
            (0 | 1, _) => "one worker",
            (_, true) => "handed over",
            (_, false) => "by the ports",
        }
    }

    /// The ports' guards, in the order of the ports: how each is attached, and what the kernel counts.
    #[must_use]
    pub fn guards(&self) -> &[PortGuard] {
        &self.guards
    }

    /// The same, to be mended.
    pub fn guards_mut(&mut self) -> &mut [PortGuard] {
        &mut self.guards
    }

    /// The generations, which know the names of rules.
    #[must_use]
    pub fn generations(&self) -> &Generations {
        &self.generations
    }

    /// The control that workers share.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The clock of the workers.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// New flows and drops, as they happen, by worker.
    #[must_use]
    pub fn events(&self) -> &[EventSource] {
        &self.events
    }

    /// The workers' time.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.clock.now()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Whoever wanted to know has called `stop`.
        let _ = self.join();
    }
}

/// How a gateway has ended.
#[derive(Debug)]
pub struct Stop {
    /// What was counted.
    pub counters: Counters,
    /// How many flows were saved, or why none were; `None`: none were to be.
    pub saved: Option<std::io::Result<u64>>,
}

/// A worker panicked; the ports are closed, and nothing is forwarded any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerDied;

impl fmt::Display for WorkerDied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a worker died")
    }
}

impl std::error::Error for WorkerDied {}

/// Where a gateway has its flows from.
enum Past<'a> {
    None,
    Directory(&'a Path),
    Carried(&'a mut Carried),
}

/// Opens the ports. A gateway that has none, for nothing is known of them, has a memory all the same.
fn open(
    requests: &[PortRequest],
    workers: usize,
    report: &mut dyn FnMut(String),
) -> Result<Opened, StartError> {
    if requests.is_empty() {
        let (arena, pool) = Arena::on_heap(crew::frames(workers), dataplane::answer::LARGEST);
        return Ok(Opened { ports: Vec::new(), guards: Vec::new(), pool, arena, huge_pages: false });
    }
    let frames = xdp::frames_for(requests) + crew::frames(workers);
    let opened = xdp::open_reporting(requests, frames, &mut |waiting| {
        let what = waiting.queue.map_or("its XDP hook".to_owned(), |queue| format!("queue {queue}"));
        report(format!("{} of {} is still in use, waiting", what, waiting.interface));
    });
    opened.map_err(StartError::Port)
}

fn port_facts(configuration: &Configuration, guards: &[PortGuard]) -> Result<Vec<PortFacts>, StartError> {
    let ports = configuration.topology.ports.iter().zip(guards);
    ports
        .map(|(port, guard)| {
            let interface = guard.interface();
            let own = u16::try_from(interface.mtu).unwrap_or(u16::MAX);
            match port.mtu {
                Some(wanted) if u32::from(wanted) > interface.mtu => {
                    Err(StartError::Mtu { port: port.name.clone(), wanted, interface: interface.mtu })
                }
                wanted => {
                    Ok(PortFacts { mac: Some(port.mac.unwrap_or(interface.mac)), mtu: wanted.unwrap_or(own) })
                }
            }
        })
        .collect()
}

/// The key of the flow table's hash, from the system's randomness.
fn secret() -> std::io::Result<[u8; 16]> {
    let mut secret = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut secret)?;
    Ok(secret)
}
