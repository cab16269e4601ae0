//! Commands on a file of apps, and known apps that get other settings: the same request to the daemon, which compares
//! what shall be with what is.

use super::act::{Action, DELETE, STOP, all, carry_out_untold};
use super::say::Trouble;
use super::select::{ids, select};
use super::{Front, list, patience};
use crate::app_file::{self, Apps};
use crate::machine::Machine;
use skep_api::client::Client;
use skep_api::{
    Action as Planned, ApplyApps, ApplyMode, ApplyPlan, AppsQuery, Detail, ErrorCode, Progress, Prune,
};
use skep_spec::{AppSpec, ExecMode, Facts, Instances, RawStart, resolve};
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

/// The apps of a file that `--only` and `--env` choose.
fn read(word: &str, front: &Front) -> Result<Apps, Trouble> {
    let machine = machine()?;
    let mut args = front.line.app()?;
    args.env = front.line.value("env").map(str::to_owned).into_iter().collect();
    let selection = args.selection(&front.line.own_args)?;
    let only = front.line.value("only").unwrap_or_default();
    let only: Vec<String> =
        only.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let file = app_file::open(word, &machine).map_err(crate::failure::Failure::from)?;
    let mut apps = file.resolve(&selection, &only, &machine).map_err(crate::failure::Failure::from)?;
    if let Some(environment) = &selection.environment {
        for _ in file.without_environment(environment, &only) {
            front.say.warn_out(&format!("Environment [{environment}] is not defined in process file"));
        }
    }
    for spec in &mut apps.specs {
        // PM2 does not share a port unless it is told a number of instances.
        if spec.exec_mode.is_none() && spec.is_node() && spec.instances == Instances::Count(1) {
            spec.exec_mode = Some(ExecMode::Fork);
        }
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
    let plan = apply(&request, &mut client, front).await?;
    tell(&plan, &mut client, front).await
}

/// `stop` or `delete` of a file: of its apps that are there.
pub(super) async fn act(action: &Action, word: &str, front: &Front) -> Result<(), Trouble> {
    let apps = read(word, front)?;
    let mut client = front.context.connect_or_start().await?;
    for spec in apps.specs {
        let known = all(&mut client).await?;
        match select(&spec.name, &known, &front.cwd()?) {
            Some(selected) => carry_out_untold(action, &selected, &mut client, front).await?,
            None => front.say.warn_out(&format!("{} is not running", spec.name)),
        }
    }
    list::show(front).await
}

/// Whether `action` on a file is about apps that are there alone.
pub(super) fn only_known(action: &Action) -> bool {
    action.name == STOP.name || action.name == DELETE.name
}

/// `restart web --update-env`, `restart web --max-memory-restart 200M`: apps that are there, with what was said now.
pub(super) async fn renew(
    targets: &[String],
    mode: ApplyMode,
    client: &mut Client,
    front: &Front,
) -> Result<(), Trouble> {
    let mut args = front.line.app()?;
    if args.name.take().is_some() {
        front.say.warn(
            "--name has no effect: an app that is there keeps its name; delete it and start it again under another",
        );
    }
    let selection = args.selection(&front.line.own_args)?;
    let environment = if front.line.has("update-env") { inherited()? } else { BTreeMap::new() };
    let mut specs = Vec::new();
    for app in client.apps(targets, AppsQuery { detail: Detail::Full, ..AppsQuery::default() }).await? {
        let Some(spec) = app.spec else { continue };
        let mut spec = changed(*spec, &selection.overrides)?;
        if front.line.switches_watch() {
            spec.watch = skep_spec::Watch::All(spec.watch.is_off());
        }
        // As PM2 does it, what is there stays unless it is said anew.
        spec.inherited_env.extend(environment.clone());
        spec.validate().map_err(crate::failure::Failure::from)?;
        specs.push(spec);
    }
    apply(&request(specs, BTreeMap::new(), true, mode), client, front).await.map(drop)
}

fn changed(
    spec: AppSpec,
    overrides: &serde_json::Map<String, serde_json::Value>,
) -> Result<AppSpec, Trouble> {
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
    ApplyApps { apps, inherited_env, update_env, mode, prune, dry_run: false, wait: true, timeout_ms }
}

/// Carries a request out; that a worker fails is shown by `list`, as in PM2.
async fn apply(request: &ApplyApps, client: &mut Client, front: &Front) -> Result<ApplyPlan, Trouble> {
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
