//! `stop`, `restart`, `reload`, `delete`.

use super::say::Trouble;
use super::select::{Selected, select, unknown};
use super::talk::operand;
use super::{Front, conf, files, list, patience};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Report;
use crate::settle::Goal;
use skep_api::client::Client;
use skep_api::{Act, AppView, ApplyMode, AppsQuery, Route};
use std::collections::BTreeMap;

/// One of them.
pub(super) struct Action {
    /// What PM2's daemon calls it.
    pub(super) name: &'static str,
    route: Route,
    goal: Goal,
    /// It could renew the environment.
    renews: bool,
    /// What it is to be given.
    usage: &'static str,
}

const TARGETS: &str = "<id|name|namespace|all|json|stdin>";

pub(super) const STOP: Action = Action {
    name: "stopProcessId",
    route: Route::StopApps,
    goal: Goal::Stopped,
    renews: false,
    usage: TARGETS,
};
pub(super) const RESTART: Action = Action {
    name: "restartProcessId",
    route: Route::RestartApps,
    goal: Goal::Running,
    renews: true,
    usage: TARGETS,
};
pub(super) const RELOAD: Action = Action {
    name: "reloadProcessId",
    route: Route::ReloadApps,
    goal: Goal::Running,
    renews: true,
    usage: "<id|name|namespace|all>",
};
pub(super) const DELETE: Action = Action {
    name: "deleteProcessId",
    route: Route::DeleteApps,
    goal: Goal::Gone,
    renews: false,
    usage: "<name|id|namespace|script|all|json|stdin>",
};

impl Action {
    /// What is printed in the end: PM2 shows no table after a reload.
    async fn show(&self, front: &Front) -> Result<(), Trouble> {
        if self.route == Route::ReloadApps { Ok(()) } else { list::show(front).await }
    }

    /// What it does to apps that are there and get other settings.
    fn mode(&self) -> ApplyMode {
        if self.route == Route::ReloadApps { ApplyMode::Reload } else { ApplyMode::Restart }
    }
}

pub(super) async fn run(action: &Action, front: &Front) -> Result<(), Trouble> {
    let operands = &front.line.operands;
    operand(front, 0, action.usage)?;
    let [file, rest @ ..] = operands.as_slice() else { unreachable!("looked at above") };
    if rest.is_empty() && files::is_file(file, front)? {
        if files::only_known(action) {
            return files::act(action, file, front).await;
        }
        files::start(file, action.mode(), front).await?;
        return action.show(front).await;
    }
    if action.renews && front.line.has("env") {
        return Err(Trouble::Error(
            "Using --env [env] without passing the ecosystem.config.js does not work".to_owned(),
        ));
    }
    let mut client = front.context.connect_or_start().await?;
    for word in operands {
        if action.renews && !front.line.has("update-env") {
            front.say.line("Use --update-env to update environment variables");
        }
        let apps = all(&mut client).await?;
        match select(word, &apps, &front.cwd()?) {
            Some(selected) => carry_out(action, &selected, &mut client, front).await?,
            None => {
                if word.parse::<u32>().is_ok() {
                    front
                        .say
                        .info(&format!("Applying action {} on app [{word}](ids: [ '{word}' ])", action.name));
                }
                return Err(unknown(word, action.name));
            }
        }
    }
    action.show(front).await
}

/// All apps.
pub(super) async fn all(client: &mut Client) -> Result<Vec<AppView>, Trouble> {
    Ok(client.apps::<&str>(&[], AppsQuery::default()).await?)
}

/// Does it to what was selected, and tells it.
pub(super) async fn carry_out(
    action: &Action,
    selected: &Selected,
    client: &mut Client,
    front: &Front,
) -> Result<(), Trouble> {
    front.say.info(&format!(
        "Applying action {} on app [{}](ids: {})",
        action.name,
        selected.word,
        selected.ids()
    ));
    carry_out_untold(action, selected, client, front).await
}

