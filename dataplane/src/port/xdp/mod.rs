//! Ports on Linux interfaces, by AF_XDP: the driver hands over frames before the kernel's network stack sees
//! them.
//!
//! - All ports of a process share one memory (`memory.rs`), so that a frame goes from one to another without a
//!   copy.
//! - An interface that is a port belongs to the gateway: every frame goes to user space, and the kernel sees none
//!   (`program.rs`).
//! - What is changed about the interface is put back (`guard.rs`), and what would matter most, the XDP program,
//!   goes with the process even when it is killed.
//!
//! Not here: frames of more than one chunk (an MTU above 3,818), and hardware time stamps.

pub mod bpf;
pub mod insn;
pub mod offload;
pub mod receive_hash;

mod bind;
mod error;
mod guard;
mod interface;
mod ioctl;
mod memory;
mod open;
mod program;
mod queue;
mod statistics;

pub use bind::Waiting;
pub use error::OpenError;
pub use guard::{ModeInForce, PortGuard};
pub use interface::{Interface, LinkState};
pub use open::{Opened, PortRequest, frames_for, is_ready, open, open_reporting};
pub use queue::XdpPort;
pub use statistics::Statistics;
