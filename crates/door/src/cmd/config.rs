//! CONFIG, and what Redis has for its operators and skep has elsewhere: told as empty.

use crate::call::{Call, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::{Done, SYNTAX, say, text};
use crate::glob;
use crate::notify::Notify;

/// What clients ask for, as it is here. What the store's size and the daemon decide cannot be set by a client.
const FIXED: [(&str, &str); 24] = [
    ("appendonly", "no"),
    ("appendfsync", "everysec"),
    ("bind", ""),
    ("cluster-enabled", "no"),
    ("databases", "16"),
    ("daemonize", "no"),
    ("dir", "/"),
    ("hash-max-listpack-entries", "128"),
    ("hash-max-listpack-value", "64"),
    ("io-threads", "1"),
    ("list-max-listpack-size", "-2"),
    ("lua-time-limit", "4000"),
    ("maxclients", "10000"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("port", "0"),
    ("proto-max-bulk-len", "536870912"),
    ("save", ""),
    ("set-max-intset-entries", "512"),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "0"),
    ("timeout", "0"),
    ("zset-max-listpack-entries", "128"),
    ("zset-max-listpack-value", "64"),
];

/// Settings that only say how Redis lays out or keeps what skep keeps its own way: setting them changes nothing, and a
/// client that does so at its start is not to fail.
const HARMLESS: [&str; 12] = [
    "save",
    "appendonly",
    "appendfsync",
    "timeout",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "list-max-listpack-size",
    "set-max-intset-entries",
    "zset-max-listpack-entries",
    "zset-max-listpack-value",
];

const EVENTS: &str = "notify-keyspace-events";

fn get(c: &mut Call<'_, '_>) -> Done {
    let mut found: Vec<(String, String)> = Vec::new();
    for pattern in &c.args[2..] {
        let pattern = pattern.to_ascii_lowercase();
        let events = (EVENTS, c.door.notify.text.as_str());
        for (name, value) in FIXED.iter().copied().chain([events]) {
            let known = found.iter().any(|(other, _)| other == name);
            if !known && glob::matches(&pattern, name.as_bytes()) {
                let value = c.door.dirty_config.get(name).map_or(value, String::as_str);
                found.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    c.out.map(found.len());
    for (name, value) in found {
        c.out.text(&name);
        c.out.text(&value);
    }
    Ok(())
}

fn set(c: &mut Call<'_, '_>) -> Done {
    for pair in c.args[2..].chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]).to_lowercase();
        let value = String::from_utf8_lossy(pair[1]).into_owned();
        if name == EVENTS {
            c.door.notify = Notify::parse(&value).ok_or_else(|| {
                say(format!("ERR CONFIG SET failed (possibly related to argument '{EVENTS}') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'."))
            })?;
        } else if HARMLESS.contains(&name.as_str()) {
            c.door.dirty_config.insert(name, value);
        } else if FIXED.iter().any(|(known, _)| *known == name) {
            return Err(say(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config: skep decides it"
            )));
        } else {
            return Err(say(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")));
        }
    }
    c.out.ok();
    Ok(())
}

pub(crate) fn config(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    let count = c.args.len();
    if is(word, "get") && count >= 3 {
        get(c)
    } else if is(word, "set") && count >= 4 && count.is_multiple_of(2) {
        set(c)
    } else if is(word, "resetstat") && count == 2 {
        c.door.totals.commands = 0;
        c.out.ok();
        Ok(())
    } else if is(word, "rewrite") && count == 2 {
        Err(text("ERR The server is running without a config file"))
    } else if ["get", "set", "resetstat", "rewrite"].iter().any(|known| is(word, known)) {
        Err(subcommand_arity(c))
    } else {
        Err(subcommand(c))
    }
}

pub(crate) fn debug(c: &mut Call<'_, '_>) -> Done {
    Err(say(format!(
        "ERR DEBUG command not allowed: skep has no DEBUG {}",
        String::from_utf8_lossy(c.args[1]).to_uppercase()
    )))
}

pub(crate) fn slowlog(c: &mut Call<'_, '_>) -> Done {
    match c.args[1] {
        word if is(word, "get") => c.out.array(0),
        word if is(word, "len") => c.out.integer(0),
        word if is(word, "reset") => c.out.ok(),
        _ => return Err(subcommand(c)),
    }
    Ok(())
}

pub(crate) fn latency(c: &mut Call<'_, '_>) -> Done {
    match c.args[1] {
        word if is(word, "latest") || is(word, "history") => c.out.array(0),
        word if is(word, "histogram") => c.out.map(0),
        word if is(word, "reset") => c.out.integer(0),
        word if is(word, "doctor") => {
            c.out.verbatim("Latency is watched by skep: see `skep state stats` for how long writers wait.\n");
        }
        word if is(word, "graph") => return Err(SYNTAX),
        _ => return Err(subcommand(c)),
    }
    Ok(())
}
