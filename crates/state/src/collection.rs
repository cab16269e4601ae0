//! What hashes, lists, sets and sorted sets have in common: a number under which their elements lie, and a count.

use crate::WallMs;
use crate::error::Result;
use crate::foresight;
use crate::key::{Key, Put, StoredName, Table, Take};
use crate::lists;
use crate::ranks;
use crate::record::{self, Kind};
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// A collection's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) id: u64,
    pub(crate) count: u64,
    /// Lists: the place of the first element.
    pub(crate) head: u64,
}

impl Collection {
    fn decode(body: &[u8]) -> Self {
        let mut take = Take(body);
        Self { id: take.u64(), count: take.varint(), head: take.u64() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.put_u64(self.id);
        out.put_varint(self.count);
        out.put_u64(self.head);
        out
    }

    /// The key under which its elements lie.
    pub(crate) fn elements(&self) -> Key {
        Key::new(Table::Elements).u64(self.id)
    }
}

/// The collection under a key, if it is there.
pub(crate) fn find(view: &View<'_>, space: Space, key: &[u8], kind: Kind) -> Result<Option<Collection>> {
    let name = StoredName::new("key", key)?;
    let record = record::load_kind(view, space, &name, kind)?;
    Ok(record.map(|record| Collection::decode(record.body)))
}

/// The same for who is about to change it: one whose changes are put off is not looked for.
pub(crate) fn peek(tx: &mut Tx<'_>, space: Space, key: &[u8], kind: Kind) -> Result<Option<Collection>> {
    if let Some(held) = tx.held.as_ref().and_then(|held| held.of(space, key, kind)) {
        return Ok(Some(held));
    }
    tx.settle()?;
    find(&tx.view(), space, key, kind)
}

/// When the record of a changed collection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Save {
    /// With the change.
    Now,
    /// By [`Tx::settle`], until which nothing else may look at the collection: it is about to be changed again.
    Later,
}

/// Changes a collection, made empty if it is not there. An empty one ceases to be; another gets a new version.
pub(crate) fn edit<R>(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    kind: Kind,
    save: Save,
    f: impl FnOnce(&mut Tx<'_>, &mut Collection) -> Result<R>,
) -> Result<R> {
    let mut held = match tx.held.take() {
        Some(held) if save == Save::Later && held.is(space, key, kind) => held,
        other => {
            tx.held = other;
            tx.settle()?;
            Held::load(tx, space, key, kind)?
        }
    };
    let (before, moves) = (held.collection, tx.moves.len());
    let result = f(tx, &mut held.collection);
    if result.is_err() {
        // What it has written is as if it were not there.
        held.collection = before;
        tx.moves.truncate(moves);
    }
    match save {
        Save::Now if result.is_ok() => held.save(tx)?,
        Save::Now => {}
        // With its last element a key goes, and what is then put there is another one: it does not expire when this would have.
        Save::Later if held.collection.count == 0 && held.before.is_some() => held.save(tx)?,
        Save::Later => tx.held = Some(held),
    }
    result
}

/// A collection under change.
#[derive(Debug)]
pub(crate) struct Held {
    space: Space,
    key: Vec<u8>,
    kind: Kind,
    /// What was there, if anything was.
    before: Option<Collection>,
    expires: Option<WallMs>,
    collection: Collection,
}

impl Held {
    /// The collection, if it is the one under this key.
    pub(crate) fn of(&self, space: Space, key: &[u8], kind: Kind) -> Option<Collection> {
        self.is(space, key, kind).then_some(self.collection)
    }

    fn is(&self, space: Space, key: &[u8], kind: Kind) -> bool {
        (self.space, self.kind) == (space, kind) && self.key == key
    }

    fn load(tx: &mut Tx<'_>, space: Space, key: &[u8], kind: Kind) -> Result<Self> {
        let name = StoredName::new("key", key)?;
        let found = {
            let record = record::load_kind(&tx.view(), space, &name, kind)?;
            record.map(|record| (Collection::decode(record.body), record.expires))
        };
        let before = found.map(|(collection, _)| collection);
        let (collection, expires) = match found {
            Some(found) => found,
            None => {
                // One that has expired but was not swept must not come back to life with its elements.
                record::remove(tx, space, &name)?;
                (Collection { id: tx.try_ticket()?, count: 0, head: lists::MIDDLE }, None)
            }
        };
        Ok(Self { space, key: key.to_vec(), kind, before, expires, collection })
    }

    /// Writes what is put off until its end.
    pub(crate) fn save(self, tx: &mut Tx<'_>) -> Result<()> {
        let Self { space, key, kind, before, expires, collection } = self;
        let name = StoredName::new("key", &key)?;
        if tx.moves.len() > foresight::AHEAD {
            tx.foresight(&record::row(space, &name))?;
        }
        if tx.moves.len() > 0 {
            ranks::settle(tx, &collection.elements())?;
        }
        lists::settle(tx)?;
        if before == Some(collection) && space.is_named() {
            // A new version is for WATCH, which is the door's, on its own databases. Scores of a board that change leave
            // its record as it is: that is a page less to copy.
            Ok(())
        } else if collection.count > 0 {
            record::save(tx, space, &name, kind, expires, expires, &collection.encode())
        } else if before.is_some() {
            record::remove(tx, space, &name).map(|_| ())
        } else {
            // Nothing was added to a new one, yet it may have rows of bookkeeping.
            crate::garbage::discard(tx, collection.id)
        }
    }
}

/// An element's value, with its whole name in front when the key has only a hash of it.
pub(crate) fn element(name: &StoredName<'_>, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + name.long().map_or(0, |whole| whole.len() + 3));
    if let Some(whole) = name.long() {
        out.put_text(whole);
    }
    out.extend_from_slice(value);
    out
}

/// The inverse: the element's whole name and value.
pub(crate) fn split<'a>(stored: &'a [u8], value: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    if !StoredName::is_long(stored) {
        return (stored, value);
    }
    whole_name_and_rest(value)
}

pub(crate) fn whole_name_and_rest(value: &[u8]) -> (&[u8], &[u8]) {
    let mut take = Take(value);
    let whole = take.text();
    (whole, take.0)
}
