//! `bulkhead doctor` in a namespace, before a gateway and beside one.

mod live;
mod root;

use cli::testbed::Bed;
use live::{GatewayFile, Program, hosts, socket, text, wait_until};
use root::may_run;
use serde_json::Value;
use std::path::Path;

/// What it finds, and how it ends.
fn doctor(bed: &Bed, arguments: &[&str], socket: &Path) -> (Option<i32>, Vec<Value>) {
    let mut command = bed.gateway().command(env!("CARGO_BIN_EXE_bulkhead"));
    command.args(["doctor", "-o", "json", "--socket"]).arg(socket).args(arguments);
    let output = command.output().unwrap();
    let answer: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), answer["findings"].as_array().unwrap().clone())
}

fn level<'a>(findings: &'a [Value], subject: &str, check: &str) -> &'a str {
    let found = findings.iter().find(|f| f["subject"] == subject && f["check"] == check);
    found.unwrap_or_else(|| panic!("{subject} {check}: {findings:#?}"))["level"].as_str().unwrap()
}

#[test]
fn a_port_is_found_fit_before_the_gateway_and_beside_it_and_one_that_is_not_there_is_told() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("doctor").unwrap();
    let _hosts = hosts(&mut bed);
    let socket = socket(&bed);
    let file = GatewayFile::new(&bed, &text(r#""tcp/9001""#, "adaptive"));
    let config = ["-c", file.path().to_str().unwrap()];
    // A veth has no carrier in its first moments, and again when a program is attached to it.
    let look = |arguments: &[&str]| {
        wait_until("the link is up", || level(&doctor(&bed, arguments, &socket).1, "trunk0", "link") == "ok");
        doctor(&bed, arguments, &socket)
    };
    let (code, findings) = look(&config);
    assert_eq!(code, Some(0), "{findings:#?}");
    for check in ["link", "xdp-mode", "queues", "mtu", "offloads"] {
        assert_eq!(level(&findings, "trunk0", check), "ok", "{check}: {findings:#?}");
    }
    assert_eq!(level(&findings, "machine", "af-xdp"), "ok");
    assert_eq!(level(&findings, "gateway", "running"), "ok");
    let program = Program::start(&bed, &file, &["--socket", socket.to_str().unwrap()]);
    let (code, findings) = look(&[]);
    assert_eq!(code, Some(0), "{findings:#?}");
    assert_eq!(level(&findings, "gateway", "xdp-in-force"), "ok");
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());

    file.write(
        &text(r#""tcp/9001""#, "adaptive").replace(r#"interface = "trunk0""#, r#"interface = "eth99""#),
    );
    let (code, findings) = doctor(&bed, &config, &socket);
    assert_eq!((code, level(&findings, "trunk0", "interface")), (Some(1), "fail"));
}
