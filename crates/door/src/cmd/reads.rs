//! Streams: XREAD and XREADGROUP.

use skep_state::streams::{self, Entry, Id};

use crate::call::{Call, integer, is};
use crate::client::Nothing;
use crate::cmd::pops::block;
use crate::cmd::streams::{id, write_entry, write_id};
use crate::fault::{Done, Fault, SYNTAX, say, text};
use crate::resp::Reply;

/// Entries, each with its number; deleted ones without contents.
pub(crate) type Found = Vec<(Id, Option<Entry>)>;

/// What XREAD and XREADGROUP are asked.
#[derive(Debug, Default)]
pub(crate) struct Reading<'a> {
    /// Group and consumer.
    pub(crate) group: Option<(&'a [u8], &'a [u8])>,
    pub(crate) count: Option<usize>,
    block_ms: Option<u64>,
    pub(crate) no_ack: bool,
    /// Keys, and from where each is read.
    pub(crate) streams: Vec<(&'a [u8], &'a [u8])>,
    /// Where the first number stands.
    ids_at: usize,
}

fn reading<'a>(args: &[&'a [u8]], name: &str) -> Result<Reading<'a>, Fault> {
    let mut reading = Reading::default();
    let mut at = 1;
    loop {
        let word = args.get(at).copied().ok_or(SYNTAX)?;
        let next = args.get(at + 1).copied();
        if is(word, "streams") {
            break;
        } else if let (true, Some(next)) = (is(word, "count"), next) {
            let count = integer(next)?;
            reading.count = usize::try_from(count).ok().filter(|count| *count > 0);
            at += 2;
        } else if let (true, Some(next)) = (is(word, "block"), next) {
            let ms =
                crate::numbers::integer(next).ok_or(text("ERR timeout is not an integer or out of range"))?;
            reading.block_ms = Some(u64::try_from(ms).map_err(|_| text("ERR timeout is negative"))?);
            at += 2;
        } else if name == "xreadgroup" && is(word, "group") && at + 2 < args.len() {
            reading.group = Some((args[at + 1], args[at + 2]));
            at += 3;
        } else if name == "xreadgroup" && is(word, "noack") {
            reading.no_ack = true;
            at += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    let names = &args[at + 1..];
    if names.is_empty() || !names.len().is_multiple_of(2) {
        return Err(say(format!(
            "ERR Unbalanced {} list of streams: for each stream key an ID or '{}' must be specified.",
            if name == "xread" { "XREAD" } else { "'xreadgroup'" },
            if name == "xread" { "$" } else { ">" }
        )));
    }
    if name == "xreadgroup" && reading.group.is_none() {
        return Err(text("ERR Missing GROUP option for XREADGROUP"));
    }
    let half = names.len() / 2;
    reading.streams = names[..half].iter().copied().zip(names[half..].iter().copied()).collect();
    reading.ids_at = at + 1 + half;
    Ok(reading)
}

/// Waits for entries. `ids`: what the numbers mean by now (`$` must not move on).
fn wait(c: &mut Call<'_, '_>, reading: &Reading<'_>, ids: Option<&[Id]>) -> Done {
    let Some(ms) = reading.block_ms else {
        c.out.null_array();
        return Ok(());
    };
    let deadline =
        (ms > 0).then(|| skep_sys::clock::boottime_ns().saturating_add(ms.saturating_mul(1_000_000)));
    let keys: Vec<&[u8]> = reading.streams.iter().map(|(key, _)| *key).collect();
    block(c, &keys, deadline, Nothing::NullArray)?;
    if let (Some(blocked), Some(ids)) = (&mut c.client.blocked, ids) {
        for (word, id) in blocked.command[reading.ids_at..].iter_mut().zip(ids) {
            *word = format!("{}-{}", id.ms, id.seq).into_bytes();
        }
    }
    Ok(())
}

/// The answer: a map in RESP3, pairs in RESP2.
fn write_streams(out: &mut Reply, found: &[(&[u8], Found)]) {
    if out.resp3 {
        out.map(found.len());
    } else {
        out.array(found.len());
    }
    for (key, entries) in found {
        if !out.resp3 {
            out.array(2);
        }
        out.bulk(key);
        out.array(entries.len());
        for (id, entry) in entries {
            match entry {
                Some(entry) => write_entry(out, entry),
                None => {
                    out.array(2);
                    write_id(out, *id);
                    out.null_array();
                }
            }
        }
    }
}

pub(crate) fn xread(c: &mut Call<'_, '_>) -> Done {
    let reading = reading(c.args, "xread")?;
    let view = c.access.view();
    let mut after = Vec::with_capacity(reading.streams.len());
    let mut found = Vec::new();
    for (key, word) in &reading.streams {
        if *word == b">" {
            return Err(text(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            ));
        }
        let given = if *word == b"$" { None } else { Some(id(word, 0)?) };
        let stream = streams::find(&view, c.space, key)?;
        after.push(given.unwrap_or_else(|| stream.map_or(Id::MIN, |stream| stream.last)));
    }
    for ((key, _), after) in reading.streams.iter().zip(&after) {
        let (Some(stream), Some(from)) = (streams::find(&view, c.space, key)?, after.next()) else {
            continue;
        };
        let entries = streams::range(&view, &stream, from, Id::MAX, reading.count.unwrap_or(usize::MAX))?;
        if !entries.is_empty() {
            found.push((*key, entries.into_iter().map(|entry| (entry.id, Some(entry))).collect::<Vec<_>>()));
        }
    }
    if found.is_empty() {
        return wait(c, &reading, Some(&after));
    }
    write_streams(c.out, &found);
    Ok(())
}

pub(crate) fn xreadgroup(c: &mut Call<'_, '_>) -> Done {
    let reading = reading(c.args, "xreadgroup")?;
    let (group, consumer) = reading.group.unwrap_or_default();
    for (key, word) in &reading.streams {
        if *word == b"$" {
            return Err(text(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
            ));
        }
        if *word != b">" {
            id(word, 0)?;
        }
        let view = c.access.view();
        let stream = streams::find(&view, c.space, key)?;
        let there = match &stream {
            Some(stream) => streams::group(&view, stream, group)?.is_some(),
            None => false,
        };
        if !there {
            return Err(say(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(group)
            )));
        }
    }
    let mut found = Vec::new();
    let mut may_wait = true;
    for (key, word) in reading.streams.clone() {
        if word == b">" {
            let entries = crate::cmd::groups::read_new(c, key, group, consumer, &reading)?;
            if !entries.is_empty() {
                found.push((key, entries));
            }
        } else {
            may_wait = false;
            found.push((
                key,
                crate::cmd::groups::read_again(c, key, group, consumer, id(word, 0)?, &reading)?,
            ));
        }
    }
    if found.is_empty() && may_wait {
        return wait(c, &reading, None);
    }
    write_streams(c.out, &found);
    Ok(())
}
