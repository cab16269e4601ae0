//! Commands that say something to processes, to their logs or to the daemon.

use super::act::{DELETE, all, carry_out};
use super::say::Trouble;
use super::select::{Selected, select};
use super::{Front, list};
use crate::args::WaitArgs;
use crate::failure::Failure;
use crate::verbs::logs::{Form, Look, Request, TIMESTAMP_DEFAULT};
use crate::verbs::{self, parity};
use skep_api::client::Client;
use skep_api::{Act, ErrorCode, Route, SendSignal, Stream};
use skep_spec::Signal;

/// PM2 shows so many lines.
const LINES_DEFAULT: u32 = 15;

async fn selected(word: &str, client: &mut Client, front: &Front) -> Result<Option<Selected>, Trouble> {
    Ok(select(word, &all(client).await?, &front.cwd()?))
}

/// An operand of a command whose usage (`send <pm_id> <line>`) names them all.
pub(super) fn operand<'a>(front: &'a Front, at: usize, usage: &str) -> Result<&'a str, Trouble> {
    front.line.operand(at).ok_or_else(|| {
        let name = usage.split(['<', '>']).nth(2 * at + 1).unwrap_or(usage);
        Trouble::Plain(format!("\n  error: missing required argument `{name}'\n"))
    })
}

pub(super) async fn reset(front: &Front) -> Result<(), Trouble> {
    let word = operand(front, 0, "reset <name|id|all>")?;
    let mut client = front.context.connect_or_start().await?;
    let Some(found) = selected(word, &mut client, front).await? else {
        if word == "all" {
            return list::show(front).await;
        }
        return Err(Trouble::Plain("Unknown process name".to_owned()));
    };
    let mut lines = client.act::<String>(Route::ResetApps, &found.targets, &Act::default()).await?;
    while lines.next().await?.is_some() {}
    for (id, _) in &found.slots {
        front.say.info(&format!("Resetting meta for process id {id}"));
    }
    list::show(front).await
}

/// All apps are deleted, then the daemon ends; it always succeeds.
pub(super) async fn kill(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_if_running().await?;
    let found = match &mut client {
        Some(client) => selected("all", client, front).await?,
        None => None,
    };
    match (&found, &mut client) {
        (Some(found), Some(client)) => carry_out(&DELETE, found, client, front).await?,
        (None, _) | (_, None) => front.say.warn("No process found"),
    }
    front.say.info("[v] All Applications Stopped");
    if client.is_some() {
        verbs::daemon::stop(&WaitArgs { no_wait: false, timeout: None }, &front.context).await?;
    }
    front.say.info("[v] PM2 Daemon Stopped");
    Ok(())
}

pub(super) async fn signal(front: &Front) -> Result<(), Trouble> {
    let usage = "sendSignal <signal> <pm2_id|name>";
    let (name, word) = (operand(front, 0, usage)?, operand(front, 1, usage)?);
    let signal: Signal = name
        .parse()
        .map_err(|error: skep_spec::SpecError| Trouble::Error(format!("{error}; {}", error.remedy())))?;
    let mut client = front.context.connect_or_start().await?;
    let found = selected(word, &mut client, front).await?;
    let what = if found.as_ref().is_some_and(|found| found.by_id) { "id" } else { "name" };
    front.say.info(&format!("Sending signal to process {what} {word}"));
    let Some(found) = found else {
        return Err(Trouble::Plain("Unknown process name".to_owned()));
    };
    client.signal(&found.targets, &SendSignal { signal }).await?;
    front.say.line(&format!("successfully sent signal {name} to process {what} {word}"));
    list::show(front).await
}

pub(super) async fn send(front: &Front) -> Result<(), Trouble> {
    let (id, text) = (operand(front, 0, "send <pm_id> <line>")?, operand(front, 1, "send <pm_id> <line>")?);
    let mut client = front.context.connect_or_start().await?;
    let Some(found) = selected(id, &mut client, front).await? else {
        return Err(Trouble::Error(format!("Error: Process with ID <{id}> unknown.")));
    };
    match parity::send_text(&found.targets, &format!("{text}\n"), &mut client).await {
        Err(Failure::Error(body)) if body.code == ErrorCode::Conflict => {
            Err(Trouble::Error(format!("Error: Process with ID <{id}> offline.")))
        }
        other => {
            other?;
            list::show(front).await
        }
    }
}

pub(super) async fn attach(front: &Front) -> Result<(), Trouble> {
    let id = operand(front, 0, "attach <pm_id>")?;
    if id.parse::<u32>().is_err() {
        return Err(Trouble::Plain("pm_id must be a process number (not a process name)".to_owned()));
    }
    Ok(parity::attach(id, &front.context).await?)
}

