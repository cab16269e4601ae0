//! `skep run`.

use crate::args::value;
use crate::start_args::StartArgs;
use clap::{Args, ValueHint};
use skep_spec::Millis;

// `skep run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunCommand {
    /// A script (app.js), a program (./server), a command line ("npm run dev"), or a file of apps (skep.toml,
    /// ecosystem.config.js) [default: the file of apps in this directory]
    #[arg(value_name = "WHAT", value_hint = ValueHint::FilePath)]
    pub(crate) what: Option<String>,

    #[command(flatten)]
    pub(crate) app: StartArgs,

    #[command(flatten, next_help_heading = "In the foreground")]
    pub(crate) manner: RunManner,

    /// Arguments of the script
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

// What is particular to the foreground.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunManner {
    /// Of a file's apps, only these: web,api
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Lines as the apps write them; that is how it is. With --json each is an object
    #[arg(long, conflicts_with_all = ["format", "formatted"])]
    pub(crate) raw: bool,

    /// Lines as `timestamp=… app=… id=… type=… message=…`
    #[arg(long, conflicts_with = "formatted")]
    pub(crate) format: bool,

    /// Lines with who wrote them in front: `0|web | …`
    #[arg(long)]
    pub(crate) formatted: bool,

    /// Stay when nothing runs any more
    #[arg(long)]
    pub(crate) no_auto_exit: bool,

    /// Wait so long before anything is started
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>)]
    pub(crate) delay: Option<Millis>,
}
