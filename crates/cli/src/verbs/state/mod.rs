//! `state`: what workers share, looked at and changed by hand.

mod args;
mod config;
pub(crate) mod figures;

pub(crate) use args::StateCommand;

use std::path::Path;

use args::{DelArgs, FileArgs, GetArgs, IncrArgs, LsArgs, SetArgs, StateVerb};
use serde_json::Value;
use skep_api::client::{Client, ClientError, Lines};
use skep_api::{
    ChangeState, ErrorCode, Route, StateChange, StateChanged, StateEntry, StateFile, StateKind, StateName,
    StateQuery, StateSeen, StateView,
};

use super::events::RECONNECT_PAUSE;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Context;
use crate::table::{Cell, Column, draw};

/// Carries out one of them.
pub(crate) async fn run(command: StateCommand, context: &Context) -> Result<(), Failure> {
    let mut client = context.connect().await?;
    match command.verb {
        StateVerb::Ls(args) => ls(&args, &mut client, context).await,
        StateVerb::Get(args) => {
            let view = view(&args, &mut client).await?;
            print(&view, args.key.is_some(), &context.output)
        }
        StateVerb::Set(args) => set(args, &mut client, context).await,
        StateVerb::Del(args) => del(args, &mut client, context).await,
        StateVerb::Incr(args) => incr(args, &mut client, context).await,
        StateVerb::Watch(args) => watch(&args, client, context).await,
        StateVerb::Locks => figures::locks(&mut client, context).await,
        StateVerb::Queues => figures::queues(&mut client, context).await,
        StateVerb::Stats => figures::stats(&mut client, context).await,
        StateVerb::Backup(args) => file(Route::BackupState, &args, &mut client, context).await,
        StateVerb::Restore(args) => file(Route::RestoreState, &args, &mut client, context).await,
        StateVerb::Config(args) => config::run(&args, &mut client, context).await,
    }
}

const NAME_COLUMNS: &[Column] = &[
    Column { title: "kind", rank: 0, right: false },
    Column { title: "name", rank: 0, right: false },
    Column { title: "value", rank: 1, right: true },
    Column { title: "entries", rank: 1, right: true },
];

async fn ls(args: &LsArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let mut names: Vec<StateName> = client.read(Route::StateNames, "", &()).await?;
    names.retain(|name| args.kind.is_none_or(|kind| name.kind == kind));
    names.retain(|name| args.part.as_ref().is_none_or(|part| name.name.contains(part.as_str())));
    if context.output.json {
        return context.output.print_json(&names);
    }
    if names.is_empty() {
        context.output.say("there is nothing of that: apps share state by `require('skep')` (docs/state)");
        return Ok(());
    }
    let row = |name: &StateName| {
        let kind = if name.durable { "durable queue" } else { name.kind.as_str() };
        vec![kind.into(), name.name.as_str().into(), name.value.into(), name.entries.into()]
    };
    let rows: Vec<Vec<Cell>> = names.iter().map(row).collect();
    context.output.print(&draw(NAME_COLUMNS, &rows, context.output.width, context.output.color))
}

async fn view(args: &GetArgs, client: &mut Client) -> Result<StateView, Failure> {
    Ok(client.read(Route::ShowState, "", &query(args)).await?)
}

fn query(args: &GetArgs) -> StateQuery {
    StateQuery { name: args.name.clone(), kind: args.kind, key: args.key.clone(), limit: args.limit }
}

const ENTRY_COLUMNS: &[Column] = &[
    Column { title: "key", rank: 0, right: false },
    Column { title: "value", rank: 0, right: false },
    Column { title: "ends", rank: 1, right: false },
];

const KEY_COLUMNS: &[Column] = &[
    Column { title: "key", rank: 0, right: false },
    Column { title: "type", rank: 1, right: false },
    Column { title: "value", rank: 0, right: false },
    Column { title: "ends", rank: 2, right: false },
];

const MEMBER_COLUMNS: &[Column] = &[
    Column { title: "rank", rank: 0, right: true },
    Column { title: "member", rank: 0, right: false },
    Column { title: "score", rank: 0, right: true },
];

