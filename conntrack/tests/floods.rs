//! Floods at many times what the table holds (TRACKING.md Z01 to Z05): who gets in, who stays, and what is refused.
//!
//! Everything goes through the public interface, on a clock of its own.

mod network;

use classifier::reason::DropReason;
use conntrack::config::{Config, Pickup};
use conntrack::{FloodLevel, State};
use network::{ACK, Bench, Fate, SYN, SYN_ACK, Tuple};
use random::Random;
use std::time::Duration;

/// Pool 2,048; of a source 256, to a destination 512, of a segment pair 1,024.
const CAPACITY: u32 = 4096;

fn bench() -> Bench {
    Bench::new(&Config { max_flows: CAPACITY, ..Config::default() })
}

/// A tuple of a flood without a pattern: every source, destination and pair is far below its share.
fn stranger(random: &mut Random, n: u32) -> Tuple {
    let source = 0x0a10_0000 | random.below(1 << 20);
    Tuple { vid: (n % 16) as u16 + 1, ..Tuple::tcp(source, 0x0a20_0000 | random.below(4096), 40_000) }
}

/// Fills the table with half-open connections until `level` is reached; how many got in.
fn flood_until(bench: &mut Bench, random: &mut Random, level: FloodLevel) -> u32 {
    (0..CAPACITY)
        .find(|n| {
            bench.opener(stranger(random, *n), SYN);
            bench.tracker.flood_level() == level
        })
        .expect("the level is reached before the table is full")
}

#[test]
fn z01_a_syn_flood_shortens_the_time_of_half_open_connections_before_it_asks_them_to_come_again() {
    let (mut bench, mut random) = (bench(), Random::new(1));
    let calm = Tuple::tcp(1, 2, 3);
    assert_eq!(bench.opener(calm, SYN), Fate::New);
    assert_eq!(bench.expires_in(calm), Some(Duration::from_secs(20)));
    let shortened = flood_until(&mut bench, &mut random, FloodLevel::Shortened);
    assert!((1_000..=1_024).contains(&shortened), "half of the pool, not {shortened}");
    let pressed = Tuple::tcp(4, 5, 6);
    assert_eq!(bench.opener(pressed, SYN), Fate::New);
    assert_eq!(bench.expires_in(pressed), Some(Duration::from_secs(5)));
    flood_until(&mut bench, &mut random, FloodLevel::Filtering);
    let filtered = bench.tracker.statistics().flood_filtered;
    assert_eq!(bench.opener(Tuple::tcp(7, 8, 9), SYN), Fate::Dropped(DropReason::FlowTableFull));
    assert_eq!(bench.tracker.statistics().flood_filtered, filtered + 1);
    assert_eq!(bench.tracker.statistics().floods, 1);
}

#[test]
fn z01_during_a_syn_flood_a_connection_gets_in_when_its_syn_comes_again_after_a_second_or_two() {
    const FULL: Fate = Fate::Dropped(DropReason::FlowTableFull);
    for (wait, second) in [(100, FULL), (1_000, Fate::New), (1_990, Fate::New), (4_000, FULL)] {
        let (mut bench, mut random) = (bench(), Random::new(2));
        flood_until(&mut bench, &mut random, FloodLevel::Filtering);
        let client = Tuple::tcp(7, 8, 9);
        assert_eq!(bench.opener(client, SYN), FULL);
        // The flood goes on, so that the level stays.
        for n in 0..wait / 10 {
            bench.wait(10);
            (0..20).for_each(|m| _ = bench.opener(stranger(&mut random, n * 20 + m), SYN));
        }
        assert_eq!(bench.opener(client, SYN), second, "after {wait} ms");
        if second == Fate::New {
            assert_eq!(bench.responder(client, SYN_ACK), Fate::Reply);
            assert_eq!(bench.opener(client, ACK), Fate::Forward);
        }
    }
}

