//! Streams: adding, reading, trimming. Groups are in `groups`.

use skep_state::streams::{self, Entry, Id, Stream};

use crate::call::{Call, integer, is, positive};
use crate::fault::{Done, Fault, SYNTAX, arity, text};
use crate::notify::STREAM;
use crate::resp::Reply;

const INVALID: Fault = text("ERR Invalid stream ID specified as stream command argument");
/// Entries that an approximate trim removes at most by default (Redis: 100 nodes of 100).
const TRIM_MAX: u64 = 10_000;

fn number(bytes: &[u8]) -> Option<u64> {
    let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(bytes).ok()?.parse().ok()).flatten()
}

/// `ms-seq`, or `ms` alone with the given `seq`.
pub(crate) fn id(bytes: &[u8], seq: u64) -> Result<Id, Fault> {
    let mut parts = bytes.splitn(2, |byte| *byte == b'-');
    let ms = parts.next().and_then(number).ok_or(INVALID)?;
    let seq = parts.next().map_or(Some(seq), number).ok_or(INVALID)?;
    Ok(Id { ms, seq })
}

/// Where a range begins: `-`, `(id`, `id`.
pub(crate) fn from(bytes: &[u8]) -> Result<Id, Fault> {
    match bytes {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        [b'(', rest @ ..] => id(rest, 0)?.next().ok_or(text("ERR invalid start ID for the interval")),
        _ => id(bytes, 0),
    }
}

/// Where it ends: `+`, `(id`, `id`.
pub(crate) fn to(bytes: &[u8]) -> Result<Id, Fault> {
    match bytes {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        [b'(', rest @ ..] => id(rest, u64::MAX)?.before().ok_or(text("ERR invalid end ID for the interval")),
        _ => id(bytes, u64::MAX),
    }
}

pub(crate) fn write_id(out: &mut Reply, id: Id) {
    out.text(&format!("{}-{}", id.ms, id.seq));
}

pub(crate) fn write_entry(out: &mut Reply, entry: &Entry) {
    out.array(2);
    write_id(out, entry.id);
    out.array(entry.fields.len());
    for field in &entry.fields {
        out.bulk(field);
    }
}

/// What goes from a stream's beginning.
#[derive(Debug, Clone, Copy)]
enum Trim {
    Length(u64),
    Before(Id),
}

/// A trim and how many entries it removes at most.
type Bounded = Option<(Trim, u64)>;

