//! COMMAND: what the table says of itself.

use crate::call::{Call, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::{Done, Fault, text};
use crate::numbers;
use crate::table::{COMMANDS, Command, Flags};

fn words(command: &Command) -> Vec<&'static str> {
    let flags = command.flags;
    let store = flags.has(Flags::STORE);
    let all = [
        ("write", flags.has(Flags::WRITE)),
        ("readonly", store && !flags.has(Flags::WRITE)),
        ("denyoom", flags.has(Flags::WRITE) && !flags.has(Flags::FREES)),
        ("admin", flags.has(Flags::ADMIN)),
        ("pubsub", flags.has(Flags::PUBSUB)),
        ("noscript", flags.has(Flags::NO_SCRIPT)),
        ("blocking", flags.has(Flags::BLOCKING)),
        ("loading", !store),
        ("stale", !store),
        ("no_auth", flags.has(Flags::BEFORE_AUTH)),
        ("movablekeys", command.keys.0 == 0 && keys_are_told(command.name)),
    ];
    all.into_iter().filter(|(_, set)| *set).map(|(word, _)| word).collect()
}

/// Commands whose arguments say how many keys there are, and where that number stands.
fn keys_are_told(name: &str) -> bool {
    count_at(name).is_some() || matches!(name, "xread" | "xreadgroup")
}

fn count_at(name: &str) -> Option<usize> {
    Some(match name {
        "eval" | "eval_ro" | "evalsha" | "evalsha_ro" | "zdiffstore" | "zinterstore" | "zunionstore"
        | "blmpop" | "bzmpop" => 2,
        "lmpop" | "zmpop" | "sintercard" | "zdiff" | "zinter" | "zintercard" | "zunion" => 1,
        _ => return None,
    })
}

fn describe(c: &mut Call<'_, '_>, command: &Command) {
    c.out.array(10);
    c.out.text(command.name);
    c.out.integer(i64::from(command.arity));
    let words = words(command);
    c.out.set(words.len());
    for word in words {
        c.out.status(word);
    }
    c.out.integer(i64::from(command.keys.0));
    c.out.integer(i64::from(command.keys.1));
    c.out.integer(i64::from(command.keys.2));
    c.out.set(0);
    for _ in 0..3 {
        c.out.array(0);
    }
}

fn keys<'a>(command: &Command, args: &[&'a [u8]]) -> Result<Vec<&'a [u8]>, Fault> {
    let none = || text("ERR The command has no key arguments");
    if let Some(at) = count_at(command.name) {
        let count =
            args.get(at).and_then(|word| numbers::integer(word)).and_then(|n| usize::try_from(n).ok());
        let end = count.map(|count| at + 1 + count).filter(|end| *end <= args.len());
        let end = end.ok_or(text("ERR Invalid arguments specified for command"))?;
        let stored = (command.name.ends_with("store")).then(|| args[1]);
        return Ok(stored.into_iter().chain(args[at + 1..end].iter().copied()).collect());
    }
    if matches!(command.name, "xread" | "xreadgroup") {
        let at = args.iter().position(|word| is(word, "streams")).ok_or_else(none)?;
        return Ok(args[at + 1..at + 1 + (args.len() - at - 1) / 2].to_vec());
    }
    let (first, last, step) = command.keys;
    let first = usize::try_from(first).ok().filter(|first| *first > 0).ok_or_else(none)?;
    let last = if last < 0 {
        args.len() - usize::from(last.unsigned_abs())
    } else {
        usize::from(last.unsigned_abs())
    };
    let step = usize::try_from(step).unwrap_or(1).max(1);
    Ok((first..=last.min(args.len() - 1)).step_by(step).map(|at| args[at]).collect())
}

pub(crate) fn command(c: &mut Call<'_, '_>) -> Done {
    let Some(word) = c.args.get(1).copied() else {
        c.out.array(COMMANDS.len());
        for command in COMMANDS {
            describe(c, command);
        }
        return Ok(());
    };
    let named: Vec<&[u8]> = c.args[2..].to_vec();
    if is(word, "count") && named.is_empty() {
        c.out.size(COMMANDS.len() as u64);
    } else if is(word, "info") {
        let found: Vec<Option<&'static Command>> = if named.is_empty() {
            COMMANDS.iter().map(Some).collect()
        } else {
            named.iter().map(|name| c.door.table.find(name)).collect()
        };
        c.out.array(found.len());
        for command in found {
            match command {
                Some(command) => describe(c, command),
                None => c.out.null_array(),
            }
        }
    } else if is(word, "list") {
        c.out.array(COMMANDS.len());
        for command in COMMANDS {
            c.out.text(command.name);
        }
    } else if is(word, "docs") {
        // redis-cli asks for these to give hints; it does without.
        c.out.map(0);
    } else if is(word, "getkeys") && named.len() > 1 {
        let found = c.door.table.find(named[0]).ok_or(text("ERR Invalid command specified"))?;
        if !found.takes(named.len()) {
            return Err(text("ERR Invalid number of arguments specified for command"));
        }
        let keys = keys(found, &named)?;
        c.out.array(keys.len());
        for key in keys {
            c.out.bulk(key);
        }
    } else if is(word, "count") || is(word, "getkeys") {
        return Err(subcommand_arity(c));
    } else {
        return Err(subcommand(c));
    }
    Ok(())
}
