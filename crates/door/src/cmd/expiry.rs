//! When keys expire.

use skep_state::{WallMs, keys};

use crate::call::{Call, is};
use crate::fault::{Done, say, text};
use crate::notify::GENERIC;

/// In what a moment is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Ms,
}

/// From when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Now,
    Epoch,
}

#[derive(Debug, Default)]
struct Conditions {
    missing: bool,
    exists: bool,
    later: bool,
    earlier: bool,
}

fn conditions(c: &Call<'_, '_>) -> Result<Conditions, crate::fault::Fault> {
    let mut conditions = Conditions::default();
    for option in &c.args[3..] {
        match option {
            word if is(word, "nx") => conditions.missing = true,
            word if is(word, "xx") => conditions.exists = true,
            word if is(word, "gt") => conditions.later = true,
            word if is(word, "lt") => conditions.earlier = true,
            word => return Err(say(format!("ERR Unsupported option {}", String::from_utf8_lossy(word)))),
        }
    }
    if conditions.missing && (conditions.exists || conditions.later || conditions.earlier) {
        return Err(text("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if conditions.later && conditions.earlier {
        return Err(text("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(conditions)
}

fn set(c: &mut Call<'_, '_>, unit: Unit, since: Since) -> Done {
    let number = c.integer(2)?;
    let conditions = conditions(c)?;
    let name = String::from_utf8_lossy(c.args[0]).to_lowercase();
    let invalid = || say(format!("ERR invalid expire time in '{name}' command"));
    let ms = if unit == Unit::Seconds { number.checked_mul(1000).ok_or_else(invalid)? } else { number };
    let base = if since == Since::Now { i64::try_from(c.now_ms()).unwrap_or(0) } else { 0 };
    let at = ms.checked_add(base).ok_or_else(invalid)?;
    let key = c.args[1];
    let Some(info) = keys::info(&c.access.view(), c.space, key)? else {
        c.out.flag(false);
        return Ok(());
    };
    let before = info.expires.map(|at| i64::try_from(at.0).unwrap_or(i64::MAX));
    let refused = (conditions.missing && before.is_some())
        || (conditions.exists && before.is_none())
        || (conditions.later && before.is_none_or(|before| at <= before))
        || (conditions.earlier && before.is_some_and(|before| at >= before));
    if refused {
        c.out.flag(false);
        return Ok(());
    }
    let at = WallMs(u64::try_from(at).unwrap_or(0));
    let gone = at.0 <= c.now_ms();
    keys::expire(c.access.tx(), c.space, key, Some(at))?;
    c.event(GENERIC, if gone { "del" } else { "expire" }, key);
    c.out.flag(true);
    Ok(())
}

pub(crate) fn expire(c: &mut Call<'_, '_>) -> Done {
    set(c, Unit::Seconds, Since::Now)
}

pub(crate) fn pexpire(c: &mut Call<'_, '_>) -> Done {
    set(c, Unit::Ms, Since::Now)
}

pub(crate) fn expireat(c: &mut Call<'_, '_>) -> Done {
    set(c, Unit::Seconds, Since::Epoch)
}

pub(crate) fn pexpireat(c: &mut Call<'_, '_>) -> Done {
    set(c, Unit::Ms, Since::Epoch)
}

fn tell(c: &mut Call<'_, '_>, unit: Unit, since: Since) -> Done {
    let info = keys::info(&c.access.view(), c.space, c.args[1])?;
    let answer = match info.map(|info| info.expires) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let ms = if since == Since::Now { at.0.saturating_sub(c.now_ms()) } else { at.0 };
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            match unit {
                Unit::Ms => ms,
                Unit::Seconds => (ms + 500) / 1000,
            }
        }
    };
    c.out.integer(answer);
    Ok(())
}

pub(crate) fn ttl(c: &mut Call<'_, '_>) -> Done {
    tell(c, Unit::Seconds, Since::Now)
}

pub(crate) fn pttl(c: &mut Call<'_, '_>) -> Done {
    tell(c, Unit::Ms, Since::Now)
}

pub(crate) fn expiretime(c: &mut Call<'_, '_>) -> Done {
    tell(c, Unit::Seconds, Since::Epoch)
}

pub(crate) fn pexpiretime(c: &mut Call<'_, '_>) -> Done {
    tell(c, Unit::Ms, Since::Epoch)
}

pub(crate) fn persist(c: &mut Call<'_, '_>) -> Done {
    let key = c.args[1];
    let expires = keys::info(&c.access.view(), c.space, key)?.and_then(|info| info.expires);
    if expires.is_some() {
        keys::expire(c.access.tx(), c.space, key, None)?;
        c.event(GENERIC, "persist", key);
    }
    c.out.flag(expires.is_some());
    Ok(())
}
