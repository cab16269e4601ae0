//! Ranges of sorted sets: by rank, by score, by name; told, stored, counted, removed.

use skep_state::keys;
use skep_state::zsets::{self, Bound, Order, Scored};

use crate::call::{Call, integer, is};
use crate::cmd::hashes::gone;
use crate::cmd::zsets::tell_scored;
use crate::fault::{Done, Fault, SYNTAX, text};
use crate::notify::{GENERIC, ZSET};
use crate::numbers;

/// What a range's two bounds mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range as it was asked for.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    by: By,
    order: Order,
    start: &'a [u8],
    end: &'a [u8],
    limit: Option<(i64, i64)>,
    scores: bool,
}

fn score_bound(bytes: &[u8]) -> Result<Bound, Fault> {
    let (excluded, number) = match bytes.strip_prefix(b"(") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let number = numbers::float(number).ok_or(text("ERR min or max is not a float"))?;
    Ok(if excluded { Bound::Excluded(number) } else { Bound::Included(number) })
}

/// A bound by name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lex<'a> {
    Lowest,
    Highest,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

fn lex_bound(bytes: &[u8]) -> Result<Lex<'_>, Fault> {
    match bytes {
        b"-" => Ok(Lex::Lowest),
        b"+" => Ok(Lex::Highest),
        [b'[', rest @ ..] => Ok(Lex::Included(rest)),
        [b'(', rest @ ..] => Ok(Lex::Excluded(rest)),
        _ => Err(text("ERR min or max not valid string range item")),
    }
}

impl Lex<'_> {
    fn lets_in_above(&self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::Included(low) => member >= *low,
            Self::Excluded(low) => member > *low,
        }
    }

    fn lets_in_below(&self, member: &[u8]) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::Included(high) => member <= *high,
            Self::Excluded(high) => member < *high,
        }
    }
}

/// Members by name, ascending. Redis defines this only where all scores are equal.
fn by_lex(c: &Call<'_, '_>, key: &[u8], low: &Lex<'_>, high: &Lex<'_>) -> Result<Vec<Scored>, Fault> {
    let from = match low {
        Lex::Included(low) | Lex::Excluded(low) => low,
        Lex::Lowest | Lex::Highest => &b""[..],
    };
    let mut members = Vec::new();
    zsets::each_from(&c.access.view(), c.space, key, from, |scored| {
        if !high.lets_in_below(&scored.member) {
            return false;
        }
        if low.lets_in_above(&scored.member) {
            members.push(scored);
        }
        true
    })?;
    Ok(members)
}

fn window<T>(all: Vec<T>, limit: Option<(i64, i64)>) -> Vec<T> {
    let Some((skip, most)) = limit else { return all };
    let Ok(skip) = usize::try_from(skip) else { return Vec::new() };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    all.into_iter().skip(skip).take(most).collect()
}

fn find(c: &Call<'_, '_>, key: &[u8], wish: &Wish<'_>) -> Result<Vec<Scored>, Fault> {
    let view = c.access.view();
    match wish.by {
        By::Rank => {
            let (start, end) = (integer(wish.start)?, integer(wish.end)?);
            let length = zsets::len(&view, c.space, key)?;
            let (start, count) = crate::cmd::lists::between(start, end, length);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(if count == 0 {
                Vec::new()
            } else {
                zsets::range(&view, c.space, key, start, count, wish.order)?
            })
        }
        By::Score => {
            let (low, high) = low_and_high(wish);
            let bounds = (score_bound(low)?, score_bound(high)?);
            let (skip, most) = wish.limit.unwrap_or((0, -1));
            let Ok(skip) = usize::try_from(skip) else {
                zsets::len(&view, c.space, key)?;
                return Ok(Vec::new());
            };
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            Ok(zsets::by_score(&view, c.space, key, bounds, wish.order, (skip, most))?)
        }
        By::Lex => {
            let (low, high) = low_and_high(wish);
            let (low, high) = (lex_bound(low)?, lex_bound(high)?);
            let mut all = by_lex(c, key, &low, &high)?;
            if wish.order == Order::Descending {
                all.reverse();
            }
            Ok(window(all, wish.limit))
        }
    }
}

/// Descending ranges name the high bound first.
fn low_and_high<'a>(wish: &Wish<'a>) -> (&'a [u8], &'a [u8]) {
    match wish.order {
        Order::Ascending => (wish.start, wish.end),
        Order::Descending => (wish.end, wish.start),
    }
}

