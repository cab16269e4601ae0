//! Strings: bytes under a key.

use crate::WallMs;
use crate::error::{Error, Result};
use crate::key::StoredName;
use crate::record::{self, Kind};
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
    let (holds, before, collection) = {
        let view = tx.view();
        let record = view.get(&record::row(space, &name))?.map(record::Record::decode);
        let live = record.filter(|record| record.live(view.now()));
        let holds = match condition {
            If::Always => true,
            If::Missing => live.is_none(),
            If::Exists => live.is_some(),
            If::Version(version) => live.is_some_and(|record| record.version == version),
            If::Equals(bytes) => live.is_some_and(|r| r.kind == Kind::String && r.body == bytes),
        };
        let expires = record.and_then(|record| record.expires);
        (holds, expires, record.is_some_and(|record| record.kind != Kind::String))
    };
    if !holds {
        return Ok(false);
    }
    if collection {
        record::remove(tx, space, &name)?;
    }
    let before = before.filter(|_| !collection);
    let expires = match expiry {
        Expiry::Never => None,
        Expiry::Keep => before.filter(|at| *at > tx.now()),
        Expiry::At(at) => Some(at),
    };
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

/// Adds to the whole number that a key holds (a missing one holds 0), keeping its expiry; the sum.
///
/// # Errors
/// [`Error::NotANumber`], [`Error::Overflow`]; see [`get`].
pub fn add(tx: &mut Tx<'_>, space: Space, key: &[u8], by: i64) -> Result<i64> {
    let name = StoredName::new("key", key)?;
    let found = {
        let record = record::load_kind(&tx.view(), space, &name, Kind::String)?;
        record.map(|record| whole_number(record.body).map(|number| (number, record.expires))).transpose()?
    };
    let Some((before, expires)) = found else {
        // What has expired, and may be of any kind, must not come back to life.
        record::remove(tx, space, &name)?;
        record::save(tx, space, &name, Kind::String, None, None, by.to_string().as_bytes())?;
        return Ok(by);
    };
    let sum = before.checked_add(by).ok_or(Error::Overflow)?;
    record::save(tx, space, &name, Kind::String, expires, expires, sum.to_string().as_bytes())?;
    Ok(sum)
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
