//! Hashes.

use skep_state::{Kind, Save, hashes, keys};

use crate::call::{Call, integer, is};
use crate::fault::{Done, Fault, SYNTAX, arity, text};
use crate::notify::{GENERIC, HASH};
use crate::numbers;

fn set_pairs(c: &mut Call<'_, '_>, name: &str) -> Result<u64, Fault> {
    if !c.args.len().is_multiple_of(2) {
        return Err(arity(name));
    }
    let pairs: Vec<(&[u8], &[u8])> = c.args[2..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let new = hashes::set_all(c.access.tx(), c.space, c.args[1], &pairs, Save::Later)?;
    c.event(HASH, "hset", c.args[1]);
    Ok(new)
}

pub(crate) fn hset(c: &mut Call<'_, '_>) -> Done {
    let new = set_pairs(c, "hset")?;
    c.out.size(new);
    Ok(())
}

pub(crate) fn hmset(c: &mut Call<'_, '_>) -> Done {
    set_pairs(c, "hmset")?;
    c.out.ok();
    Ok(())
}

pub(crate) fn hsetnx(c: &mut Call<'_, '_>) -> Done {
    let (key, field) = (c.args[1], c.args[2]);
    let free = hashes::get(&c.access.view(), c.space, key, field)?.is_none();
    if free {
        hashes::set(c.access.tx(), c.space, key, field, c.args[3])?;
        c.event(HASH, "hset", key);
    }
    c.out.flag(free);
    Ok(())
}

pub(crate) fn hget(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.maybe(hashes::get(&view, c.space, c.args[1], c.args[2])?);
    Ok(())
}

pub(crate) fn hmget(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.array(c.args.len() - 2);
    for field in &c.args[2..] {
        c.out.maybe(hashes::get(&view, c.space, c.args[1], field)?);
    }
    Ok(())
}

pub(crate) fn hexists(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.flag(hashes::get(&view, c.space, c.args[1], c.args[2])?.is_some());
    Ok(())
}

pub(crate) fn hstrlen(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let value = hashes::get(&view, c.space, c.args[1], c.args[2])?;
    c.out.size(value.map_or(0, <[u8]>::len) as u64);
    Ok(())
}

pub(crate) fn hlen(c: &mut Call<'_, '_>) -> Done {
    c.out.size(hashes::len(&c.access.view(), c.space, c.args[1])?);
    Ok(())
}

pub(crate) fn hgetall(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let count = hashes::len(&view, c.space, c.args[1])?;
    c.out.map(usize::try_from(count).unwrap_or(0));
    let out = &mut *c.out;
    hashes::each(&view, c.space, c.args[1], |field, value| {
        out.bulk(field);
        out.bulk(value);
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn hkeys(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let count = hashes::len(&view, c.space, c.args[1])?;
    c.out.array(usize::try_from(count).unwrap_or(0));
    let out = &mut *c.out;
    hashes::each(&view, c.space, c.args[1], |field, _| {
        out.bulk(field);
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn hvals(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let count = hashes::len(&view, c.space, c.args[1])?;
    c.out.array(usize::try_from(count).unwrap_or(0));
    let out = &mut *c.out;
    hashes::each(&view, c.space, c.args[1], |_, value| {
        out.bulk(value);
        Ok(())
    })?;
    Ok(())
}

pub(crate) fn hdel(c: &mut Call<'_, '_>) -> Done {
    let removed = hashes::remove_all(c.access.tx(), c.space, c.args[1], &c.args[2..])?;
    if removed > 0 {
        c.event(HASH, "hdel", c.args[1]);
        gone(c, c.args[1])?;
    }
    c.out.size(removed);
    Ok(())
}

/// Tells of a collection that ended with its last element.
pub(crate) fn gone(c: &mut Call<'_, '_>, key: &[u8]) -> Done {
    if !c.door.notify.wants(GENERIC) {
        return Ok(());
    }
    c.access.tx().settle()?;
    if keys::info(&c.access.view(), c.space, key)?.is_none() {
        c.event(GENERIC, "del", key);
    }
    Ok(())
}

pub(crate) fn hincrby(c: &mut Call<'_, '_>) -> Done {
    let by = c.integer(3)?;
    let (key, field) = (c.args[1], c.args[2]);
    let before = match hashes::get(&c.access.view(), c.space, key, field)? {
        Some(value) => numbers::integer(value).ok_or(text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = before.checked_add(by).ok_or(crate::fault::OVERFLOW)?;
    hashes::set(c.access.tx(), c.space, key, field, sum.to_string().as_bytes())?;
    c.event(HASH, "hincrby", key);
    c.out.integer(sum);
    Ok(())
}

pub(crate) fn hincrbyfloat(c: &mut Call<'_, '_>) -> Done {
    let (key, field, by) = (c.args[1], c.args[2], c.args[3]);
    let number = numbers::float(by).ok_or(crate::fault::NOT_A_FLOAT)?;
    if !number.is_finite() {
        return Err(text("ERR value is NaN or Infinity"));
    }
    let before = hashes::get(&c.access.view(), c.space, key, field)?.unwrap_or(b"0").to_vec();
    if numbers::float(&before).is_none() {
        return Err(text("ERR hash value is not a float"));
    }
    let sum = numbers::decimal_sum(&before, by).ok_or(text("ERR increment would produce NaN or Infinity"))?;
    hashes::set(c.access.tx(), c.space, key, field, sum.as_bytes())?;
    c.event(HASH, "hincrbyfloat", key);
    c.out.text(&sum);
    Ok(())
}

/// How many different elements of `length` a sample has, and whether by chance one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// All there are.
    All,
    /// So many, none twice.
    Different(usize),
    /// So many, any as often as chance will.
    Any(usize),
}

/// Most elements of a sample with repetition: each costs a few bytes of an answer.
const SAMPLE_MAX: i64 = i64::MAX / 2;

pub(crate) fn sample(count: i64, length: u64) -> Result<Sample, Fault> {
    if !(-SAMPLE_MAX..=SAMPLE_MAX).contains(&count) {
        return Err(text("ERR value is out of range"));
    }
    if count < 0 {
        let most = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        return Ok(Sample::Any(if length == 0 { 0 } else { most }));
    }
    if count.unsigned_abs() >= length {
        return Ok(Sample::All);
    }
    Ok(Sample::Different(usize::try_from(count).unwrap_or(0)))
}

/// `most` of `all` by chance, none twice (the beginning of a Fisher-Yates shuffle).
pub(crate) fn choose<T>(all: &mut Vec<T>, most: usize, mut chance: impl FnMut() -> u64) {
    for at in 0..most.min(all.len()) {
        let left = (all.len() - at) as u64;
        let other = at + usize::try_from(chance() % left).unwrap_or(0);
        all.swap(at, other);
    }
    all.truncate(most);
}

pub(crate) fn hrandfield(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    if c.args.len() == 2 {
        let chance = c.door.chance();
        let found = hashes::sample(&c.access.view(), c.space, key, chance)?;
        c.out.maybe(found.as_ref().map(|(field, _)| field.as_slice()));
        return Ok(());
    }
    let count = integer(c.args[2])?;
    let with_values = match &c.args[3..] {
        [] => false,
        [word] if is(word, "withvalues") => true,
        _ => return Err(SYNTAX),
    };
    let length = hashes::len(&c.access.view(), c.space, key)?;
    let chosen = match sample(count, length)? {
        Sample::Any(most) => {
            let mut chosen = Vec::new();
            for _ in 0..most {
                let chance = c.door.chance();
                chosen.extend(hashes::sample(&c.access.view(), c.space, key, chance)?);
            }
            chosen
        }
        how => {
            let mut all = hashes::page(&c.access.view(), c.space, key, &[], usize::MAX)?;
            if let Sample::Different(most) = how {
                choose(&mut all, most, || c.door.chance());
            }
            all
        }
    };
    let nested = with_values && c.out.resp3;
    c.out.array(if with_values && !nested { chosen.len() * 2 } else { chosen.len() });
    for (field, value) in chosen {
        if nested {
            c.out.array(2);
        }
        c.out.bulk(&field);
        if with_values {
            c.out.bulk(&value);
        }
    }
    Ok(())
}

/// Refuses a key that holds something else, before anything is changed.
pub(crate) fn must_be(c: &Call<'_, '_>, key: &[u8], kind: Kind) -> Result<bool, Fault> {
    match keys::info(&c.access.view(), c.space, key)? {
        None => Ok(false),
        Some(info) if info.kind == kind => Ok(true),
        Some(info) => {
            Err(skep_state::Error::WrongType { found: info.kind.name(), wanted: kind.name() }.into())
        }
    }
}
