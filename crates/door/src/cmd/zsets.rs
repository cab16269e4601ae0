//! Sorted sets, apart from ranges (`zranges`) and what puts several together (`zalgebra`).

use skep_state::zsets::{self, Order, Scored};
use skep_state::{Kind, Save};

use crate::call::{Call, integer, is, positive};
use crate::cmd::hashes::{Sample, choose, gone, must_be, sample};
use crate::cmd::pops::take_scored;
use crate::fault::{Done, Fault, NOT_A_FLOAT, SYNTAX, text};
use crate::notify::ZSET;
use crate::numbers;

#[derive(Debug, Default, Clone, Copy)]
struct Options {
    only_new: bool,
    only_old: bool,
    greater: bool,
    less: bool,
    changed: bool,
    increment: bool,
}

fn options(c: &Call<'_, '_>) -> Result<(Options, usize), Fault> {
    let mut options = Options::default();
    let mut at = 2;
    while let Some(word) = c.args.get(at) {
        match *word {
            word if is(word, "nx") => options.only_new = true,
            word if is(word, "xx") => options.only_old = true,
            word if is(word, "gt") => options.greater = true,
            word if is(word, "lt") => options.less = true,
            word if is(word, "ch") => options.changed = true,
            word if is(word, "incr") => options.increment = true,
            _ => break,
        }
        at += 1;
    }
    let pairs = c.args.len() - at;
    if pairs == 0 || !pairs.is_multiple_of(2) {
        return Err(SYNTAX);
    }
    if options.only_new && options.only_old {
        return Err(text("ERR XX and NX options at the same time are not compatible"));
    }
    if (options.only_new && (options.greater || options.less)) || (options.greater && options.less) {
        return Err(text("ERR GT, LT, and/or NX options at the same time are not compatible"));
    }
    if options.increment && pairs > 2 {
        return Err(text("ERR INCR option supports a single increment-element pair"));
    }
    Ok((options, at))
}

/// The score that a member gets; `None`: it stays as it is.
fn decide(options: Options, before: Option<f64>, score: f64) -> Option<f64> {
    let Some(before) = before else { return (!options.only_old).then_some(score) };
    let refused =
        options.only_new || (options.greater && score <= before) || (options.less && score >= before);
    (!refused && score != before).then_some(score)
}

pub(crate) fn zadd(c: &mut Call<'_, '_>) -> Done {
    let (options, at) = options(c)?;
    let mut pairs = Vec::with_capacity((c.args.len() - at) / 2);
    for pair in c.args[at..].chunks_exact(2) {
        // Adding zero turns -0 into 0, as Redis does.
        pairs.push((numbers::float(pair[0]).ok_or(NOT_A_FLOAT)? + 0.0, pair[1]));
    }
    let key = c.args[1];
    if options.only_old {
        // Only now it looks.
        c.access.tx().settle()?;
    }
    // Otherwise `update` tells, which looks anyway.
    let there = !options.only_old || must_be(c, key, Kind::SortedSet)?;
    let (mut added, mut changed, mut last) = (0, 0, None);
    if there {
        for (score, member) in pairs {
            let mut outcome = None;
            let mut not_a_number = false;
            zsets::update(c.access.tx(), c.space, key, member, Save::Later, |before| {
                let wanted = if options.increment { before.unwrap_or(0.0) + score } else { score };
                not_a_number = wanted.is_nan();
                let decided = if not_a_number { None } else { decide(options, before, wanted) };
                // With INCR, a sum that equals the score before was still done.
                let same = options.increment
                    && before == Some(wanted)
                    && !options.only_new
                    && !options.greater
                    && !options.less;
                outcome = decided.or(if same { before } else { None });
                match (before, decided) {
                    (None, Some(_)) => added += 1,
                    (Some(_), Some(_)) => changed += 1,
                    (_, None) => {}
                }
                decided
            })?;
            if not_a_number {
                return Err(text("ERR resulting score is not a number (NaN)"));
            }
            last = outcome;
        }
    }
    if added + changed > 0 {
        c.ready(key);
        c.event(ZSET, if options.increment { "zincr" } else { "zadd" }, key);
    }
    if options.increment {
        match last {
            Some(score) => c.out.double(score),
            None => c.out.null(),
        }
    } else {
        c.out.integer(if options.changed { added + changed } else { added });
    }
    Ok(())
}

