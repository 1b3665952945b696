//! What the service manager is told (sd_notify(3)): a datagram of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET`
//! names. Without a service manager nobody is told anything.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager.
#[derive(Debug)]
pub struct Service {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Service {
    /// The one that has started this process, if one has.
    #[must_use]
    pub fn of_environment() -> Service {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        // Where the variables were meant for another process, such as a shell that was ours, they are not ours.
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_ours).map(Duration::from_micros);
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match open(&name) {
            Ok(open) => Some(open),
            Err(error) => {
                tell!("bulkhead: the service manager can't be told anything: {error}");
                None
            }
        });
        Service { watchdog: watchdog.filter(|_| to.is_some()), to }
    }

    /// In which time the service manager wants a sign of life, if it does.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it something.
    pub fn tell(&self, lines: &str) {
        if let Some((socket, address)) = &self.to {
            // It has restarted, or is overloaded: a sign of life that is lost is followed by others.
            let _ = socket.send_to_addr(lines.as_bytes(), address);
        }
    }
}

fn open(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let bytes = name.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
