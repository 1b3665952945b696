//! After start and warm-up the packet path allocates nothing, whatever comes in.
#![allow(unsafe_code)]

#[path = "allocations/frames.rs"]
mod frames;

use classifier::addr::{IpRange, Mac, PortId, Prefix, VlanKey};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, PolicyBuilder, PortRange, Rule, Selector, Service,
    TierId, Timestamp,
};
use classifier::reason::DropReason;
use classifier::wire::checksum::Sum;
use conntrack::LimitShare;
use conntrack::config::{Config, Timeouts};
use conntrack::time::Tick;
use dataplane::arena::{Arena, Frame, FramePool};
use dataplane::batch::{Batch, LANES};
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Resolve, Sweep};
use dataplane::generation::{Generation, Generations};
use dataplane::network::PortFacts;
use dataplane::ownership::{Owners, Spread};
use dataplane::port::Port;
use dataplane::topology::{Idle, OtherFrames, PortConfig, StitchConfig, Topology, VlanConfig};
use dataplane::worker::{Control, Hands, Worker};
use dataplane::{queues_of, server_of};
use frames::{BROADCAST, GATEWAY, Writer, arp, echo, mac, nd, tcp, udp, v4, v6};
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed to the system's allocator as it is. `realloc` and `alloc_zeroed` are the trait's
// own, which call `alloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TRUNK: PortId = PortId(0);
/// The routed VLANs: clients and servers.
const CLIENTS: u16 = 10;
const SERVERS: u16 = 20;
/// The stitched VLANs.
const FLOORS: [u16; 3] = [110, 120, 130];
/// Ports by what the policy says of them.
const ALLOWED: u16 = 5000;
const REJECTED: u16 = 7000;
const LIMITED: u16 = 8000;
const DENIED: u16 = 9;
/// Far more flows than the table has room for, far more neighbors than may be asked at once.
const MAX_FLOWS: u32 = 20_000;
const FRAMES: u32 = 4096;
const WARM_UP: u32 = 2_000;
const MEASURED: u32 = 400_000;

fn topology() -> Topology {
    let routed = |vid: u16| {
        let addresses = vec![
            Prefix::new(v4(vid, 1).into(), 24).expect("a legal length"),
            Prefix::new(v6(vid, 1).into(), 64).expect("a legal length"),
        ];
        VlanConfig::routed(VlanKey::new(TRUNK, vid), addresses)
    };
    let floors = FLOORS.map(|vid| VlanKey::new(TRUNK, vid));
    let stitched = floors.map(|key| VlanConfig::stitched(key, 0));
    let port = PortConfig { mac: Some(Mac(GATEWAY)), ..PortConfig::new("trunk0") };
    let vlans = [CLIENTS, SERVERS].map(routed).into_iter().chain(stitched).collect();
    let floors = StitchConfig { name: "floors".to_owned(), vlans: floors.to_vec(), other: OtherFrames::Pass };
    Topology { stitches: vec![floors], ..Topology::new("allocations", vec![port], vlans) }
}

fn rule(id: &str, port: u16, action: Action, max_flows: Option<u32>) -> Rule {
    let service = |protocol| Service {
        protocol: Some(protocol),
        source: PortRange::ALL,
        destination: PortRange::single(port),
    };
    let services = vec![service(6), service(17)];
    Rule { max_flows, ..Rule::new(id, TierId(0), EndpointSet::Any, EndpointSet::Any, services, action) }
}

fn generation() -> Arc<Generation> {
    let mut builder = PolicyBuilder::new(vec!["only".to_owned()], DefaultAction::Deny, Mode::Enforce);
    builder.rule(rule("allowed", ALLOWED, Action::Allow, None));
    builder.rule(rule("rejected", REJECTED, Action::Reject, None));
    builder.rule(rule("limited", LIMITED, Action::Allow, Some(100)));
    let servers = IpRange::V4(0x0a00_1400, 0x0a00_14ff);
    let selector = Selector { addresses: vec![servers], ..Selector::default() };
    builder.rule(Rule {
        to: EndpointSet::OneOf(vec![Member::Selector(selector)]),
        ..rule("watched", DENIED, Action::Deny, None)
    });
    let policy = Arc::new(builder.build().expect("the policy is valid"));
    let topology = topology();
    let facts = PortFacts::of_file(&topology);
    let generation = Generations::default()
        .compile(policy, &topology, &facts, Timestamp(0))
        .expect("the policy is small and the network whole");
    Arc::new(generation)
}

