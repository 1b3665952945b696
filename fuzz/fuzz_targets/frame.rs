//! Whatever comes in, the engine judges it: no frame is lost, none is counted twice, nothing panics, and all that a
//! batch leaves behind ends by itself. By the short way and by the whole way the same comes of every frame.
//!
//! `cargo +nightly fuzz run frame`. The first byte of input says how the rest is played: frame by frame into a table for
//! few flows, where each opening may have to push another out, or in batches into one that has room for all, so that
//! known flows and first packets are mixed. The rest is a list of frames: two bytes say how each is dressed, one how
//! long it is, the rest is what it holds.
//!
//! Engines live as long as the fuzzer: what they have learned of neighbours stays. Flows end between two inputs.
#![no_main]

mod dress;
mod gateway;

use classifier::addr::PortId;
use classifier::wire::{Kind, Packet};
use conntrack::FlowView;
use conntrack::time::Tick;
use dataplane::batch::{Batch, FlowRole, LANES, Outcome};
use dataplane::counters::Counters;
use dataplane::engine::{Engine, Sweep};
use dataplane::generation::Generation;
use gateway::{FRAMES, ROUTED};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

const TRUNK: PortId = PortId(0);
const ICMP_V6: u8 = 58;
/// Beyond this engines begin anew: clocks have an end.
const LATEST: Tick = Tick(1 << 62);
/// Between two batches the buckets of answers fill up again: within one that runs dry, order would show.
const BETWEEN_BATCHES: Duration = Duration::from_millis(200);
const BETWEEN_FRAMES: Duration = Duration::from_millis(8);

/// An engine, its batch, and what came of it.
struct Side {
    engine: Engine,
    batch: Batch,
    late: Vec<(u64, Outcome)>,
    /// The frames that left.
    left: Vec<Vec<u8>>,
}

/// Two engines of which one has the short way closed, and their time.
struct Bench {
    short: Side,
    whole: Side,
    /// In pairs: two policies to switch between; between the pairs all flows go.
    generations: [[Arc<Generation>; 2]; 2],
    place: [usize; 2],
    now: Tick,
    /// Whether each frame is a batch of its own.
    is_alone: bool,
}

/// Frame by frame, and in batches.
struct Benches([Bench; 2]);

thread_local! {
    static BENCHES: RefCell<Benches> = RefCell::new(Benches([Bench::new(true), Bench::new(false)]));
}

impl Side {
    fn new(generation: &Arc<Generation>, max_flows: u32, is_open: bool) -> Side {
        let mut engine = gateway::engine(Arc::clone(generation), max_flows);
        engine.set_express(is_open);
        Side { engine, batch: Batch::default(), late: Vec::new(), left: Vec::new() }
    }

    fn push(&mut self, tag: u64, bytes: &[u8]) {
        let mut frame = self.engine.pool().take().expect("frames come back");
        let arena = self.engine.arena();
        arena.buffer_mut(&mut frame)[..bytes.len()].copy_from_slice(bytes);
        arena.set_length(&mut frame, bytes.len());
        self.batch.push(TRUNK, tag, frame);
    }

    /// Notes what left and whose fate was told.
    fn settle(&mut self) {
        let Side { engine, late, left, .. } = self;
        engine.flush(TRUNK, |arena, pool, frames| {
            for frame in frames.drain(..) {
                left.push(arena.bytes(&frame).to_vec());
                pool.give(frame);
            }
        });
        late.extend(engine.late_outcomes());
    }

    fn forget(&mut self) {
        self.batch.clear();
        self.late.clear();
        self.left.clear();
    }

    fn counters(&self) -> Counters {
        Counters { express: 0, ..self.engine.counters().clone() }
    }

    fn flows(&self) -> Vec<FlowView> {
        let tracker = self.engine.tracker();
        tracker.flows().map(|flow| tracker.flow(flow)).collect()
    }
}

/// What whoever tells of new flows and drops is told of a frame.
fn told(batch: &Batch, lane: usize) -> Option<impl PartialEq + std::fmt::Debug> {
    let Outcome { flow, reason, .. } = batch.outcomes[lane];
    (flow == Some(FlowRole::New) || reason.is_some()).then(|| {
        let Packet { kind, addresses, protocol, ttl, fragment, upper, source_port, destination_port, .. } =
            batch.packets[lane];
        (kind, addresses, protocol, ttl, fragment, upper, source_port, destination_port)
    })
}

/// Whether a frame teaches the gateway where somebody is. By the whole way a batch goes through each stage together, so
/// that such a word counts for frames before it, too; by the short way they have left by then. Both are right.
fn is_loner(frame: &[u8]) -> bool {
    let Packet { kind, link, protocol, .. } = Packet::parse(frame);
    let is_routed = ROUTED.contains(&(link.control & 0xfff));
    !is_routed || !matches!(kind, Kind::Ipv4 | Kind::Ipv6) || protocol == ICMP_V6
}

