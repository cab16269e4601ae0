//! What the fleet is told. An event only says "look again": one that comes twice, late or out of order does no harm.

use crate::{AppId, Command, OpId, Permit, ProbeKind, Revision, SlotId, WorkerId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened at the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "events are handed on one at a time, never kept in numbers")]
pub enum Event {
    /// A user's wish. Ends in exactly one [`crate::Effect::OpDone`] with the same `op`.
    Command {
        /// A number that was never used before.
        op: OpId,
        /// The wish.
        command: Command,
    },
    /// The worker's program was executed.
    Spawned {
        /// Which worker.
        worker: WorkerId,
        /// Its process.
        pid: u32,
    },
    /// The worker could not be brought to life; nothing of it is left.
    SpawnFailed {
        /// Which worker.
        worker: WorkerId,
        /// A sentence for people: stage and error.
        reason: String,
    },
    /// The worker accepts connections on all that it has to listen on.
    Listening {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker said `ready`.
    Announced {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker has nothing left to serve (its servers closed, its IPC channel ended).
    Drained {
        /// Which worker.
        worker: WorkerId,
    },
    /// The worker that was asked to finish before a stop sees to its stop by itself (it handles the signal, or cannot
    /// be asked): it is told at once.
    StopsItself {
        /// Which worker.
        worker: WorkerId,
    },
    /// A probe was answered, or was not in its time.
    Probed {
        /// Which worker.
        worker: WorkerId,
        /// Which of its probes.
        kind: ProbeKind,
        /// As in the [`crate::Effect::Probe`].
        question: u32,
        /// None: all is well. Otherwise what is wrong, for people.
        failure: Option<String>,
    },
    /// The worker's process ended.
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// How.
        status: ExitStatus,
    },
    /// Whether an app of which there may be only one ([`crate::Policy::singleton`]) may run here.
    Permit {
        /// Which.
        app: AppId,
        /// Whether it may.
        permit: Permit,
    },
    /// The keeper's whole truth: heals every event that was lost. Send it when in doubt.
    Seen(Inventory),
    /// Time passed. Only a tick fires deadlines, so that an answer that already waits in a queue is never
    /// overtaken by its own timeout: hand in every event at hand first, then tick if
    /// [`crate::Fleet::next_deadline`] has come.
    Tick,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Nobody saw it end (the keeper was restarted, or lost it).
    Unknown,
}

/// Every process that the keeper holds or has not been told to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// In any order.
    pub children: Vec<SeenWorker>,
}

/// One process in the keeper's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenWorker {
    /// As in its [`crate::Effect::Spawn`].
    pub worker: WorkerId,
    /// As in its [`crate::Effect::Spawn`].
    pub app: AppId,
    /// As in its [`crate::Effect::Spawn`].
    pub slot: SlotId,
    /// As in its [`crate::Effect::Spawn`].
    pub revision: Revision,
    /// Its process.
    pub pid: u32,
    /// How it ended, if it did.
    pub exited: Option<ExitStatus>,
}

// === impl ExitStatus ===

impl ExitStatus {
    /// The program ended of its own will and content.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an exit nobody saw"),
        }
    }
}
