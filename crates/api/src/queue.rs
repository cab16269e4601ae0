//! Queues of jobs, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A part of a queue: every job is in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueuePart {
    /// It waits for a consumer.
    #[default]
    Ready,
    /// Its time has not come: it was delayed, or rests before a retry.
    Delayed,
    /// A consumer works on it.
    Active,
    /// It failed too often.
    Dead,
}

/// Which jobs of a queue are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QueueJobsQuery {
    /// Of which part. Default: `ready`.
    pub part: QueuePart,
    /// So many at most, in the order in which their turn comes. Default: 20.
    pub limit: u32,
}

impl Default for QueueJobsQuery {
    fn default() -> Self {
        Self { part: QueuePart::Ready, limit: 20 }
    }
}

/// A job of a queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueJob {
    /// Its number.
    pub id: String,
    /// Higher goes first.
    pub priority: u8,
    /// Tries that were begun.
    pub attempts: u32,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Of a ready job: since when, in milliseconds since 1970. Of a delayed one: until when. Of an active one: when it
    /// counts as forgotten by its worker, unless that says that it goes on.
    pub at_unix_ms: u64,
    /// Who works on it: the app and its instance (`web:0`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// What was pushed; bytes that are no JSON as base64.
    pub data: Value,
    /// How `data` is encoded, if it is not what was pushed: `bytes` or `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The last error of a dead one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What to do with a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueAct {
    /// Give consumers nothing; what they work on, they finish.
    Pause,
    /// Go on.
    Resume,
    /// Put these dead jobs back, as if they had just been pushed; all of them, if none is named.
    Retry(Vec<String>),
    /// Remove the jobs of this part; not `active`, whose workers have them.
    Purge(QueuePart),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueChanged {
    /// The queue's name.
    pub name: String,
    /// So many jobs were put back or removed.
    pub jobs: u64,
}

impl QueuePart {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Delayed, Self::Active, Self::Dead];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Active => "active",
            Self::Dead => "dead",
        }
    }
}

impl std::str::FromStr for QueuePart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|part| part.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no part of a queue; use ready, delayed, active or dead"))
    }
}
