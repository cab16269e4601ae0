//! The JSON Schema of app files, for editors: what [`super::read`] lets through, written from the same types.

use super::attribute;
use super::fields::{definitions, fields};
use serde_json::{Map, Value, json};

/// The schema of a whole file.
pub fn schema() -> Value {
    let mut all: Map<String, Value> = definitions();
    all.insert("app".to_owned(), app());
    let one = json!({ "$ref": "#/$defs/app" });
    let named = json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/named_app" } });
    let mut named_app = app();
    if let Some(object) = named_app.as_object_mut() {
        object.remove("required");
        object.remove("anyOf");
    }
    all.insert("named_app".to_owned(), named_app);
    let list = json!({ "type": "array", "items": one });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file of apps for skep",
        "description": "skep.toml, skep.yaml, skep.json, or an ecosystem file of PM2.",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "$schema": { "type": "string" },
                    "apps": { "description": "The apps: a list, or a table by name.", "anyOf": [list, named] },
                    "deploy": { "description": "Deployment over ssh, by environment.", "type": "object" },
                    "static": { "description": "Accepted without effect.", "type": "array" },
                },
                "required": ["apps"],
                "additionalProperties": false,
            },
            list,
            one,
        ],
        "$defs": all,
    })
}

fn app() -> Value {
    let variables = json!({
        "type": "object",
        "additionalProperties": { "type": ["string", "number", "boolean", "null", "array", "object"] },
    });
    let words = json!({ "anyOf": [
        { "type": "string" },
        { "type": "array", "items": { "type": ["string", "number", "boolean"] } },
    ]});
    let mut properties = Map::new();
    for field in fields() {
        let mut schema = match field.name.as_str() {
            "env" => variables.clone(),
            "args" | "interpreter_args" => words.clone(),
            _ => field.schema.clone(),
        };
        schema["description"] = Value::from(field.about.as_str());
        properties.insert(field.name.clone(), schema);
    }
    for (name, about) in attribute::TRANSLATED {
        properties.entry(*name).or_insert_with(|| match *name {
            "name_prefix" => json!({ "type": "string", "description": about }),
            _ => json!({ "type": "boolean", "description": about }),
        });
    }
    for (alias, name) in attribute::ALIASES {
        if let Some(meant) = properties.get(*name).cloned() {
            properties.entry(*alias).or_insert_with(|| {
                let mut same = meant;
                same["description"] = Value::from(format!("The same as {name}."));
                same
            });
        }
    }
    for (name, reason) in attribute::WITHOUT_EFFECT {
        properties
            .entry(*name)
            .or_insert_with(|| json!({ "description": format!("Accepted without effect: {reason}.") }));
    }
    let scripts = ["script", "command", "exec", "cmd"].map(|name| json!({ "required": [name] }));
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": { "^env_.+$": variables },
        "anyOf": scripts,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/skep.schema.json");

    #[test]
    fn docs_skep_schema_json_is_what_the_types_say() {
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        let written = std::fs::read_to_string(FILE).unwrap_or_default();
        if written != text && std::env::var_os("SKEP_WRITE_DOCS").is_some() {
            std::fs::write(FILE, text).unwrap();
        } else {
            assert!(
                written == text,
                "docs/skep.schema.json is out of date: run this test with SKEP_WRITE_DOCS=1"
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
