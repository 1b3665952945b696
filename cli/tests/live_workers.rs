//! Two workers with both directions of every flow on different queues: what leaves the switch on one core comes in by one
//! queue, and on the other by the other.

mod live;
mod root;

use cli::run::Gateway;
use cli::testbed::{Host, TcpOutcome};
use dataplane::counters::Counters;
use live::queues::{SOURCES, bed, on_core, queue_by_core, source, text};
use live::{APP, SOON, at, stop};
use std::net::SocketAddr;
use std::time::Duration;

fn by_worker(gateway: &Gateway) -> Vec<Counters> {
    gateway.control().ask_all(|engine| engine.counters().clone()).unwrap()
}

/// Requests and answers of many flows, connections, and a transfer; every one must succeed.
fn everything_works(web: &Host, app: &Host) {
    let (_udp, _tcp, _sink) = on_core(1, || {
        (app.udp_echo(at(9003)).unwrap(), app.tcp_echo(at(9001)).unwrap(), app.bulk_sink(at(9000)).unwrap())
    });
    on_core(0, || {
        for n in 0..SOURCES {
            let socket = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
            socket.connect(at(9003)).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            for round in 0..40_u8 {
                socket.send(&[n, round]).unwrap();
                let mut answer = [0; 8];
                let length = socket.recv(&mut answer).unwrap_or_else(|e| panic!("flow {n}, {round}: {e}"));
                assert_eq!(answer[..length], [n, round]);
            }
        }
        assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered());
        for _ in 0..20 {
            assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
        }
        web.bulk_send(at(9000), 20_000_000, SOON).unwrap();
    });
}

/// Nothing contradicted its flow, and the books balance.
fn all_were_right(gateway: Gateway) -> Counters {
    let counters = stop(gateway);
    for reason in ["ct-invalid", "neighbor-failed", "tx-full", "policy-deny", "default-deny"] {
        let index = classifier::reason::DropReason::ALL.iter().find(|r| r.name() == reason).unwrap().index();
        assert_eq!(counters.dropped[index], 0, "{reason}: {counters:?}");
    }
    counters
}

#[test]
fn every_flow_is_right_with_its_directions_on_different_queues() {
    let Some((bed, web, app)) = bed("queues", 2) else { return };
    queue_by_core(&bed);
    let gateway = live::start(&bed, &text(2));
    everything_works(&web, &app);
    let workers = by_worker(&gateway);
    assert_eq!(workers.len(), 2);
    for worker in &workers {
        assert!(worker.flows > 0 && worker.forwarded > 30, "both own flows: {workers:?}");
        assert!(worker.handed > 30, "both hand over what is the other's: {workers:?}");
    }
    all_were_right(gateway);
}

#[test]
fn a_worker_without_a_queue_of_its_own_works_all_the_same() {
    let Some((bed, web, app)) = bed("onequeue", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    everything_works(&web, &app);
    let workers = by_worker(&gateway);
    assert!(workers.iter().all(|worker| worker.flows > 0 && worker.forwarded > 30), "{workers:?}");
    assert_eq!(workers[1].handed, 0, "nothing comes in there: {workers:?}");
    all_were_right(gateway);
}

/// A frame that waits on another worker's ring wakes the worker up at once.
#[test]
fn a_worker_that_sleeps_is_woken_by_what_it_owns() {
    let Some((bed, web, app)) = bed("asleep", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    let _echo = app.udp_echo(at(9003)).unwrap();
    let mut times = Vec::new();
    for n in 0..SOURCES {
        let socket = web.udp_socket(SocketAddr::new(source(n), 0)).unwrap();
        socket.connect(at(9003)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = [0; 8];
        // The first may wait for a neighbor.
        for is_counted in [false, true, true] {
            std::thread::sleep(Duration::from_millis(30));
            let sent = std::time::Instant::now();
            socket.send(b"hello").unwrap();
            socket.recv(&mut answer).unwrap();
            if is_counted {
                times.push(sent.elapsed());
            }
        }
    }
    // Not woken, it would have slept for a tenth of a second each time, of which 30 ms were over; what the machine does
    // besides holds up a few of them at the most.
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{times:?}");
    all_were_right(gateway);
}
