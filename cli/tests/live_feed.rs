//! Feeds of a gateway at work: lists that change, break, vanish and come back.

mod live;
mod root;

use cli::testbed::{Bed, TcpOutcome};
use live::{
    BRIEFLY, Folder, GatewayFile, Program, SOON, asks, at, bulkhead, hosts, json, socket, text, wait_until,
};
use root::may_run;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A list beside the gateway file, removed at the end.
struct ListFile(PathBuf);

impl ListFile {
    fn new(bed: &Bed) -> ListFile {
        ListFile(std::env::temp_dir().join(format!("{}.txt", bed.name())))
    }

    fn name(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }

    /// As an inventory should: written beside it, and renamed.
    fn write(&self, text: &str) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, &self.0).unwrap();
    }
}

impl Drop for ListFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn feed(socket: &Path) -> Value {
    json(socket, &["show", "status"])["feeds"][0].clone()
}

#[test]
fn members_come_and_go_with_their_list_and_a_broken_one_changes_nothing() {
    if !may_run() {
        return;
    }
    let mut bed = Bed::new("feed").unwrap();
    let (web, app) = hosts(&mut bed);
    let (socket, list) = (socket(&bed), ListFile::new(&bed));
    let folder = Folder::new(&bed);
    let (state, events) = (folder.path("state"), folder.path("events.jsonl"));
    let text = text(r#""tcp/9001""#, "adaptive").replace(
        r#"members = ["10.0.10.0/24", "fd00:10::/64"]"#,
        &format!("[[feed]]\nsegment = \"web\"\nfile = \"{}\"", list.name()),
    );
    // A test of the policy knows the list.
    let test = "[[test]]\nname = \"web\"\nfrom = \"10.0.10.10\"\nto = \"10.0.20.10\"\nservice = \"tcp/9001\"\nexpect = \"allow\"\n";
    let file = GatewayFile::new(&bed, &format!("{text}\n{test}"));
    list.write("# web servers\n10.0.10.10\n");
    let arguments = ["--socket", socket.to_str().unwrap(), "--state", &state, "--events", &events];
    let mut program = Program::start(&bed, &file, &arguments);
    let _echo = app.tcp_echo(at(9001)).unwrap();
    let connects = |patience| web.tcp_connect(at(9001), patience).unwrap() == TcpOutcome::Connected;
    assert!(connects(SOON));
    assert_eq!(feed(&socket)["members"], 1);
    assert!(bulkhead(&socket, &["segment", "list"]).1.contains("1 members of web are from"));
    assert_eq!(bulkhead(&socket, &["segment", "of", "10.0.10.10"]), (0, "web\n".to_owned()));
    let asked = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.args(words).arg("-c").arg(file.path()).output().unwrap().status.code()
    };
    let question = ["why", "--from", "10.0.10.10", "--to", "10.0.20.10", "--service", "tcp/9001"];
    assert_eq!((asked(&["check"]), asked(&question)), (Some(0), Some(0)));

    // Who leaves the list loses its flows, though the files are as they were.
    let flows = || json(&socket, &["show", "flows", "--rule", "served"])["items"].as_array().unwrap().len();
    let held = web.connect(at(9001), SOON).unwrap();
    assert!(asks(&held, SOON) && flows() > 0);
    list.write("# nobody\n");
    program.wait_for("0 members are in force (0 more, 1 less)", 1);
    assert!(!connects(BRIEFLY));
    assert!(!asks(&held, BRIEFLY));
    assert_eq!((asked(&["check"]), asked(&question)), (Some(1), Some(2)), "its test fails by it");

    // Who enters it is let in.
    list.write("10.0.10.10\n10.0.10.11\n");
    program.wait_for("2 members are in force (2 more, 0 less)", 1);
    assert!(connects(SOON));

    // What is broken changes nothing, and is told of.
    std::fs::write(&list.0, "10.0.10.11\n10.0.10.1").unwrap();
    program.wait_for("it is cut off", 1);
    assert!(feed(&socket)["error"].as_str().unwrap().contains("nothing has changed"));
    assert!(connects(SOON));
    std::fs::remove_file(&list.0).unwrap();
    wait_until("the list is missed", || {
        feed(&socket)["error"].as_str().is_some_and(|why| why.contains("no such file"))
    });
    assert!(connects(SOON));
    assert_eq!(asked(&["check"]), Some(1));

    // An operator's word lies over the list; and a restart without it has what was good last.
    assert_eq!(bulkhead(&socket, &["segment", "remove", "web", "10.0.10.10"]).0, 0);
    assert!(!connects(BRIEFLY));
    assert_eq!(bulkhead(&socket, &["segment", "release", "web", "10.0.10.10"]).0, 0);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let mut program = Program::start(&bed, &file, &arguments);
    assert_eq!(program.count("what it held when it was good last is in force"), 1, "{:#?}", program.said());
    assert_eq!(feed(&socket)["members"], 2);
    assert!(connects(SOON));
    list.write("10.0.10.10\n");
    program.wait_for("1 members are in force (0 more, 1 less)", 1);
    assert_eq!(feed(&socket)["error"], Value::Null);

    // A feed is applied as any other change; one whose list is not there is refused.
    let other = folder.file("other.toml", &text.replace(list.name(), "nowhere.txt"));
    let (code, _) = bulkhead(&socket, &["apply", &other]);
    assert_eq!(code, 4);
    assert_eq!(feed(&socket)["members"], 1);
    program.signal(libc::SIGTERM);
    assert!(program.wait().0.success());
    let told = std::fs::read_to_string(&events).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| told.iter().filter(|line| line["event"] == event).count();
    assert!(count("feed") >= 3 && count("feed-broken") >= 1, "{told:#?}");
    assert!(told.iter().any(|line| line["event"] == "feed" && line["removed"] == json!(1)));
}