/// `MAXLEN|MINID [=|~] threshold [LIMIT count]` from `at` on; where the arguments go on.
fn trim_words(args: &[&[u8]], at: usize) -> Result<(Bounded, usize), Fault> {
    let word = args[at];
    let by_length = is(word, "maxlen");
    let mut at = at + 1;
    let mut approximate = false;
    if let Some(sign @ (b"~" | b"=")) = args.get(at).copied() {
        approximate = sign == b"~";
        at += 1;
    }
    let threshold = args.get(at).copied().ok_or(SYNTAX)?;
    let trim = if by_length {
        let length = integer(threshold)?;
        Trim::Length(u64::try_from(length).map_err(|_| text("ERR The MAXLEN argument must be >= 0."))?)
    } else {
        Trim::Before(id(threshold, 0)?)
    };
    at += 1;
    let mut most = if approximate { TRIM_MAX } else { u64::MAX };
    if args.get(at).is_some_and(|word| is(word, "limit")) {
        if !approximate {
            return Err(text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        most = positive(args.get(at + 1).ok_or(SYNTAX)?, "ERR The LIMIT argument must be >= 0.")?;
        most = if most == 0 { u64::MAX } else { most };
        at += 2;
    }
    Ok((Some((trim, most)), at))
}

fn trim(c: &mut Call<'_, '_>, key: &[u8], (trim, most): (Trim, u64)) -> Result<u64, Fault> {
    if streams::find(&c.access.view(), c.space, key)?.is_none() {
        return Ok(0);
    }
    let goes = move |stream: &Stream, id: Id| match trim {
        Trim::Length(length) => stream.count > length,
        Trim::Before(least) => id < least,
    };
    let removed = streams::edit(c.access.tx(), c.space, key, |tx, stream| {
        let deleted = stream.max_deleted;
        let removed = streams::trim(tx, stream, most, goes);
        // Trimming is no deletion: what is gone at the beginning leaves no gap.
        stream.max_deleted = deleted;
        removed
    })?;
    if removed > 0 {
        c.event(STREAM, "xtrim", key);
    }
    Ok(removed)
}

/// The number that XADD was given.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Next,
    NextOf(u64),
    Exactly(Id),
}

fn wanted(bytes: &[u8]) -> Result<Wanted, Fault> {
    if bytes == b"*" {
        return Ok(Wanted::Next);
    }
    if let Some(ms) = bytes.strip_suffix(b"-*") {
        return Ok(Wanted::NextOf(number(ms).ok_or(INVALID)?));
    }
    let id = id(bytes, 0)?;
    if id == Id::MIN {
        return Err(text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    Ok(Wanted::Exactly(id))
}

fn choose(wanted: Wanted, last: Id, now_ms: u64) -> Result<Id, Fault> {
    let small = text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
    let exhausted = text("ERR The stream has exhausted the last possible ID, unable to add more items");
    if last == Id::MAX {
        return Err(exhausted);
    }
    match wanted {
        Wanted::Next if now_ms > last.ms => Ok(Id { ms: now_ms, seq: 0 }),
        Wanted::Next => last.next().ok_or(exhausted),
        Wanted::NextOf(ms) if ms > last.ms => Ok(Id { ms, seq: u64::from(ms == 0) }),
        Wanted::NextOf(ms) if ms == last.ms => last.next().filter(|next| next.ms == ms).ok_or(small),
        Wanted::NextOf(_) => Err(small),
        Wanted::Exactly(id) if id > last => Ok(id),
        Wanted::Exactly(_) => Err(small),
    }
}

pub(crate) fn xadd(c: &mut Call<'_, '_>) -> Done {
    let (mut at, mut make, mut bounded) = (2, true, None);
    while let Some(word) = c.args.get(at) {
        if is(word, "nomkstream") {
            make = false;
            at += 1;
        } else if is(word, "maxlen") || is(word, "minid") {
            if bounded.is_some() {
                return Err(text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            (bounded, at) = trim_words(c.args, at)?;
        } else {
            break;
        }
    }
    let wanted = wanted(c.args.get(at).ok_or_else(|| arity("xadd"))?)?;
    let fields = &c.args[at + 1..];
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(arity("xadd"));
    }
    let key = c.args[1];
    let found = streams::find(&c.access.view(), c.space, key)?;
    if found.is_none() && !make {
        c.out.null();
        return Ok(());
    }
    let id = choose(wanted, found.map_or(Id::MIN, |stream| stream.last), c.now_ms())?;
    streams::edit(c.access.tx(), c.space, key, |tx, stream| streams::append(tx, stream, id, fields))?;
    c.event(STREAM, "xadd", key);
    if let Some(bounded) = bounded {
        trim(c, key, bounded)?;
    }
    c.ready(key);
    write_id(c.out, id);
    Ok(())
}

pub(crate) fn xtrim(c: &mut Call<'_, '_>) -> Done {
    let word = c.args[2];
    if !is(word, "maxlen") && !is(word, "minid") {
        return Err(SYNTAX);
    }
    let (bounded, at) = trim_words(c.args, 2)?;
    if at != c.args.len() {
        return Err(SYNTAX);
    }
    let removed = match bounded {
        Some(bounded) => trim(c, c.args[1], bounded)?,
        None => 0,
    };
    c.out.size(removed);
    Ok(())
}

pub(crate) fn xdel(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let ids: Vec<Id> = c.args[2..].iter().map(|bytes| id(bytes, 0)).collect::<Result<_, _>>()?;
    if streams::find(&c.access.view(), c.space, key)?.is_none() {
        c.out.integer(0);
        return Ok(());
    }
    let removed = streams::edit(c.access.tx(), c.space, key, |tx, stream| {
        let mut removed = 0;
        for id in ids {
            removed += u64::from(streams::remove(tx, stream, id)?);
        }
        Ok(removed)
    })?;
    if removed > 0 {
        c.event(STREAM, "xdel", key);
    }
    c.out.size(removed);
    Ok(())
}

pub(crate) fn xlen(c: &mut Call<'_, '_>) -> Done {
    let found = streams::find(&c.access.view(), c.space, c.args[1])?;
    c.out.size(found.map_or(0, |stream| stream.count));
    Ok(())
}

fn count(args: &[&[u8]]) -> Result<Option<usize>, Fault> {
    match args {
        [] => Ok(None),
        [word, count] if is(word, "count") => {
            Ok(Some(usize::try_from(integer(count)?.max(0)).unwrap_or(usize::MAX)))
        }
        _ => Err(SYNTAX),
    }
}

pub(crate) fn xrange(c: &mut Call<'_, '_>) -> Done {
    range(c, from(c.args[2])?, to(c.args[3])?, false)
}

pub(crate) fn xrevrange(c: &mut Call<'_, '_>) -> Done {
    range(c, from(c.args[3])?, to(c.args[2])?, true)
}

fn range(c: &mut Call<'_, '_>, from: Id, to: Id, down: bool) -> Done {
    let most = count(&c.args[4..])?;
    let view = c.access.view();
    let Some(stream) = streams::find(&view, c.space, c.args[1])? else {
        c.out.array(0);
        return Ok(());
    };
    if most == Some(0) {
        c.out.null_array();
        return Ok(());
    }
    let most = most.unwrap_or(usize::MAX);
    let entries = if down {
        streams::range_down(&view, &stream, from, to, most)?
    } else {
        streams::range(&view, &stream, from, to, most)?
    };
    c.out.array(entries.len());
    for entry in &entries {
        write_entry(c.out, entry);
    }
    Ok(())
}

pub(crate) fn xsetid(c: &mut Call<'_, '_>) -> Done {
    let last = id(c.args[2], 0)?;
    let (mut added, mut deleted) = (None, None);
    let mut options = c.args[3..].chunks_exact(2);
    for option in options.by_ref() {
        match option[0] {
            word if is(word, "entriesadded") => {
                added = Some(positive(option[1], "ERR entries_added must be positive")?);
            }
            word if is(word, "maxdeletedid") => deleted = Some(id(option[1], 0)?),
            _ => return Err(SYNTAX),
        }
    }
    if !options.remainder().is_empty() {
        return Err(SYNTAX);
    }
    let key = c.args[1];
    let view = c.access.view();
    let Some(stream) = streams::find(&view, c.space, key)? else { return Err(crate::fault::NO_SUCH_KEY) };
    if deleted.is_some_and(|deleted| last < deleted) {
        return Err(text("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"));
    }
    if stream.count > 0 {
        let top = streams::range_down(&view, &stream, Id::MIN, Id::MAX, 1)?;
        if top.first().is_some_and(|top| last < top.id) {
            return Err(text("ERR The ID specified in XSETID is smaller than the target stream top item"));
        }
        if added.is_some_and(|added| added < stream.count) {
            return Err(text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    streams::edit(c.access.tx(), c.space, key, |_, stream| {
        stream.last = last;
        stream.added = added.unwrap_or(stream.added);
        stream.max_deleted = deleted.unwrap_or(stream.max_deleted);
        Ok(())
    })?;
    c.event(STREAM, "xsetid", key);
    c.out.ok();
    Ok(())
}
