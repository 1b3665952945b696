//! Which namespaces there are to be removed, however the process ends.
//!
//! Names begin with `bh-PID-`: those of a process that is no more are stale, and swept when the next bed is made.

use super::iproute::ip;
use super::namespace::DIRECTORY;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

static REGISTERED: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Held while a namespace is made, and for ever once the process ends: none appears behind the last removal.
static MAKING: Mutex<()> = Mutex::new(());

/// Set once a signal is ending the process.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What the names of this process's namespaces begin with.
pub(super) fn prefix() -> String {
    format!("bh-{}-", std::process::id())
}

/// Makes a namespace that will be removed.
pub(super) fn make(name: &str) -> io::Result<()> {
    let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    ip(&format!("netns add {name}")).map(|_| ()).inspect_err(|_| remove(name))
}

/// Removes a namespace and ends what runs in it.
pub(super) fn remove(name: &str) {
    end_processes(name);
    // It may be gone, and there is nobody to tell.
    let _ = ip(&format!("netns delete {name}"));
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).retain(|n| n != name);
}

/// A process in a namespace keeps it alive, and only the bed's own can be in one of its namespaces.
fn end_processes(name: &str) {
    let Ok(pids) = ip(&format!("netns pids {name}")) else { return };
    for pid in pids.split_whitespace().filter(|pid| *pid != std::process::id().to_string()) {
        if let Ok(pid) = pid.parse() {
            // It may have ended by itself.
            let _ = send_signal(pid, signal_hook::consts::SIGKILL);
        }
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// There is no such process or signal, or it is not ours.
pub fn send_signal(pid: u32, signal: i32) -> io::Result<()> {
    let unknown = || io::Error::from(io::ErrorKind::InvalidInput);
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(unknown)?;
    kill_process(pid, Signal::from_named_raw(signal).ok_or_else(unknown)?)?;
    Ok(())
}

fn remove_all() {
    let names = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    names.iter().for_each(|name| remove(name));
}

/// From now on SIGINT, SIGTERM and SIGHUP remove all beds of this process before they end it.
pub(super) fn on_signals() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = Signals::new([SIGINT, SIGTERM, SIGHUP]).map(|mut signals| {
            std::thread::spawn(move || {
                for signal in signals.forever() {
                    ENDING.store(true, Ordering::SeqCst);
                    let _until_the_end = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
                    remove_all();
                    // If it can't be done the default way, the process must still end.
                    if signal_hook::low_level::emulate_default_handler(signal).is_err() {
                        std::process::exit(128 + signal);
                    }
                }
            });
        });
    });
    result
}

/// Leaves the end of the process to a signal that is ending it: what fails meanwhile fails because beds are being
/// removed, and the exit status is the signal's. Returns at once where there is none.
pub fn yield_to_signal() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Removes the namespaces of processes that are no more; says which.
#[must_use = "the names of what was removed"]
pub fn sweep_stale() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else { return Vec::new() };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    let stale: Vec<String> = names.filter(|name| owner(name).is_some_and(|pid| !is_alive(pid))).collect();
    stale.iter().for_each(|name| remove(name));
    stale
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("bh-")?.split('-').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_process_that_made_it() {
        assert_eq!(owner("bh-4711-demo-web"), Some(4711));
        assert_eq!(owner("bh-demo"), None);
        assert_eq!(owner("blue-4711-x"), None);
        assert!(is_alive(std::process::id()));
    }
}
