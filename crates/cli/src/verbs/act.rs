//! `stop`, `restart`, `reload`, `delete`, `reset`: one command on several apps.

use crate::app_file;
use crate::args::{ReloadCommand, StopCommand, TargetCommand, WaitArgs};
use crate::failure::Failure;
use crate::progress::{End, Report};
use crate::session::Context;
use crate::settle::{Goal, settle};
use skep_api::client::{Client, Lines};
use skep_api::{Act, ApplyMode, AppsQuery, ErrorCode, Progress, Route};
use std::path::Path;

/// Carries the command out and shows how the apps are afterwards.
pub(crate) async fn run(
    route: Route,
    goal: Goal,
    args: TargetCommand,
    context: &Context,
) -> Result<(), Failure> {
    let act = wait(&args.wait);
    carry_out(route, goal, args, act, context).await
}

/// `skep stop`.
pub(crate) async fn stop(args: StopCommand, context: &Context) -> Result<(), Failure> {
    let act = Act { switch_watch: args.watch, ..wait(&args.target.wait) };
    carry_out(Route::StopApps, Goal::Stopped, args.target, act, context).await
}

/// `skep restart` and `skep reload`.
pub(crate) async fn renew(
    route: Route,
    args: ReloadCommand,
    switch_watch: bool,
    context: &Context,
) -> Result<(), Failure> {
    let ReloadCommand { target, name } = args;
    match name {
        Some(name) => super::rename::run(route, target, &name, switch_watch, context).await,
        None => {
            let act = Act { switch_watch, ..wait(&target.wait) };
            carry_out(route, Goal::Running, target, act, context).await
        }
    }
}

async fn carry_out(
    route: Route,
    goal: Goal,
    args: TargetCommand,
    act: Act,
    context: &Context,
) -> Result<(), Failure> {
    let Some(args) = on_files(route, args, context).await? else { return Ok(()) };
    let mut client = context.connect().await?;
    let lines = send(route, &args.targets, &act, &mut client, context).await?;
    let mut report = Report::default();
    follow(lines, &args.targets, goal, &act, context, &mut report).await?;
    report.result()?;
    if report.done.is_empty() {
        context.output.say("there is no app, so there is nothing to do");
        return Ok(());
    }
    if goal == Goal::Gone {
        return Ok(());
    }
    super::list::show_done(&report, &mut client, context).await
}

/// Whether a target is a file of apps.
pub(super) fn is_file(target: &String) -> bool {
    app_file::is_app_file(target) && (target == "-" || Path::new(target).exists())
}

/// Files among the targets: `restart` and `reload` bring what they say into force and are done; for every other verb
/// they stand for the names in them.
async fn on_files(
    route: Route,
    mut args: TargetCommand,
    context: &Context,
) -> Result<Option<TargetCommand>, Failure> {
    if !args.targets.iter().any(is_file) {
        if !args.choice.env.is_empty() || !args.choice.only.is_empty() {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "--env and --only are about a file of apps, and none was named",
                "name it: skep restart ecosystem.config.js --env production",
            ));
        }
        return Ok(Some(args));
    }
    let mode = match route {
        Route::RestartApps => Some(ApplyMode::Restart),
        Route::ReloadApps => Some(ApplyMode::Reload),
        _ => None,
    };
    if let Some(mode) = mode {
        let [file] = args.targets.as_slice() else {
            return Err(Failure::new(
                ErrorCode::BadRequest,
                "a file of apps stands for all that is to be done",
                "name it alone",
            ));
        };
        let TargetCommand { choice, wait, .. } = &args;
        super::apply::on_file(Some(file), choice, mode, false, wait, context).await?;
        return Ok(None);
    }
    let machine = super::start::here(&context.output)?;
    let mut client = context.connect().await?;
    let known = look(&[], AppsQuery::default(), &mut client, context).await?;
    let mut targets = Vec::new();
    for target in args.targets {
        if !is_file(&target) {
            targets.push(target);
            continue;
        }
        let names = super::apply::names(&target, &args.choice, &machine)?;
        let (there, missing): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| known.iter().any(|app| app.name == *name));
        missing.iter().for_each(|name| context.output.say(&format!("{name} is not there")));
        targets.extend(there);
    }
    if targets.is_empty() {
        return Err(Failure::new(
            ErrorCode::UnknownTarget,
            "no app of the file is there",
            "`skep list` shows all",
        ));
    }
    args.targets = targets;
    Ok(Some(args))
}

/// Sends the command. Those that may be given twice are, should the daemon be restarted at this very moment.
async fn send(
    route: Route,
    targets: &[String],
    act: &Act,
    client: &mut Client,
    context: &Context,
) -> Result<Lines<Progress>, Failure> {
    context.ask(client, async |client: &mut Client| client.act(route, targets, act).await).await
}

/// Tells the command's progress to its end, through a restart of the daemon if need be.
pub(crate) async fn follow(
    lines: Lines<Progress>,
    targets: &[String],
    goal: Goal,
    act: &Act,
    context: &Context,
    report: &mut Report,
) -> Result<(), Failure> {
    if report.read(lines, &context.output).await? == End::Whole || !act.wait {
        return Ok(());
    }
    let watching = settle(targets, goal, context, report);
    let Some(timeout_ms) = act.timeout_ms else { return watching.await };
    // The time before the restart is not counted: it is given anew, which is better than giving up early.
    match tokio::time::timeout(std::time::Duration::from_millis(timeout_ms), watching).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(
            ErrorCode::TimedOut,
            format!("{} did not get there in the time given; it goes on", targets.join(", ")),
            "`skep events -f` shows what it is doing",
        )),
    }
}

/// How long the daemon is asked to wait.
pub(crate) fn wait(args: &WaitArgs) -> Act {
    Act { wait: !args.no_wait, timeout_ms: args.timeout.map(|timeout| timeout.0), ..Act::default() }
}

/// All apps, or those that are meant.
pub(crate) async fn look(
    targets: &[String],
    query: AppsQuery,
    client: &mut Client,
    context: &Context,
) -> Result<Vec<skep_api::AppView>, Failure> {
    context.ask(client, async |client: &mut Client| client.apps(targets, query).await).await
}
