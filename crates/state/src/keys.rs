//! What every key has, whatever it holds: a kind, a version, an end.

use crate::WallMs;
use crate::error::Result;
use crate::key::{Key, StoredName, Table};
use crate::record::{self, Kind, Record};
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// What it holds.
    pub kind: Kind,
    /// The transaction that changed it last; differs after every change (for WATCH and check-and-set).
    pub version: u64,
    /// When it expires.
    pub expires: Option<WallMs>,
}

/// What is known of a key that exists.
///
/// # Errors
/// [`crate::Error::KeyTooLong`], or when the store itself fails; so for all functions here.
pub fn info(view: &View<'_>, space: Space, key: &[u8]) -> Result<Option<Info>> {
    let name = StoredName::new("key", key)?;
    let record = record::load(view, space, &name)?;
    Ok(record.map(|r| Info { kind: r.kind, version: r.version, expires: r.expires }))
}

/// Removes a key; whether it existed.
///
/// # Errors
/// See [`info`].
pub fn delete(tx: &mut Tx<'_>, space: Space, key: &[u8]) -> Result<bool> {
    record::remove(tx, space, &StoredName::new("key", key)?)
}

/// Sets or removes (`None`) the moment at which a key expires; whether the key exists. A moment that has passed
/// removes the key.
///
/// # Errors
/// See [`info`].
pub fn expire(tx: &mut Tx<'_>, space: Space, key: &[u8], at: Option<WallMs>) -> Result<bool> {
    let name = StoredName::new("key", key)?;
    let found = {
        let record = record::load(&tx.view(), space, &name)?;
        record.map(|record| (record.kind, record.expires, record.body.to_vec()))
    };
    let Some((kind, before, body)) = found else { return Ok(false) };
    if at.is_some_and(|at| at <= tx.now()) {
        return record::remove(tx, space, &name);
    }
    if let (Some(before), None) = (before, at) {
        tx.delete(&record::timer(space, name.as_slice(), before))?;
    }
    record::save(tx, space, &name, kind, at, before, &body)?;
    Ok(true)
}

/// Gives what a key holds, its expiry included, another name, whatever that held before; false if it does not exist.
///
/// # Errors
/// See [`info`].
pub fn rename(tx: &mut Tx<'_>, from: (Space, &[u8]), to: (Space, &[u8])) -> Result<bool> {
    let (old, new) = (StoredName::new("key", from.1)?, StoredName::new("key", to.1)?);
    let found = {
        let record = record::load(&tx.view(), from.0, &old)?;
        record.map(|record| (record.kind, record.expires, record.body.to_vec()))
    };
    let Some((kind, expires, body)) = found else { return Ok(false) };
    if from != to {
        record::remove(tx, to.0, &new)?;
        tx.delete(&record::row(from.0, &old))?;
        if let Some(at) = expires {
            tx.delete(&record::timer(from.0, old.as_slice(), at))?;
        }
    }
    record::save(tx, to.0, &new, kind, expires, None, &body)?;
    Ok(true)
}

/// Copies what a key holds, its expiry included, to another name, whatever that held before; false if it does not
/// exist. Takes as long as what it holds is large.
///
/// # Errors
/// See [`info`].
pub fn copy(tx: &mut Tx<'_>, from: (Space, &[u8]), to: (Space, &[u8])) -> Result<bool> {
    let (old, new) = (StoredName::new("key", from.1)?, StoredName::new("key", to.1)?);
    let found = {
        let record = record::load(&tx.view(), from.0, &old)?;
        record.map(|record| (record.kind, record.expires, record.body.to_vec()))
    };
    let Some((kind, expires, mut body)) = found else { return Ok(false) };
    record::remove(tx, to.0, &new)?;
    if kind != Kind::String {
        let collection = tx.try_ticket()?;
        let elements = Key::new(Table::Elements).u64(crate::key::Take(&body).u64());
        let rows: Vec<_> = tx
            .view()
            .rows(&elements)?
            .map(|row| row.map(|(key, value)| (key[elements.as_slice().len()..].to_vec(), value.to_vec())))
            .collect::<Result<_>>()?;
        for (rest, value) in rows {
            tx.put(&Key::new(Table::Elements).u64(collection).push(&rest), &value)?;
        }
        body[..8].copy_from_slice(&collection.to_be_bytes());
    }
    record::save(tx, to.0, &new, kind, expires, None, &body)?;
    Ok(true)
}