#[test]
fn z01_a_flood_is_over_when_little_is_refused_that_does_not_come_back() {
    let (mut bench, mut random) = (bench(), Random::new(3));
    flood_until(&mut bench, &mut random, FloodLevel::Filtering);
    for n in 0..2_000 {
        bench.wait(10);
        (0..10).for_each(|m| _ = bench.opener(stranger(&mut random, n * 10 + m), SYN));
    }
    assert_eq!(bench.tracker.flood_level(), FloodLevel::Filtering, "1,000 a second would fill the pool");
    // Many connections that all come again are no flood, whatever their number.
    bench.wait(3_000);
    bench.opener(Tuple::tcp(1, 1, 1), SYN);
    assert_eq!(bench.tracker.flood_level(), FloodLevel::Shortened);
    bench.wait(20_000);
    bench.wait(1);
    assert_eq!(bench.tracker.flood_level(), FloodLevel::Calm);
    let client = Tuple::tcp(7, 8, 9);
    assert_eq!(bench.opener(client, SYN), Fate::New);
    assert_eq!(bench.expires_in(client), Some(Duration::from_secs(20)));
}

#[test]
fn z03_a_flood_of_acks_resets_and_fins_makes_no_entry() {
    let (mut bench, mut random) = (bench(), Random::new(4));
    for n in 0..10_000 {
        for flags in [ACK, 0x04, 0x14, 0x11] {
            let fate = bench.opener(stranger(&mut random, n), flags);
            assert_eq!(fate, Fate::Dropped(DropReason::CtInvalid));
        }
    }
    assert_eq!((bench.tracker.len(), bench.tracker.flood_level()), (0, FloodLevel::Calm));
}

#[test]
fn z03_what_grace_takes_up_of_a_flood_of_acks_is_bounded_and_ends_no_proved_connection() {
    let grace = Pickup::Grace(Duration::from_secs(30));
    let mut bench = Bench::new(&Config { max_flows: CAPACITY, pickup: grace, ..Config::default() });
    let mut random = Random::new(5);
    let proved: Vec<Tuple> = (0..1_000).map(|n| Tuple::tcp(1 + n, 0xffff, 80)).collect();
    proved.iter().for_each(|tuple| bench.establish(*tuple));
    for n in 0..100_000 {
        bench.opener(stranger(&mut random, n), ACK);
    }
    assert!(bench.tracker.half_open().0 <= CAPACITY as usize / 2);
    assert!(proved.iter().all(|tuple| bench.opener(*tuple, ACK) == Fate::Forward));
}

#[test]
fn z04_a_source_holds_no_more_half_open_flows_than_its_share_and_others_get_in_at_once() {
    let mut bench = bench();
    let refused = (0..2_000).filter(|port| bench.opener(Tuple::tcp(1, 2, *port), SYN) != Fate::New).count();
    assert_eq!((bench.tracker.half_open().0, refused), (256, 2_000 - 256));
    assert_eq!(bench.opener(Tuple::tcp(9, 2, 3), SYN), Fate::New);
    assert_eq!(bench.tracker.flood_level(), FloodLevel::Shortened);
    // Its own connections still get in, at the cost of its own.
    let client = Tuple::tcp(1, 2, 1_999);
    bench.wait(1_000);
    assert_eq!(bench.opener(client, SYN), Fate::New);
    assert_eq!(bench.responder(client, SYN_ACK), Fate::Reply);
    assert_eq!(bench.opener(client, ACK), Fate::Forward);
    assert!(bench.tracker.half_open().0 <= 257);
}

#[test]
fn z04_a_destination_that_is_flooded_takes_nothing_from_others() {
    let mut bench = bench();
    for n in 0..4_000 {
        bench.opener(Tuple { vid: (n % 16) as u16 + 1, ..Tuple::tcp(0x0a10_0000 + n, 2, 80) }, SYN);
    }
    assert!((512..530).contains(&bench.tracker.half_open().0), "{:?}", bench.tracker.half_open());
    assert_eq!(bench.opener(Tuple::tcp(1, 3, 80), SYN), Fate::New);
    let client = Tuple::tcp(1, 2, 80);
    assert_eq!(bench.opener(client, SYN), Fate::Dropped(DropReason::FlowTableFull));
    bench.wait(1_000);
    assert_eq!(bench.opener(client, SYN), Fate::New, "the one that is there comes again");
}

