//! Hosts of a test bed with a gateway between them: in this process, or as the program that users run.
#![allow(dead_code)] // Each test program uses its own part.

pub(crate) mod queues;

use cli::config::{self, Configuration};
use cli::run::Gateway;
use cli::testbed::{Bed, Host, HostSpec};
use dataplane::counters::Counters;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// For what has to happen, on a machine that is busy with much else.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// For what must not happen: shorter than the second after which a SYN is sent again.
pub(crate) const BRIEFLY: Duration = Duration::from_millis(600);

/// A file with a gateway's configuration, removed at the end.
pub(crate) struct GatewayFile(PathBuf);

impl GatewayFile {
    pub(crate) fn new(bed: &Bed, text: &str) -> GatewayFile {
        let file = GatewayFile(std::env::temp_dir().join(format!("{}.toml", bed.name())));
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn load(&self) -> Configuration {
        config::load(&self.0).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for GatewayFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A folder of a bed's own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(bed: &Bed) -> Folder {
        let path = std::env::temp_dir().join(format!("{}.d", bed.name()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// The path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway in this process, in the bed's gateway namespace.
pub(crate) fn start(bed: &Bed, text: &str) -> Gateway {
    let configuration = GatewayFile::new(bed, text).load();
    let start = || Gateway::start(configuration, &mut |word| eprintln!("{word}"));
    bed.gateway().enter(start).unwrap_or_else(|error| panic!("{error}"))
}

/// Stops the gateway; its books, which must balance.
pub(crate) fn stop(gateway: Gateway) -> Counters {
    let counters = gateway.stop().unwrap().counters;
    assert!(counters.balance(), "{counters:?}");
    counters
}

/// A host with one address of each family, and the `.1` and `::1` of its networks as routers.
pub(crate) fn host(bed: &mut Bed, name: &str, vlan: u16, v4: &str, v6: &str) -> Host {
    let addresses = vec![format!("{v4}/24").parse().unwrap(), format!("{v6}/64").parse().unwrap()];
    let router_v4 = format!("{}.1", v4.rsplit_once('.').unwrap().0);
    let router_v6 = format!("{}::1", v6.rsplit_once("::").unwrap().0);
    let gateways = vec![router_v4.parse().unwrap(), router_v6.parse().unwrap()];
    let spec = HostSpec { vlan: (vlan != 0).then_some(vlan), addresses, gateways, ..HostSpec::default() };
    bed.host(name, &spec).unwrap()
}

/// A host on VLAN 20.
pub(crate) const APP: &str = "10.0.20.10";

/// A gateway between two VLANs; `services` are what web may use of app.
pub(crate) fn text(services: &str, idle: &str) -> String {
    format!(
        r#"
[workers]
idle = "{idle}"
[[port]]
name = "trunk0"
interface = "trunk0"
[[vlan]]
id = 10
port = "trunk0"
address = ["10.0.10.1/24", "fd00:10::1/64"]
[[vlan]]
id = 20
port = "trunk0"
address = ["10.0.20.1/24", "fd00:20::1/64"]
[segment.web]
members = ["10.0.10.0/24", "fd00:10::/64"]
[segment.app]
members = ["10.0.20.0/24", "fd00:20::/64"]
[[rule]]
id = "served"
from = ["web"]
to = ["app"]
service = [{services}]
action = "allow"
"#
    )
}

/// A service for [`text`].
pub(crate) const PING: &str = r#""icmp/echo-request""#;

/// `web` on VLAN 10, and [`APP`].
pub(crate) fn hosts(bed: &mut Bed) -> (Host, Host) {
    (host(bed, "web", 10, "10.0.10.10", "fd00:10::10"), host(bed, "app", 20, APP, "fd00:20::10"))
}

/// A port of [`APP`].
pub(crate) fn at(port: u16) -> SocketAddr {
    SocketAddr::new(APP.parse().unwrap(), port)
}

/// One question and its answer on a connection to an echo server.
pub(crate) fn asks(mut stream: &TcpStream, timeout: Duration) -> bool {
    stream.set_read_timeout(Some(timeout)).unwrap();
    let mut answer = [0; 5];
    stream.write_all(b"again").unwrap();
    stream.read_exact(&mut answer).is_ok() && &answer == b"again"
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `bulkhead run` as a process of its own, in the bed's gateway namespace.
pub(crate) struct Program {
    child: Child,
    stdout: Option<ChildStdout>,
    said: Arc<Mutex<Vec<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts it and waits until it says that it runs.
    pub(crate) fn start(bed: &Bed, file: &GatewayFile, arguments: &[&str]) -> Program {
        let mut program =
            Program::begin(bed.gateway().command(env!("CARGO_BIN_EXE_bulkhead")), file, arguments);
        program.wait_for("bulkhead: running", 1);
        program
    }

    /// Starts it by a command that ends with its name, and waits for nothing.
    pub(crate) fn begin(mut command: Command, file: &GatewayFile, arguments: &[&str]) -> Program {
        // Unless a test is about them, flows of one gateway are none of another's business.
        let state: &[&str] = if arguments.contains(&"--state") { &[] } else { &["--no-state"] };
        let mut child = command
            .args(["run", "-o", "json", "-c"])
            .arg(file.path())
            // Gateways of several tests run at once.
            .args((!arguments.contains(&"--socket")).then_some("--no-socket"))
            .args(state)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&said));
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let stdout = child.stdout.take();
        Program { child, stdout, said, listener: Some(listener) }
    }

    /// How many lines of its standard error have this in them.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// All that it has said on its standard error.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something so many times.
    pub(crate) fn wait_for(&mut self, text: &str, times: usize) {
        let deadline = Instant::now() + SOON;
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() {
                self.hear_it_out();
            }
            if self.count(text) >= times {
                break;
            }
            assert!(
                Instant::now() < deadline && ended.is_none(),
                "`{text}` is not said; {ended:?}: {:#?}",
                self.said.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        cli::testbed::send_signal(self.child.id(), signal).unwrap();
    }

    /// Waits for its end; how it ended, and what it has written to its standard output.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }

    /// Waits for its end: how it ended, and all that it said on its standard error until then.
    pub(crate) fn wait_and_tell(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        self.hear_it_out();
        (status, self.said())
    }

    /// What it said last may still be on its way when it has ended.
    fn hear_it_out(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where the test has failed; else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ip -d link show`, in the gateway's namespace.
pub(crate) fn link(bed: &Bed, interface: &str) -> String {
    let shown = bed.gateway().command("ip").args(["-d", "link", "show", interface]).output().unwrap();
    assert!(shown.status.success());
    String::from_utf8(shown.stdout).unwrap()
}

/// Where a gateway of the bed is asked.
pub(crate) fn socket(bed: &Bed) -> PathBuf {
    std::env::temp_dir().join(format!("{}.sock", bed.name()))
}

/// What the program answers, and how it ends.
pub(crate) fn bulkhead(socket: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(arguments)
        .arg("--socket")
        .arg(socket)
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// What the program answers to programs; it must end well.
pub(crate) fn json(socket: &Path, arguments: &[&str]) -> Value {
    let (code, text) = bulkhead(socket, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{arguments:?}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}
