//! `apply`, and the other verbs on a file of apps: one request for all of them, which the daemon compares with what is
//! there.

use super::act;
use crate::app_file::{self, AppFile, Apps};
use crate::args::WaitArgs;
use crate::failure::{Failure, exit};
use crate::file_args::{ApplyCommand, FileChoice, FileCommand, PruneWhich};
use crate::machine::Machine;
use crate::plan_view::Shown;
use crate::progress::{End, Report};
use crate::session::Context;
use crate::settle::{Goal, settle};
use crate::start_args::StartArgs;
use skep_api::client::{Client, ClientError};
use skep_api::{Action, ApplyApps, ApplyMode, ApplyPlan, AppsQuery, ErrorCode, Prune};
use std::collections::{BTreeMap, BTreeSet};

/// `skep apply`.
pub(crate) async fn run(args: ApplyCommand, context: &Context) -> Result<(), Failure> {
    let machine = super::start::here(&context.output)?;
    let file = open(args.file.as_deref(), &machine)?;
    let apps = resolve(&file, &args.choice, &machine)?;
    apps.notes.iter().for_each(|note| context.output.say(note));
    let prune = match (args.prune, &file.path) {
        (None, _) => Prune::Nothing,
        (Some(PruneWhich::All), _) => Prune::All,
        (Some(PruneWhich::File), Some(path)) => Prune::Source(path.clone()),
        (Some(PruneWhich::File), None) => {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "--prune cannot know which apps came from standard input",
                "use --prune=all, or apply a file",
            ));
        }
    };
    let request = ApplyApps {
        prune,
        update_env: args.update_env,
        dry_run: args.dry_run,
        ..request(apps, ApplyMode::Converge, &args.wait)
    };
    let plan = carry_out(request, Shown::All, context).await?;
    if !plan.has_changes() {
        context.output.say("no changes");
        return Ok(());
    }
    if args.dry_run { Err(Failure::Told(exit::CHANGES)) } else { Ok(()) }
}

/// `skep startOrRestart` and `startOrReload`: what is not there is started, the rest as `mode` says.
pub(crate) async fn start_or(args: FileCommand, mode: ApplyMode, context: &Context) -> Result<(), Failure> {
    on_file(args.file.as_deref(), &args.choice, mode, args.update_env, &args.wait, context).await
}

/// A verb on all apps of a file.
pub(crate) async fn on_file(
    file: Option<&str>,
    choice: &FileChoice,
    mode: ApplyMode,
    update_env: bool,
    wait: &WaitArgs,
    context: &Context,
) -> Result<(), Failure> {
    let machine = super::start::here(&context.output)?;
    let file = open(file, &machine)?;
    let apps = resolve(&file, choice, &machine)?;
    if apps.specs.is_empty() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            format!("there is no app in {}", file.name),
            "`skep init` writes an example",
        ));
    }
    apps.notes.iter().for_each(|note| context.output.say(note));
    let request = ApplyApps { update_env, ..request(apps, mode, wait) };
    carry_out(request, Shown::Changed, context).await.map(drop)
}

/// The names of a file's apps, for verbs that only need to know whom they are about.
pub(crate) fn names(file: &str, choice: &FileChoice, machine: &Machine) -> Result<Vec<String>, Failure> {
    let selection = selection(choice)?;
    let file = app_file::open(file, machine)?;
    let names = file.document.apps.iter().map(|app| app.identity(selection.environment.as_deref()));
    Ok(names.filter(|name| choice.only.is_empty() || choice.only.contains(name)).collect())
}

/// The file that is meant.
pub(crate) fn open(file: Option<&str>, machine: &Machine) -> Result<AppFile, Failure> {
    let name = match file {
        Some(name) => name,
        None => app_file::default_file(machine).ok_or_else(|| {
            Failure::new(
                ErrorCode::BadRequest,
                "there is no file of apps here",
                "name one, or write one: `skep init`",
            )
        })?,
    };
    Ok(app_file::open(name, machine)?)
}

