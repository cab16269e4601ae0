//! Commands on a file of apps, and known apps that get other settings: the same request to the daemon, which compares
//! what shall be with what is.

use super::act::{Action, DELETE, STOP, all, carry_out_untold};
use super::say::Trouble;
use super::select::{ids, select};
use super::shape::{self, Said};
use super::start::tell_cron;
use super::{Front, conf, list, patience, variables};
use crate::app_file::{self, Apps};
use crate::file_args::FileChoice;
use crate::machine::Machine;
use crate::verbs::{apply, rename};
use serde_json::{Map, Value};
use skep_api::client::Client;
use skep_api::{
    Action as Planned, ApplyApps, ApplyMode, ApplyPlan, AppsQuery, Detail, ErrorCode, Progress, Prune,
};
use skep_spec::{AppSpec, Facts, FileError, RawStart, Syntax, resolve};
use std::collections::BTreeMap;

/// Whether the word names a file of apps that is there (or standard input).
///
/// # Errors
/// When it is the name of such a file and there is none.
pub(super) fn is_file(word: &str, front: &Front) -> Result<bool, Trouble> {
    if !app_file::is_app_file(word) {
        return Ok(false);
    }
    if word != "-" && !front.cwd()?.join(word).exists() {
        return Err(Trouble::Error(format!("File {word} not found")));
    }
    Ok(true)
}

fn machine() -> Result<Machine, Trouble> {
    Machine::here().map_err(|error| Trouble::doing("the current directory cannot be used", &error))
}

