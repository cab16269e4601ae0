//! CLIENT.

use std::fmt::Write;

use crate::call::{Call, is};
use crate::client::{Answers, Client, Nothing};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::{Done, Fault, NOT_AN_INTEGER, SYNTAX, say, text};
use crate::numbers;

/// A name that fits into a line of CLIENT LIST.
pub(crate) fn valid_name(name: &[u8]) -> Result<&[u8], Fault> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name);
    }
    Err(text("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// The line of one client.
fn line(client: &Client, now_ms: u64, resp3: bool) -> String {
    let mut flags = String::new();
    flags.extend(client.only_listens().then_some('P'));
    flags.extend(client.queue.is_some().then_some('x'));
    flags.extend(client.blocked.is_some().then_some('b'));
    if flags.is_empty() {
        flags.push('N');
    }
    let mut line = format!(
        "id={} addr={} laddr=",
        client.id,
        if client.address == "unix" { "redis.sock:0" } else { &client.address }
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let _ = write!(
        line,
        "{} fd=-1 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} qbuf=0 qbuf-free=0 argv-mem=0 \
         multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        if client.address == "unix" { "redis.sock:0" } else { "" },
        text(&client.name),
        now_ms.saturating_sub(client.since_ms) / 1000,
        now_ms.saturating_sub(client.used_ms) / 1000,
        client.database,
        client.channels.len(),
        client.patterns.len(),
        client.shards.len(),
        client.queue.as_ref().map_or(-1, |queue| i64::try_from(queue.commands.len()).unwrap_or(0)),
        if client.last_command.is_empty() { "NULL" } else { client.last_command },
        if resp3 { 3 } else { 2 },
        text(&client.library.0),
        text(&client.library.1),
    );
    line
}

fn list(c: &mut Call<'_, '_>) -> Done {
    let ids: Option<Vec<i64>> = match &c.args[2..] {
        [] => None,
        [word, kind] if is(word, "type") => {
            let known = ["normal", "master", "replica", "slave", "pubsub"].iter().any(|word| is(kind, word));
            if !known {
                return Err(say(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind))));
            }
            None
        }
        [word, ids @ ..] if is(word, "id") && !ids.is_empty() => Some(
            ids.iter()
                .map(|id| numbers::integer(id))
                .collect::<Option<_>>()
                .ok_or(text("ERR Invalid client ID"))?,
        ),
        _ => return Err(SYNTAX),
    };
    let now = c.now_ms();
    let mut lines = vec![(c.client.id, line(c.client, now, c.out.resp3))];
    let others = c.door.row.iter().flatten();
    lines.extend(others.map(|other| (other.client.id, line(&other.client, now, other.client.speaks_resp3))));
    lines.sort();
    let wanted =
        |id: u64| ids.as_ref().is_none_or(|ids| ids.iter().any(|wanted| wanted.unsigned_abs() == id));
    let text: String = lines.into_iter().filter(|(id, _)| wanted(*id)).map(|(_, line)| line + "\n").collect();
    c.out.verbatim(&text);
    Ok(())
}

/// Ends connections; how many.
fn kill(c: &mut Call<'_, '_>) -> Done {
    let (mut id, mut address, mut skip_me) = (None, None, true);
    let old_form = c.args.len() == 3;
    if old_form {
        address = Some(c.args[2].to_vec());
        skip_me = false;
    } else if c.args.len().is_multiple_of(2) && c.args.len() > 2 {
        for option in c.args[2..].chunks_exact(2) {
            match option[0] {
                word if is(word, "id") => {
                    let number = numbers::integer(option[1]).filter(|id| *id > 0);
                    id = Some(number.ok_or(text("ERR client-id should be greater than 0"))?.unsigned_abs());
                }
                word if is(word, "addr") => address = Some(option[1].to_vec()),
                word if is(word, "skipme") => skip_me = is(option[1], "yes"),
                word if is(word, "type") || is(word, "laddr") || is(word, "user") => {}
                _ => return Err(SYNTAX),
            }
        }
    } else {
        return Err(SYNTAX);
    }
    let matches = |client: &Client| {
        id.is_none_or(|id| client.id == id)
            && address.as_ref().is_none_or(|address| client.address.as_bytes() == address)
    };
    let mut killed = 0;
    if !skip_me && matches(c.client) {
        c.client.leaving = true;
        killed += 1;
    }
    for other in c.door.row.iter_mut().flatten().filter(|other| matches(&other.client)) {
        other.client.leaving = true;
        c.door.touched.push(other.client.slot);
        killed += 1;
    }
    if old_form {
        if killed == 0 {
            return Err(text("ERR No such client"));
        }
        c.out.ok();
    } else {
        c.out.integer(killed);
    }
    Ok(())
}

/// Ends another client's waiting.
fn unblock(c: &mut Call<'_, '_>) -> Done {
    let id = numbers::integer(c.args[2]).ok_or(NOT_AN_INTEGER)?.unsigned_abs();
    let as_error = match c.args.get(3) {
        None => false,
        Some(word) if is(word, "timeout") => false,
        Some(word) if is(word, "error") => true,
        Some(_) => return Err(text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let found =
        c.door.row.iter().flatten().find(|other| other.client.id == id && other.client.blocked.is_some());
    let slot = found.map(|other| other.client.slot);
    if let Some(slot) = slot
        && let Some(other) = c.door.row[slot].as_mut()
        && let Some(blocked) = other.client.blocked.take()
    {
        match (as_error, blocked.nothing) {
            (true, _) => other.reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            (false, Nothing::Null) => other.reply.null(),
            (false, Nothing::NullArray) => other.reply.null_array(),
        }
        c.door.wait_no_more(slot, &blocked);
        c.door.touched.push(slot);
        c.door.go_on.push(slot);
    }
    c.out.flag(slot.is_some());
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, Fault> {
    match word {
        word if is(word, "on") => Ok(true),
        word if is(word, "off") => Ok(false),
        _ => Err(SYNTAX),
    }
}

pub(crate) fn client(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    let count = c.args.len();
    let word = String::from_utf8_lossy(word).to_lowercase();
    match (word.as_str(), count) {
        ("id", 2) => c.out.size(c.client.id),
        ("getname", 2) if c.client.name.is_empty() => c.out.null(),
        ("getname", 2) => c.out.bulk(&c.client.name),
        ("setname", 3) => {
            c.client.name = valid_name(c.args[2])?.to_vec();
            c.out.ok();
        }
        ("setinfo", 4) => {
            let value = valid_name(c.args[3])?.to_vec();
            match c.args[2] {
                word if is(word, "lib-name") => c.client.library.0 = value,
                word if is(word, "lib-ver") => c.client.library.1 = value,
                word => {
                    return Err(say(format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(word))));
                }
            }
            c.out.ok();
        }
        ("info", 2) => {
            let text = line(c.client, c.now_ms(), c.out.resp3) + "\n";
            c.out.verbatim(&text);
        }
        ("list", _) => return list(c),
        ("kill", 3..) => return kill(c),
        ("unblock", 3 | 4) => return unblock(c),
        ("reply", 3) => {
            c.client.answers = match c.args[2] {
                word if is(word, "on") => Answers::On,
                word if is(word, "off") => Answers::Off,
                word if is(word, "skip") => Answers::SkipNext,
                _ => return Err(SYNTAX),
            };
            c.out.ok();
        }
        ("no-evict", 3) => {
            c.client.no_evict = on_or_off(c.args[2])?;
            c.out.ok();
        }
        ("no-touch", 3) => {
            c.client.no_touch = on_or_off(c.args[2])?;
            c.out.ok();
        }
        ("getredir", 2) => c.out.integer(-1),
        ("tracking", 3..) if on_or_off(c.args[2])? => {
            return Err(text(
                "ERR client tracking is not supported by skep: read from the store, it is as near",
            ));
        }
        ("tracking", 3..) | ("unpause", 2) => c.out.ok(),
        ("pause", 3 | 4) => return Err(text("ERR CLIENT PAUSE is not supported by skep")),
        (
            "id" | "getname" | "setname" | "setinfo" | "info" | "kill" | "unblock" | "reply" | "no-evict"
            | "no-touch" | "getredir" | "tracking" | "unpause" | "pause",
            _,
        ) => return Err(subcommand_arity(c)),
        _ => return Err(subcommand(c)),
    }
    Ok(())
}
