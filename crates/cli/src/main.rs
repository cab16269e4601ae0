//! The command `skep`.
//!
//! One module a verb, in [`verbs`]; what they share is beside it. This crate never touches a worker: it talks to the
//! daemon's API like anyone else, and starts the daemon through its keeper where a verb wants it running.

mod app_file;
mod args;
mod complete;
mod failure;
mod file_args;
mod hidden;
mod host_args;
mod machine;
mod output;
mod parity_args;
mod plan_view;
mod pm2;
mod progress;
mod run_args;
mod session;
mod settle;
mod start_args;
mod table;
mod verbs;

use args::{Cli, DaemonCommand, DaemonVerb, Verb};
use clap::{CommandFactory, Parser};
use failure::{Failure, exit};
use host_args::HostVerb;
use session::Context;
use settle::Goal;
use skep_api::{ApplyMode, Route};
use skep_tui::human;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The keeper and the daemon come first: they must not even touch what the command line needs.
    if let Some(code) = hidden::run(std::env::args_os()) {
        return code;
    }
    // Somebody waits, and what we start would like the processor too. Where the kernel does not know it, all goes on as is.
    let _ = skep_sys::sched::ask_for_short_turns();
    let mut words = std::env::args_os();
    let called = words.next();
    let mut words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(front) = pm2::front(called.as_deref()) {
        return front(words);
    }
    if words.first().is_some_and(|word| word == hidden::PM2_VERB) {
        words.remove(0);
        return pm2::run(words);
    }
    clap_complete::CompleteEnv::with_factory(Cli::command).bin("skep").complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let context = Context::new(cli.global);
    match run(cli.verb, &context) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            context.output.fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// `--help` and `--version`, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    // Whoever reads it may have gone.
    drop(error.print());
    ExitCode::from(if error.use_stderr() { exit::FAILURE } else { exit::OK })
}

/// Verbs that need no daemon; the others go to [`talk`].
fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Parity(verb) if verb.is_local() => verbs::parity::alone(verb, context),
        Verb::Completions(args) => verbs::completions::run(&args.shell, context),
        Verb::Openapi => verbs::openapi::run(context),
        Verb::Schema => verbs::schema::run(context),
        Verb::Validate(args) => verbs::validate::run(&args, context),
        Verb::Convert(args) => verbs::convert::run(&args, context),
        Verb::Init(args) => verbs::init::run(verbs::init::Template::Toml, args.mode.is_some(), context),
        Verb::Ecosystem(args) => {
            verbs::init::run(verbs::init::Template::JavaScript, args.mode.is_some(), context)
        }
        Verb::Docs => verbs::docs::run(context),
        Verb::Run(args) => verbs::run::run(&args, verbs::run::Manner::Skep, context),
        Verb::Daemon(DaemonCommand { verb: DaemonVerb::Run(args) }) => {
            verbs::daemon::service::run(&args, context)
        }
        Verb::Host(HostVerb::Startup(args)) => verbs::startup::run(&args, context),
        Verb::Host(HostVerb::Unstartup(args)) => verbs::startup::undo(&args, context),
        Verb::Host(HostVerb::Deploy(args)) => verbs::deploy::run(&args, verbs::deploy::Manner::Skep, context),
        verb => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
            runtime.map_err(|error| Failure::out_of_resources(&error))?.block_on(talk(verb, context))
        }
    }
}

/// Verbs that talk to the daemon.
async fn talk(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Start(args) => Box::pin(verbs::start::run(*args, context)).await,
        Verb::StartOrRestart(args) => verbs::apply::start_or(args, ApplyMode::Restart, context).await,
        Verb::StartOrReload(args) => verbs::apply::start_or(args, ApplyMode::Reload, context).await,
        Verb::Apply(args) => verbs::apply::run(args, context).await,
        Verb::Stop(args) => verbs::act::stop(args, context).await,
        Verb::Restart(args) => verbs::act::renew(Route::RestartApps, args.reload, args.watch, context).await,
        Verb::Reload(args) => verbs::act::renew(Route::ReloadApps, args, false, context).await,
        Verb::Delete(args) => verbs::act::run(Route::DeleteApps, Goal::Gone, args, context).await,
        Verb::Reset(args) => verbs::act::run(Route::ResetApps, Goal::Known, args, context).await,
        Verb::Scale(args) => verbs::scale::run(args, context).await,
        Verb::SendSignal(args) => verbs::signal::run(args, context).await,
        Verb::List(args) => verbs::list::run(args, context).await,
        Verb::Describe(args) => verbs::describe::run(&args.targets, context).await,
        Verb::Logs(args) => verbs::logs::run(args, context).await,
        Verb::Queues(args) => verbs::queues::run(args, context).await,
        Verb::Hosts(args) => verbs::hosts::run(&args, context).await,
        Verb::Jobs(args) => verbs::jobs::run(args, context).await,
        Verb::Metrics(args) => verbs::metrics::run(args, context).await,
        Verb::Monit => verbs::monit::run(context).await,
        Verb::Events(args) => verbs::events::run(args, context).await,
        Verb::Env(args) => verbs::env::run(&args.targets, context).await,
        Verb::Pid(args) => verbs::ids::pids(&args.targets, context).await,
        Verb::Id(args) => verbs::ids::ids(&args.targets, context).await,
        Verb::State(command) => verbs::state::run(command, context).await,
        Verb::Resurrect(args) => verbs::resurrect::run(&args, context).await,
        Verb::Ping => verbs::daemon::ping(context).await,
        Verb::Daemon(args) => match args.verb {
            DaemonVerb::Status => verbs::daemon::status(context).await,
            DaemonVerb::Stop(args) => verbs::daemon::stop(&args, context).await,
            DaemonVerb::UnitStop(args) => verbs::daemon::unit_stop(&args, context).await,
            DaemonVerb::Run(_) => unreachable!("`run` has carried it out"),
        },
        Verb::Kill(args) => verbs::daemon::stop(&args, context).await,
        Verb::Upgrade(args) => verbs::upgrade::run(args.program, context).await,
        Verb::Parity(verb) => verbs::parity::run(verb, context).await,
        Verb::Host(HostVerb::Serve(args)) => verbs::serve::run(&args, context).await,
        Verb::Host(HostVerb::Startup(_) | HostVerb::Unstartup(_) | HostVerb::Deploy(_))
        | Verb::Completions(_)
        | Verb::Openapi
        | Verb::Docs
        | Verb::Run(_)
        | Verb::Schema
        | Verb::Validate(_)
        | Verb::Convert(_)
        | Verb::Init(_)
        | Verb::Ecosystem(_) => unreachable!("`run` has carried these out"),
    }
}
