//! Jobs, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its whole name: the app's, a slash, its own.
    pub id: String,
    /// The app's name.
    pub app: String,
    /// Its own name.
    pub name: String,
    /// What it is doing.
    pub state: JobState,
    /// When it fires, as it was written.
    pub schedule: String,
    /// The zone of the schedule; absent: the machine's.
    pub timezone: Option<String>,
    /// `function`, `command` or `http`.
    pub kind: String,
    /// The next fire time, in milliseconds since 1970.
    pub next_unix_ms: Option<i64>,
    /// Runs under way.
    pub running: u64,
    /// Runs that wait: for their turn, a retry, or a worker.
    pub waiting: u64,
    /// The last run that came to an end, or the last fire time that was skipped.
    pub last: Option<JobRun>,
    /// Attempts that were started.
    pub started: u64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed, timeouts included.
    pub failed: u64,
    /// Attempts whose end nobody saw.
    pub lost: u64,
    /// Attempts that were ended on purpose.
    pub cancelled: u64,
    /// Fire times that were not started.
    pub skipped: u64,
    /// How long all attempts took together.
    pub busy_ms: u64,
    /// How long after their time all attempts started together.
    pub late_ms: u64,
    /// The longest of those.
    pub late_most_ms: u64,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its next fire time.
    Waiting,
    /// A run is under way.
    Running,
    /// Nothing fires until it is resumed.
    Paused,
    /// Its app is stopped.
    Stopped,
    /// No app has it at present; its history is kept.
    Unregistered,
    /// A state that this client does not know.
    #[serde(other)]
    Unknown,
}

/// One run, or fire times that were skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRun {
    /// The idempotency key: the job and the fire time.
    pub id: String,
    /// The fire time, in milliseconds since 1970; of several skipped ones the last.
    pub scheduled_unix_ms: i64,
    /// Which attempt, from 1; 0: it was not started.
    pub attempt: u32,
    /// `started`, `succeeded`, `failed`, `lost`, `cancelled` or `skipped`.
    pub status: String,
    /// Why, in other than ordinary cases.
    pub why: Option<String>,
    /// Somebody asked for it by hand.
    pub manual: bool,
    /// The fencing token.
    pub token: Option<u64>,
    /// The worker that it ran in.
    pub worker: Option<u32>,
    /// When it was started.
    pub started_unix_ms: Option<i64>,
    /// When its end was seen.
    pub ended_unix_ms: Option<i64>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// What it returned, as JSON or as the answer's text; or the error.
    pub result: Option<String>,
    /// How many fire times this line stands for.
    pub count: u64,
    /// The first of several skipped fire times.
    pub since_unix_ms: Option<i64>,
    /// The file of its output, for commands.
    pub output_file: Option<String>,
}

/// What to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobAct {
    /// Run it now, beside its schedule.
    Run,
    /// Let nothing fire.
    Pause,
    /// Let it fire again.
    Resume,
    /// End its runs.
    Cancel,
}

/// How much of a job's history is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobHistoryQuery {
    /// So many runs at most, the newest first. Default: 20.
    pub limit: u32,
}

impl Default for JobHistoryQuery {
    fn default() -> Self {
        Self { limit: 20 }
    }
}
