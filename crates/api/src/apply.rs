//! Many apps at once: what a file describes, compared with what is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use skep_spec::AppSpec;
use std::collections::BTreeMap;
use std::fmt;

const fn yes() -> bool {
    true
}

/// The body of apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyApps {
    /// The apps as they shall be, resolved: absolute paths, a name each.
    pub apps: Vec<AppSpec>,
    /// The environment of whoever typed the command, for every app whose `inherited_env` is empty. Apps that are there
    /// already keep the one that they have, unless `update_env` says otherwise.
    #[serde(default)]
    pub inherited_env: BTreeMap<String, String>,
    /// Apps that are there already get `inherited_env` too.
    #[serde(default)]
    pub update_env: bool,
    /// Apps that get another name: `{"web": "shop"}` says that what `apps` calls `shop` was `web` until now. The log
    /// files and pid files stay where they are. Where nothing is called `web` any more, it was done before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renames: BTreeMap<String, String>,
    /// What is done with apps that are there already. Default: only what their changes take.
    #[serde(default)]
    pub mode: ApplyMode,
    /// Which apps are deleted when they are not in `apps`. Default: none.
    #[serde(default)]
    pub prune: Prune,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
    /// Answer when the goal is reached; otherwise as soon as everything is under way. Default: true.
    #[serde(default = "yes")]
    pub wait: bool,
    /// Give up waiting after so long; the work goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What is done with apps that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplyMode {
    /// What their changes take; those without changes are left alone.
    #[default]
    Converge,
    /// The same, and what is stopped is started.
    Start,
    /// All workers are restarted at once.
    Restart,
    /// All workers are replaced one after another.
    Reload,
}

/// Which apps are deleted when the file does not describe them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// None.
    #[default]
    Nothing,
    /// Those that came from this file (an absolute path).
    Source(String),
    /// Every one.
    All,
}

/// What is done with one app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Create,
    /// Its changes disturb no worker.
    Hot,
    /// Its workers are replaced one after another.
    Rolling,
    /// All of its workers end before the first new one starts.
    Recreate,
    /// It is stopped and is started.
    Start,
    /// Its workers are restarted at once.
    Restart,
    /// Its workers are replaced although nothing has changed.
    Reload,
    /// It is deleted.
    Delete,
    /// Nothing.
    Unchanged,
}

/// What is done, app by app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApplyPlan {
    /// In the order of the request; those that are deleted come last.
    pub apps: Vec<PlannedApp>,
}

/// What is done with one app, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedApp {
    /// Its name.
    pub app: String,
    /// What is done.
    pub action: Action,
    /// The fields that change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
}

/// One field that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// Its name; for a variable `env.NAME`.
    pub field: String,
    /// What it was; left out for defaults, and for variables, whose values may be secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl Action {
    /// The word for it in a plan.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Hot => "change",
            Self::Rolling => "roll",
            Self::Recreate => "recreate",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ApplyPlan {
    /// Whether anything is done at all.
    pub fn has_changes(&self) -> bool {
        self.apps.iter().any(|app| app.action != Action::Unchanged)
    }
}