pub(crate) fn zincrby(c: &mut Call<'_, '_>) -> Done {
    let by = c.float(2)?;
    let (key, member) = (c.args[1], c.args[3]);
    let mut sum = by;
    zsets::update(c.access.tx(), c.space, key, member, Save::Later, |before| {
        sum = before.unwrap_or(0.0) + by;
        (!sum.is_nan()).then_some(sum)
    })?;
    if sum.is_nan() {
        return Err(text("ERR resulting score is not a number (NaN)"));
    }
    c.ready(key);
    c.event(ZSET, "zincr", key);
    c.out.double(sum);
    Ok(())
}

pub(crate) fn zcard(c: &mut Call<'_, '_>) -> Done {
    c.out.size(zsets::len(&c.access.view(), c.space, c.args[1])?);
    Ok(())
}

pub(crate) fn zscore(c: &mut Call<'_, '_>) -> Done {
    match zsets::score(&c.access.view(), c.space, c.args[1], c.args[2])? {
        Some(score) => c.out.double(score),
        None => c.out.null(),
    }
    Ok(())
}

pub(crate) fn zmscore(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.array(c.args.len() - 2);
    for member in &c.args[2..] {
        match zsets::score(&view, c.space, c.args[1], member)? {
            Some(score) => c.out.double(score),
            None => c.out.null(),
        }
    }
    Ok(())
}

fn rank(c: &mut Call<'_, '_>, order: Order) -> Done {
    match zsets::rank(&c.access.view(), c.space, c.args[1], c.args[2], order)? {
        Some(rank) => c.out.size(rank),
        None => c.out.null(),
    }
    Ok(())
}

pub(crate) fn zrank(c: &mut Call<'_, '_>) -> Done {
    rank(c, Order::Ascending)
}

pub(crate) fn zrevrank(c: &mut Call<'_, '_>) -> Done {
    rank(c, Order::Descending)
}

pub(crate) fn zrem(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let removed = zsets::remove_all(c.access.tx(), c.space, key, &c.args[2..])?;
    if removed > 0 {
        c.event(ZSET, "zrem", key);
        gone(c, key)?;
    }
    c.out.size(removed);
    Ok(())
}

fn pop(c: &mut Call<'_, '_>, order: Order) -> Done {
    let key = c.args[1];
    let count = match &c.args[2..] {
        [] => None,
        [count] => Some(positive(count, "ERR value is out of range, must be positive")?),
        _ => return Err(SYNTAX),
    };
    let taken = take_scored(c, key, order, count.unwrap_or(1))?;
    tell_scored(c, &taken, true, count.is_some());
    Ok(())
}

/// Members, with scores if wanted: in RESP3 pairs are arrays of their own (`nested`).
pub(crate) fn tell_scored(c: &mut Call<'_, '_>, members: &[Scored], scores: bool, nested: bool) {
    let nested = nested && scores && c.out.resp3;
    c.out.array(if scores && !nested { members.len() * 2 } else { members.len() });
    for scored in members {
        if nested {
            c.out.array(2);
        }
        c.out.bulk(&scored.member);
        if scores {
            c.out.double(scored.score);
        }
    }
}

pub(crate) fn zpopmin(c: &mut Call<'_, '_>) -> Done {
    pop(c, Order::Ascending)
}

pub(crate) fn zpopmax(c: &mut Call<'_, '_>) -> Done {
    pop(c, Order::Descending)
}

pub(crate) fn zrandmember(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    if c.args.len() == 2 {
        let chance = c.door.chance();
        let found = zsets::sample(&c.access.view(), c.space, key, chance)?;
        c.out.maybe(found.as_ref().map(|scored| scored.member.as_slice()));
        return Ok(());
    }
    let count = integer(c.args[2])?;
    let scores = match &c.args[3..] {
        [] => false,
        [word] if is(word, "withscores") => true,
        _ => return Err(SYNTAX),
    };
    let length = zsets::len(&c.access.view(), c.space, key)?;
    let chosen = match sample(count, length)? {
        Sample::Any(most) => {
            let mut chosen = Vec::new();
            for _ in 0..most {
                let chance = c.door.chance();
                chosen.extend(zsets::sample(&c.access.view(), c.space, key, chance)?);
            }
            chosen
        }
        how => {
            let mut all = zsets::range(&c.access.view(), c.space, key, 0, usize::MAX, Order::Ascending)?;
            if let Sample::Different(most) = how {
                choose(&mut all, most, || c.door.chance());
            }
            all
        }
    };
    tell_scored(c, &chosen, scores, true);
    Ok(())
}
