//! `start`: new apps from scripts, programs and command lines; or known ones that are stopped.

use super::act::{follow, look, wait};
use crate::app_file;
use crate::args::{StartCommand, WaitArgs};
use crate::failure::Failure;
use crate::machine::Machine;
use crate::output::Output;
use crate::progress::Report;
use crate::session::Context;
use crate::settle::Goal;
use crate::start_args::StartArgs;
use skep_api::client::{Client, ClientError, Lines};
use skep_api::{
    Act, AppView, ApplyApps, ApplyMode, AppsQuery, CreateApp, Detail, ErrorCode, Known, Progress, Route,
    Status, Target,
};
use skep_spec::{AppSpec, Clash, Existing, resolve, settle_clash};

/// One thing to ask the daemon for.
#[derive(Debug)]
enum Step {
    /// Start what is known.
    Start(Vec<String>),
    /// Add an app.
    Create {
        spec: Box<AppSpec>,
        /// What was typed: if that means something that is there, it is not meant to be added.
        unless_known: Option<String>,
    },
    /// Make the apps those that a file describes, and start them.
    Apply(Box<ApplyApps>),
}

/// Starts everything that was named; nothing at all if one of it makes no sense.
pub(crate) async fn run(args: StartCommand, context: &Context) -> Result<(), Failure> {
    let machine = here(&context.output)?;
    let mut said = Vec::new();
    if let Some((step, notes)) = something_new(&args, &machine) {
        notes.iter().for_each(|note| context.output.say(note));
        let client = context.connect_if_running().await?;
        match carry_out(&[step], &args.app, &args.wait, client, context).await {
            // It is known; or the daemon is an older one, which does not know that question.
            Err(Failure::Error(error))
                if matches!(error.code, ErrorCode::NameTaken | ErrorCode::BadRequest) =>
            {
                said = notes;
            }
            outcome => return outcome,
        }
    }
    let (apps, client) = known(context).await?;
    let (steps, notes) = plan(&args, &apps, &machine)?;
    notes.iter().filter(|note| !said.contains(note)).for_each(|note| context.output.say(note));
    carry_out(&steps, &args.app, &args.wait, client, context).await
}

/// The one app that is to be added, if nothing that is there goes by its name or by what was typed. Mostly that is so, and
/// the daemon knows: it is asked for all its apps only if it is not.
fn something_new(args: &StartCommand, machine: &Machine) -> Option<(Step, Vec<String>)> {
    let [what] = args.what.as_slice() else { return None };
    if args.force || app_file::is_app_file(what) {
        return None;
    }
    // If it cannot be added, it may be known: that is to be seen before anything is said.
    let (mut steps, notes) = plan(args, &[], machine).ok()?;
    match (steps.pop(), steps.is_empty()) {
        (Some(Step::Create { spec, .. }), true) => {
            Some((Step::Create { spec, unless_known: Some(what.clone()) }, notes))
        }
        _ => None,
    }
}

/// Adds one app that is described already and starts it; or starts it again, if it is there and stopped.
pub(crate) async fn add(
    spec: AppSpec,
    app: &StartArgs,
    waiting: &WaitArgs,
    context: &Context,
) -> Result<(), Failure> {
    let (apps, client) = known(context).await?;
    let mut plan = Plan {
        existing: apps.iter().map(existing).collect(),
        force: false,
        known_targets: Vec::new(),
        steps: Vec::new(),
        notes: Vec::new(),
    };
    plan.add(spec)?;
    if !plan.known_targets.is_empty() {
        plan.steps.push(Step::Start(plan.known_targets));
    }
    carry_out(&plan.steps, app, waiting, client, context).await
}

/// The apps that are there, and the connection on which that was asked; nothing where skep is not running.
async fn known(context: &Context) -> Result<(Vec<AppView>, Option<Client>), Failure> {
    let Some(mut client) = context.connect_if_running().await? else { return Ok((Vec::new(), None)) };
    let apps = look(&[], AppsQuery::default(), &mut client, context).await?;
    Ok((apps, Some(client)))
}

async fn carry_out(
    steps: &[Step],
    app: &StartArgs,
    waiting: &WaitArgs,
    mut idle: Option<Client>,
    context: &Context,
) -> Result<(), Failure> {
    let act = wait(waiting);
    let mut report = Report::default();
    let mut answers = Vec::new();
    for step in steps {
        // Each on a connection of its own: apps become ready side by side, as fast as the slowest.
        let mut own = match idle.take() {
            Some(client) => client,
            None => context.connect_or_start().await?,
        };
        if let Step::Start(targets) = step {
            note_changes(targets, app, &mut own, context).await?;
        }
        let targets = match step {
            Step::Start(targets) => targets.clone(),
            Step::Create { spec, .. } => vec![spec.name.clone()],
            Step::Apply(request) => request.apps.iter().map(|spec| spec.name.clone()).collect(),
        };
        let answer = match ask(step, &act, &mut own).await {
            // The daemon was restarted before it answered: whether it took the app in is to be seen.
            Err(ClientError::Lost(_)) => {
                own = context.connect_or_start().await?;
                let known = look(&[], AppsQuery::default(), &mut own, context).await?;
                match step {
                    Step::Create { spec, .. } if known.iter().any(|app| app.name == spec.name) => {
                        ask(&Step::Start(targets.clone()), &act, &mut own).await?
                    }
                    step => ask(step, &act, &mut own).await?,
                }
            }
            answer => answer?,
        };
        answers.push((answer, targets, own));
    }
    for (lines, targets, own) in answers {
        follow(lines, &targets, Goal::Running, &act, context, &mut report).await?;
        idle = Some(own);
    }
    report.result()?;
    match idle {
        Some(mut client) if !report.done.is_empty() => {
            super::list::show_done(&report, &mut client, context).await
        }
        _ => Ok(()),
    }
}

