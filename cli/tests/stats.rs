//! `bulkhead check --stats`: the figures, and the rules that are blamed for them.

use classifier::compile::Limits;
use classifier::tables::Form;
use cli::config::load_checked;
use cli::diagnostic::{Code, Severity};
use cli::stats::Stats;
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn stats(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.arg("check").arg(file).arg("--stats").args(more).current_dir(root()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A file that is gone with the test.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Written {
        let path = std::env::temp_dir().join(format!("bulkhead-stats-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Written(path)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const NETWORK: &str = r#"
[[port]]
name = "p"
[[vlan]]
id = 1
port = "p"
address = "10.0.0.1/16"
[[vlan]]
id = 2
port = "p"
address = "10.1.0.1/16"
"#;

/// Segments of one host each, `s0` and on, and a rule to each from the one before.
fn chain(segments: usize) -> String {
    let mut text = NETWORK.to_owned();
    for n in 0..segments {
        writeln!(text, "[segment.s{n}]\nmembers = [\"10.{}.{}.{}\"]", n % 2, 1 + n / 250, 2 + n % 250)
            .unwrap();
    }
    for n in 1..segments {
        rule(&mut text, &format!("r{n}"), &format!("s{}", n - 1), &format!("s{n}"), "\"tcp/443\"");
    }
    text
}

fn rule(text: &mut String, id: &str, from: &str, to: &str, service: &str) {
    writeln!(
        text,
        "[[rule]]\nid = \"{id}\"\nfrom = [\"{from}\"]\nto = [\"{to}\"]\nservice = [{service}]\naction = \"allow\""
    )
    .unwrap();
}

/// The line of a rule's id, from 1.
fn line_of(text: &str, id: &str) -> u64 {
    let at = text.lines().position(|line| line == format!("id = \"{id}\"")).unwrap();
    at as u64 + 1
}

#[test]
fn a_valid_file_is_told_with_all_its_figures() {
    let output = stats(Path::new("configs/three-tier.toml"), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let mut lines = text.lines();
    assert!(lines.next().unwrap().ends_with("3 segments, 4 rules, 7 tests"));
    let names: Vec<&str> = lines.map(|line| line[..32].trim()).collect();
    let expected = [
        "rules in force",
        "prefixes",
        "address classes",
        "class pairs",
        "rules in pairs",
        "distinct port lines",
        "of source ports",
        "beyond a cache line",
        "outcomes",
        "overlay rules",
        "memory: IPv4 address to class",
        "memory: IPv6 address to class",
        "memory: VLAN and MAC to class",
        "memory: classes",
        "memory: class pairs",
        "memory: port lines",
        "memory: outcomes",
        "memory: all",
        "compile time",
        "instructions",
        "form",
    ];
    assert_eq!(names.len(), expected.len(), "{text}");
    for (name, expected) in names.iter().zip(expected) {
        assert!(expected.starts_with(name), "{name}: {text}");
    }
}

#[test]
fn programs_get_one_object_whose_figures_are_those_of_the_policy() {
    let json = json(&stats(Path::new("configs/three-tier.toml"), &["-o", "json"]));
    assert_eq!(json["diagnostics"], serde_json::json!([]));
    let stats = &json["stats"];
    assert_eq!((&stats["rules"], &stats["overlay_rules"]), (&4.into(), &0.into()));
    assert!(stats["classes"].as_u64().unwrap() >= 4, "three segments and what is in none: {stats}");
    assert!(stats["compile_ms"].as_f64().unwrap() > 0.0);
    assert!(["avx512", "avx2", "portable"].contains(&stats["instructions"].as_str().unwrap()));
    let memory = stats["memory_bytes"].as_object().unwrap();
    let all: u64 = memory.iter().filter(|(key, _)| *key != "total").map(|(_, v)| v.as_u64().unwrap()).sum();
    assert_eq!(memory["total"].as_u64(), Some(all));
    assert_eq!(memory.len(), 8);
}

#[test]
fn an_invalid_file_has_no_figures() {
    let file = Written::new("invalid", "[policy]\ndefualt = \"deny\"\n");
    let output = stats(&file.0, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json = json(&output);
    assert!(json["stats"].is_null());
    assert_eq!(json["diagnostics"][0]["code"], "unknown-key");
}

#[test]
fn every_key_is_documented() {
    let page = std::fs::read_to_string(root().join("docs/POLICY.md")).unwrap();
    let json = json(&stats(Path::new("configs/three-tier.toml"), &["-o", "json"]));
    let stats = json["stats"].as_object().unwrap();
    for key in stats.keys().chain(stats["memory_bytes"].as_object().unwrap().keys()) {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn a_rule_that_takes_most_pairs_is_named_with_its_place_and_a_remedy() {
    let mut text = chain(150);
    let members: Vec<String> = (0..150).map(|n| format!("\"segment:s{n}\"")).collect();
    writeln!(text, "[segment.all]\nmembers = [{}]", members.join(", ")).unwrap();
    rule(&mut text, "everyone", "all", "all", "\"tcp/22\"");
    let file = Written::new("costly", &text);
    let output = stats(&file.0, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "a warning does not make a file invalid");
    let json = json(&output);
    let all = json["diagnostics"].as_array().unwrap();
    let [warning] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((&warning["severity"], &warning["code"]), (&"warning".into(), &"costly-rule".into()));
    assert_eq!(warning["line"].as_u64(), Some(line_of(&text, "everyone")));
    assert!(
        warning["message"].as_str().unwrap().contains("`everyone` takes 22500 of the 22649"),
        "{warning}"
    );
    assert!(warning["help"].is_string());
    assert_eq!(json["stats"]["rule_pairs"], 22_649);

    let said = stats(&file.0, &[]);
    let place = format!("{}:{}:", file.0.display(), line_of(&text, "everyone"));
    let error = String::from_utf8(said.stderr).unwrap();
    assert!(error.contains("warning[costly-rule]") && error.contains(&place), "{error}");
    assert!(String::from_utf8(said.stdout).unwrap().contains("1 warning\n"));
}

#[test]
fn rules_that_need_layers_of_their_own_are_named_the_ten_worst_of_them() {
    // What is full at 2,900 segments by default is full at once here.
    let mut text = chain(40);
    for n in 0..12 {
        rule(&mut text, &format!("from-all-{n}"), "any", &format!("s{n}"), "\"tcp/22\"");
    }
    let file = Written::new("wide", &text);
    let checked = load_checked(&file.0).unwrap_or_else(|error| panic!("{error}"));
    let now = checked.tables.compiled_for();
    let limits = Limits { matrix: 0, ..Limits::default() };
    let stats = Stats::new(&checked.configuration, now, &limits).unwrap();
    assert_eq!(stats.overlay_rules, 12);
    let warnings = stats.warnings.diagnostics();
    assert_eq!(warnings.len(), 10);
    for warning in warnings {
        assert_eq!((warning.code, warning.severity), (Code::WideRule, Severity::Warning));
        assert!(warning.message.contains("its source is `any`"), "{}", warning.message);
    }
    let said: Vec<&String> = warnings.iter().flat_map(|warning| &warning.notes).collect();
    assert!(said.iter().any(|note| *note == "2 more rules of this kind cost less"), "{said:?}");

    let stats = Stats::new(&checked.configuration, now, &Limits::default()).unwrap();
    assert_eq!(
        (stats.overlay_rules, stats.warnings.is_empty()),
        (0, true),
        "where cells are closed it is no fault"
    );
}

#[test]
fn a_policy_with_too_many_wide_rules_for_closed_cells_is_warned_of() {
    // Above 2,896 kinds of endpoints on each side a matrix of all would be over its limit.
    let segments = 2_950;
    let mut text = chain(segments);
    for n in 0..segments {
        rule(&mut text, &format!("to-{n}"), "any", &format!("s{n}"), &format!("\"tcp/{}\"", 10_000 + n));
        rule(&mut text, &format!("from-{n}"), &format!("s{n}"), "any", &format!("\"tcp/{}\"", 20_000 + n));
    }
    let file = Written::new("too-wide", &text);
    let json = json(&stats(&file.0, &["-o", "json"]));
    assert_eq!(json["stats"]["form"], "layers");
    assert_eq!(json["stats"]["overlay_rules"], 2 * segments);
    let all = json["diagnostics"].as_array().unwrap();
    assert_eq!(all.len(), 10);
    assert!(all.iter().all(|warning| warning["code"] == "wide-rule"), "{all:?}");
    assert_eq!(all[0]["line"].as_u64(), Some(line_of(&text, "to-0")));
}

#[test]
fn what_keeps_a_policy_in_groups_is_said() {
    let mut text = chain(40);
    rule(&mut text, "from-all", "any", "s3", "\"tcp/22\"");
    let file = Written::new("grouped", &text);
    let checked = load_checked(&file.0).unwrap_or_else(|error| panic!("{error}"));
    let limits = Limits { matrix: 0, rows: 0, ..Limits::default() };
    let stats = |limits| Stats::new(&checked.configuration, checked.tables.compiled_for(), limits).unwrap();
    let grouped = stats(&limits);
    assert_eq!(grouped.statistics.form, Form::Grouped);
    let said = grouped.to_json()["grouped_because"].as_str().map(str::to_owned).unwrap();
    assert!(said.starts_with("the services of the rules combine in too many ways"), "{said}");
    assert!(
        grouped.to_string().lines().any(|line| line.starts_with("grouped because") && line.ends_with(&said))
    );
    let closed = stats(&Limits::default());
    assert!(closed.to_json()["grouped_because"].is_null() && !closed.to_string().contains("because"));
}

#[test]
fn rules_whose_ports_do_not_fit_a_line_are_named() {
    let mut text = chain(3);
    let ports: Vec<String> = (0..20).map(|n| format!("\"tcp/{}\"", 1_000 + 10 * n)).collect();
    rule(&mut text, "many-ports", "s0", "s2", &ports.join(", "));
    let file = Written::new("crowded", &text);
    let checked = load_checked(&file.0).unwrap_or_else(|error| panic!("{error}"));
    // Few services come to rows by default, which have room for any number of ports.
    let limits = Limits { rows: 0, ..Limits::default() };
    let stats = Stats::new(&checked.configuration, checked.tables.compiled_for(), &limits).unwrap();
    assert_eq!(stats.statistics.general_lines, 1);
    let [warning] = stats.warnings.diagnostics() else { panic!("{:?}", stats.warnings) };
    assert_eq!(warning.code, Code::CrowdedPorts);
    assert!(warning.message.contains("`many-ports` is in 1 list of ports"), "{}", warning.message);
    assert_eq!(stats.statistics.outcomes, 4, "three rules and none");
}