#[test]
fn z04_a_segment_that_floods_another_takes_nothing_from_other_pairs() {
    let (mut bench, mut random) = (bench(), Random::new(6));
    for n in 0..10_000 {
        bench.opener(Tuple { vid: 7, ..stranger(&mut random, n) }, SYN);
    }
    assert!((1_024..1_060).contains(&bench.tracker.half_open().0), "{:?}", bench.tracker.half_open());
    let client = Tuple { vid: 7, ..Tuple::tcp(1, 3, 80) };
    assert_eq!(bench.opener(client, SYN), Fate::Dropped(DropReason::SegmentLimit));
    assert_eq!(bench.opener(Tuple { vid: 8, ..client }, SYN), Fate::New, "from another VLAN");
    let another = Tuple { vid: 7, rule: 1, ..Tuple::tcp(1, 4, 80) };
    assert_eq!(bench.opener(another, SYN), Fate::New, "by another rule");
}

#[test]
fn z04_hosts_of_an_ipv6_subnet_share_what_one_source_may_hold() {
    let mut bench = bench();
    for n in 0..1_000 {
        bench.opener(Tuple { is_v6: true, ..Tuple::tcp(1 + n, 2 + n, 80) }, SYN);
    }
    assert_eq!(bench.tracker.half_open().0, 256);
}

#[test]
fn z02_a_spray_of_datagrams_ends_no_handshake_and_no_settled_flow_and_new_ones_get_in() {
    let (mut bench, mut random) = (bench(), Random::new(8));
    let settled: Vec<Tuple> = (0..500).map(|n| Tuple::udp(1 + n, 0xffff, 53)).collect();
    for tuple in &settled {
        assert_eq!(bench.opener(*tuple, 0), Fate::New);
        assert_eq!(bench.responder(*tuple, 0), Fate::Reply);
    }
    let handshake = Tuple::tcp(1, 2, 3);
    assert_eq!(bench.opener(handshake, SYN), Fate::New);
    for n in 0..40_000 {
        bench.opener(Tuple { is_udp: true, ..stranger(&mut random, n) }, 0);
        if n % 50 == 0 {
            let asker = Tuple::udp(0x0b00_0000 + n, 0xffff, 53);
            assert_eq!(bench.opener(asker, 0), Fate::New);
            assert_eq!(bench.responder(asker, 0), Fate::Reply, "answered before the next comes");
        }
        bench.wait(u64::from(n % 10 == 0));
    }
    assert!(bench.tracker.half_open().1 <= CAPACITY as usize / 2);
    assert_eq!(bench.responder(handshake, SYN_ACK), Fate::Reply);
    assert!(settled.iter().all(|tuple| bench.responder(*tuple, 0) == Fate::Reply));
    assert_eq!(bench.tracker.statistics().table_full, 0);
}

#[test]
fn z05_no_flood_ends_an_established_connection_even_where_they_fill_the_table() {
    let (mut bench, mut random) = (bench(), Random::new(9));
    let settled: Vec<Tuple> = (0..CAPACITY).map(|n| Tuple::tcp(0x0b00_0000 + n, n, 80)).collect();
    settled.iter().for_each(|tuple| bench.establish(*tuple));
    for n in 0..20_000 {
        let fate = bench.opener(stranger(&mut random, n), SYN);
        assert_eq!(fate, Fate::Dropped(DropReason::FlowTableFull));
    }
    assert!(settled.iter().all(|tuple| bench.state(*tuple) == Some(State::Established)));
}

/// A connection that is being opened: when its SYN was first sent, when it is sent next, and how often it was.
struct Client {
    tuple: Tuple,
    began: u64,
    due: u64,
    sent: u32,
    waits_for: Step,
}

enum Step {
    Syn,
    SynAck,
    Ack,
}