/// One of so many engines.
fn engine(generation: &Arc<Generation>, workers: u32, arena: &Arena, pool: FramePool) -> Engine {
    // Datagrams make room for each other before their time; handshakes that are not done are to expire.
    let timeouts = Timeouts { tcp_syn_recv: Duration::from_secs(2), ..Timeouts::default() };
    let config = Config { max_flows: MAX_FLOWS / workers, timeouts, ..Config::default() };
    Engine::new(Arc::clone(generation), &config, [7; 16], Arc::new(arena.share()), pool, Resolve::Ask)
}

/// Writes the `n`th frame; its length.
fn write(n: u32, buffer: &mut [u8]) -> usize {
    let (kind, round) = (n % 24, n / 24);
    let (client, server) = (2 + round % 30, 2 + round % 20);
    let port = 20_000 + (round % 40_000) as u16;
    let floor = FLOORS[round as usize % 3];
    let station = round % 9_000;
    let (from, to) = (v4(CLIENTS, client), v4(SERVERS, server));
    let forth = |buffer, kind| Writer::new(buffer, GATEWAY, mac(CLIENTS, client), CLIENTS, kind);
    let back = |buffer, kind| Writer::new(buffer, GATEWAY, mac(SERVERS, server), SERVERS, kind);
    let mut frame = match kind {
        1 | 17 | 22 => back(buffer, if kind == 22 { 0x86dd } else { 0x0800 }),
        12 => Writer::new(buffer, GATEWAY, mac(SERVERS, 60 + round % 150), SERVERS, 0x0806),
        13 => Writer::new(buffer, BROADCAST, mac(SERVERS, server), SERVERS, 0x0806),
        6 => Writer::new(buffer, BROADCAST, mac(CLIENTS, client), CLIENTS, 0x0806),
        9 => Writer::new(buffer, mac(floor, station + 1), mac(floor, station), floor, 0x0800),
        10 => Writer::new(buffer, BROADCAST, mac(floor, station), floor, 0x0806),
        11 => Writer::new(buffer, BROADCAST, mac(floor, station), floor, 0x88cc),
        7 | 20 | 21 | 23 => forth(buffer, 0x86dd),
        _ => forth(buffer, 0x0800),
    };
    match kind {
        // A new flow, its reply, and its next packet.
        0 | 2 => frame.ipv4(from, to, 64, 17, &udp(port, ALLOWED)),
        1 => frame.ipv4(to, from, 64, 17, &udp(ALLOWED, port)),
        3 => frame.ipv4(from, to, 64, 17, &udp(port, DENIED + (round % 2) as u16)),
        4 => frame.ipv4(from, to, 64, 17, &udp(port, REJECTED)),
        5 => frame.ipv4(from, to, 64, 6, &tcp(port, REJECTED, 0x02, 1, 0)),
        6 => _ = frame.put(&arp(1, (mac(CLIENTS, client), from), ([0; 6], v4(CLIENTS, 1)))),
        7 => {
            let sender = mac(CLIENTS, client);
            frame.ipv6(v6(CLIENTS, client), v6(CLIENTS, 1), 255, 58, &nd(135, v6(CLIENTS, 1), sender));
        }
        8 => frame.ipv4(from, v4(CLIENTS, 1), 64, 1, &echo(8, port)),
        // To a station that may be unknown, hence to every floor that allows it.
        9 => frame.ipv4([172, 16, 0, client as u8], [172, 16, 1, server as u8], 64, 17, &udp(port, ALLOWED)),
        10 => _ = frame.put(&arp(1, (mac(floor, station), [172, 16, 0, 9]), ([0; 6], [172, 16, 1, 9]))),
        11 => _ = frame.put(&[2, 7, 4, 2, 0, 0, 0, 0, 1, 0, 0]),
        // Some of those that are asked answer; the others claim an address of another VLAN.
        12 => {
            let sleeper = 60 + round % 150;
            let vlan = if sleeper.is_multiple_of(3) { SERVERS } else { CLIENTS };
            let sender = (mac(SERVERS, sleeper), v4(vlan, sleeper));
            frame.put(&arp(2, sender, (GATEWAY, v4(SERVERS, 1))));
        }
        13 => _ = frame.put(&arp(1, (mac(SERVERS, server), to), ([0; 6], v4(SERVERS, 1)))),
        14 | 15 => frame.ipv4(from, v4(SERVERS, 60 + round % 180), 64, 17, &udp(port, ALLOWED)),
        // A handshake, and an end.
        16 => frame.ipv4(from, to, 64, 6, &tcp(port, ALLOWED, 0x02, 1000, 0)),
        17 => frame.ipv4(to, from, 64, 6, &tcp(ALLOWED, port, 0x12, 5000, 1001)),
        18 => match round % 6 {
            0 => frame.ipv4(from, to, 1, 17, &udp(port, ALLOWED)),
            1 => frame.ipv4([10, 9, 9, 9], to, 64, 17, &udp(port, ALLOWED)),
            2 => frame.ipv4(from, [192, 0, 2, 1], 64, 17, &udp(port, ALLOWED)),
            3 => frame.ipv4(from, to, 64, 6, &tcp(port, ALLOWED, 0x29, 1, 0)),
            4 => _ = frame.put(&[0x45, 0, 0, 0]),
            _ => _ = frame.put(&[0x65; 40]),
        },
        19 if round.is_multiple_of(2) => {
            frame.ipv4(v4(CLIENTS, 2), v4(SERVERS, 2), 64, 17, &udp(port, ALLOWED)[..8]);
            let length = frame.length();
            fragment(&mut buffer[18..38], round / 2);
            return length;
        }
        19 => frame.ipv4(from, to, 64, 17, &udp(port, LIMITED)),
        20 | 21 => frame.ipv6(
            v6(CLIENTS, client),
            v6(SERVERS, if kind == 20 { server } else { 1000 + round % 300 }),
            64,
            17,
            &udp(port, ALLOWED),
        ),
        22 => {
            let target = v6(SERVERS, server);
            frame.ipv6(target, v6(SERVERS, 1), 255, 58, &nd(135, v6(SERVERS, 1), mac(SERVERS, server)));
        }
        _ => frame.ipv6(v6(CLIENTS, client), v6(CLIENTS, 1), 64, 58, &echo(128, port)),
    }
    frame.length()
}

