//! `deploy`: a git repository on other hosts, over the system's ssh, with the keys of PM2's block `deploy`.
//!
//! On each host `PATH/source` is a clone, `PATH/current` a link to it, `PATH/shared` what releases share, `PATH/.deploys`
//! the commits in order: what pm2-deploy leaves, so that either goes on where the other was. Hooks are the user's own
//! shell lines and run as they stand; every other value is one word to every shell, whatever signs it has.

mod run;
mod script;
mod target;

use crate::app_file;
use crate::failure::Failure;
use crate::host_args::DeployCommand;
use crate::machine::Machine;
use crate::session::Context;
use crate::verbs::start::here;
use run::Runner;
use skep_api::ErrorCode;
use std::io::{self, Write};
use std::process::Command;
use target::{Host, Target};

/// Who is asked: what is said, and what starts the apps, differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Skep,
    Pm2,
}

impl Manner {
    /// Progress; told apart from what `list` or `exec` print, unless scripts look for it where PM2 prints it.
    fn say(self, text: &str) {
        match self {
            Self::Skep => drop(writeln!(io::stderr(), "{text}")),
            Self::Pm2 => drop(writeln!(io::stdout(), "{text}")),
        }
    }

    fn step(self, text: &str) {
        self.say(&format!("  ○ {text}"));
    }

