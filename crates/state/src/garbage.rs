//! Time and waste: keys that expire, and elements of collections that were deleted. Both are removed in short
//! transactions, so that workers wait microseconds for the sweeper.

use crate::error::Result;
use crate::key::{Key, StoredName, Table, Take};
use crate::limits::{SWEEP_ELEMENTS, SWEEP_KEYS, SWEEP_MS};
use crate::record::Record;
use crate::spaces::Space;
use crate::tx::{Tx, View};
use crate::{WallMs, locks, record};

/// A collection of at most this many rows is removed with its key; a larger one by the sweeper.
const AT_ONCE: usize = 128;

/// Removes the elements of a deleted collection, now or later.
pub(crate) fn discard(tx: &mut Tx<'_>, collection: u64) -> Result<()> {
    let prefix = Key::new(Table::Elements).u64(collection);
    let keys = tx.keys(&prefix, AT_ONCE + 1)?;
    if keys.len() > AT_ONCE {
        tx.put(&Key::new(Table::Garbage).u64(collection), &[])?;
        let now = tx.now();
        tx.due(now);
        return Ok(());
    }
    for key in keys {
        tx.delete_raw(&key)?;
    }
    Ok(())
}

/// One slice of sweeping; true when there is more to do at once.
pub(crate) fn sweep(tx: &mut Tx<'_>) -> Result<bool> {
    let timers = expire(tx)?;
    let Some(key) = tx.keys(&Key::new(Table::Garbage), 1)?.pop() else { return Ok(timers) };
    let prefix = Key::new(Table::Elements).u64(Take(&key[1..]).u64());
    let elements = tx.keys(&prefix, SWEEP_ELEMENTS)?;
    for element in &elements {
        tx.delete_raw(element)?;
    }
    if elements.len() < SWEEP_ELEMENTS {
        tx.delete_raw(&key)?;
    }
    Ok(true)
}

fn expire(tx: &mut Tx<'_>) -> Result<bool> {
    let now = tx.now();
    let table = Key::new(Table::Timers);
    let keys = tx.keys(&table, SWEEP_KEYS)?;
    let full = keys.len() == SWEEP_KEYS;
    for key in keys {
        let mut take = Take(&key[1..]);
        let (at, kind) = (take.ms(), take.u8());
        if at > now.0 {
            return Ok(false);
        }
        tx.delete_raw(&key)?;
        match kind {
            b'l' => locks::expire(tx, take.0)?,
            _ => expire_key(tx, Space(take.u32()), take.0)?,
        }
    }
    Ok(full)
}

/// The timer of a key: removes it, or waits on if it lives longer by now.
fn expire_key(tx: &mut Tx<'_>, space: Space, stored: &[u8]) -> Result<()> {
    let key = Key::new(Table::Keys).u32(space.number()).push(stored);
    let found = tx.get(&key)?.map(|bytes| {
        let record = Record::decode(bytes);
        (record.expires, record.name.map(<[u8]>::to_vec))
    });
    let Some((Some(at), whole)) = found else { return Ok(()) };
    let name = match &whole {
        Some(whole) => StoredName::new("key", whole)?,
        None => StoredName::Short(stored),
    };
    if at > tx.now() {
        return record::set_timer(tx, space, &name, at);
    }
    record::remove(tx, space, &name).map(|_| ())
}

/// When the sweeper has work next.
pub(crate) fn next(view: &View<'_>) -> Result<Option<WallMs>> {
    if view.first(&Key::new(Table::Garbage))?.is_some() {
        return Ok(Some(view.now));
    }
    Ok(view.first(&Key::new(Table::Timers))?.map(|(key, _)| {
        let mut take = Take(&key[1..]);
        let (at, kind) = (take.ms(), take.u8());
        // Keys go in whole seconds; a lock's waiters wait for the very moment.
        WallMs(if kind == b'l' { at } else { at.next_multiple_of(SWEEP_MS) })
    }))
}