/// One value as it stands, for scripts; many as a table.
fn print(view: &StateView, one: bool, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.print_json(view);
    }
    if let Some(value) = view.value {
        return output.print(&format!("{value}\n"));
    }
    if let (true, [entry]) = (one, view.entries.as_slice()) {
        output.print(&format!("{}\n", entry.value))?;
        if let (true, Some(count)) = (view.more, entry.elements) {
            output.say(&format!("it has {count} elements: -n shows more of them"));
        }
        return Ok(());
    }
    let (columns, row): (_, fn(&StateEntry) -> Vec<Cell>) = match view.kind {
        StateKind::Leaderboard => (MEMBER_COLUMNS, |entry| {
            vec![entry.rank.into(), entry.key.as_str().into(), entry.value.to_string().into()]
        }),
        StateKind::Map | StateKind::Counter | StateKind::Queue => (ENTRY_COLUMNS, |entry| {
            let ends = entry.expires_unix_ms.map(figures::time);
            vec![entry.key.as_str().into(), value(entry).into(), ends.into()]
        }),
        StateKind::Database => (KEY_COLUMNS, |entry| {
            let ends = entry.expires_unix_ms.map(figures::time);
            let value = match entry.elements {
                Some(1) => "1 element".to_owned(),
                Some(count) => format!("{count} elements"),
                None => value(entry),
            };
            vec![entry.key.as_str().into(), entry.holds.as_deref().into(), value.into(), ends.into()]
        }),
    };
    let rows: Vec<Vec<Cell>> = view.entries.iter().map(row).collect();
    output.print(&draw(columns, &rows, output.width, output.color))?;
    if view.more {
        output.say("there are more: -n shows more of them");
    }
    Ok(())
}

fn value(entry: &StateEntry) -> String {
    let encoding = entry.encoding.as_ref().map_or_else(String::new, |encoding| format!("{encoding}: "));
    format!("{encoding}{}", entry.value)
}

/// JSON where it is some, text otherwise: `5`, `true`, `{"a":1}`, `hello`.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

async fn change(request: &ChangeState, client: &mut Client) -> Result<StateChanged, Failure> {
    Ok(client.ask(Route::ChangeState, request).await?)
}

fn told(changed: &StateChanged, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.print_json(changed);
    }
    match (&changed.value, changed.removed) {
        (Some(value), _) => output.print(&format!("{value}\n")),
        (None, Some(removed)) => output.print(&format!("{removed}\n")),
        (None, None) => Ok(()),
    }
}

async fn set(args: SetArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let (key, text) = match args.second {
        Some(value) => (Some(args.first), value),
        None => (None, args.first),
    };
    let ttl_ms = args.ttl.map(|ttl| ttl.0);
    if ttl_ms.is_some() && key.is_none() {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            "--ttl: only a key of a map ends",
            "name the key: skep state set NAME KEY VALUE --ttl 30m",
        ));
    }
    let value = json_or_text(&text);
    let change_to = StateChange::Set { key, value, ttl_ms };
    let request = ChangeState { name: args.name, kind: args.kind, change: change_to };
    told(&change(&request, client).await?, &context.output)
}

async fn del(args: DelArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let change_to = StateChange::Delete { keys: args.keys };
    let request = ChangeState { name: args.name, kind: args.kind, change: change_to };
    told(&change(&request, client).await?, &context.output)
}

async fn incr(args: IncrArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let change_to = StateChange::Add { key: args.key, by: args.by };
    let request = ChangeState { name: args.name, kind: args.kind, change: change_to };
    told(&change(&request, client).await?, &context.output)
}

/// A value that is not there yet, or not any more, is waited for. Survives a restart of the daemon.
async fn watch(args: &GetArgs, mut client: Client, context: &Context) -> Result<(), Failure> {
    let mut last = None;
    loop {
        let follow = async |client: &mut Client| client.follow(Route::WatchState, "", &query(args)).await;
        let mut lines: Lines<StateSeen> = context.ask(&mut client, follow).await?;
        loop {
            match lines.next().await {
                Ok(Some(seen)) if last.as_ref() == Some(&seen) => {}
                Ok(Some(seen)) => {
                    match &seen.view {
                        Some(view) => print(view, args.key.is_some(), &context.output)?,
                        None => context.output.say(&format!("{} is not there", args.name)),
                    }
                    last = Some(seen);
                }
                // It cannot be watched any more, or the daemon has gone: asked anew, it says why, or goes on.
                Ok(None) | Err(ClientError::Lost(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
        client = context.connect().await?;
    }
}

async fn file(route: Route, args: &FileArgs, client: &mut Client, context: &Context) -> Result<(), Failure> {
    let path = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let Some(text) = Path::to_str(&path) else {
        return Err(Failure::new(
            ErrorCode::BadRequest,
            format!("FILE: {} is no UTF-8", path.display()),
            "choose another name",
        ));
    };
    let _: Value = client.ask(route, &StateFile { path: text.to_owned() }).await?;
    if context.output.json {
        return context.output.print_json(&StateFile { path: text.to_owned() });
    }
    let done = if route == Route::BackupState { "was written" } else { "is in place" };
    context.output.say(&format!("{text} {done}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_text() {
        assert_eq!(json_or_text("5"), Value::from(5));
        assert_eq!(json_or_text(r#"{"a":[1]}"#), serde_json::json!({"a": [1]}));
        assert_eq!(json_or_text("hello there"), Value::from("hello there"));
        assert_eq!(json_or_text(""), Value::from(""));
    }
}
