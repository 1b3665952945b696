//! The merged order of several captures, and the port over them.

use super::made::{Order, classic, frame};
use super::read;
use crate::arena::{Arena, Frame};
use crate::port::Port;
use crate::port::capture::{Capture, CapturePort, Writer, merge};
use classifier::addr::PortId;
use conntrack::time::Tick;

fn capture(stamps: &[(u32, u8)]) -> Capture {
    let frames: Vec<(u32, Vec<u8>)> = stamps.iter().map(|(at, tag)| (*at, frame(60, *tag))).collect();
    let records: Vec<(u32, u32, u32, &[u8])> = frames.iter().map(|(at, f)| (0, *at, 60, &f[..])).collect();
    read(classic(Order::Little, 0xa1b2_3c4d, 1, &records)).unwrap()
}

#[test]
fn records_come_by_time_then_by_input_then_by_place() {
    let inputs = vec![
        (PortId(1), capture(&[(5, 1), (3, 2), (5, 3), (9, 4)])),
        (PortId(0), capture(&[(5, 5), (1, 6), (3, 7)])),
        (PortId(1), capture(&[])),
    ];
    let merged = merge(inputs);
    let order: Vec<(u8, u64, u8)> = merged.iter().map(|(port, at, data)| (port.0, at.0, data[0])).collect();
    assert_eq!(order, [(0, 1, 6), (1, 3, 2), (0, 3, 7), (1, 5, 1), (1, 5, 3), (0, 5, 5), (1, 9, 4)]);
    assert_eq!(merged.len(), 7);
}

#[test]
fn a_port_receives_what_was_captured_by_now() {
    let (arena, mut pool) = Arena::on_heap(8, 2_048);
    let mut port = CapturePort::new(Some(capture(&[(20, 2), (10, 1), (30, 3), (30, 4)])), None);
    let mut frames: Vec<Frame> = Vec::new();
    assert_eq!(port.next_arrival(), Some(Tick(10)));
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert!(frames.is_empty());
    port.advance(Tick(20));
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert_eq!(frames.iter().map(|f| arena.bytes(f)[0]).collect::<Vec<_>>(), [1, 2]);
    port.advance(Tick(30));
    port.receive(&arena, &mut pool, 1, &mut frames);
    assert_eq!((frames.len(), port.next_arrival()), (3, Some(Tick(30))));
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert_eq!((frames.len(), port.next_arrival()), (4, None));
    assert_eq!(pool.len() + frames.len() + port.held(), 8);
}

#[test]
fn a_port_without_empty_frames_keeps_its_records() {
    let (arena, mut pool) = Arena::on_heap(1, 2_048);
    let mut port = CapturePort::new(Some(capture(&[(1, 1), (2, 2)])), None);
    port.advance(Tick(2));
    let mut frames = Vec::new();
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert_eq!(frames.len(), 1);
    port.transmit(&arena, &mut pool, &mut frames);
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert_eq!(arena.bytes(&frames[0])[0], 2);
}

#[test]
fn what_a_port_sends_is_in_its_capture_at_the_time_of_sending() {
    let path = std::env::temp_dir().join(format!("bulkhead-{}-port.pcap", std::process::id()));
    let (arena, mut pool) = Arena::on_heap(2, 2_048);
    let output = Writer::create(&path).unwrap();
    let mut port = CapturePort::new(Some(capture(&[(7, 1), (9, 2)])), Some(output));
    let mut frames = Vec::new();
    while let Some(at) = port.next_arrival() {
        port.advance(at);
        port.receive(&arena, &mut pool, 64, &mut frames);
        port.transmit(&arena, &mut pool, &mut frames);
    }
    port.finish().unwrap();
    let written = Capture::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let records: Vec<(u64, u8)> = written.records().map(|r| (r.timestamp.0, r.data[0])).collect();
    assert_eq!(records, [(7, 1), (9, 2)]);
    assert_eq!(pool.len(), 2);
}

#[test]
fn a_frame_longer_than_a_chunk_fills_the_chunk() {
    let jumbo = frame(5_000, 1);
    let input = read(classic(Order::Big, 0xa1b2_3c4d, 1, &[(0, 0, 5_000, &jumbo)])).unwrap();
    let (arena, mut pool) = Arena::on_heap(1, 2_048);
    let mut port = CapturePort::new(Some(input), None);
    let mut frames = Vec::new();
    port.receive(&arena, &mut pool, 64, &mut frames);
    assert_eq!(arena.bytes(&frames[0]), &jumbo[..2_048]);
}
