//! Two workers with both directions of every flow on different queues: what leaves the switch on one core comes in by one
//! queue, and on the other by the other.

mod live;
mod root;

use cli::run::Gateway;
use cli::testbed::{Bed, Host, HostSpec, TcpOutcome};
use dataplane::counters::Counters;
use live::{APP, SOON, at, host, stop};
use root::may_run;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Hosts on VLAN 10, each an address of `web`: enough that both workers own some of their flows.
const SOURCES: u8 = 16;

/// A gateway with a worker on each of two cores, whose trunk has so many queues.
fn text(queues: u16) -> String {
    let text = live::text(r#""tcp/9000-9010", "udp/9000-9010", "icmp/echo-request""#, "adaptive");
    let text = text.replace("[workers]\n", "[workers]\ncores = [0, 1]\n");
    text.replace("interface = \"trunk0\"\n", &format!("interface = \"trunk0\"\nqueues = {queues}\n"))
}

fn bed(name: &str, queues: u16) -> Option<(Bed, Host, Host)> {
    if !may_run() {
        return None;
    }
    if core_affinity::get_core_ids().is_none_or(|cores| cores.len() < 2) {
        eprintln!("skipped: two workers need two cores");
        return None;
    }
    let mut bed = Bed::without_signal_handler(name).unwrap();
    bed.add_trunk("trunk0", queues).unwrap();
    let addresses = (0..SOURCES).map(|n| format!("10.0.10.{}/24", 10 + n).parse().unwrap()).collect();
    let gateways = vec!["10.0.10.1".parse().unwrap()];
    let spec = HostSpec { vlan: Some(10), addresses, gateways, ..HostSpec::default() };
    let web = bed.host("web", &spec).unwrap();
    let app = host(&mut bed, "app", 20, APP, "fd00:20::10");
    Some((bed, web, app))
}

/// What each core sends to the gateway's trunk takes the queue of its number, if the kernel can do that (XPS).
fn queue_by_core(bed: &Bed) {
    let set = "for n in 0 1; do echo $((1 << n)) > /sys/class/net/t0/queues/tx-$n/xps_cpus; done";
    let name = format!("{}-switch", bed.name());
    let status = std::process::Command::new("ip").args(["netns", "exec", &name, "sh", "-c", set]).status();
    assert!(status.unwrap().success(), "the kernel has no XPS");
}

fn on_core<T>(core: usize, code: impl FnOnce() -> T) -> T {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: core }));
    code()
}

fn source(n: u8) -> IpAddr {
    format!("10.0.10.{}", 10 + n).parse().unwrap()
}

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
        assert!(worker.flows > 2 && worker.forwarded > 100, "both own flows: {workers:?}");
        assert!(worker.handed > 100, "both hand over what is the other's: {workers:?}");
    }
    all_were_right(gateway);
}

#[test]
fn a_worker_without_a_queue_of_its_own_works_all_the_same() {
    let Some((bed, web, app)) = bed("onequeue", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    everything_works(&web, &app);
    let workers = by_worker(&gateway);
    assert!(workers.iter().all(|worker| worker.flows > 2 && worker.forwarded > 100), "{workers:?}");
    assert_eq!(workers[1].handed, 0, "nothing comes in there: {workers:?}");
    all_were_right(gateway);
}

/// A frame that waits on another worker's ring wakes the worker up at once.
#[test]
fn a_worker_that_sleeps_is_woken_by_what_it_owns() {
    let Some((bed, web, app)) = bed("asleep", 1) else { return };
    let gateway = live::start(&bed, &text(1));
    let _echo = app.udp_echo(at(9003)).unwrap();
    let mut slowest = Duration::ZERO;
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
                slowest = slowest.max(sent.elapsed());
            }
        }
    }
    // Not woken, it would have slept for a tenth of a second each time.
    assert!(slowest < Duration::from_millis(95), "{slowest:?}");
    all_were_right(gateway);
}
