//! Machines that are made up: folders as the kernel has them, and cards that say what they are told to.

use super::{Cards, Finding, Level, Plan, examine};
use classifier::addr::Mac;
use dataplane::port::xdp::{Interface, LinkState};
use dataplane::topology::{PortConfig, XdpMode};
use std::io;
use std::path::PathBuf;

/// A folder that is the root of a machine.
struct Machine(PathBuf);

impl Machine {
    /// One that is fit, for workers on cores 2 and 3.
    fn fit(name: &str) -> Machine {
        let root = std::env::temp_dir().join(format!("bulkhead-doctor-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let machine = Machine(root);
        machine.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64");
        machine.write("proc/net/protocols", "protocol  size sockets\nUDP 1 1\nXDP       960      0\n");
        machine.write("proc/sys/net/core/bpf_jit_enable", "1");
        machine.write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n");
        machine.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
        machine.write("sys/devices/system/cpu/online", "0-3");
        machine.write("sys/devices/system/cpu/isolated", "2-3");
        for core in 0..4 {
            let folder = format!("sys/devices/system/cpu/cpu{core}");
            machine.write(&format!("{folder}/cpufreq/scaling_governor"), "performance");
            machine.write(&format!("{folder}/topology/thread_siblings_list"), &core.to_string());
        }
        machine.write("sys/class/net/eth1/device/numa_node", "0");
        machine.write("sys/devices/system/node/node0/cpulist", "0-3");
        machine.write("proc/17/comm", "sshd");
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }

    /// Whatever is not ok, with its check.
    fn faults(&self, card: &Card, plan: &Plan) -> Vec<(&'static str, Level)> {
        let findings = examine(&self.0, card, plan);
        assert!(findings.iter().all(|f| f.remedy.is_some() == (f.level != Level::Ok)), "{findings:#?}");
        findings.iter().filter(|f| f.level != Level::Ok).map(|f: &Finding| (f.check, f.level)).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The one card, eth1.
#[derive(Clone)]
struct Card {
    interface: Interface,
    offloads: Vec<&'static str>,
    symmetric: Option<bool>,
}

impl Card {
    fn fit() -> Card {
        let interface = Interface {
            name: "eth1".to_owned(),
            index: 2,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            driver: "ice".to_owned(),
            receive_queues: 2,
            transmit_queues: 2,
            state: LinkState::Up,
        };
        Card { interface, offloads: vec!["rx-lro", "rx-checksum"], symmetric: Some(true) }
    }
}

impl Cards for Card {
    fn interface(&self, name: &str) -> io::Result<Interface> {
        if name == self.interface.name {
            Ok(self.interface.clone())
        } else {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        }
    }

    fn offloads(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(self.offloads.iter().map(|name| (*name).to_owned()).collect())
    }

    fn is_symmetric(&self, _: &str) -> io::Result<bool> {
        self.symmetric.ok_or_else(|| io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

fn plan() -> Plan {
    let port = PortConfig {
        name: "trunk0".to_owned(),
        interface: "eth1".to_owned(),
        queues: 2,
        xdp: XdpMode::Auto,
        mac: None,
        mtu: None,
    };
    Plan { ports: vec![port], cores: vec![2, 3], is_running: false }
}

#[test]
fn a_machine_that_is_fit_has_no_fault() {
    let machine = Machine::fit("fit");
    assert_eq!(machine.faults(&Card::fit(), &plan()), []);
    let findings = examine(&machine.0, &Card::fit(), &plan());
    let offloads = findings.iter().find(|f| f.check == "offloads").unwrap();
    assert_eq!((offloads.subject.as_str(), offloads.found.contains("rx-lro")), ("trunk0", true));
}

#[test]
fn each_fault_of_a_machine_is_found_and_no_other() {
    for (number, (path, text, fault)) in [
        ("proc/sys/kernel/osrelease", "4.19.0", vec![("kernel", Level::Fail), ("memlock", Level::Fail)]),
        ("proc/sys/kernel/osrelease", "5.10.0-28", vec![("memlock", Level::Fail)]),
        ("proc/net/protocols", "UDP 1 1", vec![("af-xdp", Level::Fail)]),
        ("proc/sys/net/core/bpf_jit_enable", "0", vec![("bpf-jit", Level::Warn)]),
        ("proc/self/status", "CapEff:\t0000000000000400", vec![("capabilities", Level::Warn)]),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]",
            vec![("huge-pages", Level::Warn)],
        ),
        ("sys/devices/system/cpu/online", "0-2", vec![("cores", Level::Fail)]),
        ("sys/devices/system/cpu/isolated", "3", vec![("isolated-cores", Level::Warn)]),
        (
            "sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
            "2-3",
            vec![("hyper-threads", Level::Warn)],
        ),
        (
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
            "powersave",
            vec![("governor", Level::Warn)],
        ),
        ("sys/devices/system/node/node0/cpulist", "0,1", vec![("numa", Level::Warn)]),
        ("proc/4711/comm", "irqbalance", vec![("irqbalance", Level::Warn)]),
    ]
    .into_iter()
    .enumerate()
    {
        let machine = Machine::fit(&format!("fault{number}"));
        machine.write(
            "proc/self/limits",
            "Max locked memory         65536                65536                bytes",
        );
        machine.write(path, text);
        assert_eq!(machine.faults(&Card::fit(), &plan()), fault, "{path}: {text}");
    }
    let machine = Machine::fit("unlimited");
    machine.write("proc/sys/kernel/osrelease", "5.10.0");
    machine.write(
        "proc/self/limits",
        "Max locked memory         unlimited            unlimited            bytes",
    );
    assert_eq!(machine.faults(&Card::fit(), &plan()), []);
    let unpinned = Plan { cores: Vec::new(), ..plan() };
    assert_eq!(machine.faults(&Card::fit(), &unpinned), [("cores", Level::Warn)]);
}

#[test]
fn each_fault_of_a_port_is_found_and_no_other() {
    let machine = Machine::fit("ports");
    let card = |change: &dyn Fn(&mut Card)| {
        let mut card = Card::fit();
        change(&mut card);
        machine.faults(&card, &plan())
    };
    assert_eq!(card(&|c| c.interface.name = "eth2".to_owned()), [("interface", Level::Fail)]);
    assert_eq!(card(&|c| c.interface.state = LinkState::NoCarrier), [("link", Level::Warn)]);
    assert_eq!(card(&|c| c.interface.state = LinkState::Down), []);
    assert_eq!(card(&|c| c.interface.driver = "e1000e".to_owned()), [("xdp-mode", Level::Warn)]);
    assert_eq!(card(&|c| c.interface.driver = "veth".to_owned()), []);
    assert_eq!(card(&|c| c.interface.receive_queues = 1), [("queues", Level::Fail)]);
    assert_eq!(card(&|c| c.interface.receive_queues = 8), [("queues", Level::Fail)]);
    assert_eq!(card(&|c| c.symmetric = Some(false)), [("rss", Level::Warn)]);
    assert_eq!(card(&|c| c.symmetric = None), [("rss", Level::Warn)]);
    assert_eq!(card(&|c| c.interface.mtu = 9000), [("mtu", Level::Fail)]);
    let port = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        machine.faults(&Card::fit(), &plan)
    };
    assert_eq!(port(&|p| p.ports[0].mtu = Some(9000)), [("mtu", Level::Fail)]);
    assert_eq!(port(&|p| p.ports[0].xdp = XdpMode::Skb), [("xdp-mode", Level::Warn)]);
    assert_eq!(port(&|p| p.ports[0].xdp = XdpMode::ZeroCopy), []);
    let down =
        Card { interface: Interface { state: LinkState::Down, ..Card::fit().interface }, ..Card::fit() };
    let running = Plan { is_running: true, ..plan() };
    assert_eq!(machine.faults(&down, &running), [("link", Level::Fail)]);
    let mut veth = Card::fit();
    veth.interface.driver = "veth".to_owned();
    let mut zero_copy = plan();
    zero_copy.ports[0].xdp = XdpMode::ZeroCopy;
    assert_eq!(machine.faults(&veth, &zero_copy), [("xdp-mode", Level::Warn)]);
}
