//! Talking to the daemon: looks, logs, commands, each on a connection of its own, and again when one is lost.

use std::sync::Arc;
use std::time::Duration;

use skep_api::client::{Client, ClientError, Lines};
use skep_api::{
    Act, AppsQuery, JobView, LogsQuery, Progress, Route, ScaleApp, Trigger, TriggerReply, encode_targets,
};
use skep_api::{Detail, JobAct};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use super::Connect;
use crate::event::{Command, Event, Seen, Verb};

/// Figures change as often as workers are asked for them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A daemon that takes longer than this for a look does not answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A lost connection is made again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// So many lines a log begins with.
const LOG_LINES: u32 = 200;

async fn client(connect: &Connect) -> Result<Client, String> {
    Client::over(connect()?).await.map_err(|error| error.to_string())
}

/// Looks at the fleet again and again.
pub(super) async fn watch(connect: Connect, events: Sender<Event>, look_now: Arc<Notify>) {
    loop {
        let Err(reason) = keep_looking(&connect, &events, &look_now).await else { return };
        if events.send(Event::Lost(reason)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Until the connection is lost; well when nobody wants to know any more.
async fn keep_looking(connect: &Connect, events: &Sender<Event>, look_now: &Notify) -> Result<(), String> {
    let mut client = client(connect).await?;
    loop {
        let seen = match timeout(PATIENCE, look(&mut client)).await {
            Ok(seen) => seen.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("nothing for {} s", PATIENCE.as_secs())),
        };
        if events.send(Event::Seen(Box::new(seen))).await.is_err() {
            return Ok(());
        }
        // A command's end is seen at once.
        let _ = timeout(LOOK_EVERY, look_now.notified()).await;
    }
}

async fn look(client: &mut Client) -> Result<Seen, ClientError> {
    let query = AppsQuery { detail: Detail::Summary, vitals: true };
    let apps = client.apps::<&str>(&[], query).await?;
    let jobs: Vec<JobView> = client.read(Route::ListJobs, "", &()).await?;
    let daemon = client.daemon().await?;
    Ok(Seen { unix_ms: skep_sys::clock::wall_ns() / 1_000_000, apps, jobs, daemon })
}

/// Follows a slot's log until it is aborted.
pub(super) async fn follow(connect: Connect, events: Sender<Event>, slot: u32) {
    loop {
        if let Ok(mut lines) = open_log(&connect, slot).await {
            if events.send(Event::LogBegins(slot)).await.is_err() {
                return;
            }
            // At its end (the daemon went away, or we were too slow) it begins anew.
            while let Ok(Some(line)) = lines.next().await {
                if events.send(Event::Log(slot, line)).await.is_err() {
                    return;
                }
            }
        }
        sleep(AGAIN).await;
    }
}

async fn open_log(connect: &Connect, slot: u32) -> Result<Lines<skep_api::LogLine>, String> {
    let mut client = client(connect).await?;
    let query = LogsQuery { lines: LOG_LINES, follow: true, ..LogsQuery::default() };
    client.logs(&[slot.to_string()], &query).await.map_err(|error| error.to_string())
}

/// Gives a command and waits for its end; what came of it, in words.
pub(super) async fn give(
    connect: &Connect,
    events: &Sender<Event>,
    command: &Command,
) -> Result<String, String> {
    let mut client = client(connect).await?;
    match command {
        Command::Act(verb, target) => {
            let route = match verb {
                Verb::Start => Route::StartApps,
                Verb::Stop => Route::StopApps,
                Verb::Restart => Route::RestartApps,
                Verb::Reload => Route::ReloadApps,
            };
            let lines = client.act(route, &[target], &Act::default()).await.map_err(|error| words(&error))?;
            to_its_end(lines, events).await
        }
        Command::Scale(app, wanted) => {
            let instances =
                wanted.to_string().parse().map_err(|_| format!("{wanted} is no number of workers"))?;
            let request = ScaleApp { instances, wait: true, timeout_ms: None };
            let lines = client.scale(app, &request).await.map_err(|error| words(&error))?;
            to_its_end(lines, events).await
        }
        Command::Trigger { slot, action } => trigger(&mut client, slot, action).await,
        Command::Job(job, act) => {
            let parameter = encode_targets(&[job]);
            let done: Result<JobView, _> = client.change(Route::ActOnJob, &parameter, act).await;
            done.map(|view| format!("{} {}", view.id, past(*act))).map_err(|error| words(&error))
        }
    }
}

fn past(act: JobAct) -> &'static str {
    match act {
        JobAct::Run => "was asked to run",
        JobAct::Pause => "is paused",
        JobAct::Resume => "goes on",
        JobAct::Cancel => "was ended",
    }
}

/// A refusal with its remedy.
fn words(error: &ClientError) -> String {
    match error {
        ClientError::Refused(body) => match &body.hint {
            Some(hint) => format!("{}; {hint}", body.message),
            None => body.message.clone(),
        },
        ClientError::Lost(_) | ClientError::Garbled(_) => error.to_string(),
    }
}

async fn to_its_end(mut lines: Lines<Progress>, events: &Sender<Event>) -> Result<String, String> {
    let mut result = Ok("done".to_owned());
    loop {
        match lines.next().await {
            Ok(Some(Progress::Notice(event))) => {
                // That nobody listens any more is seen when it ends.
                let _ = events.send(Event::Told(event.message)).await;
            }
            Ok(Some(Progress::Done(done))) if result.is_ok() => result = Ok(done.message),
            Ok(Some(Progress::Failed(failed))) => result = Err(failed.error.message),
            Ok(Some(Progress::Done(_) | Progress::Plan(_))) => {}
            Ok(None) => return result,
            Err(error) => return Err(format!("{error}; the command goes on")),
        }
    }
}

async fn trigger(client: &mut Client, slot: &str, action: &str) -> Result<String, String> {
    let asked = Trigger { action: action.to_owned(), params: None };
    let mut lines = client
        .command::<TriggerReply>(Route::TriggerApps, &encode_targets(&[slot]), &asked)
        .await
        .map_err(|error| words(&error))?;
    let mut answers = Vec::new();
    while let Some(reply) = lines.next().await.map_err(|error| words(&error))? {
        if let Some(error) = reply.error {
            return Err(format!("{action}: {error}"));
        }
        answers.push(reply.result.as_str().map_or_else(|| reply.result.to_string(), str::to_owned));
    }
    Ok(format!("{action} answered {}", answers.join(", ")))
}
