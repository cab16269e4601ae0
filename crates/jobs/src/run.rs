//! One run on its way: it waits, it runs, it is asked to end.

use serde::{Deserialize, Serialize};

use crate::{UnixMs, Why};

/// A run that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// For which fire time.
    pub scheduled: UnixMs,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Somebody asked for it by hand.
    pub by_hand: bool,
    /// It makes up for a missed one: it waits for its turn whatever `overlap` says.
    pub made_up: bool,
    /// The shared store gave this host the fire time, with this token.
    pub claimed: Option<u64>,
    /// What it is doing.
    pub phase: Phase,
}

/// What a run is doing. Boot-clock times are of the boot in which they were written; after a reboot nothing of it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for its time (jitter, backoff), then for its turn, then for a worker.
    Waiting {
        /// Not before this, on the wall clock; for whoever reads it after a restart.
        from: UnixMs,
        /// The same on the boot clock.
        from_boot_ms: u64,
        /// It is its turn, and since then no worker has its function.
        seatless_since_boot_ms: Option<u64>,
    },
    /// Whether another host has it is being asked.
    Claiming,
    /// It was started.
    Running(Under),
    /// It was asked to end.
    Ending {
        /// As in `Running`.
        under: Under,
        /// Why.
        why: Why,
        /// From then on it is not asked any more.
        until_boot_ms: u64,
    },
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Under {
    /// Its fencing token.
    pub token: u64,
    /// Where.
    pub place: Place,
    /// Since when.
    pub started: UnixMs,
    /// The same on the boot clock.
    pub started_boot_ms: u64,
}

/// Where a run runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In this worker.
    Worker(u32),
    /// In a process of its own.
    Process,
    /// As a request that the daemon makes: it ends with the daemon.
    Request,
}

impl Run {
    pub(crate) fn under(&self) -> Option<&Under> {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Claiming => None,
            Phase::Running(under) | Phase::Ending { under, .. } => Some(under),
        }
    }

    /// Whether it is the one that this outcome is about.
    pub(crate) fn is(&self, scheduled: UnixMs, attempt: u32) -> bool {
        self.scheduled == scheduled && self.attempt == attempt
    }
}
