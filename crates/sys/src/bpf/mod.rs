//! BPF programs that choose the socket of a `SO_REUSEPORT` group for each new connection.
//!
//! Two kinds. *eBPF* ([`Steer`]): exact, steered by map updates of about a microsecond, migrates the queue of a
//! socket that closes; needs CAP_BPF (Linux 5.8) or CAP_SYS_ADMIN. *Classic* ([`classic`]): a program that is
//! attached anew for each change (8 us), needs no privilege, addresses sockets by their position in the group.
//!
//! Both are assembled by hand, instruction by instruction: no compiler, no object files, no library. A program
//! is attached once to any socket of the group and lives as long as the group; when it names a socket that is
//! not there, the kernel falls back to its own hash, so a wrong table costs balance, never a connection.
//!
//! Invariant: nothing here knows what a slot or an app is; indices are opaque.

mod asm;
mod btf;
pub mod classic;
mod command;
mod load;
mod programs;
mod steer;

pub use load::{BpfError, BpfStage};
pub use programs::{Kind, shortest_queue_entry};
pub use steer::{Steer, TABLE_MAX, capability};

/// Buckets of the client-address table.
pub const IP_BUCKETS: usize = 256;

/// Bucket of a client address. Both program kinds compute the same: a change of selector moves nobody.
///
/// Fibonacci hashing of the address in *host* order: of the network-order word, the upper bits would be the
/// same for all of 127.0.0.0/8. IPv6 addresses are folded to 32 bits first.
#[must_use]
pub fn ip_bucket(ip: std::net::IpAddr) -> usize {
    let word = match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => u32::from(ip),
        std::net::IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    };
    (word.wrapping_mul(HASH_MULTIPLIER) >> HASH_SHIFT) as usize
}

/// 2^32 divided by the golden ratio (Knuth, TAOCP 6.4).
const HASH_MULTIPLIER: u32 = 0x9E37_79B1;
/// Leaves the upper 8 bits: [`IP_BUCKETS`].
const HASH_SHIFT: u32 = 24;

#[cfg(test)]
mod tests;
