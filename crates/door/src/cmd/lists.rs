//! Lists, apart from commands that move or wait (`pops`).

use skep_state::lists::{self, End};
use skep_state::{Kind, Save};

use crate::call::{Call, integer, is, positive};
use crate::cmd::hashes::{gone, must_be};
use crate::fault::{Done, Fault, NO_SUCH_KEY, SYNTAX, text};
use crate::notify::LIST;

fn push(c: &mut Call<'_, '_>, end: End, only_if_there: bool) -> Done {
    let key = c.args[1];
    let save = if !only_if_there {
        Save::Later
    } else if must_be(c, key, Kind::List)? {
        Save::Now
    } else {
        c.out.integer(0);
        return Ok(());
    };
    let length = lists::push(c.access.tx(), c.space, key, end, &c.args[2..], save)?;
    c.ready(key);
    c.event(LIST, if end == End::Front { "lpush" } else { "rpush" }, key);
    c.out.size(length);
    Ok(())
}

pub(crate) fn lpush(c: &mut Call<'_, '_>) -> Done {
    push(c, End::Front, false)
}

pub(crate) fn rpush(c: &mut Call<'_, '_>) -> Done {
    push(c, End::Back, false)
}

pub(crate) fn lpushx(c: &mut Call<'_, '_>) -> Done {
    push(c, End::Front, true)
}

pub(crate) fn rpushx(c: &mut Call<'_, '_>) -> Done {
    push(c, End::Back, true)
}

/// Takes up to `count` values and tells of it.
pub(crate) fn take(c: &mut Call<'_, '_>, key: &[u8], end: End, count: u64) -> Result<Vec<Vec<u8>>, Fault> {
    let mut values = Vec::new();
    while (values.len() as u64) < count {
        match lists::pop(c.access.tx(), c.space, key, end, Save::Later)? {
            Some(value) => values.push(value),
            None => break,
        }
    }
    if !values.is_empty() {
        c.event(LIST, if end == End::Front { "lpop" } else { "rpop" }, key);
        gone(c, key)?;
    }
    Ok(values)
}

fn pop(c: &mut Call<'_, '_>, end: End) -> Done {
    let key = c.args[1];
    if c.args.len() > 3 {
        let name = if end == End::Front { "lpop" } else { "rpop" };
        return Err(crate::fault::arity(name));
    }
    let Some(count) = c.args.get(2) else {
        let value = take(c, key, end, 1)?.pop();
        c.out.maybe(value.as_deref());
        return Ok(());
    };
    let count = positive(count, "ERR value is out of range, must be positive")?;
    c.access.tx().settle()?;
    if !must_be(c, key, Kind::List)? {
        c.out.null_array();
        return Ok(());
    }
    let values = take(c, key, end, count)?;
    c.out.array(values.len());
    for value in values {
        c.out.bulk(&value);
    }
    Ok(())
}

pub(crate) fn lpop(c: &mut Call<'_, '_>) -> Done {
    pop(c, End::Front)
}

pub(crate) fn rpop(c: &mut Call<'_, '_>) -> Done {
    pop(c, End::Back)
}

pub(crate) fn llen(c: &mut Call<'_, '_>) -> Done {
    c.out.size(lists::len(&c.access.view(), c.space, c.args[1])?);
    Ok(())
}

/// A place from the front; `None`: outside.
fn place(index: i64, length: u64) -> Option<u64> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index + length } else { index };
    (0..length).contains(&index).then(|| index.unsigned_abs())
}

pub(crate) fn lindex(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let view = c.access.view();
    let length = lists::len(&view, c.space, key)?;
    let place = place(c.integer(2)?, length);
    let value = match place {
        Some(place) => lists::range(&view, c.space, key, place, 1)?.pop(),
        None => None,
    };
    c.out.maybe(value.as_deref());
    Ok(())
}

pub(crate) fn lset(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let length = lists::len(&c.access.view(), c.space, key)?;
    if length == 0 {
        return Err(NO_SUCH_KEY);
    }
    let place = place(c.integer(2)?, length).ok_or(text("ERR index out of range"))?;
    lists::set(c.access.tx(), c.space, key, place, c.args[3])?;
    c.event(LIST, "lset", key);
    c.out.ok();
    Ok(())
}

/// A range by two indexes (both included, negative ones from the end): start and count.
pub(crate) fn between(start: i64, end: i64, length: u64) -> (u64, u64) {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let absolute = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let (start, end) = (absolute(start).max(0), absolute(end).min(length - 1));
    if start > end { (0, 0) } else { (start.unsigned_abs(), (end - start + 1).unsigned_abs()) }
}