impl Bench {
    fn new(is_alone: bool) -> Bench {
        let generations = gateway::generations();
        let first = &generations[0][0];
        // A table in which nobody's place is taken has no order that could show.
        let max_flows = if is_alone { 12 } else { 2048 };
        Bench {
            short: Side::new(first, max_flows, true),
            whole: Side::new(first, max_flows, false),
            generations,
            place: [0, 0],
            now: Tick(1_000_000_000),
            is_alone,
        }
    }

    fn sides(&mut self) -> [&mut Side; 2] {
        [&mut self.short, &mut self.whole]
    }

    fn install(&mut self, place: [usize; 2]) {
        self.place = place;
        let generation = Arc::clone(&self.generations[place[0]][place[1]]);
        for side in self.sides() {
            side.engine.install(Arc::clone(&generation));
        }
    }

    fn run(&mut self) {
        let (now, is_alone) = (self.now, self.is_alone);
        self.now = now + if is_alone { BETWEEN_FRAMES } else { BETWEEN_BATCHES };
        let later = self.now;
        for side in self.sides() {
            side.engine.process(now, &mut side.batch);
            side.settle();
        }
        self.agree();
        for side in self.sides() {
            side.forget();
            side.engine.tick(later, Sweep::AtMost(1024));
            side.settle();
        }
        self.agree();
        self.sides().into_iter().for_each(Side::forget);
    }

    /// The same came of every frame, and the same left; in batches flows may overtake each other.
    fn agree(&mut self) {
        if !self.is_alone {
            self.short.left.sort_unstable();
            self.whole.left.sort_unstable();
        }
        let Bench { short, whole, .. } = self;
        for lane in 0..short.batch.len() {
            assert_eq!(short.batch.outcomes[lane], whole.batch.outcomes[lane], "lane {lane}");
            assert_eq!(told(&short.batch, lane), told(&whole.batch, lane), "lane {lane}");
        }
        assert!(short.left == whole.left, "left: {:02x?}\nby the whole way: {:02x?}", short.left, whole.left);
        assert_eq!(short.late, whole.late);
    }

    /// All that can be seen of both is the same.
    fn agree_in_the_end(&self) {
        let Bench { short, whole, .. } = self;
        assert_eq!(short.counters(), whole.counters());
        assert_eq!(short.engine.tracker().statistics(), whole.engine.tracker().statistics());
        let (some, others) = (short.flows(), whole.flows());
        assert_eq!(some.len(), others.len());
        for (at, flow) in some.iter().enumerate() {
            // Most often they stand in the same place.
            assert!(others[at] == *flow || others.contains(flow), "{flow:?} is none of {others:?}");
        }
        assert_eq!(whole.engine.counters().express, 0, "it is closed");
    }

    fn play(&mut self, mut input: &[u8], is_patient: bool) {
        let before = self.short.engine.counters().received;
        let mut count = 0;
        let mut buffer = [0; dress::LONGEST];
        while let [link, network, length, rest @ ..] = input {
            let (content, next) = rest.split_at(rest.len().min(usize::from(*length)));
            input = next;
            if link & 0x80 != 0 && content.is_empty() {
                self.run();
                self.install([self.place[0], 1 - self.place[1]]);
                continue;
            }
            let written = dress::dress([*link, *network], content, &mut buffer);
            let is_loner = is_loner(&buffer[..written]);
            if is_loner {
                self.run();
            }
            for side in self.sides() {
                side.push(count, &buffer[..written]);
            }
            count += 1;
            // A batch ends where it is full, and where the fuzzer says so.
            if is_loner || self.is_alone || self.short.batch.len() == LANES || link & 0x40 != 0 {
                self.run();
            }
        }
        self.run();
        self.agree_in_the_end();
        assert_eq!(self.short.engine.counters().received, before + count);
        self.end(is_patient);
    }

    /// Ends what is left, by time or by hand: a turn of the wheel for each input would be most of the work.
    fn end(&mut self, is_patient: bool) {
        if is_patient {
            self.now = self.now + Duration::from_secs(10_000);
        } else {
            self.install([1 - self.place[0], 0]);
            // What is known of fragments has its time, too.
            self.now = self.now + Duration::from_secs(6);
        }
        let now = self.now;
        for Side { engine, .. } in self.sides() {
            assert_eq!(engine.pool().len() + engine.waiting(), FRAMES as usize, "no frame is lost");
            engine.abandon_waiting();
            engine.late_outcomes().for_each(drop);
            assert_eq!(engine.waiting(), 0);
            assert_eq!(engine.pool().len(), FRAMES as usize, "no frame is lost");
            assert!(engine.counters().balance(), "{:?}", engine.counters());
            engine.tick(now, Sweep::All);
            engine.flush(TRUNK, |_, pool, frames| frames.drain(..).for_each(|frame| pool.give(frame)));
            engine.late_outcomes().for_each(drop);
            assert!(engine.tracker().is_empty(), "every flow ends");
        }
        if is_patient {
            self.install([1 - self.place[0], 0]);
        }
        if self.now > LATEST {
            *self = Bench::new(self.is_alone);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((how, frames)) = input.split_first() else { return };
    BENCHES.with_borrow_mut(|Benches([alone, together])| {
        let bench = if how & 3 == 3 { alone } else { together };
        bench.play(frames, how >> 2 == 63);
    });
});
