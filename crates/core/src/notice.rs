//! What a watcher sees: the story of each worker, told once.

use crate::{AppId, ExitStatus, Failure, OpId, SlotId, Span, WorkerId};
use serde::{Deserialize, Serialize};

/// One line of the story. Nothing depends on a notice being delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// An app exists.
    AppCreated {
        /// Which.
        app: AppId,
    },
    /// The app's first workers wait for another app.
    WaitingFor {
        /// Which waits.
        app: AppId,
        /// The name of the other.
        on: String,
        /// How that one has to be, as in "to be ready".
        condition: String,
    },
    /// The app and all its workers are gone.
    AppDeleted {
        /// Which.
        app: AppId,
    },
    /// A process runs; it need not be ready.
    Spawned {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: u32,
    },
    /// No process came to be.
    SpawnFailed {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// The worker is ready.
    Ready {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// How it showed.
        how: ReadyHow,
    },
    /// The worker lives but was not ready in time. It is left to go on unless it is a rollout's new worker.
    NotReady {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// The time it had.
        after: Span,
    },
    /// The worker's readiness probe says no: it gets no new connections until it says yes.
    Unready {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// What is wrong, for people.
        reason: String,
    },
    /// The worker's liveness probe says no.
    Unhealthy {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// What is wrong, for people.
        reason: String,
        /// What is done about it.
        remedy: Remedy,
    },
    /// The worker takes no new work.
    Draining {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
    },
    /// The worker was sent a signal (9: it did not go by itself in time).
    Signalled {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// Which signal.
        signal: i32,
    },
    /// The worker's process ended.
    Exited {
        /// Its app.
        app: AppId,
        /// Its slot.
        slot: SlotId,
        /// Which.
        worker: WorkerId,
        /// How.
        status: ExitStatus,
        /// How long it lived.
        uptime: Span,
        /// It had been asked to end.
        asked: bool,
    },
    /// The slot's next worker starts after a delay (none: no such notice).
    WaitingRestart {
        /// Its app.
        app: AppId,
        /// Which slot.
        slot: SlotId,
        /// How long from now.
        delay: Span,
        /// Unstable exits in a row so far.
        unstable: u32,
    },
    /// Too many unstable exits in a row: nothing more is tried on this slot until somebody asks.
    GaveUp {
        /// Its app.
        app: AppId,
        /// Which slot.
        slot: SlotId,
        /// Unstable exits in a row.
        unstable: u32,
    },
    /// The slot's program ended by itself and is not to be restarted.
    Finished {
        /// Its app.
        app: AppId,
        /// Which slot.
        slot: SlotId,
        /// How it ended.
        status: ExitStatus,
    },
    /// All that this command asked for has been set going: whoever need not wait for its end may go.
    /// At most once, before the op's end; not for a command that ends at once.
    Launched {
        /// Which command.
        op: OpId,
    },
    /// A rollout began.
    RolloutStarted {
        /// Its app.
        app: AppId,
        /// Slots to renew.
        total: u32,
    },
    /// One slot more has its new worker ready.
    RolloutStep {
        /// Its app.
        app: AppId,
        /// Which slot.
        slot: SlotId,
        /// Slots renewed so far.
        done: u32,
        /// Of so many.
        total: u32,
    },
    /// Every slot is renewed and every old worker gone.
    RolloutDone {
        /// Its app.
        app: AppId,
    },
    /// The rollout stopped; slots that were not renewed keep their workers.
    RolloutFailed {
        /// Its app.
        app: AppId,
        /// What went wrong first.
        failure: Failure,
        /// Slots renewed before.
        done: u32,
        /// Of so many.
        total: u32,
        /// So many of them go back to the specification from before; none where only the program's files are new.
        back: u32,
    },
}

/// What becomes of a worker that is not worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Another one takes its place, now.
    Replace,
    /// Another one takes its place after this wait, because those before it were no better.
    ReplaceAfter(Span),
    /// It stays: so many before it were no better, or it is not to be restarted at all.
    Keep(u32),
}

/// How a worker showed that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyHow {
    /// It listens.
    Listening,
    /// It said so.
    Announced,
    /// It lived long enough.
    Alive,
    /// It was found running after a restart of the supervisor.
    Adopted,
    /// Its readiness probe says so.
    Probed,
}

// === impl Notice ===

impl Notice {
    /// The app that the notice is about.
    #[must_use]
    pub fn app(&self) -> Option<AppId> {
        match self {
            Self::AppCreated { app }
            | Self::WaitingFor { app, .. }
            | Self::AppDeleted { app }
            | Self::Spawned { app, .. }
            | Self::SpawnFailed { app, .. }
            | Self::Ready { app, .. }
            | Self::NotReady { app, .. }
            | Self::Unready { app, .. }
            | Self::Unhealthy { app, .. }
            | Self::Draining { app, .. }
            | Self::Signalled { app, .. }
            | Self::Exited { app, .. }
            | Self::WaitingRestart { app, .. }
            | Self::GaveUp { app, .. }
            | Self::Finished { app, .. }
            | Self::RolloutStarted { app, .. }
            | Self::RolloutStep { app, .. }
            | Self::RolloutDone { app }
            | Self::RolloutFailed { app, .. } => Some(*app),
            Self::Launched { .. } => None,
        }
    }

    /// The slot that the notice is about.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        match self {
            Self::Spawned { slot, .. }
            | Self::SpawnFailed { slot, .. }
            | Self::Ready { slot, .. }
            | Self::NotReady { slot, .. }
            | Self::Unready { slot, .. }
            | Self::Unhealthy { slot, .. }
            | Self::Draining { slot, .. }
            | Self::Signalled { slot, .. }
            | Self::Exited { slot, .. }
            | Self::WaitingRestart { slot, .. }
            | Self::GaveUp { slot, .. }
            | Self::Finished { slot, .. }
            | Self::RolloutStep { slot, .. } => Some(*slot),
            Self::AppCreated { .. }
            | Self::WaitingFor { .. }
            | Self::AppDeleted { .. }
            | Self::Launched { .. }
            | Self::RolloutStarted { .. }
            | Self::RolloutDone { .. }
            | Self::RolloutFailed { .. } => None,
        }
    }
}
