//! Why a port could not be opened, and what to do about it.

use std::fmt;
use std::io;

/// All that can go wrong before the first frame.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// No port was asked for, or one without queues, or one interface twice.
    BadRequest(String),
    /// There is no such interface in this network namespace.
    NoSuchInterface {
        /// Its name.
        interface: String,
    },
    /// The process lacks a capability.
    NoPermission {
        /// What it was about to do.
        doing: &'static str,
    },
    /// Frames of that length don't fit a chunk.
    MtuTooLarge {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest one that is possible here; `None`: it's the driver that refuses, and it doesn't say.
        most: Option<u32>,
    },
    /// The port asks for more queues than the interface has.
    TooFewQueues {
        /// The interface.
        interface: String,
        /// How many it has.
        has: u32,
        /// How many the port asks for.
        wants: u16,
    },
    /// Frames would arrive on queues that the port does not serve, and be lost.
    UnservedQueues {
        /// The interface.
        interface: String,
        /// How many receive queues it has.
        has: u32,
        /// How many the port serves.
        serves: u16,
    },
    /// Zero-copy for one port and a copy for another don't go together: all ports share their memory.
    MixedModes {
        /// An interface that must be zero-copy.
        zero_copy: String,
        /// An interface that must not.
        copy: String,
    },
    /// The driver can't do what the mode asks for.
    Unsupported {
        /// The interface.
        interface: String,
        /// Its driver.
        driver: String,
        /// What it can't do.
        what: &'static str,
    },
    /// Another XDP program is attached.
    OtherProgram {
        /// The interface.
        interface: String,
    },
    /// The queue is in use, and was still so after waiting.
    Busy {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// A hardware feature that changes frames could not be switched off.
    Offload {
        /// The interface.
        interface: String,
        /// The features, as `ethtool -k` names them.
        features: String,
    },
    /// Not as much memory can be pinned as the frames take.
    LockedMemory {
        /// How many bytes they take.
        bytes: u64,
    },
    /// Anything else that the kernel said.
    System {
        /// The interface, where it is about one.
        interface: String,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

impl OpenError {
    /// The error that the kernel's answer means, where it means the same whatever was being done.
    pub(super) fn system(interface: &str, doing: &'static str, error: io::Error) -> OpenError {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::NoPermission { doing },
            Some(libc::ENODEV) => OpenError::NoSuchInterface { interface: interface.to_owned() },
            _ if error.kind() == io::ErrorKind::PermissionDenied => OpenError::NoPermission { doing },
            _ => OpenError::System { interface: interface.to_owned(), doing, error },
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            OpenError::BadRequest(_) => String::from("correct the [[port]] entries"),
            OpenError::NoSuchInterface { .. } => {
                String::from("`ip link` lists the interfaces; correct `interface` in the [[port]]")
            }
            OpenError::NoPermission { .. } => {
                String::from("run as root, or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_IPC_LOCK")
            }
            OpenError::MtuTooLarge { interface, most: Some(most), .. } => {
                format!("`ip link set {interface} mtu {most}`, or less")
            }
            OpenError::MtuTooLarge { interface, most: None, .. } => {
                format!("`ip link set {interface} mtu 1500`, on both ends of a veth pair; or `xdp = \"skb\"`")
            }
            OpenError::TooFewQueues { interface, has, wants } => {
                format!("`queues = {has}` in the [[port]], or `ethtool -L {interface} combined {wants}`")
            }
            OpenError::UnservedQueues { interface, has, serves } => {
                format!("`ethtool -L {interface} combined {serves}`, or `queues = {has}` in the [[port]]")
            }
            OpenError::MixedModes { copy, .. } => {
                format!("the same `xdp` mode for all ports, or `xdp = \"zero-copy\"` on {copy} too")
            }
            OpenError::Unsupported { .. } => {
                String::from("`xdp = \"auto\"` takes the best that the driver can")
            }
            OpenError::OtherProgram { interface } => format!(
                "`ip -d link show {interface}` and `bpftool net` name the program; detach it with \
                 `ip link set {interface} xdp off`, or stop the program that owns it"
            ),
            OpenError::Busy { .. } => {
                String::from("another process has an AF_XDP socket on this queue (`ss --xdp`): stop it")
            }
            OpenError::Offload { interface, .. } => {
                format!("`ethtool -K {interface} rxvlan off txvlan off lro off gro off gso off tso off`")
            }
            OpenError::LockedMemory { .. } => String::from(
                "CAP_IPC_LOCK, or a higher limit of locked memory (`ulimit -l`, systemd's LimitMEMLOCK=)",
            ),
            OpenError::System { .. } => String::from("`dmesg` may say more"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::BadRequest(what) => write!(f, "{what}"),
            OpenError::NoSuchInterface { interface } => write!(f, "there is no interface `{interface}`"),
            OpenError::NoPermission { doing } => write!(f, "no permission to {doing}"),
            OpenError::MtuTooLarge { interface, mtu, most: Some(most) } => {
                write!(
                    f,
                    "{interface} has an MTU of {mtu}, and the most that a frame's memory holds is {most}"
                )
            }
            OpenError::MtuTooLarge { interface, mtu, most: None } => {
                write!(f, "{interface} has an MTU of {mtu}, which is too large for XDP in its driver")
            }
            OpenError::TooFewQueues { interface, has, wants } => {
                write!(f, "{interface} has {has} queue(s), and the port asks for {wants}")
            }
            OpenError::UnservedQueues { interface, has, serves } => write!(
                f,
                "{interface} spreads its frames over {has} queues, and the port serves {serves}: \
                 what arrives on the others would be lost"
            ),
            OpenError::MixedModes { zero_copy, copy } => write!(
                f,
                "{zero_copy} is to be zero-copy and {copy} is not, but all ports share one memory, \
                 which the kernel uses in one way"
            ),
            OpenError::Unsupported { interface, driver, what } => {
                write!(f, "the driver of {interface} ({driver}) has no {what}")
            }
            OpenError::OtherProgram { interface } => {
                write!(f, "another XDP program is attached to {interface}")
            }
            OpenError::Busy { interface, queue } => write!(f, "queue {queue} of {interface} is in use"),
            OpenError::Offload { interface, features } => {
                write!(f, "{interface} could not be made to leave frames as they are: {features}")
            }
            OpenError::LockedMemory { bytes } => {
                write!(f, "{} MiB of frames can't be pinned in memory", bytes >> 20)
            }
            OpenError::System { interface, doing, error } => {
                write!(f, "{interface}: could not {doing}: {error}")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::System { error, .. } => Some(error),
            OpenError::BadRequest(_)
            | OpenError::NoSuchInterface { .. }
            | OpenError::NoPermission { .. }
            | OpenError::MtuTooLarge { .. }
            | OpenError::TooFewQueues { .. }
            | OpenError::UnservedQueues { .. }
            | OpenError::MixedModes { .. }
            | OpenError::Unsupported { .. }
            | OpenError::OtherProgram { .. }
            | OpenError::Busy { .. }
            | OpenError::Offload { .. }
            | OpenError::LockedMemory { .. } => None,
        }
    }
}