pub(crate) fn lrange(c: &mut Call<'_, '_>) -> Done {
    let (start, end) = (c.integer(2)?, c.integer(3)?);
    let key = c.args[1];
    let view = c.access.view();
    let (start, count) = between(start, end, lists::len(&view, c.space, key)?);
    c.out.array(usize::try_from(count).unwrap_or(0));
    if count > 0 {
        let out = &mut *c.out;
        lists::each(&view, c.space, key, start, count, |value| out.bulk(value))?;
    }
    Ok(())
}

pub(crate) fn ltrim(c: &mut Call<'_, '_>) -> Done {
    let (start, end) = (c.integer(2)?, c.integer(3)?);
    let key = c.args[1];
    let length = lists::len(&c.access.view(), c.space, key)?;
    if length > 0 {
        let (start, count) = between(start, end, length);
        lists::trim(c.access.tx(), c.space, key, start, count)?;
        c.event(LIST, "ltrim", key);
        gone(c, key)?;
    }
    c.out.ok();
    Ok(())
}

pub(crate) fn linsert(c: &mut Call<'_, '_>) -> Done {
    let after = match c.args[2] {
        word if is(word, "before") => 0,
        word if is(word, "after") => 1,
        _ => return Err(SYNTAX),
    };
    let key = c.args[1];
    let (mut found, mut at, mut length) = (None, 0, 0u64);
    lists::each(&c.access.view(), c.space, key, 0, u64::MAX, |value| {
        if found.is_none() && value == c.args[3] {
            found = Some(at);
        }
        at += 1;
        length += 1;
    })?;
    let answer = match found {
        _ if length == 0 => 0,
        None => -1,
        Some(at) => {
            let length = lists::insert(c.access.tx(), c.space, key, at + after, c.args[4])?;
            c.event(LIST, "linsert", key);
            i64::try_from(length).unwrap_or(i64::MAX)
        }
    };
    c.out.integer(answer);
    Ok(())
}

pub(crate) fn lrem(c: &mut Call<'_, '_>) -> Done {
    let count = c.integer(2)?;
    let key = c.args[1];
    let (mut found, mut at) = (Vec::new(), 0u64);
    lists::each(&c.access.view(), c.space, key, 0, u64::MAX, |value| {
        if value == c.args[3] {
            found.push(at);
        }
        at += 1;
    })?;
    let most = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count > 0 {
        found.truncate(most);
    } else if count < 0 {
        let skip = found.len().saturating_sub(most);
        found.drain(..skip);
    }
    if !found.is_empty() {
        lists::remove(c.access.tx(), c.space, key, &found)?;
        c.event(LIST, "lrem", key);
        gone(c, key)?;
    }
    c.out.size(found.len() as u64);
    Ok(())
}

pub(crate) fn lpos(c: &mut Call<'_, '_>) -> Done {
    let (mut rank, mut count, mut most) = (1i64, None, 0u64);
    let mut options = c.args[3..].chunks_exact(2);
    for option in options.by_ref() {
        if is(option[0], "rank") {
            rank = integer(option[1])?;
            if rank == i64::MIN {
                return Err(text(
                    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                ));
            }
            if rank == 0 {
                return Err(text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                ));
            }
        } else if is(option[0], "count") {
            count = Some(positive(option[1], "ERR COUNT can't be negative")?);
        } else if is(option[0], "maxlen") {
            most = positive(option[1], "ERR MAXLEN can't be negative")?;
        } else {
            return Err(SYNTAX);
        }
    }
    if !options.remainder().is_empty() {
        return Err(SYNTAX);
    }
    let (mut places, mut length) = (Vec::new(), 0u64);
    lists::each(&c.access.view(), c.space, c.args[1], 0, u64::MAX, |value| {
        if value == c.args[2] {
            places.push(length);
        }
        length += 1;
    })?;
    if rank < 0 {
        places.reverse();
        places.retain(|place| most == 0 || length - place <= most);
    } else {
        places.retain(|place| most == 0 || *place < most);
    }
    let skip = usize::try_from(rank.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let mut places = places.into_iter().skip(skip);
    match count {
        None => match places.next() {
            Some(place) => c.out.size(place),
            None => c.out.null(),
        },
        Some(count) => {
            let most = if count == 0 { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) };
            let places: Vec<u64> = places.take(most).collect();
            c.out.array(places.len());
            for place in places {
                c.out.size(place);
            }
        }
    }
    Ok(())
}
