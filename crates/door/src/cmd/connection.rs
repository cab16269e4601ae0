//! Greeting, choosing a database, leaving.

use crate::call::{Call, is};
use crate::client::Answers;
use crate::cmd::generic::database;
use crate::fault::{Done, Fault, SYNTAX, arity, say, text};
use crate::numbers;
use crate::pubsub::Subject;

/// The version of Redis that the door takes as its model; clients choose by it what they dare to ask for.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

pub(crate) fn ping(c: &mut Call<'_, '_>) -> Done {
    if c.args.len() > 2 {
        return Err(arity("ping"));
    }
    let text = c.args.get(1).copied();
    if c.client.only_listens() && !c.out.resp3 {
        c.out.array(2);
        c.out.text("pong");
        c.out.bulk(text.unwrap_or_default());
        return Ok(());
    }
    match text {
        Some(text) => c.out.bulk(text),
        None => c.out.status("PONG"),
    }
    Ok(())
}

pub(crate) fn echo(c: &mut Call<'_, '_>) -> Done {
    c.out.bulk(c.args[1]);
    Ok(())
}

pub(crate) fn select(c: &mut Call<'_, '_>) -> Done {
    c.client.database = database(c.args[1])?;
    c.out.ok();
    Ok(())
}

/// Compares all bytes whatever they are, so that time tells nothing of the password.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && differing == 0
}

fn check(c: &mut Call<'_, '_>, user: &[u8], password: &[u8]) -> Done {
    let right = match &c.door.password {
        Some(wanted) => same(wanted.as_bytes(), password),
        None => true,
    };
    if user != b"default" || !right {
        return Err(text("WRONGPASS invalid username-password pair or user is disabled."));
    }
    c.client.known = true;
    Ok(())
}

pub(crate) fn auth(c: &mut Call<'_, '_>) -> Done {
    match c.args {
        [_, _] if c.door.password.is_none() => Err(text(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        )),
        [_, password] => {
            check(c, b"default", password)?;
            c.out.ok();
            Ok(())
        }
        [_, user, password] => {
            check(c, user, password)?;
            c.out.ok();
            Ok(())
        }
        _ => Err(SYNTAX),
    }
}

pub(crate) fn hello(c: &mut Call<'_, '_>) -> Done {
    let mut resp3 = c.out.resp3;
    let mut name = None;
    if let Some(version) = c.args.get(1) {
        let version = numbers::integer(version)
            .ok_or(text("ERR Protocol version is not an integer or out of range"))?;
        resp3 = match version {
            2 => false,
            3 => true,
            _ => return Err(text("NOPROTO unsupported protocol version")),
        };
    }
    let mut rest = c.args.get(2..).unwrap_or_default();
    loop {
        rest = match rest {
            [] => break,
            [word, user, password, more @ ..] if is(word, "auth") => {
                check(c, user, password)?;
                more
            }
            [word, given, more @ ..] if is(word, "setname") => {
                name = Some(crate::cmd::clients::valid_name(given)?.to_vec());
                more
            }
            [word, ..] => {
                return Err(say(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    String::from_utf8_lossy(word)
                )));
            }
        };
    }
    if !c.client.known {
        return Err(text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        c.client.name = name;
    }
    c.out.resp3 = resp3;
    c.client.speaks_resp3 = resp3;
    c.out.map(7);
    c.out.text("server");
    c.out.text("redis");
    c.out.text("version");
    c.out.text(REDIS_VERSION);
    c.out.text("proto");
    c.out.integer(if resp3 { 3 } else { 2 });
    c.out.text("id");
    c.out.size(c.client.id);
    c.out.text("mode");
    c.out.text("standalone");
    c.out.text("role");
    c.out.text("master");
    c.out.text("modules");
    c.out.array(0);
    Ok(())
}

pub(crate) fn quit(c: &mut Call<'_, '_>) -> Done {
    c.client.leaving = true;
    c.out.ok();
    Ok(())
}

pub(crate) fn reset(c: &mut Call<'_, '_>) -> Done {
    let slot = c.client.slot;
    for (subject, names) in [
        (Subject::Channel, std::mem::take(&mut c.client.channels)),
        (Subject::Pattern, std::mem::take(&mut c.client.patterns)),
        (Subject::Shard, std::mem::take(&mut c.client.shards)),
    ] {
        for name in names {
            c.door.pubsub.leave(subject, &name, slot);
        }
    }
    c.client.queue = None;
    c.client.watched.clear();
    c.client.database = 0;
    c.client.name.clear();
    c.client.answers = Answers::On;
    c.client.speaks_resp3 = false;
    c.client.known = c.door.password.is_none() || c.client.address == "unix";
    c.out.resp3 = false;
    c.out.status("RESET");
    Ok(())
}

/// What is said of a word that a command with subcommands does not know, or of a wrong number of arguments.
pub(crate) fn subcommand(c: &Call<'_, '_>) -> Fault {
    let name = String::from_utf8_lossy(c.args[0]).to_uppercase();
    let word = String::from_utf8_lossy(c.args[1]);
    say(format!("ERR unknown subcommand '{word}'. Try {name} HELP."))
}

/// The same for a known subcommand with a wrong number of arguments.
pub(crate) fn subcommand_arity(c: &Call<'_, '_>) -> Fault {
    let name = String::from_utf8_lossy(c.args[0]).to_lowercase();
    let word = String::from_utf8_lossy(c.args[1]).to_lowercase();
    arity(&format!("{name}|{word}"))
}
