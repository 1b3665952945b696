//! AF_XDP ports on veth pairs, by the trait that the engine uses.
#![allow(unsafe_code)] // For poll(2), which has no safe form in the standard library.

mod root;

use cli::testbed::{Bed, RawSocket};
use dataplane::arena::{Arena, FramePool};
use dataplane::port::Port;
use dataplane::port::xdp::{self, ModeInForce, OpenError, Opened, PortRequest, XdpPort, offload};
use dataplane::topology::XdpMode;
use root::may_run;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FRAMES: u32 = 10_000;
const SOON: Duration = Duration::from_secs(30);
/// Set for the process that holds a port until it is killed: the interface.
const CHILD: &str = "BULKHEAD_TEST_HOLD_PORT";

fn request(interface: &str, mode: XdpMode) -> PortRequest {
    PortRequest { interface: interface.to_owned(), queues: 1, mode }
}

fn open(bed: &Bed, requests: &[PortRequest]) -> Result<Opened, OpenError> {
    bed.gateway().enter(|| xdp::open(requests, xdp::frames_for(requests)))
}

fn bed_of_two(name: &str) -> Bed {
    let mut bed = Bed::without_signal_handler(name).unwrap();
    bed.add_trunk("left", 1).unwrap();
    bed.add_trunk("right", 1).unwrap();
    bed
}

/// What a frame with this number is: a local experimental EtherType, every third one tagged, all lengths.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if number.is_multiple_of(3) {
        frame.extend([0x81, 0, 0, 10]);
    }
    frame.extend([0x88, 0xb5]);
    frame.extend(number.to_be_bytes());
    let length = 46 + number as usize * 7 % 1440;
    frame.extend((0..length).map(|i| (i as u32 * 31 + number) as u8));
    frame
}

fn is_ours(frame: &[u8]) -> bool {
    frame.len() > 18 && (frame[12..14] == [0x88, 0xb5] || frame[16..18] == [0x88, 0xb5])
}

/// A gateway that forwards everything to the other port, until it is told to stop. Returns what is left.
fn swap(arena: &Arena, pool: &mut FramePool, ports: &mut [XdpPort; 2], stop: &AtomicBool) {
    let total = arena.layout().count as usize;
    let mut frames = Vec::with_capacity(64);
    while !stop.load(Ordering::Relaxed) {
        for (from, to) in [(0, 1), (1, 0)] {
            ports[from].service(arena, pool);
            ports[from].receive(arena, pool, 64, &mut frames);
            let deadline = Instant::now() + SOON;
            while !frames.is_empty() {
                ports[to].transmit(arena, pool, &mut frames);
                assert!(Instant::now() < deadline, "the port does not send: {:?}", ports[to].statistics());
            }
        }
        let held: usize = ports.iter().map(XdpPort::held).sum();
        assert_eq!(pool.len() + held, total, "a frame is in exactly one place");
    }
}

fn exchange(from: &RawSocket, to: &RawSocket) {
    const WINDOW: u32 = 256;
    for start in (0..FRAMES).step_by(WINDOW as usize) {
        let numbers = start..(start + WINDOW).min(FRAMES);
        for number in numbers.clone() {
            from.send(&frame(number)).unwrap();
        }
        for number in numbers {
            let heard = to.wait_for(SOON, |c| !c.outgoing && is_ours(&c.frame)).unwrap();
            let heard = heard.unwrap_or_else(|| panic!("frame {number} did not arrive"));
            assert!(heard.frame == frame(number), "frame {number} is another or was changed");
        }
    }
}

fn forwards(name: &str, mode: XdpMode, expected: ModeInForce) {
    if !may_run() {
        return;
    }
    let bed = bed_of_two(name);
    let mut opened = open(&bed, &[request("left", mode), request("right", mode)]).unwrap();
    for guard in &opened.guards {
        assert_eq!(guard.mode(), expected);
    }
    let (left, right) = (bed.wire(0).unwrap(), bed.wire(1).unwrap());
    let mut queues = opened.ports.drain(..).map(|mut queues| queues.remove(0));
    let mut ports = [queues.next().unwrap(), queues.next().unwrap()];
    drop(queues);
    let stop = AtomicBool::new(false);
    let (arena, pool) = (&opened.arena, &mut opened.pool);
    std::thread::scope(|scope| {
        let ports = &mut ports;
        let gateway = scope.spawn(|| swap(arena, pool, ports, &stop));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            exchange(&left, &right);
            exchange(&right, &left);
        }));
        stop.store(true, Ordering::Relaxed);
        gateway.join().unwrap();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    for (port, guard) in ports.iter().zip(&opened.guards) {
        let counts = port.statistics();
        assert!(counts.received >= u64::from(FRAMES), "{counts:?}");
        assert_eq!((counts.rx_invalid, counts.tx_invalid, counts.too_long, counts.kick_errors), (0, 0, 0, 0));
        assert_eq!((counts.rx_dropped, counts.rx_ring_full), (0, 0), "{counts:?}");
        assert_eq!(guard.kernel_statistics().rx_dropped, 0);
    }
}

