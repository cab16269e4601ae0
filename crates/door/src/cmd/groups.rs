//! Streams: groups of consumers.

use skep_state::WallMs;
use skep_state::streams::{self, Group, Id, Pending, Stream};

use crate::call::{Call, integer, is};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::cmd::reads::{Found, Reading};
use crate::cmd::streams::id;
use crate::fault::{Done, Fault, SYNTAX, say, text};
use crate::notify::STREAM;

pub(crate) fn find(c: &Call<'_, '_>, key: &[u8], group: &[u8]) -> Result<Option<(Stream, Group)>, Fault> {
    let view = c.access.view();
    let Some(stream) = streams::find(&view, c.space, key)? else { return Ok(None) };
    Ok(streams::group(&view, &stream, group)?.map(|group| (stream, group)))
}

pub(crate) fn no_group(key: &[u8], group: &[u8]) -> Fault {
    say(format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(group)
    ))
}

/// Whether an entry behind `from` was deleted, as far as is known.
fn has_gaps(stream: &Stream, from: Id) -> bool {
    stream.count > 0 && stream.max_deleted != Id::MIN && from <= stream.max_deleted
}

/// How many entries came before and with `id`, if that can be told (`streamEstimateDistanceFromFirstEverEntry`).
fn distance(c: &Call<'_, '_>, stream: &Stream, id: Id) -> Result<Option<u64>, Fault> {
    if stream.added == 0 {
        return Ok(Some(0));
    }
    if (stream.count == 0 && id <= stream.last) || id == stream.last {
        return Ok(Some(stream.added));
    }
    if id > stream.last {
        return Ok(None);
    }
    let first = streams::first(&c.access.view(), stream)?.unwrap_or(Id::MIN);
    if stream.max_deleted == Id::MIN || stream.max_deleted < first {
        if id < first {
            return Ok(Some(stream.added - stream.count));
        }
        if id == first {
            return Ok(Some(stream.added - stream.count + 1));
        }
    }
    Ok(None)
}

pub(crate) fn lag(c: &Call<'_, '_>, stream: &Stream, group: &Group) -> Result<Option<u64>, Fault> {
    if stream.added == 0 {
        return Ok(Some(0));
    }
    let read = match group.read {
        Some(read) if !has_gaps(stream, group.last) => Some(read),
        _ => distance(c, stream, group.last)?,
    };
    Ok(read.map(|read| stream.added.saturating_sub(read)))
}

/// Gives a consumer entries that no one of the group has had.
pub(crate) fn read_new(
    c: &mut Call<'_, '_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    reading: &Reading<'_>,
) -> Result<Found, Fault> {
    let Some((stream, mut group)) = find(c, key, group)? else { return Ok(Vec::new()) };
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let Some(after) = group.last.next() else { return Ok(Vec::new()) };
    let most = reading.count.unwrap_or(usize::MAX);
    let entries = streams::range(&c.access.view(), &stream, after, Id::MAX, most)?;
    let now = WallMs(c.now_ms());
    for entry in &entries {
        group.read = match group.read {
            Some(read) if !has_gaps(&stream, entry.id) => Some(read + 1),
            _ => distance(c, &stream, entry.id)?,
        };
        group.last = entry.id;
        if !reading.no_ack {
            let pending = Pending { id: entry.id, consumer: consumer.to_vec(), since: now, deliveries: 1 };
            streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        }
    }
    if !entries.is_empty() {
        streams::put_group(c.access.tx(), &stream, &group)?;
        touch(c, key)?;
    }
    Ok(entries.into_iter().map(|entry| (entry.id, Some(entry))).collect())
}

/// A stream whose groups changed has a new version, for WATCH.
pub(crate) fn touch(c: &mut Call<'_, '_>, key: &[u8]) -> Done {
    Ok(streams::edit(c.access.tx(), c.space, key, |_, _| Ok(()))?)
}

/// Gives a consumer again what it has not acknowledged.
pub(crate) fn read_again(
    c: &mut Call<'_, '_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    after: Id,
    reading: &Reading<'_>,
) -> Result<Found, Fault> {
    let Some((stream, mut group)) = find(c, key, group)? else { return Ok(Vec::new()) };
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let Some(from) = after.next() else { return Ok(Vec::new()) };
    let most = reading.count.unwrap_or(usize::MAX);
    let own = |pending: &Pending| pending.consumer == consumer;
    let all = streams::pending_between(&c.access.view(), &stream, &group, (from, Id::MAX), most, own)?;
    let now = WallMs(c.now_ms());
    let mut found = Vec::with_capacity(all.len());
    for mut pending in all {
        let entry = streams::entry(&c.access.view(), &stream, pending.id)?;
        if entry.is_some() {
            pending.since = now;
            pending.deliveries += 1;
            streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        }
        found.push((pending.id, entry));
    }
    Ok(found)
}