/// What `--env` says.
pub(crate) fn selection(choice: &FileChoice) -> Result<skep_spec::Selection, Failure> {
    StartArgs { env: choice.env.clone(), ..StartArgs::default() }.selection(&[])
}

/// The chosen apps of a file.
pub(crate) fn resolve(file: &AppFile, choice: &FileChoice, machine: &Machine) -> Result<Apps, Failure> {
    Ok(file.resolve(&selection(choice)?, &choice.only, machine)?)
}

/// The request for these apps.
pub(crate) fn request(apps: Apps, mode: ApplyMode, wait: &WaitArgs) -> ApplyApps {
    let act = act::wait(wait);
    ApplyApps {
        apps: apps.specs,
        inherited_env: apps.inherited_env,
        update_env: false,
        renames: BTreeMap::new(),
        mode,
        prune: Prune::Nothing,
        dry_run: false,
        wait: act.wait,
        timeout_ms: act.timeout_ms,
    }
}

/// Sends the request, tells what becomes of it, and shows the apps.
pub(super) async fn carry_out(
    request: ApplyApps,
    shown: Shown,
    context: &Context,
) -> Result<ApplyPlan, Failure> {
    let mut client = match request.dry_run {
        true => match context.connect_if_running().await? {
            Some(client) => client,
            None => return all_new(&request, context),
        },
        false => context.connect_or_start().await?,
    };
    // Given twice it finds the work of the first time done.
    let lines = match client.apply(&request).await {
        Err(ClientError::Lost(_)) => {
            client = context.connect_or_start().await?;
            client.apply(&request).await?
        }
        answer => answer?,
    };
    let mut report = Report::default();
    report.shown = shown;
    let end = report.read(lines, &context.output).await?;
    let plan = report.plan.take().unwrap_or(ApplyPlan { apps: Vec::new() });
    if end == End::CutOff && request.wait && !request.dry_run {
        let names = moving(&plan);
        if !names.is_empty() {
            settle(&names, Goal::Running, context, &mut report).await?;
        }
    }
    report.result()?;
    if request.dry_run {
        return Ok(plan);
    }
    show(&plan, &mut client, context).await?;
    Ok(plan)
}

/// Without a daemon there is no app yet: everything is new.
fn all_new(request: &ApplyApps, context: &Context) -> Result<ApplyPlan, Failure> {
    let new = |spec: &skep_spec::AppSpec| skep_api::PlannedApp {
        app: spec.name.clone(),
        action: Action::Create,
        changes: Vec::new(),
    };
    let plan = ApplyPlan { apps: request.apps.iter().map(new).collect() };
    if context.output.json {
        context.output.print_json(&skep_api::Progress::Plan(plan.clone()))?;
    } else {
        crate::plan_view::show(&plan, Shown::All, &context.output);
    }
    Ok(plan)
}

/// The apps whose workers become others.
fn moving(plan: &ApplyPlan) -> Vec<String> {
    let moves = |action: Action| match action {
        Action::Create
        | Action::Rolling
        | Action::Recreate
        | Action::Start
        | Action::Restart
        | Action::Reload => true,
        Action::Hot | Action::Delete | Action::Unchanged => false,
    };
    plan.apps.iter().filter(|app| moves(app.action)).map(|app| app.app.clone()).collect()
}

/// The table of all that the plan was about.
async fn show(plan: &ApplyPlan, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let left = plan.apps.iter().filter(|app| app.action != Action::Delete);
    let names: BTreeSet<&str> = left.map(|app| app.app.as_str()).collect();
    if names.is_empty() || context.output.json || context.output.quiet {
        return Ok(());
    }
    let mut apps = act::look(&[], AppsQuery::default(), client, context).await?;
    apps.retain(|app| names.contains(app.name.as_str()));
    context.output.print(&super::list::table(&apps, &context.output))
}
