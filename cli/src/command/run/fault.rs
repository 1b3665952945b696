//! Faults of workers, for the tests of what becomes of them: there is no other way to have one. Programs that are built
//! for use have none of it.

use super::Host;

/// `BULKHEAD_TEST_WORKER`: `panics` or `hangs`.
pub(super) fn befall(host: &Host) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let Ok(what) = std::env::var("BULKHEAD_TEST_WORKER") else { return };
    ONCE.call_once(|| {
        let last = host.gateway().control().workers() - 1;
        let left = host.gateway().control().ask(last, move |_| match what.as_str() {
            "panics" => panic!("a test wants it"),
            _ => std::thread::sleep(std::time::Duration::from_secs(3600)),
        });
        drop(left);
    });
}
