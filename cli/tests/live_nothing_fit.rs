//! A gateway that has no configuration that is fit: it lets nothing pass, says so, and comes to life by `apply`.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{
    BRIEFLY, Folder, GatewayFile, Program, SOON, at, bulkhead, hosts, json, socket, text, wait_until,
};
use root::may_run;
use serde_json::{Value, json};
use std::path::Path;

fn status(socket: &Path) -> Value {
    json(socket, &["show", "status"])
}

fn good() -> String {
    text(r#""tcp/9001""#, "adaptive")
}

#[test]
fn a_broken_file_lets_nothing_pass_on_its_ports_until_a_good_one_is_applied() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("bare").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let file = GatewayFile::new(&bed, &format!("{}\n[[rule]]\nid = 7\n", good()));
    let state = folder.path("state");
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state];
    let program = Program::start(&bed, &file, &arguments);
    assert_eq!(
        program.count("error: nothing may pass: the gateway file is not fit"),
        1,
        "{:#?}",
        program.said()
    );
    assert!(status(&socket)["deny_all"].is_string());
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    let drops = json(&socket, &["show", "drops"]);
    let dropped = drops["items"].as_array().unwrap().iter().find(|item| item["reason"] == "unknown-vlan");
    assert!(dropped.unwrap()["frames"].as_u64().unwrap() > 0, "{drops:#}");

    // Also while it is to be confirmed, it passes; and then nothing does, for nothing was in force before.
    let good = folder.file("good.toml", &good());
    assert_eq!(bulkhead(&socket, &["apply", &good, "--confirm=5s"]).0, 0);
    assert_eq!(status(&socket)["deny_all"], Value::Null);
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    wait_until("what was not confirmed is taken back", || status(&socket)["deny_all"].is_string());
    assert_eq!(web.tcp_connect(at(9001), BRIEFLY).unwrap(), TcpOutcome::TimedOut);

    assert_eq!(bulkhead(&socket, &["apply", &good]).0, 0);
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    let history = json(&socket, &["history"]);
    let actions: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["deny-all", "apply", "deny-all", "apply"]);

    // The file is still broken: the next start has what was applied.
    program.signal(libc::SIGKILL);
    drop(program);
    let program = Program::start(&bed, &file, &arguments);
    assert_eq!(program.count("the gateway file is not fit"), 1, "{:#?}", program.said());
    assert_eq!(status(&socket)["deny_all"], Value::Null);
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_gateway_that_knows_no_port_opens_those_that_are_applied() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("noport").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let file = GatewayFile::new(&bed, "this is [ nothing");
    let state = folder.path("state");
    let metrics = "--metrics=127.0.0.1:0";
    let program =
        Program::start(&bed, &file, &["--socket", socket.to_str().unwrap(), "--state", &state, metrics]);
    let before = status(&socket);
    assert!(before["deny_all"].is_string());
    assert_eq!(before["ports"], 0);
    // An order goes on being followed by its client over the renewal.
    let good = folder.file("good.toml", &good());
    let missing = folder.file(
        "missing.toml",
        &std::fs::read_to_string(&good)
            .unwrap()
            .replace("interface = \"trunk0\"", "interface = \"nowhere0\""),
    );
    assert_eq!(bulkhead(&socket, &["apply", &missing]).0, 4);
    assert!(status(&socket)["deny_all"].is_string());
    let applied = json(&socket, &["apply", &good]);
    assert_eq!(applied["version"], json!(2), "the first was refused: {applied:#}");
    wait_until("the gateway is the new one", || status(&socket)["ports"] == 1);
    assert_eq!(status(&socket)["deny_all"], Value::Null);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    wait_until("its events are told", || {
        let told = json(&socket, &["observe", "--last", "10"]);
        told["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(|item| item["destination"] == live::APP))
    });
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}

#[test]
fn a_fit_file_without_ports_is_run_and_gets_those_that_are_applied() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("empty").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    // As the package brings it.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian/gateway.toml");
    let file = GatewayFile::new(&bed, &std::fs::read_to_string(sample).unwrap());
    let state = folder.path("state");
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state];
    let program = Program::start(&bed, &file, &arguments);
    assert_eq!(status(&socket)["deny_all"], Value::Null);
    let good = folder.file("good.toml", &good());
    // Not confirmed, its ports are let go again.
    assert_eq!(bulkhead(&socket, &["apply", &good, "--confirm=4s"]).0, 0);
    assert!(live::link(&bed, "trunk0").contains("xdp"));
    // While one gateway takes the place of another, who asks may be told to ask again.
    wait_until("what was not confirmed is taken back", || {
        let (code, text) = bulkhead(&socket, &["show", "status", "-o", "json"]);
        code == 0 && serde_json::from_str::<Value>(&text).unwrap()["ports"] == 0
    });
    assert!(!live::link(&bed, "trunk0").contains("xdp"));
    assert_eq!(bulkhead(&socket, &["apply", &good, "--confirm=60s"]).0, 0);
    assert_eq!(status(&socket)["ports"], 1);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    assert_eq!(bulkhead(&socket, &["confirm"]).0, 0);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let program = Program::start(&bed, &file, &arguments);
    assert_eq!(status(&socket)["ports"], 1);
    assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
}