/// The same, of which PM2 tells only the end.
pub(super) async fn carry_out_untold(
    action: &Action,
    selected: &Selected,
    client: &mut Client,
    front: &Front,
) -> Result<(), Trouble> {
    let mut slots = selected.slots.clone();
    let changes = action.renews && front.line.changes_apps();
    let variables = if action.renews {
        conf::variables_of(&selected.word, conf::known(front).as_ref())
    } else {
        BTreeMap::new()
    };
    let renews = changes || !variables.is_empty();
    let whole = if renews { selected.whole(&all(client).await?) } else { None };
    let outcome = match whole {
        Some(targets) => files::renew(&targets, action.mode(), &variables, client, front).await,
        None => {
            if changes {
                one_of_several(&selected.word, front)?;
            }
            in_turns(action, selected, client, front).await
        }
    };
    if let Some(name) = front.line.value("name").filter(|_| changes) {
        slots.iter_mut().for_each(|(_, app)| name.clone_into(app));
    }
    if let Err(Trouble::Told) = outcome {
        // The workers were started; that they fail is theirs, as in PM2: `list` shows it.
    } else {
        outcome?;
    }
    if action.goal == Goal::Running {
        front.acted.borrow_mut().extend(slots.iter().map(|(_, name)| name.clone()));
    }
    for (id, name) in slots {
        front.say.info(&format!("[{name}]({id}) ✓"));
    }
    Ok(())
}

/// Options for one instance of several: PM2 changes that one alone, here all of an app are alike.
fn one_of_several(word: &str, front: &Front) -> Result<(), Trouble> {
    if let Some(name) = front.line.value("name") {
        return Err(Trouble::Error(format!(
            "--name {name}: all instances of an app have one name, and {word} is one of several; name the app"
        )));
    }
    front.say.warn(&format!(
        "the options have no effect: all instances of an app have the same, and {word} is one of several; name the app"
    ));
    Ok(())
}

/// All at once, or so many at a time as `--parallel` says.
async fn in_turns(
    action: &Action,
    selected: &Selected,
    client: &mut Client,
    front: &Front,
) -> Result<(), Trouble> {
    let mut switch_watch = front.line.switches_watch();
    let apps = patience::apps(&selected.targets, client).await?;
    let mut outcome = Ok(());
    for targets in turns(action, selected, front.line.parallel()?) {
        for Step { route, targets, timeout_ms } in steps(action, targets, &apps) {
            let act = Act { switch_watch, timeout_ms, ..Act::default() };
            let lines = client.act(route, &targets, &act).await?;
            // Once for each app, not for each of its workers.
            switch_watch = false;
            match told(lines, &targets, action.goal, front).await {
                Err(Trouble::Told) => outcome = Err(Trouble::Told),
                other => other?,
            }
        }
    }
    outcome
}

/// What the API is asked for at once.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    route: Route,
    targets: Vec<String>,
    timeout_ms: Option<u64>,
}

/// PM2 restarts a forked app when it is to be reloaded. Here that is for those alone that have no connections to lose: a
/// reload would wait for their listening, and the command would be over before the reload is.
fn steps(action: &Action, targets: Vec<String>, apps: &[AppView]) -> Vec<Step> {
    let of = |target: &String| {
        apps.iter()
            .find(|app| app.name == *target || app.slots.iter().any(|slot| slot.id.to_string() == *target))
    };
    let waits = |targets: &[String]| {
        let specs = targets.iter().filter_map(of).filter_map(|app| app.spec.as_deref());
        if action.goal == Goal::Running { patience::of_specs(specs) } else { None }
    };
    if action.route != Route::ReloadApps {
        let timeout_ms = waits(&targets);
        return vec![Step { route: action.route, targets, timeout_ms }];
    }
    let (idle, servers): (Vec<String>, Vec<String>) = targets.into_iter().partition(|target| {
        of(target)
            .is_some_and(|app| app.listeners.is_empty() && patience::of_specs(app.spec.as_deref()).is_some())
    });
    let timeout_ms = waits(&idle);
    let steps = [
        Step { route: Route::RestartApps, targets: idle, timeout_ms },
        Step { route: Route::ReloadApps, targets: servers, timeout_ms: None },
    ];
    steps.into_iter().filter(|step| !step.targets.is_empty()).collect()
}