/// The options behind two bounds at `at`. `fixed`: what the command's name already says.
fn wish<'a>(
    args: &[&'a [u8]],
    at: usize,
    fixed: Option<(By, Order)>,
    may_score: bool,
) -> Result<Wish<'a>, Fault> {
    let (mut by, mut order) = fixed.unwrap_or((By::Rank, Order::Ascending));
    let (mut limit, mut scores) = (None, false);
    let mut rest = &args[at + 2..];
    while let Some((word, more)) = rest.split_first() {
        rest = more;
        if may_score && is(word, "withscores") {
            scores = true;
        } else if is(word, "limit") && more.len() >= 2 {
            limit = Some((integer(more[0])?, integer(more[1])?));
            rest = &more[2..];
        } else if fixed.is_none() && is(word, "rev") {
            order = Order::Descending;
        } else if fixed.is_none() && is(word, "byscore") {
            by = By::Score;
        } else if fixed.is_none() && is(word, "bylex") {
            by = By::Lex;
        } else {
            return Err(SYNTAX);
        }
    }
    if limit.is_some() && by == By::Rank {
        return Err(text(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if scores && by == By::Lex {
        return Err(text("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
    }
    Ok(Wish { by, order, start: args[at], end: args[at + 1], limit, scores })
}

fn tell(c: &mut Call<'_, '_>, fixed: Option<(By, Order)>) -> Done {
    let wish = wish(c.args, 2, fixed, true)?;
    let members = find(c, c.args[1], &wish)?;
    tell_scored(c, &members, wish.scores, true);
    Ok(())
}

pub(crate) fn zrange(c: &mut Call<'_, '_>) -> Done {
    tell(c, None)
}

pub(crate) fn zrevrange(c: &mut Call<'_, '_>) -> Done {
    tell(c, Some((By::Rank, Order::Descending)))
}

pub(crate) fn zrangebyscore(c: &mut Call<'_, '_>) -> Done {
    tell(c, Some((By::Score, Order::Ascending)))
}

pub(crate) fn zrevrangebyscore(c: &mut Call<'_, '_>) -> Done {
    tell(c, Some((By::Score, Order::Descending)))
}

pub(crate) fn zrangebylex(c: &mut Call<'_, '_>) -> Done {
    tell(c, Some((By::Lex, Order::Ascending)))
}

pub(crate) fn zrevrangebylex(c: &mut Call<'_, '_>) -> Done {
    tell(c, Some((By::Lex, Order::Descending)))
}

/// Replaces a key by a sorted set.
pub(crate) fn store(c: &mut Call<'_, '_>, to: &[u8], members: &[Scored], event: &str) -> Done {
    let was = keys::delete(c.access.tx(), c.space, to)?;
    for scored in members {
        zsets::set(c.access.tx(), c.space, to, &scored.member, scored.score)?;
    }
    if members.is_empty() {
        if was {
            c.event(GENERIC, "del", to);
        }
    } else {
        c.ready(to);
        c.event(ZSET, event, to);
    }
    c.out.size(members.len() as u64);
    Ok(())
}

pub(crate) fn zrangestore(c: &mut Call<'_, '_>) -> Done {
    let wish = wish(c.args, 3, None, false)?;
    let members = find(c, c.args[2], &wish)?;
    store(c, c.args[1], &members, "zrangestore")
}

pub(crate) fn zcount(c: &mut Call<'_, '_>) -> Done {
    let bounds = (score_bound(c.args[2])?, score_bound(c.args[3])?);
    c.out.size(zsets::count_by_score(&c.access.view(), c.space, c.args[1], bounds)?);
    Ok(())
}

pub(crate) fn zlexcount(c: &mut Call<'_, '_>) -> Done {
    let (low, high) = (lex_bound(c.args[2])?, lex_bound(c.args[3])?);
    let count = by_lex(c, c.args[1], &low, &high)?.len();
    c.out.size(count as u64);
    Ok(())
}

fn remove(c: &mut Call<'_, '_>, by: By, event: &str) -> Done {
    let wish =
        Wish { by, order: Order::Ascending, start: c.args[2], end: c.args[3], limit: None, scores: false };
    let key = c.args[1];
    let found = find(c, key, &wish)?;
    let members: Vec<&[u8]> = found.iter().map(|scored| scored.member.as_slice()).collect();
    if !members.is_empty() {
        zsets::remove_all(c.access.tx(), c.space, key, &members)?;
        c.event(ZSET, event, key);
        gone(c, key)?;
    }
    c.out.size(members.len() as u64);
    Ok(())
}

pub(crate) fn zremrangebyrank(c: &mut Call<'_, '_>) -> Done {
    remove(c, By::Rank, "zremrangebyrank")
}

pub(crate) fn zremrangebyscore(c: &mut Call<'_, '_>) -> Done {
    remove(c, By::Score, "zremrangebyscore")
}

pub(crate) fn zremrangebylex(c: &mut Call<'_, '_>) -> Done {
    remove(c, By::Lex, "zremrangebylex")
}
