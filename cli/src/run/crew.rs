//! The workers of a gateway: how many, with which memory, on which cores, and which queues each serves.
//!
//! One worker for each of `[workers] cores`; without them one, on whatever core. Queue q of a port is served by worker
//! q modulo their number. A worker without a queue of a port passes on what leaves there to one that has one.

use crate::config::Configuration;
use conntrack::LimitShare;
use conntrack::config::Config;
use dataplane::arena::{Arena, FramePool};
use dataplane::engine::{Engine, IN_HANDS, Resolve};
use dataplane::event::EventSink;
use dataplane::generation::Generation;
use dataplane::ownership::{Owners, Spread, WORKERS};
use dataplane::port::Port;
use dataplane::port::xdp::{Spreading, XdpPort, spread_alike};
use dataplane::topology::Topology;
use dataplane::worker::{Clock, Control, Stopped, Worker};
use dataplane::{ROOM, queues_of, server_of};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// How many workers there are.
pub(super) fn workers(topology: &Topology) -> usize {
    topology.cores.len().clamp(1, WORKERS)
}

/// Frames that so many workers need beside those in the ports' rings: in hands, and on their way to each other.
pub(super) fn frames(workers: usize) -> u32 {
    let on_their_way = ROOM * (workers as u32 - 1);
    workers as u32 * (IN_HANDS + on_their_way.min(IN_HANDS))
}

/// How flows are spread: by the ports, where all have as many queues as there are workers and their cards can do it alike
/// in both directions; else by a secret of the gateway's own. Who learns where flows go learns nothing of the flow table.
pub(super) fn spread(topology: &Topology, workers: usize, mut secret: [u8; 16]) -> (Spread, Vec<Spreading>) {
    let interfaces: Vec<&str> = topology.ports.iter().map(|port| port.interface.as_str()).collect();
    let fits = workers > 1 && topology.ports.iter().all(|port| usize::from(port.queues) == workers);
    let random = u16::from_ne_bytes([secret[0] ^ 0xa5, secret[15] ^ 0x5a]);
    if fits && let Ok((key, set)) = spread_alike(&interfaces, workers as u32, random) {
        return (Spread::Ports(key), set);
    }
    secret.iter_mut().for_each(|byte| *byte ^= 0x5a);
    (Spread::keyed(secret), Vec::new())
}

/// An engine for each worker, with its share of frames and flows.
pub(super) fn engines(
    configuration: &Configuration,
    generation: &Arc<Generation>,
    workers: usize,
    secret: [u8; 16],
    arena: &Arena,
    mut pool: FramePool,
) -> Vec<Engine> {
    let share = pool.len() / workers;
    let flows = configuration.conntrack.max_flows;
    let limits = LimitShare::of_all(workers);
    let made = limits.into_iter().enumerate().map(|(index, limits)| {
        let own_flows = flows / workers as u32 + u32::from((index as u32) < flows % workers as u32);
        let config = Config { max_flows: own_flows.max(1), ..configuration.conntrack };
        let arena = Arc::new(arena.share());
        let own = pool.split_off(share);
        let mut engine = Engine::new(Arc::clone(generation), &config, secret, arena, own, Resolve::Ask);
        if workers > 1 {
            engine.join(workers, Some(limits));
        }
        engine
    });
    made.collect()
}

/// The workers, each with its queues. `ports` are those of each port in their order.
pub(super) fn hire(
    topology: &Topology,
    engines: Vec<Engine>,
    ports: Vec<Vec<XdpPort>>,
    owners: &Owners,
    control: &Arc<Control>,
    sinks: Vec<EventSink>,
) -> Vec<Worker> {
    let workers = engines.len();
    let counts: Vec<usize> = ports.iter().map(Vec::len).collect();
    let mut ports: Vec<Vec<Option<XdpPort>>> =
        ports.into_iter().map(|queues| queues.into_iter().map(Some).collect()).collect();
    let places = engines.into_iter().zip(dataplane::seats(owners)).zip(sinks);
    let crew = places.enumerate().map(|(index, ((engine, seat), sink))| {
        let own = ports.iter_mut().map(|queues| {
            let served = queues_of(index, workers, queues.len()).filter_map(|queue| queues[queue].take());
            served.map(|queue| Box::new(queue) as Box<dyn Port>).collect()
        });
        let own: Vec<Vec<Box<dyn Port>>> = own.collect();
        let (control, events) = (Arc::clone(control), Some(sink));
        if workers == 1 {
            return Worker::alone(engine, own, control, topology.idle, events);
        }
        let servers = counts.iter().map(|queues| server_of(index, *queues)).collect();
        Worker::among(engine, own, control, seat.with_servers(servers), topology.idle, events)
    });
    crew.collect()
}

/// Sets a worker to work, on its core if it has one.
pub(super) fn begin(
    worker: Worker,
    index: usize,
    core: Option<usize>,
    clock: Clock,
) -> io::Result<JoinHandle<Stopped>> {
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(core) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        worker.run(clock)
    })
}

/// Those of the cores that this machine has not, in words.
pub(super) fn missing(cores: &[usize]) -> Option<String> {
    let known = core_affinity::get_core_ids()?;
    let missing: Vec<String> = cores
        .iter()
        .filter(|core| !known.iter().any(|known| known.id == **core))
        .map(ToString::to_string)
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Keeps this thread, and those that it starts, off the workers' cores, if any other is left for it.
pub fn leave_to_workers(cores: &[usize]) {
    let Ok(mut allowed) = sched_getaffinity(None) else { return };
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        allowed.unset(*core);
    }
    if allowed.count() > 0 {
        // Where it may not, it stays where it is: a matter of speed.
        let _ = sched_setaffinity(None, &allowed);
    }
}
