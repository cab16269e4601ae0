//! Bits of strings.

use skep_state::keys;
use skep_state::strings::{self, Expiry, If};

use crate::call::{Call, integer, is};
use crate::cmd::strings::{check_length, put_back};
use crate::fault::{Done, Fault, SYNTAX, text};
use crate::notify::{GENERIC, STRING};
use crate::numbers;

const NO_OFFSET: &str = "ERR bit offset is not an integer or out of range";
const NO_BIT: &str = "ERR bit is not an integer or out of range";
/// As Redis: 512 MiB of bits.
const OFFSET_MAX: i64 = (512 * 1024 * 1024 * 8) - 1;

fn offset(bytes: &[u8]) -> Result<usize, Fault> {
    let offset = numbers::integer(bytes).filter(|offset| (0..=OFFSET_MAX).contains(offset));
    offset.and_then(|offset| usize::try_from(offset).ok()).ok_or(text(NO_OFFSET))
}

fn value(c: &Call<'_, '_>, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    Ok(strings::get(&c.access.view(), c.space, key)?.map(<[u8]>::to_vec))
}

pub(crate) fn getbit(c: &mut Call<'_, '_>) -> Done {
    let offset = offset(c.args[2])?;
    let view = c.access.view();
    let value = strings::get(&view, c.space, c.args[1])?.unwrap_or_default();
    let byte = value.get(offset / 8).copied().unwrap_or(0);
    c.out.integer(i64::from(byte >> (7 - offset % 8) & 1));
    Ok(())
}

pub(crate) fn setbit(c: &mut Call<'_, '_>) -> Done {
    let offset = offset(c.args[2])?;
    let bit = numbers::integer(c.args[3]).filter(|bit| (0..=1).contains(bit)).ok_or(text(NO_BIT))? == 1;
    let mut value = value(c, c.args[1])?.unwrap_or_default();
    check_length(offset as u64 / 8 + 1)?;
    if value.len() <= offset / 8 {
        value.resize(offset / 8 + 1, 0);
    }
    let mask = 1 << (7 - offset % 8);
    let before = value[offset / 8] & mask != 0;
    if bit {
        value[offset / 8] |= mask;
    } else {
        value[offset / 8] &= !mask;
    }
    put_back(c, c.args[1], &value, "setbit")?;
    c.out.flag(before);
    Ok(())
}

/// A range of bits out of `start end [BYTE|BIT]`; `None`: empty.
fn bits_between(start: i64, end: i64, by_bit: bool, bytes: usize) -> Option<(usize, usize)> {
    let length = if by_bit { bytes * 8 } else { bytes };
    let range = crate::cmd::strings::part(start, end, length);
    if range.is_empty() {
        return None;
    }
    Some(if by_bit { (range.start, range.end) } else { (range.start * 8, range.end * 8) })
}

fn unit(word: Option<&&[u8]>) -> Result<bool, Fault> {
    match word {
        None => Ok(false),
        Some(word) if is(word, "byte") => Ok(false),
        Some(word) if is(word, "bit") => Ok(true),
        Some(_) => Err(SYNTAX),
    }
}

pub(crate) fn bitcount(c: &mut Call<'_, '_>) -> Done {
    let range = match c.args.len() {
        2 => None,
        4 | 5 => Some((c.integer(2)?, c.integer(3)?, unit(c.args.get(4))?)),
        _ => return Err(SYNTAX),
    };
    let view = c.access.view();
    let value = strings::get(&view, c.space, c.args[1])?.unwrap_or_default();
    let (start, end, by_bit) = range.unwrap_or((0, -1, false));
    let Some((from, to)) = bits_between(start, end, by_bit, value.len()) else {
        c.out.integer(0);
        return Ok(());
    };
    let (first, last) = (from / 8, (to - 1) / 8);
    let mut count: u64 = value[first..=last].iter().map(|byte| u64::from(byte.count_ones())).sum();
    count -= u64::from((value[first] & !(0xffu8 >> (from % 8))).count_ones());
    if !to.is_multiple_of(8) {
        count -= u64::from((value[last] & (0xffu8 >> (to % 8))).count_ones());
    }
    c.out.size(count);
    Ok(())
}

