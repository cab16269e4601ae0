//! Classic BPF: a key of the packet, a decision tree over it, the position of a socket in the group.
//!
//! A group numbers its sockets in the order of their `listen` (TCP) or `bind` (UDP); when one leaves, the last
//! one takes its number (net/core/sock_reuseport.c). The program sees a packet whose data begins behind the
//! transport header; headers are reached by the negative offsets of socket filters.

use std::io;
use std::os::fd::BorrowedFd;

use super::command::set_option;
use super::{HASH_MULTIPLIER, HASH_SHIFT, IP_BUCKETS};

/// What the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A random number below the sum of all widths.
    Random,
    /// Bucket of the client's address ([`super::ip_bucket`]); the widths must add up to [`IP_BUCKETS`].
    SourceIp,
    /// Bucket of the client's address and both ports; the widths must add up to [`IP_BUCKETS`].
    Flow,
    /// The processor that handles the packet, modulo the sum of all widths.
    Cpu,
}

/// A stretch of keys that lead to one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// How many keys.
    pub width: u32,
    /// Position of the socket in the group.
    pub position: u32,
}

// Opcodes (linux/filter.h).
const LD_W_ABS: u16 = 0x20;
const LD_B_ABS: u16 = 0x30;
const LD_W_IND: u16 = 0x40;
const LDX_B_MSH: u16 = 0xb1;
const ALU_MUL_K: u16 = 0x24;
const ALU_MOD_K: u16 = 0x94;
const ALU_RSH_K: u16 = 0x74;
const ALU_XOR_X: u16 = 0xac;
const MISC_TAX: u16 = 0x07;
const ST: u16 = 0x02;
const LDX_MEM: u16 = 0x61;
const JUMP: u16 = 0x05;
const JUMP_NOT_BELOW_K: u16 = 0x35;
const JUMP_EQUAL_K: u16 = 0x15;
const RET_K: u16 = 0x06;

/// `SKF_NET_OFF`: the network header.
const NET: u32 = (-0x10_0000i32) as u32;
/// `SKF_AD_OFF` + `SKF_AD_RANDOM`, `SKF_AD_CPU`.
const RANDOM: u32 = (-0x1000i32 + 56) as u32;
const CPU: u32 = (-0x1000i32 + 36) as u32;
/// Length of an IPv6 header; extension headers before TCP or UDP are as good as never seen.
const IPV6_HEADER: u32 = 40;
/// Longest classic program (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

/// A classic program.
#[derive(Clone)]
pub struct Program(Vec<libc::sock_filter>);

// === impl Program ===

impl Program {
    /// Assembles a program. `None` when there is nothing to choose from or the ranges are too many for the
    /// kernel's limit (about 1300).
    #[must_use]
    pub fn new(key: Key, ranges: &[Range]) -> Option<Self> {
        let total: u32 = ranges.iter().map(|range| range.width).sum();
        let buckets = matches!(key, Key::SourceIp | Key::Flow);
        if total == 0 || (buckets && total as usize != IP_BUCKETS) {
            return None;
        }
        let mut code = Vec::new();
        match key {
            Key::Random => code.extend([line(LD_W_ABS, RANDOM), line(ALU_MOD_K, total)]),
            Key::Cpu => code.extend([line(LD_W_ABS, CPU), line(ALU_MOD_K, total)]),
            Key::SourceIp => code.extend(source_ip()),
            Key::Flow => code.extend(flow()),
        }
        let mut upper = 0;
        let mut leaves: Vec<(u32, u32)> = Vec::new(); // first key behind the range, position
        for range in ranges.iter().filter(|range| range.width > 0) {
            upper += range.width;
            match leaves.last_mut() {
                Some(last) if last.1 == range.position => last.0 = upper,
                _ => leaves.push((upper, range.position)),
            }
        }
        code.extend(tree(&leaves));
        (code.len() <= INSTRUCTIONS_MAX).then_some(Self(code))
    }

    /// Attaches the program to the group of `socket`, in place of any other.
    ///
    /// # Errors
    /// EINVAL (not bound, no SO_REUSEPORT, kernel before 4.5), ENOMEM (`net.core.optmem_max`).
    pub fn attach(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let program = libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        set_option(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} instructions)", self.0.len())
    }
}

/// Removes the program of the group: the kernel's hash chooses again (Linux 5.3).
///
/// # Errors
/// ENOENT: there was none.
pub fn detach(socket: BorrowedFd<'_>) -> io::Result<()> {
    const ANY: libc::c_int = 0;
    set_option(socket, libc::SO_DETACH_REUSEPORT_BPF, &ANY)
}

fn line(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// `A = bucket(source address)`
fn source_ip() -> Vec<libc::sock_filter> {
    let mut v4 = vec![line(LD_W_ABS, NET + 12)];
    let mut v6 = fold_v6();
    join(&mut v4, &mut v6)
}

/// `A = bucket(source address ^ ports)`
fn flow() -> Vec<libc::sock_filter> {
    let mut v4 = vec![
        line(LD_W_ABS, NET + 12),
        line(ST, 0),
        line(LDX_B_MSH, NET), // X = length of the IPv4 header
        line(LD_W_IND, NET),  // both ports
        line(LDX_MEM, 0),
        line(ALU_XOR_X, 0),
    ];
    let mut v6 = fold_v6();
    v6.extend([line(MISC_TAX, 0), line(LD_W_ABS, NET + IPV6_HEADER), line(ALU_XOR_X, 0)]);
    join(&mut v4, &mut v6)
}

fn fold_v6() -> Vec<libc::sock_filter> {
    let mut code = vec![line(LD_W_ABS, NET + 8)];
    for word in 1..4 {
        code.extend([line(MISC_TAX, 0), line(LD_W_ABS, NET + 8 + 4 * word), line(ALU_XOR_X, 0)]);
    }
    code
}

/// `if IP version == 4 { v4 } else { v6 }; A = A * multiplier >> shift`
fn join(v4: &mut Vec<libc::sock_filter>, v6: &mut Vec<libc::sock_filter>) -> Vec<libc::sock_filter> {
    let mut code =
        vec![line(LD_B_ABS, NET), line(ALU_RSH_K, 4), branch(JUMP_EQUAL_K, 4, 0, v4.len() as u8 + 1)];
    code.append(v4);
    code.push(line(JUMP, v6.len() as u32));
    code.append(v6);
    code.extend([line(ALU_MUL_K, HASH_MULTIPLIER), line(ALU_RSH_K, HASH_SHIFT)]);
    code
}

/// Binary search for the range that `A` lies in.
fn tree(leaves: &[(u32, u32)]) -> Vec<libc::sock_filter> {
    match leaves {
        [] => Vec::new(),
        [(_, position)] => vec![line(RET_K, *position)],
        _ => {
            let (low, high) = leaves.split_at(leaves.len() / 2);
            let bound = low[low.len() - 1].0;
            let (low, high) = (tree(low), tree(high));
            let mut code = match u8::try_from(low.len()) {
                Ok(distance) => vec![branch(JUMP_NOT_BELOW_K, bound, distance, 0)],
                // Conditional jumps reach 255 instructions, unconditional ones any distance.
                Err(_) => vec![branch(JUMP_NOT_BELOW_K, bound, 0, 1), line(JUMP, low.len() as u32)],
            };
            code.extend(low);
            code.extend(high);
            code
        }
    }
}
