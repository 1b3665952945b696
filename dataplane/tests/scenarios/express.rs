//! The short way gives the answers of the whole way, letter by letter: two engines, of which one has it closed, are fed
//! the same random frames, reloads, neighbors and hours, and must agree in all that can be seen of them.

use crate::bed::frame::{Ip, SYN, arp};
use crate::bed::network::{DB, FAR, Host, SHY, TRUNK, TRUNK_MAC, WAN, WEB, address, open};
use crate::bed::{Bed, Left, Setup};
use crate::world::{Step, World};
use classifier::addr::Mac;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use conntrack::FlowReport;
use conntrack::config::{Config, Pickup};
use dataplane::batch::{FlowRole, Verdict};
use dataplane::counters::Counters;
use dataplane::event::{ReportSource, report_ring};
use std::time::Duration;

fn plain(counters: &Counters) -> Counters {
    Counters { express: 0, ..counters.clone() }
}

/// All that can be seen of the flows.
fn flows(bed: &Bed) -> Vec<String> {
    let tracker = bed.engine.tracker();
    let mut all: Vec<String> = tracker.flows().map(|flow| format!("{:?}", tracker.flow(flow))).collect();
    all.sort_unstable();
    all
}

/// What has passed by each flow since this was asked last, those that have ended included.
fn reports(bed: &mut Bed, ended: &ReportSource) -> Vec<String> {
    assert_eq!(ended.lost(), 0);
    let mut all: Vec<FlowReport> = ended.receiver.try_iter().collect();
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = bed.engine.reports_from(from, &mut all);
    }
    let mut all: Vec<String> = all.iter().map(|report| format!("{report:?}")).collect();
    all.sort_unstable();
    all
}

fn sorted(mut left: Vec<Left>) -> Vec<Left> {
    left.sort_unstable();
    left
}

/// Runs both side by side, `lanes` frames at a time; how many packets took the short way, and how many the whole one.
fn agree(seed: u64, steps: u32, lanes: usize, config: Config) -> Counters {
    agree_on(World::new(seed), seed, steps, lanes, config)
}

fn agree_on(mut world: World, seed: u64, steps: u32, lanes: usize, config: Config) -> Counters {
    let setup = Setup { conntrack: config, ..open() };
    let (mut short, mut whole) = (Bed::new(setup.clone()), Bed::new(setup));
    whole.engine.set_express(false);
    let ((sink, of_short), (other, of_whole)) = (report_ring(), report_ring());
    short.engine.report_flows(sink);
    whole.engine.report_flows(other);
    let mut counted = 0;
    for step in 0..steps {
        let at = format!("seed {seed:#x}, step {step}");
        let is_alone = lanes == 1;
        match world.step() {
            Step::Reload => {
                let now = Timestamp(i128::from(short.now.0));
                let policy = world.policy(now);
                world.rewire(&mut short.setup);
                whole.setup = short.setup.clone();
                short.install(policy.clone());
                whole.install(policy);
            }
            Step::Wait(time) => {
                short.wait(time);
                whole.wait(time);
                assert_eq!(short.tick(), whole.tick(), "{at}");
            }
            Step::Neighbors(port, frame) => {
                let (a, b) = (short.send(port, &frame), whole.send(port, &frame));
                assert_eq!(
                    (a.outcome, a.left, a.late, a.moved),
                    (b.outcome, b.left, b.late, b.moved),
                    "{at}"
                );
            }
            Step::Frames => {
                let (port, first) = world.frame();
                let mut frames = vec![first];
                let count = if is_alone { 1 } else { 1 + world.random.index(lanes) };
                for _ in 1..count * 2 {
                    let (other, frame) = world.frame();
                    if other == port && frames.len() < count {
                        frames.push(frame);
                    }
                }
                let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                let (a, b) = (short.send_all(port, &slices), whole.send_all(port, &slices));
                for (lane, (a, b)) in a.into_iter().zip(b).enumerate() {
                    let at = format!("{at}, lane {lane}: {:02x?}", frames[lane]);
                    assert_eq!((a.outcome, a.rule, a.moved), (b.outcome, b.rule, b.moved), "{at}");
                    assert_eq!(a.told, b.told, "{at}");
                    if is_alone {
                        assert_eq!((a.left, a.late), (b.left, b.late), "{at}");
                    } else {
                        // Flows may overtake each other within a batch.
                        assert_eq!((sorted(a.left), a.late), (sorted(b.left), b.late), "{at}");
                    }
                }
                if !is_alone {
                    // The bucket of answers must not run dry within a batch, or the order would show.
                    short.wait(Duration::from_millis(200));
                    whole.wait(Duration::from_millis(200));
                }
            }
        }
        assert_eq!(plain(short.engine.counters()), plain(whole.engine.counters()), "{at}");
        if step % 64 == 0 {
            assert_eq!(short.tick(), whole.tick(), "{at}");
            assert_eq!(flows(&short), flows(&whole), "{at}");
            let passed = reports(&mut short, &of_short);
            assert_eq!(passed, reports(&mut whole, &of_whole), "{at}");
            counted += passed.len();
            assert_eq!(short.engine.tracker().statistics(), whole.engine.tracker().statistics(), "{at}");
        }
    }
    assert!(counted > 500, "{counted} reports of flows");
    assert_eq!(whole.engine.counters().express, 0, "it was closed");
    short.engine.counters().clone()
}

