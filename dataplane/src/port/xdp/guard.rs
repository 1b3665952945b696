//! What a port changes about its interface, and puts back.
//!
//! | change | ends with the process | put back by a clean exit |
//! | --- | --- | --- |
//! | XDP program | yes: a link | yes |
//! | promiscuous | yes: a packet socket's membership | yes |
//! | offloads off | no | yes |
//! | interface up | no | yes |
//!
//! An unsafe island for one socket option.
#![allow(unsafe_code)]

use super::bind::{Waiting, is_busy, while_busy};
use super::bpf::{Hook, lacks_zero_copy};
use super::error::OpenError;
use super::interface::Interface;
use super::ioctl::{Control, open_socket};
use super::offload::{Offloads, Wish};
use super::program::Attachment;
use super::statistics::{Statistics, socket_statistics};
use crate::topology::XdpMode;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// How a port is attached, once it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeInForce {
    /// The driver writes frames where the gateway reads them.
    ZeroCopy,
    /// The program runs in the driver, frames are copied.
    DriverCopy,
    /// The program runs in the kernel's generic path, frames are copied.
    Generic,
}

impl fmt::Display for ModeInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModeInForce::ZeroCopy => "zero-copy",
            ModeInForce::DriverCopy => "copy",
            ModeInForce::Generic => "skb",
        })
    }
}

/// Keeps an interface a gateway port; dropping it puts everything back.
#[derive(Debug)]
pub struct PortGuard {
    // Dropped in this order: the program first, so that no frame is seen with offloads half restored.
    attachment: Attachment,
    sockets: Vec<OwnedFd>,
    _promiscuous: OwnedFd,
    _up: Option<BroughtUp>,
    offloads: Offloads,
    interface: Interface,
    zero_copy: bool,
}

impl PortGuard {
    /// Makes an interface ready for its sockets.
    pub(super) fn new(
        interface: Interface,
        mode: XdpMode,
        report: &mut dyn FnMut(&Waiting),
    ) -> Result<PortGuard, OpenError> {
        let name = interface.name.clone();
        let offloads = Offloads::switch_off(&name, Wish::Port).map_err(|error| {
            if error.kind() == io::ErrorKind::Unsupported {
                OpenError::Offload { interface: name.clone(), features: error.to_string() }
            } else {
                OpenError::system(&name, "switch hardware offloads off", error)
            }
        })?;
        let attachment = attach(&interface, mode, report)?;
        let up = bring_up(&interface).map_err(|e| OpenError::system(&name, "bring the interface up", e))?;
        let promiscuous = promiscuous(interface.index)
            .map_err(|e| OpenError::system(&name, "make the interface promiscuous", e))?;
        Ok(PortGuard {
            attachment,
            sockets: Vec::new(),
            _promiscuous: promiscuous,
            _up: up,
            offloads,
            interface,
            zero_copy: false,
        })
    }

    /// Whether zero-copy is worth a try: with this attachment, and by what the driver says of itself.
    pub(super) fn may_zero_copy(&self) -> bool {
        self.attachment.hook() == Hook::Driver && !lacks_zero_copy(self.interface.index)
    }

    /// Directs a queue's frames to its socket.
    pub(super) fn serve(
        &mut self,
        queue: u32,
        socket: BorrowedFd<'_>,
        copies: bool,
    ) -> Result<(), OpenError> {
        let name = &self.interface.name;
        self.attachment
            .serve(queue, &socket)
            .map_err(|e| OpenError::system(name, "direct frames to the AF_XDP socket", e))?;
        let watch = socket.try_clone_to_owned();
        self.sockets.push(watch.map_err(|e| OpenError::system(name, "watch the AF_XDP socket", e))?);
        self.zero_copy = !copies;
        Ok(())
    }

    /// The interface, as it was found.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// How the port is attached.
    #[must_use]
    pub fn mode(&self) -> ModeInForce {
        match self.attachment.hook() {
            Hook::Generic => ModeInForce::Generic,
            Hook::Driver if self.zero_copy => ModeInForce::ZeroCopy,
            Hook::Driver => ModeInForce::DriverCopy,
        }
    }

