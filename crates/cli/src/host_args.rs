//! Verbs about the machine around the apps: its init system, its terminal, its files, its other hosts.

use crate::verbs::startup;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// Let skep be started with the machine: shows what that takes, and does it where it may
    ///
    /// For all of the machine it needs root; `--user` makes a service of your own. What runs when the machine goes down
    /// runs again when it is up: nothing has to be saved. Without root it prints the command to give to sudo.
    Startup(StartupCommand),
    /// Undo `startup`
    Unstartup(StartupCommand),
}

/// `skep startup` and `skep unstartup`.
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
    #[arg(long, value_name = "DIR", conflicts_with_all = ["user", "now"], value_hint = clap::ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
}

/// `skep daemon run`.
#[derive(Debug, Args)]
pub(crate) struct ServiceCommand {
    /// Be only a guard of the keeper: when it is ended, keeper and workers stay, and the next one guards them again
    #[arg(long)]
    pub(crate) keep_workers: bool,
}

/// `skep daemon unit-stop`.
#[derive(Debug, Args)]
pub(crate) struct UnitStopCommand {
    /// The systemd unit
    #[arg(value_name = "UNIT")]
    pub(crate) unit: String,
    /// It belongs to the user's own manager
    #[arg(long)]
    pub(crate) user: bool,
}