/// What was fed is what the test is about.
fn is_about_it(counters: &Counters) {
    eprintln!("{} of {} forwarded by the short way; {counters:?}", counters.express, counters.forwarded);
    assert!(counters.express * 3 > counters.forwarded, "{counters:?}");
    assert!(counters.express < counters.forwarded, "{counters:?}");
    for reason in
        [DropReason::CtInvalid, DropReason::MalformedL4, DropReason::TtlExpired, DropReason::PolicyChanged]
    {
        assert!(counters.dropped[reason.index()] > 0, "{reason}: {counters:?}");
    }
}

#[test]
fn one_by_one_the_short_way_answers_as_the_whole_way() {
    for seed in 0..6 {
        is_about_it(&agree(0xe891_0000 + seed, 30_000, 1, Config { max_flows: 10_000, ..Config::default() }));
    }
}

#[test]
fn one_by_one_with_a_full_table_the_short_way_answers_as_the_whole_way() {
    for seed in 0..3 {
        let counters = agree(0xe892_0000 + seed, 20_000, 1, Config { max_flows: 12, ..Config::default() });
        assert!(counters.express > 1000, "{counters:?}");
    }
}

#[test]
fn one_by_one_connections_in_mid_stream_are_answered_as_by_the_whole_way() {
    for seed in 0..3 {
        let config = Config { max_flows: 10_000, pickup: Pickup::Always, ..Config::default() };
        is_about_it(&agree(0xe893_0000 + seed, 20_000, 1, config));
    }
}

#[test]
fn in_batches_the_short_way_answers_as_the_whole_way() {
    for seed in 0..6 {
        is_about_it(&agree(0xe894_0000 + seed, 4_000, 24, Config { max_flows: 10_000, ..Config::default() }));
    }
}

/// Mostly first packets, in batches so many that the policy is asked of them together. One at a time also with a table that
/// has no room, and with one whose half-open flows are at their shares: who is evicted hangs on who overtakes whom.
#[test]
fn first_packets_are_answered_as_by_the_whole_way() {
    let cases = [
        (0, 1, 10_000),
        (1, 1, 12),
        (2, 48, 10_000),
        (3, 48, 10_000),
        (4, 1, 600),
        (5, 1, 60),
        (6, 1, 2_600),
    ];
    for (seed, lanes, max_flows) in cases {
        let seed = 0xe895_0000 + seed;
        let world = World::with_strangers(seed, if seed % 2 == 0 { 2 } else { 8 });
        let steps = if lanes == 1 { 20_000 } else { 2_500 };
        let config = Config { max_flows, ..Config::default() };
        let counters = agree_on(world, seed, steps, lanes, config);
        assert!(counters.flows > 1_000, "{counters:?}");
        for reason in
            [DropReason::Martian, DropReason::Spoofed, DropReason::BadDestination, DropReason::DefaultDeny]
        {
            assert!(counters.dropped[reason.index()] > 0, "{reason}: {counters:?}");
        }
    }
}