    /// What is run after a deployment when the file does not say.
    fn post_deploy(self, file: &str, environment: &str) -> String {
        let (file, environment) = (shell_words::quote(file), shell_words::quote(environment));
        match self {
            Self::Skep => format!("skep startOrReload {file} --env {environment}"),
            Self::Pm2 => format!("pm2 startOrRestart {file} --env {environment}"),
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Setup,
    /// This reference, or the file's.
    Update(Option<String>),
    Revert(u32),
    Current,
    /// So many deployments ago.
    Previous,
    Exec(String),
    List,
    /// The whole configuration, or one key of it.
    Config(Option<String>),
}

/// A command line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    file: Option<String>,
    environment: String,
    action: Action,
    force: bool,
}

fn senseless(message: impl Into<String>) -> Failure {
    Failure::new(
        ErrorCode::BadRequest,
        message,
        "skep deploy [FILE] ENVIRONMENT [setup | update | revert [N] | current | previous | exec COMMAND | list | ref REF]",
    )
}

fn read(args: &DeployCommand) -> Result<Order, Failure> {
    let is_force = |word: &&String| matches!(word.as_str(), "--force" | "-f");
    let exec = args.words.iter().position(|word| matches!(word.as_str(), "exec" | "run"));
    let (head, tail) = args.words.split_at(exec.unwrap_or(args.words.len()));
    let force = args.force || head.iter().any(|word| is_force(&word));
    let mut words = head.iter().filter(|word| !is_force(word)).chain(tail).map(String::as_str).peekable();
    let file = words.next_if(|word| app_file::is_app_file(word)).map(str::to_owned);
    let environment = words.next().ok_or_else(|| senseless("no environment was named"))?.to_owned();
    let action = match words.next() {
        None | Some("update") => Action::Update(None),
        Some("setup") => Action::Setup,
        Some("revert") => {
            let count = words.next().unwrap_or("1");
            let count = count.parse().ok().filter(|count| *count > 0);
            Action::Revert(count.ok_or_else(|| senseless("revert: how many deployments back?"))?)
        }
        Some("curr" | "current") => Action::Current,
        Some("prev" | "previous") => Action::Previous,
        Some("list") => Action::List,
        Some("config") => Action::Config(words.next().map(str::to_owned)),
        Some(verb @ ("exec" | "run")) => {
            let line = words.by_ref().collect::<Vec<_>>().join(" ");
            if line.trim().is_empty() {
                return Err(senseless(format!("{verb}: what is to be run?")));
            }
            Action::Exec(line)
        }
        Some("ref") => {
            let name = words.next().ok_or_else(|| senseless("ref: which one?"))?;
            // pm2-deploy takes a branch behind it, and has no use for it.
            words.next();
            Action::Update(Some(name.to_owned()))
        }
        Some(name) => Action::Update(Some(name.to_owned())),
    };
    match words.next() {
        Some(word) => Err(senseless(format!("{word:?} is one word too many"))),
        None => Ok(Order { file, environment, action, force }),
    }
}

/// Carries it out on each host in turn; stops at the first that fails.
pub(crate) fn run(args: &DeployCommand, manner: Manner, context: &Context) -> Result<(), Failure> {
    let order = read(args)?;
    let machine = here(&context.output)?;
    let (target, name) = target(&order, manner, &machine)?;
    let target = target.with_post_deploy(&manner.post_deploy(&name, &order.environment));
    match &order.action {
        Action::Config(key) => return context.output.print(&target.show(key.as_deref())?),
        Action::Update(Some(reference)) => target::check_reference("ref", reference)?,
        _ => {}
    }
    if matches!(order.action, Action::Update(_)) && !order.force {
        check_for_local_changes()?;
    }
    manner.say(&format!("--> Deploying to {} environment", order.environment));
    for host in &target.hosts {
        manner.say(&format!("--> on host {}", host.address));
        let runner = Runner { host, manner };
        on_host(&order.action, &target, &runner)
            .map_err(|trouble| trouble.into_failure(&order.environment, host))?;
    }
    manner.say("--> Success");
    Ok(())
}

fn target(order: &Order, manner: Manner, machine: &Machine) -> Result<(Target, String), Failure> {
    let name = match &order.file {
        Some(file) => file.clone(),
        None => app_file::default_file(machine).map(str::to_owned).ok_or_else(|| {
            Failure::new(
                ErrorCode::BadRequest,
                "there is no file of apps here",
                "name one: skep deploy ecosystem.config.js production",
            )
        })?,
    };
    let file = app_file::open(&name, machine)?;
    let block = file.document.deploy.as_ref();
    let known =
        || block.and_then(|block| block.as_object()).map(|block| block.keys().cloned().collect::<Vec<_>>());
    let found = block.and_then(|block| block.get(&order.environment)).filter(|target| target.is_object());
    let Some(found) = found else {
        let known = known().filter(|known| !known.is_empty());
        return Err(Failure::new(
            ErrorCode::InvalidSpec,
            format!("{} environment is not defined in {name} file", order.environment),
            match known {
                Some(known) => format!("its block deploy has {}", known.join(", ")),
                None => "it has no block deploy; docs/deploy.md shows one".to_owned(),
            },
        ));
    };
    let (target, notes) = Target::read(found, &order.environment)?;
    notes.iter().for_each(|note| manner.say(note));
    Ok((target, name))
}

/// What is not pushed cannot be fetched.
fn check_for_local_changes() -> Result<(), Failure> {
    let git = |args: &[&str]| Command::new("git").arg("--no-pager").args(args).output();
    match git(&["rev-parse", "--is-inside-work-tree"]) {
        Ok(output) if output.status.success() => {}
        _ => return Ok(()),
    }
    let refuse = |message: &str| {
        Err(Failure::new(ErrorCode::Conflict, message, "--force deploys what is in the repository anyway"))
    };
    let is_clean = |args: &[&str]| git(args).is_ok_and(|output| output.status.success());
    if !is_clean(&["diff", "--exit-code", "--quiet"]) {
        return refuse("commit or stash your changes before deploying");
    }
    if !is_clean(&["diff", "--exit-code", "--quiet", "--cached"]) {
        return refuse("commit your staged changes before deploying");
    }
    match git(&["rev-list", "@{upstream}..", "-n", "1"]) {
        Ok(output) if output.status.success() && !output.stdout.trim_ascii().is_empty() => {
            refuse("push your changes before deploying")
        }
        _ => Ok(()),
    }
}

/// What went wrong on a host.
#[derive(Debug)]
struct Trouble {
    step: String,
    why: run::Ended,
}

impl Trouble {
    fn into_failure(self, environment: &str, host: &Host) -> Failure {
        let Self { step, why } = self;
        let message = format!("Deploy failed: {step} ({why}) on {} of {environment}", host.address);
        let hint = match why {
            run::Ended::Code(255) if !host.is_here() => {
                format!("ssh itself fails with 255: does `ssh {}` work?", host.destination())
            }
            run::Ended::NotStarted(_) => "is it installed, and in PATH?".to_owned(),
            run::Ended::Code(_) | run::Ended::Signal => "what was said above is the host's own".to_owned(),
        };
        Failure::new(ErrorCode::Internal, message, hint)
    }
}

fn on_host(action: &Action, target: &Target, runner: &Runner<'_>) -> Result<(), Trouble> {
    let run = |what: &str, line: &str| runner.run(line).map_err(|why| Trouble { step: what.to_owned(), why });
    match action {
        Action::Setup => setup(target, runner),
        Action::Update(reference) => {
            update(target, reference.as_deref().unwrap_or(&target.reference), runner)
        }
        Action::Revert(count) => {
            runner.manner.step(&format!("reverting {count} deploy(s)"));
            let commit = runner.ask(&script::nth(target, *count));
            let commit = commit.map_err(|why| Trouble { step: "there is no such deployment".into(), why })?;
            update(target, commit.trim(), runner)
        }
        Action::Current => run("its commit cannot be told", &script::current(target)),
        Action::Previous => run("there is no such deployment", &script::nth(target, 1)),
        Action::List => run("there is no list of deployments", &script::list(target)),
        Action::Exec(line) => run("the command failed", &script::exec(target, line)),
        Action::Config(_) => Ok(()),
    }
}

fn hook(name: &str, target: &Target, runner: &Runner<'_>) -> Result<(), Trouble> {
    let Some(line) = target.hook(name) else {
        runner.manner.step(&format!("hook {name}"));
        return Ok(());
    };
    runner.manner.step(&format!("executing {name} `{line}`"));
    let failed = |why| Trouble { step: format!("{name} hook failed"), why };
    match name {
        "pre-deploy-local" => run::here(line).map_err(failed),
        "pre-setup" if script::is_file(line) => runner.run_file(line).map_err(failed),
        "pre-setup" => runner.run(line).map_err(failed),
        _ => runner.run(&script::hook(target, line)).map_err(failed),
    }
}

fn setup(target: &Target, runner: &Runner<'_>) -> Result<(), Trouble> {
    let run = |what: &str, line: &str| runner.run(line).map_err(|why| Trouble { step: what.to_owned(), why });
    hook("pre-setup", target, runner)?;
    runner.manner.step("running setup");
    run("setup paths failed", &script::folders(target))?;
    runner.manner.step(&format!("cloning {}", target.repo));
    run("failed to clone", &script::clone(target))?;
    run("symlink failed", &script::link(target))?;
    hook("post-setup", target, runner)?;
    runner.manner.step("setup complete");
    Ok(())
}

fn update(target: &Target, reference: &str, runner: &Runner<'_>) -> Result<(), Trouble> {
    let run = |what: &str, line: &str| runner.run(line).map_err(|why| Trouble { step: what.to_owned(), why });
    runner.manner.step(&format!("deploying {reference}"));
    hook("pre-deploy-local", target, runner)?;
    run("it is not set up yet, `setup` does that", &script::is_set_up(target))?;
    hook("pre-deploy", target, runner)?;
    runner.manner.step("fetching updates");
    run("fetch failed", &script::fetch(target))?;
    runner.manner.step(&format!("resetting HEAD to {reference}"));
    run("git reset failed", &script::reset(target, reference))?;
    run("symlink failed", &script::link(target))?;
    run("deploy log append failed", &script::note(target))?;
    hook("post-deploy", target, runner)?;
    runner.manner.step(&format!("successfully deployed {reference}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Order, String> {
        let words = line.split(' ').map(str::to_owned).collect();
        let order = read(&DeployCommand { words, force: false });
        order.map_err(|failure| failure.body().map(|body| body.message.clone()).unwrap_or_default())
    }

    fn action(line: &str) -> Action {
        check(line).unwrap().action
    }

    #[test]
    fn a_command_line_is_read_as_pm2_reads_it() {
        let order = check("ecosystem.config.js production setup").unwrap();
        assert_eq!(
            (order.file.as_deref(), order.environment.as_str()),
            (Some("ecosystem.config.js"), "production")
        );
        assert_eq!(order.action, Action::Setup);
        assert_eq!(action("production"), Action::Update(None));
        assert_eq!(action("production update"), Action::Update(None));
        assert_eq!(action("production ref v1.2 main"), Action::Update(Some("v1.2".into())));
        assert_eq!(action("production v1.2"), Action::Update(Some("v1.2".into())));
        assert_eq!(
            (action("production revert"), action("production revert 3")),
            (Action::Revert(1), Action::Revert(3))
        );
        assert_eq!(
            action("production exec pm2 restart all --force"),
            Action::Exec("pm2 restart all --force".into())
        );
        assert_eq!(
            (action("p curr"), action("p prev"), action("p list")),
            (Action::Current, Action::Previous, Action::List)
        );
        assert!(check("production --force").unwrap().force);
        assert!(!check("production exec x --force").unwrap().force, "that is the command's own");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(check("ecosystem.config.js").unwrap_err().contains("no environment"));
        assert!(check("production revert many").unwrap_err().contains("how many"));
        assert!(check("production exec").unwrap_err().contains("what is to be run"));
        assert!(check("production setup now").unwrap_err().contains("one word too many"));
    }
}
