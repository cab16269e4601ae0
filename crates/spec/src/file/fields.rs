//! What can be written in a file: the fields of [`AppSpec`], with their meaning and what they may be, taken from the
//! JSON Schema of the type itself.

use crate::AppSpec;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Fields that skep sets by itself.
const INTERNAL: &[&str] = &["inherited_env", "source"];

/// One attribute of an app.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its meaning, from the doc comment.
    pub about: String,
    /// What it may be, in words.
    pub allowed: String,
    /// The same as JSON Schema.
    pub schema: Value,
}

/// Every attribute, in the order of [`AppSpec`].
pub fn fields() -> &'static [Field] {
    static FIELDS: OnceLock<Vec<Field>> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let schema = schemars::schema_for!(AppSpec).to_value();
        let nothing = serde_json::Map::new();
        let definitions = schema["$defs"].as_object().unwrap_or(&nothing);
        let properties = schema["properties"].as_object().unwrap_or(&nothing);
        declared_order()
            .into_iter()
            .filter(|name| !INTERNAL.contains(name))
            .filter_map(|name| {
                let property = properties.get(name)?;
                let about = property["description"].as_str().unwrap_or_default().replace('\n', " ");
                let allowed = words(property, definitions);
                Some(Field { name: name.to_owned(), about, allowed, schema: property.clone() })
            })
            .collect()
    })
}

/// The types that fields refer to.
pub(crate) fn definitions() -> serde_json::Map<String, Value> {
    let schema = schemars::schema_for!(AppSpec).to_value();
    schema["$defs"].as_object().cloned().unwrap_or_default()
}

/// The field of this name.
pub(crate) fn field(name: &str) -> Option<&'static Field> {
    static INDEX: OnceLock<BTreeMap<&'static str, &'static Field>> = OnceLock::new();
    INDEX
        .get_or_init(|| fields().iter().map(|field| (field.name.as_str(), field)).collect())
        .get(name)
        .copied()
}

/// What a schema lets through, as the end of "write …".
fn words(schema: &Value, definitions: &serde_json::Map<String, Value>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return definitions
            .get(name)
            .map_or_else(|| "a value".to_owned(), |schema| words(schema, definitions));
    }
    let choices: Vec<String> = constants(schema, definitions);
    if !choices.is_empty() {
        return format!("one of {}", choices.join(", "));
    }
    if let Some(options) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let mut all: Vec<String> = Vec::new();
        for option in options.iter().filter(|option| option["type"] != "null") {
            let words = words(option, definitions);
            if !all.contains(&words) {
                all.push(words);
            }
        }
        return all.join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => Vec::new(),
    };
    types.iter().map(|name| type_words(name, schema, definitions)).collect::<Vec<_>>().join(" or ")
}

fn type_words(name: &str, schema: &Value, definitions: &serde_json::Map<String, Value>) -> String {
    match name {
        "boolean" => "true or false".to_owned(),
        "integer" => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            (Some(least), None) => format!("a whole number from {least}"),
            (None, _) => "a whole number".to_owned(),
        },
        "number" => "a number".to_owned(),
        "string" => match schema["pattern"].as_str() {
            Some(pattern) => format!("text like {pattern}"),
            None => "text".to_owned(),
        },
        "array" => format!("a list of {}", words(&schema["items"], definitions)),
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// The words of an enumeration.
fn constants(schema: &Value, definitions: &serde_json::Map<String, Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(list) = schema["enum"].as_array() {
        return list.iter().filter_map(text).collect();
    }
    if schema.get("const").is_some() {
        return text(&schema["const"]).into_iter().collect();
    }
    let Some(options) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) else { return Vec::new() };
    let mut all = Vec::new();
    for option in options.iter().filter(|option| option["type"] != "null") {
        let option = match option["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            Some(name) => definitions.get(name).unwrap_or(option),
            None => option,
        };
        let own = constants(option, definitions);
        if own.is_empty() {
            return Vec::new();
        }
        all.extend(own);
    }
    all
}

/// The names of a struct's fields in the order in which they are declared: JSON Schema sorts them, people do not.
fn declared_order() -> Vec<&'static str> {
    let mut names = Names::default();
    let _ = <AppSpec as serde::Deserialize>::deserialize(&mut names);
    names.0
}

/// A source of data that gives none, but is told what is asked for.
#[derive(Debug, Default)]
struct Names(Vec<&'static str>);

impl<'de> serde::Deserializer<'de> for &mut Names {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only names are of interest"))
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = fields.to_vec();
        Err(serde::de::Error::custom("only names are of interest"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_says_what_it_is_and_what_it_may_be() {
        for field in fields() {
            assert!(!field.about.is_empty(), "{}", field.name);
            assert!(!field.allowed.is_empty(), "{}: {}", field.name, field.schema);
        }
        assert_eq!(fields()[0].name, "name");
        let allowed = |name: &str| field(name).unwrap().allowed.clone();
        assert_eq!(allowed("autorestart"), "true or false");
        assert_eq!(allowed("max_restarts"), "a whole number from 0");
        assert_eq!(allowed("log_type"), "one of raw, json, pairs, named");
        assert_eq!(allowed("exec_mode"), "one of fork, cluster");
        assert!(field("inherited_env").is_none());
    }
}
