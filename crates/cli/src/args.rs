//! The command line: every verb and its options, in the words of the manual.

use crate::complete;
use crate::file_args::{ApplyCommand, ConvertCommand, FileChoice, FileCommand, InitCommand, ValidateCommand};
use crate::host_args::{HostVerb, ServiceCommand, UnitStopCommand};
use crate::parity_args::ParityVerb;
use crate::run_args::RunCommand;
use crate::start_args::StartArgs;
use clap::builder::Styles;
use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::ArgValueCompleter;
use skep_spec::{InstancesChange, Millis, Signal, SpecError};
use std::path::PathBuf;
use std::str::FromStr;

/// What stands at the end of `skep help`, and in docs/cli.md.
pub(crate) const AFTER_HELP: &str = "\
Targets: a name, an id, a namespace, `all`, or a pattern between slashes (/^web/); several at once.

Exit codes:
  0  the goal was reached
  1  something failed (a worker did not start, a reload was given up), or what was asked for makes no sense
  2  `apply --dry-run` has found something to do
  3  no app goes by that name
  4  skep is not running, or does not answer
  5  the goal was not reached within --timeout; the command goes on

Environment:
  SKEP_HOME       where skep keeps its socket, state and logs (default: $XDG_STATE_HOME/skep, else ~/.skep)
  NO_COLOR        no colours
  CLICOLOR_FORCE  colours even when the output is not a terminal";

const STYLES: Styles = Styles::styled()
    .header(anstyle::Style::new().bold())
    .usage(anstyle::Style::new().bold())
    .literal(anstyle::AnsiColor::Cyan.on_default());

/// Turns a program into a self-healing service on every core.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, after_help = AFTER_HELP, styles = STYLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

// What every verb understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Machine output alone on standard output: JSON, or one JSON value a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// No colours
    #[arg(long, global = true)]
    pub(crate) no_color: bool,

    /// No progress, only results and errors
    #[arg(short, long, global = true)]
    pub(crate) silent: bool,

    /// Where skep keeps its socket, state and logs, instead of SKEP_HOME
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
}

// What to do.
#[derive(Debug, Subcommand)]
// The arguments of the other verbs are not made: they were half of the time of `skep list`. (A doc comment of their type
// would then take the place of the verb's own: these types have plain ones.)
#[command(defer = true)]
pub(crate) enum Verb {
    /// Start scripts, programs or command lines as services; or known apps that are stopped
    Start(Box<StartCommand>),
    /// Make the apps those that a file describes: shows what changes, and changes only that
    ///
    /// New apps are created; changed ones get what their changes take: nothing at all for their workers, a rolling
    /// replacement without a pause in service, or all workers anew. A rolling replacement that fails leaves the old
    /// workers where they are. Applying the same file twice changes nothing.
    Apply(ApplyCommand),
    /// Start the apps of a file, and restart those that run already
    #[command(name = "startOrRestart")]
    StartOrRestart(FileCommand),
    /// Start the apps of a file, and reload those that run already
    #[command(name = "startOrReload", visible_alias = "startOrGracefulReload")]
    StartOrReload(FileCommand),
    /// Stop workers; the apps stay known
    Stop(StopCommand),
    /// Restart in place: all workers at once
    Restart(RestartCommand),
    /// Replace workers one after the other, without a pause in service
    Reload(ReloadCommand),
    /// Stop apps and forget them
    #[command(visible_alias = "del")]
    Delete(TargetCommand),
    /// Change the number of an app's workers
    Scale(ScaleCommand),
    /// Set restart counters to zero
    Reset(TargetCommand),
    /// Send a signal to workers
    #[command(name = "sendSignal", visible_alias = "signal")]
    SendSignal(SignalCommand),

    /// Show all apps
    #[command(visible_aliases = ["ls", "l", "ps", "status"])]
    List(ListCommand),
    /// Show all about one app
    #[command(visible_aliases = ["show", "info", "desc"])]
    Describe(LookCommand),
    /// Show log lines
    Logs(LogsCommand),
    /// Watch workers, logs, metrics and jobs live on the terminal; restart, reload, scale, stop by a key
    #[command(visible_aliases = ["dash", "dashboard"])]
    Monit,
    /// Show what happens to apps and workers
    Events(EventsCommand),
    /// Look at, run and pause jobs: what runs by the clock
    Jobs(crate::verbs::jobs::JobsCommand),
    /// Print figures of workers and of skep, in Prometheus's text format; serve them to Prometheus
    Metrics(crate::verbs::metrics::MetricsCommand),
    /// Look at queues of jobs, put dead jobs back, remove, pause
    Queues(crate::verbs::queues::QueuesCommand),
    /// Show how this host shares jobs with other hosts, or change it (store=redis://…)
    Hosts(crate::verbs::hosts::HostsCommand),
    /// Print an app's environment
    Env(LookCommand),
    /// Print process ids, one a line
    Pid(OptionalTarget),
    /// Print an app's slot ids
    Id(OptionalTarget),

