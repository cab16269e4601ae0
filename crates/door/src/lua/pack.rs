//! The `cmsgpack` library: MessagePack, as antirez's lua-cmsgpack writes and reads it.

use mlua::{Lua, MultiValue, Table, Value};

use crate::lua::convert;

/// Deeper tables become nil, as there.
const DEPTH_MAX: usize = 16;

pub(crate) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let pack = lua.create_function(|lua, values: MultiValue| {
        let mut out = Vec::new();
        let mut done = if values.is_empty() {
            Err(mlua::Error::runtime("bad argument #0 to 'pack' (MessagePack pack needs input.)"))
        } else {
            Ok(())
        };
        for value in &values {
            done = done.and_then(|()| write(&mut out, value, 0));
        }
        Ok(convert::told(done.and_then(|()| lua.create_string(out).map(Value::String))))
    })?;
    table.raw_set("pack", pack)?;
    let unpack = lua.create_function(|lua, text: mlua::String| {
        let mut values = some(lua, &text, usize::MAX, 0);
        if let Ok(values) = &mut values {
            values.pop_front();
        }
        told(lua, values)
    })?;
    table.raw_set("unpack", unpack)?;
    let one = lua.create_function(|lua, (text, offset): (mlua::String, Option<usize>)| {
        told(lua, some(lua, &text, 1, offset.unwrap_or(0)))
    })?;
    table.raw_set("unpack_one", one)?;
    let limit = lua.create_function(|lua, (text, most, offset): (mlua::String, usize, Option<usize>)| {
        told(lua, some(lua, &text, most, offset.unwrap_or(0)))
    })?;
    table.raw_set("unpack_limit", limit)?;
    Ok(table)
}

/// As [`convert::told`], for several values.
fn told(lua: &Lua, outcome: mlua::Result<MultiValue>) -> mlua::Result<MultiValue> {
    match outcome {
        Ok(mut values) => {
            values.push_front(Value::Nil);
            Ok(values)
        }
        Err(error) => {
            let text = lua.create_string(convert::problem(&error))?;
            Ok([Value::String(text)].into_iter().collect())
        }
    }
}

/// Up to `most` values from `offset` on; before them, where the rest begins (-1: nowhere).
fn some(lua: &Lua, text: &mlua::String, most: usize, offset: usize) -> mlua::Result<MultiValue> {
    let bytes = text.as_bytes();
    let mut rest =
        bytes.get(offset..).ok_or(mlua::Error::runtime("Start offset greater than input length"))?;
    let mut values = Vec::new();
    while !rest.is_empty() && values.len() < most {
        values.push(read(lua, &mut rest, 0)?);
    }
    let next = if rest.is_empty() { -1.0 } else { (bytes.len() - rest.len()) as f64 };
    values.insert(0, Value::Number(next));
    Ok(values.into_iter().collect())
}

