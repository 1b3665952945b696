//! Workers around one network, turn by turn in a random order: what comes of a frame does not hang on how many there
//! are, by which queue it came in, or who was faster.

use super::frame::{arp, link_option, nd};
use super::network::{DB, Host};
use super::{Left, Setup, sound};
use classifier::addr::{Mac, PortId};
use classifier::policy::{Policy, Timestamp};
use conntrack::LimitShare;
use conntrack::config::Config;
use conntrack::snapshot::{Names, Snapshot, Stamp, write};
use conntrack::time::Tick;
use dataplane::arena::{Arena, FramePool};
use dataplane::counters::Counters;
use dataplane::engine::Engine;
use dataplane::event::{self, Event, EventSource};
use dataplane::generation::{Generation, Generations};
use dataplane::network::PortFacts;
use dataplane::ownership::{Owners, Spread};
use dataplane::port::Port;
use dataplane::port::memory::{MemoryPort, Wire};
use dataplane::restore::restore;
use dataplane::topology::Idle;
use dataplane::worker::{Clock, Control, Hands, Worker};
use dataplane::{queues_of, server_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Chunks of each worker.
pub(crate) const CHUNKS: u32 = 2048;

/// Workers and their queues.
pub(crate) struct Gang {
    pub(crate) setup: Setup,
    pub(crate) now: Tick,
    generations: Generations,
    pub(crate) control: Arc<Control>,
    pub(crate) workers: Vec<(Worker, Hands)>,
    /// By port, by queue.
    wires: Vec<Vec<Wire>>,
    events: EventSource,
    pushed: u64,
}

/// What came of a frame.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Came {
    pub(crate) left: Vec<Left>,
    pub(crate) told: Vec<String>,
}

impl Gang {
    /// So many workers; each port has so many queues, which may be fewer or more.
    pub(crate) fn new(setup: Setup, workers: usize, queues: usize, spread: Spread) -> Gang {
        let (arena, mut pool) = Arena::on_heap(CHUNKS * workers as u32, 4096);
        let now = Tick(1_700_000_000_000_000_000);
        let mut generations = Generations::default();
        let generation = Arc::new(compile(&mut generations, &setup, now));
        let owners = Owners::new(spread, workers, generation.network());
        let control = Arc::new(Control::new(Arc::clone(&generation), workers).unwrap());
        let (sink, events) = event::ring();
        let ports = setup.topology.ports.len();
        let mut wires: Vec<Vec<Wire>> = vec![Vec::new(); ports];
        let mut limits = LimitShare::of_all(workers).into_iter();
        let seats = dataplane::seats(&owners).into_iter().enumerate().map(|(index, seat)| {
            let mut engine = engine(&setup, &generation, workers, &arena, pool.split_off(CHUNKS as usize));
            let own: Vec<Vec<Box<dyn Port>>> = (0..ports)
                .map(|port| {
                    let made = queues_of(index, workers, queues).map(|_| {
                        let (queue, wire) = MemoryPort::with_wire();
                        wires[port].push(wire);
                        Box::new(queue) as Box<dyn Port>
                    });
                    made.collect()
                })
                .collect();
            if workers == 1 {
                let own = own.into_iter().map(|mut queues| queues.remove(0)).collect();
                return Worker::new(engine, own, Arc::clone(&control), 0, Idle::Poll, Some(sink.clone()));
            }
            engine.join(workers, limits.next());
            let seat = seat.with_servers(vec![server_of(index, queues); ports]);
            Worker::among(engine, own, Arc::clone(&control), seat, Idle::Poll, Some(sink.clone()))
        });
        let workers = seats.map(|worker| (worker, Hands::default())).collect();
        Gang { setup, now, generations, control, workers, wires, events, pushed: 0 }
    }