    /// Look at what workers share, and change it: counters, maps, leaderboards, locks, queues
    State(crate::verbs::state::StateCommand),

    /// Run an app in the foreground: for containers and development
    ///
    /// This process becomes the keeper, as pid 1 of a container or below a service manager. What the app writes goes
    /// to standard output and standard error, byte for byte. SIGTERM and SIGINT stop it cleanly.
    ///
    /// The exit code is 0 after a clean stop; when the app has ended for good by itself (--no-autorestart,
    /// --stop-exit-codes), its own exit code, or 128 plus the number of the signal that ended it; 1 when skep has given
    /// it up.
    Run(Box<RunCommand>),
    /// Start what ran when skep was last stopped
    Resurrect(WaitArgs),
    /// Say whether skep is running
    Ping,
    /// Look after the daemon
    Daemon(DaemonCommand),
    /// Stop all workers, the daemon and the keeper
    Kill(WaitArgs),
    /// Make the running skep this version; workers and connections stay
    #[command(visible_alias = "update")]
    Upgrade(UpgradeCommand),

    /// Say what is wrong with a file of apps, all of it; the exit code is 0 when nothing is
    Validate(ValidateCommand),
    /// Print a file of apps in another format, PM2's too
    Convert(ConvertCommand),
    /// Write an example skep.toml into this directory
    Init(InitCommand),
    /// Write an example ecosystem.config.js into this directory
    Ecosystem(InitCommand),
    /// Print the JSON Schema of files of apps, for editors
    Schema,
    /// Print completions for a shell: `source <(skep completions bash)`
    Completions(CompletionsCommand),
    /// What PM2's users know beside
    #[command(flatten)]
    Parity(ParityVerb),
    /// The machine around the apps
    #[command(flatten)]
    Host(HostVerb),
    /// Print the OpenAPI document of the control socket
    Openapi,
    /// Print the manual of all verbs in Markdown
    #[command(name = "__docs", hide = true)]
    Docs,
}

// How long to wait.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Return as soon as the command is under way, without waiting for readiness
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// Wait no longer than this; the command goes on [default: as long as the app's own timeouts take]
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>)]
    pub(crate) timeout: Option<Millis>,
}

// `skep start`.
#[derive(Debug, Args)]
pub(crate) struct StartCommand {
    /// A script (app.js), a program (./server), a command line ("npm run dev"), a known app, or a file of apps
    /// (skep.toml, ecosystem.config.js, `-` for standard input) [default: the file of apps in this directory]
    #[arg(value_name = "WHAT", add = ArgValueCompleter::new(complete::apps_and_files))]
    pub(crate) what: Vec<String>,

    #[command(flatten)]
    pub(crate) app: StartArgs,

    /// Of a file's apps, only these: web,api
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "What to run")]
    pub(crate) only: Vec<String>,

    /// Give a file's apps that are there already the variables of this shell too
    #[arg(short = 'a', long, help_heading = "What to run")]
    pub(crate) update_env: bool,

    /// Start another one even if the name is taken
    #[arg(short, long, help_heading = "Waiting")]
    pub(crate) force: bool,

    #[command(flatten, next_help_heading = "Waiting")]
    pub(crate) wait: WaitArgs,

    /// Arguments of the script
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

// A verb on several apps.
#[derive(Debug, Args)]
pub(crate) struct TargetCommand {
    /// Names, ids, namespaces, /patterns/, or all; or a file of apps (skep.toml, ecosystem.config.js)
    #[arg(required = true, value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,

    #[command(flatten)]
    pub(crate) choice: FileChoice,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

// `skep stop`.
#[derive(Debug, Args)]
pub(crate) struct StopCommand {
    #[command(flatten)]
    pub(crate) target: TargetCommand,

    /// Stop watching files as well
    #[arg(long)]
    pub(crate) watch: bool,
}

// `skep reload`.
#[derive(Debug, Args)]
pub(crate) struct ReloadCommand {
    #[command(flatten)]
    pub(crate) target: TargetCommand,

    /// Give the app this name; its log files stay where they are
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

// `skep restart`.
#[derive(Debug, Args)]
pub(crate) struct RestartCommand {
    #[command(flatten)]
    pub(crate) reload: ReloadCommand,

    /// Begin to watch files as well, or stop if they are watched
    #[arg(long)]
    pub(crate) watch: bool,
}

// A verb that only looks.
#[derive(Debug, Args)]
pub(crate) struct LookCommand {
    /// Names, ids, namespaces, /patterns/, or all
    #[arg(required = true, value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,
}

// A verb that looks at everything unless told.
#[derive(Debug, Args)]
pub(crate) struct OptionalTarget {
    /// Names, ids, namespaces or /patterns/ [default: all]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,
}

// `skep scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleCommand {
    /// A name or an id
    #[arg(value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) app: String,

