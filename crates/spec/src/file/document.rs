//! A whole file: which of its forms it has, and the apps in it.

use super::app::FileApp;
use super::attribute::{Known, identify};
use super::{FileError, Problem};
use serde_json::{Map, Value};

/// So many apps one file may have: ten times what one machine was ever seen to run, and few enough that a file which
/// a program wrote in an endless loop is refused.
const APPS_MAX: usize = 100_000;

/// A file that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Its apps, in order.
    pub apps: Vec<FileApp>,
    /// The block `deploy`, as it stands there.
    pub deploy: Option<Value>,
    /// What the user should know about how it was understood.
    pub notes: Vec<String>,
}

/// Reads what a file contains.
///
/// Forms: `{ apps: [...] }`, `{ apps: { name: {...} } }`, a list of apps, or one app. PM2's `{ pm2: [...] }` in a
/// package.json is read as well.
///
/// # Errors
/// Everything that is wrong with it, not only the first thing.
pub fn read(value: &Value, file: &str) -> Result<Document, FileError> {
    let mut reader = Reading { document: Document::default(), problems: Vec::new() };
    match value {
        Value::Array(list) => reader.list(list),
        Value::Object(object) => reader.object(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            reader.problems.push(no_apps());
        }
    }
    if reader.problems.is_empty() {
        return Ok(reader.document);
    }
    Err(FileError { file: file.to_owned(), problems: reader.problems })
}

fn no_apps() -> Problem {
    Problem::whole("describes no app", "write { \"apps\": [{ \"name\": \"web\", \"script\": \"app.js\" }] }")
}

struct Reading {
    document: Document,
    problems: Vec<Problem>,
}

impl Reading {
    fn object(&mut self, object: &Map<String, Value>) {
        if let Some(apps) = object.get("apps").or(object.get("pm2")) {
            self.apps(apps);
            // A package.json has much that is none of our business.
            if object.contains_key("apps") {
                self.others(object);
            }
            self.document.deploy = object.get("deploy").filter(|deploy| !deploy.is_null()).cloned();
            return;
        }
        let is_app = object.keys().any(|name| identify(name) == Known::Attribute("script".to_owned()));
        if is_app {
            self.app(object, "the app");
            return;
        }
        match object.keys().map(|name| (strsim::damerau_levenshtein(name, "apps"), name)).min() {
            Some((distance, name)) if distance <= 2 => self.problems.push(Problem {
                attribute: Some(name.clone()),
                ..Problem::whole("is nothing that skep knows", "did you mean apps?")
            }),
            _ if object.contains_key("deploy") => {
                self.document.deploy = object.get("deploy").cloned();
            }
            _ => self.problems.push(no_apps()),
        }
    }

    fn apps(&mut self, apps: &Value) {
        match apps {
            Value::Array(list) => self.list(list),
            Value::Object(object) if object.values().all(Value::is_object) => self.map(object),
            Value::Object(object) => self.app(object, "the app"),
            other => self.problems.push(Problem {
                attribute: Some("apps".to_owned()),
                value: Some(other.to_string()),
                ..Problem::whole("is no list of apps", "write a list, or a table by name")
            }),
        }
    }

    fn list(&mut self, list: &[Value]) {
        if list.len() > APPS_MAX {
            let problem = format!("has {} apps", list.len());
            self.problems.push(Problem::whole(problem, format!("one file may have {APPS_MAX}")));
            return;
        }
        for (n, app) in list.iter().enumerate() {
            let place = format!("app {}", n + 1);
            match app {
                Value::Object(object) => self.app(object, &place),
                other => self.problems.push(Problem {
                    app: Some(place),
                    value: Some(other.to_string()),
                    ..Problem::whole("is no table of attributes", "write { \"script\": \"app.js\" }")
                }),
            }
        }
    }

    /// Apps by name; a name inside wins.
    fn map(&mut self, object: &Map<String, Value>) {
        for (name, app) in object {
            let mut attributes = app.as_object().cloned().unwrap_or_default();
            attributes.entry("name").or_insert_with(|| Value::from(name.as_str()));
            self.app(&attributes, name);
        }
    }

    fn app(&mut self, object: &Map<String, Value>, place: &str) {
        let app = FileApp::read(object, place, &mut self.problems, &mut self.document.notes);
        self.document.apps.push(app);
    }

    /// What stands beside `apps`.
    fn others(&mut self, object: &Map<String, Value>) {
        for (name, value) in object {
            match name.as_str() {
                "apps" | "deploy" | "$schema" => {}
                "static" if value.as_array().is_some_and(Vec::is_empty) => {}
                "static" => self.document.notes.push(
                    "static has no effect: write an app whose script is a static file server".to_owned(),
                ),
                other => self.problems.push(Problem {
                    attribute: Some(other.to_owned()),
                    ..Problem::whole(
                        "is nothing that skep knows beside apps",
                        "keep apps, and deploy if you use it",
                    )
                }),
            }
        }
    }
}
