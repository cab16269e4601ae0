//! One environment of the block `deploy`, checked: a value that a program would take for an option is refused.

use crate::failure::Failure;
use serde_json::{Map, Value};
use skep_api::ErrorCode;
use std::path::PathBuf;

/// The hooks, in the order in which they come.
const HOOKS: [&str; 5] = ["pre-setup", "post-setup", "pre-deploy-local", "pre-deploy", "post-deploy"];
/// What a host may have of its own.
const OF_HOST: [&str; 6] = ["user", "port", "key", "forward-agent", "needs_tty", "ssh_options"];
const OF_TARGET: [&str; 6] = ["host", "repo", "path", "ref", "fetch", "env"];

/// Where and what to deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) hosts: Vec<Host>,
    pub(super) repo: String,
    pub(super) path: String,
    pub(super) reference: String,
    /// Only the last commits are fetched.
    pub(super) is_shallow: bool,
    /// Variables of the hooks.
    pub(super) env: Vec<(String, String)>,
    hooks: Vec<(&'static str, String)>,
    /// As it stands in the file.
    source: Map<String, Value>,
}

/// One of the hosts, and how ssh gets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) address: String,
    pub(super) user: Option<String>,
    pub(super) port: Option<String>,
    pub(super) key: Option<PathBuf>,
    pub(super) options: Vec<String>,
    pub(super) forward_agent: bool,
    pub(super) needs_tty: bool,
}

impl Host {
    /// PM2 takes this name for this machine, without ssh.
    pub(super) fn is_here(&self) -> bool {
        self.address == "localhost"
    }

    pub(super) fn destination(&self) -> String {
        match &self.user {
            Some(user) => format!("{user}@{}", self.address),
            None => self.address.clone(),
        }
    }
}

fn refused(field: &str, value: &Value, problem: &str, remedy: impl Into<String>) -> Failure {
    let value = if value.is_null() { String::new() } else { format!(" {value}") };
    Failure::new(ErrorCode::InvalidSpec, format!("deploy: {field}{value} {problem}"), remedy)
}

/// A text of one line that no program takes for an option.
fn word(field: &str, value: &Value) -> Result<String, Failure> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null => {
            return Err(refused(field, value, "is missing", "docs/deploy.md shows what is needed"));
        }
        _ => return Err(refused(field, value, "is no text", "write it in quotes")),
    };
    if text.is_empty() {
        return Err(refused(field, &Value::Null, "is missing", "see docs/deploy.md"));
    }
    if text.starts_with('-') {
        return Err(refused(field, value, "begins with a dash", "programs would take it for an option"));
    }
    if text.chars().any(char::is_control) {
        return Err(refused(field, value, "has signs that are not to be seen", "take them out"));
    }
    Ok(text)
}

/// The same, without blanks.
fn name(field: &str, value: &Value) -> Result<String, Failure> {
    let text = word(field, value)?;
    if text.contains(char::is_whitespace) {
        return Err(refused(field, value, "has blanks", "take them out"));
    }
    Ok(text)
}

/// A reference of git on its way to git's command line.
pub(super) fn check_reference(field: &str, text: &str) -> Result<(), Failure> {
    name(field, &Value::from(text)).map(drop)
}

/// PM2 takes any text for yes.
fn flag(field: &str, value: &Value) -> Result<bool, Failure> {
    match value {
        Value::Null | Value::Bool(false) => Ok(false),
        Value::Bool(true) => Ok(true),
        Value::String(text) => Ok(!matches!(text.as_str(), "" | "no" | "false")),
        other => Err(refused(field, other, "is neither true nor false", "write true")),
    }
}

/// `StrictHostKeyChecking=no`, or a list of these; one text may hold several, each but the first behind `-o`.
fn options(value: &Value) -> Result<Vec<String>, Failure> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut options = Vec::new();
    for option in &list {
        let text = word("ssh_options", option)?;
        options.extend(text.split(" -o ").map(|option| option.trim().to_owned()));
    }
    Ok(options)
}