#[test]
fn frames_cross_two_ports_in_the_driver_unchanged() {
    forwards("drv", XdpMode::Auto, ModeInForce::DriverCopy);
}

#[test]
fn frames_cross_two_ports_in_generic_mode_unchanged() {
    forwards("skb", XdpMode::Skb, ModeInForce::Generic);
}

#[test]
fn all_queues_of_a_port_receive_and_a_burst_of_any_length_is_sent() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::without_signal_handler("queues").unwrap();
    bed.add_trunk("trunk0", 2).unwrap();
    let one = bed.gateway().enter(|| {
        let requests = [request("trunk0", XdpMode::Auto)];
        xdp::open(&requests, xdp::frames_for(&requests))
    });
    let error = one.expect_err("the second queue's frames would be lost");
    assert!(matches!(error, OpenError::UnservedQueues { has: 2, serves: 1, .. }), "{error:?}");

    let mut opened = open(&bed, &[PortRequest { queues: 2, ..request("trunk0", XdpMode::Auto) }]).unwrap();
    let total = opened.arena.layout().count as usize;
    let wire = bed.wire(0).unwrap();
    // The sender's kernel spreads flows over its queues: many of them reach both.
    const BURST: u16 = 1000;
    for port in 0..BURST {
        wire.send(&datagram(port)).unwrap();
    }
    let (arena, pool) = (&opened.arena, &mut opened.pool);
    let mut per_queue = [0, 0];
    let mut frames = Vec::new();
    let deadline = Instant::now() + SOON;
    while frames.len() < usize::from(BURST) {
        assert!(Instant::now() < deadline, "{per_queue:?} of {BURST} arrived");
        for (queue, count) in opened.ports[0].iter_mut().zip(&mut per_queue) {
            let before = frames.len();
            queue.receive(arena, pool, 64, &mut frames);
            *count += frames.len() - before;
            queue.service(arena, pool);
        }
    }
    assert!(per_queue.iter().all(|n| *n > 50), "{per_queue:?}");

    // All of them at once, out of one queue: more than one call of the kernel sends.
    let queue = &mut opened.ports[0][1];
    queue.transmit(arena, pool, &mut frames);
    assert!(frames.is_empty(), "{} frames stayed behind", frames.len());
    for n in 0..BURST {
        let heard = wire.wait_for(SOON, |c| !c.outgoing).unwrap();
        assert!(heard.is_some_and(|c| c.frame.len() == datagram(0).len()), "frame {n} was not sent");
    }
    queue.service(arena, pool);
    let held: usize = opened.ports[0].iter().map(XdpPort::held).sum();
    assert_eq!(opened.pool.len() + held, total);
    assert_eq!(opened.guards[0].unserved(), 0);
}

/// A UDP datagram from this port, for a hash of the flow to tell from others.
fn datagram(port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 53, 0, 26, 0, 0]);
    frame.extend([0; 18]);
    frame
}

#[test]
fn a_sleeper_is_woken_by_a_frame() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("sleep");
    let mut opened = open(&bed, &[request("left", XdpMode::Auto)]).unwrap();
    let wire = bed.wire(0).unwrap();
    let queue = &mut opened.ports[0][0];
    let socket = queue.descriptor().expect("a socket has one").as_raw_fd();
    let sleep = |timeout: i32| {
        let mut wait = libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is passed, and it outlives the call.
        unsafe { libc::poll(&raw mut wait, 1, timeout) }
    };
    assert_eq!(sleep(50), 0, "there is nothing to be woken by");
    wire.send(&frame(1)).unwrap();
    assert_eq!(sleep(SOON.as_millis() as i32), 1);
    let mut frames = Vec::new();
    queue.receive(&opened.arena, &mut opened.pool, 64, &mut frames);
    assert_eq!(opened.arena.bytes(&frames[0]), frame(1));
    assert_eq!(sleep(50), 0, "the frame was taken");
}

#[test]
fn what_can_not_be_opened_says_why_and_leaves_nothing_behind() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("errors");
    let fails = |requests: &[PortRequest]| open(&bed, requests).expect_err("this can't be opened");
    let error = fails(&[request("none", XdpMode::Auto)]);
    assert!(matches!(error, OpenError::NoSuchInterface { .. }), "{error:?}");
    let error = fails(&[request("left", XdpMode::ZeroCopy)]);
    assert!(matches!(error, OpenError::Unsupported { .. }), "veth has no zero-copy: {error:?}");
    let error = fails(&[request("left", XdpMode::Copy), request("left", XdpMode::Copy)]);
    assert!(matches!(error, OpenError::BadRequest(_)), "{error:?}");
    let error = fails(&[request("left", XdpMode::ZeroCopy), request("right", XdpMode::Copy)]);
    assert!(matches!(error, OpenError::MixedModes { .. }), "{error:?}");
    let error = fails(&[PortRequest { queues: 2, ..request("left", XdpMode::Auto) }]);
    assert!(matches!(error, OpenError::TooFewQueues { has: 1, wants: 2, .. }), "{error:?}");
    for (mtu, most) in [("9000", Some(3818)), ("3700", None)] {
        for (namespace, end) in [("gw", "right"), ("switch", "t1")] {
            let name = bed.gateway().name().replace("-gw", &format!("-{namespace}"));
            let mut ip = cli::testbed::command_in(&name, "ip").unwrap();
            assert!(ip.args(["link", "set", end, "mtu", mtu]).status().unwrap().success());
        }
        let error = fails(&[request("left", XdpMode::Copy), request("right", XdpMode::Copy)]);
        assert!(matches!(error, OpenError::MtuTooLarge { most: m, .. } if m == most), "{mtu}: {error:?}");
        assert!(!error.remedy().is_empty());
    }
    assert!(!has_program(&bed, "left"), "the port that was opened first is closed again");
}

