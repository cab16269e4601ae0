//! How a group is to behave.

use serde::{Deserialize, Serialize};

/// Backlog when none is asked for: Node's default, which programs expect.
pub const BACKLOG_DEFAULT: u32 = 511;
/// Most slots of one group: an app's own limit on instances, and the size of the kernel tables.
pub const SLOTS_MAX: usize = 1024;

/// Which worker gets a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The best that this kernel and these privileges allow: the shortest accept queue by eBPF (the fewest
    /// connections so far while queues are empty), else exact round robin by eBPF, else random by classic BPF, else the kernel's hash.
    #[default]
    Auto,
    /// One after the other.
    Rr,
    /// The slot with the lowest load ([`crate::Group::set_load`]); without feedback, the fewest connections given.
    Least,
    /// In proportion to the weights ([`crate::Group::set_weight`]).
    Weighted,
    /// At random.
    Random,
    /// By the connection's addresses and ports.
    Hash,
    /// By the client's address.
    Ip,
    /// All workers accept from one socket: lowest tail latency, worst balance.
    Shared,
    /// The daemon accepts and hands every connection over.
    Ipc,
}

/// Whether an accepted connection can be given to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Workers take connections over their IPC channel (`newconn`): queues may be stolen from.
    Connections,
    /// Workers can only accept: queues are left alone, new connections are steered elsewhere.
    Nothing,
}

/// How a group is to behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Which worker gets a new connection.
    pub balance: Balance,
    /// Length of each slot's accept queue, in connections; 0 means [`BACKLOG_DEFAULT`]. The kernel cuts it to
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// Whether an accepted connection can be given to a worker.
    pub transfer: Transfer,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { balance: Balance::Auto, backlog: 0, transfer: Transfer::Connections }
    }
}

impl Options {
    pub(crate) fn backlog(&self) -> u32 {
        if self.backlog == 0 { BACKLOG_DEFAULT } else { self.backlog }
    }
}
