//! A gateway at work with many rules: what is done beside the files changes its tables in place, and says so.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{
    BRIEFLY, Folder, GatewayFile, Program, SOON, at, bulkhead, hosts, json, socket, text, wait_until,
};
use root::may_run;
use serde_json::{Value, json};

/// Rules beside those of the bed.
const RULES: usize = 5_000;

/// Rules between segments that nobody is in whom the test asks.
fn many() -> String {
    let segment = |n| format!("[segment.other-{n}]\nmembers = [\"10.64.{n}.0/24\", \"fd00:64:{n}::/64\"]\n");
    let rule = |n: usize| {
        let (from, to, port) = (n % 100, n / 7 % 100, 1024 + n % 97);
        format!(
            "[[rule]]\nid = \"many-{n}\"\nfrom = [\"other-{from}\"]\nto = [\"other-{to}\"]\n\
             service = [\"tcp/{port}\"]\naction = \"allow\"\n"
        )
    };
    (0..100).map(segment).chain((0..RULES).map(rule)).collect()
}

#[test]
fn what_is_done_beside_the_files_is_done_in_place() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("inplace").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, folder) = (socket(&bed), Folder::new(&bed));
    let (state, events) = (folder.path("state"), folder.path("events.jsonl"));
    let file = GatewayFile::new(&bed, &format!("{}{}", text(r#""tcp/9001""#, "adaptive"), many()));
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state, "--events", &events];
    let mut program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let can = || assert_eq!(web.tcp_connect(at(9001), SOON).unwrap(), TcpOutcome::Connected);
    let cannot = || assert_eq!(web.tcp_connect(at(9001), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    let status = || json(&socket, &["show", "status"]);
    let say = |arguments: &[&str]| {
        let (code, text) = bulkhead(&socket, arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        status()["tables"].clone()
    };
    let in_place = |tables: &Value| {
        assert_eq!((&tables["in_place"], &tables["why_compiled"]), (&json!(true), &Value::Null), "{tables}");
    };
    can();
    let before = status();
    assert_eq!(before["tables"], Value::Null);

    // The first change compiles, and is told why.
    let first = say(&["segment", "add", "other-1", "10.65.0.1"]);
    assert_eq!(first["in_place"], json!(false));
    assert!(first["why_compiled"].as_str().unwrap().contains("first change"), "{first}");

    // The others change what is there.
    in_place(&say(&["segment", "remove", "web", "10.0.10.10"]));
    cannot();
    in_place(&say(&["segment", "release", "web", "10.0.10.10"]));
    can();
    in_place(&say(&["quarantine", "10.0.10.10"]));
    cannot();
    let rules = json(&socket, &["show", "rules"]);
    let ids: Vec<&Value> = rules["items"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert_eq!(ids[..2], [&json!("quarantine-from:10.0.10.10"), &json!("quarantine-to:10.0.10.10")]);
    let hits = &rules["items"][0]["drops"];
    assert!(hits.as_u64().unwrap() > 0, "what it drops is counted to it: {hits}");
    assert_eq!(status()["rules"], json!(before["rules"].as_u64().unwrap() + 2));
    in_place(&say(&["release", "10.0.10.10"]));
    can();
    assert_eq!(status()["rules"], before["rules"]);
    in_place(&say(&["quarantine", "10.0.10.10", "--for", "1s"]));
    program.wait_for("the time is over", 1);
    can();
    in_place(&say(&["mode", "app", "monitor"]));
    assert_eq!(web.tcp_connect(at(22), SOON).unwrap(), TcpOutcome::Refused);
    in_place(&say(&["mode", "app", "file"]));
    assert_eq!(web.tcp_connect(at(22), BRIEFLY).unwrap(), TcpOutcome::TimedOut);
    in_place(&say(&["segment", "release", "other-1", "10.65.0.1"]));
    let rules = json(&socket, &["show", "rules"]);
    assert_eq!(rules["items"][0]["id"], json!("served"), "as the file has them");

    // Another file is compiled, and with it the next change.
    assert_eq!(bulkhead(&socket, &["apply", file.path().to_str().unwrap()]).0, 0);
    assert_eq!(status()["tables"], Value::Null);
    assert_eq!(say(&["segment", "add", "other-1", "10.65.0.1"])["in_place"], json!(false));
    in_place(&say(&["segment", "add", "other-1", "10.65.0.2"]));
    can();
    wait_until("it is told of", || program.count("tables changed in place in") >= 9);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let told = std::fs::read_to_string(&events).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let in_place = told.iter().filter(|line| line["event"] == "tables" && line["in_place"] == json!(true));
    assert!(in_place.count() >= 9);
}
