//! Lists: an ordered row of values. Elements lie at consecutive places, so that an index is a place.

use crate::collection::{Collection, edit, find};
use crate::error::Result;
use crate::key::Key;
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// The place of a new list's first element: as far from both ends as can be.
pub(crate) const MIDDLE: u64 = 1 << 63;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The left end, index 0.
    Front,
    /// The right end.
    Back,
}

fn place(list: &Collection, index: u64) -> Key {
    list.elements().u64(list.head + index)
}

/// Adds values at an end, one after the other; the new length.
///
/// # Errors
/// [`crate::Error::WrongType`], [`crate::Error::ValueTooLong`], or when the store itself fails; so for all here.
pub fn push(tx: &mut Tx<'_>, space: Space, key: &[u8], end: End, values: &[&[u8]]) -> Result<u64> {
    edit(tx, space, key, Kind::List, |tx, list| {
        for value in values {
            tx.check_value(value)?;
            let index = match end {
                End::Front => {
                    list.head -= 1;
                    0
                }
                End::Back => list.count,
            };
            list.count += 1;
            tx.put(&place(list, index), value)?;
        }
        Ok(list.count)
    })
}

/// Removes and returns the value at an end.
///
/// # Errors
/// See [`push`].
pub fn pop(tx: &mut Tx<'_>, space: Space, key: &[u8], end: End) -> Result<Option<Vec<u8>>> {
    if find(&tx.view(), space, key, Kind::List)?.is_none() {
        return Ok(None);
    }
    edit(tx, space, key, Kind::List, |tx, list| {
        let row = match end {
            End::Front => place(list, 0),
            End::Back => place(list, list.count - 1),
        };
        let value = tx.get(&row)?.map(<[u8]>::to_vec);
        tx.delete(&row)?;
        list.count -= 1;
        list.head += u64::from(end == End::Front);
        Ok(value)
    })
}

/// How long a list is.
///
/// # Errors
/// See [`push`].
pub fn len(view: &View<'_>, space: Space, key: &[u8]) -> Result<u64> {
    Ok(find(view, space, key, Kind::List)?.map_or(0, |list| list.count))
}

/// The values from `start` on, at most `most`.
///
/// # Errors
/// See [`push`].
pub fn range(view: &View<'_>, space: Space, key: &[u8], start: u64, most: usize) -> Result<Vec<Vec<u8>>> {
    let Some(list) = find(view, space, key, Kind::List)? else { return Ok(Vec::new()) };
    if start >= list.count {
        return Ok(Vec::new());
    }
    let rows = view.rows_from(&list.elements(), &place(&list, start))?.take(most);
    rows.map(|row| row.map(|(_, value)| value.to_vec())).collect()
}

/// Replaces the value at an index; false if the list is shorter.
///
/// # Errors
/// See [`push`].
pub fn set(tx: &mut Tx<'_>, space: Space, key: &[u8], index: u64, value: &[u8]) -> Result<bool> {
    tx.check_value(value)?;
    if find(&tx.view(), space, key, Kind::List)?.is_none_or(|list| index >= list.count) {
        return Ok(false);
    }
    edit(tx, space, key, Kind::List, |tx, list| tx.put(&place(list, index), value))?;
    Ok(true)
}

/// Replaces all values (LTRIM, LREM, LINSERT): an empty row removes the list.
///
/// # Errors
/// See [`push`].
pub fn replace(tx: &mut Tx<'_>, space: Space, key: &[u8], values: &[Vec<u8>]) -> Result<()> {
    if find(&tx.view(), space, key, Kind::List)?.is_none() && values.is_empty() {
        return Ok(());
    }
    edit(tx, space, key, Kind::List, |tx, list| {
        for index in 0..list.count {
            tx.delete(&place(list, index))?;
        }
        (list.head, list.count) = (MIDDLE, values.len() as u64);
        for (index, value) in values.iter().enumerate() {
            tx.check_value(value)?;
            tx.put(&place(list, index as u64), value)?;
        }
        Ok(())
    })
}
