//! A network namespace that lives as long as its value, and code that runs in it.
//!
//! An unsafe island for the system call that moves a thread there.
#![allow(unsafe_code)]

use super::cleanup;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where `ip netns` keeps namespaces.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A named network namespace; dropping it removes it and what is in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

fn move_to(namespace: RawFd) -> io::Result<()> {
    // SAFETY: the call takes two numbers, and moves only the calling thread.
    let returned = unsafe { libc::setns(namespace, libc::CLONE_NEWNET) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A command that will run in the namespace of this name, as `ip netns exec` would run it, but with nothing mounted
/// anew: that fails where the root folder is no mount point.
///
/// # Errors
/// There is no such namespace.
pub fn command_in(namespace: &str, program: impl AsRef<OsStr>) -> io::Result<Command> {
    let file = File::open(format!("{DIRECTORY}/{namespace}"))?;
    let mut command = Command::new(program);
    // SAFETY: between fork and exec only setns is called, which is a plain system call; the closure owns the file,
    // which is closed on exec and not before.
    unsafe { command.pre_exec(move || move_to(file.as_raw_fd())) };
    Ok(command)
}

impl Namespace {
    /// Makes a namespace and switches its loopback interface on.
    ///
    /// # Errors
    /// What `ip` said, or what opening the namespace gave.
    pub(super) fn create(name: &str) -> io::Result<Namespace> {
        cleanup::make(name)?;
        let file = File::open(format!("{DIRECTORY}/{name}")).inspect_err(|_| cleanup::remove(name))?;
        let namespace = Namespace { name: name.to_owned(), file };
        super::iproute::ip_in(&namespace, "link set lo up")?;
        Ok(namespace)
    }

    /// Its name, for `ip netns exec`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs code in the namespace, on a thread of its own: sockets that it opens stay there wherever they are
    /// used later.
    ///
    /// # Panics
    /// Where the code panics, and where the thread can't get into the namespace.
    pub fn enter<T: Send>(&self, code: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_to(self.file.as_raw_fd()).expect("root may enter a namespace that it made");
                code()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that will run in the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let namespace = self.file.as_raw_fd();
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only setns is called, which is a plain system call; the descriptor is
        // open in the child because it is closed on exec and not before.
        unsafe { command.pre_exec(move || move_to(namespace)) };
        command
    }

    /// Writes a setting below `/proc/sys`, in the namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn sysctl(&self, path: &str, value: &str) -> io::Result<()> {
        self.enter(|| std::fs::write(format!("/proc/sys/{path}"), value))
            .map_err(|e| io::Error::new(e.kind(), format!("{path} = {value}: {e}")))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        cleanup::remove(&self.name);
    }
}
