//! `skep state`: what is asked for.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use skep_api::StateKind;
use skep_spec::Millis;

use crate::args::value;

// `skep state`.
#[derive(Debug, Args)]
pub(crate) struct StateCommand {
    #[command(subcommand)]
    pub(crate) verb: StateVerb,
}

// What to do with the shared state.
#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// List counters, maps, leaderboards, queues and Redis clients' databases by name
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Print a counter, a key of a map or of a database, or all that is in a map, a leaderboard or a database (db0)
    Get(GetArgs),
    /// Set a counter (NAME VALUE), a key (NAME KEY VALUE), or a member's score (NAME MEMBER VALUE)
    Set(SetArgs),
    /// Remove keys or members; without any, all of them. A counter becomes 0
    #[command(visible_alias = "rm")]
    Del(DelArgs),
    /// Add to a counter, or to a member's score
    Incr(IncrArgs),
    /// Print a value, and print it again as soon as it has changed
    Watch(GetArgs),
    /// Who holds which lock, who waits for it, and since when
    Locks,
    /// Queues, and how many jobs are in them
    Queues,
    /// The size of the shared state, and what has happened in it
    Stats,
    /// Copy everything that lasts to a file; the apps go on
    Backup(FileArgs),
    /// Put a backup in place of everything, at once
    Restore(FileArgs),
    /// Show how the shared state is kept, or change it (max_size=2G, max_value=64M, save=30s, dir=/path, redis_port=6379)
    Config(ConfigArgs),
}

// `skep state ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only names that contain this
    #[arg(value_name = "TEXT")]
    pub(crate) part: Option<String>,

    /// Only this kind: counter, map, leaderboard, queue or database
    #[arg(long)]
    pub(crate) kind: Option<StateKind>,
}

// What is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct GetArgs {
    /// Its name
    pub(crate) name: String,

    /// A key of a map or a database, or a member of a leaderboard
    pub(crate) key: Option<String>,

    /// counter, map, leaderboard, queue or database, where the name alone does not tell
    #[arg(long)]
    pub(crate) kind: Option<StateKind>,

    /// How many keys, members or elements of a key at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = skep_api::STATE_ENTRIES_DEFAULT)]
    pub(crate) limit: u32,
}

// `skep state set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Its name; what is not there is made
    pub(crate) name: String,

    /// A map's key or a leaderboard's member; a counter's value
    #[arg(value_name = "KEY|VALUE", allow_negative_numbers = true)]
    pub(crate) first: String,

    /// The key's value: JSON, or else taken as text; the member's score
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    pub(crate) second: Option<String>,

    /// The key ends after so long
    #[arg(long, value_name = "TIME", value_parser = value::<Millis>)]
    pub(crate) ttl: Option<Millis>,

    /// counter, map or leaderboard, where the name alone does not tell
    #[arg(long)]
    pub(crate) kind: Option<StateKind>,
}

// `skep state del`.
#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    /// Its name
    pub(crate) name: String,

    /// Keys of a map, or members of a leaderboard [default: all]
    #[arg(value_name = "KEY")]
    pub(crate) keys: Vec<String>,

    /// counter, map or leaderboard, where the name alone does not tell
    #[arg(long)]
    pub(crate) kind: Option<StateKind>,
}

// `skep state incr`.
#[derive(Debug, Args)]
pub(crate) struct IncrArgs {
    /// Its name; what is not there is made
    pub(crate) name: String,

    /// How much
    #[arg(default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) by: f64,

    /// A leaderboard's member
    #[arg(long, value_name = "MEMBER")]
    pub(crate) key: Option<String>,

    /// counter or leaderboard, where the name alone does not tell
    #[arg(long)]
    pub(crate) kind: Option<StateKind>,
}

// A backup.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The backup
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

// `skep state config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// max_size=SIZE, max_value=SIZE, save=TIME or save=off, dir=PATH or dir= (shared memory),
    /// redis_port=PORT or redis_port=off, redis_password=TEXT
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}
