//! Numbers in strings.

use skep_state::strings;

use crate::call::Call;
use crate::cmd::strings::put_back;
use crate::fault::{Done, NOT_A_FLOAT, text};
use crate::notify::STRING;
use crate::numbers;

fn add(c: &mut Call<'_, '_>, by: i64) -> Done {
    let key = c.args[1];
    let sum = strings::add_later(c.access.tx(), c.space, key, by)?;
    c.event(STRING, "incrby", key);
    c.out.integer(sum);
    Ok(())
}

pub(crate) fn incr(c: &mut Call<'_, '_>) -> Done {
    add(c, 1)
}

pub(crate) fn decr(c: &mut Call<'_, '_>) -> Done {
    add(c, -1)
}

pub(crate) fn incrby(c: &mut Call<'_, '_>) -> Done {
    let by = c.integer(2)?;
    add(c, by)
}

pub(crate) fn decrby(c: &mut Call<'_, '_>) -> Done {
    let by = c.integer(2)?;
    add(c, by.checked_neg().ok_or(text("ERR decrement would overflow"))?)
}

pub(crate) fn incrbyfloat(c: &mut Call<'_, '_>) -> Done {
    let (key, by) = (c.args[1], c.args[2]);
    let before = strings::get(&c.access.view(), c.space, key)?.unwrap_or(b"0").to_vec();
    if numbers::float(&before).is_none() || numbers::float(by).is_none() {
        return Err(NOT_A_FLOAT);
    }
    let sum = numbers::decimal_sum(&before, by).ok_or(text("ERR increment would produce NaN or Infinity"))?;
    put_back(c, key, sum.as_bytes(), "incrbyfloat")?;
    c.out.text(&sum);
    Ok(())
}
