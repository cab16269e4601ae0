//! `set`, `get`, `unset`, `multiset`, `conf`, `config`: the settings of PM2's modules, which it hands on to ordinary apps too.
//!
//! A setting of an app (`web:key`) becomes the variable `key` of its workers, and all of them as JSON the variable `web`. The
//! app is restarted when one is set, and has them whenever it is started or restarted by its name from then on. One that is
//! unset stays with those who have it, as in PM2, until the app is deleted.

use super::act::{RESTART, all, carry_out_untold};
use super::command::{self, Command};
use super::say::{Say, Trouble};
use super::select::select;
use super::talk::operand;
use super::{Front, options};
use crate::failure::Failure;
use crate::verbs::inspect::inspect;
use crate::verbs::settings::{self, Settings, plain, split};
use serde_json::{Map, Value};
use skep_api::ErrorCode;
use skep_spec::AppSpec;
use std::cell::RefCell;
use std::collections::BTreeMap;

pub(super) async fn run(command: Command, front: &Front) -> Result<(), Trouble> {
    let line = &front.line;
    match (command, line.operand(0), line.operand(1)) {
        (Command::Unset, ..) => unset(operand(front, 0, "unset <key>")?, front).await,
        (Command::Multiset, ..) => multiset(operand(front, 0, "multiset <value>")?, front).await,
        (Command::Set | Command::Conf, Some(key), Some(value)) => {
            settings::set(key, value, &front.context).await?;
            hand_over(app_of(key), Told::Changed, front).await
        }
        // PM2 writes down nothing, and nothing is what is left.
        (Command::Set, Some(key), None) => {
            forget(key, front).await?;
            hand_over(app_of(key), Told::Changed, front).await
        }
        (Command::Set, None, _) => {
            Err(Trouble::Error("set: a key and a value are needed: pm2 set KEY VALUE".to_owned()))
        }
        (_, None, _) if line.verb.as_deref() == Some("config") => {
            operand(front, 0, "config <key> [value]").map(drop)
        }
        (_, None | Some("all"), _) => show(None, front),
        (_, Some(key), _) => get(key, front),
    }
}

/// The app that a setting is of.
fn app_of(key: &str) -> Option<&str> {
    match split(key)[..] {
        [app, _, ..] => Some(app),
        _ => None,
    }
}

async fn unset(key: &str, front: &Front) -> Result<(), Trouble> {
    forget(key, front).await?;
    show(None, front)
}

/// Unsets it; PM2 does not mind when it is not set.
async fn forget(key: &str, front: &Front) -> Result<(), Trouble> {
    match settings::unset(key, &front.context).await {
        Err(Failure::Error(body)) if body.code == ErrorCode::UnknownTarget => Ok(()),
        other => Ok(other?),
    }
}

/// Several at once; the app of the first one is restarted.
async fn multiset(serial: &str, front: &Front) -> Result<(), Trouble> {
    let words = words(serial);
    for pair in words.chunks(2) {
        let [key, value] = pair else {
            return Err(Trouble::Error(format!("multiset: {} has no value", pair[0])));
        };
        settings::set(key, value, &front.context).await?;
    }
    let app = words.first().and_then(|key| app_of(key));
    hand_over(app, Told::Nothing, front).await
}

/// Divided by spaces, as PM2 does it: quotes keep words together, and stay.
fn words(serial: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut from = None;
    let mut quoted = false;
    for (at, c) in serial.char_indices() {
        match c {
            ' ' if !quoted => words.extend(from.take().map(|from: usize| &serial[from..at])),
            _ => {
                from.get_or_insert(at);
                quoted ^= c == '"';
            }
        }
    }
    words.extend(from.map(|from| &serial[from..]));
    words
}

fn get(key: &str, front: &Front) -> Result<(), Trouble> {
    let settings = Settings::read(&front.context)?;
    let value = settings.get(key).ok_or(Trouble::Told)?;
    let text = value.as_str().map_or_else(|| inspect(value), str::to_owned);
    match split(key)[..] {
        [module, name, ..] => front.say.line(&format!("Value for module {module} key {name}: {text}")),
        // PM2 prints a module's settings, and of any other only that there are some.
        _ if value.is_object() => {
            show(Some(key), front)?;
            front.say.line("Modules configuration. Copy/Paste line to edit values.");
        }
        _ => front.say.line(&text),
    }
    Ok(())
}

/// Whether a change is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Changed,
    Nothing,
}

/// What follows a change: the app gets it, and what is set is shown.
async fn hand_over(app: Option<&str>, told: Told, front: &Front) -> Result<(), Trouble> {
    if let Some(app) = app {
        if restarted(app, front).await? {
            front.say.info(&format!("Module {app} restarted"));
        }
        if told == Told::Changed {
            front.say.info("Setting changed");
        }
    }
    show(app, front)
}

