//! What the fleet looks like from outside: plain data for the API, recomputed when asked.

use crate::{AppId, Cause, ExitStatus, Failure, Now, OpId, ReadyHow, Revision, SlotId, Span, WorkerId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppView {
    /// Its number.
    pub id: AppId,
    /// Its name.
    pub name: String,
    /// Its label.
    pub namespace: String,
    /// The worst news of its slots; `stopped` without slots.
    pub status: Status,
    /// What a command starts from now on.
    pub revision: Revision,
    /// It is on its way out.
    pub deleting: bool,
    /// There may be only one over several hosts, and another host has it.
    pub standby: bool,
    /// Its slots by index, those on their way out included.
    pub slots: Vec<SlotView>,
    /// The rollout under way.
    pub rollout: Option<RolloutView>,
}

/// One slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    /// PM2's `pm_id`.
    pub id: SlotId,
    /// `NODE_APP_INSTANCE`.
    pub index: u32,
    /// As PM2 names it.
    pub status: Status,
    /// It shall run.
    pub up: bool,
    /// It goes when its workers are gone (scaled down or deleted).
    pub leaving: bool,
    /// What its next worker runs.
    pub revision: Revision,
    /// Its present worker.
    pub worker: Option<WorkerView>,
    /// The worker that a rollout is about to put in its place.
    pub successor: Option<WorkerView>,
    /// Earlier workers that still end.
    pub old: Vec<WorkerView>,
    /// When the next worker starts, if it has to wait.
    pub restart_at: Option<Now>,
    /// How often its worker was replaced, by reason.
    pub restarts: RestartCounts,
    /// Exits in a row before `min_uptime` (PM2's `unstable_restarts`).
    pub unstable: u32,
    /// The present wait of the exponential backoff (PM2's `prev_restart_delay`).
    pub backoff: Span,
    /// How its last worker ended.
    pub last_exit: Option<ExitView>,
    /// Why it is not ready, if something went wrong since the last command.
    pub trouble: Option<Failure>,
    /// When the slot came to be, or its counters were last set to zero (PM2's `created_at`).
    pub created: Now,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its number.
    pub id: WorkerId,
    /// Its process, once it has one.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub phase: PhaseName,
    /// What it runs.
    pub revision: Revision,
    /// When its process began (or was asked for, as long as there is none).
    pub started: Now,
    /// How it showed that it is ready.
    pub ready: Option<ReadyHow>,
}

/// How a slot's last worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitView {
    /// Which.
    pub worker: WorkerId,
    /// How.
    pub status: ExitStatus,
    /// When.
    pub at: Now,
    /// How long it lived.
    pub uptime: Span,
    /// It had been asked to end.
    pub asked: bool,
}

/// A slot's state in PM2's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Its worker is ready.
    #[serde(rename = "online")]
    Online,
    /// It shall not run and does not.
    #[serde(rename = "stopped")]
    Stopped,
    /// Its worker is on its way out.
    #[serde(rename = "stopping")]
    Stopping,
    /// Its worker is on its way in.
    #[serde(rename = "launching")]
    Launching,
    /// Its next worker waits for a delay to pass.
    #[serde(rename = "waiting restart")]
    WaitingRestart,
    /// Given up.
    #[serde(rename = "errored")]
    Errored,
}

/// Where a worker is in its life. From `Draining` on there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Asked for.
    Spawning,
    /// Its process runs.
    Starting,
    /// It serves.
    Ready,
    /// It finishes what it has.
    Draining,
    /// It was sent the polite stop, or the impolite one.
    Stopping,
}

/// How often a slot's worker was replaced, by reason. PM2's `restart_time` is [`RestartCounts::total`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartCounts {
    /// After it ended by itself, or could not start.
    pub crash: u32,
    /// A person or a script asked.
    pub user: u32,
    /// `cron_restart`.
    pub schedule: u32,
    /// `max_memory_restart`.
    pub memory: u32,
    /// `watch`.
    pub watch: u32,
    /// A liveness probe failed.
    pub health: u32,
    /// A new specification was rolled out.
    pub update: u32,
}

/// A rollout's progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// The command behind it; none: a liveness probe.
    pub op: Option<OpId>,
    /// What is rolled out.
    pub revision: Revision,
    /// Slots to renew.
    pub total: u32,
    /// Slots renewed.
    pub done: u32,
    /// Slots still to be renewed.
    pub waiting: Vec<SlotId>,
    /// When it began.
    pub started: Now,
}

// === impl Status ===

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Launching => "launching",
            Self::WaitingRestart => "waiting restart",
            Self::Errored => "errored",
        })
    }
}

// === impl RestartCounts ===

impl RestartCounts {
    /// All of them, as PM2 counts.
    #[must_use]
    pub fn total(&self) -> u32 {
        [self.crash, self.user, self.schedule, self.memory, self.watch, self.health, self.update]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    pub(crate) fn asked(&mut self, cause: Cause) {
        let count = match cause {
            Cause::User => &mut self.user,
            Cause::Schedule => &mut self.schedule,
            Cause::Memory => &mut self.memory,
            Cause::Watch => &mut self.watch,
            Cause::Health => &mut self.health,
        };
        *count = count.saturating_add(1);
    }
}
