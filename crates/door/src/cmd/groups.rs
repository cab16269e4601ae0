//! Streams: groups of consumers.

use skep_state::WallMs;
use skep_state::streams::{self, Entry, Group, Id, Pending, Stream};

use crate::call::{Call, integer, is, positive};
use crate::cmd::connection::{subcommand, subcommand_arity};
use crate::cmd::streams::{Reading, from, id, to, write_entry, write_id};
use crate::fault::{Done, Fault, NO_SUCH_KEY, SYNTAX, say, text};
use crate::notify::STREAM;

/// Entries of one consumer or group, each with its number; deleted ones without contents.
type Found = Vec<(Id, Option<Entry>)>;

fn find(c: &Call<'_, '_>, key: &[u8], group: &[u8]) -> Result<Option<(Stream, Group)>, Fault> {
    let view = c.access.view();
    let Some(stream) = streams::find(&view, c.space, key)? else { return Ok(None) };
    Ok(streams::group(&view, &stream, group)?.map(|group| (stream, group)))
}

fn no_group(key: &[u8], group: &[u8]) -> Fault {
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

fn lag(c: &Call<'_, '_>, stream: &Stream, group: &Group) -> Result<Option<u64>, Fault> {
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
fn touch(c: &mut Call<'_, '_>, key: &[u8]) -> Done {
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

fn summary(c: &mut Call<'_, '_>, stream: &Stream, group: &Group) -> Done {
    let view = c.access.view();
    let all = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), usize::MAX, |_| true)?;
    c.out.array(4);
    c.out.size(all.len() as u64);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        c.out.null();
        c.out.null();
        c.out.null_array();
        return Ok(());
    };
    write_id(c.out, first.id);
    write_id(c.out, last.id);
    let consumers = streams::consumers(&view, stream, group)?;
    let busy: Vec<_> = consumers.iter().filter(|consumer| consumer.pending > 0).collect();
    c.out.array(busy.len());
    for consumer in busy {
        c.out.array(2);
        c.out.bulk(&consumer.name);
        c.out.text(&consumer.pending.to_string());
    }
    Ok(())
}

