//! What clients ask for: bodies and queries.

use crate::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use skep_spec::{AppSpec, InstancesChange, Signal};

/// How many lines of log are shown when nobody says (as PM2).
pub const LOG_LINES_DEFAULT: u32 = 15;

const fn yes() -> bool {
    true
}

/// Adds an app and starts it (unless its `autostart` is false).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApp {
    /// The app, resolved: absolute paths, a name.
    pub spec: AppSpec,
    /// Answer when all workers are ready; otherwise as soon as they are spawned.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Give up waiting after so long; the app stays. Default: no limit but the app's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Refuse (`name_taken`) if this is a target that means something already: a name, an id, a namespace. For who has to
    /// know whether what a user typed is new, and would have to ask for all apps first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_known: Option<String>,
}

/// The body of start, stop, restart, reload, delete, reset and resurrect; an empty body means the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Act {
    /// Answer when the goal is reached; otherwise as soon as the command is under way. Default: true.
    pub wait: bool,
    /// Give up waiting after so long; the command goes on. Default: no limit but the app's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// For stop: stop watching files as well. For restart: begin to watch, or stop if they are watched. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub switch_watch: bool,
}

impl Default for Act {
    fn default() -> Self {
        Self { wait: true, timeout_ms: None, switch_watch: false }
    }
}

/// The body of scale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleApp {
    /// How many workers: `4`, `"max"`, `"+1"`, `"-1"`.
    pub instances: InstancesChange,
    /// Answer when the goal is reached. Default: true.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Give up waiting after so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The body of upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpgradeDaemon {
    /// The absolute path of the new skep.
    pub path: String,
}

/// The body of signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendSignal {
    /// The signal to send to each worker's own process.
    pub signal: Signal,
}

/// How much of an app is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detail {
    /// All but the spec.
    #[default]
    Summary,
    /// With the spec, environment included.
    Full,
}

/// The query of the routes that show apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppsQuery {
    /// `summary` or `full`. Default: summary.
    pub detail: Detail,
    /// Ask Node.js workers how they are before answering, for `vitals`. A worker whose event loop is blocked is waited for
    /// for a tenth of a second. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub vitals: bool,
}

/// The query of logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogsQuery {
    /// How many of the last lines to begin with, for each file. Default: 15.
    pub lines: u32,
    /// Go on with what is written from now. Default: false.
    pub follow: bool,
    /// Only `out` or only `err`. Default: both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// Only lines written since then, in milliseconds since 1970; lines without a time are as old as their file.
    /// Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
}

impl Default for LogsQuery {
    fn default() -> Self {
        Self { lines: LOG_LINES_DEFAULT, follow: false, stream: None, since_unix_ms: None }
    }
}

/// The query of events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsQuery {
    /// Go on with what happens from now; otherwise the answer ends with what is remembered. Default: false.
    pub follow: bool,
    /// Leave out events up to this `seq`. Default: 0.
    pub after: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_from_what_the_client_writes() {
        let query = LogsQuery { lines: 50, follow: true, stream: Some(Stream::Err), since_unix_ms: None };
        let text = serde_urlencoded::to_string(&query).unwrap();
        assert_eq!(text, "lines=50&follow=true&stream=err");
        assert_eq!(serde_urlencoded::from_str::<LogsQuery>(&text).unwrap(), query);
        assert_eq!(serde_urlencoded::from_str::<LogsQuery>("").unwrap(), LogsQuery::default());
        assert!(serde_urlencoded::from_str::<LogsQuery>("line=5").is_err());
    }

    #[test]
    fn an_empty_object_waits() {
        assert_eq!(serde_json::from_str::<Act>("{}").unwrap(), Act::default());
        let scale: ScaleApp = serde_json::from_str(r#"{"instances":"+1"}"#).unwrap();
        assert!(scale.wait);
        assert_eq!(scale.instances, InstancesChange::More(1));
    }
}
