//! Verbs about the machine around the apps: its init system, its terminal, its files, its other hosts.

use crate::args::WaitArgs;
use crate::start_args::StartArgs;
use crate::verbs::startup;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

// What to do.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum HostVerb {
    /// Let skep be started with the machine: shows what that takes, and does it where it may
    ///
    /// For all of the machine it needs root; `--user` makes a service of your own. What runs when the machine goes down
    /// runs again when it is up: nothing has to be saved. Without root it prints the command to give to sudo.
    Startup(StartupCommand),
    /// Undo `startup`
    Unstartup(StartupCommand),
    /// Serve the files of a directory over HTTP, as an app
    ///
    /// Ranges, ETags, files compressed beforehand (page.html.br, page.html.gz). Nothing outside the directory and nothing
    /// hidden is shown. `-i max` shares the port among workers; reloads lose no request.
    #[command(visible_alias = "expose")]
    Serve(Box<ServeCommand>),
    /// Deploy a git repository to other hosts over ssh: the block `deploy` of a file of apps
    ///
    /// `skep deploy [FILE] ENVIRONMENT [COMMAND]`. Commands: setup, update (the default), `ref REF`, `revert [N]`, current,
    /// previous, list, `exec LINE`, `config [KEY]`. docs/deploy.md has the keys.
    Deploy(DeployCommand),
}

// `skep deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployCommand {
    /// The file [default: the one in this directory], the environment, what to do [default: update]
    #[arg(required = true, value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,

    /// Also with changes here that are not committed or not pushed
    #[arg(short, long)]
    pub(crate) force: bool,
}

// `skep serve`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeCommand {
    /// The directory [default: this one]
    #[arg(value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<String>,

    /// The port, as --port [default: 8080]
    #[arg(id = "at", value_name = "PORT")]
    pub(crate) at: Option<u16>,

    /// The address to listen on [default: all of this machine]
    #[arg(long, value_name = "ADDRESS", help_heading = "What to serve")]
    pub(crate) host: Option<String>,

    /// Answer what is not there with the home page: a single-page application draws its own pages
    #[arg(long, help_heading = "What to serve")]
    pub(crate) spa: bool,

    /// The page for / [default: /index.html]
    #[arg(long, value_name = "PATH", help_heading = "What to serve")]
    pub(crate) homepage: Option<String>,

    /// Who may see it: a name, with --basic-auth-password
    #[arg(long, value_name = "NAME", help_heading = "What to serve")]
    pub(crate) basic_auth_username: Option<String>,

    /// The password; better given as the variable PM2_SERVE_BASIC_AUTH_PASSWORD, since command lines can be seen
    #[arg(long, value_name = "PASSWORD", help_heading = "What to serve")]
    pub(crate) basic_auth_password: Option<String>,

    /// PM2's listing of directories: not here
    #[arg(long, hide = true)]
    pub(crate) ftp: bool,
    /// PM2's monitoring of browsers: not here
    #[arg(long, hide = true, value_name = "APP", num_args = 0..=1, default_missing_value = "")]
    pub(crate) monitor: Option<String>,

    #[command(flatten)]
    pub(crate) app: StartArgs,

    #[command(flatten, next_help_heading = "Waiting")]
    pub(crate) wait: WaitArgs,
}

// `skep startup` and `skep unstartup`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartupCommand {
    /// systemd, openrc or launchd [default: what runs here]
    #[arg(value_name = "INIT", value_parser = startup::init)]
    pub(crate) init: Option<startup::Init>,

    /// A service of yours instead of the machine's: systemd's user manager
    #[arg(long)]
    pub(crate) user: bool,

    /// The account whose apps are meant [default: who called sudo, else you]
    #[arg(short = 'u', long, value_name = "NAME", conflicts_with = "user")]
    pub(crate) account: Option<String>,

    /// What the service is called [default: skep-ACCOUNT, and skep with --user]
    #[arg(long, value_name = "NAME")]
    pub(crate) service_name: Option<String>,

    /// Wait for the network to be up, not only for its devices
    #[arg(long)]
    pub(crate) wait_ip: bool,

    /// Let workers live through `systemctl restart`; `systemctl stop` still ends them
    #[arg(long)]
    pub(crate) keep_workers: bool,

    /// Start the service now, too
    #[arg(long)]
    pub(crate) now: bool,

    /// Only show what would be written and run
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) print: bool,

    /// Work on the image of a machine in this directory; nothing is started
    #[arg(long, value_name = "DIR", conflicts_with_all = ["user", "now"], value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
}

// `skep daemon run`.
#[derive(Debug, Args)]
pub(crate) struct ServiceCommand {
    /// Be only a guard of the keeper: when it is ended, keeper and workers stay, and the next one guards them again
    #[arg(long)]
    pub(crate) keep_workers: bool,
}

// `skep daemon unit-stop`.
#[derive(Debug, Args)]
pub(crate) struct UnitStopCommand {
    /// The systemd unit
    #[arg(value_name = "UNIT")]
    pub(crate) unit: String,
    /// It belongs to the user's own manager
    #[arg(long)]
    pub(crate) user: bool,
}
