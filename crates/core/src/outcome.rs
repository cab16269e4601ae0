//! How a command ends.

use crate::{AppId, ExitStatus, OpId, SlotId, Span, WorkerId};
use serde::{Deserialize, Serialize};

/// The one end of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Its goal is reached.
    Done,
    /// Its goal was not reached: the first thing that went wrong. Unlike a rejection the command did change
    /// things, and the fleet goes on trying what its policy says.
    Failed(Failure),
    /// A later command took over everything that this one still waited for.
    Superseded {
        /// The later command.
        by: OpId,
    },
    /// It cannot be carried out; nothing changed.
    Rejected(Rejection),
}

/// What went wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which app.
    pub app: AppId,
    /// On which slot.
    pub slot: SlotId,
    /// With which worker, so that its last words can be shown.
    pub worker: Option<WorkerId>,
    /// What.
    pub reason: Reason,
}

/// What went wrong. Prints as a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It ended before it was ready (or, in a rollout, too soon after).
    #[error("the worker ended with {status} after {uptime}")]
    Exited {
        /// How.
        status: ExitStatus,
        /// How long it lived.
        uptime: Span,
    },
    /// It lives but is not ready.
    #[error("the worker was not ready after {after}; raise listen_timeout if it needs longer")]
    NotReady {
        /// The time it had.
        after: Span,
    },
    /// It says that it cannot take work.
    #[error("the worker's readiness probe failed: {failure}")]
    Unready {
        /// The last answer.
        failure: String,
    },
    /// It is not worth keeping, and no other one is tried.
    #[error("the worker's liveness probe failed: {failure}; {tries} in a row were never well, so it stays")]
    Unwell {
        /// The last answer.
        failure: String,
        /// How many workers.
        tries: u32,
    },
    /// There is no process.
    #[error("the worker could not be started: {error}")]
    SpawnFailed {
        /// Stage and error, from the edge.
        error: String,
    },
    /// Too many unstable exits in a row.
    #[error("gave up after {unstable} exits in a row before min_uptime, the last with {last}")]
    GaveUp {
        /// How many.
        unstable: u32,
        /// How the last one ended.
        last: ExitStatus,
    },
    /// What it depends on is not there.
    #[error("it waits for what it depends on: {why}")]
    Dependency {
        /// What is the matter with that.
        why: String,
    },
    /// It does not die of `SIGKILL` (it hangs in the kernel); killing goes on.
    #[error("the worker survives SIGKILL: it hangs in the kernel, often on a dead disk or network mount")]
    Unkillable,
}

/// Why a command cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "rejection", rename_all = "snake_case")]
pub enum Rejection {
    /// Another app has the name.
    #[error("the name `{name}` belongs to an app that is there; delete that one or choose another name")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        app: AppId,
    },
    /// The app of this name is on its way out.
    #[error("app {app} named `{name}` is being deleted; try again when its workers are gone")]
    NameLeaving {
        /// The name.
        name: String,
        /// Whose it still is.
        app: AppId,
    },
    /// There is no such app.
    #[error("there is no app {app}")]
    UnknownApp {
        /// Which.
        app: AppId,
    },
    /// There is no such slot.
    #[error("there is no slot {slot}")]
    UnknownSlot {
        /// Which.
        slot: SlotId,
    },
    /// What it depends on depends on it.
    #[error("these apps depend on each other: {}", names.join(" → "))]
    DependencyCycle {
        /// The way round, the first name again at the end.
        names: Vec<String>,
    },
    /// The command names nothing.
    #[error("the command names no app and no slot")]
    EmptyTarget,
    /// Too many slots.
    #[error("instances = {instances} is more than the {max} that one app may have")]
    TooManyInstances {
        /// Asked for.
        instances: u32,
        /// Allowed.
        max: u32,
    },
    /// The fleet is stopping for good.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}
