//! The XDP program of a port: every frame goes to the socket of the queue that it arrived on.
//!
//! Nothing is filtered here, not even VLANs that the port has not: the gateway counts what it drops, with the
//! reason, and it can only count what it sees. The one exception is a queue without a socket, as there is for a
//! moment at start; its frames are dropped and counted in a map.
//!
//! ```text
//!   r6 = ctx->rx_queue_index
//!   r0 = bpf_redirect_map(sockets, r6, XDP_DROP)
//!   if r0 == XDP_REDIRECT: return r0
//!   unserved[0] += 1           (per CPU)
//!   return XDP_DROP
//! ```

use super::bpf::{self, Hook, MapKind, ProgramKind};
use super::insn::{Assembler, Helper, Instruction, Register};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Offset of `rx_queue_index` in `struct xdp_md` (include/uapi/linux/bpf.h).
const RX_QUEUE_INDEX: i16 = 16;
/// `XDP_DROP` (`enum xdp_action`).
const DROP: i32 = 1;
/// `XDP_REDIRECT`.
const REDIRECT: i32 = 4;

/// A program that is attached to an interface, until this is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Attachment {
    sockets: OwnedFd,
    unserved: OwnedFd,
    hook: Hook,
    interface: u32,
    program: OwnedFd,
    link: OwnedFd,
}

impl Attachment {
    /// Loads the program and attaches it.
    ///
    /// # Errors
    /// The kernel's (see [`bpf::link_xdp`]).
    pub(super) fn new(interface: u32, queues: u32, hook: Hook) -> io::Result<Attachment> {
        let sockets = bpf::create_map(MapKind::Sockets, c"bulkhead_xsks", 4, queues)?;
        let unserved = bpf::create_map(MapKind::PerCpuArray, c"bulkhead_lost", 8, 1)?;
        let code = redirect_all(sockets.as_fd(), unserved.as_fd());
        let program = bpf::load_program(ProgramKind::Xdp, c"bulkhead", &code)?;
        let link = bpf::link_xdp(program.as_fd(), interface, hook)?;
        Ok(Attachment { sockets, unserved, hook, interface, program, link })
    }

    /// Whether the program is attached.
    pub(super) fn is_attached(&self) -> bool {
        // A link that can't be asked is taken to be whole: the next look asks again.
        bpf::is_linked(self.link.as_fd()).unwrap_or(true)
    }

    /// Attaches the program again, with the sockets that it had.
    ///
    /// # Errors
    /// The kernel's (see [`bpf::link_xdp`]).
    pub(super) fn attach_again(&mut self) -> io::Result<()> {
        self.link = bpf::link_xdp(self.program.as_fd(), self.interface, self.hook)?;
        Ok(())
    }

    /// From now on the queue's frames go to this socket.
    pub(super) fn serve(&self, queue: u32, socket: &impl AsRawFd) -> io::Result<()> {
        let socket: RawFd = socket.as_raw_fd();
        bpf::update_map(self.sockets.as_fd(), queue, u32::try_from(socket).map_err(io::Error::other)?)
    }

    /// How many frames arrived on queues without a socket.
    pub(super) fn unserved(&self) -> u64 {
        // A map that this process has open, with a key that it has: there is nothing that could fail.
        bpf::sum_counter(self.unserved.as_fd(), 0).unwrap_or(0)
    }

    pub(super) fn hook(&self) -> Hook {
        self.hook
    }
}

fn redirect_all(sockets: BorrowedFd<'_>, unserved: BorrowedFd<'_>) -> Vec<Instruction> {
    use Register::{R0, R1, R2, R3, R10};
    const KEY: i16 = -4;
    let mut program = Assembler::new();
    let end = program.label();
    let drop = program.label();
    program
        .load_32(R2, R1, RX_QUEUE_INDEX)
        .load_map(R1, sockets)
        .set(R3, DROP)
        .call(Helper::RedirectMap)
        .jump_if_equal(R0, REDIRECT, end)
        .store_value_32(R10, KEY, 0)
        .load_map(R1, unserved)
        .copy(R2, R10)
        .add(R2, i32::from(KEY))
        .call(Helper::MapLookup)
        .jump_if_equal(R0, 0, drop)
        .load_64(R1, R0, 0)
        .add(R1, 1)
        .store_64(R0, 0, R1)
        .bind(drop)
        .set(R0, DROP)
        .bind(end)
        .exit()
        .finish()
}
