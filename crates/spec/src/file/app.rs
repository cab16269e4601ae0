//! One app in a file: its attributes checked one by one, then put together with what the command line says.

use super::Problem;
use super::attribute::{Known, identify};
use super::env::{self, Variables};
use super::fields::{Field, field};
use crate::{AppSpec, RawStart, split_words};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What `time: true` puts in front of each line, as PM2 does.
const TIME_FORMAT: &str = "YYYY-MM-DDTHH:mm:ss";
/// The name for a file that PM2 takes for none.
const PM2_NOWHERE: &str = "NULL";

/// One app as a file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FileApp {
    /// How messages call it: by its name, or by its place in the file.
    pub label: String,
    /// What the file says, under the names of [`AppSpec`]'s fields (and `script`), each checked by itself.
    attributes: Map<String, Value>,
    /// `env_NAME`, by name.
    environments: BTreeMap<String, Variables>,
    append_env_to_name: bool,
    name_prefix: Option<String>,
}

/// What the command line says about the apps of a file.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The environment that is chosen (`--env NAME`).
    pub environment: Option<String>,
    /// Attributes that win over those of the file.
    pub overrides: Map<String, Value>,
    /// Variables that win over those of the file.
    pub env: BTreeMap<String, String>,
}

impl FileApp {
    /// Reads an app. What is wrong is added to `problems`, what the user should know to `notes`.
    pub(crate) fn read(
        object: &Map<String, Value>,
        place: &str,
        problems: &mut Vec<Problem>,
        notes: &mut Vec<String>,
    ) -> Self {
        let label = match object.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            _ => place.to_owned(),
        };
        let mut reader = Reader {
            app: Self {
                label,
                attributes: Map::new(),
                environments: BTreeMap::new(),
                append_env_to_name: false,
                name_prefix: None,
            },
            written: BTreeMap::new(),
            problems,
            notes,
        };
        for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            if let Err(problem) = reader.take(name, value) {
                reader.problems.push(problem);
            }
        }
        if !reader.written.contains_key("script") {
            reader.problems.push(Problem {
                app: Some(reader.app.label.clone()),
                attribute: Some("script".to_owned()),
                value: None,
                problem: "is missing".to_owned(),
                remedy: "say what to run: a script, a program or a command line".to_owned(),
            });
        }
        reader.app
    }

    /// The name that the file gives it, if it does.
    pub fn name(&self) -> Option<String> {
        let name = self.attributes.get("name")?.as_str()?;
        Some(self.named(name, None))
    }

    /// The name that it will have: the one that the file gives it, or the script's.
    pub fn identity(&self, environment: Option<&str>) -> String {
        let written = self.attributes.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        match written {
            Some(name) => self.named(name, environment),
            None => {
                crate::name::derive(self.attributes.get("script").and_then(Value::as_str).unwrap_or_default())
            }
        }
    }

    /// The environments that the file has for it.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.keys().map(String::as_str)
    }

    /// What the file says, under the names of [`AppSpec`]'s fields and `script`.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// The variables of each of its environments.
    pub fn environment_variables(&self) -> &BTreeMap<String, BTreeMap<String, String>> {
        &self.environments
    }

    /// What the file says beside that.
    pub(crate) fn extras(&self) -> Vec<(&'static str, Value)> {
        let mut extras = Vec::new();
        if self.append_env_to_name {
            extras.push(("append_env_to_name", Value::Bool(true)));
        }
        if let Some(prefix) = &self.name_prefix {
            extras.push(("name_prefix", Value::from(prefix.as_str())));
        }
        extras
    }

    fn named(&self, name: &str, environment: Option<&str>) -> String {
        let prefix = self.name_prefix.as_ref().map(|prefix| format!("{prefix}:")).unwrap_or_default();
        match environment.filter(|_| self.append_env_to_name) {
            Some(environment) => format!("{prefix}{name}-{environment}"),
            None => format!("{prefix}{name}"),
        }
    }

    /// The app with what the command line says, ready to be resolved.
    ///
    /// # Errors
    /// When an override does not fit.
    pub fn to_raw(&self, selection: &Selection) -> Result<RawStart, Problem> {
        let mut attributes = self.attributes.clone();
        for (name, value) in &selection.overrides {
            attributes.insert(name.clone(), value.clone());
        }
        let what = match attributes.remove("script") {
            Some(Value::String(what)) => what,
            _ => String::new(),
        };
        let environment = selection.environment.as_deref();
        let chosen = environment.and_then(|name| self.environments.get(name)).into_iter().flatten();
        let set = chosen.chain(&selection.env).map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        if let Value::Object(env) = attributes.entry("env").or_insert_with(|| Value::Object(Map::new())) {
            env.extend(set);
        }
        let instances_given = attributes.contains_key("instances");
        let mut spec: AppSpec =
            serde_json::from_value(Value::Object(attributes)).map_err(|error| Problem {
                app: Some(self.label.clone()),
                ..Problem::whole(format!("is not understood: {error}"), "")
            })?;
        if !spec.name.is_empty() {
            spec.name = self.named(&spec.name, environment);
        }
        Ok(RawStart { what, spec, instances_given })
    }
}