/// The names that `--only` gives.
fn only(front: &Front) -> Vec<String> {
    let names = front.line.value("only").unwrap_or_default();
    names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The apps of a file that `--only` and `--env` choose.
fn read(word: &str, front: &Front) -> Result<Apps, Trouble> {
    let machine = machine()?;
    let mut args = front.line.app()?;
    // PM2 does not look at it: the file has the names.
    args.name = None;
    args.env = front.line.value("env").map(str::to_owned).into_iter().collect();
    let selection = args.selection(&front.line.own_args)?;
    let only = only(front);
    let file = app_file::open(word, &machine).map_err(crate::failure::Failure::from)?;
    let mut apps = file.resolve(&selection, &only, &machine).map_err(crate::failure::Failure::from)?;
    if let Some(environment) = &selection.environment {
        for _ in file.without_environment(environment, &only) {
            front.say.warn_out(&format!("Environment [{environment}] is not defined in process file"));
        }
    }
    for note in &file.document.notes {
        front.say.warn(note);
    }
    let home = front.context.home()?;
    let environment = selection.environment.as_deref();
    let settings = conf::known(front);
    for spec in &mut apps.specs {
        let written = file.document.apps.iter().find(|app| app.identity(environment) == spec.name);
        let has = |name: &str| {
            let in_file = written.is_some_and(|app| app.attributes().contains_key(name));
            in_file || selection.overrides.contains_key(name)
        };
        let said = Said {
            instances: has("instances"),
            exec_mode: has("exec_mode"),
            merge_logs: has("merge_logs"),
            usual_log: front.line.has("log"),
        };
        if let Some(cron) = &spec.cron_restart {
            tell_cron(Some(cron), front);
        }
        shape::complete(spec, said, home.path());
        conf::hand_on(spec, settings.as_ref());
        variables::apply(spec, &has, &variables::own).map_err(crate::failure::Failure::from)?;
    }
    Ok(apps)
}

/// `start`, `restart` or `reload` of a file: apps that are not there are started, the others get what it says.
pub(super) async fn start(word: &str, mode: ApplyMode, front: &Front) -> Result<(), Trouble> {
    let apps = read(word, front)?;
    let mut client = front.context.connect_or_start().await?;
    let known = all(&mut client).await?;
    let new: Vec<&str> = apps
        .specs
        .iter()
        .map(|spec| spec.name.as_str())
        .filter(|name| !known.iter().any(|app| app.name == *name))
        .collect();
    if !new.is_empty() {
        front.say.warn_out(&format!("Applications {} not running, starting...", new.join(", ")));
    }
    let update_env = front.line.has("update-env");
    let request = request(apps.specs, apps.inherited_env, update_env, mode);
    let plan = send(&request, &mut client, front).await?;
    tell(&plan, &mut client, front).await
}

/// `stop` or `delete` of a file: of its apps that are there.
pub(super) async fn act(action: &Action, word: &str, front: &Front) -> Result<(), Trouble> {
    // Their scripts may have gone: only the names count.
    let only = only(front);
    let env = front.line.value("env").map(str::to_owned).into_iter().collect();
    let names = apply::names(word, &FileChoice { only, env }, &machine()?)?;
    let mut client = front.context.connect_or_start().await?;
    for name in names {
        let known = all(&mut client).await?;
        match select(&name, &known, &front.cwd()?) {
            Some(selected) => carry_out_untold(action, &selected, &mut client, front).await?,
            None => front.say.warn_out(&format!("{name} is not running")),
        }
    }
    list::show(front).await
}

/// Whether `action` on a file is about apps that are there alone.
pub(super) fn only_known(action: &Action) -> bool {
    action.name == STOP.name || action.name == DELETE.name
}

/// `restart web --update-env`, `restart web --name shop`: apps that are there, with what was said now.
pub(super) async fn renew(
    targets: &[String],
    mode: ApplyMode,
    variables: &BTreeMap<String, String>,
    client: &mut Client,
    front: &Front,
) -> Result<(), Trouble> {
    let mut args = front.line.app()?;
    let name = args.name.take();
    if let Some(cron) = &args.cron_restart {
        tell_cron(cron.0.as_ref(), front);
    }
    let mut renames = BTreeMap::new();
    let mut overrides = args.selection(&front.line.own_args)?.overrides;
    overrides.extend(attributes(front)?);
    let own = strings(overrides.remove("env"));
    let environment = if front.line.has("update-env") { inherited()? } else { BTreeMap::new() };
    let mut specs = Vec::new();
    if let Some(name) = &name {
        let old = rename::the_app(targets, &all(client).await?, name)?.name.clone();
        renames = rename::renames(&old, name);
    }
    for app in client.apps(targets, AppsQuery { detail: Detail::Full, ..AppsQuery::default() }).await? {
        let Some(spec) = app.spec else { continue };
        let mut spec = changed(*spec, &overrides)?;
        if let Some(name) = &name {
            spec.name.clone_from(name);
        }
        if front.line.switches_watch() {
            spec.watch = skep_spec::Watch::All(spec.watch.is_off());
        }
        // As PM2 does it, what is there stays unless it is said anew.
        spec.inherited_env.extend(environment.clone());
        spec.env.extend(own.iter().chain(variables).map(|(name, text)| (name.clone(), text.clone())));
        spec.validate().map_err(crate::failure::Failure::from)?;
        specs.push(spec);
    }
    let request = ApplyApps { renames, ..request(specs, BTreeMap::new(), true, mode) };
    send(&request, client, front).await.map(drop)
}

/// Attributes as a file has them, from `require('skep/pm2').restart(name, attributes)`.
fn attributes(front: &Front) -> Result<Map<String, Value>, Trouble> {
    let Some(text) = front.line.value("attributes") else { return Ok(Map::new()) };
    let (said, unknown) = said(text).map_err(crate::failure::Failure::from)?;
    for name in unknown {
        front.say.warn(&format!("{name} has no effect: it is no attribute that skep knows"));
    }
    Ok(said)
}

/// What is said of known attributes, and names that are none: PM2 keeps those and does nothing with them.
fn said(text: &str) -> Result<(Map<String, Value>, Vec<String>), FileError> {
    const FROM: &str = "options";
    let Value::Object(mut app) = skep_spec::parse(text, Syntax::Json, FROM)? else {
        return Ok((Map::new(), Vec::new()));
    };
    let unknown: Vec<String> = app.keys().filter(|name| !skep_spec::is_attribute(name)).cloned().collect();
    unknown.iter().for_each(|name| drop(app.remove(name)));
    // An app that is there has a script, and keeps it.
    app.insert("script".to_owned(), Value::from("-"));
    let document = skep_spec::read(&Value::Object(app), FROM)?;
    let mut said = document.apps.first().map(|app| app.attributes().clone()).unwrap_or_default();
    said.remove("script");
    Ok((said, unknown))
}

/// Variables as the reader of files leaves them: texts.
fn strings(env: Option<Value>) -> BTreeMap<String, String> {
    env.and_then(|env| serde_json::from_value(env).ok()).unwrap_or_default()
}

fn changed(spec: AppSpec, overrides: &Map<String, Value>) -> Result<AppSpec, Trouble> {
    let mut fields = serde_json::to_value(spec).map_err(|error| Trouble::doing("the app", &error))?;
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(overrides.clone());
    }
    serde_json::from_value(fields).map_err(|error| Trouble::doing("the app", &error))
}