    /// The offloads that were on and are off while this lives.
    #[must_use]
    pub fn offloads_changed(&self) -> &[String] {
        self.offloads.changed()
    }

    /// Whether the XDP program is attached: it is not once the interface is gone, or once somebody has detached it.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.attachment.is_attached()
    }

    /// Attaches the XDP program again, to an interface that is still there.
    ///
    /// # Errors
    /// Where another program has taken its place, and what else the kernel says.
    pub fn attach_again(&mut self) -> Result<(), OpenError> {
        let name = &self.interface.name;
        self.attachment.attach_again().map_err(|error| {
            if is_busy(&error) {
                OpenError::OtherProgram { interface: name.clone() }
            } else {
                OpenError::system(name, "attach the XDP program again", error)
            }
        })
    }

    /// Frames that were lost because they arrived on a queue without a socket.
    #[must_use]
    pub fn unserved(&self) -> u64 {
        self.attachment.unserved()
    }

    /// What the kernel has counted for all queues of the port; what the queues count themselves is not in it.
    #[must_use]
    pub fn kernel_statistics(&self) -> Statistics {
        self.sockets
            .iter()
            .fold(Statistics::default(), |sum, socket| sum + socket_statistics(socket.as_raw_fd()))
    }
}

fn attach(
    interface: &Interface,
    mode: XdpMode,
    report: &mut dyn FnMut(&Waiting),
) -> Result<Attachment, OpenError> {
    let mut hook = |hook| {
        while_busy(&interface.name, None, report, || {
            Attachment::new(interface.index, interface.receive_queues, hook)
        })
    };
    let result = match mode {
        XdpMode::Skb => hook(Hook::Generic),
        XdpMode::ZeroCopy | XdpMode::Copy => hook(Hook::Driver),
        XdpMode::Auto => match hook(Hook::Driver) {
            Err(error) if is_unsupported(&error) || refuses_mtu(&error) => hook(Hook::Generic),
            result => result,
        },
    };
    result.map_err(|error| {
        let name = interface.name.clone();
        if is_busy(&error) {
            OpenError::OtherProgram { interface: name }
        } else if refuses_mtu(&error) {
            OpenError::MtuTooLarge { interface: name, mtu: interface.mtu, most: None }
        } else if is_unsupported(&error) {
            OpenError::Unsupported {
                interface: name,
                driver: interface.driver.clone(),
                what: "XDP of its own",
            }
        } else {
            OpenError::system(&name, "attach an XDP program", error)
        }
    })
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS))
}

/// What drivers say to an MTU that they can't do XDP with.
fn refuses_mtu(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ERANGE | libc::EMSGSIZE | libc::E2BIG))
}

/// An interface that was down.
#[derive(Debug)]
struct BroughtUp {
    control: Control,
    name: String,
}

impl Drop for BroughtUp {
    fn drop(&mut self) {
        if let Ok(flags) = self.control.flags(&self.name) {
            // The interface may be gone, and a drop has nobody to tell.
            let _ = self.control.set_flags(&self.name, flags & !libc::IFF_UP);
        }
    }
}

fn bring_up(interface: &Interface) -> io::Result<Option<BroughtUp>> {
    let control = Control::open()?;
    let flags = control.flags(&interface.name)?;
    if flags & libc::IFF_UP != 0 {
        return Ok(None);
    }
    control.set_flags(&interface.name, flags | libc::IFF_UP)?;
    Ok(Some(BroughtUp { control, name: interface.name.clone() }))
}

/// A packet socket that receives nothing and is there only for its membership, which ends with it.
fn promiscuous(interface: u32) -> io::Result<OwnedFd> {
    let socket = open_socket(libc::AF_PACKET, libc::SOCK_RAW)?;
    let membership = libc::packet_mreq {
        mr_ifindex: interface as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let (value, length) = ((&raw const membership).cast(), size_of::<libc::packet_mreq>() as libc::socklen_t);
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
    // SAFETY: the option takes a packet_mreq, which outlives the call.
    let returned = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) };
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}
