//! Requests to the kernel about a network interface, by its name: flags, MTU, address, and ethtool's commands.
//!
//! An unsafe island: each request is a structure that the kernel reads and fills in. It does not know what the
//! answers mean; `interface.rs` and `offload.rs` do.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A socket to send requests through: they are about the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Control {
    socket: OwnedFd,
}

/// Ethtool's commands are structures that begin with a command number; this is one, as words.
pub(super) type Words = [u32];

fn request(interface: &str) -> io::Result<libc::ifreq> {
    let name = interface.as_bytes();
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(&0) {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: an all-zero ifreq is a valid one: a union of integers, arrays and a pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    Ok(request)
}

/// Opens a socket of a family that is only used to talk about interfaces.
pub(super) fn open_socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

impl Control {
    pub(super) fn open() -> io::Result<Control> {
        Ok(Control { socket: open_socket(libc::AF_INET, libc::SOCK_DGRAM)? })
    }

    fn send(&self, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: every request number used here takes a pointer to an ifreq, and the pointers inside of it (for
        // ethtool) are valid for the call.
        let returned = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, &raw mut *request) };
        if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn index(&self, interface: &str) -> io::Result<u32> {
        let mut request = request(interface)?;
        self.send(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: the kernel filled in the index.
        let index = unsafe { request.ifr_ifru.ifru_ifindex };
        u32::try_from(index).map_err(io::Error::other)
    }

    pub(super) fn mtu(&self, interface: &str) -> io::Result<u32> {
        let mut request = request(interface)?;
        self.send(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the kernel filled in the MTU.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        u32::try_from(mtu).map_err(io::Error::other)
    }

    pub(super) fn hardware_address(&self, interface: &str) -> io::Result<[u8; 6]> {
        let mut request = request(interface)?;
        self.send(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel filled in the hardware address.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mut bytes = [0; 6];
        for (to, from) in bytes.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        Ok(bytes)
    }

    pub(super) fn flags(&self, interface: &str) -> io::Result<i32> {
        let mut request = request(interface)?;
        self.send(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel filled in the flags.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        Ok(i32::from(flags))
    }

    pub(super) fn set_flags(&self, interface: &str, flags: i32) -> io::Result<()> {
        let mut request = request(interface)?;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        self.send(libc::SIOCSIFFLAGS, &mut request)
    }

    /// One of ethtool's commands: `words` begins with the command's number and is as long as the kernel will
    /// write.
    ///
    /// # Safety
    /// The kernel must not write more than `words` holds for this command.
    pub(super) unsafe fn ethtool(&self, interface: &str, words: &mut Words) -> io::Result<()> {
        /// `SIOCETHTOOL` (include/uapi/linux/sockios.h).
        const SIOCETHTOOL: libc::c_ulong = 0x8946;
        let mut request = request(interface)?;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        self.send(SIOCETHTOOL, &mut request)
    }
}
