//! The eBPF programs.
//!
//! All of them: pick an index from the table, note the choice in `load[index]`, select that socket. Whatever
//! is missing or out of range ends in `SK_PASS` without a selection: the kernel then uses its own hash.

use std::os::fd::BorrowedFd;

use super::asm::Alu::{
    AddK, AddX, AndK, LeftShiftK, ModX, MoveK, MoveX, Mul32K, RightShift32K, RightShiftK, SubX, Xor32X,
};
use super::asm::Helper::{MapLookup, ProbeReadKernel, SelectReuseport, SkbLoadBytesRelative};
use super::asm::If::{BelowX, EqualK, GreaterK, NotBelowK, NotBelowX, NotEqualK};
use super::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use super::asm::Width::{U32, U64};
use super::asm::{Asm, Insn, Label, Reg};
use super::btf::Layout;
use super::steer::TABLE_MAX;
use super::{HASH_MULTIPLIER, HASH_SHIFT, IP_BUCKETS};

/// What a program decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The table's entries in turn.
    RoundRobin,
    /// The table's entry with the lowest load; among equals, in turn.
    LeastLoaded,
    /// The table's entry for the client address's bucket.
    SourceIp,
    /// The table's entry with the shortest accept queue; among equals, the one that had the fewest so far for what it
    /// weighs. A worker whose event loop is blocked gets one connection and no second one. Table entries
    /// come from [`shortest_queue_entry`].
    ///
    /// Reads kernel memory (`bpf_probe_read_kernel`): needs CAP_PERFMON besides CAP_BPF, type information of the
    /// kernel, Linux 5.14, and no lockdown for confidentiality. When a read fails, that queue counts as empty.
    ShortestQueue,
}

/// A table entry of [`Kind::ShortestQueue`]: the socket's index, and its position in the group, by which the
/// program finds its queue. A wrong position costs balance only.
#[must_use]
pub fn shortest_queue_entry(index: u32, position: u32) -> u32 {
    position << POSITION_SHIFT | index & INDEX_MASK
}

const POSITION_SHIFT: u32 = 16;
const INDEX_BITS: i32 = 10;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const _: () = assert!(TABLE_MAX == 1 << INDEX_BITS);
/// Bits of a share above the smallest that counts; 20 are left for the queue, more than any backlog.
const SHARE_BITS: i32 = 34;

/// The maps of one program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'a> {
    /// One value: `u32 count, u32 0, u32 index[TABLE_MAX]`.
    pub(super) table: BorrowedFd<'a>,
    /// `u64` counters: [`TURN`], from [`LOADS`] on the loads, and what [`shortest`] counts.
    pub(super) counters: BorrowedFd<'a>,
    /// Sockets by index.
    pub(super) sockets: BorrowedFd<'a>,
}

/// Counter of choices made.
pub(super) const TURN: u32 = 0;
/// First counter of the loads.
pub(super) const LOADS: u32 = 1;
/// First counter of the shares ([`Kind::ShortestQueue`]).
pub(super) const SHARES: u32 = LOADS + TABLE_MAX as u32;
/// First counter of the strides, by which a choice adds to a share; 0 counts as [`STRIDE`].
pub(super) const STRIDES: u32 = SHARES + TABLE_MAX as u32;
/// The greatest share at which anything was chosen.
pub(super) const TIME: u32 = STRIDES + TABLE_MAX as u32;
/// How many counters there are.
pub(super) const COUNTERS: u32 = TIME + 1;

/// Stride of the heaviest sockets; that of the others is greater in proportion.
pub(super) const STRIDE: u64 = 1 << 10;
/// Greatest stride: many of them still fit into a share's bits.
pub(super) const STRIDE_MAX: u64 = STRIDE << 14;
/// How far behind the others a share can be, to be paid back later: as many connections of the heaviest sockets as come
/// in the milliseconds for which a queue that stood still is avoided, again and again where processors are short. No flood:
/// the share decides among equal queues only.
const ARREARS_MAX: u64 = 256 * STRIDE;
/// Where the table's entries start, in bytes.
pub(super) const TABLE_HEAD_BYTES: i16 = 8;
/// How many entries a comparing program looks at, beginning at the turn: the verifier walks every round of its loop
/// when it is loaded, 64 rounds eight times as long as eight. The best of 64 is hardly worse than the best of all.
pub(super) const COMPARED: [usize; 2] = [8, 64];

