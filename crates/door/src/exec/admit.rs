//! Whether and how a command runs.

use crate::client::Client;
use crate::door::Door;
use crate::table::{Command, Flags};

/// What is to be done with a command.
pub(super) enum Admission {
    Refuse(String),
    Queue,
    Run(&'static Command),
}

/// Whether a command may share a transaction with those before it. WATCH needs the version that the commit gives.
pub(super) fn joins(command: &Command) -> bool {
    command.flags.has(Flags::STORE) && !command.flags.has(Flags::NOT_QUEUED)
}

/// A command's name, with its subcommand where it has such.
fn full_name(command: &Command, args: &[&[u8]]) -> String {
    let has_words =
        ["client", "command", "config", "memory", "object", "pubsub", "script", "xgroup", "xinfo"];
    match args.get(1).filter(|_| has_words.contains(&command.name)) {
        Some(word) => format!("{}|{}", command.name, String::from_utf8_lossy(word).to_lowercase()),
        None => command.name.to_owned(),
    }
}

/// Whether and how a command runs, in the order of Redis's `processCommand`.
pub(super) fn admit(door: &Door, client: &Client, args: &[&[u8]]) -> Admission {
    let Some(command) = door.table.find(args[0]) else {
        return Admission::Refuse(unknown(args));
    };
    if !command.takes(args.len()) {
        return Admission::Refuse(format!("ERR wrong number of arguments for '{}' command", command.name));
    }
    if !client.known && !command.flags.has(Flags::BEFORE_AUTH) {
        return Admission::Refuse("NOAUTH Authentication required.".into());
    }
    if client.only_listens() && !client.speaks_resp3 && !command.flags.has(Flags::WHILE_LISTENING) {
        return Admission::Refuse(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            full_name(command, args)
        ));
    }
    if client.queue.is_some() && !command.flags.has(Flags::NOT_QUEUED) {
        return Admission::Queue;
    }
    Admission::Run(command)
}

fn unknown(args: &[&[u8]]) -> String {
    let shown = |bytes: &[u8], most: usize| {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
        text.replace(['\r', '\n'], " ")
    };
    let mut list = String::new();
    for arg in &args[1..] {
        if list.len() >= 128 {
            break;
        }
        list.push_str(&format!("'{}' ", shown(arg, 128 - list.len())));
    }
    format!("ERR unknown command '{}', with args beginning with: {list}", shown(args[0], 128))
}
