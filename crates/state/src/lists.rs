//! Lists: an ordered row of values. Elements lie at consecutive places, so that an index is a place.

use crate::collection::{Collection, Save, edit, find};
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
pub fn push(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    end: End,
    values: &[&[u8]],
    save: Save,
) -> Result<u64> {
    edit(tx, space, key, Kind::List, save, |tx, list| extend(tx, list, end, values))
}

fn extend(tx: &mut Tx<'_>, list: &mut Collection, end: End, values: &[&[u8]]) -> Result<u64> {
    for value in values {
        tx.check_value(value)?;
    }
    for value in values {
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
}

/// Removes and returns the value at an end.
///
/// # Errors
/// See [`push`].
pub fn pop(tx: &mut Tx<'_>, space: Space, key: &[u8], end: End, save: Save) -> Result<Option<Vec<u8>>> {
    let held = tx.held.as_ref().and_then(|held| held.of(space, key, Kind::List));
    let found = match held {
        Some(list) => Some(list),
        None => {
            tx.settle()?;
            find(&tx.view(), space, key, Kind::List)?
        }
    };
    if found.is_none_or(|list| list.count == 0) {
        return Ok(None);
    }
    edit(tx, space, key, Kind::List, save, |tx, list| {
        let row = match end {
            End::Front => place(list, 0),
            End::Back => place(list, list.count - 1),
        };
        let value = tx.take(&row)?;
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
    edit(tx, space, key, Kind::List, Save::Now, |tx, list| tx.put(&place(list, index), value))?;
    Ok(true)
}

/// Keeps the values from `start` on, `keep` of them, and removes all others; an empty rest removes the list.
///
/// # Errors
/// See [`push`].
pub fn trim(tx: &mut Tx<'_>, space: Space, key: &[u8], start: u64, keep: u64) -> Result<()> {
    if find(&tx.view(), space, key, Kind::List)?.is_none() {
        return Ok(());
    }
    edit(tx, space, key, Kind::List, Save::Now, |tx, list| {
        let start = start.min(list.count);
        let end = start.saturating_add(keep).min(list.count);
        for index in (0..start).chain(end..list.count) {
            tx.delete(&place(list, index))?;
        }
        list.head += start;
        list.count = end - start;
        Ok(())
    })
}

/// Puts a value before the one at `index` (at the list's length: behind the last); the new length. The shorter side of
/// the list moves by one place.
///
/// # Errors
/// See [`push`].
pub fn insert(tx: &mut Tx<'_>, space: Space, key: &[u8], index: u64, value: &[u8]) -> Result<u64> {
    tx.check_value(value)?;
    edit(tx, space, key, Kind::List, Save::Now, |tx, list| {
        let index = index.min(list.count);
        if index * 2 < list.count {
            list.head -= 1;
            for at in 0..index {
                shift(tx, list, at + 1, at)?;
            }
        } else {
            for at in (index..list.count).rev() {
                shift(tx, list, at, at + 1)?;
            }
        }
        list.count += 1;
        tx.put(&place(list, index), value)?;
        Ok(list.count)
    })
}

/// Removes the values at `indexes` (ascending, none twice); the shorter sides of the list move.
///
/// # Errors
/// See [`push`].
pub fn remove(tx: &mut Tx<'_>, space: Space, key: &[u8], indexes: &[u64]) -> Result<()> {
    let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else { return Ok(()) };
    edit(tx, space, key, Kind::List, Save::Now, |tx, list| {
        let (front, back) = (*last, list.count - first);
        if front < back {
            let mut to = *last;
            let mut gone = indexes.iter().rev().peekable();
            for at in (0..=*last).rev() {
                if gone.next_if(|index| **index == at).is_none() {
                    shift(tx, list, at, to)?;
                    to = to.wrapping_sub(1);
                }
            }
            let removed = indexes.len() as u64;
            for at in 0..removed {
                tx.delete(&place(list, at))?;
            }
            list.head += removed;
        } else {
            let mut to = *first;
            let mut gone = indexes.iter().peekable();
            for at in *first..list.count {
                if gone.next_if(|index| **index == at).is_none() {
                    shift(tx, list, at, to)?;
                    to += 1;
                }
            }
            for at in to..list.count {
                tx.delete(&place(list, at))?;
            }
        }
        list.count -= indexes.len() as u64;
        Ok(())
    })
}

fn shift(tx: &mut Tx<'_>, list: &Collection, from: u64, to: u64) -> Result<()> {
    if from == to {
        return Ok(());
    }
    let value = tx.get(&place(list, from))?.unwrap_or_default().to_vec();
    tx.put(&place(list, to), &value)
}

/// The values from `start` on, at most `most`, in order.
///
/// # Errors
/// See [`push`].
pub fn each(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    start: u64,
    most: u64,
    mut f: impl FnMut(&[u8]),
) -> Result<()> {
    let Some(list) = find(view, space, key, Kind::List)? else { return Ok(()) };
    if start >= list.count {
        return Ok(());
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    for row in view.rows_from(&list.elements(), &place(&list, start))?.take(most) {
        f(row?.1);
    }
    Ok(())
}
