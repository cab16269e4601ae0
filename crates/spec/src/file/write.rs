//! A document as text again: one app file in another syntax. Attributes stand in the order of the manual, under skep's
//! own names.

use super::fields::{field, fields};
use super::{Document, FileApp, Syntax};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// The document as a file of skep's own.
///
/// # Errors
/// When the syntax cannot say it (TOML has no null), with the reason.
pub fn write(document: &Document, syntax: Syntax) -> Result<String, String> {
    let mut whole = vec![("apps".to_owned(), Node::List(document.apps.iter().map(app).collect()))];
    if let Some(deploy) = &document.deploy {
        whole.push(("deploy".to_owned(), Node::Value(deploy.clone())));
    }
    let whole = Node::Table(whole);
    match syntax {
        Syntax::Json => {
            let text = serde_json::to_string_pretty(&whole).map_err(|error| error.to_string())?;
            Ok(text + "\n")
        }
        Syntax::Yaml => serde_saphyr::to_string(&whole).map_err(|error| error.to_string()),
        Syntax::Toml => toml::to_string_pretty(&whole).map_err(|error| error.to_string()),
    }
}

/// A value whose tables keep their order.
enum Node {
    Value(Value),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
            Self::Table(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, node) in entries {
                    map.serialize_entry(name, node)?;
                }
                map.end()
            }
        }
    }
}

fn app(app: &FileApp) -> Node {
    let mut attributes: Map<String, Value> = app.attributes().clone();
    for (name, value) in app.extras() {
        attributes.insert(name.to_owned(), value);
    }
    let order = fields().iter().map(|field| field.name.as_str());
    let mut ordered: Vec<(String, Node)> = Vec::new();
    let mut tables: Vec<(String, Node)> = Vec::new();
    let mut names: Vec<String> =
        order.filter(|name| attributes.contains_key(*name)).map(str::to_owned).collect();
    names.extend(attributes.keys().filter(|name| field(name).is_none()).cloned());
    for name in names {
        let Some(value) = attributes.remove(&name) else { continue };
        // TOML has tables behind everything else; elsewhere it does no harm.
        let list = if value.is_object() { &mut tables } else { &mut ordered };
        list.push((name, Node::Value(value)));
    }
    for (name, variables) in app.environment_variables() {
        let variables = variables.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        tables.push((format!("env_{name}"), Node::Value(Value::Object(variables.collect()))));
    }
    ordered.extend(tables);
    Node::Table(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Selection, parse, read};

    #[test]
    fn a_pm2_file_says_the_same_in_every_syntax() {
        let text = r#"{ apps: [
            { name: "web", exec: "app.js", nodeArgs: "--inspect", args: "a 'b c'", exec_mode: "cluster_mode", instances: "max",
              env: { PORT: 3000, TEXT: "a\n\"b\" #c: 'd'", EMPTY: "", YES: "yes", NUMBER: "1e3" },
              env_production: { PORT: 80 }, time: true, append_env_to_name: true, max_surge: "25%", name_prefix: "x" },
            { script: "./b.py", stop_exit_codes: [0, 1], rotate: { max_size: "1M" } } ],
          deploy: { production: { user: "me", host: ["a", "b"] } } }"#;
        let before = read(&parse(text, Syntax::Json, "f").unwrap(), "f").unwrap();
        let selection = Selection { environment: Some("production".into()), ..Selection::default() };
        for syntax in [Syntax::Json, Syntax::Yaml, Syntax::Toml] {
            let text = write(&before, syntax).unwrap();
            let value = parse(&text, syntax, "f").unwrap_or_else(|error| panic!("{error}\n{text}"));
            let after = read(&value, "f").unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(after.deploy, before.deploy, "{text}");
            for (was, is) in before.apps.iter().zip(&after.apps) {
                assert_eq!(is.to_raw(&selection).unwrap(), was.to_raw(&selection).unwrap(), "{text}");
            }
            assert!(text.find("name").unwrap() < text.find("app.js").unwrap(), "{text}");
        }
    }
}
