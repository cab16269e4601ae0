//! The `cjson` library: encoding, and the table of both.

use mlua::{Lua, Table, Value};

use crate::lua::{convert, json_read};

/// As lua-cjson by default.
const DEPTH_MAX: usize = 1000;
/// A table of numbers with more holes than this is no array (lua-cjson: ratio 2, safe 10).
const SPARSE_RATIO: usize = 2;
const SPARSE_SAFE: usize = 10;

pub(crate) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let encode = lua.create_function(|lua, value: Value| {
        let mut out = Vec::new();
        let done = encode(&mut out, &value, 0).and_then(|()| lua.create_string(out).map(Value::String));
        Ok(convert::told(done))
    })?;
    table.raw_set("encode", encode)?;
    let decode = lua.create_function(|lua, text: mlua::String| {
        Ok(convert::told(json_read::decode(lua, &text.as_bytes())))
    })?;
    table.raw_set("decode", decode)?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    // Settings: taken, and the defaults stay.
    for name in [
        "encode_sparse_array",
        "encode_max_depth",
        "decode_max_depth",
        "encode_number_precision",
        "encode_keep_buffer",
        "encode_invalid_numbers",
        "decode_invalid_numbers",
        "decode_array_with_array_mt",
    ] {
        table.raw_set(name, lua.create_function(|_, value: Value| Ok((Value::Nil, value)))?)?;
    }
    Ok(table)
}

fn cannot(what: &str) -> mlua::Error {
    mlua::Error::runtime(format!("Cannot serialise {what}"))
}

fn encode(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        Value::Boolean(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
        Value::Integer(number) => out.extend_from_slice(convert::general(*number as f64, 14).as_bytes()),
        Value::Number(number) if number.is_finite() => {
            out.extend_from_slice(convert::general(*number, 14).as_bytes());
        }
        Value::Number(_) => return Err(cannot("number: must not be NaN or Inf")),
        Value::String(text) => quote(out, &text.as_bytes()),
        Value::Table(table) => {
            if depth >= DEPTH_MAX {
                return Err(cannot("excessive depth (1001)"));
            }
            encode_table(out, table, depth + 1)?;
        }
        other => return Err(cannot(&format!("{}: type not supported", other.type_name()))),
    }
    Ok(())
}

/// The length of the array that a table is; `None`: it is an object.
fn array_length(table: &Table) -> mlua::Result<Option<usize>> {
    let (mut highest, mut count) = (0usize, 0usize);
    for pair in table.pairs::<Value, Value>() {
        let index = match pair?.0 {
            Value::Integer(index) if index > 0 => usize::try_from(index).unwrap_or(usize::MAX),
            Value::Number(index) if index >= 1.0 && index == index.trunc() => index as usize,
            _ => return Ok(None),
        };
        highest = highest.max(index);
        count += 1;
    }
    if highest > SPARSE_SAFE && highest > count.saturating_mul(SPARSE_RATIO) {
        return Err(cannot("table: excessively sparse array"));
    }
    Ok((count > 0).then_some(highest))
}

fn encode_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    if let Some(length) = array_length(table)? {
        out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                out.push(b',');
            }
            encode(out, &table.raw_get(index)?, depth)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !first {
            out.push(b',');
        }
        first = false;
        match &key {
            Value::String(text) => quote(out, &text.as_bytes()),
            Value::Integer(number) => quote(out, convert::general(*number as f64, 14).as_bytes()),
            Value::Number(number) => quote(out, convert::general(*number, 14).as_bytes()),
            _ => return Err(cannot("table: table key must be a number or string")),
        }
        out.push(b':');
        encode(out, &value, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}