// Stack slots, below the frame pointer.
const KEY: i16 = -4;
const ADDRESS: i16 = -24;
const START: i16 = -32;
const BEST_LOAD: i16 = -40;
const BEST: i16 = -48;
const POINTER: i16 = -56;
const READ: i16 = -64;
const SOCKETS: i16 = -72;
const ENTRY: i16 = -80;
const FLOOR: i16 = -88;
const TRIED: i16 = -96;
const TAG: i16 = -104;

// Offsets in `struct sk_reuseport_md`.
const CTX_ETH_PROTOCOL: i16 = 20;
const CTX_HASH: i16 = 32;
const CTX_SOCKET: i16 = 40;
/// Ethernet types as they stand in the frame.
const ETH_P_IP: i32 = 0x0800u16.to_be() as i32;
const ETH_P_IPV6: i32 = 0x86DDu16.to_be() as i32;
/// Offsets of the source address in the headers.
const IPV4_SOURCE: i32 = 12;
const IPV6_SOURCE: i32 = 8;
/// `BPF_HDR_START_NET`.
const FROM_NETWORK_HEADER: i32 = 1;
const SK_PASS: i32 = 1;

/// How the turn is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// One atomic instruction (Linux 5.12): exact.
    Fetch,
    /// Read, then add: two processors may use the same turn.
    ReadThenAdd,
}

/// Assembles a program; one that compares looks at `compared` entries.
pub(super) fn assemble(
    kind: Kind,
    compared: usize,
    maps: Maps<'_>,
    counting: Counting,
    layout: Option<Layout>,
) -> Vec<Insn> {
    let mut asm = Asm::default();
    let pass = asm.label();
    asm.alu(MoveX, R6, R1); // context
    asm.store_k(U32, R10, KEY, 0);
    map_value(&mut asm, maps.table, pass);
    asm.alu(MoveX, R7, R0); // table
    asm.load(U32, R8, R7, 0); // count
    asm.jump_if_k(EqualK, R8, 0, pass);
    asm.jump_if_k(GreaterK, R8, TABLE_MAX as i32, pass);
    match (kind, layout) {
        (Kind::ShortestQueue, Some(layout)) => shortest(&mut asm, compared, maps, counting, layout, pass),
        (Kind::RoundRobin | Kind::ShortestQueue, _) => {
            turn(&mut asm, maps.counters, counting, pass);
            entry(&mut asm, R1, pass);
        }
        (Kind::LeastLoaded, _) => least(&mut asm, compared, maps, counting, pass),
        (Kind::SourceIp, _) => {
            asm.jump_if_k(NotEqualK, R8, IP_BUCKETS as i32, pass);
            address_bucket(&mut asm);
            entry(&mut asm, R1, pass);
        }
    }
    select(&mut asm, maps, pass);
    asm.here(pass);
    asm.alu_k(MoveK, R0, SK_PASS);
    asm.exit();
    asm.finish()
}

/// `r0 = &map[*(u32 *)(fp + KEY)]`
fn map_value(asm: &mut Asm, map: BorrowedFd<'_>, missing: Label) {
    asm.map(R1, map);
    asm.alu(MoveX, R2, R10);
    asm.alu_k(AddK, R2, i32::from(KEY));
    asm.call(MapLookup);
    asm.jump_if_k(EqualK, R0, 0, missing);
}

/// `r1 = turn++ % r8`
fn turn(asm: &mut Asm, counters: BorrowedFd<'_>, counting: Counting, pass: Label) {
    asm.store_k(U32, R10, KEY, TURN as i32);
    map_value(asm, counters, pass);
    match counting {
        Counting::Fetch => {
            asm.alu_k(MoveK, R1, 1);
            asm.atomic_fetch_add(R0, 0, R1);
        }
        Counting::ReadThenAdd => {
            asm.load(U64, R1, R0, 0);
            asm.alu_k(MoveK, R2, 1);
            asm.atomic_add(R0, 0, R2);
        }
    }
    asm.alu(ModX, R1, R8);
}

