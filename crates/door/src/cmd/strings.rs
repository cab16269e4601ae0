//! Strings.

use skep_state::strings::{self, Expiry, If};
use skep_state::{WallMs, keys};

use crate::call::{Call, is};
use crate::fault::{Done, Fault, SYNTAX, say, text};
use crate::limits::STRING_BYTES_MAX;
use crate::notify::{GENERIC, STRING};

/// The largest moment that Redis takes for an expiry, in milliseconds.
const MS_MAX: i64 = i64::MAX;

pub(crate) fn get(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.maybe(strings::get(&view, c.space, c.args[1])?);
    Ok(())
}

/// The moment that an option's number means: seconds or milliseconds, from now or since 1970.
fn moment(c: &Call<'_, '_>, option: &[u8], number: &[u8]) -> Result<WallMs, Fault> {
    let name = String::from_utf8_lossy(c.args[0]).to_lowercase();
    let invalid = || say(format!("ERR invalid expire time in '{name}' command"));
    let number = crate::call::integer(number)?;
    let seconds = is(option, "ex") || is(option, "exat");
    let relative = is(option, "ex") || is(option, "px");
    if number <= 0 || (seconds && number > MS_MAX / 1000) {
        return Err(invalid());
    }
    let ms = if seconds { number * 1000 } else { number };
    let ms = if relative {
        ms.checked_add(i64::try_from(c.now_ms()).unwrap_or(0)).ok_or_else(invalid)?
    } else {
        ms
    };
    Ok(WallMs(ms.unsigned_abs()))
}

fn is_moment(option: &[u8]) -> bool {
    ["ex", "px", "exat", "pxat"].iter().any(|word| is(option, word))
}

