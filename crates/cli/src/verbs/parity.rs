//! Verbs that PM2's users know, under skep's own name.

use crate::failure::Failure;
use crate::parity_args::{LinkCommand, ParityVerb};
use crate::session::Context;
use crate::verbs::inspect::inspect;
use crate::verbs::logs::{Form, Look, Request};
use crate::verbs::{dump, settings};
use serde_json::Value;
use skep_api::client::Client;
use skep_api::{ErrorCode, Route, SendText, Trigger, TriggerReply, encode_targets};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What `attach` reads at once: as much as a pipe takes whole (PIPE_BUF, pipe(7)).
const INPUT_BYTES: usize = 4096;

/// Verbs that need no daemon.
pub(crate) fn alone(verb: ParityVerb, context: &Context) -> Result<(), Failure> {
    match verb {
        ParityVerb::Pm2Link(args) => link(&args, context),
        ParityVerb::Get(args) => settings::get(args.key.as_deref(), context),
        _ => unreachable!("is_local names these two"),
    }
}

/// The others.
pub(crate) async fn run(verb: ParityVerb, context: &Context) -> Result<(), Failure> {
    match verb {
        ParityVerb::Jlist => {
            let all = processes(context).await?;
            context.output.print(&format!("{}\n", Value::Array(all)))
        }
        ParityVerb::Prettylist => {
            let all = processes(context).await?;
            context.output.print(&format!("{}\n", inspect(&Value::Array(all))))
        }
        ParityVerb::Trigger(args) => {
            let mut client = context.connect().await?;
            let replies = call(&[args.target], &args.action, args.param, &mut client).await?;
            tell_replies(&replies, context)
        }
        ParityVerb::Send(args) => {
            let mut client = context.connect().await?;
            send_text(&[args.target], &format!("{}\n", args.line), &mut client).await
        }
        ParityVerb::Attach(args) => attach(&args.app, context).await,
        ParityVerb::Flush(args) => {
            let targets = if args.targets.is_empty() { vec!["all".to_owned()] } else { args.targets };
            let mut client = context.connect().await?;
            client.send_json(Route::FlushLogs, &encode_targets(&targets), &serde_json::json!({})).await?;
            context.output.say("the log files are empty; older, rotated ones stay");
            Ok(())
        }
        ParityVerb::ReloadLogs => {
            context.connect().await?.send_json(Route::ReopenLogs, "", &serde_json::json!({})).await?;
            context.output.say("all log files were opened anew");
            Ok(())
        }
        ParityVerb::Set(args) => settings::set(&args.key, &args.value, context).await,
        ParityVerb::Unset(args) => settings::unset(args.key.as_deref().unwrap_or("all"), context).await,
        ParityVerb::Dump => {
            let path = dump::write(context).await?;
            context.output.say(&format!("written to {}", path.display()));
            Ok(())
        }
        ParityVerb::ResurrectDump(args) => dump::start(args.file, |_| None, context).await.map(drop),
        ParityVerb::Pm2Link(_) | ParityVerb::Get(_) => unreachable!("`alone` has carried these out"),
    }
}

async fn processes(context: &Context) -> Result<Vec<Value>, Failure> {
    match context.connect_if_running().await? {
        Some(mut client) => Ok(client.read(Route::Pm2Processes, "", &()).await?),
        None => Ok(Vec::new()),
    }
}

/// Calls an action and collects the answers.
pub(crate) async fn call(
    targets: &[String],
    action: &str,
    params: Option<String>,
    client: &mut Client,
) -> Result<Vec<TriggerReply>, Failure> {
    let asked = Trigger { action: action.to_owned(), params: params.map(Value::String) };
    let mut lines =
        client.command::<TriggerReply>(Route::TriggerApps, &encode_targets(targets), &asked).await?;
    let mut replies = Vec::new();
    while let Some(reply) = lines.next().await? {
        replies.push(reply);
    }
    Ok(replies)
}

fn tell_replies(replies: &[TriggerReply], context: &Context) -> Result<(), Failure> {
    let mut failed = false;
    for reply in replies {
        failed |= reply.error.is_some();
        if context.output.json {
            context.output.print_json(reply)?;
            continue;
        }
        let answer = reply.error.clone().unwrap_or_else(|| inspect(&reply.result));
        context.output.print(&format!("{}:{} {answer}\n", reply.app, reply.slot))?;
    }
    if failed { Err(Failure::Told(crate::failure::exit::FAILURE)) } else { Ok(()) }
}

