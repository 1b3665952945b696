//! Tests that need root.

/// Whether this process may make namespaces; where it may not, and nobody said that it must, tests are skipped.
pub(crate) fn may_run() -> bool {
    let root = cli::testbed::is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "in CI these tests must not be skipped: run them as root"
    );
    if !root {
        eprintln!("skipped: network namespaces and AF_XDP need root");
    }
    root
}
