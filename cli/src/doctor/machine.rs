//! The machine: kernel, rights, memory, cores.

use super::{Files, Finding, Findings, Plan};
use std::fmt::Write;

/// AF_XDP with all that a port needs of it.
const OLDEST: (u32, u32) = (5, 10);
/// Memory of BPF and AF_XDP counts for the control group from here on, not against RLIMIT_MEMLOCK.
const WITHOUT_MEMLOCK: (u32, u32) = (5, 11);
/// Frames of a port's queue, of 4 KiB each, and as many in the engine's hands.
const MEMORY_OF_A_QUEUE: u64 = 64 << 20;

/// Capabilities (include/uapi/linux/capability.h) that a gateway needs.
const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (39, "CAP_BPF"), (14, "CAP_IPC_LOCK")];
/// It stands for every other.
const SYS_ADMIN: u32 = 21;

pub(super) fn examine(files: &Files, plan: &Plan) -> Vec<Finding> {
    let mut findings = Findings::about("machine");
    let version = kernel(files, &mut findings);
    bpf(files, &mut findings);
    rights(files, &mut findings);
    memlock(files, plan, version, &mut findings);
    huge_pages(files, &mut findings);
    cores(files, plan, &mut findings);
    governor(files, plan, &mut findings);
    irqbalance(files, plan, &mut findings);
    findings.into_all()
}

fn kernel(files: &Files, findings: &mut Findings<'_>) -> (u32, u32) {
    let release = files.text("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST {
        findings.ok("kernel", format!("Linux {release}"));
    } else {
        let remedy = format!("boot Linux {}.{} or later", OLDEST.0, OLDEST.1);
        findings.fail("kernel", format!("Linux {release}"), remedy);
    }
    version
}

fn bpf(files: &Files, findings: &mut Findings<'_>) {
    let sockets = files.text("proc/net/protocols").unwrap_or_default();
    if sockets.lines().any(|line| line.split_whitespace().next() == Some("XDP")) {
        findings.ok("af-xdp", "the kernel has AF_XDP sockets");
    } else {
        let remedy = "use a kernel with CONFIG_XDP_SOCKETS=y, as those of distributions have it";
        findings.fail("af-xdp", "the kernel has no AF_XDP sockets", remedy);
    }
    match files.text("proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => {
            findings.warn("bpf-jit", "BPF programs are interpreted", "sysctl -w net.core.bpf_jit_enable=1");
        }
        Some(_) => findings.ok("bpf-jit", "BPF programs are compiled"),
        // It can't be switched off where it is not there to see.
        None => {}
    }
}

fn rights(files: &Files, findings: &mut Findings<'_>) {
    let status = files.text("proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| mask & 1 << bit != 0;
    let is_missing = |bit: u32| !has(bit) && !(bit == 39 && has(SYS_ADMIN));
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| is_missing(*bit)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        findings.ok("capabilities", "this user may do all that a gateway must");
    } else {
        let found = format!("this user has not {}", missing.join(", "));
        findings.warn(
            "capabilities",
            found,
            "run the gateway as root, or by a unit with AmbientCapabilities=",
        );
    }
}

