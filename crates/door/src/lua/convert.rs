//! Answers to Lua values and back, by Redis's rules.

use mlua::{Lua, Table, Value};

use crate::numbers;
use crate::resp::Reply;

/// How deep a script's answer may be.
const DEPTH_MAX: usize = 200;

/// An argument of `redis.call`.
pub(crate) fn argument(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Number(number) => Some(number_text(*number).into_bytes()),
        _ => None,
    }
}

/// As C's `%.17g`.
fn number_text(number: f64) -> String {
    if number == number.trunc() && number.abs() < 1e17 {
        return format!("{number:.0}");
    }
    general(number, 17)
}

/// C's `%.<digits>g`.
pub(crate) fn general(number: f64, digits: usize) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan".into()
        } else if number > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(17) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(17) - 1 - exponent).unwrap_or(0);
    trim(&format!("{number:.decimals$}"))
}

/// What a library's function gives to its wrapper in the prelude: the problem, or nil and the value.
pub(crate) fn told(outcome: mlua::Result<Value>) -> (Option<String>, Value) {
    match outcome {
        Ok(value) => (None, value),
        Err(error) => (Some(problem(&error)), Value::Nil),
    }
}

/// The text of an error, without mlua's own words.
pub(crate) fn problem(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => problem(cause),
        mlua::Error::RuntimeError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A whole answer as a value, and whether it is an error.
pub(crate) fn read(lua: &Lua, bytes: &[u8]) -> mlua::Result<(Value, bool)> {
    let failed = bytes.first() == Some(&b'-');
    let mut rest = bytes;
    let value = if bytes.is_empty() { Value::Boolean(false) } else { read_one(lua, &mut rest)? };
    Ok((value, failed))
}

fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 2..).unwrap_or_default();
    line
}

fn bytes<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let bytes = &rest[..count.min(rest.len())];
    *rest = rest.get(count + 2..).unwrap_or_default();
    bytes
}

fn single(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn list(lua: &Lua, rest: &mut &[u8], count: usize) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(count, 0)?;
    for index in 1..=count {
        table.raw_set(index, read_one(lua, rest)?)?;
    }
    Ok(table)
}

fn read_one(lua: &Lua, rest: &mut &[u8]) -> mlua::Result<Value> {
    let kind = rest.first().copied().unwrap_or(b'_');
    *rest = rest.get(1..).unwrap_or_default();
    let head = line(rest);
    let number = numbers::integer(head);
    let count = number.and_then(|count| usize::try_from(count).ok());
    Ok(match kind {
        b':' => Value::Number(number.unwrap_or(0) as f64),
        b'+' => single(lua, "ok", Value::String(lua.create_string(head)?))?,
        b'-' => single(lua, "err", Value::String(lua.create_string(head)?))?,
        b'$' => match count {
            Some(count) => Value::String(lua.create_string(bytes(rest, count))?),
            None => Value::Boolean(false),
        },
        b'=' => {
            let whole = bytes(rest, count.unwrap_or(0));
            let table = lua.create_table()?;
            table.raw_set("format", lua.create_string(whole.get(..3).unwrap_or_default())?)?;
            table.raw_set("string", lua.create_string(whole.get(4..).unwrap_or_default())?)?;
            single(lua, "verbatim_string", Value::Table(table))?
        }
        b'*' => match count {
            Some(count) => Value::Table(list(lua, rest, count)?),
            None => Value::Boolean(false),
        },
        b'~' => {
            let members = lua.create_table()?;
            for _ in 0..count.unwrap_or(0) {
                members.raw_set(read_one(lua, rest)?, true)?;
            }
            single(lua, "set", Value::Table(members))?
        }
        b'%' => {
            let map = lua.create_table()?;
            for _ in 0..count.unwrap_or(0) {
                let key = read_one(lua, rest)?;
                map.raw_set(key, read_one(lua, rest)?)?;
            }
            single(lua, "map", Value::Table(map))?
        }
        b'>' => Value::Table(list(lua, rest, count.unwrap_or(0))?),
        b',' => single(lua, "double", Value::Number(numbers::float(head).unwrap_or(f64::NAN)))?,
        b'#' => Value::Boolean(head == b"t"),
        _ => Value::Nil,
    })
}

/// A script's value as an answer. `resp3`: the script asked for RESP3's types.
pub(crate) fn write(out: &mut Reply, value: &Value, resp3: bool, depth: usize) -> mlua::Result<()> {
    if depth > DEPTH_MAX {
        out.error("ERR reached lua stack limit");
        return Ok(());
    }
    match value {
        Value::String(text) => out.bulk(&text.as_bytes()),
        Value::Integer(number) => out.integer(*number),
        Value::Number(number) => out.integer(*number as i64),
        Value::Boolean(yes) if resp3 && out.resp3 => {
            out.bytes.extend_from_slice(if *yes { b"#t\r\n" } else { b"#f\r\n" });
        }
        Value::Boolean(true) => out.integer(1),
        Value::Table(table) => write_table(out, table, resp3, depth)?,
        _ => out.null(),
    }
    Ok(())
}

fn write_table(out: &mut Reply, table: &Table, resp3: bool, depth: usize) -> mlua::Result<()> {
    if let Value::String(text) = table.raw_get("err")? {
        out.error(&text.to_string_lossy());
        return Ok(());
    }
    if let Value::String(text) = table.raw_get("ok")? {
        out.status(&text.to_string_lossy().replace(['\r', '\n'], " "));
        return Ok(());
    }
    if let Some(number) = table.raw_get::<Value>("double")?.as_f64() {
        out.double(number);
        return Ok(());
    }
    if let Value::Table(map) = table.raw_get("map")? {
        let pairs: Vec<(Value, Value)> = map.pairs().collect::<mlua::Result<_>>()?;
        out.map(pairs.len());
        for (key, value) in pairs {
            write(out, &key, resp3, depth + 1)?;
            write(out, &value, resp3, depth + 1)?;
        }
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get("set")? {
        let members: Vec<(Value, Value)> = set.pairs().collect::<mlua::Result<_>>()?;
        out.set(members.len());
        for (member, _) in members {
            write(out, &member, resp3, depth + 1)?;
        }
        return Ok(());
    }
    let mut values = Vec::new();
    loop {
        match table.raw_get(values.len() + 1)? {
            Value::Nil => break,
            value => values.push(value),
        }
    }
    out.array(values.len());
    for value in &values {
        write(out, value, resp3, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::general;

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, text) in [
            (0.1, "0.10000000000000001"),
            (1e300, "1.0000000000000001e+300"),
            (3.5, "3.5"),
            (1e-7, "9.9999999999999995e-08"),
        ] {
            assert_eq!(general(number, 17), text);
        }
        assert_eq!(general(0.1, 14), "0.1");
        assert_eq!(general(123_456_789_012_345.0, 14), "1.2345678901234e+14");
    }
}
