//! The two programs that make a switch: one pushes a VLAN's tag, one pops it and finds the VLAN.
//!
//! ```text
//!   m10, ingress:   push(0x8100, 10); redirect to the trunk
//!   t0, ingress:    vid = tag present ? tci & 0xfff : 0
//!                   port = ports[vid]; if 0: drop
//!                   if tag present: pop
//!                   redirect to port
//! ```

use dataplane::port::xdp::bpf::{self, Direction, MapKind, ProgramKind};
use dataplane::port::xdp::insn::{Assembler, Helper, Register};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Offset of `vlan_present` in `struct __sk_buff` (include/uapi/linux/bpf.h).
const VLAN_PRESENT: i16 = 20;
/// Offset of `vlan_tci`.
const VLAN_TCI: i16 = 24;
/// `TC_ACT_SHOT`: drop.
const DROP: i32 = 2;
/// The type of a tag (IEEE 802.1Q), in network byte order.
const TAG_TYPE: i32 = (0x8100_u16.to_be()) as i32;
const VIDS: u32 = 4096;

/// Puts all frames that arrive on an interface onto the trunk, with the tag of a VLAN (0: without).
pub(super) fn push(interface: u32, vid: u16, trunk: u32) -> io::Result<()> {
    use Register::{R1, R2, R3};
    let mut program = Assembler::new();
    if vid != 0 {
        program = program.set(R2, TAG_TYPE).set(R3, i32::from(vid)).call(Helper::VlanPush);
    }
    let code = program.set(R1, trunk as i32).set(R2, 0).call(Helper::Redirect).exit().finish();
    let program = bpf::load_program(ProgramKind::Classifier, c"bulkhead_push", &code)?;
    bpf::attach_classifier(program.as_fd(), interface, Direction::Ingress)
}

/// The switch's side of a trunk, which hands frames to the ports of their VLANs.
#[derive(Debug)]
pub(super) struct Splitter {
    ports: OwnedFd,
}

impl Splitter {
    /// Begins to split what arrives on the trunk; as yet all is dropped.
    pub(super) fn new(trunk: u32) -> io::Result<Splitter> {
        use Register::{R0, R1, R2, R6, R7, R10};
        const KEY: i16 = -4;
        let ports = bpf::create_map(MapKind::Array, c"bulkhead_vlans", 4, VIDS)?;
        let mut program = Assembler::new();
        let (untagged, found, popped, drop) =
            (program.label(), program.label(), program.label(), program.label());
        let code = program
            .copy(R6, R1)
            .set(R7, 0)
            .load_32(R2, R6, VLAN_PRESENT)
            .jump_if_equal(R2, 0, untagged)
            .load_32(R7, R6, VLAN_TCI)
            .and(R7, 0xfff)
            .bind(untagged)
            .store_32(R10, KEY, R7)
            .load_map(R1, ports.as_fd())
            .copy(R2, R10)
            .add(R2, i32::from(KEY))
            .call(Helper::MapLookup)
            .jump_if_equal(R0, 0, drop)
            .load_32(R7, R0, 0)
            .jump_if_equal(R7, 0, drop)
            .jump(found)
            .bind(drop)
            .set(R0, DROP)
            .exit()
            .bind(found)
            .load_32(R2, R6, VLAN_PRESENT)
            .jump_if_equal(R2, 0, popped)
            .copy(R1, R6)
            .call(Helper::VlanPop)
            .bind(popped)
            .copy(R1, R7)
            .set(R2, 0)
            .call(Helper::Redirect)
            .exit()
            .finish();
        let program = bpf::load_program(ProgramKind::Classifier, c"bulkhead_split", &code)?;
        bpf::attach_classifier(program.as_fd(), trunk, Direction::Ingress)?;
        Ok(Splitter { ports })
    }

    /// Frames of this VLAN go to this interface from now on.
    pub(super) fn serve(&self, vid: u16, interface: u32) -> io::Result<()> {
        bpf::update_map(self.ports.as_fd(), u32::from(vid), interface)
    }
}
