//! The `bit` library (LuaBitOp): 32-bit arithmetic.

use mlua::{Lua, Table, Variadic};

/// A number as 32 bits: rounded, modulo 2^32.
fn bits(number: f64) -> u32 {
    if !number.is_finite() {
        return 0;
    }
    let whole = number.round_ties_even().rem_euclid(4_294_967_296.0);
    whole as u32
}

fn number(bits: u32) -> f64 {
    f64::from(bits.cast_signed())
}

pub(crate) fn library(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("tobit", lua.create_function(|_, x: f64| Ok(number(bits(x))))?)?;
    table.raw_set("bnot", lua.create_function(|_, x: f64| Ok(number(!bits(x))))?)?;
    table.raw_set("bswap", lua.create_function(|_, x: f64| Ok(number(bits(x).swap_bytes())))?)?;
    let fold = |f: fn(u32, u32) -> u32| {
        lua.create_function(move |_, (first, rest): (f64, Variadic<f64>)| {
            Ok(number(rest.iter().fold(bits(first), |sum, next| f(sum, bits(*next)))))
        })
    };
    table.raw_set("band", fold(|a, b| a & b)?)?;
    table.raw_set("bor", fold(|a, b| a | b)?)?;
    table.raw_set("bxor", fold(|a, b| a ^ b)?)?;
    let shift = |f: fn(u32, u32) -> u32| {
        lua.create_function(move |_, (x, by): (f64, f64)| Ok(number(f(bits(x), bits(by) & 31))))
    };
    table.raw_set("lshift", shift(|x, by| x << by)?)?;
    table.raw_set("rshift", shift(|x, by| x >> by)?)?;
    table.raw_set("arshift", shift(|x, by| (x.cast_signed() >> by).cast_unsigned())?)?;
    table.raw_set("rol", shift(u32::rotate_left)?)?;
    table.raw_set("ror", shift(u32::rotate_right)?)?;
    let hex = lua.create_function(|_, (x, digits): (f64, Option<f64>)| {
        let digits = digits.unwrap_or(8.0).clamp(-8.0, 8.0);
        let count = digits.abs() as usize;
        let text = format!("{:08x}", bits(x));
        let text = text[8 - count..].to_owned();
        Ok(if digits < 0.0 { text.to_uppercase() } else { text })
    })?;
    table.raw_set("tohex", hex)?;
    Ok(table)
}
