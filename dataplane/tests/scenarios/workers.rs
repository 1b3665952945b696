//! Many workers judge as one does: the same random frames, reloads, neighbors and hours go through one worker and
//! through several, by queues that chance picks, and everything that can be seen must agree.

use crate::bed::Setup;
use crate::bed::frame::Ip;
use crate::bed::gang::Gang;
use crate::bed::network::{DB, DESK, FAR, Host, PRINTER, TRUNK, WAN, WEB, open, policy, rule};
use crate::world::{Step, World};
use classifier::policy::{Action, DefaultAction, Mode, Rule, Timestamp};
use classifier::reason::DropReason;
use conntrack::config::Config;
use dataplane::counters::Counters;
use dataplane::ownership::Spread;
use dataplane::rss::SymmetricKey;
use random::Random;

fn keyed() -> Spread {
    Spread::keyed([3; 16])
}

/// What must be equal: all but how the work was shared.
fn fates(counters: &Counters) -> Counters {
    Counters {
        express: 0,
        batches: 0,
        handed: 0,
        // Each worker asks for a neighbor itself, and hears of its answer.
        answers: 0,
        received: 0,
        local: 0,
        ..counters.clone()
    }
}

/// Runs both side by side; what the several have counted.
fn agree(seed: u64, steps: u32, workers: usize, queues: usize, spread: Spread) -> Counters {
    let mut world = World::new(seed);
    let mut order = Random::new(!seed);
    let setup = Setup { conntrack: Config { max_flows: 40_000, ..Config::default() }, ..open() };
    let mut one = Gang::new(setup.clone(), 1, 1, keyed());
    let mut many = Gang::new(setup, workers, queues, spread);
    let mut chance = move || order.next();
    for step in 0..steps {
        let mut pushed = None;
        match world.step() {
            Step::Reload => {
                let policy = world.policy(Timestamp(i128::from(one.now.0)));
                world.rewire(&mut one.setup);
                many.setup = one.setup.clone();
                one.install(policy.clone());
                many.install(policy);
            }
            Step::Wait(time) => {
                one.wait(time);
                many.wait(time);
            }
            Step::Neighbors(port, frame) => pushed = Some((port, frame)),
            Step::Frames => pushed = Some(world.frame()),
        }
        if let Some((port, frame)) = &pushed {
            one.push(0, *port, frame);
            many.push(chance(), *port, frame);
        }
        let (a, b) = (one.settle(&mut || 0), many.settle(&mut chance));
        let at = format!("seed {seed:#x}, step {step}: {pushed:02x?}");
        assert_eq!(a, b, "{at}");
        assert_eq!(fates(&one.counters()), fates(&many.counters()), "{at}");
        if step % 64 == 0 {
            assert_eq!(one.flows(), many.flows(), "{at}");
        }
    }
    let counters = many.counters();
    assert!(counters.forwarded > u64::from(steps / 5), "{counters:?}");
    for reason in [DropReason::CtInvalid, DropReason::MalformedL4, DropReason::PolicyChanged] {
        assert!(counters.dropped[reason.index()] > 0, "{reason}: {counters:?}");
    }
    counters
}

#[test]
fn two_workers_judge_as_one() {
    for seed in 0..3 {
        let counters = agree(0xc0e5_0000 + seed, 6_000, 2, 2, keyed());
        assert!(counters.handed > 1000, "frames were handed over: {counters:?}");
    }
}

#[test]
fn more_workers_than_queues_judge_as_one() {
    let counters = agree(0xc0e5_1000, 6_000, 5, 2, keyed());
    assert!(counters.handed > 1000, "{counters:?}");
}

#[test]
fn more_queues_than_workers_are_served() {
    agree(0xc0e5_2000, 6_000, 3, 8, keyed());
}

#[test]
fn a_spread_that_the_ports_could_do_judges_as_one() {
    let key = SymmetricKey::new(0x6d5a, 4, 128);
    agree(0xc0e5_3000, 6_000, 4, 4, Spread::Ports(key));
}

