//! `set`, `get`, `unset`: the file `module_conf.json` of the home, as PM2 keeps it.
//!
//! Two kinds of settings do something: `pm2-logrotate:…` are the daemon's defaults for log rotation, and a setting of
//! an app (`web:KEY`) is kept for whoever reads it by `get`; under the name `pm2` it is handed on to the app too.

use crate::failure::Failure;
use crate::session::Context;
use serde_json::{Map, Value, json};
use skep_api::ErrorCode;
use skep_daemon::{LogrotateSetting, logrotate_setting};
use std::path::PathBuf;

/// The file in the home.
pub(crate) const FILE: &str = "module_conf.json";

/// All settings.
#[derive(Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    all: Map<String, Value>,
}

impl Settings {
    /// Reads them; none when there is no file.
    pub(crate) fn read(context: &Context) -> Result<Self, Failure> {
        let path = context.home()?.path().join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => b"{}".to_vec(),
            Err(error) => return Err(broken(&path, &error)),
        };
        let all = serde_json::from_slice(&text).map_err(|error| broken(&path, &error))?;
        Ok(Self { path, all })
    }

    /// Sets one. `app:key` and `app.key` go one step down. A name that JavaScript gives a meaning is refused.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let parts = split(key);
        if parts.is_empty()
            || parts.iter().any(|part| ["", "__proto__", "constructor", "prototype"].contains(part))
        {
            return Err(Failure::new(
                ErrorCode::InvalidSpec,
                format!("key: {key:?} is no name of a setting"),
                "write NAME or APP:NAME",
            ));
        }
        let (last, above) = parts.split_last().expect("not empty: checked");
        let mut place = &mut self.all;
        for part in above {
            let entry = place.entry(*part).or_insert_with(|| json!({}));
            if !entry.is_object() {
                *entry = json!({});
            }
            place = entry.as_object_mut().expect("made one just now");
        }
        place.insert((*last).to_owned(), json!(value));
        Ok(())
    }

    /// One setting.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let mut parts = split(key).into_iter();
        let first = self.all.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Those of an app or a module.
    pub(crate) fn of(&self, name: &str) -> Option<&Map<String, Value>> {
        self.all.get(name)?.as_object()
    }

    /// Those of all apps and modules.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&str, &Map<String, Value>)> {
        self.all.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_object()?)))
    }

    fn unset(&mut self, key: &str) -> bool {
        if key == "all" {
            self.all.clear();
            return true;
        }
        let parts = split(key);
        let Some((last, above)) = parts.split_last() else { return false };
        let mut place = &mut self.all;
        for part in above {
            match place.get_mut(*part).and_then(Value::as_object_mut) {
                Some(inner) => place = inner,
                None => return false,
            }
        }
        place.remove(*last).is_some()
    }

    fn write(&self, context: &Context) -> Result<(), Failure> {
        context.home()?.prepare().map_err(crate::session::unusable)?;
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut out = serde_json::Serializer::with_formatter(&mut text, indent);
        serde::Serialize::serialize(&self.all, &mut out).map_err(|error| broken(&self.path, &error))?;
        skep_sys::durable::replace(&self.path, &text, 0o600).map_err(|error| broken(&self.path, &error))
    }

    /// As `key: value` lines, in the order of the file.
    fn lines(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.all {
            match value {
                Value::Object(inner) => {
                    let lines = inner.iter().map(|(key, value)| format!("{name}:{key} {}\n", plain(value)));
                    text.extend(lines);
                }
                value => text.push_str(&format!("{name} {}\n", plain(value))),
            }
        }
        text
    }
}

/// The steps of a key. An app's name may have dots in it where a colon ends it.
pub(crate) fn split(key: &str) -> Vec<&str> {
    key.split(if key.contains(':') { ':' } else { '.' }).collect()
}

/// A value as text.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn broken(path: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Internal, format!("{}: {error}", path.display()), "repair or remove the file")
}

/// `skep set`.
pub(crate) async fn set(key: &str, value: &str, context: &Context) -> Result<(), Failure> {
    check(key, value, context)?;
    let mut settings = Settings::read(context)?;
    settings.set(key, value)?;
    settings.write(context)?;
    tell_daemon(context).await
}

/// Settings that do something must make sense; those of pm2-logrotate that do nothing here say so.
fn check(key: &str, value: &str, context: &Context) -> Result<(), Failure> {
    let ["pm2-logrotate", name] = split(key)[..] else { return Ok(()) };
    match logrotate_setting(name, value) {
        Ok(LogrotateSetting::Understood) => Ok(()),
        Ok(LogrotateSetting::WithoutEffect(why)) => {
            context.output.complain(&format!("{key} has no effect: {why}"));
            Ok(())
        }
        Err(remedy) => {
            let message = format!("{key}: {value:?} is no such setting");
            Err(Failure::new(ErrorCode::InvalidSpec, message, remedy))
        }
    }
}

/// `skep unset`.
pub(crate) async fn unset(key: &str, context: &Context) -> Result<(), Failure> {
    let mut settings = Settings::read(context)?;
    if !settings.unset(key) {
        return Err(Failure::new(
            ErrorCode::UnknownTarget,
            format!("{key} is not set"),
            "`skep get` shows what is",
        ));
    }
    settings.write(context)?;
    tell_daemon(context).await
}

/// `skep get`.
pub(crate) fn get(key: Option<&str>, context: &Context) -> Result<(), Failure> {
    let settings = Settings::read(context)?;
    match key {
        None if context.output.json => context.output.print_json(&settings.all),
        None => context.output.print(&settings.lines()),
        Some(key) => match settings.get(key) {
            Some(value) if context.output.json => context.output.print_json(value),
            Some(value) => context.output.print(&format!("{}\n", plain(value))),
            None => Err(Failure::new(
                ErrorCode::UnknownTarget,
                format!("{key} is not set"),
                "`skep get` shows what is",
            )),
        },
    }
}

/// A daemon that runs reads its defaults anew.
async fn tell_daemon(context: &Context) -> Result<(), Failure> {
    if let Some(mut client) = context.connect_if_running().await? {
        client.send_json(skep_api::Route::ReopenLogs, "", &json!({})).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { path: PathBuf::new(), all: Map::new() }
    }

    #[test]
    fn a_colon_or_a_dot_goes_one_step_down() {
        let mut all = settings();
        all.set("pm2-logrotate:max_size", "10M").unwrap();
        all.set("a", "b").unwrap();
        assert_eq!(json!(all.all), json!({"pm2-logrotate": {"max_size": "10M"}, "a": "b"}));
        assert_eq!(all.get("pm2-logrotate.max_size"), Some(&json!("10M")));
        assert!(all.lines().contains("pm2-logrotate:max_size 10M\n"));
        assert!(all.unset("pm2-logrotate:max_size") && !all.unset("pm2-logrotate:max_size"));
        assert!(all.get("pm2-logrotate:max_size").is_none());
        all.set("my.app:key", "x").unwrap();
        assert_eq!(json!(all.of("my.app")), json!({"key": "x"}));
    }

    #[test]
    fn names_that_javascript_gives_a_meaning_are_refused() {
        for key in ["__proto__:x", "a:", "", "constructor"] {
            assert!(settings().set(key, "v").is_err(), "{key}");
        }
    }
}