fn host(value: &Value, all: &Map<String, Value>) -> Result<Host, Failure> {
    let own = value.as_object();
    let address = match own {
        Some(own) => own.get("host").unwrap_or(&Value::Null),
        None => value,
    };
    let get = |key: &str| own.and_then(|own| own.get(key)).or_else(|| all.get(key)).unwrap_or(&Value::Null);
    let optional = |key: &str| match get(key) {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => name(key, value).map(Some),
    };
    let port = optional("port")?;
    if let Some(text) = port.as_ref().filter(|text| text.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(refused(
            "port",
            &Value::from(text.as_str()),
            "is no port",
            "write a number from 1 to 65535",
        ));
    }
    Ok(Host {
        address: name("host", address)?,
        user: optional("user")?,
        port,
        key: match get("key") {
            Value::Null => None,
            value => Some(key(&word("key", value)?)),
        },
        options: options(get("ssh_options"))?,
        forward_agent: flag("forward-agent", get("forward-agent"))?,
        needs_tty: flag("needs_tty", get("needs_tty"))?,
    })
}

/// `~/` is this machine's, since the key lies here.
fn key(text: &str) -> PathBuf {
    let home = text.strip_prefix("~/").zip(std::env::var_os("HOME"));
    home.map_or_else(|| PathBuf::from(text), |(rest, home)| PathBuf::from(home).join(rest))
}

fn path(value: &Value) -> Result<String, Failure> {
    let text = word("path", value)?;
    let text = text.trim_end_matches('/').to_owned();
    if text.len() < 2 || !(text.starts_with('/') || text.starts_with("~/")) {
        let remedy = "write a folder from the root on (/var/www/app), or from the user's home on (~/app)";
        return Err(refused("path", value, "is no folder on a host", remedy));
    }
    Ok(text)
}

