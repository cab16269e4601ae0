//! Taking from lists and sorted sets, at once or when there is something, and moving between lists.

use skep_state::lists::{self, End};
use skep_state::zsets::{self, Order, Scored};
use skep_state::{Kind, Save};

use crate::call::{Call, is, positive};
use crate::client::{Blocked, Nothing};
use crate::cmd::hashes::{gone, must_be};
use crate::cmd::lists::take;
use crate::fault::{Done, Fault, SYNTAX, text};
use crate::notify::{LIST, ZSET};
use crate::numbers;

/// How long a command waits: nanoseconds since boot, `None` for ever.
pub(crate) fn deadline(seconds: &[u8]) -> Result<Option<u64>, Fault> {
    let seconds = numbers::float(seconds).ok_or(text("ERR timeout is not a float or out of range"))?;
    if seconds < 0.0 {
        return Err(text("ERR timeout is negative"));
    }
    if seconds * 1000.0 >= i64::MAX as f64 {
        return Err(text("ERR timeout is out of range"));
    }
    if seconds == 0.0 {
        return Ok(None);
    }
    // A hundred years are for ever, too, and fit.
    let ms = (seconds * 1000.0).ceil().min(3.2e12);
    Ok(Some(skep_sys::clock::boottime_ns() + ms as u64 * 1_000_000))
}

/// Has a command wait for its keys, or tells that there is nothing where it may not wait.
pub(crate) fn block(
    c: &mut Call<'_, '_>,
    keys: &[&[u8]],
    deadline_ns: Option<u64>,
    nothing: Nothing,
) -> Done {
    if !c.may_block() {
        match nothing {
            Nothing::Null => c.out.null(),
            Nothing::NullArray => c.out.null_array(),
        }
        return Ok(());
    }
    let keys = keys.iter().map(|key| (c.space, key.to_vec())).collect();
    let command = c.args.iter().map(|arg| arg.to_vec()).collect();
    c.client.blocked = Some(Blocked { command, keys, deadline_ns, nothing });
    Ok(())
}

fn blocking_pop(c: &mut Call<'_, '_>, end: End) -> Done {
    let last = c.args.len() - 1;
    let deadline = deadline(c.args[last])?;
    let names = &c.args[1..last];
    for key in names {
        if must_be(c, key, Kind::List)? {
            let value = take(c, key, end, 1)?.pop().unwrap_or_default();
            c.out.array(2);
            c.out.bulk(key);
            c.out.bulk(&value);
            return Ok(());
        }
    }
    block(c, names, deadline, Nothing::NullArray)
}

pub(crate) fn blpop(c: &mut Call<'_, '_>) -> Done {
    blocking_pop(c, End::Front)
}

pub(crate) fn brpop(c: &mut Call<'_, '_>) -> Done {
    blocking_pop(c, End::Back)
}

fn end(word: &[u8]) -> Result<End, Fault> {
    match word {
        word if is(word, "left") => Ok(End::Front),
        word if is(word, "right") => Ok(End::Back),
        _ => Err(SYNTAX),
    }
}

/// Moves a value; `None`: there is none.
fn shift(
    c: &mut Call<'_, '_>,
    from: &[u8],
    take_at: End,
    to: &[u8],
    put_at: End,
) -> Result<Option<Vec<u8>>, Fault> {
    if !must_be(c, from, Kind::List)? {
        return Ok(None);
    }
    must_be(c, to, Kind::List)?;
    let Some(value) = lists::pop(c.access.tx(), c.space, from, take_at, Save::Now)? else { return Ok(None) };
    lists::push(c.access.tx(), c.space, to, put_at, &[&value], Save::Now)?;
    c.ready(to);
    c.event(LIST, if take_at == End::Front { "lpop" } else { "rpop" }, from);
    c.event(LIST, if put_at == End::Front { "lpush" } else { "rpush" }, to);
    gone(c, from)?;
    Ok(Some(value))
}

pub(crate) fn lmove(c: &mut Call<'_, '_>) -> Done {
    let (take_at, put_at) = (end(c.args[3])?, end(c.args[4])?);
    let value = shift(c, c.args[1], take_at, c.args[2], put_at)?;
    c.out.maybe(value.as_deref());
    Ok(())
}

pub(crate) fn rpoplpush(c: &mut Call<'_, '_>) -> Done {
    let value = shift(c, c.args[1], End::Back, c.args[2], End::Front)?;
    c.out.maybe(value.as_deref());
    Ok(())
}

fn blocking_shift(c: &mut Call<'_, '_>, take_at: End, put_at: End, timeout: &[u8]) -> Done {
    let deadline = deadline(timeout)?;
    match shift(c, c.args[1], take_at, c.args[2], put_at)? {
        Some(value) => c.out.bulk(&value),
        None => {
            let from = c.args[1];
            let nothing = if c.may_block() { Nothing::NullArray } else { Nothing::Null };
            block(c, &[from], deadline, nothing)?;
        }
    }
    Ok(())
}

