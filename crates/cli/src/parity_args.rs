//! Verbs that PM2's users know: under skep's own name too.

use crate::args::{OptionalTarget, WaitArgs};
use crate::complete;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

// What to do.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum ParityVerb {
    /// Print all workers as PM2's jlist does
    Jlist,
    /// The same for people
    Prettylist,
    /// Call an action that workers offer by @pm2/io, and print their answers
    Trigger(TriggerCommand),
    /// Write a line to a worker's standard input
    Send(SendCommand),
    /// Talk to a worker: standard input goes to it, its output comes back
    Attach(AttachCommand),
    /// Empty log files
    Flush(OptionalTarget),
    /// Open log files anew, after logrotate has moved them
    #[command(name = "reloadLogs", visible_alias = "reload-logs")]
    ReloadLogs,
    /// Set a setting: pm2-logrotate:max_size 10M
    Set(SetCommand),
    /// Print one setting, or all
    Get(KeyCommand),
    /// Forget a setting, or `all`
    Unset(KeyCommand),
    /// Write what runs to dump.pm2, for PM2 or for another machine
    ///
    /// Not needed to survive a reboot: what you asked for is on the disk before a command answers.
    #[command(visible_alias = "save")]
    Dump,
    /// Start what a dump.pm2 holds, PM2's own included
    #[command(name = "resurrectDump")]
    ResurrectDump(DumpCommand),
    /// Make links so that `pm2` and `pm2-runtime` are skep, in a directory of PATH
    #[command(name = "pm2-link")]
    Pm2Link(LinkCommand),
}

impl ParityVerb {
    /// Whether it needs no daemon.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Pm2Link(_) | Self::Get(_))
    }
}

// `skep trigger`.
#[derive(Debug, Args)]
pub(crate) struct TriggerCommand {
    /// A name, an id, a namespace, a /pattern/, or all
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) target: String,
    /// The action; `skep describe` shows what there is
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    /// What to hand over to it
    #[arg(value_name = "PARAM")]
    pub(crate) param: Option<String>,
}

// `skep send`.
#[derive(Debug, Args)]
pub(crate) struct SendCommand {
    /// A name, an id, a namespace, a /pattern/, or all
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) target: String,
    /// The line, without its end
    #[arg(value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) line: String,
}

// `skep attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachCommand {
    /// A name or an id
    #[arg(value_name = "APP", add = ArgValueCompleter::new(complete::apps))]
    pub(crate) app: String,
}

// `skep set`.
#[derive(Debug, Args)]
pub(crate) struct SetCommand {
    /// The setting
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// Its value
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: String,
}

// `skep get` and `skep unset`.
#[derive(Debug, Args)]
pub(crate) struct KeyCommand {
    /// The setting [default: all]
    #[arg(value_name = "KEY")]
    pub(crate) key: Option<String>,
}

// `skep resurrectDump`.
#[derive(Debug, Args)]
pub(crate) struct DumpCommand {
    /// The file [default: dump.pm2 in the home, else PM2's own in ~/.pm2]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

// `skep pm2-link`.
#[derive(Debug, Args)]
pub(crate) struct LinkCommand {
    /// The directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
}