/// `*(u32 *)(fp + KEY) = table.index[position]`. Clobbers R2 and `position`.
fn entry(asm: &mut Asm, position: Reg, pass: Label) {
    asm.jump_if_k(NotBelowK, position, TABLE_MAX as i32, pass); // the verifier does not see it from `%`
    asm.alu_k(LeftShiftK, position, 2);
    asm.alu(MoveX, R2, R7);
    asm.alu(AddX, R2, position);
    asm.load(U32, position, R2, TABLE_HEAD_BYTES);
    asm.store(U32, R10, KEY, position);
}

/// `r1 = bucket(source address)`, or of the kernel's hash where the packet cannot be read (a migration).
fn address_bucket(asm: &mut Asm) {
    let (v6, no_address, hash) = (asm.label(), asm.label(), asm.label());
    let load_source = |asm: &mut Asm, offset, bytes| {
        asm.alu(MoveX, R1, R6);
        asm.alu_k(MoveK, R2, offset);
        asm.alu(MoveX, R3, R10);
        asm.alu_k(AddK, R3, i32::from(ADDRESS));
        asm.alu_k(MoveK, R4, bytes);
        asm.alu_k(MoveK, R5, FROM_NETWORK_HEADER);
        asm.call(SkbLoadBytesRelative);
        asm.jump_if_k(NotEqualK, R0, 0, no_address);
    };
    asm.load(U32, R1, R6, CTX_ETH_PROTOCOL);
    asm.jump_if_k(EqualK, R1, ETH_P_IPV6, v6);
    asm.jump_if_k(NotEqualK, R1, ETH_P_IP, no_address);
    load_source(asm, IPV4_SOURCE, 4);
    asm.load(U32, R1, R10, ADDRESS);
    asm.big_endian_to_number32(R1);
    asm.jump(hash);
    asm.here(v6);
    load_source(asm, IPV6_SOURCE, 16);
    asm.load(U32, R1, R10, ADDRESS);
    for word in 1..4 {
        asm.load(U32, R2, R10, ADDRESS + 4 * word);
        asm.alu(Xor32X, R1, R2);
    }
    asm.big_endian_to_number32(R1);
    asm.jump(hash);
    asm.here(no_address);
    asm.load(U32, R1, R6, CTX_HASH);
    asm.here(hash);
    asm.alu_k(Mul32K, R1, HASH_MULTIPLIER as i32);
    asm.alu_k(RightShift32K, R1, HASH_SHIFT as i32);
}

/// `*(u32 *)(fp + KEY) =` the entry with the lowest load, beginning at the turn.
fn least(asm: &mut Asm, compared: usize, maps: Maps<'_>, counting: Counting, pass: Label) {
    let (again, in_range, worse, done) = (asm.label(), asm.label(), asm.label(), asm.label());
    turn(asm, maps.counters, counting, pass);
    asm.store(U64, R10, START, R1);
    asm.alu_k(MoveK, R1, -1); // sign-extended: the greatest u64
    asm.store(U64, R10, BEST_LOAD, R1);
    asm.store(U64, R10, BEST, R1);
    asm.alu_k(MoveK, R9, 0);
    asm.here(again);
    asm.jump_if(NotBelowX, R9, R8, done);
    asm.jump_if_k(NotBelowK, R9, compared as i32, done);
    asm.load(U64, R1, R10, START);
    asm.alu(AddX, R1, R9);
    asm.jump_if(BelowX, R1, R8, in_range);
    asm.alu(SubX, R1, R8);
    asm.here(in_range);
    entry(asm, R1, pass);
    asm.alu_k(AddK, R1, LOADS as i32);
    asm.store(U32, R10, KEY, R1);
    map_value(asm, maps.counters, worse);
    asm.load(U64, R1, R0, 0);
    asm.load(U64, R2, R10, BEST_LOAD);
    asm.jump_if(NotBelowX, R1, R2, worse);
    asm.store(U64, R10, BEST_LOAD, R1);
    asm.load(U32, R1, R10, KEY);
    asm.alu_k(AddK, R1, -(LOADS as i32));
    asm.store(U64, R10, BEST, R1);
    asm.here(worse);
    asm.alu_k(AddK, R9, 1);
    asm.jump(again);
    asm.here(done);
    asm.load(U64, R1, R10, BEST);
    asm.store(U32, R10, KEY, R1);
}