    /// Ends all workers, and begins anew with so many, who have the flows of those.
    pub(crate) fn restarted(self, workers: usize) -> Gang {
        let Gang { setup, now, control, workers: old, .. } = self;
        control.stop();
        let threads: Vec<_> =
            old.into_iter().map(|(worker, _)| std::thread::spawn(|| worker.run(Clock::start()))).collect();
        let trackers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().tracker).collect();
        let mut bytes = Vec::new();
        let before = setup.clone();
        write(&trackers, &names(&before), &Stamp::default(), 0, &mut bytes).unwrap();
        let mut gang = Gang::new(setup, workers, workers, Spread::keyed([5; 16]));
        gang.now = now;
        let mut engines: Vec<_> = gang.workers.iter_mut().map(|(worker, _)| worker.engine()).collect();
        let owners = Owners::new(Spread::keyed([5; 16]), workers, engines[0].generation().network());
        let snapshot = Snapshot::open(&bytes).unwrap();
        let restored = restore(&mut engines, &owners, now, &snapshot, &names(&before), Duration::ZERO);
        assert_eq!(restored.flows, restored.saved, "{restored:?}");
        gang
    }

    /// Puts another policy, or whatever else has changed in the setup, into force.
    pub(crate) fn install(&mut self, policy: Policy) {
        self.setup.policy = policy;
        let generation = compile(&mut self.generations, &self.setup, self.now);
        self.control.publish(Arc::new(generation));
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// All queues of a port send so many frames more, and no others.
    pub(crate) fn set_room(&self, port: u8, room: Option<usize>) {
        self.wires[usize::from(port)].iter().for_each(|wire| wire.set_room(room));
    }

    /// Lets each worker take so many turns; what they tell of stays where it is.
    pub(crate) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            let now = self.now;
            self.workers.iter_mut().for_each(|(worker, hands)| {
                worker.step(now, hands);
            });
        }
    }

    /// What the workers have told of since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        self.events.receiver.try_iter().collect()
    }

    /// Puts a frame before one of a port's queues; `chance` picks it.
    pub(crate) fn push(&mut self, chance: u64, port: u8, frame: &[u8]) {
        let wires = &self.wires[usize::from(port)];
        wires[chance as usize % wires.len()].push(frame);
        self.pushed += 1;
    }

    /// Lets the workers take turns, in an order by chance, until none has anything to do; what came of it. Neighbors that
    /// the gateway asks for answer, by whatever queue.
    pub(crate) fn settle(&mut self, chance: &mut dyn FnMut() -> u64) -> Came {
        let mut left = Vec::new();
        let mut quiet = 0;
        while quiet < 2 * self.workers.len() {
            let at = chance() as usize % self.workers.len();
            let (worker, hands) = &mut self.workers[at];
            quiet = if worker.step(self.now, hands) { 0 } else { quiet + 1 };
            if quiet < self.workers.len() {
                continue;
            }
            // Chance may have left one out.
            let now = self.now;
            let is_busy = self.workers.iter_mut().map(|(worker, hands)| worker.step(now, hands));
            if is_busy.fold(false, |any, busy| any | busy) {
                quiet = 0;
                continue;
            }
            let sent = self.sent();
            for (port, frame) in sent {
                match answer(port, &frame) {
                    Some(answer) => {
                        self.push(chance(), port.0, &answer);
                        quiet = 0;
                    }
                    None => left.push((port, frame)),
                }
            }
        }
        left.sort_unstable();
        let events = self.events.receiver.try_iter();
        let mut told: Vec<String> = events.map(|event| format!("{event:?}")).collect();
        told.sort_unstable();
        self.check();
        Came { left, told }
    }

    fn sent(&self) -> Vec<Left> {
        let ports = self.wires.iter().enumerate();
        let frames = ports.flat_map(|(port, wires)| {
            wires.iter().flat_map(move |wire| wire.take_all()).map(move |frame| (PortId(port as u8), frame))
        });
        let frames: Vec<Left> = frames.collect();
        frames.iter().for_each(|(_, frame)| sound::check(frame));
        frames
    }

    /// What all have counted.
    pub(crate) fn counters(&self) -> Counters {
        self.workers.iter().fold(Counters::default(), |sum, (worker, _)| sum.and(worker.counters()))
    }

    /// Every frame is accounted for, and every worker has the chunks that it had at first.
    fn check(&mut self) {
        let all = self.counters();
        assert!(all.balance(), "the books must balance: {all:?}");
        assert_eq!(all.received, self.pushed, "every frame is counted once: {all:?}");
        for (worker, _) in &mut self.workers {
            assert!(worker.counters().balance(), "each worker's books balance: {:?}", worker.counters());
            let engine = worker.engine();
            assert_eq!(engine.pool().len() + engine.waiting(), CHUNKS as usize, "chunks are exchanged");
        }
    }

    /// All flows of all workers, in words.
    pub(crate) fn flows(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for (worker, _) in &mut self.workers {
            let tracker = worker.engine().tracker();
            // How old it is each worker tells as of its own last packet.
            all.extend(tracker.flows().map(|flow| tracker.flow(flow)).map(|view| {
                format!(
                    "{:?}",
                    (view.key, view.opener_vlan, view.responder_vlan, view.rule, view.epoch, view.state)
                )
            }));
        }
        all.sort_unstable();
        all
    }
}