/// The share of new connections that are through within three seconds, beside a flood of `rate` packets in a
/// millisecond, and how many of 1,000 established ones live through it.
fn outcome_of_flood(rate: u32, attack: impl Fn(&mut Random, u32) -> (Tuple, u8)) -> (f64, usize) {
    const SECONDS: u64 = 20;
    const RTT: u64 = 40;
    let mut bench = bench();
    let mut random = Random::new(0xf100d);
    let settled: Vec<Tuple> = (0..1_000).map(|n| Tuple::tcp(0x0b00_0000 + n, n % 50, 80)).collect();
    settled.iter().for_each(|tuple| bench.establish(*tuple));
    let (mut clients, mut through, mut begun): (Vec<Client>, u32, u32) = (Vec::new(), 0, 0);
    for now in 0..(SECONDS + 3) * 1_000 {
        bench.wait(1);
        for n in 0..rate {
            let (tuple, flags) = attack(&mut random, n);
            bench.opener(tuple, flags);
        }
        if now % 20 == 0 && now < SECONDS * 1_000 {
            let tuple = Tuple::tcp(0x0c00_0000 + begun, begun % 50, 80);
            clients.push(Client { tuple, began: now, due: now, sent: 0, waits_for: Step::Syn });
            begun += 1;
        }
        clients.retain_mut(|client| {
            if client.due > now {
                return true;
            }
            let (fate, next) = match client.waits_for {
                Step::Syn => (bench.opener(client.tuple, SYN), Step::SynAck),
                Step::SynAck => (bench.responder(client.tuple, SYN_ACK), Step::Ack),
                Step::Ack => {
                    let is_through = bench.opener(client.tuple, ACK) == Fate::Forward;
                    through += u32::from(is_through && now - client.began <= 3_000);
                    return false;
                }
            };
            if matches!(client.waits_for, Step::Syn) {
                client.sent += 1;
            }
            if matches!(fate, Fate::Dropped(_)) {
                // RFC 6298 §2 and §5.5: after one second, then two, then four.
                client.waits_for = Step::Syn;
                client.due = client.began + (1_000 << client.sent) - 1_000 + u64::from(random.below(20));
            } else {
                client.waits_for = next;
                client.due = now + RTT / 2;
            }
            client.sent < 5
        });
        if now % 100 == 0 {
            let tuple = settled[(now / 100 % 1_000) as usize];
            assert_eq!(bench.opener(tuple, ACK), Fate::Forward, "established, at {now} ms");
        }
    }
    let alive = settled.iter().filter(|tuple| bench.responder(**tuple, ACK) == Fate::Reply).count();
    eprintln!("{through} of {begun} through, {alive} alive, {:?}", bench.tracker.statistics());
    (f64::from(through) / f64::from(begun), alive)
}

#[test]
fn z01_beside_a_syn_flood_of_forty_tables_a_second_new_connections_get_through_and_no_old_one_is_lost() {
    let (share, alive) = outcome_of_flood(160, |random, n| (stranger(random, n), SYN));
    assert!(share >= 0.95 && alive == 1_000, "{share}, {alive}");
}

#[test]
fn z01_beside_a_syn_flood_of_one_server_new_connections_to_it_get_through() {
    let (share, alive) =
        outcome_of_flood(160, |random, n| (Tuple { destination: 7, vid: 1, ..stranger(random, n) }, SYN));
    assert!(share >= 0.95 && alive == 1_000, "{share}, {alive}");
}

#[test]
fn z02_beside_a_spray_of_datagrams_new_connections_get_through_and_no_old_one_is_lost() {
    let (share, alive) =
        outcome_of_flood(160, |random, n| (Tuple { is_udp: true, ..stranger(random, n) }, 0));
    assert!(share >= 0.95 && alive == 1_000, "{share}, {alive}");
}

#[test]
fn z03_beside_a_flood_of_acks_new_connections_get_through_and_no_old_one_is_lost() {
    let (share, alive) = outcome_of_flood(160, |random, n| (stranger(random, n), ACK));
    assert!(share >= 0.95 && alive == 1_000, "{share}, {alive}");
}
