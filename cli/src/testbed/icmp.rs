//! Pings, and hearing of the ICMP errors that come back.
//!
//! An unsafe island for opening ICMP sockets and for reading their error queues.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How a ping ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PingOutcome {
    /// The reply came.
    Answered {
        /// How long it took.
        after: Duration,
    },
    /// An ICMP error came.
    Error {
        /// The ICMP (or ICMPv6) type.
        kind: u8,
        /// The code.
        code: u8,
    },
    /// The host itself did not know where to send it.
    Unreachable,
    /// Nothing came.
    TimedOut,
}

impl PingOutcome {
    /// Whether the reply came.
    #[must_use]
    pub fn is_answered(self) -> bool {
        matches!(self, PingOutcome::Answered { .. })
    }
}

fn set_option(socket: &UdpSocket, level: i32, option: i32) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (value, length) = ((&raw const on).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the options used here take an int, which outlives the call.
    let returned = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// From now on any ICMP error fails the socket's next call, not only those that a connection must heed.
pub(super) fn hear_errors(socket: &UdpSocket, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR)
    }
}

fn socket(ipv6: bool) -> io::Result<UdpSocket> {
    let (family, protocol) =
        if ipv6 { (libc::AF_INET6, libc::IPPROTO_ICMPV6) } else { (libc::AF_INET, libc::IPPROTO_ICMP) };
    // SAFETY: no pointers are passed.
    let descriptor = unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and is nobody else's.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let socket = UdpSocket::from(owned);
    hear_errors(&socket, ipv6)?;
    Ok(socket)
}

/// Sends one echo request of the usual 56 bytes from the current namespace, and waits.
pub(super) fn ping(to: IpAddr, timeout: Duration) -> io::Result<PingOutcome> {
    let ipv6 = to.is_ipv6();
    let socket = socket(ipv6)?;
    let unreachable =
        |e: &io::Error| matches!(e.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH));
    match socket.connect(SocketAddr::new(to, 0)) {
        Err(e) if unreachable(&e) => return Ok(PingOutcome::Unreachable),
        result => result?,
    }
    socket.set_read_timeout(Some(timeout))?;
    // Type, code, checksum and identifier (both the kernel's to fill in), sequence, payload.
    let mut request = vec![if ipv6 { 128 } else { 8 }, 0, 0, 0, 0, 0, 0, 1];
    request.extend(0..56_u8);
    let start = Instant::now();
    socket.send(&request)?;
    let mut reply = [0; 1500];
    match socket.recv(&mut reply) {
        Ok(length) if reply[8..length.max(8)] == request[8..] => {
            Ok(PingOutcome::Answered { after: start.elapsed() })
        }
        Ok(_) => Err(io::Error::other("the reply does not have the request's payload")),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(PingOutcome::TimedOut)
        }
        Err(e) => match icmp_error(&socket)? {
            Some((kind, code)) => Ok(PingOutcome::Error { kind, code }),
            None if unreachable(&e) => Ok(PingOutcome::Unreachable),
            None => Err(e),
        },
    }
}

/// The type and code of the ICMP error in the socket's queue; `None` where the error arose on this host.
fn icmp_error(socket: &UdpSocket) -> io::Result<Option<(u8, u8)>> {
    let (mut data, mut control) = ([0_u8; 256], [0_u64; 64]);
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: zero is "not given" for each field.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the buffers that the message names outlive the call and have the lengths that it says.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: recvmsg has filled in the control buffer, which is aligned for its headers.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if header.is_null() {
        return Ok(None);
    }
    // SAFETY: the header is not null and in the control buffer.
    let start = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: the one control message of an error queue begins with this structure (ip(7), IP_RECVERR).
    let error = unsafe { std::ptr::read_unaligned(start.cast::<libc::sock_extended_err>()) };
    let of_the_net = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    Ok(of_the_net.then_some((error.ee_type, error.ee_code)))
}
