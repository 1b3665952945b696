//! No frame is lost or doubled by a port over memory, and none changes on its way.

use super::*;

fn bytes_of(arena: &Arena, frames: &[Frame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| arena.bytes(frame).to_vec()).collect()
}

#[test]
fn what_is_pushed_is_received_and_what_is_sent_can_be_taken() {
    let (arena, mut pool) = Arena::on_heap(4, 128);
    let (mut port, wire) = MemoryPort::with_wire();
    for tag in 0..6 {
        wire.push(vec![tag; 60 + usize::from(tag)]);
    }
    let mut frames = Vec::new();
    port.receive(&arena, &mut pool, 3, &mut frames);
    assert_eq!((frames.len(), wire.waiting(), pool.len()), (3, 3, 1));
    port.receive(&arena, &mut pool, 3, &mut frames);
    assert_eq!((frames.len(), wire.waiting(), pool.len()), (4, 2, 0), "the pool bounds what is received");
    arena.bytes_mut(&mut frames[0])[0] = 9;
    port.transmit(&arena, &mut pool, &mut frames);
    assert_eq!((frames.len(), pool.len(), port.held()), (0, 4, 0));
    let sent = wire.take_all();
    assert_eq!(
        sent.iter().map(|f| (f[0], f[1], f.len())).collect::<Vec<_>>(),
        [(9, 0, 60), (1, 1, 61), (2, 2, 62), (3, 3, 63)]
    );
    assert_eq!(wire.take(), None);
}

#[test]
fn a_port_without_room_leaves_the_frames_with_the_sender() {
    let (arena, mut pool) = Arena::on_heap(4, 128);
    let (mut port, wire) = MemoryPort::with_wire();
    (0..4).for_each(|tag| wire.push([tag; 60]));
    let mut frames = Vec::new();
    port.receive(&arena, &mut pool, 64, &mut frames);
    wire.set_room(Some(3));
    port.transmit(&arena, &mut pool, &mut frames);
    assert_eq!(bytes_of(&arena, &frames), [[3; 60]]);
    port.transmit(&arena, &mut pool, &mut frames);
    assert_eq!((frames.len(), pool.len()), (1, 3));
    wire.set_room(None);
    port.transmit(&arena, &mut pool, &mut frames);
    assert_eq!((frames.len(), pool.len(), wire.take_all().len()), (0, 4, 4));
}

#[test]
fn a_pair_of_ports_is_one_wire() {
    let (arena, mut pool) = Arena::on_heap(2, 128);
    let (mut left, mut right) = MemoryPort::pair();
    for turn in 0..10_u8 {
        let mut frame = pool.take().unwrap();
        arena.set_length(&mut frame, 60);
        arena.bytes_mut(&mut frame).fill(turn);
        let mut frames = vec![frame];
        let (from, to) = if turn % 2 == 0 { (&mut left, &mut right) } else { (&mut right, &mut left) };
        from.transmit(&arena, &mut pool, &mut frames);
        to.receive(&arena, &mut pool, 64, &mut frames);
        assert_eq!(bytes_of(&arena, &frames), [[turn; 60]]);
        pool.give(frames.pop().unwrap());
    }
    assert_eq!(pool.len(), 2);
}

#[test]
fn a_trace_is_received_in_its_order_again_and_again() {
    let templates: Vec<Vec<u8>> = [60, 64, 65, 1_514].map(|length| vec![length as u8; length]).to_vec();
    let sequence = [3, 0, 1, 0, 2];
    for capacity in [1_536, 1_514] {
        let (arena, mut pool) = Arena::on_heap(7, capacity);
        let mut port = TracePort::new(Arc::new(Trace::new(&templates, &sequence)));
        let mut received = Vec::new();
        for _ in 0..5 {
            let mut frames = Vec::new();
            port.receive(&arena, &mut pool, 7, &mut frames);
            received.extend(bytes_of(&arena, &frames));
            port.transmit(&arena, &mut pool, &mut frames);
        }
        let expected = sequence.iter().cycle().map(|index| templates[*index as usize].clone());
        assert_eq!(received, expected.take(35).collect::<Vec<_>>());
        let bytes: usize = received.iter().map(Vec::len).sum();
        let tally = port.tally();
        assert_eq!((tally.received(), tally.sent(), tally.sent_bytes()), (35, 35, bytes as u64));
    }
}

#[test]
fn a_trace_lays_frames_out_in_the_order_of_first_use() {
    let trace = Trace::new(&[[1; 60], [2; 60], [3; 60]], &[2, 0, 2]);
    assert_eq!((trace.len(), trace.footprint()), (3, 128), "a frame that is never used takes no room");
    let mut buffer = [0; 64];
    assert_eq!(trace.copy(0, &mut buffer), 60);
    assert_eq!(buffer[..60], [3; 60]);
    assert_eq!(&trace.bytes[..60], &[3; 60]);
}

#[test]
fn a_frame_that_does_not_fit_its_chunk_is_cut() {
    let (arena, mut pool) = Arena::on_heap(1, 50);
    let mut port = TracePort::new(Arc::new(Trace::new(&[[7; 60]], &[0])));
    let mut frames = Vec::new();
    port.receive(&arena, &mut pool, 1, &mut frames);
    assert_eq!(bytes_of(&arena, &frames), [[7; 50]]);
}

#[test]
fn no_port_over_memory_loses_a_frame() {
    const COUNT: u32 = 32;
    let (arena, mut pool) = Arena::on_heap(COUNT, 128);
    let (memory, wire) = MemoryPort::with_wire();
    let trace = TracePort::new(Arc::new(Trace::new(&[[1; 60]], &[0])));
    let mut ports: [Box<dyn Port>; 2] = [Box::new(memory), Box::new(trace)];
    let mut frames = Vec::new();
    for turn in 0..1_000 {
        wire.push([0; 60]);
        wire.set_room(Some(turn % 5));
        let (from, to) = (turn % 2, turn % 3 % 2);
        ports[from].receive(&arena, &mut pool, turn % 11, &mut frames);
        ports[to].transmit(&arena, &mut pool, &mut frames);
        ports.iter_mut().for_each(|port| port.service(&arena, &mut pool));
        let held: usize = ports.iter().map(|port| port.held()).sum();
        assert_eq!(pool.len() + frames.len() + held, COUNT as usize, "turn {turn}");
    }
}

#[test]
fn a_trace_port_does_not_move_its_buffers() {
    let (arena, mut pool) = Arena::on_heap(64, 128);
    let mut port = TracePort::new(Arc::new(Trace::new(&[[1; 60], [2; 60]], &[0, 1, 1])));
    let mut frames = Vec::with_capacity(64);
    let place = frames.as_ptr();
    for _ in 0..100 {
        port.receive(&arena, &mut pool, 64, &mut frames);
        port.transmit(&arena, &mut pool, &mut frames);
    }
    assert_eq!((place, pool.len()), (frames.as_ptr(), 64));
}