/// A key by chance: `chance` is a random number.
///
/// # Errors
/// See [`info`].
pub fn sample(view: &View<'_>, space: Space, chance: u64) -> Result<Option<Vec<u8>>> {
    let prefix = Key::new(Table::Keys).u32(space.number());
    let start = crate::chance::row(view, &prefix, u64::MAX, chance)?.map(|(stored, _)| stored.to_vec());
    let Some(start) = start else { return Ok(None) };
    let live = |row: Result<(&[u8], &[u8])>| -> Result<Option<Vec<u8>>> {
        let (key, value) = row?;
        let record = Record::decode(value);
        let stored = &key[prefix.as_slice().len()..];
        Ok(record.live(view.now()).then(|| record.name.unwrap_or(stored).to_vec()))
    };
    for row in view.rows_from(&prefix, &prefix.push(&start))?.chain(view.rows(&prefix)?) {
        if let Some(key) = live(row)? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Bytes that a key's rows take, as far as the first `most` of its elements tell.
///
/// # Errors
/// See [`info`].
pub fn bytes(view: &View<'_>, space: Space, key: &[u8], most: usize) -> Result<Option<u64>> {
    let name = StoredName::new("key", key)?;
    let Some(record) = record::load(view, space, &name)? else { return Ok(None) };
    let row = |key: usize, value: usize| (key + value + ROW_BYTES) as u64;
    let mut sum = row(key.len(), record.body.len());
    if record.kind != Kind::String {
        let elements = Key::new(Table::Elements).u64(crate::key::Take(record.body).u64());
        for found in view.rows(&elements)?.take(most) {
            let (key, value) = found?;
            sum += row(key.len(), value.len());
        }
    }
    Ok(Some(sum))
}

/// What LMDB adds to a row.
const ROW_BYTES: usize = 10;

/// A page of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Keys that exist, with what they hold.
    pub keys: Vec<(Vec<u8>, Kind)>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Vec<u8>>,
}

/// Looks at up to `most` keys from `from` on (a former [`Page::next`], or empty), in the order of their bytes. A key
/// that is there during a whole scan is seen exactly once.
///
/// # Errors
/// See [`info`].
pub fn scan(view: &View<'_>, space: Space, from: &[u8], most: usize) -> Result<Page> {
    let prefix = Key::new(Table::Keys).u32(space.number());
    let start = prefix.push(&from[..from.len().min(crate::limits::LONG_NAME_BYTES)]);
    let mut page = Page::default();
    for (count, row) in view.rows_from(&prefix, &start)?.enumerate() {
        let (key, value) = row?;
        let stored = &key[prefix.as_slice().len()..];
        if count == most {
            page.next = Some(stored.to_vec());
            break;
        }
        let record = Record::decode(value);
        if record.live(view.now()) {
            page.keys.push((record.name.unwrap_or(stored).to_vec(), record.kind));
        }
    }
    Ok(page)
}

/// How many keys a space has; walks over all of them.
///
/// # Errors
/// See [`info`].
pub fn count(view: &View<'_>, space: Space) -> Result<u64> {
    let mut count = 0;
    for row in view.rows(&Key::new(Table::Keys).u32(space.number()))? {
        let (_, value) = row?;
        count += u64::from(Record::decode(value).live(view.now()));
    }
    Ok(count)
}

/// Removes up to `most` keys of a space; how many it removed. For clearing in slices.
///
/// # Errors
/// See [`info`].
pub fn clear(tx: &mut Tx<'_>, space: Space, most: usize) -> Result<usize> {
    let page = scan_all(&tx.view(), space, most)?;
    for key in &page {
        record::remove(tx, space, &StoredName::new("key", key)?)?;
    }
    Ok(page.len())
}

fn scan_all(view: &View<'_>, space: Space, most: usize) -> Result<Vec<Vec<u8>>> {
    let prefix = Key::new(Table::Keys).u32(space.number());
    let rows = view.rows(&prefix)?.take(most);
    rows.map(|row| {
        let (key, value) = row?;
        let stored = &key[prefix.as_slice().len()..];
        Ok(Record::decode(value).name.unwrap_or(stored).to_vec())
    })
    .collect()
}