/// The targets of each turn. A restart is divided into workers; a reload into apps, for within one app its own
/// `max_surge` says how many workers are renewed at once.
fn turns(action: &Action, selected: &Selected, parallel: Option<usize>) -> Vec<Vec<String>> {
    let Some(parallel) = parallel.filter(|_| action.renews) else { return vec![selected.targets.clone()] };
    let ids: Vec<String> = selected.slots.iter().map(|(id, _)| id.to_string()).collect();
    let all = if action.route == Route::ReloadApps { &selected.targets } else { &ids };
    all.chunks(parallel).map(<[String]>::to_vec).collect()
}

/// Follows a command to its end in silence; failures are told as warnings.
pub(super) async fn told(
    lines: skep_api::client::Lines<skep_api::Progress>,
    targets: &[String],
    goal: Goal,
    front: &Front,
) -> Result<(), Trouble> {
    let mut report = Report::default();
    report.may_go_on = true;
    let act = Act::default();
    crate::verbs::act::follow(lines, targets, goal, &act, &front.context, &mut report).await?;
    match report.result() {
        Err(Failure::Told(_)) => Err(Trouble::Told),
        other => Ok(other?),
    }
}

impl Front {
    /// Where the command was typed.
    pub(super) fn cwd(&self) -> Result<std::path::PathBuf, Trouble> {
        std::env::current_dir()
            .map_err(|error| Trouble::doing("the current directory cannot be used", &error))
    }

    /// How skep's own parts are to speak here.
    pub(super) fn output(&self) -> &Output {
        &self.context.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_app_that_does_not_listen_is_restarted_when_it_is_to_be_reloaded() {
        let app = |name: &str, mode: &str, listens: bool| -> AppView {
            let listeners = if listens {
                serde_json::json!([{ "address": "0.0.0.0:80", "balance": "auto", "selection": "kernel-hash", "reason": "" }])
            } else {
                serde_json::json!([])
            };
            serde_json::from_value(serde_json::json!({
                "id": 1, "name": name, "namespace": "default", "status": "online", "instances": 1,
                "instances_wanted": 1, "argv": [], "script": "/srv/app.js", "cwd": "/srv", "runtime": "node",
                "runtime_reason": "", "created_unix_ms": 0, "slots": [], "listeners": listeners,
                "spec": { "name": name, "script": "/srv/app.js", "interpreter": "node", "exec_mode": mode },
            }))
            .expect("a view")
        };
        let apps = [app("idle", "fork", false), app("web", "fork", true), app("duo", "cluster", false)];
        let targets = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = targets(&["idle", "web", "duo"]);
        let restart = Step { route: Route::RestartApps, targets: targets(&["idle"]), timeout_ms: Some(500) };
        let reload = Step { route: Route::ReloadApps, targets: targets(&["web", "duo"]), timeout_ms: None };
        assert_eq!(steps(&RELOAD, all.clone(), &apps), [restart, reload]);
        let together = Step { route: Route::RestartApps, targets: all.clone(), timeout_ms: None };
        assert_eq!(steps(&RESTART, all, &apps), [together]);
    }

    #[test]
    fn a_restart_takes_turns_by_worker_and_a_reload_by_app() {
        let selected = Selected {
            word: "all".into(),
            slots: (0..3).map(|id| (id, if id < 2 { "web" } else { "jobs" }.into())).collect(),
            targets: vec!["web".into(), "jobs".into()],
            by_id: false,
        };
        assert_eq!(turns(&RESTART, &selected, None), [["web", "jobs"]]);
        assert_eq!(turns(&RESTART, &selected, Some(2)), [vec!["0", "1"], vec!["2"]]);
        assert_eq!(turns(&RELOAD, &selected, Some(1)), [["web"], ["jobs"]]);
        assert_eq!(turns(&STOP, &selected, Some(1)), [["web", "jobs"]]);
    }
}
