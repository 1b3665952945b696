//! An assembler for the few eBPF instructions that the programs here are made of, so that neither a build nor a
//! run needs a compiler for BPF. It checks nothing: the kernel's verifier does.
//!
//! ```text
//!   8 bytes:   opcode | src:4 dst:4 | offset (16) | immediate (32)
//! ```

use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction, as the kernel reads it (`struct bpf_insn`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(4))]
pub struct Instruction {
    opcode: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// A register of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Register {
    /// What a call returns and what the program does.
    R0 = 0,
    /// First argument; the context at the start.
    R1 = 1,
    /// Second argument.
    R2 = 2,
    /// Third argument.
    R3 = 3,
    /// Kept over calls.
    R6 = 6,
    /// Kept over calls.
    R7 = 7,
    /// The frame pointer, read-only: the stack lies below it.
    R10 = 10,
}

/// A kernel function that a program calls (`enum bpf_func_id`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Helper {
    /// `bpf_map_lookup_elem(map, key)`.
    MapLookup = 1,
    /// `bpf_skb_vlan_push(skb, protocol, tci)`.
    VlanPush = 18,
    /// `bpf_skb_vlan_pop(skb)`.
    VlanPop = 19,
    /// `bpf_redirect(ifindex, flags)`.
    Redirect = 23,
    /// `bpf_redirect_map(map, key, flags)`.
    RedirectMap = 51,
}

/// A place in the program that jumps lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Instruction>,
    targets: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

// Opcodes: class | size or source | mode or operation (Documentation/bpf/standardization/instruction-set.rst).
const LOAD_IMMEDIATE_64: u8 = 0x18;
const LOAD_32: u8 = 0x61;
const STORE_32: u8 = 0x63;
const STORE_IMMEDIATE_32: u8 = 0x62;
const STORE_64: u8 = 0x7b;
const LOAD_64: u8 = 0x79;
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const ADD_IMMEDIATE: u8 = 0x07;
const AND_IMMEDIATE: u8 = 0x57;
const JUMP_ALWAYS: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x15;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The source of a 64-bit load that makes its immediate the descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;

impl Assembler {
    /// An empty program.
    #[must_use]
    pub fn new() -> Assembler {
        Assembler::default()
    }

    fn push(mut self, opcode: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Assembler {
        self.code.push(Instruction { opcode, registers: src << 4 | dst, offset, immediate });
        self
    }

    /// A label that is not yet anywhere.
    pub fn label(&mut self) -> Label {
        self.targets.push(None);
        Label(self.targets.len() - 1)
    }

    /// The label stands before the next instruction.
    #[must_use]
    pub fn bind(mut self, label: Label) -> Assembler {
        self.targets[label.0] = Some(self.code.len());
        self
    }

    /// `to = value`.
    #[must_use]
    pub fn set(self, to: Register, value: i32) -> Assembler {
        self.push(MOVE_IMMEDIATE, to as u8, 0, 0, value)
    }

    /// `to = from`.
    #[must_use]
    pub fn copy(self, to: Register, from: Register) -> Assembler {
        self.push(MOVE_REGISTER, to as u8, from as u8, 0, 0)
    }

    /// `to += value`.
    #[must_use]
    pub fn add(self, to: Register, value: i32) -> Assembler {
        self.push(ADD_IMMEDIATE, to as u8, 0, 0, value)
    }

    /// `to &= value`.
    #[must_use]
    pub fn and(self, to: Register, value: i32) -> Assembler {
        self.push(AND_IMMEDIATE, to as u8, 0, 0, value)
    }

    /// `to = *(u32 *)(base + offset)`.
    #[must_use]
    pub fn load_32(self, to: Register, base: Register, offset: i16) -> Assembler {
        self.push(LOAD_32, to as u8, base as u8, offset, 0)
    }

    /// `to = *(u64 *)(base + offset)`.
    #[must_use]
    pub fn load_64(self, to: Register, base: Register, offset: i16) -> Assembler {
        self.push(LOAD_64, to as u8, base as u8, offset, 0)
    }

    /// `*(u32 *)(base + offset) = from`.
    #[must_use]
    pub fn store_32(self, base: Register, offset: i16, from: Register) -> Assembler {
        self.push(STORE_32, base as u8, from as u8, offset, 0)
    }

    /// `*(u32 *)(base + offset) = value`.
    #[must_use]
    pub fn store_value_32(self, base: Register, offset: i16, value: i32) -> Assembler {
        self.push(STORE_IMMEDIATE_32, base as u8, 0, offset, value)
    }

    /// `*(u64 *)(base + offset) = from`.
    #[must_use]
    pub fn store_64(self, base: Register, offset: i16, from: Register) -> Assembler {
        self.push(STORE_64, base as u8, from as u8, offset, 0)
    }

    /// `to = the map`; takes two slots.
    #[must_use]
    pub fn load_map(self, to: Register, map: BorrowedFd<'_>) -> Assembler {
        self.push(LOAD_IMMEDIATE_64, to as u8, PSEUDO_MAP_FD, 0, map.as_raw_fd()).push(0, 0, 0, 0, 0)
    }

    /// `if register == value goto label`.
    #[must_use]
    pub fn jump_if_equal(mut self, register: Register, value: i32, label: Label) -> Assembler {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP_EQUAL, register as u8, 0, 0, value)
    }

    /// `goto label`.
    #[must_use]
    pub fn jump(mut self, label: Label) -> Assembler {
        self.jumps.push((self.code.len(), label));
        self.push(JUMP_ALWAYS, 0, 0, 0, 0)
    }

    /// `r0 = helper(r1, r2, r3)`.
    #[must_use]
    pub fn call(self, helper: Helper) -> Assembler {
        self.push(CALL, 0, 0, 0, helper as i32)
    }

    /// `return r0`.
    #[must_use]
    pub fn exit(self) -> Assembler {
        self.push(EXIT, 0, 0, 0, 0)
    }

    /// The program, jumps resolved.
    ///
    /// # Panics
    /// Where a label that is jumped to was never bound, which is a mistake in the program's text.
    #[must_use]
    pub fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in &self.jumps {
            let target = self.targets[label.0].expect("each label that is jumped to is bound");
            let distance = target as i64 - *at as i64 - 1;
            self.code[*at].offset = i16::try_from(distance).expect("these programs are short");
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_from_the_instruction_behind_them() {
        let mut program = Assembler::new();
        let end = program.label();
        let code = program
            .set(Register::R0, 1)
            .jump_if_equal(Register::R0, 1, end)
            .set(Register::R0, 2)
            .set(Register::R0, 3)
            .bind(end)
            .exit()
            .finish();
        assert_eq!(code[1].offset, 2);
        assert_eq!(code[1].opcode, JUMP_EQUAL);
    }

    #[test]
    fn registers_share_a_byte_with_the_source_above() {
        let code = Assembler::new().load_32(Register::R2, Register::R1, 16).finish();
        assert_eq!(code[0].registers, 0x12);
        assert_eq!(code[0].offset, 16);
    }
}
