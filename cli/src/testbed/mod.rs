//! A network to try a gateway in, on one machine: hosts on VLANs, a switch, and a trunk to the gateway, each in a
//! network namespace of its own. It needs root and iproute2, and neither 802.1Q in the kernel nor a compiler:
//! tags are pushed and popped by two small programs on the switch.
//!
//! ```text
//!   bh-PID-NAME-web      bh-PID-NAME-switch                                    bh-PID-NAME-gw
//!   +--------+        +-----------------------------------------------+        +-----------+
//!   |   eth0 |--veth--| bridge v10 -- u10 =veth= m10 --push 10--.      |        |           |
//!   +--------+        |                                          :-> t0 |--veth--| trunk0    |
//!   |   eth0 |--veth--| bridge v20 -- u20 =veth= m20 --push 20--'      |        |           |
//!   +--------+        |                          <--pop, VID -> m--    |        +-----------+
//!   bh-PID-NAME-db    +-----------------------------------------------+
//! ```
//!
//! A bridge per VLAN is what a real switch does: each VLAN has its own table of MACs, so that a gateway that
//! bridges two VLANs may show a MAC on both. Hosts are on access ports and know nothing of tags.
//!
//! Everything goes when the [`Bed`] is dropped, when the process is told to end, and at the latest when the next
//! bed is made after a process was killed.

mod bed;
mod bulk;
mod cleanup;
mod host;
mod icmp;
mod iproute;
mod namespace;
mod raw;
mod service;
mod switch;
mod tag;

/// Whether this process is root, which a bed needs.
#[must_use]
pub fn is_root() -> bool {
    // The kernel gives a process's folder to its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

pub use bed::Bed;
pub use bulk::BulkError;
pub use cleanup::{send_signal, sweep_stale, yield_to_signal};
pub use host::{Host, HostSpec, TcpOutcome, UdpOutcome};
pub use icmp::PingOutcome;
pub use namespace::{Namespace, command_in};
pub use raw::{Captured, RawSocket};
pub use service::Service;
