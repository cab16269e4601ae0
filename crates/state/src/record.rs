//! A user's key: what it holds, since which transaction, until when.
//!
//! `flags(1) version(varint) [expires(6)] [whole name] body`. A string's body is the string; a collection's body is
//! its number, its count and what its type adds; its elements are rows of their own.

use crate::WallMs;
use crate::error::{Error, Result};
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// What a key holds, as Redis's TYPE names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes.
    String = 0,
    /// Fields with values.
    Hash = 1,
    /// An ordered row of values.
    List = 2,
    /// Members.
    Set = 3,
    /// Members with scores.
    SortedSet = 4,
    /// A log of entries with numbers.
    Stream = 5,
}

const KIND_BITS: u8 = 0x0f;
const EXPIRES: u8 = 0x10;
const LONG_NAME: u8 = 0x20;

impl Kind {
    /// The name that Redis gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits & KIND_BITS {
            1 => Self::Hash,
            2 => Self::List,
            3 => Self::Set,
            4 => Self::SortedSet,
            5 => Self::Stream,
            _ => Self::String,
        }
    }
}

/// A record as it lies in the map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    /// The transaction that wrote it last.
    pub(crate) version: u64,
    pub(crate) expires: Option<WallMs>,
    /// The whole name, when the row's key has only a hash of it.
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Self {
        let mut take = Take(bytes);
        let flags = take.u8();
        let version = take.varint();
        let expires = (flags & EXPIRES != 0).then(|| WallMs(take.ms()));
        let name = (flags & LONG_NAME != 0).then(|| take.text());
        Self { kind: Kind::from_bits(flags), version, expires, name, body: take.0 }
    }

    pub(crate) fn must_be(&self, kind: Kind) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        Err(Error::WrongType { found: self.kind.name(), wanted: kind.name() })
    }

    pub(crate) fn live(&self, now: WallMs) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

pub(crate) fn row(space: Space, name: &StoredName<'_>) -> Key {
    Key::new(Table::Keys).u32(space.0).name(name)
}

/// What a [`row`] is of, if the name is a short one.
pub(crate) fn space_and_name(row: &[u8]) -> (Space, &[u8]) {
    let mut take = Take(row.get(1..).unwrap_or_default());
    (Space(take.u32()), take.0)
}

/// The record of a key that has not expired.
pub(crate) fn load<'t>(view: &View<'t>, space: Space, name: &StoredName<'_>) -> Result<Option<Record<'t>>> {
    let record = view.get(&row(space, name))?.map(Record::decode);
    Ok(record.filter(|record| record.live(view.now)))
}

/// The same, if it is of the wanted kind.
pub(crate) fn load_kind<'t>(
    view: &View<'t>,
    space: Space,
    name: &StoredName<'_>,
    kind: Kind,
) -> Result<Option<Record<'t>>> {
    let record = load(view, space, name)?;
    if let Some(record) = &record {
        record.must_be(kind)?;
    }
    Ok(record)
}

/// Writes a record with this transaction's version. `before` is when the record that it replaces was to expire.
pub(crate) fn save(
    tx: &mut Tx<'_>,
    space: Space,
    name: &StoredName<'_>,
    kind: Kind,
    expires: Option<WallMs>,
    before: Option<WallMs>,
    body: &[u8],
) -> Result<()> {
    // A timer that is too early finds the record alive and is set anew; so only an earlier end needs a new one.
    if let Some(at) = expires
        && before.is_none_or(|before| at < before)
    {
        set_timer(tx, space, name, at)?;
    }
    let out = encode(tx.id(), name, kind, expires, body);
    tx.put(&row(space, name), &out)
}

/// A record as it lies in the map.
pub(crate) fn encode(
    version: u64,
    name: &StoredName<'_>,
    kind: Kind,
    expires: Option<WallMs>,
    body: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + name.long().map_or(0, <[u8]>::len) + 20);
    encode_into(&mut out, version, name, kind, expires, body);
    out
}

/// The same, behind what is in `out` already.
pub(crate) fn encode_into(
    out: &mut Vec<u8>,
    version: u64,
    name: &StoredName<'_>,
    kind: Kind,
    expires: Option<WallMs>,
    body: &[u8],
) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(kind as u8 | flag(expires.is_some(), EXPIRES) | flag(name.long().is_some(), LONG_NAME));
    out.put_varint(version);
    if let Some(at) = expires {
        out.put_ms(at.0);
    }
    if let Some(whole) = name.long() {
        out.put_text(whole);
    }
    out.extend_from_slice(body);
}

pub(crate) fn timer(space: Space, stored: &[u8], at: WallMs) -> Key {
    Key::new(Table::Timers).ms(at.0).u8(b'k').u32(space.0).push(stored)
}

pub(crate) fn set_timer(tx: &mut Tx<'_>, space: Space, name: &StoredName<'_>, at: WallMs) -> Result<()> {
    tx.put(&timer(space, name.as_slice(), at), &[])?;
    tx.due(WallMs(at.0.next_multiple_of(crate::limits::SWEEP_MS)));
    Ok(())
}

/// Removes a record, its timer and its elements; whether it was there and alive.
pub(crate) fn remove(tx: &mut Tx<'_>, space: Space, name: &StoredName<'_>) -> Result<bool> {
    let key = row(space, name);
    let Some((live, kind, expires, collection)) = tx.get(&key)?.map(|bytes| {
        let record = Record::decode(bytes);
        (record.live(tx.now()), record.kind, record.expires, Take(record.body).u64())
    }) else {
        return Ok(false);
    };
    tx.delete(&key)?;
    if let Some(at) = expires {
        tx.delete(&timer(space, name.as_slice(), at))?;
    }
    if kind != Kind::String {
        crate::garbage::discard(tx, collection)?;
    }
    Ok(live)
}