/// Whether an XDP program is attached.
fn has_program(bed: &Bed, interface: &str) -> bool {
    let shown = bed.gateway().command("ip").args(["-d", "link", "show", interface]).output().unwrap();
    assert!(shown.status.success());
    String::from_utf8_lossy(&shown.stdout).contains("prog/xdp")
}

/// Not a test by itself: the process that a test below kills.
#[test]
fn a_process_that_holds_a_port_until_it_is_killed() {
    let Some(interface) = std::env::var_os(CHILD) else { return };
    let requests = [request(interface.to_str().unwrap(), XdpMode::Auto)];
    let _opened = xdp::open(&requests, xdp::frames_for(&requests)).unwrap();
    println!("the port is open");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_process_that_is_killed_leaves_no_program_and_its_port_can_be_opened_at_once() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("kill");
    for _ in 0..3 {
        let mut child = bed
            .gateway()
            .command(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_holds_a_port_until_it_is_killed", "--nocapture"])
            .env(CHILD, "left")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("the port is open")));
        assert!(has_program(&bed, "left"));
        child.kill().unwrap();
        child.wait().unwrap();
        let opened = open(&bed, &[request("left", XdpMode::Auto)]).unwrap();
        assert!(has_program(&bed, "left"));
        drop(opened);
        assert!(!has_program(&bed, "left"));
    }
}

#[test]
fn a_killed_process_leaves_the_interface_without_a_program() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("killed");
    let mut child = bed
        .gateway()
        .command(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_holds_a_port_until_it_is_killed", "--nocapture"])
        .env(CHILD, "left")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("the port is open")));
    assert!(has_program(&bed, "left"));
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + SOON;
    while has_program(&bed, "left") {
        assert!(Instant::now() < deadline, "the program stays");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_port_that_is_in_use_is_waited_for() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("busy");
    let requests = [request("left", XdpMode::Copy)];
    let first = open(&bed, &requests).unwrap();
    let mut waits = Vec::new();
    let second = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            drop(first);
        });
        bed.gateway().enter(|| {
            xdp::open_reporting(&requests, xdp::frames_for(&requests), &mut |w| waits.push(w.clone()))
        })
    });
    assert!(second.is_ok(), "{second:?}");
    assert!(waits.len() > 1, "it was said that the port is in use: {waits:?}");
    let error = open(&bed, &requests).expect_err("the port is in use for longer than anybody waits");
    assert!(matches!(error, OpenError::OtherProgram { .. } | OpenError::Busy { .. }), "{error:?}");
}

#[test]
fn a_clean_exit_puts_the_interface_back_as_it_was() {
    if !may_run() {
        return;
    }
    let bed = bed_of_two("restore");
    let pair = bed
        .gateway()
        .command("ip")
        .args(["link", "add", "p0", "type", "veth", "peer", "name", "p1"])
        .status();
    assert!(pair.unwrap().success());
    let state = || {
        let shown = bed.gateway().command("ip").args(["-d", "link", "show", "p0"]).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        // The queue discipline changes for good when an interface is up for the first time.
        let shown = shown.replace(" qdisc noop ", " qdisc noqueue ");
        (bed.gateway().enter(|| offload::active("p0").unwrap()), shown)
    };
    let before = state();
    for feature in ["rx-vlan-hw-parse", "tx-vlan-hw-insert", "tx-tcp-segmentation"] {
        assert!(before.0.iter().any(|f| f == feature), "{feature} is on by default: {before:?}");
    }
    let opened = open(&bed, &[request("p0", XdpMode::Auto)]).unwrap();
    let during = state();
    for feature in ["vlan", "lro", "gro", "gso", "tcp", "segmentation"] {
        let on: Vec<&String> = during.0.iter().filter(|f| f.contains(feature)).collect();
        assert!(on.is_empty(), "{on:?} must be off");
    }
    assert!(during.1.contains("promiscuity 1") && during.1.contains("UP"), "{}", during.1);
    assert!(!opened.guards[0].offloads_changed().is_empty());
    drop(opened);
    assert_eq!(state(), before);
}