/// A limit of a rule is one number over all workers.
#[test]
fn a_rule_has_as_many_flows_as_it_may_over_all_workers() {
    let mut gang = Gang::new(open(), 4, 4, keyed());
    let few = Rule { max_flows: Some(10), ..rule("few", Action::Allow) };
    gang.install(policy(DefaultAction::Deny, Mode::Enforce, vec![few]));
    let mut random = Random::new(5);
    for n in 0..200_u16 {
        let source = format!("10.0.10.{}", 2 + n).parse().unwrap();
        let frame = Ip::udp(source, DB.v4(), (4000 + n, 5000), b"hello").by(&WEB).bytes();
        gang.push(random.next(), TRUNK, &frame);
        gang.settle(&mut || random.next());
    }
    let counters = gang.counters();
    assert_eq!(counters.flows, 10);
    assert_eq!(counters.dropped[DropReason::RuleLimit.index()], 190);
}

/// Fragments of which only the first has ports, and an error that a router far away sends, meet their flow.
#[test]
fn fragments_and_errors_meet_their_flow_by_whatever_queue_they_come() {
    let mut gang = Gang::new(open(), 4, 4, keyed());
    let mut random = Random::new(9);
    for n in 0..64_u16 {
        let port = 4000 + n;
        let source = format!("10.0.10.{}", 2 + n).parse().unwrap();
        let whole = Ip::udp(source, FAR.v4(), (port, 5000), &[7; 64]);
        let first = whole.clone().cut(0..40).fragment(0x2000).by(&WEB).bytes();
        let last = whole.clone().cut(40..72).fragment(5).by(&WEB).bytes();
        let router = format!("198.51.100.{}", 1 + n).parse().unwrap();
        let error = Ip::icmp(router, source, 3, 1, &[&[0; 4][..], &whole.bytes()].concat()).by(&FAR).bytes();
        for (port, frame) in [(TRUNK, last), (TRUNK, first), (WAN, error)] {
            gang.push(random.next(), port, &frame);
            gang.settle(&mut || random.next());
        }
    }
    let counters = gang.counters();
    assert_eq!((counters.forwarded, counters.dropped_total()), (3 * 64, 0), "{counters:?}");
    assert!(counters.handed > 64, "{counters:?}");
}

/// Stations of a stitch are where they were seen last, whichever queue they were seen by.
#[test]
fn a_stitch_learns_as_with_one_worker() {
    let mut gang = Gang::new(open(), 3, 3, keyed());
    let mut random = Random::new(11);
    let there = Ip::udp(DESK.v4(), PRINTER.v4(), (1, 2), b"x").between_macs(&DESK, PRINTER.mac).bytes();
    let back = Ip::udp(PRINTER.v4(), DESK.v4(), (2, 1), b"x").between_macs(&PRINTER, DESK.mac).bytes();
    let mut left = Vec::new();
    for frame in [&there, &back, &there, &there, &back] {
        gang.push(random.next(), TRUNK, frame);
        left.push(gang.settle(&mut || random.next()).left.len());
    }
    assert_eq!(left, [2, 1, 1, 1, 1], "flooded once");
}

/// A worker that takes no turn costs the others' frames their way, not the gateway its books.
#[test]
fn a_worker_that_is_stuck_drops_what_it_should_have_had_and_nothing_else() {
    let mut gang = Gang::new(open(), 2, 2, keyed());
    let mut random = Random::new(13);
    let now = gang.now;
    let mut pushed = 0;
    for n in 0..8_000_u32 {
        let source = format!("10.0.10.{}", 2 + n % 250).parse().unwrap();
        let frame = Ip::udp(source, DB.v4(), (4000, 443), b"hello").by(&WEB).bytes();
        gang.push(0, TRUNK, &frame);
        pushed += 1;
        let (worker, hands) = &mut gang.workers[0];
        worker.step(now, hands);
    }
    let awake = gang.workers[0].0.counters().clone();
    let full = DropReason::TxFull.index();
    assert_eq!(awake.handed, u64::from(dataplane::ROOM), "{awake:?}");
    assert!(awake.handed_lost > 1000 && awake.forwarded > 1000, "{awake:?}");
    assert_eq!(awake.forwarded + awake.dropped[full] + awake.handed, pushed, "{awake:?}");
    gang.settle(&mut || random.next());
    let all = gang.counters();
    assert_eq!(all.received, pushed);
    assert_eq!(all.handed_lost, all.dropped[full]);
    assert_eq!(all.forwarded + all.dropped[full], pushed, "{all:?}");
}

