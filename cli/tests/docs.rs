//! What the documentation names exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

/// Folders at the top of the project: a word in backticks that begins with one of them is a path.
const TOP: [&str; 8] =
    ["classifier/", "conntrack/", "dataplane/", "cli/", "configs/", "perf/", "docs/", "fuzz/"];

fn paths(text: &str) -> BTreeSet<String> {
    let in_backticks = text.split('`').skip(1).step_by(2);
    in_backticks.filter(|word| TOP.iter().any(|top| word.starts_with(top))).map(str::to_owned).collect()
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    // Drawings hold no backticks, but their fences would put the pairs out of step.
    let text: String = page("docs/ARCHITECTURE.md").split("```").step_by(2).collect();
    let named = paths(&text);
    assert!(named.len() > 50, "only {} paths are named", named.len());
    let missing: Vec<&String> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_stage_and_every_folder_of_source_is_in_the_architecture() {
    let text = page("docs/ARCHITECTURE.md");
    for folder in ["dataplane/src/stage", "cli/src", "classifier/src", "dataplane/src"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let is_stage = folder.ends_with("stage") && name != "mod.rs";
            // The folder of a module `foo.rs` that holds only its tests is no part of the map.
            let is_module = path.is_dir() && !path.with_extension("rs").exists();
            if is_stage || is_module {
                assert!(text.contains(&format!("{folder}/{name}")), "{folder}/{name} is not on the map");
            }
        }
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    for name in ["README.md", "docs/ARCHITECTURE.md", "docs/CONTROL.md", "docs/OBSERVE.md", "docs/POLICY.md"]
    {
        let text = page(name);
        let folder = root().join(name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let is_elsewhere = target.starts_with("http") || file.is_empty();
            assert!(is_elsewhere || folder.join(file).exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn every_reason_is_explained_to_operators_in_the_order_of_the_checks() {
    let text = page("docs/POLICY.md");
    let mut last = 0;
    for reason in classifier::reason::DropReason::ALL {
        let Some(at) = text.find(&format!("\n| `{reason}` |")) else { panic!("`{reason}` has no line") };
        assert!(at > last, "`{reason}` stands out of order");
        last = at;
    }
    let architecture = page("docs/ARCHITECTURE.md");
    for reason in classifier::reason::DropReason::ALL {
        assert!(architecture.contains(&format!("`{reason}`")), "no stage gives `{reason}`");
    }
}

#[test]
fn every_key_of_a_verdict_line_and_of_why_is_documented() {
    let text = page("docs/POLICY.md");
    let golden = page("cli/tests/why/deny-by-rule.json");
    let answer: serde_json::Value = serde_json::from_str(&golden).unwrap();
    for key in answer.as_object().unwrap().keys() {
        assert!(
            text.contains(&format!("\n| `{key}`")) || text.contains(&format!(", `{key}`")),
            "{key} of why"
        );
    }
    for part in ["from", "to", "service", "nearest_allow"] {
        for key in answer[part].as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{key}`")), "{part}.{key}");
        }
    }
}

#[test]
fn every_request_and_reply_of_the_protocols_page_is_one() {
    use cli::control::{Envelope, Hello, Reply};
    let text = page("docs/CONTROL.md");
    let mut requests = 0;
    for block in text.split("```json\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            if line.contains("\"request\"") {
                serde_json::from_str::<Envelope>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                requests += 1;
            } else if line.contains("\"bulkhead\"") {
                serde_json::from_str::<Hello>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            } else {
                serde_json::from_str::<Reply>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            }
        }
    }
    assert!(requests >= 5);
    let schema = page("cli/src/control/protocol.rs");
    let commands = schema.split("pub enum Request {").nth(1).unwrap().split("\n}").next().unwrap();
    let commands = commands.lines().filter(|line| line.starts_with("    ") && line.ends_with(" {"));
    for command in commands.filter_map(|line| line.trim().strip_suffix(" {")) {
        let is_inside = |at: usize, letter: char| at > 0 && letter.is_uppercase();
        let words = command.char_indices().map(|(at, letter)| {
            let hyphen = if is_inside(at, letter) { "-" } else { "" };
            format!("{hyphen}{}", letter.to_lowercase())
        });
        let name: String = words.collect();
        assert!(text.contains(&format!("\n| `{name}` |")), "{name} is not on the page");
    }
}