#[test]
fn a_first_packet_takes_the_short_way_and_a_second_one_follows_it() {
    let mut bed = Bed::new(open());
    bed.send(TRUNK, Ip::udp(WEB.v4(), DB.v4(), (3999, 5000), b"hello").by(&WEB).bytes()).opened();
    let udp = |port: u16| Ip::udp(WEB.v4(), DB.v4(), (port, 5000), b"hello").by(&WEB).bytes();
    let syn = Ip::tcp(WEB.v6(), DB.v6(), (4000, 443), SYN, (7, 0), b"").by(&WEB).bytes();
    let frames: Vec<Vec<u8>> = (4000..4020).map(udp).chain([udp(4000), syn.clone(), syn]).collect();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let roles: Vec<_> = bed.send_all(TRUNK, &slices).iter().map(|sent| sent.outcome.flow).collect();
    let mut expected = vec![Some(FlowRole::New); 23];
    (expected[20], expected[22]) = (Some(FlowRole::Established), Some(FlowRole::Established));
    assert_eq!(roles, expected);
    assert_eq!(bed.engine.counters().flows, 22);
    assert_eq!(bed.engine.counters().express, 21, "the ones that came again went the whole way");
}

/// Two frames of a flow, of which the first goes the whole way and the second could go the short one, keep their order.
#[test]
fn a_packet_does_not_overtake_another_of_its_flow() {
    let mut bed = Bed::new(open());
    let udp = |last: u8| Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &[last; 30]).by(&WEB).bytes();
    let back = Ip::udp(DB.v4(), WEB.v4(), (5000, 4000), b"hello").by(&DB).bytes();
    bed.send(TRUNK, udp(0)).opened();
    bed.send(TRUNK, &back).followed(FlowRole::Reply);
    let fragment =
        Ip::udp(WEB.v4(), DB.v4(), (4000, 5000), &[7; 32]).cut(0..24).fragment(0x2000).by(&WEB).bytes();
    let frames = [udp(1), udp(2), fragment, udp(3), udp(4)];
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let sent = bed.send_all(TRUNK, &slices);
    let last: Vec<u8> = sent[4].left.iter().map(|(_, frame)| *frame.last().expect("bytes")).collect();
    let order: Vec<u8> = last.into_iter().filter(|byte| *byte < 7).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert_eq!(bed.engine.counters().express, 4);
}

#[test]
fn a_neighbor_that_moves_is_followed_by_the_next_packet() {
    let mut bed = Bed::new(open());
    let udp = || Ip::udp(WEB.v4(), SHY.v4(), (4000, 5000), b"hello").by(&WEB).bytes();
    let answer = |mac| {
        let host = Host { mac, ..SHY };
        arp(&host, 2, host.v4(), address("10.0.20.1")).to(TRUNK_MAC).bytes()
    };
    bed.send(TRUNK, udp()).must_be(Verdict::Waiting, None);
    bed.send(TRUNK, answer(SHY.mac));
    for mac in [SHY.mac, Mac([2, 0, 0, 0, 7, 7]), Mac([2, 0, 0, 0, 7, 8])] {
        bed.send(TRUNK, answer(mac));
        assert_eq!(bed.send(TRUNK, udp()).only()[..6], mac.0);
        assert_eq!(bed.send(TRUNK, udp()).only()[..6], mac.0);
    }
    assert_eq!(bed.engine.counters().express, 6, "all but the first");
    // A minute later it is asked again, by one packet.
    bed.wait(Duration::from_secs(61));
    assert_eq!(bed.send(TRUNK, udp()).left.len(), 2, "the packet, and a request");
    assert_eq!(bed.send(TRUNK, udp()).left.len(), 1);
}

#[test]
fn ordinary_packets_between_tagged_and_untagged_vlans_take_the_short_way() {
    let mut bed = Bed::new(open());
    let out = Ip::udp(WEB.v4(), FAR.v4(), (4000, 5000), b"hello").by(&WEB).bytes();
    let back = Ip::udp(FAR.v4(), WEB.v4(), (5000, 4000), b"hello").by(&FAR).bytes();
    bed.send(TRUNK, &out).opened();
    let first = bed.send(WAN, &back).followed(FlowRole::Reply).to_vec();
    assert_eq!(bed.engine.counters().express, 0);
    let again = bed.send(TRUNK, &out);
    assert_eq!(again.followed(FlowRole::Established)[12..14], [8, 0], "the tag is gone");
    assert_eq!(bed.send(WAN, &back).followed(FlowRole::Reply), first, "the tag is there");
    assert_eq!(bed.engine.counters().express, 2);
}