pub(crate) fn xpending(c: &mut Call<'_, '_>) -> Done {
    let (key, name) = (c.args[1], c.args[2]);
    let mut rest = &c.args[3..];
    let mut idle = 0;
    if rest.len() >= 2 && is(rest[0], "idle") {
        idle = u64::try_from(integer(rest[1])?).unwrap_or(0);
        rest = &rest[2..];
        if rest.len() < 3 {
            return Err(SYNTAX);
        }
    }
    let range = match rest {
        [] => None,
        [start, end, count] => Some((from(start)?, to(end)?, integer(count)?, None)),
        [start, end, count, consumer] => Some((from(start)?, to(end)?, integer(count)?, Some(*consumer))),
        _ => return Err(SYNTAX),
    };
    let Some((stream, group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    let Some((from, to, count, consumer)) = range else { return summary(c, &stream, &group) };
    let now = c.now_ms();
    let most = usize::try_from(count).unwrap_or(0);
    let wanted = |pending: &Pending| {
        consumer.is_none_or(|consumer| pending.consumer == consumer)
            && now.saturating_sub(pending.since.0) >= idle
    };
    let found = streams::pending_between(&c.access.view(), &stream, &group, (from, to), most, wanted)?;
    c.out.array(found.len());
    for pending in found {
        c.out.array(4);
        write_id(c.out, pending.id);
        c.out.bulk(&pending.consumer);
        c.out.size(now.saturating_sub(pending.since.0));
        c.out.size(pending.deliveries);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Claim {
    since: Option<u64>,
    retries: Option<u64>,
    force: bool,
    just_id: bool,
    last: Option<Id>,
}

fn claim_options(c: &Call<'_, '_>, mut rest: &[&[u8]]) -> Result<Claim, Fault> {
    let mut claim = Claim::default();
    let now = c.now_ms();
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if is(word, "force") {
            claim.force = true;
            continue;
        }
        if is(word, "justid") {
            claim.just_id = true;
            continue;
        }
        let unknown = || say(format!("ERR Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(word)));
        let (value, more) = more.split_first().ok_or_else(unknown)?;
        rest = more;
        match word {
            word if is(word, "idle") => {
                let idle = crate::numbers::integer(value)
                    .ok_or(text("ERR Invalid IDLE option argument for XCLAIM"))?;
                claim.since = Some(now.saturating_sub(u64::try_from(idle).unwrap_or(0)));
            }
            word if is(word, "time") => {
                let at = crate::numbers::integer(value)
                    .ok_or(text("ERR Invalid TIME option argument for XCLAIM"))?;
                claim.since = Some(u64::try_from(at).unwrap_or(0).min(now));
            }
            word if is(word, "retrycount") => {
                let complaint = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                claim.retries = Some(positive(value, complaint)?);
            }
            word if is(word, "lastid") => claim.last = Some(id(value, 0)?),
            _ => return Err(unknown()),
        }
    }
    Ok(claim)
}

fn tell_claimed(c: &mut Call<'_, '_>, found: &[Entry], just_id: bool) {
    c.out.array(found.len());
    for entry in found {
        if just_id { write_id(c.out, entry.id) } else { write_entry(c.out, entry) }
    }
}

pub(crate) fn xclaim(c: &mut Call<'_, '_>) -> Done {
    let (key, name, consumer) = (c.args[1], c.args[2], c.args[3]);
    let idle =
        crate::numbers::integer(c.args[4]).ok_or(text("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let idle = u64::try_from(idle).unwrap_or(0);
    let Some((stream, mut group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    let split = c.args[5..].iter().position(|word| id(word, 0).is_err()).map_or(c.args.len(), |at| at + 5);
    let ids: Vec<Id> = c.args[5..split].iter().map(|word| id(word, 0)).collect::<Result<_, _>>()?;
    let claim = claim_options(c, &c.args[split..])?;
    if ids.is_empty() {
        return Err(text("ERR Invalid stream ID specified as stream command argument"));
    }
    if let Some(last) = claim.last.filter(|last| *last > group.last) {
        group.last = last;
        streams::put_group(c.access.tx(), &stream, &group)?;
    }
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let now = c.now_ms();
    let mut found = Vec::new();
    for id in ids {
        let before = streams::pending(&c.access.view(), &stream, &group, id)?;
        let Some(entry) = streams::entry(&c.access.view(), &stream, id)? else {
            // The entry was deleted meanwhile: it waits for nobody any more.
            streams::remove_pending(c.access.tx(), &stream, &mut group, id)?;
            continue;
        };
        let deliveries = match &before {
            None if !claim.force => continue,
            None => 0,
            Some(before) if now.saturating_sub(before.since.0) < idle => continue,
            Some(before) => before.deliveries,
        };
        let pending = Pending {
            id,
            consumer: consumer.to_vec(),
            since: WallMs(claim.since.unwrap_or(now)),
            deliveries: claim.retries.unwrap_or(deliveries + u64::from(!claim.just_id)),
        };
        streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        found.push(entry);
    }
    touch(c, key)?;
    tell_claimed(c, &found, claim.just_id);
    Ok(())
}

pub(crate) fn xautoclaim(c: &mut Call<'_, '_>) -> Done {
    let (key, name, consumer) = (c.args[1], c.args[2], c.args[3]);
    let idle = crate::numbers::integer(c.args[4])
        .ok_or(text("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let idle = u64::try_from(idle).unwrap_or(0);
    let start = from(c.args[5])?;
    let (mut most, mut just_id) = (100, false);
    let mut rest = &c.args[6..];
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if is(word, "count") && !more.is_empty() {
            most = positive(more[0], "ERR COUNT must be > 0")?;
            if most == 0 {
                return Err(text("ERR COUNT must be > 0"));
            }
            rest = &more[1..];
        } else if is(word, "justid") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
    }
    let Some((stream, mut group)) = find(c, key, name)? else { return Err(no_group(key, name)) };
    streams::create_consumer(c.access.tx(), &stream, &group, consumer)?;
    let now = c.now_ms();
    // As Redis: ten times the count is looked at.
    let looked = usize::try_from(most.saturating_mul(10)).unwrap_or(usize::MAX).saturating_add(1);
    let all =
        streams::pending_between(&c.access.view(), &stream, &group, (start, Id::MAX), looked, |_| true)?;
    let (mut found, mut deleted, mut next) = (Vec::new(), Vec::new(), Id::MIN);
    for (index, before) in all.iter().enumerate() {
        if found.len() as u64 + deleted.len() as u64 >= most || index + 1 == looked {
            next = before.id;
            break;
        }
        if now.saturating_sub(before.since.0) < idle {
            continue;
        }
        let Some(entry) = streams::entry(&c.access.view(), &stream, before.id)? else {
            streams::remove_pending(c.access.tx(), &stream, &mut group, before.id)?;
            deleted.push(before.id);
            continue;
        };
        let pending = Pending {
            id: before.id,
            consumer: consumer.to_vec(),
            since: WallMs(now),
            deliveries: before.deliveries + u64::from(!just_id),
        };
        streams::put_pending(c.access.tx(), &stream, &mut group, &pending)?;
        found.push(entry);
    }
    touch(c, key)?;
    c.out.array(3);
    write_id(c.out, next);
    tell_claimed(c, &found, just_id);
    c.out.array(deleted.len());
    for id in deleted {
        write_id(c.out, id);
    }
    Ok(())
}

pub(crate) fn xinfo(c: &mut Call<'_, '_>) -> Done {
    let word = String::from_utf8_lossy(c.args[1]).to_lowercase();
    let fits = match word.as_str() {
        "stream" => (3..=6).contains(&c.args.len()),
        "groups" => c.args.len() == 3,
        "consumers" => c.args.len() == 4,
        _ => return Err(subcommand(c)),
    };
    if !fits {
        return Err(subcommand_arity(c));
    }
    let key = c.args[2];
    let stream = streams::find(&c.access.view(), c.space, key)?.ok_or(NO_SUCH_KEY)?;
    match word.as_str() {
        "stream" if c.args.len() > 3 => info_full(c, &stream),
        "stream" => info_stream(c, &stream),
        "groups" => info_groups(c, &stream),
        _ => info_consumers(c, &stream),
    }
}

fn head(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let first = streams::first(&c.access.view(), stream)?.unwrap_or(Id::MIN);
    let out = &mut *c.out;
    out.text("length");
    out.size(stream.count);
    out.text("radix-tree-keys");
    out.size(stream.count.div_ceil(100));
    out.text("radix-tree-nodes");
    out.size(stream.count.div_ceil(100) + 1);
    out.text("last-generated-id");
    write_id(out, stream.last);
    out.text("max-deleted-entry-id");
    write_id(out, stream.max_deleted);
    out.text("entries-added");
    out.size(stream.added);
    out.text("recorded-first-entry-id");
    write_id(out, first);
    Ok(())
}

fn info_stream(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    c.out.map(10);
    head(c, stream)?;
    let view = c.access.view();
    c.out.text("groups");
    c.out.size(streams::groups(&view, stream)?.len() as u64);
    let ends = [
        ("first-entry", streams::range(&view, stream, Id::MIN, Id::MAX, 1)?),
        ("last-entry", streams::range_down(&view, stream, Id::MIN, Id::MAX, 1)?),
    ];
    for (name, entries) in ends {
        c.out.text(name);
        match entries.first() {
            Some(entry) => write_entry(c.out, entry),
            None => c.out.null(),
        }
    }
    Ok(())
}

fn info_full(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let most = match &c.args[3..] {
        [word] if is(word, "full") => 10,
        [word, count, number] if is(word, "full") && is(count, "count") => match integer(number)? {
            0 => usize::MAX,
            number => usize::try_from(number).unwrap_or(10),
        },
        _ => {
            return Err(text(
                "ERR unknown subcommand or wrong number of arguments for 'stream'. Try XINFO HELP.",
            ));
        }
    };
    c.out.map(9);
    head(c, stream)?;
    let view = c.access.view();
    c.out.text("entries");
    let entries = streams::range(&view, stream, Id::MIN, Id::MAX, most)?;
    c.out.array(entries.len());
    for entry in &entries {
        write_entry(c.out, entry);
    }
    c.out.text("groups");
    let groups = streams::groups(&view, stream)?;
    c.out.array(groups.len());
    for group in groups {
        full_group(c, stream, &group, most)?;
    }
    Ok(())
}

fn full_group(c: &mut Call<'_, '_>, stream: &Stream, group: &Group, most: usize) -> Done {
    let lag = lag(c, stream, group)?;
    let view = c.access.view();
    let out = &mut *c.out;
    out.map(7);
    out.text("name");
    out.bulk(&group.name);
    out.text("last-delivered-id");
    write_id(out, group.last);
    for (name, number) in [("entries-read", group.read), ("lag", lag)] {
        out.text(name);
        match number {
            Some(number) => out.size(number),
            None => out.null(),
        }
    }
    out.text("pel-count");
    out.size(group.pending);
    out.text("pending");
    let pending = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), most, |_| true)?;
    out.array(pending.len());
    for entry in &pending {
        out.array(4);
        write_id(out, entry.id);
        out.bulk(&entry.consumer);
        out.size(entry.since.0);
        out.size(entry.deliveries);
    }
    out.text("consumers");
    let consumers = streams::consumers(&view, stream, group)?;
    out.array(consumers.len());
    for consumer in consumers {
        out.map(4);
        out.text("name");
        out.bulk(&consumer.name);
        out.text("seen-time");
        out.size(consumer.seen.0);
        out.text("pel-count");
        out.size(consumer.pending);
        out.text("pending");
        let own = |entry: &Pending| entry.consumer == consumer.name;
        let pending = streams::pending_between(&view, stream, group, (Id::MIN, Id::MAX), most, own)?;
        out.array(pending.len());
        for entry in &pending {
            out.array(3);
            write_id(out, entry.id);
            out.size(entry.since.0);
            out.size(entry.deliveries);
        }
    }
    Ok(())
}

fn info_groups(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let groups = streams::groups(&c.access.view(), stream)?;
    c.out.array(groups.len());
    for group in groups {
        let consumers = streams::consumers(&c.access.view(), stream, &group)?.len();
        let lag = lag(c, stream, &group)?;
        c.out.map(6);
        c.out.text("name");
        c.out.bulk(&group.name);
        c.out.text("consumers");
        c.out.size(consumers as u64);
        c.out.text("pending");
        c.out.size(group.pending);
        c.out.text("last-delivered-id");
        write_id(c.out, group.last);
        for (name, number) in [("entries-read", group.read), ("lag", lag)] {
            c.out.text(name);
            match number {
                Some(number) => c.out.size(number),
                None => c.out.null(),
            }
        }
    }
    Ok(())
}

fn info_consumers(c: &mut Call<'_, '_>, stream: &Stream) -> Done {
    let Some(group) = streams::group(&c.access.view(), stream, c.args[3])? else {
        return Err(say(format!(
            "NOGROUP No such consumer group '{}' for key name '{}'",
            String::from_utf8_lossy(c.args[3]),
            String::from_utf8_lossy(c.args[2])
        )));
    };
    let now = c.now_ms();
    let consumers = streams::consumers(&c.access.view(), stream, &group)?;
    c.out.array(consumers.len());
    for consumer in consumers {
        c.out.map(3);
        c.out.text("name");
        c.out.bulk(&consumer.name);
        c.out.text("pending");
        c.out.size(consumer.pending);
        c.out.text("idle");
        c.out.size(now.saturating_sub(consumer.seen.0));
    }
    Ok(())
}