/// The environment that a new app would inherit here.
fn inherited() -> Result<BTreeMap<String, String>, Trouble> {
    let machine = machine()?;
    let raw = RawStart { what: "/bin/sh".to_owned(), spec: AppSpec::default(), instances_given: false };
    let resolved = resolve(raw, &machine).map(|resolved| resolved.spec.inherited_env);
    Ok(resolved.unwrap_or_else(|_| machine.env()))
}

fn request(
    apps: Vec<AppSpec>,
    inherited_env: BTreeMap<String, String>,
    update_env: bool,
    mode: ApplyMode,
) -> ApplyApps {
    let prune = Prune::Nothing;
    let timeout_ms = if mode == ApplyMode::Reload { None } else { patience::of_specs(&apps) };
    let renames = BTreeMap::new();
    ApplyApps {
        apps,
        inherited_env,
        update_env,
        renames,
        mode,
        prune,
        dry_run: false,
        wait: true,
        timeout_ms,
    }
}

/// Carries a request out; that a worker fails is shown by `list`, as in PM2.
async fn send(request: &ApplyApps, client: &mut Client, front: &Front) -> Result<ApplyPlan, Trouble> {
    let mut lines = client.apply(request).await?;
    let mut plan = ApplyPlan { apps: Vec::new() };
    while let Some(line) = lines.next().await? {
        match line {
            Progress::Plan(planned) => plan = planned,
            // They go on; nobody promised to wait for them.
            Progress::Failed(failed) if failed.error.code == ErrorCode::TimedOut => {}
            Progress::Failed(failed) => front.say.warn(&failed.error.message),
            Progress::Notice(_) | Progress::Done(_) => {}
        }
    }
    Ok(plan)
}

async fn tell(plan: &ApplyPlan, client: &mut Client, front: &Front) -> Result<(), Trouble> {
    let known = all(client).await?;
    front.acted.borrow_mut().extend(plan.apps.iter().map(|planned| planned.app.clone()));
    for planned in &plan.apps {
        let slots = known.iter().filter(|app| app.name == planned.app).flat_map(|app| &app.slots);
        let slots: Vec<u32> = slots.map(|slot| slot.id).collect();
        let action = match planned.action {
            Planned::Create => {
                front.say.info(&format!("App [{}] launched ({} instances)", planned.app, slots.len()));
                continue;
            }
            Planned::Delete => continue,
            Planned::Rolling | Planned::Reload => "reloadProcessId",
            Planned::Hot | Planned::Recreate | Planned::Start | Planned::Restart | Planned::Unchanged => {
                "restartProcessId"
            }
        };
        let all = ids(slots.iter().copied());
        front.say.info(&format!("Applying action {action} on app [{}](ids: {all})", planned.app));
        for id in slots {
            front.say.info(&format!("[{}]({id}) ✓", planned.app));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_those_of_a_file() {
        let said = |text: &str| said(text).map(|(said, unknown)| (Value::Object(said), unknown));
        let expected =
            serde_json::json!({ "kill_timeout": "5s", "args": ["a", "b c"], "autorestart": false });
        let text = r#"{ "killTimeout": "5s", "args": ["a", "b c"], "autorestart": false, "script": "x.js" }"#;
        assert_eq!(said(text).unwrap(), (expected, vec![]));
        let kept = said(r#"{ "instnaces": 2, "max_restarts": 3 }"#).unwrap();
        assert_eq!(kept, (serde_json::json!({ "max_restarts": 3 }), vec!["instnaces".to_owned()]));
        let refused = said(r#"{ "max_restarts": "often" }"#).unwrap_err().to_string();
        assert!(refused.contains("max_restarts"), "{refused}");
    }
}
