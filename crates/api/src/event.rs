//! What happens to apps and workers, as events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An app was added.
    AppCreated,
    /// An app was changed.
    AppUpdated,
    /// An app was removed.
    AppDeleted,
    /// A worker's process was started.
    WorkerSpawned,
    /// A worker's process could not be started.
    SpawnFailed,
    /// A worker serves.
    WorkerReady,
    /// A worker was not ready in time.
    WorkerNotReady,
    /// An old worker is handing over its work.
    WorkerDraining,
    /// A worker was asked to stop.
    WorkerStopping,
    /// A worker did not stop in time and was killed.
    WorkerKilled,
    /// A worker ended.
    WorkerExited,
    /// A worker that ended will be started again after a delay.
    RestartDelayed,
    /// A worker ended too often and is not started again.
    GaveUp,
    /// A slot has no worker any more and wants none.
    SlotStopped,
    /// A rolling reload began.
    RolloutStarted,
    /// One slot has its new worker.
    RolloutSlotDone,
    /// A rolling reload is finished.
    RolloutDone,
    /// A rolling reload was given up; the old workers stay.
    RolloutFailed,
    /// An address is listened on.
    ListenerOpened,
    /// An address is no longer listened on.
    ListenerClosed,
    /// A worker sent a message (`process.send`).
    WorkerMessage,
    /// A schedule, a changed file or a memory limit asks for new workers; `reason` says which.
    Triggered,
    /// A schedule, a watch or a limit cannot do what was asked of it.
    TriggerTrouble,
    /// The store that hosts share cannot be asked: jobs that they share are skipped.
    StoreUnreachable,
    /// It answers again.
    StoreReachable,
    /// An app of which there may be only one runs on this host from now on.
    SingletonHere,
    /// It does not (any more).
    SingletonElsewhere,
    /// The daemon started, or came back.
    DaemonStarted,
    /// Worth telling, and nothing of the above.
    #[serde(other)]
    Other,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Counts up by one for each event of a daemon's life.
    pub seq: u64,
    /// When it happened, in milliseconds since 1970 (UTC).
    pub time_unix_ms: u64,
    /// What happened.
    pub kind: EventKind,
    /// The same in words, ready for a terminal; names the app and the slot.
    pub message: String,
    /// The app's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The app's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The slot's id (PM2's `pm_id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The slot's number within its app, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The worker's id, never used again for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// The worker's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The exit code, when the worker exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal's number, when a signal ended the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why, where there is a reason to give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For `restart_delayed`: how long until the restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// For `worker_message`: the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

impl Event {
    /// An event without the optional fields.
    pub fn new(seq: u64, time_unix_ms: u64, kind: EventKind, message: impl Into<String>) -> Self {
        Self {
            seq,
            time_unix_ms,
            kind,
            message: message.into(),
            app: None,
            namespace: None,
            slot: None,
            index: None,
            worker: None,
            pid: None,
            exit_code: None,
            signal: None,
            reason: None,
            delay_ms: None,
            data: None,
        }
    }
}
