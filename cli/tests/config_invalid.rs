//! Every file under `configs/invalid` has one mistake, and beside it the exact words that `bulkhead check`
//! must say of it. `BULKHEAD_BLESS=1 cargo test -p bulkhead --test config_invalid` writes them anew: read
//! the difference before you commit it.

use cli::diagnostic::Code;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn check(path: &Path, extra: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["check", path.to_str().unwrap()])
        .args(extra)
        .current_dir(root())
        .output()
        .unwrap()
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("configs/invalid"))
        .unwrap()
        .map(|entry| Path::new("configs/invalid").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_mistake_is_answered_in_exactly_these_words() {
    let bless = std::env::var_os("BULKHEAD_BLESS").is_some();
    let files = files();
    assert!(files.len() >= 40, "only {} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let output = check(&path, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}: {said}", path.display());
        assert!(output.stdout.is_empty(), "{}", path.display());
        let beside = root().join(&path).with_extension("stderr");
        if bless {
            std::fs::write(&beside, &said).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn json_says_the_same_with_places() {
    for path in files() {
        let output = check(&path, &["-o", "json"]);
        assert_eq!(output.status.code(), Some(1), "{}", path.display());
        assert!(output.stderr.is_empty(), "{}", path.display());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let said = std::fs::read_to_string(root().join(&path).with_extension("stderr")).unwrap();
        let all = json.as_array().unwrap();
        assert!(all.iter().any(|d| d["severity"] == "error"), "{}", path.display());
        for one in all {
            let place = format!(
                "{}:{}:{}",
                one["file"].as_str().unwrap(),
                one["line"].as_u64().unwrap(),
                one["column"].as_u64().unwrap()
            );
            assert!(said.contains(&place), "{}: {place} is not in\n{said}", path.display());
            let head = format!("[{}]: {}", one["code"].as_str().unwrap(), one["message"].as_str().unwrap());
            assert!(said.contains(&head), "{}: {head} is not in\n{said}", path.display());
        }
    }
}

#[test]
fn every_code_of_an_error_has_a_file_that_shows_it() {
    // Warnings and notes do not make a file invalid; `config_valid` and `stats` show those. The rest has no text file
    // that could show it: the bytes of one can't be UTF-8, one would have to be very long, and the others need
    // what another check forbids.
    let exempt = [
        Code::NotUtf8,
        Code::IncludeTwice,
        Code::InvalidPolicy,
        Code::PolicyLimit,
        Code::EmptySegment,
        Code::UnknownLabel,
        Code::DefaultAllow,
        Code::ExpiredRule,
        Code::NoEffect,
        Code::MonitorMode,
        Code::NotProved,
        Code::WideRule,
        Code::CostlyRule,
        Code::CrowdedPorts,
    ];
    let mut shown = BTreeSet::new();
    for path in files() {
        let said = std::fs::read_to_string(root().join(&path).with_extension("stderr")).unwrap();
        shown.extend(Code::ALL.iter().copied().filter(|code| said.contains(&format!("[{code}]:"))));
    }
    let missing: Vec<&Code> =
        Code::ALL.iter().filter(|code| !exempt.contains(code) && !shown.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_another_matter() {
    let output = check(Path::new("configs/there-is-none.toml"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(check(Path::new("x"), &["--no-such-option"]).status.code(), Some(2));
}