pub(crate) fn set(c: &mut Call<'_, '_>) -> Done {
    if let [_, key, value] = c.args {
        strings::set_later(c.access.tx(), c.space, key, value)?;
        c.event(STRING, "set", key);
        c.out.ok();
        return Ok(());
    }
    c.access.tx().settle()?;
    let (mut expiry, mut condition, mut get) = (None, None, false);
    let mut at = 3;
    while at < c.args.len() {
        let option = c.args[at];
        if is(option, "nx") && condition.is_none() {
            condition = Some(If::Missing);
        } else if is(option, "xx") && condition.is_none() {
            condition = Some(If::Exists);
        } else if is(option, "get") {
            get = true;
        } else if is(option, "keepttl") && expiry.is_none() {
            expiry = Some(Expiry::Keep);
        } else if is_moment(option) && expiry.is_none() && at + 1 < c.args.len() {
            expiry = Some(Expiry::At(WallMs(u64::try_from(at).unwrap_or(0))));
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    // The number is looked at when all words are known to be right.
    let expiry = match expiry {
        Some(Expiry::At(WallMs(at))) => {
            let at = usize::try_from(at).unwrap_or(0);
            Expiry::At(moment(c, c.args[at], c.args[at + 1])?)
        }
        other => other.unwrap_or_default(),
    };
    let (key, value) = (c.args[1], c.args[2]);
    let mark = c.out.bytes.len();
    if get {
        let view = c.access.view();
        c.out.maybe(strings::get(&view, c.space, key)?);
    }
    let set = strings::set(c.access.tx(), c.space, key, value, expiry, condition.unwrap_or_default());
    let done = match set {
        Ok(done) => done,
        Err(error) => {
            c.out.bytes.truncate(mark);
            return Err(error.into());
        }
    };
    if !get {
        if done { c.out.ok() } else { c.out.null() }
    }
    if done {
        c.event(STRING, "set", key);
        if matches!(expiry, Expiry::At(_)) {
            c.event(GENERIC, "expire", key);
        }
    }
    Ok(())
}

pub(crate) fn setnx(c: &mut Call<'_, '_>) -> Done {
    let (key, value) = (c.args[1], c.args[2]);
    let done = strings::set(c.access.tx(), c.space, key, value, Expiry::Never, If::Missing)?;
    if done {
        c.event(STRING, "set", key);
    }
    c.out.flag(done);
    Ok(())
}

pub(crate) fn setex(c: &mut Call<'_, '_>) -> Done {
    set_until(c, b"ex")
}

pub(crate) fn psetex(c: &mut Call<'_, '_>) -> Done {
    set_until(c, b"px")
}

fn set_until(c: &mut Call<'_, '_>, unit: &[u8]) -> Done {
    let at = moment(c, unit, c.args[2])?;
    let (key, value) = (c.args[1], c.args[3]);
    strings::set(c.access.tx(), c.space, key, value, Expiry::At(at), If::Always)?;
    c.event(STRING, "set", key);
    c.event(GENERIC, "expire", key);
    c.out.ok();
    Ok(())
}

pub(crate) fn getset(c: &mut Call<'_, '_>) -> Done {
    let (key, value) = (c.args[1], c.args[2]);
    let view = c.access.view();
    c.out.maybe(strings::get(&view, c.space, key)?);
    strings::set(c.access.tx(), c.space, key, value, Expiry::Never, If::Always)?;
    c.event(STRING, "set", key);
    Ok(())
}

pub(crate) fn getdel(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let view = c.access.view();
    let value = strings::get(&view, c.space, key)?;
    c.out.maybe(value);
    if value.is_some() {
        keys::delete(c.access.tx(), c.space, key)?;
        c.event(GENERIC, "del", key);
    }
    Ok(())
}

pub(crate) fn getex(c: &mut Call<'_, '_>) -> Done {
    let expires = match c.args {
        [_, _] => None,
        [_, _, word] if is(word, "persist") => Some(None),
        [_, _, option, number] if is_moment(option) => Some(Some(moment(c, option, number)?)),
        _ => return Err(SYNTAX),
    };
    let key = c.args[1];
    let view = c.access.view();
    let value = strings::get(&view, c.space, key)?;
    c.out.maybe(value);
    if let (Some(expires), true) = (expires, value.is_some()) {
        keys::expire(c.access.tx(), c.space, key, expires)?;
        c.event(GENERIC, if expires.is_some() { "expire" } else { "persist" }, key);
    }
    Ok(())
}

pub(crate) fn mget(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    c.out.array(c.args.len() - 1);
    for key in &c.args[1..] {
        match strings::get(&view, c.space, key) {
            Ok(value) => c.out.maybe(value),
            Err(skep_state::Error::WrongType { .. }) => c.out.null(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn pairs(c: &Call<'_, '_>) -> Done {
    let name = String::from_utf8_lossy(c.args[0]).to_lowercase();
    if c.args.len().is_multiple_of(2) { Err(crate::fault::arity(&name)) } else { Ok(()) }
}

fn set_pairs(c: &mut Call<'_, '_>) -> Done {
    for pair in c.args[1..].chunks_exact(2) {
        strings::set_later(c.access.tx(), c.space, pair[0], pair[1])?;
        c.event(STRING, "set", pair[0]);
    }
    Ok(())
}

pub(crate) fn mset(c: &mut Call<'_, '_>) -> Done {
    pairs(c)?;
    set_pairs(c)?;
    c.out.ok();
    Ok(())
}

pub(crate) fn msetnx(c: &mut Call<'_, '_>) -> Done {
    pairs(c)?;
    for key in c.args[1..].iter().step_by(2) {
        if keys::info(&c.access.view(), c.space, key)?.is_some() {
            c.out.flag(false);
            return Ok(());
        }
    }
    set_pairs(c)?;
    c.out.flag(true);
    Ok(())
}

pub(crate) fn strlen(c: &mut Call<'_, '_>) -> Done {
    let view = c.access.view();
    let value = strings::get(&view, c.space, c.args[1])?;
    c.out.size(value.map_or(0, <[u8]>::len) as u64);
    Ok(())
}

/// Refuses a string that would be too long.
pub(crate) fn check_length(bytes: u64) -> Done {
    if bytes > STRING_BYTES_MAX as u64 {
        return Err(text("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    Ok(())
}

/// Writes a string back with the expiry that it had.
pub(crate) fn put_back(c: &mut Call<'_, '_>, key: &[u8], value: &[u8], event: &str) -> Done {
    strings::set(c.access.tx(), c.space, key, value, Expiry::Keep, If::Always)?;
    c.event(STRING, event, key);
    Ok(())
}

pub(crate) fn append(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let before = strings::get(&c.access.view(), c.space, key)?.unwrap_or_default().to_vec();
    check_length((before.len() + c.args[2].len()) as u64)?;
    let value = [&before, c.args[2]].concat();
    put_back(c, key, &value, "append")?;
    c.out.size(value.len() as u64);
    Ok(())
}

pub(crate) fn setrange(c: &mut Call<'_, '_>) -> Done {
    let offset = u64::try_from(c.integer(2)?).map_err(|_| text("ERR offset is out of range"))?;
    let (key, part) = (c.args[1], c.args[3]);
    let mut value = strings::get(&c.access.view(), c.space, key)?.unwrap_or_default().to_vec();
    if part.is_empty() {
        c.out.size(value.len() as u64);
        return Ok(());
    }
    let end = offset.saturating_add(part.len() as u64);
    check_length(end)?;
    let (offset, end) = (usize::try_from(offset).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(part);
    put_back(c, key, &value, "setrange")?;
    c.out.size(value.len() as u64);
    Ok(())
}

/// The part of `length` things from `start` to `end` (both included, negative ones from the end).
pub(crate) fn part(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let absolute = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let (start, end) = (absolute(start), absolute(end).min(length - 1));
    if start > end || length == 0 {
        return 0..0;
    }
    usize::try_from(start).unwrap_or(0)..usize::try_from(end + 1).unwrap_or(0)
}

pub(crate) fn getrange(c: &mut Call<'_, '_>) -> Done {
    let (start, end) = (c.integer(2)?, c.integer(3)?);
    let view = c.access.view();
    let value = strings::get(&view, c.space, c.args[1])?.unwrap_or_default();
    c.out.bulk(&value[part(start, end, value.len())]);
    Ok(())
}

/// The longest common subsequence of two strings. It takes time and memory as the product of their lengths, hence the
/// bound, which Redis does not have.
pub(crate) fn lcs(c: &mut Call<'_, '_>) -> Done {
    const CELLS_MAX: usize = 64 * 1024 * 1024;
    let (mut len, mut idx, mut with_length, mut least) = (false, false, false, 0);
    let mut options = c.args[3..].iter();
    while let Some(option) = options.next() {
        if is(option, "len") {
            len = true;
        } else if is(option, "idx") {
            idx = true;
        } else if is(option, "withmatchlen") {
            with_length = true;
        } else if is(option, "minmatchlen") {
            least = crate::call::integer(options.next().ok_or(SYNTAX)?)?.max(0);
        } else {
            return Err(SYNTAX);
        }
    }
    if len && idx {
        return Err(text("ERR If you want both the length and indexes, please just use IDX."));
    }
    let view = c.access.view();
    let load = |key: &[u8]| match strings::get(&view, c.space, key) {
        Err(skep_state::Error::WrongType { .. }) => {
            Err(text("ERR The specified keys must contain string values"))
        }
        other => Ok(other?.unwrap_or_default()),
    };
    let (a, b) = (load(c.args[1])?, load(c.args[2])?);
    if (a.len() + 1).saturating_mul(b.len() + 1) > CELLS_MAX {
        return Err(text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    let found = longest(a, b);
    if len {
        c.out.size(found.iter().map(|run| run.2).sum::<usize>() as u64);
    } else if idx {
        let runs: Vec<_> = found.iter().rev().filter(|run| run.2 as i64 >= least.max(1)).collect();
        c.out.map(2);
        c.out.text("matches");
        c.out.array(runs.len());
        for (a, b, length) in runs {
            c.out.array(if with_length { 3 } else { 2 });
            for start in [a, b] {
                c.out.array(2);
                c.out.size(*start as u64);
                c.out.size((start + length - 1) as u64);
            }
            if with_length {
                c.out.size(*length as u64);
            }
        }
        c.out.text("len");
        c.out.size(found.iter().map(|run| run.2).sum::<usize>() as u64);
    } else {
        let text: Vec<u8> =
            found.iter().flat_map(|(start, _, length)| &a[*start..start + length]).copied().collect();
        c.out.bulk(&text);
    }
    Ok(())
}

/// Runs of equal bytes: where in `a`, where in `b`, how many.
fn longest(a: &[u8], b: &[u8]) -> Vec<(usize, usize, usize)> {
    let width = b.len() + 1;
    let mut best = vec![0u32; (a.len() + 1) * width];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            best[i * width + j] = if a[i - 1] == b[j - 1] {
                best[(i - 1) * width + j - 1] + 1
            } else {
                best[(i - 1) * width + j].max(best[i * width + j - 1])
            };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            match runs.last_mut() {
                Some(run) if run.0 == i && run.1 == j => *run = (i - 1, j - 1, run.2 + 1),
                _ => runs.push((i - 1, j - 1, 1)),
            }
            i -= 1;
            j -= 1;
        } else if best[(i - 1) * width + j] > best[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    runs.reverse();
    runs
}
