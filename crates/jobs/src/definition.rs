//! What a job was asked to be.

use serde::{Deserialize, Serialize};

use crate::WhenText;

/// One job, as far as deciding needs to know it. What exactly is run is the edge's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// When it fires.
    pub when: WhenText,
    /// What kind of thing it runs.
    pub kind: Kind,
    /// Each run begins up to so much later, by chance that is the same for a fire time whoever asks.
    pub jitter_ms: u64,
    /// What if the run before is still under way.
    pub overlap: Overlap,
    /// What about fire times that nobody was there for.
    pub missed: Missed,
    /// A run that takes longer is ended; 0: it may.
    pub timeout_ms: u64,
    /// A run that failed is tried again so often.
    pub retries: u32,
    /// How long a retry waits.
    pub backoff: Backoff,
    /// What about a run whose end nobody saw.
    pub on_lost: OnLost,
    /// So many runs are remembered.
    pub keep: u32,
    /// Several hosts share the schedule: a fire time has to be claimed first.
    pub shared: bool,
    /// What if the store that hosts share cannot be asked.
    #[serde(default)]
    pub on_unreachable: OnUnreachable,
}

/// What kind of thing a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A function that workers of its app have registered.
    Function,
    /// A command line.
    Command,
    /// A request to the app.
    Http,
}

/// What if the run before is still under way when a fire time comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The fire time is skipped.
    #[default]
    Forbid,
    /// It waits for its turn.
    Queue,
    /// The run under way is ended for it.
    Replace,
    /// Both run.
    Allow,
}

/// What about fire times that were noticed too late: skep was not running, the machine slept, the app was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are skipped, and the history says so.
    Skip,
    /// The last one is made up for.
    Once,
    /// The last so many are made up for, one after the other.
    All {
        /// At most [`crate::MISSED_MAX`].
        most: u32,
    },
}

/// What about a run whose end nobody saw: its worker was killed, skep was killed with it, the machine lost power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// It is recorded as lost and not started again: at most once.
    #[default]
    Record,
    /// It is started again: at least once. The job must be able to stand that (see the fencing token).
    Rerun,
}

/// What if the store that hosts share cannot be asked whose a fire time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// The fire time is skipped: at most once over all hosts.
    #[default]
    Skip,
    /// It runs all the same: at least once, perhaps on each host.
    Run,
}

/// Waits between attempts: the first one, twice as long each time, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the first retry.
    pub first_ms: u64,
    /// Before any.
    pub most_ms: u64,
}

impl Kind {
    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Command => "command",
            Self::Http => "http",
        }
    }
}

impl Backoff {
    /// The wait before this attempt; the first retry is attempt 2.
    #[must_use]
    pub fn before(&self, attempt: u32) -> u64 {
        let doublings = attempt.saturating_sub(2).min(32);
        self.first_ms.saturating_mul(1 << doublings).min(self.most_ms.max(self.first_ms))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: 1_000, most_ms: 60_000 }
    }
}

impl Definition {
    /// A job with every choice at its default.
    #[must_use]
    pub fn new(when: WhenText, kind: Kind) -> Self {
        // What is to happen once should not be lost to a reboot at that very moment.
        let missed = if matches!(when, WhenText::At { .. }) { Missed::Once } else { Missed::Skip };
        Self {
            when,
            kind,
            jitter_ms: 0,
            overlap: Overlap::Forbid,
            missed,
            timeout_ms: 0,
            retries: 0,
            backoff: Backoff::default(),
            on_lost: OnLost::Record,
            keep: 100,
            shared: false,
            on_unreachable: OnUnreachable::Skip,
        }
    }

    /// The highest attempt that may follow a run that was lost.
    pub(crate) fn attempts_when_lost(&self) -> u32 {
        match self.on_lost {
            OnLost::Record => 0,
            OnLost::Rerun => 1 + self.retries.max(crate::RERUNS_MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_wait_longer_each_time_up_to_a_bound() {
        let backoff = Backoff { first_ms: 1_000, most_ms: 5_000 };
        assert_eq!(
            [2, 3, 4, 5, 99].map(|attempt| backoff.before(attempt)),
            [1_000, 2_000, 4_000, 5_000, 5_000]
        );
    }
}
