//! An assembler for eBPF: instructions, forward and backward labels.

use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction (`struct bpf_insn`, linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Insn {
    code: u8,
    /// Destination in the low, source in the high four bits.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register. R0 results, R1–R5 arguments (lost in calls), R6–R9 kept, R10 frame pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    U32 = 0x00,
    U64 = 0x18,
}

/// A place to jump to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Asm {
    code: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

// Opcode parts (linux/bpf_common.h, linux/bpf.h).
const LD_IMM64: u8 = 0x18;
const LDX_MEM: u8 = 0x61;
const ST_MEM: u8 = 0x62;
const STX_MEM: u8 = 0x63;
const STX_ATOMIC_U64: u8 = 0xdb;
const PSEUDO_MAP_FD: u8 = 1;
const ATOMIC_ADD: i32 = 0x00;
const ATOMIC_FETCH: i32 = 0x01;
const TO_BIG_ENDIAN: u8 = 0xdc;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP_ALWAYS: u8 = 0x05;

/// 64-bit and 32-bit arithmetic, with an immediate (K) or a register (X).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alu {
    MoveX = 0xbf,
    MoveK = 0xb7,
    AddX = 0x0f,
    AddK = 0x07,
    SubX = 0x1f,
    ModX = 0x9f,
    LeftShiftK = 0x67,
    RightShiftK = 0x77,
    AndK = 0x57,
    Mul32K = 0x24,
    RightShift32K = 0x74,
    Xor32X = 0xac,
}

/// Conditional jumps, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum If {
    EqualK = 0x15,
    NotEqualK = 0x55,
    GreaterK = 0x25,
    NotBelowK = 0x35,
    NotBelowX = 0x3d,
    BelowX = 0xad,
}

/// Kernel functions (enum bpf_func_id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Helper {
    MapLookup = 1,
    SkbLoadBytesRelative = 68,
    SelectReuseport = 82,
    ProbeReadKernel = 113,
}

// === impl Asm ===

impl Asm {
    fn push(&mut self, code: u8, dst: Reg, src: u8, offset: i16, immediate: i32) {
        self.code.push(Insn { code, registers: dst as u8 | src << 4, offset, immediate });
    }

    /// A label to be placed later (or now).
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub(super) fn here(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `dst = dst op src`.
    pub(super) fn alu(&mut self, op: Alu, dst: Reg, src: Reg) {
        self.push(op as u8, dst, src as u8, 0, 0);
    }

    /// `dst = dst op k`.
    pub(super) fn alu_k(&mut self, op: Alu, dst: Reg, k: i32) {
        self.push(op as u8, dst, 0, 0, k);
    }

    /// The 32-bit big-endian value in `reg` becomes a number.
    pub(super) fn big_endian_to_number32(&mut self, reg: Reg) {
        self.push(TO_BIG_ENDIAN, reg, 0, 0, 32);
    }

    /// `dst = *(width *)(src + offset)`.
    pub(super) fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        self.push(LDX_MEM | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = src`.
    pub(super) fn store(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.push(STX_MEM | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = k`.
    pub(super) fn store_k(&mut self, width: Width, dst: Reg, offset: i16, k: i32) {
        self.push(ST_MEM | width as u8, dst, 0, offset, k);
    }

    /// `*(u64 *)(dst + offset) += src`, atomically.
    pub(super) fn atomic_add(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(STX_ATOMIC_U64, dst, src as u8, offset, ATOMIC_ADD);
    }

    /// The same, and `src` becomes the value before (Linux 5.12).
    pub(super) fn atomic_fetch_add(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(STX_ATOMIC_U64, dst, src as u8, offset, ATOMIC_ADD | ATOMIC_FETCH);
    }

    /// `dst =` the map behind `fd`.
    pub(super) fn map(&mut self, dst: Reg, fd: BorrowedFd<'_>) {
        self.push(LD_IMM64, dst, PSEUDO_MAP_FD, 0, fd.as_raw_fd());
        self.push(0, Reg::R0, 0, 0, 0);
    }

    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CALL, Reg::R0, 0, 0, helper as i32);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(JUMP_ALWAYS, Reg::R0, 0, 0, 0);
    }

    pub(super) fn jump_if(&mut self, condition: If, dst: Reg, src: Reg, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(condition as u8, dst, src as u8, 0, 0);
    }

    pub(super) fn jump_if_k(&mut self, condition: If, dst: Reg, k: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(condition as u8, dst, 0, 0, k);
    }

    pub(super) fn exit(&mut self) {
        self.push(EXIT, Reg::R0, 0, 0, 0);
    }

    /// The finished program.
    pub(super) fn finish(mut self) -> Vec<Insn> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label of our programs is placed");
            let distance = target as i64 - at as i64 - 1;
            self.code[at].offset = i16::try_from(distance).expect("our programs are short");
        }
        self.code
    }
}
