//! What a worker tells of itself by PM2's conventions (`@pm2/io` and everything that speaks like it).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Metrics, actions and options of one worker; each more would be an app's mistake, and the daemon's memory.
const NAMES_MAX: usize = 256;
/// The longest message that is remembered.
const REMEMBERED_BYTES_MAX: usize = 64 << 10;

/// All that is remembered of what a worker said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    /// What it can be asked to do: `{action_name, action_type, opts, arity}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<Value>,
    /// `axm:option:configuration`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) options: Map<String, Value>,
    /// Its metrics. They come again each second, so the next daemon need not be told.
    #[serde(skip)]
    pub(crate) monitor: Map<String, Value>,
    /// The version of Node.js that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_version: Option<String>,
    /// Its own version, as it stood in its `package.json` when it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// What a message is, for whoever carries it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The worker described itself: kept, and told to those who listen just now.
    Metrics,
    /// As before, and the next daemon has to know it.
    Self_,
    /// An answer to an action.
    Reply,
    /// A message for the world.
    Word,
}

impl Told {
    /// Takes in a message, if it is of the kind that describes the worker. `bytes` is its length.
    pub(crate) fn hear(&mut self, message: &Value, bytes: usize) -> Meaning {
        let kind = message.get("type").and_then(Value::as_str);
        let data = message.get("data");
        match (kind, data) {
            (Some("axm:reply"), _) => return Meaning::Reply,
            (Some("axm:monitor"), _) if bytes > REMEMBERED_BYTES_MAX => return Meaning::Metrics,
            (Some("axm:monitor"), Some(Value::Object(metrics))) => {
                for (name, metric) in metrics {
                    if self.monitor.len() < NAMES_MAX || self.monitor.contains_key(name) {
                        self.monitor.insert(name.clone(), metric.clone());
                    }
                }
                return Meaning::Metrics;
            }
            (Some("axm:action"), Some(action)) if bytes <= REMEMBERED_BYTES_MAX => self.action(action),
            (Some("axm:option:configuration"), Some(Value::Object(options)))
                if bytes <= REMEMBERED_BYTES_MAX =>
            {
                self.options.extend(options.clone());
            }
            (Some("axm:option:setPID"), _) => {}
            _ => match message.get("node_version").and_then(Value::as_str) {
                Some(version) if kind.is_none() => self.node_version = Some(version.to_owned()),
                _ => return Meaning::Word,
            },
        }
        Meaning::Self_
    }

    fn action(&mut self, action: &Value) {
        let Some(name) = action.get("action_name") else { return };
        let at = self.actions.iter().position(|known| known.get("action_name") == Some(name));
        match at {
            Some(at) => self.actions[at] = action.clone(),
            None if self.actions.len() < NAMES_MAX => self.actions.push(action.clone()),
            None => {}
        }
    }

    /// What it can be asked to do, by name; what `@pm2/io` offers for its own sake is left out.
    pub(crate) fn action_names(&self) -> Vec<String> {
        let names = self.actions.iter().filter_map(|action| action.get("action_name")?.as_str());
        names.filter(|name| !name.starts_with("km:")).map(str::to_owned).collect()
    }

    /// Whether it said that it knows this action.
    pub(crate) fn knows_action(&self, name: &str) -> bool {
        self.actions.iter().any(|action| action.get("action_name").and_then(Value::as_str) == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hear(told: &mut Told, message: &Value) -> Meaning {
        told.hear(message, message.to_string().len())
    }

    #[test]
    fn metrics_are_merged_and_actions_stand_once() {
        let mut told = Told::default();
        let metric =
            |name: &str, value: u32| json!({"type": "axm:monitor", "data": {name: {"value": value}}});
        assert_eq!(hear(&mut told, &metric("a", 1)), Meaning::Metrics);
        hear(&mut told, &metric("b", 2));
        hear(&mut told, &metric("a", 3));
        assert_eq!(json!(told.monitor), json!({"a": {"value": 3}, "b": {"value": 2}}));
        let action =
            |arity: u32| json!({"type": "axm:action", "data": {"action_name": "hi", "arity": arity}});
        assert_eq!(hear(&mut told, &action(0)), Meaning::Self_);
        hear(&mut told, &action(2));
        assert_eq!(told.actions, [json!({"action_name": "hi", "arity": 2})]);
        assert!(told.knows_action("hi") && !told.knows_action("ho"));
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut told = Told::default();
        for n in 0..NAMES_MAX + 10 {
            hear(&mut told, &json!({"type": "axm:monitor", "data": {n.to_string(): 1}}));
            hear(&mut told, &json!({"type": "axm:action", "data": {"action_name": n.to_string()}}));
        }
        assert_eq!((told.monitor.len(), told.actions.len()), (NAMES_MAX, NAMES_MAX));
    }

    #[test]
    fn everything_else_is_a_word_to_the_world() {
        let mut told = Told::default();
        for word in [json!({"type": "process:msg", "data": {}}), json!("hello"), json!(null), json!([1])] {
            assert_eq!(hear(&mut told, &word), Meaning::Word, "{word}");
        }
        assert_eq!(hear(&mut told, &json!({"type": "axm:reply", "data": {}})), Meaning::Reply);
        assert_eq!(hear(&mut told, &json!({"node_version": "22.1.0"})), Meaning::Self_);
        assert_eq!(told.node_version.as_deref(), Some("22.1.0"));
    }
}
