//! Whole frames, sent and heard on an interface.
//!
//! An unsafe island for packet sockets. The kernel takes the tag out of a frame before it shows it; here it is put
//! back, so that a frame is as it was on the wire.
#![allow(unsafe_code)]

use super::namespace::Namespace;
use dataplane::port::xdp::Interface;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes before the tag: two MACs.
const BEFORE_TAG: usize = 12;
/// `ETH_P_ALL` (include/uapi/linux/if_ether.h), in network byte order: frames of all kinds, sent and received.
const ALL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// A frame that was heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The frame, tags included.
    pub frame: Vec<u8>,
    /// Whether the interface sent it; else it received it.
    pub outgoing: bool,
}

/// A socket for whole frames.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
}

impl RawSocket {
    /// Opens one on an interface in a namespace, and makes the interface promiscuous while it is open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(namespace: &Namespace, interface: &str) -> io::Result<RawSocket> {
        namespace.enter(|| {
            let index = Interface::look_up(interface)?.index as i32;
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            // SAFETY: no pointers are passed.
            let descriptor = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the descriptor was just opened and is nobody else's.
            let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
            set_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
            set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(16_i32 << 20))?;
            let membership = libc::packet_mreq {
                mr_ifindex: index,
                mr_type: libc::PACKET_MR_PROMISC as u16,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            set_option(&socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
            bind(&socket, index)?;
            Ok(RawSocket { socket })
        })
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// The kernel's: the interface is down, the frame is longer than its MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let (start, length) = (frame.as_ptr().cast(), frame.len());
        // SAFETY: the frame outlives the call and has the length that is passed.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), start, length, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next frame that is heard; `None` when there is none for so long.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&self, timeout: Duration) -> io::Result<Option<Captured>> {
        let mut ready = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one pollfd is passed, and it outlives the call.
        match unsafe { libc::poll(&raw mut ready, 1, wait) } {
            0 => Ok(None),
            n if n < 0 => Err(io::Error::last_os_error()),
            _ => self.read().map(Some),
        }
    }

    /// The next frame that `wanted` says is wanted, out of all that are heard within the time.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Captured) -> bool,
    ) -> io::Result<Option<Captured>> {
        let end = Instant::now() + timeout;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.receive(left)? {
                Some(captured) if wanted(&captured) => return Ok(Some(captured)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn read(&self) -> io::Result<Captured> {
        let (mut data, mut control) = (vec![0_u8; 65536], [0_u64; 16]);
        let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        // SAFETY: zero is a valid value of each field of an address.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        // SAFETY: zero is "not given" for each field.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of::<libc::sockaddr_ll>() as _;
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the buffers that the message names outlive the call and have the lengths that it says.
        let got = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        data.truncate(got as usize);
        if let Some(tag) = tag_beside(&message).filter(|_| data.len() >= BEFORE_TAG) {
            data.splice(BEFORE_TAG..BEFORE_TAG, tag);
        }
        Ok(Captured { frame: data, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING })
    }
}

fn set_option<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let (start, length) = ((&raw const *value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: each option used here takes the type that it is called with.
    let returned = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, start, length) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn bind(socket: &OwnedFd, index: i32) -> io::Result<()> {
    // SAFETY: zero is a valid value of each field of an address.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ALL;
    address.sll_ifindex = index;
    let (start, length) = ((&raw const address).cast(), size_of::<libc::sockaddr_ll>() as libc::socklen_t);
    // SAFETY: the address outlives the call and has the length that is passed.
    let returned = unsafe { libc::bind(socket.as_raw_fd(), start, length) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The tag that the kernel took out of the frame (packet(7), PACKET_AUXDATA).
fn tag_beside(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: recvmsg has filled in the control buffer, which is aligned for its headers.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const *message) };
    if header.is_null() {
        return None;
    }
    // SAFETY: the header is not null and in the control buffer.
    let start = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: auxiliary data is the only control message that was asked for.
    let beside = unsafe { std::ptr::read_unaligned(start.cast::<libc::tpacket_auxdata>()) };
    if beside.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let kind =
        if beside.tp_status & libc::TP_STATUS_VLAN_TPID_VALID == 0 { 0x8100 } else { beside.tp_vlan_tpid };
    let ([a, b], [c, d]) = (kind.to_be_bytes(), beside.tp_vlan_tci.to_be_bytes());
    Some([a, b, c, d])
}