/// Restarts what has this name, if anything has, in silence: as `restart NAME --update-env` does.
async fn restarted(app: &str, front: &Front) -> Result<bool, Trouble> {
    let Some(mut client) = front.context.connect_if_running().await? else { return Ok(false) };
    let Some(selected) = select(app, &all(&mut client).await?, &front.cwd()?) else { return Ok(false) };
    let quiet = Front {
        context: front.context.with_home(front.context.home()?.path().to_owned()),
        line: options::read(&["restart", "--update-env"].map(str::to_owned), command::find)?,
        say: Say { silent: true, ..front.say },
        acted: RefCell::default(),
    };
    Ok(carry_out_untold(&RESTART, &selected, &mut client, &quiet).await.is_ok())
}

/// Shows the settings of all modules, or of this one.
fn show(module: Option<&str>, front: &Front) -> Result<(), Trouble> {
    front.say.always(&shown(&Settings::read(&front.context)?, module));
    Ok(())
}

/// The same, as PM2 prints them.
fn shown(settings: &Settings, module: Option<&str>) -> String {
    let mut text = String::new();
    for (name, inner) in settings.modules().filter(|(name, _)| module.is_none_or(|module| module == *name)) {
        text.push_str(&format!("Module: {name}\n"));
        text.extend(inner.iter().map(|(key, value)| format!("$ pm2 set {name}:{key} {}\n", plain(value))));
    }
    text
}

/// What is set, for apps that are started. Where it cannot be read they are started all the same, as in PM2.
pub(super) fn known(front: &Front) -> Option<Settings> {
    match Settings::read(&front.context) {
        Ok(settings) => Some(settings),
        Err(failure) => {
            failure.body().into_iter().for_each(|body| front.say.warn(&body.message));
            None
        }
    }
}

/// Hands the settings of an app on to it.
pub(super) fn hand_on(spec: &mut AppSpec, settings: Option<&Settings>) {
    let inner = settings.and_then(|settings| settings.of(&spec.name));
    spec.env.extend(inner.map(|inner| variables(&spec.name, inner)).unwrap_or_default());
}

/// What whoever is found by this word gets when it is restarted. As in PM2, a number and `all` are no names here.
pub(super) fn variables_of(word: &str, settings: Option<&Settings>) -> BTreeMap<String, String> {
    let is_name = word != "all" && word.parse::<u32>().is_err();
    let inner = settings.filter(|_| is_name).and_then(|settings| settings.of(word));
    inner.map(|inner| variables(word, inner)).unwrap_or_default()
}

/// The variables that an app's settings become.
fn variables(app: &str, settings: &Map<String, Value>) -> BTreeMap<String, String> {
    let can_be =
        |name: &str, text: &str| !name.is_empty() && !name.contains(['=', '\0']) && !text.contains('\0');
    let one = |(name, value): (&String, &Value)| {
        let text = plain(value);
        (!value.is_object() && !value.is_null() && can_be(name, &text)).then(|| (name.clone(), text))
    };
    let mut all: BTreeMap<String, String> = settings.iter().filter_map(one).collect();
    let whole = Value::Object(settings.clone()).to_string();
    if can_be(app, &whole) {
        all.insert(app.to_owned(), whole);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_apps_settings_become_variables_one_by_one_and_as_a_whole() {
        let check = |settings: Value| {
            let all = variables("my app", settings.as_object().expect("an object"));
            all.into_iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>()
        };
        assert_eq!(
            check(json!({ "key": "v 1", "number": 5, "deep": { "x": "y" } })),
            ["key=v 1", r#"my app={"deep":{"x":"y"},"key":"v 1","number":5}"#, "number=5"]
        );
        assert_eq!(check(json!({ "a=b": "c" })), [r#"my app={"a=b":"c"}"#]);
        // What is called like the app is not told twice.
        assert_eq!(check(json!({ "my app": "x" })), [r#"my app={"my app":"x"}"#]);
    }

    #[test]
    fn several_settings_are_divided_as_pm2_divides_them() {
        assert_eq!(words("web:a 1 b  2"), ["web:a", "1", "b", "2"]);
        assert_eq!(words(r#" web:a "x y" b"#), ["web:a", r#""x y""#, "b"]);
        assert!(words(" ").is_empty());
    }

    #[test]
    fn a_setting_is_of_the_app_before_the_colon_or_the_dot() {
        assert_eq!(app_of("web:key"), Some("web"));
        assert_eq!(app_of("web.key.deeper"), Some("web"));
        assert_eq!(app_of("my.app:key"), Some("my.app"));
        assert_eq!(app_of("key"), None);
    }
}