pub(super) async fn trigger(front: &Front) -> Result<(), Trouble> {
    let usage = "trigger <id|proc_name|namespace|all> <action_name> [params]";
    let (word, action) = (operand(front, 0, usage)?, operand(front, 1, usage)?);
    let nobody =
        || Trouble::Plain("Not any process has received a command (offline or unexistent)".to_owned());
    let mut client = front.context.connect_or_start().await?;
    let Some(found) = selected(word, &mut client, front).await? else { return Err(nobody()) };
    let params = front.line.operand(2).map(str::to_owned);
    match parity::call(&found.targets, action, params, &mut client).await {
        Err(Failure::Error(body)) if body.code == ErrorCode::Conflict => Err(nobody()),
        Err(failure) => Err(failure.into()),
        Ok(replies) => {
            let plural = if replies.len() == 1 { "process has" } else { "processes have" };
            front.say.info(&format!("{} {plural} received command {action}", replies.len()));
            for reply in replies {
                if let Some(error) = &reply.error {
                    front.say.warn(&format!("{}:{}: {error}", reply.app, reply.slot));
                    continue;
                }
                front
                    .say
                    .line(&format!("[{}:{}:{}]={}", reply.app, reply.slot, reply.namespace, reply.result));
            }
            Ok(())
        }
    }
}

/// Lines of the past, then those that come, unless `--nostream`.
pub(super) async fn logs(front: &Front) -> Result<(), Trouble> {
    let line = &front.line;
    let mut client = front.context.connect_or_start().await?;
    let lines = match line.value("lines").map(str::parse::<u32>) {
        None => LINES_DEFAULT,
        Some(Ok(lines)) => lines,
        Some(Err(_)) => return Err(Trouble::Error("--lines: write a number".to_owned())),
    };
    let follow = !line.has("nostream");
    let word = line.operand(0).unwrap_or("all");
    let machine = line.has("json") || line.has("format");
    if !machine {
        let plural = if word == "all" { "processes" } else { "process" };
        front.say.line(&format!(
            "[TAILING] Tailing last {lines} lines for [{word}] {plural} (change the value with --lines option)"
        ));
    }
    let Some(found) = selected(word, &mut client, front).await? else {
        // PM2 waits for a process of that name to come; a script that waits for ever helps nobody.
        return Ok(());
    };
    let stream = match (line.has("out"), line.has("err")) {
        (true, false) => Some(Stream::Out),
        (false, true) => Some(Stream::Err),
        _ => None,
    };
    let form = match (line.has("raw"), line.has("json"), line.has("format")) {
        (_, true, _) => Form::Json,
        (_, _, true) => Form::Pairs,
        (true, ..) => Form::Raw,
        _ => Form::Origin,
    };
    let timestamp =
        line.has("timestamp").then(|| line.value("timestamp").unwrap_or(TIMESTAMP_DEFAULT).to_owned());
    let since = line.value("since").map(str::parse).transpose();
    let since = since.map_err(|error: skep_spec::SpecError| Trouble::Error(format!("--since: {error}")))?;
    let highlight = line.value("highlight").map(str::to_owned);
    let look = Look { form, timestamp, highlight, color: front.output().color };
    let targets = found.targets;
    let grep = line.value("grep").map(str::to_owned);
    let request = Request { targets, stream, lines: Some(lines), follow, since, grep, look };
    Ok(verbs::logs::show(request, &front.context).await?)
}

pub(super) async fn flush(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    let word = front.line.operand(0);
    let apps = all(&mut client).await?;
    let found = select(word.unwrap_or("all"), &apps, &front.cwd()?);
    let targets = match (word, &found) {
        // Every app's, and the daemon's own.
        (None, _) => {
            front.say.info(&format!("Flushing {}", front.context.home()?.log().display()));
            Some(vec!["all".to_owned()])
        }
        (Some(_), found) => found.as_ref().map(|found| found.targets.clone()),
    };
    if let Some(targets) = targets {
        client
            .send_json(Route::FlushLogs, &skep_api::encode_targets(&targets), &serde_json::json!({}))
            .await?;
    }
    let is_meant = |id: u32| found.iter().flat_map(|found| &found.slots).any(|(found, _)| *found == id);
    for slot in apps.iter().flat_map(|app| &app.slots).filter(|slot| is_meant(slot.id)) {
        front.say.info("Flushing:");
        for file in slot.out_file.iter().chain(&slot.error_file) {
            front.say.info(file);
        }
    }
    front.say.info("Logs flushed");
    Ok(())
}

pub(super) async fn reload_logs(front: &Front) -> Result<(), Trouble> {
    let mut client = front.context.connect_or_start().await?;
    front.say.line("Reloading all logs...");
    client.send_json(Route::ReopenLogs, "", &serde_json::json!({})).await?;
    front.say.line("All logs reloaded");
    Ok(())
}

pub(super) async fn update(front: &Front) -> Result<(), Trouble> {
    verbs::upgrade::run(None, &front.context).await?;
    front.say.info("skep was updated; no process was restarted");
    list::show(front).await
}