/// Makes an IPv4 header one of a fragment: of a datagram that comes in order or not, or of one without its first; or one
/// too much.
fn fragment(header: &mut [u8], round: u32) {
    let place: u16 = if round % 4 == 1 { 0x2000 } else { 1 };
    let identification = (round / 4) as u16 & 0x7fff | if round % 4 == 2 { 0x8000 } else { 0 };
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].copy_from_slice(&place.to_be_bytes());
    header[10..12].fill(0);
    let sum = !Sum::ZERO.bytes(header).fold();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Feeds `count` frames, a batch at a time, and throws away what comes out.
fn feed(engine: &mut Engine, batch: &mut Batch, now: &mut Tick, first: u32, count: u32) {
    let arena = Arc::clone(engine.arena());
    let mut n = first;
    while n < first + count {
        batch.clear();
        // Batches of all sizes.
        for _ in 0..1 + n as usize % LANES {
            let mut frame = engine.pool().take().expect("frames come back");
            let length = write(n, arena.buffer_mut(&mut frame));
            arena.set_length(&mut frame, length);
            batch.push(TRUNK, u64::from(n), frame);
            n += 1;
        }
        engine.process(*now, batch);
        *now = *now + Duration::from_millis(8);
        engine.tick(*now, Sweep::AtMost(1024));
        engine.flush(TRUNK, |_, pool, frames| {
            // A port that has no room now and then.
            let room = if n.is_multiple_of(97) { frames.len() / 2 } else { frames.len() };
            frames.drain(..room).for_each(|frame| pool.give(frame));
        });
        engine.late_outcomes().for_each(drop);
    }
}

#[test]
fn nothing_allocates_after_the_start_whatever_comes_in() {
    one_engine();
    several_workers();
}