/// A frame that finds no room in the ring of its port is told of as it came in, with the rule of its flow; what the
/// gateway says itself is no drop.
#[test]
fn a_port_that_is_full_has_an_event_for_each_frame_that_it_drops() {
    for workers in [1, 2] {
        let mut setup = open();
        setup.policy = policy(DefaultAction::Deny, Mode::Enforce, vec![rule("most", Action::Allow)]);
        let mut gang = Gang::new(setup, workers, workers, keyed());
        let mut random = Random::new(23);
        let to_db = |n: u16| Ip::udp(WEB.v4(), DB.v4(), (4000 + n, 443), b"hello").by(&WEB).bytes();
        let back = |n: u16| Ip::udp(DB.v4(), WEB.v4(), (443, 4000 + n), b"hello").by(&DB).bytes();
        for n in 0..8 {
            gang.push(random.next(), WEB.port, &to_db(n));
            gang.settle(&mut || random.next());
        }
        gang.take_events();
        let before = gang.counters();
        gang.set_room(DB.port, Some(0));
        gang.set_room(WEB.port, Some(0));
        // By the short way and by the long one, in both directions, and one that opens a flow.
        for n in 0..9 {
            gang.push(random.next(), WEB.port, &to_db(n));
            gang.turns(4);
        }
        for n in 0..4 {
            gang.push(random.next(), DB.port, &back(n));
            gang.turns(4);
        }
        let full = DropReason::TxFull.index();
        let after = gang.counters();
        assert_eq!(after.dropped[full] - before.dropped[full], 13, "{after:?}");
        let events = gang.take_events();
        let events: Vec<_> =
            events.iter().filter(|event| event.outcome.reason == Some(DropReason::TxFull)).collect();
        assert_eq!(events.len(), 13, "{events:?}");
        assert_eq!(events.iter().filter(|event| event.addresses.unwrap().0 == WEB.v4()).count(), 9);
        for event in events {
            let from = if event.addresses.unwrap().0 == WEB.v4() { WEB } else { DB };
            assert_eq!((event.port.0, event.vid), (from.port, from.vid), "{event:?}");
            assert!(event.outcome.rule.is_some(), "{event:?}");
        }
    }
}

/// Flows that were saved by some workers go to their owners among others.
#[test]
fn after_a_restart_with_another_number_of_workers_every_flow_is_where_its_packets_go() {
    let mut gang = Gang::new(open(), 2, 2, keyed());
    let mut random = Random::new(17);
    let udp = |n: u16, from: Host, to: Host, v6: bool| {
        let (from_ip, to_ip) = if v6 { (from.v6(), to.v6()) } else { (from.v4(), to.v4()) };
        Ip::udp(from_ip, to_ip, (4000 + n, 4000 + n), b"hello").by(&from).bytes()
    };
    let talks: Vec<_> = (0..40_u16).map(|n| (n, [DB, FAR][usize::from(n % 2)], n % 3 == 0)).collect();
    for (n, to, v6) in &talks {
        gang.push(random.next(), TRUNK, &udp(*n, WEB, *to, *v6));
        gang.push(
            random.next(),
            TRUNK,
            &Ip::udp(DESK.v4(), PRINTER.v4(), (*n + 1, 9), b"x").between_macs(&DESK, PRINTER.mac).bytes(),
        );
        gang.settle(&mut || random.next());
    }
    let flows = gang.flows().len();
    assert_eq!(flows, 80);
    for workers in [3, 1, 4] {
        gang = gang.restarted(workers);
        assert_eq!(gang.flows().len(), flows);
        for (n, to, v6) in &talks {
            gang.push(random.next(), to.port, &udp(*n, *to, WEB, *v6));
            gang.settle(&mut || random.next());
        }
        let counters = gang.counters();
        assert_eq!((counters.forwarded, counters.flows), (40, 0), "all are replies: {counters:?}");
    }
}
