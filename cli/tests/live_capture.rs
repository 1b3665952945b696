//! `bulkhead capture` on a gateway at work.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use dataplane::port::capture::Capture;
use live::{BRIEFLY, GatewayFile, Program, SOON, at, hosts, text, wait_until};
use root::may_run;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The files of a test, taken away at its end.
struct Files {
    socket: PathBuf,
    file: PathBuf,
}

impl Files {
    fn new(bed: &Bed) -> Files {
        let path = |ending: &str| std::env::temp_dir().join(format!("{}.{ending}", bed.name()));
        Files { socket: path("sock"), file: path("pcapng") }
    }

    /// `bulkhead capture`, once it is at work.
    fn capture(&self, arguments: &[&str]) -> Child {
        let _ = std::fs::remove_file(&self.file);
        let mut child = self.begin(arguments);
        // The first word of the gateway has the file's beginning written. It may not have noticed yet that the one
        // before has gone.
        wait_until("the capture begins", || {
            if child.try_wait().unwrap().is_some_and(|status| !status.success()) {
                child = self.begin(arguments);
            }
            std::fs::metadata(&self.file).is_ok_and(|file| file.len() > 0)
        });
        child
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_bulkhead"))
            .args(["capture", "-w"])
            .arg(&self.file)
            .arg("--socket")
            .arg(&self.socket)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Whether a frame to this port is in the file, which may be in the making.
    fn has(&self, port: u16) -> bool {
        let is_to = |record: &[u8]| classifier::wire::Packet::parse(record).destination_port == port;
        Capture::read(&self.file).is_ok_and(|capture| capture.records().any(|record| is_to(record.data)))
    }

    /// The destination ports of the TCP frames in the file, and how often a text is in it.
    fn read(&self, text: &str) -> (Vec<u16>, usize) {
        let capture = Capture::read(&self.file).unwrap_or_else(|error| panic!("{error}"));
        let ports = capture.records().filter_map(|record| {
            let packet = classifier::wire::Packet::parse(record.data);
            (packet.protocol == 6).then_some(packet.destination_port)
        });
        let bytes = std::fs::read(&self.file).unwrap();
        let found = bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        (ports.collect(), found)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn end(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn tcpdump(file: &Path) -> Option<String> {
    let output = Command::new("tcpdump").args(["-nn", "-e", "-r"]).arg(file).output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn what_is_judged_is_captured_by_every_filter_with_its_verdict() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("capture").unwrap();
    let (web, app) = hosts(&mut bed);
    let files = Files::new(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", files.socket.to_str().unwrap()]);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let traffic = || {
        assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
        assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    };
    let finish = |child: Child, port: u16| {
        // What is on its way is told five times a second.
        wait_until("the frame is in the file", || files.has(port));
        std::thread::sleep(Duration::from_millis(500));
        cli::testbed::send_signal(child.id(), libc::SIGINT).unwrap();
        let (is_well, said) = end(child);
        assert!(is_well && said.contains(", 0 lost"), "{said}");
    };

    let child = files.capture(&["--drops"]);
    // One at a time.
    let other = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["capture", "-w", "/dev/null", "--for", "1s", "--socket"])
        .arg(&files.socket)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(other.code(), Some(4));
    traffic();
    finish(child, 22);
    // Once or, where the machine is slow, sent again.
    let (ports, found) = files.read("drop default-deny from=web to=app");
    assert!(found > 0 && ports == vec![22; found], "{ports:?}, {found}");
    if let Some(text) = tcpdump(&files.file) {
        assert!(
            text.contains("10.0.10.10") && text.contains("10.0.20.10.22:") && text.contains("vlan 10"),
            "{text}"
        );
    }

    for (filter, is_of) in [
        (&["--rule", "served"][..], 9001),
        (&["--verdict", "forward", "--service", "tcp/9001"], 9001),
        (&["--service", "tcp/22", "--from", "web", "--to", "10.0.20.0/24"], 22),
        (&["--reason", "default-deny", "--to", "segment:app", "--service", "tcp/22"], 22),
        (&["--rule", "default", "--from", "10.0.10.10", "--service", "tcp/22"], 22),
    ] {
        let child = files.capture(filter);
        traffic();
        finish(child, is_of);
        let (ports, _) = files.read("rule");
        assert!(ports.contains(&is_of), "{filter:?}: {ports:?}");
        // The way back is from 9001 to another port.
        let other = if is_of == 22 { 9001 } else { 22 };
        assert!(!ports.contains(&other), "{filter:?}: {ports:?}");
    }

    // By number, cut off, and by time.
    let child = files.capture(&["--rule", "served", "--count", "3", "--snaplen", "40"]);
    traffic();
    let (is_well, said) = end(child);
    assert!(is_well && said.contains("3 frames captured"), "{said}");
    let (_, served) = files.read("forward rule=served");
    assert_eq!(served, 3);
    let (is_well, said) = end(files.capture(&["--for", "1s", "--reason", "martian"]));
    assert!(is_well && said.contains("0 frames captured, 0 lost"), "{said}");
    for wrong in [&["--reason", "default-denny"][..], &["--rule", "nobody"], &["--from", "nobody"]] {
        let status = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
            .args(["capture", "-w", "/dev/null", "--socket"])
            .arg(&files.socket)
            .args(wrong)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{wrong:?}");
    }
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_capture_that_is_killed_leaves_the_gateway_free_for_the_next() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("capkill").unwrap();
    let _hosts = hosts(&mut bed);
    let files = Files::new(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let program = Program::start(&bed, &file, &["--socket", files.socket.to_str().unwrap()]);
    let mut child = files.capture(&[]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("another may capture", || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(["capture", "-w", "/dev/null", "--for", "1s", "--socket"]).arg(&files.socket);
        command.stderr(Stdio::null()).status().unwrap().success()
    });
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
