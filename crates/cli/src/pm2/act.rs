//! `stop`, `restart`, `reload`, `delete`.

use super::say::Trouble;
use super::select::{Selected, select, unknown};
use super::{Front, files, list};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Report;
use crate::settle::Goal;
use skep_api::client::Client;
use skep_api::{Act, AppView, ApplyMode, AppsQuery, Route};

/// One of them.
pub(super) struct Action {
    /// What PM2's daemon calls it.
    pub(super) name: &'static str,
    route: Route,
    goal: Goal,
    /// It could renew the environment.
    renews: bool,
}

pub(super) const STOP: Action =
    Action { name: "stopProcessId", route: Route::StopApps, goal: Goal::Stopped, renews: false };
pub(super) const RESTART: Action =
    Action { name: "restartProcessId", route: Route::RestartApps, goal: Goal::Running, renews: true };
pub(super) const RELOAD: Action =
    Action { name: "reloadProcessId", route: Route::ReloadApps, goal: Goal::Running, renews: true };
pub(super) const DELETE: Action =
    Action { name: "deleteProcessId", route: Route::DeleteApps, goal: Goal::Gone, renews: false };

impl Action {
    /// What it does to apps that are there and get other settings.
    fn mode(&self) -> ApplyMode {
        if self.route == Route::ReloadApps { ApplyMode::Reload } else { ApplyMode::Restart }
    }
}

pub(super) async fn run(action: &Action, front: &Front) -> Result<(), Trouble> {
    let operands = &front.line.operands;
    if operands.is_empty() {
        let verb = front.line.verb.as_deref().unwrap_or_default();
        return Err(Trouble::Plain(format!(
            "\n  error: missing required argument `{verb} <id|name|namespace|all>'\n"
        )));
    }
    let [file, rest @ ..] = operands.as_slice() else { unreachable!("looked at above") };
    if rest.is_empty() && files::is_file(file, front)? {
        if files::only_known(action) {
            return files::act(action, file, front).await;
        }
        files::start(file, action.mode(), front).await?;
        return list::show(front).await;
    }
    if action.renews && front.line.has("env") {
        return Err(Trouble::Error(
            "Using --env [env] without passing the ecosystem.config.js does not work".to_owned(),
        ));
    }
    if action.renews && !front.line.has("update-env") {
        front.say.line("Use --update-env to update environment variables");
    }
    let mut client = front.context.connect_or_start().await?;
    for word in operands {
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
    list::show(front).await
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
    let Selected { word, slots, targets, .. } = selected;
    front.say.info(&format!("Applying action {} on app [{word}](ids: {})", action.name, selected.ids()));
    let by_name = !selected.by_id;
    let outcome = if action.renews && by_name && front.line.changes_apps() {
        files::renew(targets, action.mode(), client, front).await
    } else {
        let lines = client.act(action.route, targets, &Act::default()).await?;
        told(lines, targets, action.goal, front).await
    };
    if let Err(Trouble::Told) = outcome {
        // The workers were started; that they fail is theirs, as in PM2: `list` shows it.
    } else {
        outcome?;
    }
    for (id, name) in slots {
        front.say.info(&format!("[{name}]({id}) ✓"));
    }
    Ok(())
}

/// Follows a command to its end in silence; failures are told as warnings.
pub(super) async fn told(
    lines: skep_api::client::Lines<skep_api::Progress>,
    targets: &[String],
    goal: Goal,
    front: &Front,
) -> Result<(), Trouble> {
    let mut report = Report::default();
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