pub(crate) fn bitpos(c: &mut Call<'_, '_>) -> Done {
    let bit = match integer(c.args[2])? {
        0 => false,
        1 => true,
        _ => return Err(text("ERR The bit argument must be 1 or 0.")),
    };
    if c.args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = if c.args.len() > 3 { c.integer(3)? } else { 0 };
    let end = if c.args.len() > 4 { Some(c.integer(4)?) } else { None };
    let by_bit = unit(c.args.get(5))?;
    let view = c.access.view();
    let Some(value) = strings::get(&view, c.space, c.args[1])? else {
        c.out.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let Some((from, to)) = bits_between(start, end.unwrap_or(-1), by_bit, value.len()) else {
        c.out.integer(-1);
        return Ok(());
    };
    let found = (from..to).find(|at| (value[at / 8] >> (7 - at % 8) & 1 == 1) == bit);
    c.out.integer(match found {
        Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        // Zeros go on behind the end, where no end was asked for.
        None if !bit && end.is_none() => i64::try_from(value.len() * 8).unwrap_or(i64::MAX),
        None => -1,
    });
    Ok(())
}

pub(crate) fn bitop(c: &mut Call<'_, '_>) -> Done {
    let operation = c.args[1];
    let known = ["and", "or", "xor", "not"].iter().any(|word| is(operation, word));
    if !known {
        return Err(SYNTAX);
    }
    let (to, sources) = (c.args[2], &c.args[3..]);
    let not = is(operation, "not");
    if not && sources.len() != 1 {
        return Err(text("ERR BITOP NOT must be called with a single source key."));
    }
    let mut values = Vec::with_capacity(sources.len());
    for source in sources {
        values.push(value(c, source)?.unwrap_or_default());
    }
    let length = values.iter().map(Vec::len).max().unwrap_or(0);
    let byte = |value: &Vec<u8>, at: usize| value.get(at).copied().unwrap_or(0);
    let result: Vec<u8> = (0..length)
        .map(|at| {
            let bytes = values.iter().map(|value| byte(value, at));
            if not {
                !byte(&values[0], at)
            } else if is(operation, "and") {
                bytes.fold(0xff, |a, b| a & b)
            } else if is(operation, "or") {
                bytes.fold(0, |a, b| a | b)
            } else {
                bytes.fold(0, |a, b| a ^ b)
            }
        })
        .collect();
    if result.is_empty() {
        if keys::delete(c.access.tx(), c.space, to)? {
            c.event(GENERIC, "del", to);
        }
    } else {
        strings::set(c.access.tx(), c.space, to, &result, Expiry::Never, If::Always)?;
        c.event(STRING, "set", to);
    }
    c.out.size(length as u64);
    Ok(())
}

/// A step of BITFIELD.
#[derive(Debug, Clone, Copy)]
enum Step {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Sat,
    Fail,
}

#[derive(Debug, Clone, Copy)]
struct Field {
    signed: bool,
    bits: u32,
    offset: usize,
}

fn field(kind: &[u8], at: &[u8]) -> Result<Field, Fault> {
    let invalid = text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    let (first, digits) = kind.split_first().ok_or(SYNTAX)?;
    let signed = first.eq_ignore_ascii_case(&b'i');
    let bits = numbers::integer(digits).unwrap_or(0);
    let most = if signed { 64 } else { 63 };
    if (!signed && !first.eq_ignore_ascii_case(&b'u')) || !(1..=most).contains(&bits) {
        return Err(invalid);
    }
    let (times, digits) = match at.strip_prefix(b"#") {
        Some(rest) => (bits, rest),
        None => (1, at),
    };
    let offset = numbers::integer(digits).and_then(|at| at.checked_mul(times)).ok_or(text(NO_OFFSET))?;
    if offset < 0 || offset + bits - 1 > OFFSET_MAX {
        return Err(text(NO_OFFSET));
    }
    Ok(Field { signed, bits: u32::try_from(bits).unwrap_or(1), offset: usize::try_from(offset).unwrap_or(0) })
}

impl Field {
    fn read(&self, value: &[u8]) -> i64 {
        let mut number: u64 = 0;
        for at in self.offset..self.offset + self.bits as usize {
            let byte = value.get(at / 8).copied().unwrap_or(0);
            number = number << 1 | u64::from(byte >> (7 - at % 8) & 1);
        }
        if self.signed && self.bits < 64 && number >> (self.bits - 1) == 1 {
            number |= u64::MAX << self.bits;
        }
        number.cast_signed()
    }

    fn write(&self, value: &mut Vec<u8>, number: i64) {
        let end = (self.offset + self.bits as usize).div_ceil(8);
        if value.len() < end {
            value.resize(end, 0);
        }
        for (index, at) in (self.offset..self.offset + self.bits as usize).enumerate() {
            let bit = number.cast_unsigned() >> (self.bits as usize - 1 - index) & 1;
            let mask = 1u8 << (7 - at % 8);
            if bit == 1 { value[at / 8] |= mask } else { value[at / 8] &= !mask }
        }
    }

    /// A number brought into the field's range; `None`: it does not fit and was to fail.
    fn fit(&self, number: i128, overflow: Overflow) -> Option<i64> {
        let (low, high) = if self.signed {
            (-(1i128 << (self.bits - 1)), (1i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1i128 << self.bits) - 1)
        };
        if (low..=high).contains(&number) {
            return i64::try_from(number).ok();
        }
        let wrapped = (number - low).rem_euclid(1i128 << self.bits) + low;
        match overflow {
            Overflow::Wrap => i64::try_from(wrapped).ok(),
            Overflow::Sat => i64::try_from(number.clamp(low, high)).ok(),
            Overflow::Fail => None,
        }
    }
}

fn steps(c: &Call<'_, '_>) -> Result<Vec<(Field, Step, Overflow)>, Fault> {
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = &c.args[2..];
    loop {
        rest = match rest {
            [] => return Ok(steps),
            [word, kind, at, more @ ..] if is(word, "get") => {
                steps.push((field(kind, at)?, Step::Get, overflow));
                more
            }
            [word, kind, at, number, more @ ..] if is(word, "set") || is(word, "incrby") => {
                let field = field(kind, at)?;
                let number = integer(number)?;
                steps.push((
                    field,
                    if is(word, "set") { Step::Set(number) } else { Step::Add(number) },
                    overflow,
                ));
                more
            }
            [word, how, more @ ..] if is(word, "overflow") => {
                overflow = match how {
                    how if is(how, "wrap") => Overflow::Wrap,
                    how if is(how, "sat") => Overflow::Sat,
                    how if is(how, "fail") => Overflow::Fail,
                    _ => return Err(text("ERR Invalid OVERFLOW type specified")),
                };
                more
            }
            _ => return Err(SYNTAX),
        };
    }
}

pub(crate) fn bitfield(c: &mut Call<'_, '_>) -> Done {
    let steps = steps(c)?;
    let mut value = value(c, c.args[1])?.unwrap_or_default();
    let mut changed = false;
    c.out.array(steps.len());
    for (field, step, overflow) in steps {
        let before = field.read(&value);
        let (answer, write) = match step {
            Step::Get => (Some(before), None),
            Step::Set(number) => {
                let fitted = field.fit(i128::from(number), overflow);
                (fitted.map(|_| before), fitted)
            }
            Step::Add(by) => {
                let fitted = field.fit(i128::from(before) + i128::from(by), overflow);
                (fitted, fitted)
            }
        };
        if let Some(number) = write {
            check_length((field.offset as u64 + u64::from(field.bits)).div_ceil(8))?;
            field.write(&mut value, number);
            changed = true;
        }
        match answer {
            Some(number) => c.out.integer(number),
            None => c.out.null(),
        }
    }
    if changed {
        put_back(c, c.args[1], &value, "setbit")?;
    }
    Ok(())
}

pub(crate) fn bitfield_ro(c: &mut Call<'_, '_>) -> Done {
    let steps = steps(c)?;
    if steps.iter().any(|(_, step, _)| !matches!(step, Step::Get)) {
        return Err(text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    let value = value(c, c.args[1])?.unwrap_or_default();
    c.out.array(steps.len());
    for (field, _, _) in steps {
        c.out.integer(field.read(&value));
    }
    Ok(())
}
