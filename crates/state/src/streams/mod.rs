//! Streams: a log of entries with numbers, and groups of consumers that share it.
//!
//! A stream's record holds what Redis calls its metadata; entries, groups, consumers and pending entries are rows of
//! their own. Unlike other collections a stream may be empty.

use crate::error::Result;
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::record::{self, Kind};
use crate::spaces::Space;
use crate::tx::{Tx, View};

mod groups;
pub use groups::{
    Consumer, Group, Pending, consumer, consumers, create_consumer, create_group, destroy_group, group,
    groups, pending, pending_between, put_consumer, put_group, put_pending, remove_consumer, remove_pending,
};

/// Rows of entries.
const ENTRIES: u8 = 1;

/// The number of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Id {
    /// Milliseconds since 1970, usually.
    pub ms: u64,
    /// Which of that millisecond.
    pub seq: u64,
}

impl Id {
    /// The lowest.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The highest.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The next one; `None` after the highest.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The one before; `None` before the lowest.
    #[must_use]
    pub fn before(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        out.put_u64(self.ms);
        out.put_u64(self.seq);
    }

    fn take(take: &mut Take<'_>) -> Self {
        Self { ms: take.u64(), seq: take.u64() }
    }

    fn under(self, key: Key) -> Key {
        key.u64(self.ms).u64(self.seq)
    }
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stream {
    id: u64,
    /// How many entries it has.
    pub count: u64,
    /// The highest number it ever gave.
    pub last: Id,
    /// The highest number that was deleted.
    pub max_deleted: Id,
    /// How many entries were ever added.
    pub added: u64,
    groups_made: u32,
}

impl Stream {
    fn decode(body: &[u8]) -> Self {
        let mut take = Take(body);
        Self {
            id: take.u64(),
            count: take.varint(),
            last: Id::take(&mut take),
            max_deleted: Id::take(&mut take),
            added: take.varint(),
            groups_made: take.u32(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.put_u64(self.id);
        out.put_varint(self.count);
        self.last.put(&mut out);
        self.max_deleted.put(&mut out);
        out.put_varint(self.added);
        out.put_u32(self.groups_made);
        out
    }

    fn rows(&self, part: u8) -> Key {
        Key::new(Table::Elements).u64(self.id).u8(part)
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: Id,
    /// Fields and values, alternating.
    pub fields: Vec<Vec<u8>>,
}

/// The stream under a key.
///
/// # Errors
/// [`crate::Error::WrongType`], [`crate::Error::KeyTooLong`], or when the store itself fails; so for all functions here.
pub fn find(view: &View<'_>, space: Space, key: &[u8]) -> Result<Option<Stream>> {
    let name = StoredName::new("key", key)?;
    let record = record::load_kind(view, space, &name, Kind::Stream)?;
    Ok(record.map(|record| Stream::decode(record.body)))
}

/// Changes a stream, made if it is not there.
///
/// # Errors
/// See [`find`], and what `f` returns.
pub fn edit<R>(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    f: impl FnOnce(&mut Tx<'_>, &mut Stream) -> Result<R>,
) -> Result<R> {
    let name = StoredName::new("key", key)?;
    let found = {
        let record = record::load_kind(&tx.view(), space, &name, Kind::Stream)?;
        record.map(|record| (Stream::decode(record.body), record.expires))
    };
    let (mut stream, expires) = match found {
        Some(found) => found,
        None => {
            // One that has expired but was not swept must not come back to life with its rows.
            record::remove(tx, space, &name)?;
            (Stream { id: tx.try_ticket()?, ..Stream::default() }, None)
        }
    };
    let result = f(tx, &mut stream)?;
    record::save(tx, space, &name, Kind::Stream, expires, expires, &stream.encode())?;
    Ok(result)
}

/// Adds an entry. The caller has seen to it that `id` is above [`Stream::last`].
///
/// # Errors
/// [`crate::Error::ValueTooLong`]; see [`find`].
pub fn append(tx: &mut Tx<'_>, stream: &mut Stream, id: Id, fields: &[&[u8]]) -> Result<()> {
    let mut out = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    out.put_varint(fields.len() as u64);
    for field in fields {
        out.put_text(field);
    }
    tx.check_value(&out)?;
    tx.put(&id.under(stream.rows(ENTRIES)), &out)?;
    stream.count += 1;
    stream.added += 1;
    stream.last = id;
    Ok(())
}

/// Removes an entry; whether it was there.
///
/// # Errors
/// See [`find`].
pub fn remove(tx: &mut Tx<'_>, stream: &mut Stream, id: Id) -> Result<bool> {
    let was = tx.delete(&id.under(stream.rows(ENTRIES)))?;
    if was {
        stream.count -= 1;
        stream.max_deleted = stream.max_deleted.max(id);
    }
    Ok(was)
}

/// An entry by its number.
///
/// # Errors
/// See [`find`].
pub fn entry(view: &View<'_>, stream: &Stream, id: Id) -> Result<Option<Entry>> {
    let value = view.get(&id.under(stream.rows(ENTRIES)))?;
    Ok(value.map(|value| Entry { id, fields: fields(value) }))
}

fn fields(value: &[u8]) -> Vec<Vec<u8>> {
    let mut take = Take(value);
    (0..take.varint()).map(|_| take.text().to_vec()).collect()
}

fn read_entry(prefix: &Key, row: (&[u8], &[u8])) -> Entry {
    let mut take = Take(&row.0[prefix.as_slice().len()..]);
    Entry { id: Id::take(&mut take), fields: fields(row.1) }
}

/// Entries from `from` to `to` (both included), ascending, at most `most`.
///
/// # Errors
/// See [`find`].
pub fn range(view: &View<'_>, stream: &Stream, from: Id, to: Id, most: usize) -> Result<Vec<Entry>> {
    let prefix = stream.rows(ENTRIES);
    let mut entries = Vec::new();
    for row in view.rows_from(&prefix, &from.under(prefix))?.take(most) {
        let entry = read_entry(&prefix, row?);
        if entry.id > to {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The same, descending from `to` to `from`.
///
/// # Errors
/// See [`find`].
pub fn range_down(view: &View<'_>, stream: &Stream, from: Id, to: Id, most: usize) -> Result<Vec<Entry>> {
    let prefix = stream.rows(ENTRIES);
    let mut entries = Vec::new();
    for row in view.rows_back_from(&prefix, &to.under(prefix))?.take(most) {
        let entry = read_entry(&prefix, row?);
        if entry.id < from {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The number of the first entry.
///
/// # Errors
/// See [`find`].
pub fn first(view: &View<'_>, stream: &Stream) -> Result<Option<Id>> {
    let prefix = stream.rows(ENTRIES);
    let row = view.first(&prefix)?;
    Ok(row.map(|(key, _)| Id::take(&mut Take(&key[prefix.as_slice().len()..]))))
}

/// Removes the oldest entries for as long as `goes` says so of an entry's number, at most `most`; how many.
///
/// # Errors
/// See [`find`].
pub fn trim(
    tx: &mut Tx<'_>,
    stream: &mut Stream,
    most: u64,
    goes: impl Fn(&Stream, Id) -> bool,
) -> Result<u64> {
    let mut removed = 0;
    while removed < most {
        let Some(id) = first(&tx.view(), stream)? else { break };
        if !goes(stream, id) {
            break;
        }
        remove(tx, stream, id)?;
        removed += 1;
    }
    Ok(removed)
}
