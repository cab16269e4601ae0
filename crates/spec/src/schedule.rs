//! `schedules`: jobs of an app that run by the clock.

use crate::{AppSpec, Millis, SpecError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use skep_jobs::{Backoff, Definition, Kind, Missed, OnLost, OnUnreachable, Overlap, WhenText};
use std::collections::BTreeMap;

/// Runs that are remembered at most; each may hold a result and some output.
const KEEP_MAX: u32 = 10_000;
/// Schedules of one app at most.
const SCHEDULES_MAX: usize = 1_000;

/// One job of an app: when it runs, and what.
///
/// Exactly one of `cron`, `every` and `at` says when; exactly one of `command`, `http` and `function` says what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Five fields (`30 4 * * MON-FRI`), or six with seconds in front; `L`, `W`, `#`, `@daily` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A fixed interval, whole seconds: `90s`, `5m`. Fire times are its multiples since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Millis>,
    /// Once, at this date and time: `2026-12-31T23:59:00`, with an offset or in `timezone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The zone of `cron` and `at`: `Europe/Berlin`, `UTC`. Default: the machine's.
    #[serde(skip_serializing_if = "Option::is_none", alias = "tz")]
    pub timezone: Option<String>,
    /// Each run begins up to so much later, by chance. Default: 0.
    pub jitter: Millis,

    /// A command line for `/bin/sh -c`, in the app's directory and environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A request to the app: a path (`/tasks/nightly`) or a whole URL with `http://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The request's method. Default: `POST`.
    pub method: String,
    /// A function that workers register under this name by `schedule()` of the package `skep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,

    /// What if the run before is still under way: `forbid` (skip), `queue`, `replace` or `allow`. Default: `forbid`.
    pub overlap: OverlapChoice,
    /// What about fire times while skep, the machine or the app was down: `skip`, `once` (the last one is made up for) or
    /// `all`. Default: `skip`; `once` for `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedChoice>,
    /// With `missed: all`, so many at most. Default: 10.
    pub missed_limit: u32,
    /// A run that takes longer is ended and counts as failed; 0: it may. Default: 0.
    pub timeout: Millis,
    /// How often a run that failed is tried again. Default: 0.
    pub retries: u32,
    /// How long the first retry waits; each next one twice as long, up to `backoff_max`. Default: 1 s.
    pub backoff: Millis,
    /// The longest wait before a retry. Default: 1 min.
    pub backoff_max: Millis,
    /// What about a run that was cut off in the middle (its worker was killed): `record` or `rerun`. Default: `record`.
    pub on_lost: OnLostChoice,
    /// Of several hosts that share a store (`skep hosts`) and have this job, only one runs it at each fire time. False:
    /// each host does. Default: true where a store is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// What about a shared job's fire time when that store cannot be reached: `skip`, or `run` (perhaps on each host).
    /// Default: `skip`.
    pub on_unreachable: OnUnreachableChoice,
    /// So many runs are remembered. Default: 100.
    pub keep: u32,
    /// Variables for the command, beside the app's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// What if the run before is still under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverlapChoice {
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

/// What about fire times that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissedChoice {
    /// They are skipped.
    Skip,
    /// The last one is made up for.
    Once,
    /// The last `missed_limit` ones are made up for.
    All,
}

/// What about a run that was cut off in the middle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostChoice {
    /// It is recorded as lost.
    #[default]
    Record,
    /// It is started again: the job must be able to stand that.
    Rerun,
}

/// What about a fire time when the store that hosts share cannot be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachableChoice {
    /// It is skipped, and an event says so: no job runs twice.
    #[default]
    Skip,
    /// It runs here, and perhaps on other hosts too.
    Run,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            cron: None,
            every: None,
            at: None,
            timezone: None,
            jitter: Millis(0),
            command: None,
            http: None,
            method: "POST".to_owned(),
            function: None,
            overlap: OverlapChoice::Forbid,
            missed: None,
            missed_limit: 10,
            timeout: Millis(0),
            retries: 0,
            backoff: Millis(1_000),
            backoff_max: Millis(60_000),
            on_lost: OnLostChoice::Record,
            shared: None,
            on_unreachable: OnUnreachableChoice::Skip,
            keep: 100,
            env: BTreeMap::new(),
        }
    }
}