fn variables(value: &Value) -> Result<Vec<(String, String)>, Failure> {
    let Value::Object(table) = value else {
        return if value.is_null() {
            Ok(Vec::new())
        } else {
            Err(refused("env", value, "is no table", "write { \"NAME\": \"value\" }"))
        };
    };
    let mut variables = Vec::new();
    for (name, value) in table {
        let upper = name.to_ascii_uppercase();
        let is_name = !upper.starts_with(|sign: char| sign.is_ascii_digit())
            && !upper.is_empty()
            && upper.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_');
        if !is_name {
            return Err(refused(
                "env",
                &Value::from(name.as_str()),
                "is no variable's name",
                "letters, digits, _",
            ));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if text.contains('\0') {
            return Err(refused("env", &Value::from(name.as_str()), "holds a NUL", "take it out"));
        }
        variables.push((upper, text));
    }
    Ok(variables)
}

impl Target {
    /// Reads it; the notes are for the user.
    pub(super) fn read(value: &Value, environment: &str) -> Result<(Self, Vec<String>), Failure> {
        let source = value.as_object().cloned().unwrap_or_default();
        let get = |key: &str| source.get(key).unwrap_or(&Value::Null);
        let hosts = match get("host") {
            Value::Array(list) if list.is_empty() => {
                Err(refused("host", get("host"), "is empty", "name one"))
            }
            Value::Array(list) => list.iter().map(|value| host(value, &source)).collect(),
            one => host(one, &source).map(|host| vec![host]),
        }?;
        let mut hooks = Vec::new();
        for hook in HOOKS {
            match get(hook) {
                Value::Null => {}
                Value::String(line) if line.contains('\0') => {
                    return Err(refused(hook, &Value::Null, "holds a NUL", "take it out"));
                }
                Value::String(line) if line.trim().is_empty() => {}
                Value::String(line) => hooks.push((hook, line.clone())),
                other => return Err(refused(hook, other, "is no text", "write one shell line")),
            }
        }
        let known = |key: &&String| {
            let key = key.as_str();
            HOOKS.contains(&key) || OF_HOST.contains(&key) || OF_TARGET.contains(&key)
        };
        let unknown = source.keys().filter(|key| !known(key));
        let notes =
            unknown.map(|key| format!("deploy.{environment}: {key} is nothing that deploy knows")).collect();
        let target = Self {
            hosts,
            repo: word("repo", get("repo"))?,
            path: path(get("path"))?,
            reference: name("ref", get("ref"))?,
            is_shallow: get("fetch") == "fast",
            env: variables(get("env"))?,
            hooks,
            source: source.clone(),
        };
        Ok((target, notes))
    }

    /// With this to be run at the end, if the file does not say what.
    pub(super) fn with_post_deploy(mut self, line: &str) -> Self {
        if self.hook("post-deploy").is_none() {
            self.hooks.push(("post-deploy", line.to_owned()));
        }
        self
    }

    pub(super) fn hook(&self, name: &str) -> Option<&str> {
        self.hooks.iter().find(|(known, _)| *known == name).map(|(_, line)| line.as_str())
    }

    /// For `config [key]`.
    pub(super) fn show(&self, key: Option<&str>) -> Result<String, Failure> {
        let whole = Value::Object(self.source.clone());
        let value = match key {
            None => &whole,
            Some(key) => self.source.get(key).ok_or_else(|| {
                refused(key, &Value::Null, "is not there", "`config` alone shows everything")
            })?,
        };
        Ok(match value {
            Value::String(text) => format!("{text}\n"),
            other => format!("{other:#}\n"),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in super::super) fn target(change: Value) -> Result<Target, String> {
        let mut block = json!({
            "user": "deploy", "host": "h1", "ref": "origin/main", "repo": "git@x:y.git", "path": "/srv/app"
        });
        for (key, value) in change.as_object().unwrap() {
            block[key] = value.clone();
        }
        let read = Target::read(&block, "production").map(|(target, _)| target);
        read.map_err(|failure| failure.body().map(|body| body.message.clone()).unwrap_or_default())
    }

    #[test]
    fn hosts_may_have_settings_of_their_own() {
        let hosts = json!(["a", { "host": "b", "port": "2222", "user": "root" }]);
        let read = target(json!({ "host": hosts, "port": 22, "ssh_options": "A=1 -o B=2" })).unwrap();
        assert_eq!(
            (read.hosts[0].destination(), read.hosts[1].destination()),
            ("deploy@a".into(), "root@b".into())
        );
        assert_eq!(
            (read.hosts[0].port.as_deref(), read.hosts[1].port.as_deref()),
            (Some("22"), Some("2222"))
        );
        assert_eq!(read.hosts[0].options, ["A=1", "B=2"]);
    }

    #[test]
    fn what_a_program_would_take_for_an_option_or_a_shell_for_lines_is_refused() {
        for (change, part) in [
            (json!({ "host": "-oProxyCommand=sh" }), "begins with a dash"),
            (json!({ "user": "-l" }), "begins with a dash"),
            (json!({ "ref": "--upload-pack=sh" }), "begins with a dash"),
            (json!({ "repo": "--config=x" }), "begins with a dash"),
            (json!({ "path": "/srv/app\nrm -rf /" }), "not to be seen"),
            (json!({ "host": "a b" }), "has blanks"),
            (json!({ "path": "app" }), "is no folder"),
            (json!({ "path": "/" }), "is no folder"),
            (json!({ "port": "22; sh" }), "has blanks"),
            (json!({ "port": 70000 }), "is no port"),
            (json!({ "env": { "A;sh": "1" } }), "is no variable's name"),
            (json!({ "repo": null }), "repo is missing"),
            (json!({ "host": [] }), "is empty"),
        ] {
            let said = target(change.clone()).unwrap_err();
            assert!(said.contains(part), "{change}: {said}");
        }
    }
}
