//! Whatever comes in, the engine judges it: no frame is lost, none is counted twice, nothing panics, and all that a
//! batch leaves behind ends by itself.
//!
//! `cargo +nightly fuzz run frame`. The input is a list of frames: two bytes say how each is dressed, one how long it is,
//! the rest is what it holds. Dressed frames have a link header of the gateway's network and right checksums, so that
//! the fuzzer gets past them. The engine lives as long as the fuzzer: what it has learned of neighbours stays.
#![no_main]

mod gateway;

use classifier::addr::PortId;
use classifier::wire::checksum::Sum;
use conntrack::time::Tick;
use dataplane::batch::{Batch, LANES};
use dataplane::engine::{Engine, Sweep};
use gateway::{FLOORS, FRAMES, ROUTED};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

const TRUNK: PortId = PortId(0);
const LONGEST: usize = 2048;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

/// The engine and its time.
struct Bench {
    engine: Engine,
    batch: Batch,
    now: Tick,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench {
        engine: gateway::engine(),
        batch: Batch::default(),
        now: Tick(1_000_000_000),
    });
}

/// Writes the frame that some bytes stand for; its length.
fn dress(how: [u8; 2], content: &[u8], buffer: &mut [u8]) -> usize {
    let [link, network] = how;
    if link & 0x80 != 0 {
        buffer[..content.len()].copy_from_slice(content);
        return content.len();
    }
    let vlans = [ROUTED[0], ROUTED[1], FLOORS[0], FLOORS[1]];
    let vid = vlans[usize::from(link & 3)];
    let is_routed = link & 2 == 0;
    let to = match link >> 2 & 3 {
        0 if !is_routed => [2, 0, 0, 0, 0, 8 + (link >> 4 & 3)],
        3 => [0xff; 6],
        _ => gateway::MAC,
    };
    let kind = [IPV4, IPV4, IPV6, ARP][usize::from(network & 3)];
    buffer[..6].copy_from_slice(&to);
    buffer[6..12].copy_from_slice(&[2, 0, 0, 0, 1, link & 7]);
    buffer[12..14].copy_from_slice(&[0x81, 0]);
    buffer[14..16].copy_from_slice(&vid.to_be_bytes());
    buffer[16..18].copy_from_slice(&kind.to_be_bytes());
    let length = 18 + content.len();
    buffer[18..length].copy_from_slice(content);
    let packet = &mut buffer[18..length];
    match kind {
        IPV4 => dress_ipv4(network, link, packet),
        IPV6 => dress_ipv6(network, link, packet),
        _ => {}
    }
    length
}

/// Hosts of the network, this way or that.
fn hosts(network: u8, link: u8) -> (u8, u8, u8, u8) {
    let (from, to) = if link & 1 == 0 { (ROUTED[0], ROUTED[1]) } else { (ROUTED[1], ROUTED[0]) };
    let (near, far) = (2 + (network >> 6), 2 + (network >> 4 & 3));
    (from as u8, near, to as u8, far)
}

fn put_sum(bytes: &mut [u8], at: usize, sum: u16) {
    bytes[at..at + 2].copy_from_slice(&(!sum).to_be_bytes());
}

fn dress_ipv4(network: u8, link: u8, packet: &mut [u8]) {
    if packet.len() < 20 {
        return;
    }
    if network & 4 == 0 {
        let (from, near, to, far) = hosts(network, link);
        packet[0] = 0x45;
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, from, near, 10, 0, to, far]);
    }
    if network & 8 == 0 {
        packet[10..12].fill(0);
        let header = (usize::from(packet[0] & 0xf) * 4).clamp(20, packet.len());
        let sum = Sum::ZERO.bytes(&packet[..header]).fold();
        put_sum(packet, 10, sum);
        let pseudo = Sum::ZERO.bytes(&packet[12..20]).bytes(&[0, packet[9]]);
        let (protocol, upper) = (packet[9], &mut packet[header..]);
        mend(protocol, pseudo, upper);
    }
}

fn dress_ipv6(network: u8, link: u8, packet: &mut [u8]) {
    if packet.len() < 40 {
        return;
    }
    if network & 4 == 0 {
        let (from, near, to, far) = hosts(network, link);
        packet[0] = 0x60;
        let length = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        for (at, vlan, host) in [(8, from, near), (24, to, far)] {
            packet[at..at + 16].fill(0);
            (packet[at], packet[at + 3], packet[at + 15]) = (0xfd, vlan, host);
        }
    }
    if network & 8 == 0 {
        let protocol = packet[6];
        let pseudo = Sum::ZERO.bytes(&packet[8..40]).bytes(&[0, protocol]);
        mend(protocol, pseudo, &mut packet[40..]);
    }
}

/// Makes the checksum of a whole segment right.
fn mend(protocol: u8, pseudo: Sum, upper: &mut [u8]) {
    let (at, sum) = match protocol {
        6 => (16, pseudo),
        17 => (6, pseudo),
        58 => (2, pseudo),
        1 => (2, Sum::ZERO),
        _ => return,
    };
    if upper.len() < at + 2 {
        return;
    }
    if protocol == 17 {
        let length = upper.len() as u16;
        upper[4..6].copy_from_slice(&length.to_be_bytes());
    }
    upper[at..at + 2].fill(0);
    let length = (upper.len() as u16).to_be_bytes();
    let sum = if protocol == 1 { sum } else { sum.bytes(&length) };
    let sum = sum.bytes(upper).fold();
    put_sum(upper, at, sum);
}

fn run(Bench { engine, batch, now }: &mut Bench) {
    engine.process(*now, batch);
    *now = *now + Duration::from_millis(8);
    engine.tick(*now, Sweep::AtMost(1024));
    engine.flush(TRUNK, |_, pool, frames| frames.drain(..).for_each(|frame| pool.give(frame)));
    engine.late_outcomes().for_each(drop);
    batch.clear();
}

fn play(bench: &mut Bench, mut input: &[u8]) {
    let arena = Arc::clone(bench.engine.arena());
    let before = bench.engine.counters().received;
    let mut count = 0;
    while let [link, network, length, rest @ ..] = input {
        let (content, next) = rest.split_at(rest.len().min(usize::from(*length)));
        let mut frame = bench.engine.pool().take().expect("frames come back");
        let buffer = arena.buffer_mut(&mut frame);
        let written = dress([*link, *network], content, &mut buffer[..LONGEST]);
        arena.set_length(&mut frame, written);
        bench.batch.push(TRUNK, count, frame);
        count += 1;
        // A batch ends where it is full, and where the fuzzer says so.
        if bench.batch.len() == LANES || link & 0x40 != 0 {
            run(bench);
        }
        input = next;
    }
    run(bench);
    let engine = &mut bench.engine;
    assert_eq!(engine.counters().received, before + count);
    assert_eq!(engine.pool().len() + engine.waiting(), FRAMES as usize, "no frame is lost");
    engine.abandon_waiting();
    engine.late_outcomes().for_each(drop);
    assert_eq!(engine.waiting(), 0);
    assert_eq!(engine.pool().len(), FRAMES as usize, "no frame is lost");
    assert!(engine.counters().balance(), "{:?}", engine.counters());
    bench.now = bench.now + Duration::from_secs(10_000);
    engine.tick(bench.now, Sweep::All);
    engine.flush(TRUNK, |_, pool, frames| frames.drain(..).for_each(|frame| pool.give(frame)));
    engine.late_outcomes().for_each(drop);
    assert!(engine.tracker().is_empty(), "every flow ends");
}

fuzz_target!(|input: &[u8]| BENCH.with_borrow_mut(|bench| play(bench, input)));