fn one_engine() {
    let (arena, pool) = Arena::on_heap(FRAMES, 2048);
    let mut engine = engine(&generation(), 1, &arena, pool);
    let mut batch = Batch::default();
    let mut now = Tick(1_000_000_000);
    feed(&mut engine, &mut batch, &mut now, 0, WARM_UP);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(before > 0, "the counter counts");
    feed(&mut engine, &mut batch, &mut now, WARM_UP, MEASURED);
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;

    // What was fed is what the test is about: each of these ways was taken, and often.
    let counters = engine.counters();
    let dropped = |reason: DropReason| counters.dropped[reason.index()];
    for reason in [
        DropReason::DefaultDeny,
        DropReason::PolicyDeny,
        DropReason::PolicyReject,
        DropReason::RuleLimit,
        DropReason::NeighborFailed,
        DropReason::TtlExpired,
        DropReason::Spoofed,
        DropReason::NoRoute,
        DropReason::TcpFlags,
        DropReason::Runt,
        DropReason::MalformedIp,
        DropReason::ArpInvalid,
        DropReason::TxFull,
        DropReason::FragmentOrphan,
    ] {
        assert!(dropped(reason) > 50, "{reason}: {counters:?}");
    }
    assert!(counters.forwarded > 80_000 && counters.flows > 40_000, "{counters:?}");
    assert!(counters.answers > 10_000 && counters.copies > 10_000 && counters.local > 50_000, "{counters:?}");
    let statistics = engine.tracker().statistics();
    assert!(statistics.expired > 100 && statistics.evicted_half_open > 1_000, "{statistics:?}");
    assert!(counters.balance(), "{counters:?}");
    let fragments = engine.fragments();
    assert!(fragments.completed > 1_000 && fragments.expired > 50, "{fragments:?}");
    assert_eq!(engine.pool().len() + engine.waiting(), FRAMES as usize, "no frame is lost");
    assert_eq!(allocated, 0, "allocations while {MEASURED} frames passed");
}

/// A queue that the same frames come in by, each once by one of the queues.
struct Feed {
    next: Arc<AtomicU32>,
}

impl Port for Feed {
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        let first = self.next.load(Ordering::Relaxed);
        for n in first..first + (1 + first % 40).min(room as u32) {
            let Some(mut frame) = pool.take() else { return };
            let length = write(n, arena.buffer_mut(&mut frame));
            arena.set_length(&mut frame, length);
            frames.push(frame);
            self.next.store(n + 1, Ordering::Relaxed);
        }
    }

    fn transmit(&mut self, _arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        let is_tight = self.next.load(Ordering::Relaxed).is_multiple_of(97);
        let room = if is_tight { frames.len() / 2 } else { frames.len() };
        frames.drain(..room).for_each(|frame| pool.give(frame));
    }

    fn service(&mut self, _arena: &Arena, _pool: &mut FramePool) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}

/// Three workers, of which the last has no queue, and the second is stuck now and then.
fn several_workers() {
    const WORKERS: usize = 3;
    const QUEUES: usize = 2;
    let (arena, mut pool) = Arena::on_heap(FRAMES * WORKERS as u32, 2048);
    let generation = generation();
    let owners = Owners::new(Spread::keyed([4; 16]), WORKERS, generation.network());
    let control = Arc::new(Control::new(Arc::clone(&generation), WORKERS).expect("there are descriptors"));
    let next = Arc::new(AtomicU32::new(0));
    let seats = dataplane::seats(&owners).into_iter().zip(LimitShare::of_all(WORKERS)).enumerate();
    let mut workers: Vec<(Worker, Hands)> = seats
        .map(|(index, (seat, limits))| {
            let mut engine = engine(&generation, WORKERS as u32, &arena, pool.split_off(FRAMES as usize));
            engine.join(WORKERS, Some(limits));
            let feed = |_| Box::new(Feed { next: Arc::clone(&next) }) as Box<dyn Port>;
            let queues = vec![queues_of(index, WORKERS, QUEUES).map(feed).collect()];
            let seat = seat.with_servers(vec![server_of(index, QUEUES)]);
            let worker = Worker::among(engine, queues, Arc::clone(&control), seat, Idle::Poll, None);
            (worker, Hands::default())
        })
        .collect();
    let mut now = Tick(1_000_000_000);
    let mut turns = 0_u32;
    let mut run = |until: u32| {
        while next.load(Ordering::Relaxed) < until {
            turns += 1;
            now = now + Duration::from_millis(4);
            for (index, (worker, hands)) in workers.iter_mut().enumerate() {
                let is_stuck = index == 1 && turns % 1000 < 300;
                if !is_stuck {
                    worker.step(now, hands);
                }
            }
        }
    };
    run(WARM_UP * 10);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run(WARM_UP * 10 + MEASURED);
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let counters = workers.iter().fold(Counters::default(), |sum, (worker, _)| sum.and(worker.counters()));
    assert!(counters.forwarded > 60_000 && counters.handed > 100_000, "{counters:?}");
    assert!(
        counters.handed_lost > 100 && counters.dropped[DropReason::RuleLimit.index()] > 50,
        "{counters:?}"
    );
    assert!(counters.balance(), "{counters:?}");
    assert_eq!(allocated, 0, "allocations while {MEASURED} frames passed several workers");
}
