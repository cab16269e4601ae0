//! How one app is to be treated: restarts, stops, readiness, reloads. Plain data with PM2 7's defaults.

use crate::{Dependency, Probe, ProbeKind, Span};
use serde::{Deserialize, Serialize};

/// `SIGINT` on every Unix: PM2's polite stop.
pub const SIGINT: i32 = 2;
/// `SIGKILL` on every Unix: cannot be refused.
pub const SIGKILL: i32 = 9;

/// The rules for one app's workers. Every worker obeys the app's present policy, whatever it was when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Restart a worker that ends by itself. Default true.
    pub autorestart: bool,
    /// So many exits in a row before `min_uptime`, and the slot is given up (`errored`). Default 16.
    pub max_restarts: u32,
    /// An exit sooner than this after the spawn is unstable. Default 1000 ms.
    pub min_uptime: Span,
    /// Wait so long before each automatic restart. Default none.
    pub restart_delay: Span,
    /// Wait longer after each crash; the longer of this and `restart_delay` counts. Default off.
    pub backoff: Option<Backoff>,
    /// An exit with one of these codes is the program's own wish to stop. Default none.
    pub stop_exit_codes: Vec<i32>,
    /// The polite stop. Default `SIGINT` (2), as in PM2.
    pub stop_signal: i32,
    /// From the polite stop to `SIGKILL`. Default 1600 ms.
    pub kill_timeout: Span,
    /// Signals go to the worker's whole process tree rather than to it alone. Default true.
    pub kill_tree: bool,
    /// What makes a worker ready.
    pub ready: ReadyRule,
    /// A worker must be ready so long after its spawn. Default 3000 ms.
    pub listen_timeout: Span,
    /// With [`ReadyRule::Spawned`], how long a worker must live to count as ready. Default 100 ms: longer
    /// than an interpreter needs to fail on a missing file or a syntax error, too short to be noticed.
    pub alive_time: Span,
    /// Whether a worker that listens (or announced itself, or lives) can take work. Until it says yes it is not ready;
    /// when it says no later on, it is given no new connections until it says yes again. Default: it is not asked.
    pub readiness: Option<Probe>,
    /// Whether a ready worker is worth keeping: one that says no is replaced as in a reload. Default: it is not asked.
    pub liveness: Option<Probe>,
    /// Old and new worker of a slot may run side by side. False for a program that binds its own port
    /// without sharing it: a reload then stops first and starts next. Default true.
    pub overlap: bool,
    /// Of several hosts only one may run it: it runs while [`crate::Event::Permit`] says so. Default false.
    pub singleton: bool,
    /// So many workers more than instances may live during a reload. Default 1.
    pub max_surge: u32,
    /// So many instances may be without a ready worker during a reload. Default 0; counts as 1 where
    /// `max_surge` is 0 or `overlap` is false, because nothing else could move.
    pub max_unavailable: u32,
    /// How a worker that is replaced or scaled away takes its leave.
    pub drain: Drain,
    /// Apps that have to be there before this one's first workers start, and that are stopped after it. Default none.
    pub depends_on: Vec<Dependency>,
    /// From the drain's begin to the polite stop, if the worker does not end sooner. Default 1600 ms
    /// (PM2's `kill_timeout`: what a request under way gets there).
    pub drain_timeout: Span,
}

/// What makes a worker ready. Each worker answers for itself; a predecessor's answer never counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyRule {
    /// Its own `listening`. As long as no worker of this app has ever listened, living through
    /// `listen_timeout` counts as well: the program may be no server at all.
    #[default]
    Listening,
    /// Its own `process.send('ready')`.
    Announced,
    /// Its program was executed and lived for `alive_time`.
    Spawned,
}

/// How an old worker leaves. Opaque to the core but for [`Drain::Signal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    /// Its open connections move to the successor.
    Migrate,
    /// It answers what it has with `Connection: close` and ends.
    Close,
    /// It gets the polite stop at once: it is no Node program, or drains by itself.
    #[default]
    Signal,
}

/// Waits that grow with each crash. PM2: x1.5 up to 15 s, from the beginning after 30 s of uptime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backoff {
    /// The first wait. Default 100 ms.
    pub initial: Span,
    /// Each wait is so many percent of the one before. Default 150.
    pub factor_percent: u32,
    /// The longest wait. Default 15 s.
    pub max: Span,
    /// After so long an uptime the waits begin anew. Default 30 s.
    pub reset_after: Span,
    /// Each wait is shortened by up to so many percent, so that a hundred workers that fell together do not
    /// rise together. Default 10, at most 100.
    pub jitter_percent: u32,
}

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            autorestart: true,
            max_restarts: 16,
            min_uptime: Span::from_millis(1000),
            restart_delay: Span::ZERO,
            backoff: None,
            stop_exit_codes: Vec::new(),
            stop_signal: SIGINT,
            kill_timeout: Span::from_millis(1600),
            kill_tree: true,
            ready: ReadyRule::Listening,
            listen_timeout: Span::from_millis(3000),
            alive_time: Span::from_millis(100),
            readiness: None,
            liveness: None,
            overlap: true,
            singleton: false,
            max_surge: 1,
            max_unavailable: 0,
            drain: Drain::Signal,
            depends_on: Vec::new(),
            drain_timeout: Span::from_millis(1600),
        }
    }
}

impl Policy {
    /// The rule of a probe.
    pub(crate) fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }

    /// How many workers more than slots may live during a rollout.
    #[must_use]
    pub fn surge(&self) -> usize {
        if self.overlap { self.max_surge as usize } else { 0 }
    }

    /// How many slots a rollout may leave without a ready worker at a time.
    #[must_use]
    pub fn unavailable(&self) -> usize {
        let least = usize::from(self.surge() == 0);
        (self.max_unavailable as usize).max(least)
    }
}

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Span::from_millis(100),
            factor_percent: 150,
            max: Span::from_secs(15),
            reset_after: Span::from_secs(30),
            jitter_percent: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_lets_nothing_overlap_may_leave_one_slot_empty_or_it_could_never_reload() {
        let alone = Policy { overlap: false, max_surge: 3, ..Policy::default() };
        assert_eq!((alone.surge(), alone.unavailable()), (0, 1));
        let frozen = Policy { max_surge: 0, max_unavailable: 0, ..Policy::default() };
        assert_eq!((frozen.surge(), frozen.unavailable()), (0, 1));
        assert_eq!((Policy::default().surge(), Policy::default().unavailable()), (1, 0));
    }

    #[test]
    fn a_policy_written_by_an_older_version_gets_defaults_for_what_it_did_not_know() {
        let policy: Policy = serde_json::from_str(r#"{"max_restarts":3}"#).expect("defaults fill the rest");
        assert_eq!(policy, Policy { max_restarts: 3, ..Policy::default() });
    }
}