fn names(setup: &Setup) -> Names<'_> {
    Names {
        ports: setup.topology.ports.iter().map(|port| port.name.as_str()).collect(),
        stitches: setup.topology.stitches.iter().map(|stitch| stitch.name.as_str()).collect(),
        rules: setup.policy.rules().iter().map(|rule| rule.id.as_str()).collect(),
    }
}

fn compile(generations: &mut Generations, setup: &Setup, now: Tick) -> Generation {
    let facts = PortFacts::of_file(&setup.topology);
    let now = Timestamp(i128::from(now.0));
    generations.compile(Arc::new(setup.policy.clone()), &setup.topology, &facts, now).unwrap()
}

fn engine(
    setup: &Setup,
    generation: &Arc<Generation>,
    workers: usize,
    arena: &Arena,
    pool: FramePool,
) -> Engine {
    let share = Config { max_flows: setup.conntrack.max_flows / workers as u32, ..setup.conntrack };
    Engine::new(Arc::clone(generation), &share, [7; 16], Arc::new(arena.share()), pool, setup.resolve)
}

/// What a host answers where the gateway asks for its MAC.
fn answer(port: PortId, frame: &[u8]) -> Option<Vec<u8>> {
    let is_tagged = frame[12..14] == [0x81, 0];
    let at = if is_tagged { 18 } else { 14 };
    let vid = if is_tagged { u16::from_be_bytes([frame[14], frame[15]]) & 0xfff } else { 0 };
    let body = &frame[at..];
    let host = |last| Host { mac: Mac([2, 0, 0, 0, 0x20, last]), port: port.0, vid, ..DB };
    if frame[at - 2..at] == [8, 6] && body[6..8] == [0, 1] {
        let ip = |at: usize| IpAddr::V4(Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]));
        return Some(arp(&host(body[27]), 2, ip(24), ip(14)).to(Mac(body[8..14].try_into().ok()?)).bytes());
    }
    if frame[at - 2..at] == [0x86, 0xdd] && body[6] == 58 && body[40] == 135 {
        let ip = |at: usize| {
            let octets: [u8; 16] = body[at..at + 16].try_into().expect("an address");
            IpAddr::V6(Ipv6Addr::from(octets))
        };
        let (own, target) = (ip(8), ip(48));
        let host = host(body[63]);
        let to = Mac(frame[6..12].try_into().ok()?);
        return Some(
            nd(target, own, 136, 0x60, target, &link_option(2, host.mac)).between_macs(&host, to).bytes(),
        );
    }
    None
}
