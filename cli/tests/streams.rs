//! Where a standard stream can't be written, or the gateway file is a pipe, no command falls over.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

fn bulkhead(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command.args(arguments.split(' ')).current_dir(root());
    command
}

/// The writing end of a pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

const COMMANDS: [(&str, &[i32]); 11] = [
    ("check configs/three-tier.toml", &[0]),
    ("check configs/invalid/bad-date.toml", &[1]),
    ("check -o json configs/three-tier.toml", &[0]),
    ("check configs/none.toml", &[2]),
    ("why -c configs/three-tier.toml --from 10.0.10.10 --to 10.0.20.10 --service tcp/8080", &[0]),
    ("why -c configs/invalid/bad-date.toml --from 10.0.0.1 --to 10.0.0.2 --service any", &[2]),
    ("replay -c configs/three-tier.toml --in trunk0=configs/samples/three-tier.pcap", &[0]),
    ("replay -c configs/three-tier.toml --in trunk0=configs/samples/three-tier.pcap --verdicts -", &[0, 2]),
    ("replay -c configs/three-tier.toml --in trunk0=configs", &[2]),
    // Whether the reader is gone or the disk is full is all that they know of.
    ("schema", &[0, 2]),
    ("completions bash", &[0, 2]),
];

#[test]
fn no_command_panics_where_nobody_reads() {
    for (arguments, expected) in COMMANDS {
        let status = bulkhead(arguments).stdout(closed()).stderr(closed()).status().unwrap();
        assert!(expected.contains(&status.code().unwrap_or(-1)), "{arguments}: {status}");
    }
}

#[test]
fn no_command_panics_where_the_disk_is_full() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (arguments, expected) in COMMANDS {
        let status = bulkhead(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert!(expected.contains(&status.code().unwrap_or(-1)), "{arguments}: {status}");
    }
}

#[test]
fn a_reader_who_has_seen_enough_is_no_fault_and_a_full_disk_is_one() {
    let replay = || {
        let mut command = bulkhead(
            "replay -c configs/three-tier.toml --in trunk0=configs/samples/three-tier.pcap --verdicts -",
        );
        command.stderr(Stdio::piped());
        command
    };
    let left = replay().stdout(closed()).output().unwrap();
    assert_eq!((left.status.code(), String::from_utf8_lossy(&left.stderr).as_ref()), (Some(0), ""));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let full = replay().stdout(full).output().unwrap();
    assert_eq!(full.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&full.stderr).contains("error: "), "{full:?}");
}

#[test]
fn a_gateway_file_may_be_a_pipe() {
    let mut check =
        bulkhead("check /dev/stdin").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text = std::fs::read(root().join("configs/three-tier.toml")).unwrap();
    check.stdin.take().unwrap().write_all(&text).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("valid: 1 port"), "{output:?}");
}

#[test]
fn lines_and_frames_are_never_mixed_on_one_stream() {
    let mixed = "replay -c configs/three-tier.toml --in trunk0=configs/samples/three-tier.pcap --verdicts - --out trunk0=-";
    let output = bulkhead(mixed).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "{output:?}");
}
