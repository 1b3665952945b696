//! Binding a socket to a queue, again and again while the queue is not free yet.
//!
//! An unsafe island for socket options, and for a call of the library that is unsafe where it loads a program of
//! its own, which it does not here.
#![allow(unsafe_code)]

use super::error::OpenError;
use super::interface::Interface;
use super::memory::{RING, system_error};
use super::queue::Rings;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use xsk_rs::Socket;
use xsk_rs::config::{BindFlags, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::umem::Umem;

/// How frames get between the driver and the shared memory: in one way for all ports, since the memory is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transfer {
    ZeroCopy,
    Copy,
}

/// A queue or an interface is still in use, and is being waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The interface.
    pub interface: String,
    /// The queue; `None` where it's the interface's XDP program that is in the way.
    pub queue: Option<u32>,
    /// How long it has been waited for so far.
    pub waited: Duration,
}

/// First pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The kernel needs some milliseconds to clean up after a process that died; what takes longer than this is alive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries until it works, fails for another reason than being busy, or takes too long.
pub(super) fn while_busy<T>(
    interface: &str,
    queue: Option<u32>,
    report: &mut dyn FnMut(&Waiting),
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut pause = FIRST_PAUSE;
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && waited < PATIENCE => {
                report(&Waiting { interface: interface.to_owned(), queue, waited });
                std::thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            result => return result,
        }
    }
}

pub(super) fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// A bound socket's rings, and whether the kernel copies.
pub(super) fn bind(
    umem: &Umem,
    interface: &Interface,
    queue: u32,
    transfer: Transfer,
    report: &mut dyn FnMut(&Waiting),
) -> Result<(Rings, bool), OpenError> {
    let ring = QueueSize::new(RING).expect("the ring size is a power of two");
    let how = match transfer {
        Transfer::ZeroCopy => BindFlags::XDP_ZEROCOPY,
        Transfer::Copy => BindFlags::XDP_COPY,
    };
    let config = SocketConfig::builder()
        .rx_queue_size(ring)
        .tx_queue_size(ring)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(how | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let name =
        CString::new(interface.name.as_str()).expect("the kernel knows the name, so it has no zero byte");
    let name = xsk_rs::config::Interface::new(name);
    let made = while_busy(&interface.name, Some(queue), report, || {
        // SAFETY: the library loads no program of its own, which is what the call could be unsafe by.
        unsafe { Socket::new(config, umem, &name, queue) }.map_err(|error| system_error(&error))
    });
    let (transmit, receive, rings) = made.map_err(|error| match error.raw_os_error() {
        _ if is_busy(&error) => OpenError::Busy { interface: interface.name.clone(), queue },
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) if transfer == Transfer::ZeroCopy => {
            OpenError::Unsupported {
                interface: interface.name.clone(),
                driver: interface.driver.clone(),
                what: "zero-copy AF_XDP",
            }
        }
        _ => OpenError::system(&interface.name, "bind an AF_XDP socket", error),
    })?;
    let (fill, completion) = rings.ok_or_else(|| {
        OpenError::BadRequest(format!("queue {queue} of {} is asked for twice", interface.name))
    })?;
    let socket = receive.fd().as_raw_fd();
    enlarge_send_buffer(socket);
    let copies = !is_zero_copy(socket).unwrap_or(transfer == Transfer::ZeroCopy);
    Ok((Rings { receive, transmit, fill, completion }, copies))
}

fn set_option(socket: RawFd, level: i32, option: i32, value: u32) {
    let (value, length) = ((&raw const value).cast(), size_of::<u32>() as libc::socklen_t);
    // SAFETY: both options used here take four bytes. Where the kernel refuses one it does without, slower.
    let _ = unsafe { libc::setsockopt(socket, level, option, value, length) };
}

/// In copy mode each frame in flight is charged to the socket; the default would stop it at a few hundred.
fn enlarge_send_buffer(socket: RawFd) {
    /// `XDP_MAX_TX_SKB_BUDGET` (include/uapi/linux/if_xdp.h): how many frames one call sends.
    const TRANSMIT_BUDGET: i32 = 9;
    set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, RING * super::memory::CHUNK as u32);
    set_option(socket, libc::SOL_XDP, TRANSMIT_BUDGET, RING);
}

fn is_zero_copy(socket: RawFd) -> Option<bool> {
    let mut options = libc::xdp_options { flags: 0 };
    let mut length = size_of::<libc::xdp_options>() as libc::socklen_t;
    let (into, length) = ((&raw mut options).cast(), &raw mut length);
    // SAFETY: the kernel writes no more than `length` bytes into the structure.
    let returned = unsafe { libc::getsockopt(socket, libc::SOL_XDP, libc::XDP_OPTIONS, into, length) };
    (returned == 0).then_some(options.flags & libxdp_sys::XDP_OPTIONS_ZEROCOPY != 0)
}
