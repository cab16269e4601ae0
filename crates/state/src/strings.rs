//! Strings: bytes under a key.

use crate::WallMs;
use crate::error::{Error, Result};
use crate::key::StoredName;
use crate::record::{self, Kind, Record};
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// When the value that is set expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// Never.
    #[default]
    Never,
    /// As the value before it.
    Keep,
    /// At this moment; one that has passed removes the key.
    At(WallMs),
}

/// When a value is set at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum If<'a> {
    /// In any case.
    #[default]
    Always,
    /// The key is not there.
    Missing,
    /// The key is there.
    Exists,
    /// The key is there with this version ([`crate::keys::Info::version`]).
    Version(u64),
    /// The key holds exactly these bytes.
    Equals(&'a [u8]),
}

impl If<'_> {
    fn holds(self, live: Option<Record<'_>>) -> bool {
        match self {
            If::Always => true,
            If::Missing => live.is_none(),
            If::Exists => live.is_some(),
            If::Version(version) => live.is_some_and(|record| record.version == version),
            If::Equals(bytes) => live.is_some_and(|r| r.kind == Kind::String && r.body == bytes),
        }
    }
}

/// The value of a key.
///
/// # Errors
/// [`Error::WrongType`], [`Error::KeyTooLong`], or when the store itself fails; so for all functions here.
pub fn get<'t>(view: &View<'t>, space: Space, key: &[u8]) -> Result<Option<&'t [u8]>> {
    let name = StoredName::new("key", key)?;
    Ok(record::load_kind(view, space, &name, Kind::String)?.map(|record| record.body))
}

/// The value of a key and its version.
///
/// # Errors
/// See [`get`].
pub fn get_versioned<'t>(view: &View<'t>, space: Space, key: &[u8]) -> Result<Option<(&'t [u8], u64)>> {
    let name = StoredName::new("key", key)?;
    Ok(record::load_kind(view, space, &name, Kind::String)?.map(|record| (record.body, record.version)))
}

/// Sets a key, whatever it held before; whether the condition held.
///
/// # Errors
/// [`Error::ValueTooLong`]; see [`get`].
pub fn set(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    value: &[u8],
    expiry: Expiry,
    condition: If<'_>,
) -> Result<bool> {
    tx.check_value(value)?;
    let name = StoredName::new("key", key)?;
    if !matches!(expiry, Expiry::At(_))
        && let Some(done) = set_plainly(tx, space, &name, value, condition)?
    {
        return Ok(done);
    }
    let (holds, before, collection) = {
        let view = tx.view();
        let record = view.get(&record::row(space, &name))?.map(Record::decode);
        let holds = condition.holds(record.filter(|record| record.live(view.now())));
        let expires = record.and_then(|record| record.expires);
        (holds, expires, record.is_some_and(|record| record.kind != Kind::String))
    };
    if !holds {
        return Ok(false);
    }
    if collection {
        record::remove(tx, space, &name)?;
    }
    let expires = match expiry {
        Expiry::Never => None,
        // Also that of a collection, as Redis does.
        Expiry::Keep => before.filter(|at| *at > tx.now()),
        Expiry::At(at) => Some(at),
    };
    // The collection's went with it.
    let before = before.filter(|_| !collection);
    if expires.is_some_and(|at| at <= tx.now()) {
        record::remove(tx, space, &name)?;
        return Ok(true);
    }
    if let (Some(at), None) = (before, expires) {
        tx.delete(&record::timer(space, name.as_slice(), at))?;
    }
    record::save(tx, space, &name, Kind::String, expires, before, value)?;
    Ok(true)
}

pub use crate::putoff::{add_later, set_later};

/// The usual case, by one way down the tree: nothing expires, and what was there before was a string, or nothing. `None`: it
/// is another case.
fn set_plainly(
    tx: &mut Tx<'_>,
    space: Space,
    name: &StoredName<'_>,
    value: &[u8],
    condition: If<'_>,
) -> Result<Option<bool>> {
    let (version, mut done, mut memory) = (tx.id(), None, std::mem::take(&mut tx.scratch));
    let (out, told) = (&mut memory, &mut done);
    tx.replace(&record::row(space, name), move |found| {
        let found = found.map(Record::decode);
        if found.is_some_and(|record| record.kind != Kind::String || record.expires.is_some()) {
            return Ok(None);
        }
        let holds = condition.holds(found);
        *told = Some(holds);
        out.clear();
        record::encode_into(out, version, name, Kind::String, None, value);
        Ok(holds.then_some(&*out))
    })?;
    tx.scratch = memory;
    Ok(done)
}

/// Adds to the whole number that a key holds (a missing one holds 0), keeping its expiry; the sum.
///
/// # Errors
/// [`Error::NotANumber`], [`Error::Overflow`]; see [`get`].
pub fn add(tx: &mut Tx<'_>, space: Space, key: &[u8], by: i64) -> Result<i64> {
    add_told(tx, space, key, by).map(|(sum, _)| sum)
}

/// The same, and when the key expires.
pub(crate) fn add_told(tx: &mut Tx<'_>, space: Space, key: &[u8], by: i64) -> Result<(i64, Option<WallMs>)> {
    let name = StoredName::new("key", key)?;
    let (version, now) = (tx.id(), tx.now());
    let (mut sum, mut memory) = (None, std::mem::take(&mut tx.scratch));
    let (out, told) = (&mut memory, &mut sum);
    tx.replace(&record::row(space, &name), |found| {
        let Some(record) = found.map(Record::decode).filter(|record| record.live(now)) else {
            return Ok(None);
        };
        record.must_be(Kind::String)?;
        let number = whole_number(record.body)?.checked_add(by).ok_or(Error::Overflow)?;
        *told = Some((number, record.expires));
        let mut text = itoa::Buffer::new();
        out.clear();
        let body = text.format(number).as_bytes();
        record::encode_into(out, version, &name, Kind::String, record.expires, body);
        Ok(Some(&*out))
    })?;
    tx.scratch = memory;
    if let Some(sum) = sum {
        return Ok(sum);
    }
    // What has expired, and may be of any kind, must not come back to life.
    record::remove(tx, space, &name)?;
    record::save(tx, space, &name, Kind::String, None, None, by.to_string().as_bytes())?;
    Ok((by, None))
}

/// A whole number as Redis reads one: no spaces, no plus sign, no leading zeros.
///
/// # Errors
/// [`Error::NotANumber`].
pub fn whole_number(bytes: &[u8]) -> Result<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let plain = match digits {
        [b'0'] => bytes.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok()).ok_or(Error::NotANumber("an integer or out of range"))
}
