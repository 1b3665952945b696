//! The life of a neighbor, and the limits of the cache.

use super::*;
use crate::arena::{Arena, FramePool};
use std::net::Ipv4Addr;

const VLAN: VlanIndex = VlanIndex(0);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn at(seconds: u64) -> Tick {
    Tick(seconds * 1_000_000_000)
}

fn host(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

fn frames() -> (Arena, FramePool) {
    Arena::on_heap(1024, 64)
}

fn waiting(pool: &mut FramePool, tag: u64) -> Waiting {
    Waiting {
        frame: pool.take().expect("a free frame"),
        tag,
        outcome: Outcome::UNDECIDED,
        port: PortId(0),
        ingress: VLAN,
        source_mac: MAC,
        ingress_tag: None,
    }
}

#[test]
fn frames_that_wait_are_given_back_in_order_when_the_neighbor_answers() {
    let (_arena, mut pool) = frames();
    let mut cache = Neighbors::new(1);
    assert_eq!(cache.resolve(at(1), VLAN, host(1)), Resolution::Unknown);
    cache.ask(at(1), VLAN, host(1));
    for tag in 0..3 {
        assert!(cache.wait(VLAN, host(1), waiting(&mut pool, tag)).is_ok());
    }
    assert_eq!(cache.resolve(at(1), VLAN, host(1)), Resolution::Asking);
    let released = cache.learn(at(2), VLAN, host(1), MAC);
    assert_eq!(released.iter().map(|w| w.tag).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(cache.resolve(at(2), VLAN, host(1)), Resolution::Known(MAC));
    assert_eq!(cache.waiting(), 0);
    assert!(cache.open.is_empty());
    assert_eq!(cache.questions[0], 0);
}

#[test]
fn a_neighbor_that_does_not_answer_is_asked_three_times_and_then_fails() {
    let (_arena, mut pool) = frames();
    let mut cache = Neighbors::new(1);
    cache.ask(at(10), VLAN, host(1));
    assert!(cache.wait(VLAN, host(1), waiting(&mut pool, 5)).is_ok());
    assert!(cache.due(at(10)).is_none());
    assert!(matches!(cache.due(at(11)), Some((_, _, Due::Ask, _))));
    assert!(matches!(cache.due(at(12)), Some((_, _, Due::Ask, _))));
    let (_, address, due, queue) = cache.due(at(13)).expect("it is time");
    assert_eq!((address, due, queue.len()), (host(1), Due::GiveUp, 1));
    assert_eq!(cache.resolve(at(13), VLAN, host(1)), Resolution::Failed);
    assert!(cache.due(at(16)).is_none());
    assert_eq!(cache.resolve(at(16), VLAN, host(1)), Resolution::Unknown);
    assert_eq!(cache.questions[0], 0);
}

#[test]
fn a_used_neighbor_is_asked_again_after_a_minute_and_forgotten_after_five() {
    let mut cache = Neighbors::new(1);
    cache.learn(at(100), VLAN, host(1), MAC);
    assert_eq!(cache.resolve(at(159), VLAN, host(1)), Resolution::Known(MAC));
    assert_eq!(cache.resolve(at(160), VLAN, host(1)), Resolution::Stale(MAC));
    cache.asked(at(160), VLAN, host(1));
    assert_eq!(cache.resolve(at(160), VLAN, host(1)), Resolution::Known(MAC));
    assert_eq!(cache.resolve(at(400), VLAN, host(1)), Resolution::Unknown);
    assert!(cache.due(at(400)).is_none());
    assert_eq!((cache.entries.len(), cache.known[0]), (0, 0));
}

#[test]
fn one_neighbor_holds_no_more_than_its_share_of_frames() {
    let (_arena, mut pool) = frames();
    let mut cache = Neighbors::new(1);
    cache.ask(at(1), VLAN, host(1));
    for tag in 0..WAITING_PER_NEIGHBOR as u64 {
        assert!(cache.wait(VLAN, host(1), waiting(&mut pool, tag)).is_ok());
    }
    let refused = cache.wait(VLAN, host(1), waiting(&mut pool, 99)).expect_err("no room");
    assert_eq!(refused.tag, 99);
}

#[test]
fn a_scan_fills_its_vlans_share_of_questions_and_evicts_nobody() {
    let mut cache = Neighbors::new(2);
    cache.learn(at(1), VLAN, host(1), MAC);
    let mut refused = 0;
    for n in 100..100 + 2 * QUESTIONS_PER_VLAN {
        match cache.resolve(at(2), VLAN, host(n)) {
            Resolution::Unknown => cache.ask(at(2), VLAN, host(n)),
            Resolution::Failed => refused += 1,
            Resolution::Known(_) | Resolution::Stale(_) | Resolution::Asking => panic!("nobody knows {n}"),
        }
    }
    assert_eq!(refused, QUESTIONS_PER_VLAN);
    assert_eq!(cache.resolve(at(2), VLAN, host(1)), Resolution::Known(MAC));
    assert_eq!(cache.resolve(at(2), VlanIndex(1), host(9)), Resolution::Unknown, "another VLAN has room");
}

#[test]
fn what_waits_at_the_end_is_given_back() {
    let (_arena, mut pool) = frames();
    let mut cache = Neighbors::new(1);
    for n in 1..4 {
        cache.ask(at(1), VLAN, host(n));
        assert!(cache.wait(VLAN, host(n), waiting(&mut pool, u64::from(n))).is_ok());
    }
    let mut tags: Vec<u64> = Vec::new();
    while let Some(queue) = cache.abandon() {
        tags.extend(queue.iter().map(|w| w.tag));
    }
    assert_eq!(tags, [1, 2, 3]);
    assert_eq!(cache.waiting(), 0);
}