/// `*(u64 *)(fp + READ) =` `bytes` of kernel memory at R3; zero when that cannot be read.
fn probe(asm: &mut Asm, bytes: i32) {
    asm.store_k(U64, R10, READ, 0);
    asm.alu(MoveX, R1, R10);
    asm.alu_k(AddK, R1, i32::from(READ));
    asm.alu_k(MoveK, R2, bytes);
    asm.call(ProbeReadKernel);
}

/// `*(u32 *)(fp + KEY) =` the entry with the shortest accept queue; among equals the one with the smallest share so
/// far.
///
/// Shares are start tags of start-time fair queueing (Goyal, Vin, Cheng 1996): each choice moves a socket's tag on by
/// its stride, the greatest tag chosen is the time, and a tag that is more than [`ARREARS_MAX`] behind counts as that
/// far behind. So a worker that was passed over for a moment is paid back, and one that was away is not flooded.
///
/// What is compared is one number, queue : share : index from the highest bits down, so that the verifier has one value
/// to follow through the loop: with three it takes minutes.
fn shortest(asm: &mut Asm, compared: usize, maps: Maps<'_>, counting: Counting, layout: Layout, pass: Label) {
    let (again, in_range, behind, worse, done) =
        (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
    turn(asm, maps.counters, counting, pass);
    asm.store(U64, R10, START, R1);
    floor(asm, maps, pass);
    // The verifier forbids arithmetic with a socket pointer; read back from the stack it is a number.
    asm.load(U64, R1, R6, CTX_SOCKET);
    asm.store(U64, R10, POINTER, R1);
    asm.alu(MoveX, R3, R10);
    asm.alu_k(AddK, R3, i32::from(POINTER));
    probe(asm, 8);
    asm.load(U64, R3, R10, READ);
    asm.alu_k(AddK, R3, layout.reuseport as i32);
    probe(asm, 8);
    asm.load(U64, R1, R10, READ);
    asm.alu_k(AddK, R1, layout.sockets as i32);
    asm.store(U64, R10, SOCKETS, R1);
    asm.alu_k(MoveK, R1, -1); // sign-extended: the greatest u64
    asm.store(U64, R10, BEST, R1);
    asm.alu_k(MoveK, R9, 0);
    asm.here(again);
    asm.jump_if(NotBelowX, R9, R8, done);
    asm.jump_if_k(NotBelowK, R9, compared as i32, done);
    asm.load(U64, R1, R10, START);
    asm.alu(AddX, R1, R9);
    asm.jump_if(BelowX, R1, R8, in_range);
    asm.alu(SubX, R1, R8);
    asm.here(in_range);
    entry(asm, R1, pass);
    asm.store(U64, R10, ENTRY, R1);
    asm.alu_k(AndK, R1, INDEX_MASK as i32);
    counter(asm, maps, SHARES, worse);
    asm.load(U64, R1, R0, 0);
    asm.load(U64, R2, R10, FLOOR);
    asm.alu_k(MoveK, R3, 0);
    asm.jump_if(BelowX, R1, R2, behind);
    asm.alu(MoveX, R3, R1);
    asm.alu(SubX, R3, R2);
    asm.here(behind);
    asm.alu_k(LeftShiftK, R3, 64 - SHARE_BITS);
    asm.alu_k(RightShiftK, R3, 64 - SHARE_BITS - INDEX_BITS);
    asm.load(U64, R1, R10, ENTRY);
    asm.alu_k(AndK, R1, INDEX_MASK as i32);
    asm.alu(AddX, R3, R1);
    // Nothing is shorter than an empty queue: if that would not do, there is no need to look.
    asm.load(U64, R2, R10, BEST);
    asm.jump_if(NotBelowX, R3, R2, worse);
    asm.store(U64, R10, TRIED, R3);
    asm.load(U64, R1, R10, ENTRY);
    asm.alu_k(RightShiftK, R1, POSITION_SHIFT as i32);
    asm.alu_k(LeftShiftK, R1, 3);
    asm.load(U64, R3, R10, SOCKETS);
    asm.alu(AddX, R3, R1);
    probe(asm, 8);
    asm.load(U64, R3, R10, READ);
    asm.alu_k(AddK, R3, layout.backlog as i32);
    probe(asm, 4);
    asm.load(U32, R1, R10, READ);
    asm.alu_k(LeftShiftK, R1, SHARE_BITS + INDEX_BITS);
    asm.load(U64, R2, R10, TRIED);
    asm.alu(AddX, R1, R2);
    asm.load(U64, R2, R10, BEST);
    asm.jump_if(NotBelowX, R1, R2, worse);
    asm.store(U64, R10, BEST, R1);
    asm.here(worse);
    asm.alu_k(AddK, R9, 1);
    asm.jump(again);
    asm.here(done);
    take_share(asm, maps, pass);
}

/// `*(u64 *)(fp + FLOOR) =` the smallest share that counts.
fn floor(asm: &mut Asm, maps: Maps<'_>, pass: Label) {
    let started = asm.label();
    asm.alu_k(MoveK, R1, 0);
    counter(asm, maps, TIME, pass);
    asm.load(U64, R1, R0, 0);
    asm.jump_if_k(NotBelowK, R1, ARREARS_MAX as i32, started);
    asm.alu_k(MoveK, R1, ARREARS_MAX as i32);
    asm.here(started);
    asm.alu_k(AddK, R1, -(ARREARS_MAX as i32));
    asm.store(U64, R10, FLOOR, R1);
}

/// Moves the tag of the entry in BEST on by its stride, and the time to where that tag was; leaves its index at KEY.
/// Two processors at once may lose one of two steps, which costs balance only.
fn take_share(asm: &mut Asm, maps: Maps<'_>, pass: Label) {
    let (known, late) = (asm.label(), asm.label());
    asm.load(U64, R9, R10, BEST);
    asm.alu(MoveX, R1, R9);
    asm.alu_k(LeftShiftK, R1, 64 - SHARE_BITS - INDEX_BITS);
    asm.alu_k(RightShiftK, R1, 64 - SHARE_BITS);
    asm.load(U64, R2, R10, FLOOR);
    asm.alu(AddX, R1, R2);
    asm.store(U64, R10, TAG, R1);
    asm.alu_k(AndK, R9, INDEX_MASK as i32);
    asm.alu(MoveX, R1, R9);
    counter(asm, maps, STRIDES, pass);
    asm.load(U64, R1, R0, 0);
    asm.jump_if_k(NotEqualK, R1, 0, known);
    asm.alu_k(MoveK, R1, STRIDE as i32);
    asm.here(known);
    asm.load(U64, R2, R10, TAG);
    asm.alu(AddX, R1, R2);
    asm.store(U64, R10, TRIED, R1);
    asm.alu(MoveX, R1, R9);
    counter(asm, maps, SHARES, pass);
    asm.load(U64, R1, R10, TRIED);
    asm.store(U64, R0, 0, R1);
    asm.alu_k(MoveK, R1, 0);
    counter(asm, maps, TIME, pass);
    asm.load(U64, R1, R0, 0);
    asm.load(U64, R2, R10, TAG);
    asm.jump_if(NotBelowX, R1, R2, late);
    asm.store(U64, R0, 0, R2);
    asm.here(late);
    asm.store(U32, R10, KEY, R9);
}

/// `r0 = &counters[first + r1]`. Clobbers R1.
fn counter(asm: &mut Asm, maps: Maps<'_>, first: u32, missing: Label) {
    asm.alu_k(AddK, R1, first as i32);
    asm.store(U32, R10, KEY, R1);
    map_value(asm, maps.counters, missing);
}

/// Counts the choice and selects the socket whose index is at KEY.
fn select(asm: &mut Asm, maps: Maps<'_>, pass: Label) {
    asm.load(U32, R9, R10, KEY);
    asm.alu(MoveX, R1, R9);
    asm.alu_k(AddK, R1, LOADS as i32);
    asm.store(U32, R10, KEY, R1);
    map_value(asm, maps.counters, pass);
    asm.alu_k(MoveK, R1, 1);
    asm.atomic_add(R0, 0, R1);
    asm.store(U32, R10, KEY, R9);
    asm.alu(MoveX, R1, R6);
    asm.map(R2, maps.sockets);
    asm.alu(MoveX, R3, R10);
    asm.alu_k(AddK, R3, i32::from(KEY));
    asm.alu_k(MoveK, R4, 0);
    asm.call(SelectReuseport);
}
