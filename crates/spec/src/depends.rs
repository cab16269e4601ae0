//! Which apps an app needs, and how they have to be before it starts.

use crate::{AppSpec, SpecError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fmt;

/// How a dependency has to be before its dependents start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its processes run.
    #[serde(alias = "service_started")]
    Started,
    /// Its workers are ready; one that ends by itself has ended with exit code 0.
    #[default]
    Ready,
    /// The same: a worker whose probe fails is not ready.
    #[serde(alias = "service_healthy")]
    Healthy,
    /// It has ended by itself with exit code 0 (`autorestart: false`).
    #[serde(alias = "service_completed_successfully")]
    Completed,
}

/// Apps by name, and how each has to be. Reads a list of names as well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct DependsOn(BTreeMap<String, Condition>);

impl DependsOn {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its condition.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Condition> {
        self.0.iter()
    }
}

impl FromIterator<(String, Condition)> for DependsOn {
    fn from_iter<I: IntoIterator<Item = (String, Condition)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for DependsOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a list of names, or a table from names to started, ready, healthy or completed"
        )]
        enum Form {
            Names(Vec<String>),
            Table(BTreeMap<String, Entry>),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Entry {
            Word(Condition),
            // As docker compose writes it.
            Table { condition: Condition },
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Names(names) => names.into_iter().map(|name| (name, Condition::default())).collect(),
            Form::Table(table) => table
                .into_iter()
                .map(|(name, entry)| match entry {
                    Entry::Word(condition) | Entry::Table { condition } => (name, condition),
                })
                .collect(),
        })
    }
}

impl JsonSchema for DependsOn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DependsOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "array", "items": { "type": "string" } },
            { "type": "object", "additionalProperties": { "enum": ["started", "ready", "healthy", "completed"] } },
        ]})
    }
}

/// Dependencies that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderError {
    /// There is no such app.
    Unknown {
        /// Whose dependency.
        app: String,
        /// On whom.
        on: String,
        /// The app that was probably meant.
        near: Option<String>,
    },
    /// They lead back to where they came from.
    Cycle {
        /// The way round, the first name again at the end.
        names: Vec<String>,
    },
    /// It is to be completed, and never will be.
    Endless {
        /// Whose dependency.
        app: String,
        /// On whom.
        on: String,
    },
}

impl OrderError {
    /// The app at fault.
    pub fn app(&self) -> &str {
        match self {
            Self::Unknown { app, .. } | Self::Endless { app, .. } => app,
            Self::Cycle { names } => &names[0],
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SpecError::from(self.clone()).fmt(f)
    }
}

impl From<OrderError> for SpecError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Unknown { on, near, .. } => {
                let remedy = match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "describe it in the same file, or start it first".to_owned(),
                };
                Self::field("depends_on", on, "is the name of no app", remedy)
            }
            OrderError::Cycle { names } => Self::field(
                "depends_on",
                names.join(" → "),
                "leads back to where it began",
                "leave out one of them: nobody could start first",
            ),
            OrderError::Endless { on, .. } => Self::field(
                "depends_on",
                on.clone(),
                "is never completed: it is restarted whenever it ends",
                format!("set autorestart to false for {on}, or wait for it to be ready"),
            ),
        }
    }
}

/// Checks the dependencies of `apps` among themselves and the apps that are there already (`others`, with what each of
/// them depends on). The first thing that is wrong with each app.
pub fn check_order(apps: &[AppSpec], others: &BTreeMap<String, DependsOn>) -> Vec<OrderError> {
    let mut graph: BTreeMap<&str, &DependsOn> = others.iter().map(|(name, on)| (name.as_str(), on)).collect();
    let specs: BTreeMap<&str, &AppSpec> = apps.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    graph.extend(apps.iter().map(|spec| (spec.name.as_str(), &spec.depends_on)));
    let mut errors: Vec<OrderError> = Vec::new();
    for spec in apps {
        for (on, condition) in spec.depends_on.iter() {
            let app = spec.name.clone();
            if !graph.contains_key(on.as_str()) {
                let near = alike(on, graph.keys().copied());
                errors.push(OrderError::Unknown { app, on: on.clone(), near });
            } else if *condition == Condition::Completed
                && specs
                    .get(on.as_str())
                    .is_some_and(|spec| spec.autorestart && spec.stop_exit_codes.is_empty())
            {
                errors.push(OrderError::Endless { app, on: on.clone() });
            }
        }
    }
    let mut done = BTreeSet::new();
    for spec in apps {
        if let Some(names) = cycle_from(&spec.name, &graph, &mut done) {
            errors.push(OrderError::Cycle { names });
        }
    }
    errors
}