/// An app being read.
struct Reader<'a> {
    app: FileApp,
    /// The attributes so far, with the names under which they were written.
    written: BTreeMap<String, String>,
    problems: &'a mut Vec<Problem>,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn take(&mut self, name: &str, value: &Value) -> Result<(), Problem> {
        if let Some(environment) = name.strip_prefix(env::PREFIX).filter(|rest| !rest.is_empty()) {
            let variables = env::read(&self.app.label, name, value)?;
            self.app.environments.insert(environment.to_owned(), variables);
            return Ok(());
        }
        match identify(name) {
            Known::Attribute(canonical) => {
                if let Some(other) = self.written.insert(canonical.clone(), name.to_owned()) {
                    let problem = format!("is the same attribute as {other}");
                    return Err(self.problem(name, value, problem, "keep one of the two"));
                }
                self.attribute(name, &canonical, value)
            }
            Known::WithoutEffect(reason) => {
                self.notes.push(format!("{}: {name} has no effect: {reason}", self.app.label));
                Ok(())
            }
            Known::Unknown(near) => {
                let remedy = match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => "`skep schema` describes every attribute".to_owned(),
                };
                Err(self.problem(name, value, "is no attribute that skep knows", remedy))
            }
        }
    }

    fn problem(
        &self,
        name: &str,
        value: &Value,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem::of_attribute(&self.app.label, name, value, problem, remedy)
    }

    fn attribute(&mut self, name: &str, canonical: &str, value: &Value) -> Result<(), Problem> {
        match canonical {
            "script" => {
                let Some(what) = value.as_str().filter(|what| !what.trim().is_empty()) else {
                    return Err(self.problem(
                        name,
                        value,
                        "cannot be run",
                        "name a script, a program or a command line",
                    ));
                };
                self.put("script", Value::from(what));
            }
            "env" => {
                let variables = env::read(&self.app.label, name, value)?;
                self.put("env", env::to_value(variables));
            }
            "args" | "interpreter_args" => {
                let words = self.words(name, value)?;
                self.put(canonical, words);
            }
            "time" | "append_env_to_name" | "execute_command" => {
                let given = self.boolean(name, value)?;
                self.switch(canonical, given);
            }
            "name_prefix" => self.app.name_prefix = scalar(value),
            "filter_env" => {
                // PM2: true leaves out everything. Every name contains the empty text.
                let parts = match value {
                    Value::Bool(true) => Value::from(vec![""]),
                    Value::Bool(false) => Value::Array(Vec::new()),
                    other => self.checked(name, canonical, other)?,
                };
                self.put(canonical, parts);
            }
            "out_file" | "error_file" | "log_file" => self.log_file(name, canonical, value)?,
            _ => {
                let value = self.checked(name, canonical, value)?;
                self.put(canonical, value);
            }
        }
        Ok(())
    }

    fn put(&mut self, canonical: &str, value: Value) {
        self.app.attributes.insert(canonical.to_owned(), value);
    }

    fn switch(&mut self, canonical: &str, given: bool) {
        match canonical {
            "append_env_to_name" => self.app.append_env_to_name = given,
            "execute_command" if given => self.put("exec_mode", Value::from("fork")),
            "time" if given && !self.app.attributes.contains_key("log_date_format") => {
                self.put("log_date_format", Value::from(TIME_FORMAT));
            }
            _ => {}
        }
    }

    /// PM2 lets `false` stand for no file in particular, and `true` for the usual one of both streams.
    fn log_file(&mut self, name: &str, canonical: &str, value: &Value) -> Result<(), Problem> {
        match value {
            Value::Bool(false) => {}
            Value::Bool(true) if canonical != "log_file" => {
                return Err(self.problem(name, value, "is not accepted", "write a path"));
            }
            Value::String(text) if text == PM2_NOWHERE => self.put(canonical, Value::from("/dev/null")),
            other => {
                let value = self.checked(name, canonical, other)?;
                self.put(canonical, value);
            }
        }
        Ok(())
    }

    fn boolean(&self, name: &str, value: &Value) -> Result<bool, Problem> {
        match value {
            Value::Bool(given) => Ok(*given),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            other => Err(self.problem(name, other, "is not accepted", "write true or false")),
        }
    }

    /// Text is split into words as a shell does; a list is taken word by word.
    fn words(&self, name: &str, value: &Value) -> Result<Value, Problem> {
        let words = match value {
            Value::String(text) => match split_words(text) {
                Some(words) => words,
                None => return Err(self.problem(name, value, "has a quote that is not closed", "close it")),
            },
            Value::Array(list) => match list.iter().map(scalar).collect::<Option<Vec<_>>>() {
                Some(words) => words,
                None => {
                    return Err(self.problem(name, value, "holds more than words", "write a list of texts"));
                }
            },
            other => match scalar(other) {
                Some(word) => vec![word],
                None => return Err(self.problem(name, value, "is not accepted", "write a list of texts")),
            },
        };
        Ok(Value::from(words))
    }

    /// The value as the field of this name takes it. As in PM2, numbers may be written as text and the other way round,
    /// and one value where several could stand.
    fn checked(&self, name: &str, canonical: &str, value: &Value) -> Result<Value, Problem> {
        let field = field(canonical).expect("`identify` has found it among the fields");
        let first = match fits(canonical, value) {
            Ok(()) => return Ok(value.clone()),
            Err(error) => error,
        };
        let cast = match value {
            Value::String(text) => serde_json::from_str::<Value>(text).ok().filter(|cast| !cast.is_object()),
            Value::Number(_) | Value::Bool(_) => Some(Value::from(value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let alone = (!value.is_array() && !value.is_object()).then(|| Value::Array(vec![value.clone()]));
        for candidate in cast.into_iter().chain(alone) {
            if fits(canonical, &candidate).is_ok() {
                return Ok(candidate);
            }
        }
        let (problem, remedy) = explain(field, value, &first);
        Err(self.problem(name, value, problem, remedy))
    }
}

/// Text, or a number or boolean as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether the field takes the value, by the type itself.
fn fits(name: &str, value: &Value) -> Result<(), String> {
    let alone = Value::Object(Map::from_iter([(name.to_owned(), value.clone())]));
    serde_json::from_value::<AppSpec>(alone).map(drop).map_err(|error| error.to_string())
}

/// What a type says about a value that it does not take, for people.
fn explain(field: &Field, value: &Value, error: &str) -> (String, String) {
    let plain = ("is not accepted".to_owned(), format!("write {}", field.allowed));
    if let Some(own) = value.as_str().and_then(|text| error.split_once(&format!("{text:?} "))) {
        // The type's own sentence about the value, with its remedy.
        let sentence = own.1;
        if !sentence.starts_with(',') && !error.starts_with("invalid") && !error.starts_with("unknown") {
            let (problem, remedy) = sentence.split_once([':', ';']).unwrap_or((sentence, &plain.1));
            return (problem.to_owned(), remedy.trim().to_owned());
        }
    }
    match error.split_once("expected ") {
        Some((_, expected)) if error.starts_with("invalid") && !is_rust(expected) => {
            let how = expected.split_once(": write ").map_or(expected, |(_, how)| how);
            (plain.0, format!("write {how}"))
        }
        Some(_) => plain,
        None => (format!("is not accepted: {error}"), plain.1),
    }
}

/// Words of the language rather than of the user.
fn is_rust(expected: &str) -> bool {
    const WORDS: &[&str] = &["a boolean", "a string", "a sequence", "a map", "struct ", "one of", "`"];
    WORDS.iter().any(|word| expected.starts_with(word))
        || (expected.starts_with(['u', 'i', 'f']) && expected[1..].chars().all(|c| c.is_ascii_digit()))
}
