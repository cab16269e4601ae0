//! What the ledger holds: a record a job, and an entry a run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Definition, Lived, Place, Run, UnixMs};

/// A job's name for ever: its app's, a slash, its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The app's name.
    pub app: String,
    /// The job's.
    pub name: String,
}

/// One attempt to run a job for one fire time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// Which job.
    pub job: JobId,
    /// For which fire time.
    pub scheduled: UnixMs,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// All that a job's future depends on, beside its definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The fire times up to here are decided.
    pub cursor: UnixMs,
    /// What it was last asked to be. When its times change, `cursor` begins anew.
    pub definition: Option<Definition>,
    /// Spans in which no fire time is ever started again.
    pub lived: Lived,
    /// Nothing fires until somebody says `resume`.
    pub paused: bool,
    /// Runs that wait or are under way, in order.
    pub runs: Vec<Run>,
    /// The scheduled time of the last run that somebody asked for by hand.
    pub by_hand: UnixMs,
    /// Counts since the job is known.
    pub totals: Totals,
    /// The last entry that came to an end.
    pub last: Option<Box<Entry>>,
}

/// Counts of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
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
    /// How long attempts took in all.
    pub busy_ms: u64,
    /// How long after their time they started in all.
    pub late_ms: u64,
    /// The longest of those.
    pub late_most_ms: u64,
}

/// One line of a job's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The fire time; of several skipped ones the last.
    pub scheduled: UnixMs,
    /// Which attempt; 0 for what was never started.
    pub attempt: u32,
    /// How it stands.
    pub status: Status,
    /// Why, in other than ordinary cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// Somebody asked for it by hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The fencing token: above every one given before in this home (or by the shared store).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<UnixMs>,
    /// When its end was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<UnixMs>,
    /// How long it took, by the clock that nobody sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// What it returned, as JSON; or the error's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// How many fire times this line stands for, from `since` on; of skipped ones.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
    /// The first of several skipped fire times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixMs>,
}

fn one() -> u64 {
    1
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Under way.
    Started,
    /// It returned.
    Succeeded,
    /// It threw, exited with another code than 0, was answered with an error, or took too long.
    Failed,
    /// Nobody saw its end.
    Lost,
    /// It was ended on purpose.
    Cancelled,
    /// It was never started.
    Skipped,
}

/// Why a run ended in an extraordinary way, or was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The run before was still under way.
    Overlap,
    /// Too many runs wait already.
    QueueFull,
    /// Nobody was there at that time.
    Missed,
    /// No worker had the function for a minute.
    NoWorker,
    /// It took longer than `timeout`.
    Timeout,
    /// A newer run took its place.
    Replaced,
    /// Somebody asked for its end.
    Asked,
    /// Its worker, or the machine, ended in the middle.
    WorkerDied,
    /// Another host runs it.
    ElsewhereClaimed,
    /// The store that hosts share could not be asked.
    StoreUnreachable,
    /// The app was deleted, or does not have the job any more.
    Gone,
}

// === impls

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

/// `run.id` as programs see it: the idempotency key.
impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.job, self.scheduled.0)
    }
}

impl Status {
    /// It will not change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Started)
    }

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl Why {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overlap => "the run before was still under way",
            Self::QueueFull => "too many runs wait already",
            Self::Missed => "nobody was there at that time",
            Self::NoWorker => "no worker had the function",
            Self::Timeout => "it took longer than its timeout",
            Self::Replaced => "a newer run took its place",
            Self::Asked => "somebody asked for its end",
            Self::WorkerDied => "it was cut off in the middle",
            Self::ElsewhereClaimed => "another host runs it",
            Self::StoreUnreachable => "the shared store could not be reached",
            Self::Gone => "the job is gone",
        }
    }
}

impl Entry {
    /// What the ledger keeps when it has a line of this fire time and attempt already. Skipped fire times add up: after
    /// the clock was set back, a second span may end where the first one did.
    #[must_use]
    pub fn after(self, old: &Self) -> Self {
        if self.status != Status::Skipped || old.status != Status::Skipped {
            return self;
        }
        let begins = |entry: &Self| entry.since.unwrap_or(entry.scheduled);
        let since = begins(&self).min(begins(old));
        let since = Some(since).filter(|since| *since < self.scheduled);
        Self { since, count: self.count.max(old.count), ..self }
    }

    pub(crate) fn skipped(scheduled: UnixMs, why: Why) -> Self {
        Self {
            scheduled,
            attempt: 0,
            status: Status::Skipped,
            why: Some(why),
            by_hand: false,
            token: None,
            place: None,
            started: None,
            ended: None,
            took_ms: None,
            result: None,
            count: 1,
            since: None,
        }
    }
}