    /// 4, max, +2 or -1
    #[arg(value_name = "INSTANCES", allow_hyphen_values = true, value_parser = value::<InstancesChange>)]
    pub(crate) instances: InstancesChange,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

// `skep sendSignal`.
#[derive(Debug, Args)]
pub(crate) struct SignalCommand {
    /// A name or number: SIGUSR2, HUP, 15
    #[arg(value_name = "SIGNAL", value_parser = value::<Signal>)]
    pub(crate) signal: Signal,

    /// Names, ids, namespaces, /patterns/, or all
    #[arg(required = true, value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,
}

// `skep list`.
#[derive(Debug, Args)]
pub(crate) struct ListCommand {
    /// Only these: names, ids, namespaces or /patterns/
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,

    /// Ask Node.js workers how they are, for the columns loop, busy, req/s and errors; that is how it is on a terminal and
    /// with --json
    #[arg(long)]
    pub(crate) vitals: bool,

    /// By name, namespace, id, pid, cpu, memory, loop, req/s, uptime, restarts or status; add :desc to turn round
    #[arg(long, value_name = "FIELD[:ORDER]", default_value = "id")]
    pub(crate) sort: crate::verbs::list::Sort,
}

// `skep logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsCommand {
    /// Names, ids, namespaces or /patterns/ [default: all]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) targets: Vec<String>,

    /// Go on with what is written from now
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// How many of the last lines to begin with, for each file [default: 15]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<u32>,

    /// Only what is younger: 10m, 2h. Lines without a time (no --time, no --log-type json) count as old as their file
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>)]
    pub(crate) since: Option<Millis>,

    /// Only lines that match this regular expression
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<String>,

    /// Only standard output
    #[arg(long, conflicts_with = "err")]
    pub(crate) out: bool,

    /// Only standard error
    #[arg(long)]
    pub(crate) err: bool,

    /// The lines as they were written, without the app's name in front
    #[arg(long)]
    pub(crate) raw: bool,

    /// As `timestamp=… app=… id=… type=… message=…`
    #[arg(long, conflicts_with = "raw")]
    pub(crate) format: bool,

    /// The time in front of each line, in day.js tokens [default: YYYY-MM-DD HH:mm:ss]
    #[arg(long, value_name = "FORMAT", num_args = 0..=1)]
    pub(crate) timestamp: Option<Option<String>>,

    /// Make this word stand out
    #[arg(long, value_name = "WORD")]
    pub(crate) highlight: Option<String>,

    /// End after the last lines; that is how it is without --follow
    #[arg(long, hide = true, conflicts_with = "follow")]
    pub(crate) nostream: bool,
}

// `skep events`.
#[derive(Debug, Args)]
pub(crate) struct EventsCommand {
    /// Go on with what happens from now
    #[arg(short, long)]
    pub(crate) follow: bool,
}

// `skep upgrade`.
#[derive(Debug, Args)]
pub(crate) struct UpgradeCommand {
    /// The program file of the new version [default: the skep that this command is]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) program: Option<PathBuf>,
}

// `skep daemon`.
#[derive(Debug, Args)]
pub(crate) struct DaemonCommand {
    #[command(subcommand)]
    pub(crate) verb: DaemonVerb,
}

// What to do with the daemon.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum DaemonVerb {
    /// Show the daemon's process ids, version and home
    Status,
    /// Stop all workers, the daemon and the keeper
    Stop(WaitArgs),
    /// Be the keeper, with everything that ran before: what the unit of `skep startup` runs
    Run(ServiceCommand),
    /// Stop everything, unless systemd is restarting this unit
    #[command(hide = true)]
    UnitStop(UnitStopCommand),
}

// `skep completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsCommand {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    pub(crate) shell: String,
}

/// A value that can be wrong, with its remedy in the error.
pub(crate) fn value<T: FromStr<Err = SpecError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: SpecError| format!("{error}; {}", error.remedy()))
}

/// `--cron-restart`: a pattern, or none for `0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CronArg(pub(crate) Option<skep_spec::Cron>);

/// Reads `--cron-restart`.
pub(crate) fn cron(text: &str) -> Result<CronArg, String> {
    match text.trim() {
        "0" => Ok(CronArg(None)),
        pattern => value::<skep_spec::Cron>(pattern).map(|cron| CronArg(Some(cron))),
    }
}

/// A switch that can be turned off: `None` when nothing was said.
pub(crate) fn off(given: bool) -> Option<bool> {
    given.then_some(false)
}

/// How often-used flags are counted.
pub(crate) const APPEND: ArgAction = ArgAction::Append;

#[cfg(test)]
mod tests;
