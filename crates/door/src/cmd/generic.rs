//! Keys, whatever they hold.

use skep_state::{Kind, Space, keys};

use crate::call::{Call, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::fault::{Done, Fault, NO_SUCH_KEY, NOT_AN_INTEGER, SYNTAX, say, text};
use crate::limits::{CLEAR_KEYS, DATABASES};
use crate::notify::GENERIC;
use crate::numbers;

pub(crate) fn del(c: &mut Call<'_, '_>) -> Done {
    let mut count = 0;
    for key in &c.args[1..] {
        if keys::delete(c.access.tx(), c.space, key)? {
            count += 1;
            c.event(GENERIC, "del", key);
        }
    }
    c.out.integer(count);
    Ok(())
}

pub(crate) fn exists(c: &mut Call<'_, '_>) -> Done {
    let mut count = 0;
    for key in &c.args[1..] {
        count += i64::from(keys::info(&c.access.view(), c.space, key)?.is_some());
    }
    c.out.integer(count);
    Ok(())
}

pub(crate) fn kind(c: &mut Call<'_, '_>) -> Done {
    let info = keys::info(&c.access.view(), c.space, c.args[1])?;
    c.out.status(info.map_or("none", |info| info.kind.name()));
    Ok(())
}

fn signal(c: &mut Call<'_, '_>, space: Space, key: &[u8]) {
    c.door.ready(space, key);
}

pub(crate) fn rename(c: &mut Call<'_, '_>) -> Done {
    let (from, to) = (c.args[1], c.args[2]);
    if !keys::rename(c.access.tx(), (c.space, from), (c.space, to))? {
        return Err(NO_SUCH_KEY);
    }
    c.event(GENERIC, "rename_from", from);
    c.event(GENERIC, "rename_to", to);
    signal(c, c.space, to);
    c.out.ok();
    Ok(())
}

pub(crate) fn renamenx(c: &mut Call<'_, '_>) -> Done {
    let (from, to) = (c.args[1], c.args[2]);
    if keys::info(&c.access.view(), c.space, from)?.is_none() {
        return Err(NO_SUCH_KEY);
    }
    let free = keys::info(&c.access.view(), c.space, to)?.is_none();
    if free {
        keys::rename(c.access.tx(), (c.space, from), (c.space, to))?;
        c.event(GENERIC, "rename_from", from);
        c.event(GENERIC, "rename_to", to);
        signal(c, c.space, to);
    }
    c.out.flag(free);
    Ok(())
}

/// A database's number.
pub(crate) fn database(bytes: &[u8]) -> Result<u16, Fault> {
    let number = numbers::integer(bytes).ok_or(NOT_AN_INTEGER)?;
    let number = u16::try_from(number).ok().filter(|number| *number < DATABASES);
    number.ok_or(text("ERR DB index is out of range"))
}

pub(crate) fn mv(c: &mut Call<'_, '_>) -> Done {
    let to = match database(c.args[2]) {
        Err(Fault::Text(told)) if told.starts_with("ERR value") => return Err(Fault::Text(told)),
        other => Space::database(other?),
    };
    if to == c.space {
        return Err(text("ERR source and destination objects are the same"));
    }
    let key = c.args[1];
    let view = c.access.view();
    let goes = keys::info(&view, c.space, key)?.is_some() && keys::info(&view, to, key)?.is_none();
    if goes {
        keys::rename(c.access.tx(), (c.space, key), (to, key))?;
        signal(c, to, key);
        c.event(GENERIC, "move_from", key);
    }
    c.out.flag(goes);
    Ok(())
}

pub(crate) fn copy(c: &mut Call<'_, '_>) -> Done {
    let (mut to, mut replace) = (c.space, false);
    let mut options = c.args[3..].iter();
    while let Some(option) = options.next() {
        if is(option, "replace") {
            replace = true;
        } else if is(option, "db") {
            to = Space::database(database(options.next().ok_or(SYNTAX)?)?);
        } else {
            return Err(SYNTAX);
        }
    }
    let (key, new) = (c.args[1], c.args[2]);
    if (c.space, key) == (to, new) {
        return Err(text("ERR source and destination objects are the same"));
    }
    let free = replace || keys::info(&c.access.view(), to, new)?.is_none();
    let done = free && keys::copy(c.access.tx(), (c.space, key), (to, new))?;
    if done {
        signal(c, to, new);
        c.event(GENERIC, "copy_to", new);
    }
    c.out.flag(done);
    Ok(())
}

pub(crate) fn randomkey(c: &mut Call<'_, '_>) -> Done {
    let chance = c.door.chance();
    let key = keys::sample(&c.access.view(), c.space, chance)?;
    c.out.maybe(key.as_deref());
    Ok(())
}

pub(crate) fn dbsize(c: &mut Call<'_, '_>) -> Done {
    c.out.size(keys::count(&c.access.view(), c.space)?);
    Ok(())
}

fn flush(c: &mut Call<'_, '_>, spaces: impl Iterator<Item = u16>) -> Done {
    match &c.args[1..] {
        [] => {}
        [word] if is(word, "sync") || is(word, "async") => {}
        _ => return Err(SYNTAX),
    }
    for space in spaces {
        while keys::clear(c.access.tx(), Space::database(space), CLEAR_KEYS)? == CLEAR_KEYS {}
    }
    c.out.ok();
    Ok(())
}

pub(crate) fn flushdb(c: &mut Call<'_, '_>) -> Done {
    let own = u16::try_from(c.space.number()).unwrap_or(0);
    flush(c, std::iter::once(own))
}

pub(crate) fn flushall(c: &mut Call<'_, '_>) -> Done {
    flush(c, 0..DATABASES)
}

pub(crate) fn swapdb(c: &mut Call<'_, '_>) -> Done {
    let number = |bytes: &[u8], which: &str| match numbers::integer(bytes) {
        None => Err(say(format!("ERR invalid {which} DB index"))),
        Some(_) => database(bytes),
    };
    let (a, b) = (number(c.args[1], "first")?, number(c.args[2], "second")?);
    if a != b {
        let spare = Space::database(DATABASES);
        for (from, to) in [
            (Space::database(a), spare),
            (Space::database(b), Space::database(a)),
            (spare, Space::database(b)),
        ] {
            move_all(c, from, to)?;
        }
    }
    c.out.ok();
    Ok(())
}

fn move_all(c: &mut Call<'_, '_>, from: Space, to: Space) -> Done {
    loop {
        let page = keys::scan(&c.access.view(), from, &[], CLEAR_KEYS)?;
        if page.keys.is_empty() {
            // What is left has expired.
            while keys::clear(c.access.tx(), from, CLEAR_KEYS)? == CLEAR_KEYS {}
            return Ok(());
        }
        for (key, _) in page.keys {
            keys::rename(c.access.tx(), (from, &key), (to, &key))?;
            signal(c, to, &key);
        }
    }
}

/// What OBJECT ENCODING says: what Redis would, by the same default thresholds.
fn encoding(c: &Call<'_, '_>, key: &[u8], kind: Kind) -> Result<&'static str, Fault> {
    use skep_state::{hashes, sets, strings, zsets};
    const SMALL: u64 = 128;
    const SHORT: usize = 64;
    let view = c.access.view();
    Ok(match kind {
        Kind::String => {
            let value = strings::get(&view, c.space, key)?.unwrap_or_default();
            match value.len() {
                0..=20 if numbers::integer(value).is_some() => "int",
                0..=44 => "embstr",
                _ => "raw",
            }
        }
        Kind::Hash => {
            let mut short = hashes::len(&view, c.space, key)? <= SMALL;
            if short {
                hashes::each(&view, c.space, key, |field, value| {
                    short &= field.len() <= SHORT && value.len() <= SHORT;
                    Ok(())
                })?;
            }
            if short { "listpack" } else { "hashtable" }
        }
        // 7.0 has one encoding for lists; 7.2 names short ones otherwise.
        Kind::List => "quicklist",
        Kind::Set => {
            let (mut all_numbers, mut count) = (true, 0u64);
            sets::each(&view, c.space, key, |member| {
                count += 1;
                all_numbers &= numbers::integer(member).is_some();
                Ok(())
            })?;
            if all_numbers && count <= 512 { "intset" } else { "hashtable" }
        }
        Kind::SortedSet => {
            let mut short = zsets::len(&view, c.space, key)? <= SMALL;
            if short {
                let all = zsets::page(&view, c.space, key, &[], usize::MAX)?;
                short = all.iter().all(|scored| scored.member.len() <= SHORT);
            }
            if short { "listpack" } else { "skiplist" }
        }
        Kind::Stream => "stream",
    })
}

pub(crate) fn object(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[1];
    if is(word, "help") && c.args.len() == 2 {
        let lines = [
            "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
            "HELP",
            "    Prints this help.",
        ];
        c.out.array(lines.len());
        for line in lines {
            c.out.status(line);
        }
        return Ok(());
    }
    if c.args.len() != 3 {
        let known = ["encoding", "refcount", "idletime", "freq"].iter().any(|known| is(word, known));
        return Err(if known { subcommand_arity(c) } else { subcommand(c) });
    }
    let key = c.args[2];
    let info = keys::info(&c.access.view(), c.space, key)?;
    let Some(info) = info else {
        c.out.null();
        return Ok(());
    };
    if is(word, "encoding") {
        let encoding = encoding(c, key, info.kind)?;
        c.out.text(encoding);
    } else if is(word, "refcount") {
        c.out.integer(1);
    } else if is(word, "idletime") {
        c.out.integer(0);
    } else if is(word, "freq") {
        return Err(text(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    } else {
        return Err(subcommand(c));
    }
    Ok(())
}