fn alike<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = known.map(|known| (strsim::damerau_levenshtein(name, known), known));
    scored
        .filter(|&(distance, _)| distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, known)| known.to_owned())
}

/// A way from `start` that meets itself; `done` are the names from which there is none. Without recursion: a chain may
/// be as long as the file.
fn cycle_from<'a>(
    start: &'a str,
    graph: &BTreeMap<&'a str, &'a DependsOn>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    let nothing = || BTreeMap::iter(const { &BTreeMap::new() });
    let next = |name: &str| graph.get(name).map_or_else(nothing, |on| on.iter());
    let mut way = vec![(start, next(start))];
    let mut on_way = BTreeSet::from([start]);
    while let Some((name, rest)) = way.last_mut() {
        match rest.next() {
            Some((on, _)) if on_way.contains(on.as_str()) => {
                let mut names: Vec<String> = way.iter().map(|(name, _)| (*name).to_owned()).collect();
                let begin = names.iter().position(|name| name == on).unwrap_or_default();
                names.drain(..begin);
                names.push(on.clone());
                done.extend(way.iter().map(|(name, _)| *name));
                return Some(names);
            }
            Some((on, _)) if !done.contains(on.as_str()) => {
                on_way.insert(on);
                way.push((on, next(on)));
            }
            Some(_) => {}
            None => {
                on_way.remove(name);
                done.insert(name);
                way.pop();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, on: &[&str]) -> AppSpec {
        let depends_on = on.iter().map(|name| ((*name).to_owned(), Condition::Ready)).collect();
        AppSpec { name: name.into(), depends_on, ..AppSpec::default() }
    }

    fn check(apps: &[AppSpec]) -> Vec<String> {
        let error = |error: OrderError| format!("{}: {}", error.app().to_owned(), SpecError::from(error));
        check_order(apps, &BTreeMap::new()).into_iter().map(error).collect()
    }

    #[test]
    fn lists_and_tables_are_read() {
        let read = |json: &str| {
            serde_json::from_str::<DependsOn>(json).map(|on| serde_json::to_string(&on).unwrap())
        };
        assert_eq!(read(r#"["db"]"#).unwrap(), r#"{"db":"ready"}"#);
        assert_eq!(read(r#"{"db":"completed"}"#).unwrap(), r#"{"db":"completed"}"#);
        assert_eq!(read(r#"{"db":{"condition":"service_started"}}"#).unwrap(), r#"{"db":"started"}"#);
        assert!(read("3").unwrap_err().to_string().contains("a list of names"));
    }

    #[test]
    fn an_order_that_can_be_kept_is_accepted() {
        assert_eq!(check(&[app("web", &["db", "cache"]), app("db", &[]), app("cache", &["db"])]), [""; 0]);
    }

    #[test]
    fn a_cycle_is_named_once_and_whole() {
        let told = check(&[app("x", &["a"]), app("a", &["b"]), app("b", &["c"]), app("c", &["a"])]);
        assert_eq!(told, [r#"a: depends_on: "a → b → c → a" leads back to where it began"#]);
        assert_eq!(check(&[app("a", &["a"])]), [r#"a: depends_on: "a → a" leads back to where it began"#]);
    }

    #[test]
    fn an_unknown_dependency_is_named_with_the_one_that_was_meant() {
        let errors = check_order(&[app("web", &["dbb"]), app("db", &[])], &BTreeMap::new());
        assert_eq!(
            errors,
            [OrderError::Unknown { app: "web".into(), on: "dbb".into(), near: Some("db".into()) }]
        );
        let others = BTreeMap::from([("dbb".to_owned(), DependsOn::default())]);
        assert_eq!(check_order(&[app("web", &["dbb"])], &others), []);
    }

    #[test]
    fn what_is_restarted_is_never_completed() {
        let on = |name: &str| [(name.to_owned(), Condition::Completed)].into_iter().collect();
        let web = AppSpec { depends_on: on("job"), ..app("web", &[]) };
        assert_eq!(check(&[web.clone(), app("job", &[])]).len(), 1);
        let job = AppSpec { autorestart: false, ..app("job", &[]) };
        assert_eq!(check(&[web, job]), [""; 0]);
    }

    #[test]
    fn a_chain_of_twenty_thousand_apps_is_followed() {
        let apps: Vec<AppSpec> =
            (0..20_000u32).map(|n| app(&n.to_string(), &[&(n + 1).to_string()])).collect();
        assert_eq!(check(&apps).len(), 1, "the last one is not there");
    }
}
