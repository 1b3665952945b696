//! A gateway with two workers, and hosts whose flows come in by either queue.

use super::{APP, host};
use crate::root::may_run;
use cli::testbed::{Bed, Host, HostSpec};
use std::net::IpAddr;

/// Hosts on VLAN 10, each an address of `web`: enough that both workers own some of their flows.
pub(crate) const SOURCES: u8 = 16;

/// A gateway with a worker on each of two cores, whose trunk has so many queues.
pub(crate) fn text(queues: u16) -> String {
    let text = super::text(r#""tcp/9000-9010", "udp/9000-9010", "icmp/echo-request""#, "adaptive");
    let text = text.replace("[workers]\n", "[workers]\ncores = [0, 1]\n");
    text.replace("interface = \"trunk0\"\n", &format!("interface = \"trunk0\"\nqueues = {queues}\n"))
}

/// A bed with [`SOURCES`] and an application, where this machine has the cores and the rights for it.
pub(crate) fn bed(name: &str, queues: u16) -> Option<(Bed, Host, Host)> {
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
pub(crate) fn queue_by_core(bed: &Bed) {
    let set = "for n in 0 1; do echo $((1 << n)) > /sys/class/net/t0/queues/tx-$n/xps_cpus; done";
    let name = format!("{}-switch", bed.name());
    let status = std::process::Command::new("ip").args(["netns", "exec", &name, "sh", "-c", set]).status();
    assert!(status.unwrap().success(), "the kernel has no XPS");
}

/// Runs something on a core.
pub(crate) fn on_core<T>(core: usize, code: impl FnOnce() -> T) -> T {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: core }));
    code()
}

/// An address of the hosts on VLAN 10.
pub(crate) fn source(n: u8) -> IpAddr {
    format!("10.0.10.{}", 10 + n).parse().unwrap()
}
