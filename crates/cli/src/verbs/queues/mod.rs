//! `queues`: jobs that workers give each other.

mod args;

pub(crate) use args::{QueuesCommand, QueuesVerb};

use crate::failure::Failure;
use crate::session::Context;
use crate::table::{Cell, Column, draw, printable};
use crate::verbs::state::figures::{self, time};
use skep_api::client::Client;
use skep_api::{
    QueueAct, QueueChanged, QueueJob, QueueJobsQuery, QueuePart, Route, StateQueue, encode_targets,
};

/// What a job carries is cut after so many characters in a table; `--json` shows all of it.
const DATA_CHARS: usize = 60;
/// So many active and dead jobs are shown beside a queue's figures.
const DESCRIBED: u32 = 5;

/// Does what was asked for.
pub(crate) async fn run(command: QueuesCommand, context: &Context) -> Result<(), Failure> {
    match command.verb.unwrap_or(QueuesVerb::Ls) {
        QueuesVerb::Ls => list(context).await,
        QueuesVerb::Describe(args) => describe(&args.queue, context).await,
        QueuesVerb::Peek(args) => peek(&args.queue.queue, args.part, args.limit, context).await,
        QueuesVerb::Retry(args) => act(&args.queue.queue, QueueAct::Retry(args.jobs), context).await,
        QueuesVerb::Purge(args) => act(&args.queue.queue, QueueAct::Purge(args.part), context).await,
        QueuesVerb::Pause(args) => act(&args.queue, QueueAct::Pause, context).await,
        QueuesVerb::Resume(args) => act(&args.queue, QueueAct::Resume, context).await,
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    match context.connect_if_running().await? {
        Some(mut client) => figures::queues(&mut client, context).await,
        None if context.output.json => context.output.print_json(&Vec::<StateQueue>::new()),
        None => {
            context.output.say("there is no queue: skep is not running");
            Ok(())
        }
    }
}

async fn describe(queue: &str, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let path = encode_targets(&[queue]);
    let view: StateQueue = client.read(Route::ShowQueue, &path, &()).await?;
    let active = jobs(&mut client, queue, QueuePart::Active, DESCRIBED).await?;
    let dead = jobs(&mut client, queue, QueuePart::Dead, DESCRIBED).await?;
    if context.output.json {
        let all = serde_json::json!({ "queue": view, "active": active, "dead": dead });
        return context.output.print_json(&all);
    }
    let state = if view.paused { "paused" } else { "open" };
    let place = if view.durable { "the disk: durable" } else { "memory" };
    let mut text = format!("queue    {}\nstate    {state}\nin       {place}\n", printable(&view.name));
    for (title, count) in
        [("ready", view.ready), ("delayed", view.delayed), ("active", view.active), ("dead", view.dead)]
    {
        text += &format!("{title:<9}{count}\n");
    }
    for (part, jobs) in [(QueuePart::Active, active), (QueuePart::Dead, dead)] {
        if !jobs.is_empty() {
            text += &format!("\n{}\n{}", part.as_str(), table(part, &jobs, context));
        }
    }
    context.output.print(&text)
}

async fn jobs(
    client: &mut Client,
    queue: &str,
    part: QueuePart,
    limit: u32,
) -> Result<Vec<QueueJob>, Failure> {
    let query = QueueJobsQuery { part, limit };
    Ok(client.read(Route::QueueJobs, &encode_targets(&[queue]), &query).await?)
}

async fn peek(queue: &str, part: QueuePart, limit: u32, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let jobs = jobs(&mut client, queue, part, limit).await?;
    if context.output.json {
        return context.output.print_json(&jobs);
    }
    if jobs.is_empty() {
        context.output.say(&format!("no job of {queue} is {}", part.as_str()));
        return Ok(());
    }
    context.output.print(&table(part, &jobs, context))
}

async fn act(queue: &str, act: QueueAct, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    let changed: QueueChanged = client.change(Route::ActOnQueue, &encode_targets(&[queue]), &act).await?;
    if context.output.json {
        return context.output.print_json(&changed);
    }
    let jobs = if changed.jobs == 1 { "1 job".to_owned() } else { format!("{} jobs", changed.jobs) };
    context.output.say(&match act {
        QueueAct::Pause => {
            format!("{queue} is paused: consumers are given nothing until `skep queues resume {queue}`")
        }
        QueueAct::Resume => format!("{queue} goes on"),
        QueueAct::Retry(_) => format!("{jobs} of {queue} put back"),
        QueueAct::Purge(part) => format!("{jobs} of {queue} removed that were {}", part.as_str()),
    });
    Ok(())
}

const COLUMNS: &[Column] = &[
    Column { title: "job", rank: 0, right: true },
    Column { title: "priority", rank: 3, right: true },
    Column { title: "tries", rank: 1, right: true },
    Column { title: "when", rank: 2, right: false },
    Column { title: "worker", rank: 1, right: false },
    Column { title: "data", rank: 0, right: false },
    Column { title: "error", rank: 0, right: false },
];

fn table(part: QueuePart, jobs: &[QueueJob], context: &Context) -> String {
    let rows: Vec<Vec<Cell>> = jobs.iter().map(|job| row(part, job)).collect();
    draw(COLUMNS, &rows, context.output.width, context.output.color)
}

fn row(part: QueuePart, job: &QueueJob) -> Vec<Cell> {
    let at = time(job.at_unix_ms);
    let when = match part {
        QueuePart::Ready => Some(format!("since {at}")),
        QueuePart::Delayed => Some(format!("at {at}")),
        QueuePart::Active => Some(format!("until {at}")),
        QueuePart::Dead => None,
    };
    let error = job.error.as_ref().and_then(|error| error.lines().next()).map(cut);
    vec![
        job.id.as_str().into(),
        Some(job.priority).filter(|priority| *priority > 0).into(),
        format!("{} of {}", job.attempts, u64::from(job.retries) + 1).into(),
        when.into(),
        job.worker.clone().into(),
        cut(&job.data.to_string()).into(),
        error.into(),
    ]
}

fn cut(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(DATA_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