pub(crate) fn blmove(c: &mut Call<'_, '_>) -> Done {
    let (take_at, put_at) = (end(c.args[3])?, end(c.args[4])?);
    blocking_shift(c, take_at, put_at, c.args[5])
}

pub(crate) fn brpoplpush(c: &mut Call<'_, '_>) -> Done {
    blocking_shift(c, End::Back, End::Front, c.args[3])
}

/// Keys, a word, a count.
type Many<'a> = (Vec<&'a [u8]>, &'a [u8], u64);

/// `numkeys key… WHERE [COUNT n]` from `at` on.
fn many<'a>(args: &[&'a [u8]], at: usize) -> Result<Many<'a>, Fault> {
    let count = positive(args[at], "ERR numkeys should be greater than 0")?;
    if count == 0 {
        return Err(text("ERR numkeys should be greater than 0"));
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let end = at.saturating_add(1).saturating_add(count);
    if end >= args.len() {
        return Err(SYNTAX);
    }
    let most = match &args[end + 1..] {
        [] => 1,
        [word, number] if is(word, "count") => {
            let most = positive(number, "ERR count should be greater than 0")?;
            if most == 0 {
                return Err(text("ERR count should be greater than 0"));
            }
            most
        }
        _ => return Err(SYNTAX),
    };
    Ok((args[at + 1..end].to_vec(), args[end], most))
}

/// Whether one of the lists had something.
fn pop_many(c: &mut Call<'_, '_>, names: &[&[u8]], at: End, most: u64) -> Result<bool, Fault> {
    for key in names {
        if must_be(c, key, Kind::List)? {
            let values = take(c, key, at, most)?;
            c.out.array(2);
            c.out.bulk(key);
            c.out.array(values.len());
            for value in values {
                c.out.bulk(&value);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn lmpop(c: &mut Call<'_, '_>) -> Done {
    let (names, word, most) = many(c.args, 1)?;
    let at = end(word)?;
    if !pop_many(c, &names, at, most)? {
        c.out.null_array();
    }
    Ok(())
}

pub(crate) fn blmpop(c: &mut Call<'_, '_>) -> Done {
    let deadline = deadline(c.args[1])?;
    let (names, word, most) = many(c.args, 2)?;
    let at = end(word)?;
    if !pop_many(c, &names, at, most)? {
        block(c, &names, deadline, Nothing::NullArray)?;
    }
    Ok(())
}

/// Takes up to `most` members from one end and tells of it.
pub(crate) fn take_scored(
    c: &mut Call<'_, '_>,
    key: &[u8],
    order: Order,
    most: u64,
) -> Result<Vec<Scored>, Fault> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let taken = zsets::pop(c.access.tx(), c.space, key, order, most, Save::Later)?;
    if !taken.is_empty() {
        c.event(ZSET, if order == Order::Ascending { "zpopmin" } else { "zpopmax" }, key);
        gone(c, key)?;
    }
    Ok(taken)
}

fn blocking_scored(c: &mut Call<'_, '_>, order: Order) -> Done {
    let last = c.args.len() - 1;
    let deadline = deadline(c.args[last])?;
    let names = &c.args[1..last];
    for key in names {
        if must_be(c, key, Kind::SortedSet)? {
            let taken = take_scored(c, key, order, 1)?;
            c.out.array(3);
            c.out.bulk(key);
            for scored in taken {
                c.out.bulk(&scored.member);
                c.out.double(scored.score);
            }
            return Ok(());
        }
    }
    block(c, names, deadline, Nothing::NullArray)
}

pub(crate) fn bzpopmin(c: &mut Call<'_, '_>) -> Done {
    blocking_scored(c, Order::Ascending)
}

pub(crate) fn bzpopmax(c: &mut Call<'_, '_>) -> Done {
    blocking_scored(c, Order::Descending)
}

fn order(word: &[u8]) -> Result<Order, Fault> {
    match word {
        word if is(word, "min") => Ok(Order::Ascending),
        word if is(word, "max") => Ok(Order::Descending),
        _ => Err(SYNTAX),
    }
}

fn pop_many_scored(c: &mut Call<'_, '_>, names: &[&[u8]], order: Order, most: u64) -> Result<bool, Fault> {
    for key in names {
        if must_be(c, key, Kind::SortedSet)? {
            let taken = take_scored(c, key, order, most)?;
            c.out.array(2);
            c.out.bulk(key);
            c.out.array(taken.len());
            for scored in taken {
                c.out.array(2);
                c.out.bulk(&scored.member);
                c.out.double(scored.score);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn zmpop(c: &mut Call<'_, '_>) -> Done {
    let (names, word, most) = many(c.args, 1)?;
    let order = order(word)?;
    if !pop_many_scored(c, &names, order, most)? {
        c.out.null_array();
    }
    Ok(())
}

pub(crate) fn bzmpop(c: &mut Call<'_, '_>) -> Done {
    let deadline = deadline(c.args[1])?;
    let (names, word, most) = many(c.args, 2)?;
    let order = order(word)?;
    if !pop_many_scored(c, &names, order, most)? {
        block(c, &names, deadline, Nothing::NullArray)?;
    }
    Ok(())
}
