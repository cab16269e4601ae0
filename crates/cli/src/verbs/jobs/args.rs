//! The command line of `jobs`.

use clap::{Args, Subcommand};

// `skep jobs`.
#[derive(Debug, Args)]
pub(crate) struct JobsCommand {
    #[command(subcommand)]
    pub(crate) verb: Option<JobsVerb>,
}

// What to do with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsVerb {
    /// Show all jobs: when they fire, how they are
    #[command(visible_alias = "list")]
    Ls,
    /// Show all about one job
    #[command(visible_alias = "show")]
    Describe(JobCommand),
    /// Run a job now, beside its schedule
    Run(JobCommand),
    /// Let a job not fire until it is resumed
    Pause(JobCommand),
    /// Let a job fire again, from now on
    Resume(JobCommand),
    /// End the runs of a job that are under way or wait
    Cancel(JobCommand),
    /// Show the last runs of a job, the newest first
    History(HistoryCommand),
    /// Print the output of a command's last run; of a function or a request, what it returned
    Logs(JobCommand),
}

// One job.
#[derive(Debug, Args)]
pub(crate) struct JobCommand {
    /// A job's name; with its app's in front (app/job) where several apps have one of that name
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
}

// `skep jobs history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryCommand {
    #[command(flatten)]
    pub(crate) job: JobCommand,

    /// How many runs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) lines: u32,
}
