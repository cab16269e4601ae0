//! What the daemon shows of apps, slots, listeners and itself.

use crate::SingletonView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skep_spec::{AppSpec, Balance, Instances, Runtime};
use std::fmt;

/// What an app or a slot is doing, in PM2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Status {
    /// Serving.
    #[serde(rename = "online")]
    Online,
    /// Started, not ready yet.
    #[serde(rename = "launching")]
    Launching,
    /// Asked to stop, not gone yet.
    #[serde(rename = "stopping")]
    Stopping,
    /// Not running, as wanted.
    #[serde(rename = "stopped")]
    Stopped,
    /// Not running, because it failed too often.
    #[serde(rename = "errored")]
    Errored,
    /// Ended; will be started again after a delay.
    #[serde(rename = "waiting restart")]
    WaitingRestart,
}

impl Status {
    /// PM2's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Launching => "launching",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
            Self::WaitingRestart => "waiting restart",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppView {
    /// The app's number, never used again for another.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The worst of its slots' states, so that `online` means that all is well.
    pub status: Status,
    /// How many workers were asked for, as it was written.
    pub instances: Instances,
    /// How many workers that is on this machine.
    pub instances_wanted: u32,
    /// What is executed: program and arguments.
    pub argv: Vec<String>,
    /// The script or command as the user knows it.
    pub script: String,
    /// The working directory.
    pub cwd: String,
    /// How workers share listening addresses; never `auto`.
    pub runtime: Runtime,
    /// Why this runtime was chosen.
    pub runtime_reason: String,
    /// When the app was added, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Its slots, by index.
    pub slots: Vec<SlotView>,
    /// The addresses that it listens on.
    #[serde(default)]
    pub listeners: Vec<ListenerView>,
    /// Whose it is, if there may be only one over several hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub singleton: Option<SingletonView>,
    /// Why it could not listen the last time that it tried: who has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_listen: Option<String>,
    /// The rolling reload that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// All that was asked for; only with `detail=full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<AppSpec>>,
}

/// One slot: a place for one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlotView {
    /// The slot's number in the whole fleet (PM2's `pm_id`).
    pub id: u32,
    /// The slot's number within its app, from 0 (`NODE_APP_INSTANCE`).
    pub index: u32,
    /// What it is doing.
    pub status: Status,
    /// The current worker's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// The current worker's process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The process id of the worker that is to replace the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor_pid: Option<u32>,
    /// How often a worker was started again here.
    pub restarts: u32,
    /// How many of the last restarts in a row came after too short a life.
    #[serde(default)]
    pub unstable_restarts: u32,
    /// How long the current worker has been running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// For `waiting restart`: how long until the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_in_ms: Option<u64>,
    /// Memory in use (resident set).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time since the last look, as a percentage of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<f32>,
    /// What its Node.js worker told of its inside; only while somebody asks (`vitals=true`, or metrics).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<VitalsView>,
    /// How the last worker here ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitView>,
    /// What its worker can be asked to do (`trigger`), by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Its worker's own metrics, as `@pm2/io` sends them: `{"value": …, "unit": …}` by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// The file of standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_file: Option<String>,
    /// The file of standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_file: Option<String>,
}

/// What a Node.js worker told of its inside lately. Rates are of the time between the last two questions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VitalsView {
    /// How long it took to answer the last question; while it has not answered, how long it has been waited for.
    pub reply_ms: Option<f64>,
    /// How late its event loop was on average since the question before, in milliseconds; known from the second question
    /// within half a minute.
    pub event_loop_delay_ms: Option<f64>,
    /// The 99th percentile of the same.
    pub event_loop_delay_p99_ms: Option<f64>,
    /// The most.
    pub event_loop_delay_max_ms: Option<f64>,
    /// The share of the time that its event loop worked, from 0 to 1; at the first question, since the worker began.
    pub event_loop_utilization: Option<f64>,
    /// Bytes of the JavaScript heap in use.
    pub heap_used_bytes: Option<u64>,
    /// Bytes of the JavaScript heap.
    pub heap_total_bytes: Option<u64>,
    /// HTTP/1 responses since it was first asked.
    pub http_requests: Option<u64>,
    /// Those of them with a status from 500.
    pub http_errors: Option<u64>,
    /// HTTP/1 responses a second.
    pub http_requests_per_second: Option<f64>,
    /// The share of them with a status from 500, from 0 to 1; absent when there were none.
    pub http_error_share: Option<f64>,
    /// How long an HTTP/1 answer took on average, in milliseconds.
    pub http_latency_ms: Option<f64>,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExitView {
    /// The exit code, when it exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal's number, when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// In words: `exited with code 1`, `killed by SIGKILL`, `not found: /srv/app`.
    pub message: String,
}

/// One address that an app listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerView {
    /// The address, as in `listen`: `0.0.0.0:8080`, `unix:/run/web.sock`, `udp:[::]:53`.
    pub address: String,
    /// The balance that was asked for.
    pub balance: Balance,
    /// What is used: `ebpf-rr`, `ebpf-least`, `cbpf-random`, `kernel-hash`, `shared`, `ipc`.
    pub selection: String,
    /// Why this is used.
    pub reason: String,
    /// Connections that wait to be accepted, for each slot.
    #[serde(default)]
    pub queues: Vec<QueueView>,
}

/// One slot's accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueView {
    /// The slot's id.
    pub slot: u32,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// The most that may wait.
    pub limit: u32,
}

/// A rolling reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutView {
    /// Slots that have their new worker.
    pub done: u32,
    /// Slots in all.
    pub total: u32,
    /// What it is waiting for, in words.
    pub waiting_for: String,
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonView {
    /// Its process id.
    pub pid: u32,
    /// The process id of the keeper, parent of all workers.
    pub keeper_pid: u32,
    /// The program file that keeper and daemon are; ends with ` (deleted)` when it was replaced since.
    #[serde(default)]
    pub program: String,
    /// skep's version.
    pub version: String,
    /// The directory where skep keeps its state.
    pub home: String,
    /// How long the daemon has been running.
    pub uptime_ms: u64,
    /// How many apps there are.
    pub apps: u32,
    /// How many workers run.
    pub workers: u32,
    /// What this kernel or these privileges do not allow, and what is used instead.
    #[serde(default)]
    pub degraded: Vec<String>,
}