/// This machine, with a word about what cannot be handed on.
pub(crate) fn here(output: &Output) -> Result<Machine, Failure> {
    let machine = Machine::here().map_err(|problem| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("the current directory cannot be used: {problem}"),
            "cd elsewhere",
        )
    })?;
    for name in &machine.unreadable {
        output.say(&format!("the variable {name} is not UTF-8 and is left out"));
    }
    Ok(machine)
}

async fn ask(step: &Step, act: &Act, client: &mut Client) -> Result<Lines<Progress>, ClientError> {
    match step {
        Step::Start(targets) => client.act(Route::StartApps, targets, act).await,
        Step::Create { spec, unless_known } => {
            let (spec, unless_known) = (AppSpec::clone(spec), unless_known.clone());
            let Act { wait, timeout_ms, .. } = *act;
            client.create(&CreateApp { spec, wait, timeout_ms, unless_known }).await
        }
        Step::Apply(request) => client.apply(request).await,
    }
}

/// What is to be done, decided before anything is.
fn plan(
    args: &StartCommand,
    apps: &[AppView],
    machine: &Machine,
) -> Result<(Vec<Step>, Vec<String>), Failure> {
    let mut plan = Plan {
        existing: apps.iter().map(existing).collect(),
        force: args.force,
        known_targets: Vec::new(),
        steps: Vec::new(),
        notes: Vec::new(),
    };
    for what in named(args, machine)? {
        if is_known(&what, apps) {
            plan.known_targets.push(what);
        } else if what == "all" {
            return Err(Failure::new(
                ErrorCode::UnknownTarget,
                "there is no app yet",
                "name a script: skep start app.js",
            ));
        } else if app_file::is_app_file(&what) {
            let selection = args.app.selection(&args.args)?;
            let file = app_file::open(&what, machine)?;
            let apps = file.resolve(&selection, &args.only, machine)?;
            if apps.specs.is_empty() {
                return Err(Failure::new(
                    ErrorCode::BadRequest,
                    format!("there is no app in {}", file.name),
                    "`skep init` writes an example",
                ));
            }
            plan.notes.extend(apps.notes.iter().cloned());
            let request = super::apply::request(apps, ApplyMode::Start, &args.wait);
            let request = ApplyApps { update_env: args.update_env, ..request };
            plan.steps.push(Step::Apply(Box::new(request)));
        } else {
            let resolved = resolve(args.app.to_raw(&what, &args.args)?, machine)?;
            plan.notes.extend(resolved.notes);
            plan.add(resolved.spec)?;
        }
    }
    if !plan.known_targets.is_empty() {
        plan.steps.push(Step::Start(plan.known_targets));
    }
    Ok((plan.steps, plan.notes))
}

/// What was named; the file of apps in this directory when nothing was.
fn named(args: &StartCommand, machine: &Machine) -> Result<Vec<String>, Failure> {
    if !args.what.is_empty() {
        return Ok(args.what.clone());
    }
    match app_file::default_file(machine) {
        Some(name) => Ok(vec![name.to_owned()]),
        None => Err(Failure::new(
            ErrorCode::BadRequest,
            "there is nothing to start: no app was named, and there is no file of apps here",
            "name a script (skep start app.js), or write a file (`skep init`)",
        )),
    }
}

/// A plan in the making.
struct Plan {
    existing: Vec<Existing>,
    force: bool,
    known_targets: Vec<String>,
    steps: Vec<Step>,
    notes: Vec<String>,
}

impl Plan {
    /// A new app, unless it is there already.
    fn add(&mut self, mut spec: AppSpec) -> Result<(), Failure> {
        let argv = spec.argv();
        match settle_clash(&spec.name, &argv, &self.existing, self.force)? {
            Clash::Start => self.known_targets.push(spec.name),
            clash @ (Clash::Create | Clash::CreateAs(_)) => {
                if let Clash::CreateAs(name) = clash {
                    self.notes.push(format!("{} exists already, so this one is called {name}", spec.name));
                    spec.name = name;
                }
                self.existing.push(Existing {
                    name: spec.name.clone(),
                    argv,
                    status: "launching".into(),
                    startable: false,
                });
                self.steps.push(Step::Create { spec: Box::new(spec), unless_known: None });
            }
        }
        Ok(())
    }
}