fn memlock(files: &Files, plan: &Plan, version: (u32, u32), findings: &mut Findings<'_>) {
    if version >= WITHOUT_MEMLOCK {
        findings.ok("memlock", "this kernel does not count a gateway's memory against the limit");
        return;
    }
    let limits = files.text("proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0").to_owned();
    let needed = MEMORY_OF_A_QUEUE * plan.ports.iter().map(|port| u64::from(port.queues)).sum::<u64>().max(1);
    if soft == "unlimited" || soft.parse::<u64>().is_ok_and(|soft| soft >= needed) {
        findings.ok("memlock", format!("{soft} bytes may be locked"));
    } else {
        let found = format!("{soft} bytes may be locked, about {needed} are needed");
        findings.fail("memlock", found, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit");
    }
}

fn huge_pages(files: &Files, findings: &mut Findings<'_>) {
    let modes = files.text("sys/kernel/mm/transparent_hugepage/enabled");
    let mode = modes.as_deref().and_then(|modes| modes.split(['[', ']']).nth(1));
    match mode {
        Some(mode @ ("always" | "madvise")) => {
            findings.ok("huge-pages", format!("transparent huge pages: {mode}"));
        }
        other => {
            let found = format!("transparent huge pages: {}", other.unwrap_or("not in this kernel"));
            let remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; without them a large flow \
                          table costs time for each packet";
            findings.warn("huge-pages", found, remedy);
        }
    }
}

/// Numbers as the kernel would write them, one by one.
fn list(numbers: &[usize]) -> String {
    let mut text = String::new();
    for number in numbers {
        // Writing to a string can't fail.
        let _ = write!(text, "{}{number}", if text.is_empty() { "" } else { "," });
    }
    text
}

fn cores(files: &Files, plan: &Plan, findings: &mut Findings<'_>) {
    let online = files.numbers("sys/devices/system/cpu/online").unwrap_or_default();
    if plan.cores.is_empty() {
        let remedy = "say `[workers] cores = [..]` in the gateway file, one for each worker";
        findings.warn("cores", format!("no worker is pinned; there are {} cores", online.len()), remedy);
        return;
    }
    let absent: Vec<usize> = plan.cores.iter().copied().filter(|core| !online.contains(core)).collect();
    if !absent.is_empty() {
        let found = format!("there is no core {} here", list(&absent));
        findings.fail("cores", found, format!("choose among the cores {}", list(&online)));
        return;
    }
    findings.ok("cores", format!("workers on {}", list(&plan.cores)));
    let isolated = files.numbers("sys/devices/system/cpu/isolated").unwrap_or_default();
    let shared: Vec<usize> = plan.cores.iter().copied().filter(|core| !isolated.contains(core)).collect();
    if shared.is_empty() {
        findings.ok("isolated-cores", format!("the kernel leaves {} alone", list(&plan.cores)));
    } else {
        let found = format!("other programs may run on {}", list(&shared));
        let remedy = format!("boot with isolcpus={} nohz_full={0} rcu_nocbs={0}", list(&plan.cores));
        findings.warn("isolated-cores", found, remedy);
    }
    let siblings = |core: &usize| {
        let path = format!("sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
        files.numbers(&path).unwrap_or_default()
    };
    let twins: Vec<usize> = plan
        .cores
        .iter()
        .copied()
        .filter(|core| siblings(core).iter().any(|twin| twin != core && plan.cores.contains(twin)))
        .collect();
    if !twins.is_empty() {
        let found = format!("{} share a physical core with another worker", list(&twins));
        findings.warn("hyper-threads", found, "choose one thread of each physical core");
    }
}

fn governor(files: &Files, plan: &Plan, findings: &mut Findings<'_>) {
    let online = files.numbers("sys/devices/system/cpu/online").unwrap_or_default();
    let cores = if plan.cores.is_empty() { &online } else { &plan.cores };
    let of = |core: &usize| files.text(&format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"));
    let slow: Vec<usize> = cores
        .iter()
        .copied()
        .filter(|core| of(core).is_some_and(|governor| governor != "performance"))
        .collect();
    if !slow.is_empty() {
        let found = format!("cores {} may run below their speed", list(&slow));
        findings.warn("governor", found, "cpupower frequency-set -g performance");
    } else if cores.iter().any(|core| of(core).is_some()) {
        findings.ok("governor", "performance");
    } else {
        findings.ok("governor", "the cores' speed is not ours to choose");
    }
}

fn irqbalance(files: &Files, plan: &Plan, findings: &mut Findings<'_>) {
    let is_it =
        |process: &String| files.text(&format!("proc/{process}/comm")).as_deref() == Some("irqbalance");
    if files.names("proc").iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).any(is_it) {
        let cores = if plan.cores.is_empty() { "the workers' cores".to_owned() } else { list(&plan.cores) };
        let remedy = format!("systemctl disable --now irqbalance, or have it leave {cores} alone");
        findings.warn("irqbalance", "irqbalance moves interrupts, also to the workers' cores", remedy);
    } else {
        findings.ok("irqbalance", "it does not run");
    }
}