/// Writes to standard input.
pub(crate) async fn send_text(targets: &[String], text: &str, client: &mut Client) -> Result<(), Failure> {
    let text = text.to_owned();
    Ok(client.send_json(Route::WriteStdin, &encode_targets(targets), &SendText { text }).await?)
}

/// Our standard input goes to the worker, its output comes to ours, until either ends.
pub(crate) async fn attach(app: &str, context: &Context) -> Result<(), Failure> {
    let targets = vec![app.to_owned()];
    let look = Look { form: Form::Raw, ..Look::default() };
    let request = Request {
        targets: targets.clone(),
        stream: None,
        lines: Some(0),
        follow: true,
        since: None,
        grep: None,
        look,
    };
    let shown = crate::verbs::logs::show(request, context);
    tokio::select! {
        result = shown => result,
        result = relay_input(&targets, context) => result,
    }
}

async fn relay_input(targets: &[String], context: &Context) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            ErrorCode::BadRequest,
            format!("standard input cannot be read: {error}"),
            "give it a pipe or a terminal",
        )
    };
    let mut client = context.connect().await?;
    let (sender, mut pieces) = tokio::sync::mpsc::unbounded_channel();
    // A thread, since a file cannot be waited for. It ends with the process, or with the input.
    std::thread::spawn(move || {
        let mut bytes = vec![0; INPUT_BYTES];
        loop {
            let piece = rustix::io::read(rustix::stdio::stdin(), &mut bytes).map(|got| bytes[..got].to_vec());
            let ends = piece.as_ref().map_or(true, Vec::is_empty);
            if sender.send(piece).is_err() || ends {
                return;
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(|errno| unreadable(errno.into()))?;
        if piece.is_empty() {
            break;
        }
        send_text(targets, &String::from_utf8_lossy(&piece), &mut client).await?;
    }
    Ok(())
}

/// `pm2-runtime` beside it, for containers; what is there already stays.
fn link_runtime(skep: &Path, directory: &Path, context: &Context) {
    let path = directory.join("pm2-runtime");
    match std::os::unix::fs::symlink(skep, &path) {
        Ok(()) => context.output.say(&format!("{} too: it is `skep run`", path.display())),
        Err(error) => context.output.say(&format!("{} stays as it is: {error}", path.display())),
    }
}

/// `skep pm2-link DIR`.
fn link(args: &LinkCommand, context: &Context) -> Result<(), Failure> {
    let failed = |what: String| {
        Failure::new(ErrorCode::BadRequest, what, "name a directory of your PATH that you may write to")
    };
    let skep = std::env::current_exe()
        .map_err(|error| failed(format!("skep does not know its own file: {error}")))?;
    let path = args.directory.join("pm2");
    if let Ok(found) = std::fs::symlink_metadata(&path) {
        let ours = std::fs::canonicalize(&path).ok() == std::fs::canonicalize(&skep).ok();
        if ours {
            context.output.say(&format!("{} is skep already", path.display()));
            return Ok(());
        }
        let what = if found.is_symlink() { "a link to something else" } else { "a file" };
        return Err(Failure::new(
            ErrorCode::Conflict,
            format!("{} is {what}", path.display()),
            "`npm rm -g pm2` or remove it first",
        ));
    }
    std::os::unix::fs::symlink(&skep, &path)
        .map_err(|error| failed(format!("{} cannot be made: {error}", path.display())))?;
    context.output.say(&format!("{} is skep now: `pm2 list` shows what `skep list` does", path.display()));
    link_runtime(&skep, &args.directory, context);
    let first = std::env::var_os("PATH")
        .and_then(|all| std::env::split_paths(&all).map(|dir| dir.join("pm2")).find(|file| file.exists()));
    if first.is_none_or(|first| {
        first.as_os_str().as_bytes()
            != std::path::absolute(&path).unwrap_or(path.clone()).as_os_str().as_bytes()
    }) {
        context.output.say("it is not the first `pm2` in your PATH");
    }
    Ok(())
}
