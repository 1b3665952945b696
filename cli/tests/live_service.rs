//! The program as a service: what the service manager is told, what it may do, and what becomes of workers that die.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{APP, GatewayFile, PING, Program, SOON, at, hosts, link, socket, text, wait_until};
use root::may_run;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

fn unit() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("configs/systemd/bulkhead.service")).unwrap()
}

/// The capabilities that the unit gives.
fn capabilities() -> Vec<String> {
    let unit = unit();
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let given = line("AmbientCapabilities=");
    assert_eq!(given, line("CapabilityBoundingSet="));
    given.split_whitespace().map(|name| name.strip_prefix("CAP_").unwrap().to_lowercase()).collect()
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    if !found.status.success() {
        eprintln!("skipped: there is no {program}");
    }
    found.status.success()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("bulkhead-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("bulkhead.service");
    // Where it will be installed there is none yet.
    std::fs::write(&path, unit().replace("/usr/bin/bulkhead", env!("CARGO_BIN_EXE_bulkhead"))).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(verified.status.success() && !said.contains("bulkhead"), "{said}");
}

/// Where a service manager listens. (Not by an abstract name: those are of one network namespace.)
struct Manager(UnixDatagram, PathBuf);

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

impl Manager {
    fn new(name: &str) -> Manager {
        let path = std::env::temp_dir().join(format!("bulkhead-notify-{name}-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Manager(socket, path)
    }

    fn next(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    fn wait_for(&self, line: &str) {
        wait_until(line, || self.next().as_deref() == Some(line));
    }

    fn start(&self, bed: &Bed, file: &GatewayFile, extra: &[(&str, &str)]) -> Program {
        let mut command = bed.gateway().command(env!("CARGO_BIN_EXE_bulkhead"));
        command.env("NOTIFY_SOCKET", &self.1).env("WATCHDOG_USEC", "1000000");
        command.envs(extra.iter().copied());
        Program::begin(command, file, &[])
    }
}

#[test]
fn the_service_manager_is_told_of_the_start_of_life_and_of_the_end() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("notify").unwrap();
    let (web, _app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let manager = Manager::new("notify");
    let program = manager.start(&bed, &file, &[]);
    manager.wait_for("READY=1");
    assert!(web.ping(APP.parse().unwrap(), SOON).unwrap().is_answered(), "it is ready when it says so");
    let started = Instant::now();
    for _ in 0..5 {
        manager.wait_for("WATCHDOG=1");
    }
    // One within each second is what the manager was promised.
    assert!(started.elapsed() < Duration::from_secs(5), "five signs of life in {:?}", started.elapsed());
    program.signal(libc::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert!(program.wait().0.success());
}

#[test]
fn a_worker_that_panics_takes_the_process_down_and_leaves_nothing_behind() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("panics").unwrap();
    let (_web, _app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let manager = Manager::new("panics");
    let started = Instant::now();
    let program = manager.start(&bed, &file, &[("BULKHEAD_TEST_WORKER", "panics")]);
    manager.wait_for("STOPPING=1");
    let (status, said) = program.wait_and_tell();
    assert_eq!(status.code(), Some(2), "systemd restarts it on failure: {said:#?}");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(
        said.iter().any(|line| line.contains("a worker died; nothing is forwarded any more")),
        "{said:#?}"
    );
    assert!(!link(&bed, "trunk0").contains("xdp"));
    // And the next one starts.
    let program = Program::start(&bed, &file, &[]);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_worker_that_hangs_ends_the_signs_of_life() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("hangs").unwrap();
    let (_web, _app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(PING, "adaptive"));
    let manager = Manager::new("hangs");
    let mut program = manager.start(&bed, &file, &[("BULKHEAD_TEST_WORKER", "hangs")]);
    program.wait_for("a worker or the main thread does not answer", 1);
    while manager.next().is_some() {}
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert_eq!(manager.next(), None);
    }
    // As systemd does then.
    program.signal(libc::SIGABRT);
    assert!(!program.wait().0.success());
}

#[test]
fn at_work_it_reads_and_writes_its_own_folders_and_no_others() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("sandbox").unwrap();
    let (_web, _app) = hosts(&mut bed);
    let socket = socket(&bed);
    let text = text(PING, "adaptive");
    let file = GatewayFile::new(&bed, &text);
    // A place that root may read, and that is no business of a gateway.
    let elsewhere = std::path::Path::new("/var/tmp").join(format!("{}.txt", bed.name()));
    let own = std::env::temp_dir().join(format!("{}-own.txt", bed.name()));
    for list in [&elsewhere, &own] {
        std::fs::write(list, "10.0.10.10\n").unwrap();
    }
    let apply = |list: &std::path::Path| {
        let path = std::env::temp_dir().join(format!("{}-feed.toml", bed.name()));
        let feed = format!("[[feed]]\nsegment = \"web\"\nfile = \"{}\"\n", list.display());
        std::fs::write(&path, format!("{text}\n{feed}")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
            .args(["apply", path.to_str().unwrap(), "--socket", socket.to_str().unwrap()])
            .output()
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    if program.count("keeps the whole file system") > 0 {
        eprintln!("skipped: {:#?}", program.said());
        return;
    }
    let (code, said) = apply(&elsewhere);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(apply(&own).0, Some(0));
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    // Told to, it keeps what it may as root.
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap(), "--no-sandbox"]);
    let (code, said) = apply(&elsewhere);
    assert_eq!(code, Some(0), "{said}");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    for list in [&elsewhere, &own] {
        std::fs::remove_file(list).unwrap();
    }
}

/// Runs the program as nobody, with these capabilities alone.
fn start_with(bed: &Bed, file: &GatewayFile, capabilities: &[String]) -> Program {
    let set = |sign: &str, names: &[String]| names.iter().map(|n| format!(",{sign}{n}")).collect::<String>();
    let given = format!("-all{}", set("+", capabilities));
    let mut command = bed.gateway().command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    command.args(["--inh-caps", &given, "--ambient-caps", &given, "--bounding-set", &given]);
    // What the unit's LimitMEMLOCK gives must not be what lets it lock memory here.
    command.arg("prlimit").arg("--memlock=65536:65536").arg(program_for_all(bed).0);
    Program::begin(command, file, &[])
}

/// The program where nobody may run it: a build folder may be root's alone.
struct Copy(PathBuf);

fn program_for_all(bed: &Bed) -> Copy {
    let path = std::env::temp_dir().join(format!("{}-program", bed.name()));
    if !path.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_bulkhead"), &path).unwrap();
    }
    Copy(path)
}

#[test]
fn the_capabilities_of_the_unit_are_enough_and_none_is_too_many() {
    if !may_run() || !has("setpriv") {
        return;
    }
    let mut bed = Bed::new("caps").unwrap();
    let (web, app) = hosts(&mut bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let all = capabilities();
    let mut program = start_with(&bed, &file, &all);
    program.wait_for("bulkhead: running", 1);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    for left_out in 0..all.len() {
        let mut fewer = all.clone();
        let name = fewer.remove(left_out);
        let program = start_with(&bed, &file, &fewer);
        let (status, _) = program.wait();
        assert!(!status.success(), "it runs without {name}");
    }
    let _ = std::fs::remove_file(program_for_all(&bed).0);
}