impl Schedule {
    /// As deciding needs it. `field` is where it stands, for errors.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn definition(&self, field: &str) -> Result<Definition, SpecError> {
        let kind = self.kind(field)?;
        let mut definition = Definition::new(self.when(field)?, kind);
        definition.jitter_ms = self.jitter.0;
        definition.overlap = match self.overlap {
            OverlapChoice::Forbid => Overlap::Forbid,
            OverlapChoice::Queue => Overlap::Queue,
            OverlapChoice::Replace => Overlap::Replace,
            OverlapChoice::Allow => Overlap::Allow,
        };
        definition.missed = match self.missed {
            None => definition.missed,
            Some(MissedChoice::Skip) => Missed::Skip,
            Some(MissedChoice::Once) => Missed::Once,
            Some(MissedChoice::All) => Missed::All { most: self.missed_limit },
        };
        definition.timeout_ms = self.timeout.0;
        definition.retries = self.retries;
        definition.backoff = Backoff { first_ms: self.backoff.0, most_ms: self.backoff_max.0 };
        definition.on_lost = match self.on_lost {
            OnLostChoice::Record => OnLost::Record,
            OnLostChoice::Rerun => OnLost::Rerun,
        };
        // Whether nothing said means shared, only a host knows.
        definition.shared = self.shared == Some(true);
        definition.on_unreachable = match self.on_unreachable {
            OnUnreachableChoice::Skip => OnUnreachable::Skip,
            OnUnreachableChoice::Run => OnUnreachable::Run,
        };
        definition.keep = self.keep;
        if self.keep == 0 || self.keep > KEEP_MAX {
            let remedy = format!("write a number from 1 to {KEEP_MAX}");
            return Err(SpecError::field(
                format!("{field}.keep"),
                self.keep.to_string(),
                "is no number of runs to remember",
                remedy,
            ));
        }
        Ok(definition)
    }

    fn when(&self, field: &str) -> Result<WhenText, SpecError> {
        let zone = self.timezone.clone();
        let when = match (&self.cron, self.every, &self.at) {
            (Some(pattern), None, None) => WhenText::Cron { pattern: pattern.clone(), zone },
            (None, Some(every), None) => WhenText::Every { ms: every.0 },
            (None, None, Some(time)) => WhenText::At { time: time.clone(), zone },
            _ => {
                return Err(SpecError::field(
                    field,
                    self.said(&[
                        ("cron", self.cron.is_some()),
                        ("every", self.every.is_some()),
                        ("at", self.at.is_some()),
                    ]),
                    "does not say when in one way",
                    "write one of cron, every and at",
                ));
            }
        };
        // The machine's own zone is the daemon's to know: for what is wrong, any will do.
        when.compile(&skep_jobs::utc()).map_err(|problem| {
            SpecError::field(
                format!("{field}.{}", problem.field),
                problem.value,
                problem.problem,
                problem.remedy,
            )
        })?;
        Ok(when)
    }

    fn kind(&self, field: &str) -> Result<Kind, SpecError> {
        match (&self.command, &self.http, &self.function) {
            (Some(_), None, None) => Ok(Kind::Command),
            (None, Some(target), None) if target.starts_with('/') || target.starts_with("http://") => {
                Ok(Kind::Http)
            }
            (None, Some(target), None) => Err(SpecError::field(
                format!("{field}.http"),
                target,
                "is neither a path nor an http:// URL",
                "write a path of the app: /tasks/nightly",
            )),
            (None, None, Some(_)) => Ok(Kind::Function),
            _ => Err(SpecError::field(
                field,
                self.said(&[
                    ("command", self.command.is_some()),
                    ("http", self.http.is_some()),
                    ("function", self.function.is_some()),
                ]),
                "does not say what to run in one way",
                "write one of command, http and function",
            )),
        }
    }

    /// Which of these were written.
    fn said(&self, fields: &[(&str, bool)]) -> String {
        let said: Vec<&str> = fields.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        said.join(", ")
    }
}

impl AppSpec {
    /// The first thing that is wrong with the schedules.
    pub(crate) fn validate_schedules(&self) -> Result<(), SpecError> {
        if self.schedules.len() > SCHEDULES_MAX {
            return Err(SpecError::field(
                "schedules",
                self.schedules.len().to_string(),
                "are more than one app may have",
                format!("write at most {SCHEDULES_MAX}, or let one job look what there is to do"),
            ));
        }
        for (name, schedule) in &self.schedules {
            crate::name::check("schedules", name)?;
            schedule.definition(&format!("schedules.{name}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Definition, String> {
        let schedule: Schedule = serde_json::from_str(json).map_err(|error| error.to_string())?;
        schedule.definition("schedules.x").map_err(|error| format!("{error}; {}", error.remedy()))
    }

    #[test]
    fn one_time_and_one_thing_to_run_are_enough() {
        let nightly =
            check(r#"{"cron": "0 3 * * *", "timezone": "Europe/Berlin", "command": "node stats.js"}"#);
        assert_eq!(nightly.unwrap().kind, Kind::Command);
        let every = check(r#"{"every": "5m", "http": "/tick", "missed": "all", "missed_limit": 3}"#).unwrap();
        assert_eq!((every.kind, every.missed), (Kind::Http, Missed::All { most: 3 }));
        let once = check(r#"{"at": "2026-12-31T23:59:00Z", "function": "party"}"#).unwrap();
        assert_eq!((once.kind, once.missed), (Kind::Function, Missed::Once));
    }

    #[test]
    fn each_refusal_names_the_field_the_value_and_the_remedy() {
        let refused = |json: &str| check(json).unwrap_err();
        assert!(refused(r#"{"cron": "0 3 * *", "command": "x"}"#).contains("schedules.x.cron: \"0 3 * *\""));
        assert!(refused(r#"{"every": "500ms", "command": "x"}"#).contains("whole seconds"));
        assert!(refused(r#"{"cron": "@daily", "every": "5m", "command": "x"}"#).contains("cron, every"));
        assert!(refused(r#"{"cron": "@daily"}"#).contains("one of command, http and function"));
        assert!(refused(r#"{"cron": "@daily", "http": "tick"}"#).contains("/tasks/nightly"));
        assert!(refused(r#"{"cron": "@daily", "command": "x", "keep": 0}"#).contains("schedules.x.keep"));
        assert!(refused(r#"{"cron": "@daily", "comand": "x"}"#).contains("unknown field"));
        assert!(
            refused(r#"{"cron": "@daily", "timezone": "Berlin", "command": "x"}"#)
                .contains("schedules.x.timezone")
        );
    }
}
