//! The gateway files under `configs`, and what `bulkhead` says of files that are valid.

use cli::config::load_checked;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn bulkhead(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bulkhead")).args(arguments).current_dir(root()).output().unwrap()
}

fn check_text(name: &str, text: &str) -> Output {
    let path = std::env::temp_dir().join(format!("bulkhead-valid-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let output = bulkhead(&["check", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    output
}

#[test]
fn every_file_to_start_from_is_valid_and_its_tests_hold() {
    for name in ["minimal", "three-tier", "campus", "monitor-first"] {
        let path = root().join(format!("configs/{name}.toml"));
        let configuration = load_checked(&path).unwrap_or_else(|error| panic!("{error}")).configuration;
        assert!(configuration.warnings.is_empty(), "{name}: {:?}", configuration.warnings.diagnostics());
        assert!(configuration.tests.len() >= 2, "{name} has no tests");
    }
}

#[test]
fn a_valid_file_is_answered_in_one_line() {
    let expected = "configs/three-tier.toml: valid: 1 port, 3 VLANs, 3 segments, 4 rules, 7 tests\n";
    for arguments in
        [["check", "configs/three-tier.toml"].as_slice(), &["check", "-c", "configs/three-tier.toml"]]
    {
        let output = bulkhead(arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert!(output.stderr.is_empty());
    }
    let json = bulkhead(&["check", "configs/three-tier.toml", "-o", "json"]);
    assert_eq!((json.status.code(), json.stdout.as_slice()), (Some(0), b"[]\n".as_slice()));
}

#[test]
fn the_schema_is_a_json_object_with_a_dialect() {
    let output = bulkhead(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["rule"]["items"]["required"], serde_json::json!(["id", "from", "to"]));
}

#[test]
fn warnings_and_notes_are_printed_and_do_not_make_a_file_invalid() {
    let text = r#"
[policy]
default = "allow"
mode = "monitor"
[[port]]
name = "p"
[[vlan]]
id = 1
port = "p"
hairpin = true
spoof_guard = "subnet"
[[vlan]]
id = 2
port = "p"
spoof_guard = "bindings"
[[stitch]]
name = "s"
vlans = ["p.1", "p.2"]
[[workload]]
name = "w"
address = "10.0.0.1"
labels = { role = "db" }
[segment.empty]
[segment.nobody]
select = "rle == 'db'"
[[rule]]
id = "old"
from = "any"
to = "any"
expires = 2001-01-01T00:00:00Z
[[invariant]]
name = "i"
from = "any"
to = "any"
expect = "deny"
"#;
    let output = check_text("warnings", text);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for head in [
        "warning[default-allow]",
        "note[monitor-mode]",
        "warning[no-effect]",
        "warning[spoof-guard]: the guard is off",
        "warning[spoof-guard]: nothing gets through",
        "warning[empty-segment]: nothing is in segment `empty`",
        "warning[empty-segment]: nothing is in segment `nobody`",
        "warning[unknown-label]",
        "did you mean `role`?",
        "warning[expired-rule]",
        "note[not-proved]",
    ] {
        assert!(said.contains(head), "no {head} in\n{said}");
    }
    assert!(String::from_utf8(output.stdout).unwrap().contains("8 warnings"), "{said}");
}

#[test]
fn an_empty_file_denies_all_and_is_valid() {
    let output = check_text("empty", "");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout).unwrap().contains("0 ports, 0 VLANs, 0 segments, 0 rules, 0 tests")
    );
}

#[test]
fn bytes_that_are_no_text_are_pointed_at() {
    let path = std::env::temp_dir().join(format!("bulkhead-bytes-{}.toml", std::process::id()));
    std::fs::write(&path, b"[gateway]\nname = \"\xff\"\n").unwrap();
    let output = bulkhead(&["check", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("error[not-utf8]") && said.contains(":2:9"), "{said}");
}
