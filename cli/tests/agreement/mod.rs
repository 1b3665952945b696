//! The same frames through a worker and through `replay`, and what `observe` finds of the worker's drops.
//!
//! ```text
//!            ┌─▶ worker ─ring─▶ hub ─▶ history ─▶ desk ─socket─▶ observe --reason … --rule …
//!  capture ──┤      └─▶ counters
//!            └─▶ replay ─▶ lines
//! ```

use crate::replay_bed::replay;
use arc_swap::ArcSwap;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use cli::config::Configuration;
use cli::control::desk::Shared;
use cli::control::{Client, Desk, EventFilter, Request, Server};
use cli::feed::Shelf;
use cli::run::hub::{Feed, Hub};
use conntrack::time::Tick;
use dataplane::arena::Arena;
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::event;
use dataplane::generation::Generations;
use dataplane::network::PortFacts;
use dataplane::port::Port;
use dataplane::port::capture::Merge;
use dataplane::port::memory::MemoryPort;
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Hands, Worker};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events that may wait in a ring before the worker is held up: it must not lose one.
const WAITING: usize = 4_096;

/// How often each reason has come with each rule.
pub(crate) type Found = BTreeMap<(String, Option<String>), u64>;

fn found(drops: impl Iterator<Item = (String, Option<String>)>) -> Found {
    let mut found = Found::new();
    for drop in drops {
        *found.entry(drop).or_default() += 1;
    }
    found
}

/// A control socket, and a client that asks there.
pub(crate) struct Asker {
    path: PathBuf,
    /// What answers, and who asks; there is none before the first worker.
    served: Option<(Server, Client)>,
}

impl Asker {
    pub(crate) fn new(name: &str) -> Asker {
        let path = std::env::temp_dir().join(format!("bulkhead-{}-{name}.sock", std::process::id()));
        Asker { path, served: None }
    }

    fn serve(&mut self, desk: Arc<Desk>) {
        match &self.served {
            Some((server, _)) => server.serve_from(desk),
            None => {
                let server = Server::start(&self.path, desk).unwrap();
                self.served = Some((server, Client::connect(&self.path).unwrap()));
            }
        }
    }

    /// The drops that `observe` finds with this filter.
    fn observe(&mut self, filter: EventFilter) -> Found {
        let (_, client) = self.served.as_mut().expect("a worker has been at work");
        let request = Request::Observe { filter, follow: false, since: None, last: None };
        let mut drops = Vec::new();
        let answer = client.ask(request, |item| {
            let item = item.expect("nothing is lost");
            let text = |key: &str| item[key].as_str().map(str::to_owned);
            if let Some(reason) = text("reason") {
                assert!(item["lost"].is_null() && item["suppressed"].is_null(), "{item}");
                drops.push((reason, text("rule")));
            }
        });
        answer.unwrap_or_else(|error| panic!("{error}"));
        found(drops.into_iter())
    }
}

/// Has a worker take all frames of a capture, with a desk before it; what it counts.
fn work(configuration: &Configuration, input: &Merge, asker: &mut Asker) -> Counters {
    let start = input.iter().next().map_or(Tick(0), |(_, at, _)| at);
    let longest = input.iter().map(|(_, _, data)| data.len()).max().unwrap_or(0);
    let facts = PortFacts::of_file(&configuration.topology);
    let (policy, topology) = (Arc::clone(&configuration.policy), &configuration.topology);
    let now = Timestamp(i128::from(start.0));
    let generation = Arc::new(Generations::default().compile(policy, topology, &facts, now).unwrap());
    let control = Arc::new(Control::new(Arc::clone(&generation), 1).unwrap());
    let (arena, pool) = Arena::on_heap(1_536, (longest + 64).max(4_096));
    let (conntrack, arena) = (&configuration.conntrack, Arc::new(arena));
    let engine = Engine::new(generation, conntrack, [7; 16], arena, pool, Resolve::Placeholder);
    let (ports, wires): (Vec<_>, Vec<_>) = topology
        .ports
        .iter()
        .map(|_| MemoryPort::with_wire())
        .map(|(port, wire)| (Box::new(port) as Box<dyn Port>, wire))
        .unzip();
    let (sink, source) = event::ring();
    let mut worker = Worker::new(engine, ports, Arc::clone(&control), 0, Idle::Poll, Some(sink));
    let shared = Arc::new(Shared {
        control: Arc::clone(&control),
        configuration: ArcSwap::from_pointee(configuration.clone()),
        base: ArcSwap::from_pointee(configuration.clone()),
        clock: Clock::start(),
        shelf: Shelf::new(Path::new("gw.toml"), None),
        started: jiff::Timestamp::now(),
        began: Instant::now(),
    });
    let feed = Feed::new(usize::MAX);
    let ring = source.receiver.clone();
    let hub = Hub::start(vec![source], Arc::clone(&shared), feed.clone(), 0).unwrap();
    let mut hands = Hands::default();
    for (port, at, data) in input.iter() {
        worker.engine().tick(at, Sweep::All);
        wires[port.index()].push(data);
        worker.step(at, &mut hands);
        while ring.len() > WAITING {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    control.stop();
    let counters = worker.run(shared.clock).counters;
    drop(hub);
    assert_eq!(feed.untold().by_ring, 0);
    let (orders, _) = crossbeam_channel::bounded(1);
    asker.serve(Arc::new(Desk::new(shared, orders, feed)));
    counters
}

/// Every drop of a capture is found by `observe --reason`, and with `--rule` where a rule made it, and by no other
/// reason or rule: as often as it is counted, and as `replay` has it. All of them.
pub(crate) fn check(what: &str, configuration: &Configuration, input: &Merge, asker: &mut Asker) -> Found {
    let (lines, replayed) = replay(configuration, input, Resolve::Placeholder);
    let drop = |line: &cli::replay::Line| Some((line.reason?.to_owned(), line.rule.clone()));
    let replay = found(lines.iter().filter_map(drop));
    let counters = work(configuration, input, asker);
    assert_eq!(counters.dropped, replayed.dropped, "{what}: counters");
    assert_eq!(asker.observe(EventFilter::default()), replay, "{what}: all events");
    for reason in DropReason::ALL {
        let of_reason = |((name, _), _): &(&(String, Option<String>), &u64)| name == reason.name();
        let known: Found = replay.iter().filter(of_reason).map(|(drop, n)| (drop.clone(), *n)).collect();
        assert_eq!(
            known.values().sum::<u64>(),
            counters.dropped[reason.index()],
            "{what}: {} is counted",
            reason.name()
        );
        let with =
            |rule| EventFilter { reason: Some(reason.name().to_owned()), rule, ..EventFilter::default() };
        assert_eq!(asker.observe(with(None)), known, "{what}: {} is asked for", reason.name());
        for (drop, count) in known {
            let rule = drop.1.clone().unwrap_or("default".to_owned());
            let alone = Found::from([(drop, count)]);
            assert_eq!(asker.observe(with(Some(rule))), alone, "{what}: its rule is asked for, too");
        }
    }
    replay
}