pub(crate) fn xack(c: &mut Call<'_, '_>) -> Done {
    let ids: Vec<Id> = c.args[3..].iter().map(|bytes| id(bytes, 0)).collect::<Result<_, _>>()?;
    let Some((stream, mut group)) = find(c, c.args[1], c.args[2])? else {
        c.out.integer(0);
        return Ok(());
    };
    let mut count = 0;
    for id in ids {
        count += i64::from(streams::remove_pending(c.access.tx(), &stream, &mut group, id)?);
    }
    if count > 0 {
        touch(c, c.args[1])?;
    }
    c.out.integer(count);
    Ok(())
}

fn create(c: &mut Call<'_, '_>) -> Done {
    let (mut make, mut read) = (false, None);
    let mut rest = &c.args[5..];
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if is(word, "mkstream") {
            make = true;
        } else if is(word, "entriesread") && !more.is_empty() {
            read = entries_read(more[0])?;
            rest = &more[1..];
        } else {
            return Err(subcommand_arity(c));
        }
    }
    let (key, name, start) = (c.args[2], c.args[3], c.args[4]);
    let stream = streams::find(&c.access.view(), c.space, key)?;
    if stream.is_none() && !make {
        return Err(text(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        ));
    }
    let last = if start == b"$" { stream.map_or(Id::MIN, |stream| stream.last) } else { id(start, 0)? };
    if let Some(stream) = &stream
        && streams::group(&c.access.view(), stream, name)?.is_some()
    {
        return Err(text("BUSYGROUP Consumer Group name already exists"));
    }
    streams::edit(c.access.tx(), c.space, key, |tx, stream| {
        streams::create_group(tx, stream, name, last, read)
    })?;
    c.event(STREAM, "xgroup-create", key);
    c.out.ok();
    Ok(())
}

fn entries_read(bytes: &[u8]) -> Result<Option<u64>, Fault> {
    match integer(bytes)? {
        -1 => Ok(None),
        number => u64::try_from(number)
            .map(Some)
            .map_err(|_| text("ERR value for ENTRIESREAD must be positive or -1")),
    }
}

pub(crate) fn xgroup(c: &mut Call<'_, '_>) -> Done {
    let word = String::from_utf8_lossy(c.args[1]).to_lowercase();
    let count = c.args.len();
    let fits = match word.as_str() {
        "create" => (5..=8).contains(&count),
        "setid" => (5..=7).contains(&count),
        "destroy" => count == 4,
        "createconsumer" | "delconsumer" => count == 5,
        _ => return Err(subcommand(c)),
    };
    if !fits {
        return Err(subcommand_arity(c));
    }
    if word == "create" {
        return create(c);
    }
    let (key, name) = (c.args[2], c.args[3]);
    let Some(stream) = streams::find(&c.access.view(), c.space, key)? else {
        return Err(text(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        ));
    };
    if word == "destroy" {
        let was = streams::destroy_group(c.access.tx(), &stream, name)?;
        if was {
            c.event(STREAM, "xgroup-destroy", key);
            c.ready(key);
        }
        c.out.flag(was);
        return Ok(());
    }
    let Some(mut group) = streams::group(&c.access.view(), &stream, name)? else {
        return Err(say(format!(
            "NOGROUP No such consumer group '{}' for key name '{}'",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(key)
        )));
    };
    match word.as_str() {
        "setid" => {
            group.last = if c.args[4] == b"$" { stream.last } else { id(c.args[4], 0)? };
            group.read = match &c.args[5..] {
                [] => None,
                [word, number] if is(word, "entriesread") => entries_read(number)?,
                _ => return Err(SYNTAX),
            };
            streams::put_group(c.access.tx(), &stream, &group)?;
            c.out.ok();
        }
        "createconsumer" => {
            let there = streams::consumer(&c.access.view(), &stream, &group, c.args[4])?.is_some();
            if !there {
                streams::create_consumer(c.access.tx(), &stream, &group, c.args[4])?;
            }
            c.out.flag(!there);
        }
        _ => {
            let removed = streams::remove_consumer(c.access.tx(), &stream, &mut group, c.args[4])?;
            c.out.size(removed);
        }
    }
    touch(c, key)
}
