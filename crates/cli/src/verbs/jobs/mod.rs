//! `jobs`: what runs by the clock.

mod args;
mod show;

pub(crate) use args::{JobsCommand, JobsVerb};

use crate::failure::Failure;
use crate::session::Context;
use skep_api::client::Client;
use skep_api::{JobAct, JobHistoryQuery, JobRun, JobView, Route, encode_targets};

/// Does what was asked for.
pub(crate) async fn run(command: JobsCommand, context: &Context) -> Result<(), Failure> {
    match command.verb.unwrap_or(JobsVerb::Ls) {
        JobsVerb::Ls => list(context).await,
        JobsVerb::Describe(args) => describe(&args.job, context).await,
        JobsVerb::Run(args) => act(&args.job, JobAct::Run, context).await,
        JobsVerb::Pause(args) => act(&args.job, JobAct::Pause, context).await,
        JobsVerb::Resume(args) => act(&args.job, JobAct::Resume, context).await,
        JobsVerb::Cancel(args) => act(&args.job, JobAct::Cancel, context).await,
        JobsVerb::History(args) => history(&args.job.job, args.lines, context).await,
        JobsVerb::Logs(args) => logs(&args.job, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let jobs: Vec<JobView> = match context.connect_if_running().await? {
        Some(mut client) => {
            context.ask(&mut client, async |client| client.read(Route::ListJobs, "", &()).await).await?
        }
        None => Vec::new(),
    };
    if context.output.json {
        return context.output.print_json(&jobs);
    }
    if jobs.is_empty() {
        context
            .output
            .say("there is no job: `schedules` in an app's file adds some, or schedule() in its code");
        return Ok(());
    }
    context.output.print(&show::table(&jobs, now_ms(), &context.output))
}

async fn describe(job: &str, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let path = encode_targets(&[job]);
    let view: JobView =
        context.ask(&mut client, async |client| client.read(Route::ShowJob, &path, &()).await).await?;
    if context.output.json {
        return context.output.print_json(&view);
    }
    let runs = runs(&mut client, job, 5, context).await?;
    context.output.print(&show::describe(&view, &runs, now_ms(), &context.output))
}

async fn act(job: &str, act: JobAct, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let view: JobView = client.change(Route::ActOnJob, &encode_targets(&[job]), &act).await?;
    if context.output.json {
        return context.output.print_json(&view);
    }
    context.output.say(&match act {
        JobAct::Run => format!("{} runs; `skep jobs history {}` shows how it goes", view.id, view.id),
        JobAct::Pause => format!("{} is paused", view.id),
        JobAct::Resume => format!("{} fires again", view.id),
        JobAct::Cancel => format!("the runs of {} are asked to end", view.id),
    });
    Ok(())
}

async fn runs(client: &mut Client, job: &str, limit: u32, context: &Context) -> Result<Vec<JobRun>, Failure> {
    let path = encode_targets(&[job]);
    let query = JobHistoryQuery { limit };
    context.ask(client, async |client| client.read(Route::JobHistory, &path, &query).await).await
}

async fn history(job: &str, lines: u32, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let runs = runs(&mut client, job, lines, context).await?;
    if context.output.json {
        return context.output.print_json(&runs);
    }
    if runs.is_empty() {
        context.output.say("it has not run yet");
        return Ok(());
    }
    context.output.print(&show::history(&runs, &context.output))
}

/// The output of the last run that has some.
async fn logs(job: &str, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let runs = runs(&mut client, job, 20, context).await?;
    let Some(run) = runs.iter().find(|run| run.attempt > 0) else {
        context.output.say("it has not run yet");
        return Ok(());
    };
    let output = match &run.output_file {
        Some(file) => String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned(),
        None => run.result.clone().map(|result| format!("{result}\n")).unwrap_or_default(),
    };
    if context.output.json {
        return context.output.print_json(&serde_json::json!({ "run": run, "output": output }));
    }
    context.output.print(&output)
}

fn now_ms() -> i64 {
    i64::try_from(skep_sys::clock::wall_ns() / 1_000_000).unwrap_or(i64::MAX)
}
