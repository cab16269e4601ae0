//! Who chooses the slot of a new connection, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who chooses the slot of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    /// eBPF program: the slot with the shortest accept queue; among equals the one that had the fewest for what it weighs.
    EbpfShortest,
    /// eBPF program: slots in turn, as often as they weigh.
    EbpfRr,
    /// eBPF program: the slot with the lowest load.
    EbpfLeast,
    /// eBPF program: by the client's address, through a table of 256 buckets.
    EbpfIp,
    /// Classic BPF program: at random, as often as slots weigh.
    CbpfRandom,
    /// Classic BPF program: by the client's address, through the same table.
    CbpfIp,
    /// Classic BPF program: by the client's address and the ports.
    CbpfHash,
    /// No program: the kernel's hash of addresses and ports. Slots cannot be steered around.
    KernelHash,
    /// One socket for all slots.
    Shared,
    /// One socket; the daemon accepts.
    Ipc,
}

/// The active selector and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Who chooses.
    pub selector: Selector,
    /// One sentence for `skep describe`.
    pub why: String,
}

// === impl Selector ===

impl Selector {
    /// Its name in the API and in `describe`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EbpfShortest => "ebpf-shortest",
            Self::EbpfRr => "ebpf-rr",
            Self::EbpfLeast => "ebpf-least",
            Self::EbpfIp => "ebpf-ip",
            Self::CbpfRandom => "cbpf-random",
            Self::CbpfIp => "cbpf-ip",
            Self::CbpfHash => "cbpf-hash",
            Self::KernelHash => "kernel-hash",
            Self::Shared => "shared",
            Self::Ipc => "ipc",
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
