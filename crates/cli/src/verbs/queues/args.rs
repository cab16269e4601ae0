//! The command line of `queues`.

use clap::{Args, Subcommand};
use skep_api::QueuePart;

// `skep queues`.
#[derive(Debug, Args)]
pub(crate) struct QueuesCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<QueuesVerb>,
}

// What to do with queues.
#[derive(Debug, Subcommand)]
pub(crate) enum QueuesVerb {
    /// Show all queues, and how many jobs are in them
    #[command(visible_alias = "list")]
    Ls,
    /// Show all about one queue: its figures, who works on what, what failed last
    #[command(visible_alias = "show")]
    Describe(QueueCommand),
    /// Print jobs of a queue without taking them, the next one first
    Peek(PeekCommand),
    /// Put dead jobs back, as if they had just been pushed
    Retry(RetryCommand),
    /// Remove jobs that nobody works on
    Purge(PurgeCommand),
    /// Give consumers nothing until the queue is resumed; what they work on, they finish
    Pause(QueueCommand),
    /// Let a paused queue go on
    Resume(QueueCommand),
}

// One queue.
#[derive(Debug, Args)]
pub(crate) struct QueueCommand {
    /// A queue's name; `memory:NAME` or `durable:NAME` where two have it
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
}

// `skep queues peek`.
#[derive(Debug, Args)]
pub(crate) struct PeekCommand {
    #[command(flatten)]
    pub(crate) queue: QueueCommand,

    /// ready, delayed, active or dead
    #[arg(value_name = "PART", default_value = "ready")]
    pub(crate) part: QueuePart,

    /// How many jobs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
}

// `skep queues retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryCommand {
    #[command(flatten)]
    pub(crate) queue: QueueCommand,

    /// Numbers of dead jobs [default: all of them]
    #[arg(value_name = "JOB")]
    pub(crate) jobs: Vec<String>,
}

// `skep queues purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeCommand {
    #[command(flatten)]
    pub(crate) queue: QueueCommand,

    /// ready, delayed or dead
    #[arg(value_name = "PART")]
    pub(crate) part: QueuePart,
}
