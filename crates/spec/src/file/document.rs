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

/// An entry of `static` as an app; what is not about serving stays an attribute of it.
fn served(site: &Map<String, Value>) -> Map<String, Value> {
    let mut app = Map::new();
    let mut env = Map::new();
    let mut set = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        env.insert(format!("PM2_SERVE_{name}"), Value::from(text));
    };
    for (name, value) in site.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "port" | "host" | "path" | "spa" | "ftp" | "homepage" | "monitor" => {
                set(&name.to_ascii_uppercase(), value);
            }
            "basic_auth" => {
                set("BASIC_AUTH", &Value::Bool(true));
                for part in ["username", "password"] {
                    if let Some(value) = value.get(part) {
                        set(&format!("BASIC_AUTH_{}", part.to_ascii_uppercase()), value);
                    }
                }
            }
            _ => drop(app.insert(name.clone(), value.clone())),
        }
    }
    app.insert("script".to_owned(), Value::from("serve"));
    app.insert("env".to_owned(), Value::Object(env));
    app
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

    /// PM2's `static`: directories that are served, as apps whose script is `serve`.
    fn sites(&mut self, value: &Value) {
        let Value::Array(list) = value else {
            self.problems.push(Problem {
                attribute: Some("static".to_owned()),
                value: Some(value.to_string()),
                ..Problem::whole("is no list", "write [{ \"path\": \"./public\", \"port\": 8080 }]")
            });
            return;
        };
        for (n, site) in list.iter().enumerate() {
            match site {
                Value::Object(site) => self.app(&served(site), &format!("static {}", n + 1)),
                other => self.problems.push(Problem {
                    app: Some(format!("static {}", n + 1)),
                    value: Some(other.to_string()),
                    ..Problem::whole("is no table", "write { \"path\": \"./public\", \"port\": 8080 }")
                }),
            }
        }
    }

    /// What stands beside `apps`.
    fn others(&mut self, object: &Map<String, Value>) {
        for (name, value) in object {
            match name.as_str() {
                "apps" | "deploy" | "$schema" => {}
                "static" => self.sites(value),
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