fn is_known(what: &str, apps: &[AppView]) -> bool {
    let slots: Vec<Vec<u32>> =
        apps.iter().map(|app| app.slots.iter().map(|slot| slot.id).collect()).collect();
    let known: Vec<Known<'_>> = apps
        .iter()
        .zip(&slots)
        .map(|(app, slots)| Known { app: app.id, name: &app.name, namespace: &app.namespace, slots })
        .collect();
    let found = what.parse::<Target>().and_then(|target| target.pick(&known));
    found.is_ok_and(|picks| !picks.is_empty())
}

fn existing(app: &AppView) -> Existing {
    let runs = |status: Status| matches!(status, Status::Online | Status::Launching | Status::WaitingRestart);
    Existing {
        name: app.name.clone(),
        argv: app.argv.clone(),
        status: app.status.to_string(),
        startable: !app.slots.iter().any(|slot| runs(slot.status)),
    }
}

/// Options are for new apps; that they change nothing of a known one must not pass in silence.
async fn note_changes(
    targets: &[String],
    args: &StartArgs,
    client: &mut Client,
    context: &Context,
) -> Result<(), Failure> {
    let output = &context.output;
    if *args == StartArgs::default() || output.quiet || output.json {
        return Ok(());
    }
    let query = AppsQuery { detail: Detail::Full, ..AppsQuery::default() };
    for app in look(targets, query, client, context).await? {
        let said = args.to_raw(&app.script, &[])?.spec;
        if app.spec.as_deref().is_some_and(|spec| differs(&said, spec)) {
            let name = &app.name;
            output.say(&format!(
                "{name} starts as it was added before; `skep delete {name}` first to change its options"
            ));
        }
    }
    Ok(())
}

/// Whether what was said now would make another app of it, in what is told apart easily.
fn differs(said: &AppSpec, spec: &AppSpec) -> bool {
    let settings = |spec: &AppSpec| {
        (
            spec.instances,
            spec.balance,
            spec.runtime,
            spec.kill_timeout,
            spec.wait_ready,
            spec.max_restarts,
            spec.port,
        )
    };
    settings(said) != settings(spec) || said.env.iter().any(|(name, value)| spec.env.get(name) != Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use crate::verbs::list::tests::{app, slot};
    use clap::Parser;

    fn check(line: &str, apps: &[AppView]) -> Result<Vec<String>, Failure> {
        let words = std::iter::once("skep").chain(line.split(' '));
        let Verb::Start(args) = Cli::parse_from(words).verb else { panic!("not a start") };
        let (steps, _) = plan(&args, apps, &Machine::here().unwrap())?;
        let tell = |step: &Step| match step {
            Step::Start(targets) => format!("start {}", targets.join(" ")),
            Step::Create { spec, .. } => format!("create {}", spec.name),
            Step::Apply(request) => format!("apply {}", request.apps.len()),
        };
        Ok(steps.iter().map(tell).collect())
    }

    #[test]
    fn known_names_are_started_and_everything_else_is_added() {
        let apps = [app("web", vec![slot(0, Status::Stopped)]), app("jobs", vec![slot(1, Status::Online)])];
        assert_eq!(check("start web", &apps).unwrap(), ["start web"]);
        assert_eq!(check("start jobs 0", &apps).unwrap(), ["start jobs 0"]);
        assert_eq!(check("start all", &apps).unwrap(), ["start all"]);
        assert_eq!(check("start sh --name x", &apps).unwrap(), ["create x"]);
        assert_eq!(check("start web sh", &apps).unwrap(), ["create sh", "start web"]);
    }

    #[test]
    fn the_daemon_is_not_asked_first_for_one_thing_that_may_be_new() {
        let new = |line: &str| {
            let words = std::iter::once("skep").chain(line.split(' '));
            let Verb::Start(args) = Cli::parse_from(words).verb else { panic!("not a start") };
            let (step, _) = something_new(&args, &Machine::here().unwrap())?;
            let Step::Create { spec, unless_known } = step else { panic!("{step:?}") };
            Some((spec.name, unless_known.unwrap()))
        };
        assert_eq!(new("start /bin/sh"), Some(("sh".into(), "/bin/sh".into())));
        assert_eq!(new("start sh --name x"), Some(("x".into(), "sh".into())));
        for line in
            ["start sh cat", "start sh --force", "start all", "start nobody-knows-it", "start skep.toml"]
        {
            assert_eq!(new(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_of_apps_is_not_run_as_a_script() {
        let failure = check("start no-such.config.js", &[]).unwrap_err();
        assert!(failure.body().unwrap().message.contains("there is no such file"));
    }

    #[test]
    fn one_mistake_among_several_starts_nothing() {
        let failure = check("start sh no-such-thing.js", &[]).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(check("start all", &[]).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn the_same_program_twice_needs_another_name() {
        assert_eq!(check("start sh sh", &[]).unwrap_err().exit_code(), 1);
        assert_eq!(check("start sh sh --force", &[]).unwrap(), ["create sh", "create sh-2"]);
    }
}
