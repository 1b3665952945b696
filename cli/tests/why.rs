//! `bulkhead why`, through the program: the words and the JSON of each case stand in `cli/tests/why`.
//!
//! `BULKHEAD_BLESS=1 cargo test -p bulkhead --test why` writes them anew: read the difference before you commit it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Name, exit status, gateway file, from, to, service, and what else is given.
type Case = (&'static str, i32, &'static str, [&'static str; 3], &'static [&'static str]);

const CASES: &[Case] = &[
    ("allow", 0, "gateway", ["10.0.10.5", "10.0.20.5", "tcp/443"], &[]),
    ("allow-ipv6-ping", 0, "gateway", ["fd00:10::5", "fd00:20::5", "ping"], &[]),
    ("default", 1, "gateway", ["10.0.20.5", "10.0.10.5", "udp/53"], &[]),
    ("deny-by-rule", 1, "gateway", ["10.0.10.66", "10.0.20.5", "tcp/443"], &[]),
    ("reject-by-rule", 1, "gateway", ["10.0.10.5", "10.0.20.5", "tcp/23"], &[]),
    ("pass-and-recorded", 1, "gateway", ["10.0.10.5", "10.0.20.70", "tcp/23"], &[]),
    ("other-service", 1, "gateway", ["10.0.10.5", "10.0.20.5", "tcp/22"], &[]),
    ("softened", 0, "gateway", ["10.0.10.5", "10.9.1.1", "proto/47"], &[]),
    ("before-it-expires", 0, "gateway", ["10.0.10.5", "10.0.20.5", "tcp/8080"], &[]),
    ("expired", 1, "gateway", ["10.0.10.5", "10.0.20.5", "tcp/8080"], &["--at", "2099-01-01T00:00:00Z"]),
    ("stitched", 0, "gateway", ["10.1.0.5", "10.1.0.7@printers", "tcp/631"], &[]),
    ("stitched-elsewhere", 1, "gateway", ["10.1.0.5", "10.1.0.7@cameras", "tcp/631"], &[]),
    ("stitch-to-routed", 1, "gateway", ["10.1.0.5", "10.0.20.5@app-net", "tcp/80"], &[]),
    ("spoofed", 0, "gateway", ["10.0.20.9@web-net", "10.0.20.5", "tcp/443"], &[]),
    ("not-bound", 1, "gateway", ["10.0.30.12", "10.0.20.5", "tcp/443"], &[]),
    ("no-route", 1, "gateway", ["10.0.10.5", "192.0.2.1", "tcp/443"], &[]),
    ("same-vlan", 1, "gateway", ["10.0.10.5", "10.0.10.6", "tcp/443"], &[]),
    ("gateway-itself", 0, "gateway", ["10.0.10.5", "10.0.20.1", "tcp/443"], &[]),
    ("gateway-pinged", 0, "gateway", ["10.0.10.5", "10.0.20.1", "ping"], &[]),
    ("icmp-error", 1, "gateway", ["10.0.10.5", "10.0.20.5", "icmp/destination-unreachable/4"], &[]),
    ("source-unknown", 1, "gateway", ["192.0.2.1", "10.0.20.5", "tcp/443"], &[]),
    ("other-egress", 0, "gateway", ["10.0.10.5", "10.0.20.5@trunk0.30", "tcp/443"], &[]),
    ("source-port", 1, "gateway", ["10.0.20.5", "10.0.10.5", "udp/53"], &["--source-port", "53"]),
    ("monitor-rule", 0, "monitor", ["10.1.0.5", "10.2.0.5", "tcp/23"], &[]),
    ("monitor-default", 0, "monitor", ["10.1.0.5", "10.2.0.5", "tcp/22"], &[]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/why")
}

fn bulkhead(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bulkhead")).args(arguments).current_dir(folder()).output().unwrap()
}

fn why(gateway: &str, [from, to, service]: [&str; 3], extra: &[&str]) -> Output {
    let file = format!("{gateway}.toml");
    let mut arguments = vec!["why", "-c", &file, "--from", from, "--to", to, "--service", service];
    arguments.extend(extra);
    if !extra.contains(&"--at") {
        arguments.extend(["--at", "2026-01-01T00:00:00Z"]);
    }
    bulkhead(&arguments)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn compare(path: &Path, said: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        std::fs::write(path, said).unwrap();
    } else if std::fs::read_to_string(path).unwrap_or_default() != said {
        wrong.push(format!("{}:\n{said}", path.display()));
    }
}

#[test]
fn every_case_is_answered_in_exactly_these_words() {
    let mut wrong = Vec::new();
    for (name, status, gateway, question, extra) in CASES {
        let output = why(gateway, *question, extra);
        assert_eq!(text(&output.stderr), "", "{name}");
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(*status), "{name}: {said}");
        compare(&folder().join(format!("{name}.txt")), &said, &mut wrong);
        let json = why(gateway, *question, &[extra, ["-o", "json"].as_slice()].concat());
        assert_eq!(text(&json.stderr), "", "{name}");
        assert_eq!(json.status.code(), Some(*status), "{name}");
        compare(&folder().join(format!("{name}.json")), &text(&json.stdout), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_golden_file_has_its_case() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let (stem, extension) = (path.file_stem().unwrap(), path.extension().unwrap());
        let is_known = extension == "toml" || CASES.iter().any(|(name, ..)| *name == stem);
        assert!(is_known, "{} belongs to no case", path.display());
    }
}

#[test]
fn the_two_forms_say_the_same_and_the_keys_are_always_there() {
    for (name, _, gateway, question, extra) in CASES {
        let words = text(&why(gateway, *question, extra).stdout);
        let json = why(gateway, *question, &[extra, ["-o", "json"].as_slice()].concat());
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        let mut expected = vec![
            "verdict",
            "reason",
            "rule",
            "tier",
            "says",
            "would",
            "policy_mode",
            "softened",
            "at",
            "from",
            "to",
            "service",
            "tiers",
            "nearest_allow",
            "notes",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected, "{name}");
        assert!(words.starts_with(&format!("{}: ", json["verdict"].as_str().unwrap())), "{name}: {words}");
        assert_eq!(json["reason"].is_null(), json["verdict"] == "allow", "{name}");
        assert_eq!(json["nearest_allow"].is_null(), json["verdict"] == "allow", "{name}");
        for note in json["notes"].as_array().unwrap() {
            assert!(words.contains(note["text"].as_str().unwrap()), "{name}: {words}");
        }
        if let Some(nearest) = json["nearest_allow"]["text"].as_str() {
            let is_dropped = json["notes"].as_array().unwrap().iter().any(|note| !note["reason"].is_null());
            let alone = if is_dropped { " (of the policy alone)" } else { "" };
            assert!(words.contains(&format!("\nnearest allow{alone}: {nearest}\n")), "{name}: {words}");
        }
    }
}

#[test]
fn what_can_not_be_answered_ends_with_status_2_and_says_why() {
    let refused: &[([&str; 3], &[&str], &str)] = &[
        (["10.0.10.5", "10.0.20.5", "any"], &[], "means many packets"),
        (["10.0.10.5", "10.0.20.5", "web"], &[], "`web` means many packets"),
        (["10.0.10.5", "10.0.20.5", "tcp/80-81"], &[], "means many packets"),
        (["10.0.10.5", "10.0.20.5", "htps"], &[], "`htps` is no service"),
        (["10.0.10.5", "10.0.20.5", "icmpv6/echo-request"], &[], "no IPv4 packet is"),
        (["10.0.10.5", "fd00:20::5", "tcp/80"], &[], "write two addresses of one family"),
        (["web", "10.0.20.5", "tcp/80"], &[], "`web` is no IP address"),
        (["10.0.10.5@nowhere", "10.0.20.5", "tcp/80"], &[], "there is no VLAN `nowhere`"),
        (["10.1.0.5", "10.1.0.7", "tcp/631"], &[], "with one of printers, cameras"),
        (["10.0.10.5", "10.0.20.5", "proto/47"], &["--source-port", "53"], "has no source port"),
        (["10.0.10.5", "10.0.20.5", "tcp/80"], &["--at", "yesterday"], "2027-01-31T00:00:00Z"),
        (["10.0.10.5", "10.0.20.5", "tcp/80"], &["--source-port", "0"], "--source-port"),
    ];
    for (question, extra, expected) in refused {
        let output = why("gateway", *question, extra);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{question:?}: {said}");
        assert!(output.stdout.is_empty(), "{question:?}");
        assert!(said.contains(expected), "{question:?}: {said}");
    }
    assert_eq!(why("there-is-none", ["10.0.10.5", "10.0.20.5", "tcp/80"], &[]).status.code(), Some(2));
}

#[test]
fn a_file_that_check_refuses_is_not_asked() {
    let output =
        why("../../../configs/invalid/failed-test", ["10.0.10.5", "10.0.20.5", "tcp/80"], &["-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("error[test-failed]"), "{}", text(&output.stderr));
}

/// Runs `why` with a terminal as its standard output; util-linux's `script` makes one.
fn on_a_terminal(environment: &[(&str, &str)]) -> Option<String> {
    let line = format!(
        "{} why -c gateway.toml --from 10.0.10.5 --to 10.0.20.5 --service tcp/443",
        env!("CARGO_BIN_EXE_bulkhead")
    );
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .current_dir(folder())
        .stdin(std::process::Stdio::null())
        .output();
    match output {
        Ok(output) => Some(text(&output.stdout)),
        Err(error) => {
            eprintln!("skipped: `script` is needed to make a terminal: {error}");
            None
        }
    }
}

#[test]
fn colour_is_for_terminals_and_not_where_no_color_says_so() {
    let Some(coloured) = on_a_terminal(&[]) else { return };
    assert!(coloured.starts_with("\x1b[1;32mallow\x1b[0m: rule `web-to-app`"), "{coloured:?}");
    let plain = on_a_terminal(&[("NO_COLOR", "1")]).unwrap();
    assert!(plain.starts_with("allow: rule `web-to-app`"), "{plain:?}");
    assert!(!plain.contains('\x1b'), "{plain:?}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let commands = ["check", "completions", "demo", "man", "replay", "run", "schema", "why"];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = bulkhead(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    assert_eq!(bulkhead(&["completions", "tcsh"]).status.code(), Some(2));
    let into = std::env::temp_dir().join(format!("bulkhead-man-pages-{}", std::process::id()));
    let output = bulkhead(&["man", into.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pages: Vec<String> = commands
        .iter()
        .map(|command| std::fs::read_to_string(into.join(format!("bulkhead-{command}.1"))).unwrap())
        .collect();
    std::fs::remove_dir_all(&into).unwrap();
    assert!(pages.iter().all(|page| page.contains(".TH ")));
    assert_eq!(bulkhead(&["man", "/proc/no/such"]).status.code(), Some(2));
}
