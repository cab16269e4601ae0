//! What changes when one spec takes another's place, and what has to happen to workers that run already.

use crate::AppSpec;
use serde_json::{Map, Value};

/// Fields that only the supervisor looks at, or only when a worker starts anew: running workers stay.
const HOT: &[&str] = &[
    "autorestart",
    "autostart",
    "cron_restart",
    "cron_timezone",
    "depends_on",
    "drain",
    "drain_timeout",
    "drain_websockets",
    "exp_backoff_restart_delay",
    "ignore_watch",
    "instances",
    "kill_signal",
    "kill_timeout",
    "listen_timeout",
    "max_memory_restart",
    "max_memory_tree",
    "max_restarts",
    "max_surge",
    "max_unavailable",
    "min_uptime",
    "restart_delay",
    "schedules",
    "source",
    "stop_exit_codes",
    "treekill",
    "wait_ready",
    "watch",
    "watch_action",
    "watch_delay",
    "watch_ext",
];
/// Fields with which an old and a new worker cannot serve side by side: all old ones end first.
const RECREATE: &[&str] = &["balance", "exec_mode", "listen", "runtime", "singleton", "weights"];
/// Fields that hold one value for each of many names: their changes are told name by name.
const TABLES: &[&str] = &["env", "inherited_env"];

/// What has to happen to running workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing.
    Hot,
    /// They are replaced one after another, without a pause in service.
    Rolling,
    /// All of them end before the first new one starts.
    Recreate,
}

/// One field that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The field; for a variable `env.NAME`.
    pub field: String,
    /// What it was; none if it was at its default, and for variables, whose values may be secret.
    pub from: Option<Value>,
    /// What it becomes.
    pub to: Option<Value>,
}

/// Everything that changes, by what it takes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Takes effect at once and disturbs nobody.
    pub hot: Vec<Change>,
    /// Takes new workers.
    pub rolling: Vec<Change>,
    /// Takes new workers that cannot live beside the old ones.
    pub recreate: Vec<Change>,
}

impl Plan {
    /// Nothing changes.
    pub fn is_empty(&self) -> bool {
        self.effect().is_none()
    }

    /// What has to happen for all of it; `None` when nothing changes.
    pub fn effect(&self) -> Option<Effect> {
        if !self.recreate.is_empty() {
            Some(Effect::Recreate)
        } else if !self.rolling.is_empty() {
            Some(Effect::Rolling)
        } else if !self.hot.is_empty() {
            Some(Effect::Hot)
        } else {
            None
        }
    }

    /// Every change, the gravest first.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.recreate.iter().chain(&self.rolling).chain(&self.hot)
    }
}

/// Compares two specs of one app. (Two names are two apps: the caller's to see.)
pub fn diff(from: &AppSpec, to: &AppSpec) -> Plan {
    let mut plan = Plan::default();
    if from == to {
        return plan;
    }
    let (old, new) = (fields(from), fields(to));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (was, becomes) = (old.get(name), new.get(name));
        if was == becomes {
            continue;
        }
        let list = match name.as_str() {
            hot if HOT.contains(&hot) => &mut plan.hot,
            recreate if RECREATE.contains(&recreate) => &mut plan.recreate,
            // A field that nobody has thought about: new workers are always right.
            _ => &mut plan.rolling,
        };
        if TABLES.contains(&name.as_str()) {
            list.extend(entries(name, was, becomes));
        } else {
            list.push(Change { field: name.clone(), from: was.cloned(), to: becomes.cloned() });
        }
    }
    plan
}

fn fields(spec: &AppSpec) -> Map<String, Value> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        other => unreachable!("a struct with string keys is an object in JSON, not {other:?}"),
    }
}

/// The names whose values differ.
fn entries(table: &str, from: Option<&Value>, to: Option<&Value>) -> Vec<Change> {
    let nothing = Map::new();
    let from = from.and_then(Value::as_object).unwrap_or(&nothing);
    let to = to.and_then(Value::as_object).unwrap_or(&nothing);
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| from.get(*name) != to.get(*name));
    differing.map(|name| Change { field: format!("{table}.{name}"), from: None, to: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Instances, Millis, Runtime};

    fn web() -> AppSpec {
        AppSpec {
            name: "web".into(),
            script: Some("/srv/app.js".into()),
            env: [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())].into(),
            ..AppSpec::default()
        }
    }

    fn check(change: impl FnOnce(&mut AppSpec)) -> (Option<Effect>, Vec<String>) {
        let mut to = web();
        change(&mut to);
        let plan = diff(&web(), &to);
        (plan.effect(), plan.changes().map(|change| change.field.clone()).collect())
    }

    #[test]
    fn the_same_spec_changes_nothing() {
        assert_eq!(check(|_| ()), (None, vec![]));
    }

    #[test]
    fn what_only_the_supervisor_looks_at_is_hot() {
        let hot = check(|spec| {
            spec.max_restarts = 3;
            spec.kill_timeout = Millis(5_000);
            spec.instances = Instances::Count(4);
        });
        assert_eq!(
            hot,
            (Some(Effect::Hot), vec!["instances".into(), "kill_timeout".into(), "max_restarts".into()])
        );
    }

    #[test]
    fn what_a_worker_is_started_with_takes_new_workers_and_variables_are_told_by_name() {
        let rolling = check(|spec| {
            spec.args = vec!["-v".into()];
            spec.env = [("A".to_owned(), "3".to_owned()), ("C".to_owned(), "4".to_owned())].into();
            spec.max_restarts = 3;
        });
        let fields = ["args", "env.A", "env.B", "env.C", "max_restarts"].map(str::to_owned).to_vec();
        assert_eq!(rolling, (Some(Effect::Rolling), fields));
    }

    #[test]
    fn what_cannot_live_beside_the_old_recreates() {
        assert_eq!(check(|spec| spec.runtime = Runtime::SelfBind).0, Some(Effect::Recreate));
    }

    #[test]
    fn every_name_in_the_tables_is_a_field_or_one_of_a_later_version() {
        let known: Vec<String> = crate::fields().iter().map(|field| field.name.clone()).collect();
        for name in RECREATE {
            assert!(known.iter().any(|field| field == name), "{name}");
        }
        let overlap = HOT.iter().find(|name| RECREATE.contains(name));
        assert_eq!(overlap, None);
    }
}