/// A head: one byte with the length in it, or a tag with 8 (if there is such a tag), 16 or 32 bits of it.
fn head(out: &mut Vec<u8>, length: usize, small: (u8, usize), tags: [Option<u8>; 3]) {
    let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    match tags {
        _ if length < small.1 => out.push(small.0 | bytes[3]),
        [Some(tag), _, _] if length <= 0xff => out.extend_from_slice(&[tag, bytes[3]]),
        [_, Some(tag), _] if length <= 0xffff => out.extend_from_slice(&[tag, bytes[2], bytes[3]]),
        [_, _, tag] => {
            out.push(tag.unwrap_or(0xc0));
            out.extend_from_slice(&bytes);
        }
    }
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::Boolean(yes) => out.push(if *yes { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => write_integer(out, *number),
        Value::Number(number) if *number == number.trunc() && number.abs() < 9.2e18 => {
            write_integer(out, *number as i64);
        }
        Value::Number(number) => {
            let short = *number as f32;
            if f64::from(short) == *number {
                out.push(0xca);
                out.extend_from_slice(&short.to_be_bytes());
            } else {
                out.push(0xcb);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        Value::String(text) => {
            let bytes = text.as_bytes();
            head(out, bytes.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)]);
            out.extend_from_slice(&bytes);
        }
        Value::Table(table) if depth < DEPTH_MAX => write_table(out, table, depth + 1)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn write_integer(out: &mut Vec<u8>, number: i64) {
    match number {
        0..=127 => out.push(number as u8),
        128..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
        -32..0 => out.push(number as i8 as u8),
        -128..-32 => out.extend_from_slice(&[0xd0, number as i8 as u8]),
        -0x8000..-128 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        ..-0x8000_0000 => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    let pairs: Vec<(Value, Value)> = table.pairs().collect::<mlua::Result<_>>()?;
    let index = |key: &Value| match key {
        Value::Integer(index) => usize::try_from(*index).ok().filter(|index| *index > 0),
        Value::Number(index) if *index >= 1.0 && *index == index.trunc() => Some(*index as usize),
        _ => None,
    };
    let highest = pairs.iter().map(|(key, _)| index(key)).try_fold(0, |most, at| at.map(|at| most.max(at)));
    if highest == Some(pairs.len()) {
        head(out, pairs.len(), (0x90, 16), [None, Some(0xdc), Some(0xdd)]);
        for at in 1..=pairs.len() {
            write(out, &table.raw_get(at)?, depth)?;
        }
        return Ok(());
    }
    head(out, pairs.len(), (0x80, 16), [None, Some(0xde), Some(0xdf)]);
    for (key, value) in &pairs {
        write(out, key, depth)?;
        write(out, value, depth)?;
    }
    Ok(())
}

fn bad() -> mlua::Error {
    mlua::Error::runtime("Bad data format in input.")
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> mlua::Result<&'a [u8]> {
    if count > rest.len() {
        return Err(mlua::Error::runtime("Missing bytes in input."));
    }
    let (front, back) = rest.split_at(count);
    *rest = back;
    Ok(front)
}

/// A big-endian number of so many bytes.
fn unsigned(rest: &mut &[u8], bytes: usize) -> mlua::Result<u64> {
    Ok(take(rest, bytes)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn length(rest: &mut &[u8], bytes: usize) -> mlua::Result<usize> {
    usize::try_from(unsigned(rest, bytes)?).map_err(|_| bad())
}

fn read(lua: &Lua, rest: &mut &[u8], depth: usize) -> mlua::Result<Value> {
    if depth > 200 {
        return Err(bad());
    }
    let tag = take(rest, 1)?[0];
    let number = |number: f64| Ok(Value::Number(number));
    match tag {
        0..=0x7f => number(f64::from(tag)),
        0xe0..=0xff => number(f64::from(tag.cast_signed())),
        0xc0 => Ok(Value::Nil),
        0xc2 | 0xc3 => Ok(Value::Boolean(tag == 0xc3)),
        0xcc => number(unsigned(rest, 1)? as f64),
        0xcd => number(unsigned(rest, 2)? as f64),
        0xce => number(unsigned(rest, 4)? as f64),
        0xcf => number(unsigned(rest, 8)? as f64),
        0xd0 => number(f64::from(unsigned(rest, 1)? as u8 as i8)),
        0xd1 => number(f64::from(unsigned(rest, 2)? as u16 as i16)),
        0xd2 => number(f64::from(unsigned(rest, 4)? as u32 as i32)),
        0xd3 => number(unsigned(rest, 8)?.cast_signed() as f64),
        0xca => number(f64::from(f32::from_bits(unsigned(rest, 4)? as u32))),
        0xcb => number(f64::from_bits(unsigned(rest, 8)?)),
        0xa0..=0xbf => text(lua, rest, usize::from(tag & 31)),
        0xd9 | 0xc4 => length(rest, 1).and_then(|count| text(lua, rest, count)),
        0xda | 0xc5 => length(rest, 2).and_then(|count| text(lua, rest, count)),
        0xdb | 0xc6 => length(rest, 4).and_then(|count| text(lua, rest, count)),
        0x90..=0x9f => array(lua, rest, usize::from(tag & 15), depth),
        0xdc => length(rest, 2).and_then(|count| array(lua, rest, count, depth)),
        0xdd => length(rest, 4).and_then(|count| array(lua, rest, count, depth)),
        0x80..=0x8f => map(lua, rest, usize::from(tag & 15), depth),
        0xde => length(rest, 2).and_then(|count| map(lua, rest, count, depth)),
        0xdf => length(rest, 4).and_then(|count| map(lua, rest, count, depth)),
        _ => Err(bad()),
    }
}

fn text(lua: &Lua, rest: &mut &[u8], count: usize) -> mlua::Result<Value> {
    Ok(Value::String(lua.create_string(take(rest, count)?)?))
}

fn array(lua: &Lua, rest: &mut &[u8], count: usize, depth: usize) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    for index in 1..=count {
        table.raw_set(index, read(lua, rest, depth + 1)?)?;
    }
    Ok(Value::Table(table))
}

fn map(lua: &Lua, rest: &mut &[u8], count: usize, depth: usize) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    for _ in 0..count {
        let key = read(lua, rest, depth + 1)?;
        let value = read(lua, rest, depth + 1)?;
        if matches!(key, Value::Nil) {
            return Err(bad());
        }
        table.raw_set(key, value)?;
    }
    Ok(Value::Table(table))
}
