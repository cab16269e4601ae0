//! The options of the verbs that are about files of apps.

use crate::args::WaitArgs;
use clap::{Args, ValueEnum, ValueHint};

// Which apps of a file, and in which environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct FileChoice {
    /// Of the file's apps, only these: web,api
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// Choose the file's env_NAME; or set a variable of every app
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
}

// `skep apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyCommand {
    /// The file (skep.toml, ecosystem.config.js, `-` for standard input) [default: the one in this directory]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<String>,

    #[command(flatten)]
    pub(crate) choice: FileChoice,

    /// Show what would be done; the exit code is 0 when that is nothing, 2 otherwise
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Delete apps that came from this file and are not in it any more; `all`: every app that is not in it
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        default_missing_value = "file",
        require_equals = true,
        conflicts_with = "only"
    )]
    pub(crate) prune: Option<PruneWhich>,

    /// Give apps that are there already the variables of this shell too
    #[arg(short = 'a', long)]
    pub(crate) update_env: bool,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Which apps are pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PruneWhich {
    /// Those that came from this file.
    File,
    /// All that are not in it.
    All,
}

// `skep startOrRestart` and `startOrReload`.
#[derive(Debug, Args)]
pub(crate) struct FileCommand {
    /// The file (skep.toml, ecosystem.config.js, `-` for standard input) [default: the one in this directory]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<String>,

    #[command(flatten)]
    pub(crate) choice: FileChoice,

    /// Give apps that are there already the variables of this shell too
    #[arg(short = 'a', long)]
    pub(crate) update_env: bool,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

// `skep validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateCommand {
    /// Files of apps [default: the one in this directory]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<String>,

    #[command(flatten)]
    pub(crate) choice: FileChoice,
}

// `skep convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertCommand {
    /// The file to read [default: the one in this directory]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<String>,

    /// What to write it as, on standard output
    #[arg(long, value_name = "FORMAT", default_value = "toml")]
    pub(crate) to: Format,
}

/// A syntax to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

// `skep init`.
#[derive(Debug, Args)]
pub(crate) struct InitCommand {
    /// `simple`: without comments
    #[arg(value_name = "MODE", value_parser = ["simple"])]
    pub(crate) mode: Option<String>,
}
