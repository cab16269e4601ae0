//! Lists: an ordered row of values. Elements lie at consecutive places, sixteen of them in one row (`blocks`), so
//! that an index is a place.

use crate::blocks::{Block, Entries, Entry, PLACES, Row};
use crate::collection::{Collection, Save, edit, find, peek};
use crate::control::LAYOUT_OF_BLOCKS;
use crate::error::Result;
use crate::key::{Key, Table, Take};
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// The place of a new list's first element: as far from both ends as can be.
pub(crate) const MIDDLE: u64 = 1 << 63;

/// Rows of blocks. Those of elements that lie apart begin with their place, whose first byte is another one.
const BLOCKS: u8 = 1;

/// Values that are held in memory at once while a part of a list moves.
const MOVED: u64 = 256;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The left end, index 0.
    Front,
    /// The right end.
    Back,
}

/// The row of an element that lies apart.
fn apart(list: &Collection, place: u64) -> Key {
    list.elements().u64(place)
}

fn block_row((collection, number): (u64, u64)) -> Key {
    blocks(collection).u64(number)
}

fn blocks(collection: u64) -> Key {
    Key::new(Table::Elements).u64(collection).u8(BLOCKS)
}

/// The first place of the list in the block of `place`, and how many there are.
fn reach(list: &Collection, place: u64) -> (u64, u64) {
    let begin = place - place % PLACES;
    let first = begin.max(list.head);
    let end = (begin + PLACES).min(list.head + list.count);
    (first, end.saturating_sub(first))
}

/// The block of a place, to be changed: it is written when another one is opened, and by [`settle`].
fn open<'t>(tx: &'t mut Tx<'_>, list: &Collection, place: u64) -> Result<&'t mut Block> {
    let id = (list.id, place / PLACES);
    if tx.block.as_ref().is_none_or(|block| block.id() != id) {
        settle(tx)?;
        let mut block = std::mem::take(&mut tx.idle_block);
        block.load(id, reach(list, place).1, tx.get(&block_row(id))?);
        tx.block = Some(block);
    }
    Ok(tx.block.get_or_insert_default())
}

/// Writes the block that is open.
pub(crate) fn settle(tx: &mut Tx<'_>) -> Result<()> {
    let Some(mut block) = tx.block.take() else { return Ok(()) };
    let row = block_row(block.id());
    match block.row() {
        Row::Same => {}
        Row::Put(value) => {
            tx.control.raise_layout(LAYOUT_OF_BLOCKS);
            tx.put(&row, value)?;
        }
        Row::Delete => {
            tx.delete(&row)?;
        }
    }
    // Its memory serves the next one.
    tx.idle_block = block;
    Ok(())
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
    edit(tx, space, key, Kind::List, save, |tx, list| {
        for value in values {
            tx.check_value(value)?;
        }
        for value in values {
            extend(tx, list, end, value)?;
        }
        Ok(list.count)
    })
}

fn extend(tx: &mut Tx<'_>, list: &mut Collection, end: End, value: &[u8]) -> Result<()> {
    let entry = Entry::of(value);
    let place = match end {
        End::Front => list.head - 1,
        End::Back => list.head + list.count,
    };
    let block = open(tx, list, place)?;
    match end {
        End::Front => block.push_front(entry),
        End::Back => block.push_back(entry),
    }
    list.head -= u64::from(end == End::Front);
    list.count += 1;
    if entry == Entry::Apart { tx.put(&apart(list, place), value) } else { Ok(()) }
}

/// Removes and returns the value at an end.
///
/// # Errors
/// See [`push`].
pub fn pop(tx: &mut Tx<'_>, space: Space, key: &[u8], end: End, save: Save) -> Result<Option<Vec<u8>>> {
    if peek(tx, space, key, Kind::List)?.is_none_or(|list| list.count == 0) {
        return Ok(None);
    }
    edit(tx, space, key, Kind::List, save, |tx, list| {
        let place = match end {
            End::Front => list.head,
            End::Back => list.head + list.count - 1,
        };
        let (first, places) = reach(list, place);
        let block = open(tx, list, place)?;
        let value = match block.get(place - first) {
            Some(Entry::Here(value)) => Some(value.to_vec()),
            Some(Entry::Apart) | None => None,
        };
        match end {
            End::Front => block.drop_front(1),
            End::Back => block.keep_front(places - 1),
        }
        list.count -= 1;
        list.head += u64::from(end == End::Front);
        if value.is_some() { Ok(value) } else { tx.take(&apart(list, place)) }
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
    let mut values = Vec::new();
    each(view, space, key, start, most as u64, |value| values.push(value.to_vec()))?;
    Ok(values)
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
    f: impl FnMut(&[u8]),
) -> Result<()> {
    match find(view, space, key, Kind::List)? {
        Some(list) => read(view, &list, start, most, f),
        None => Ok(()),
    }
}

fn read(view: &View<'_>, list: &Collection, start: u64, most: u64, mut f: impl FnMut(&[u8])) -> Result<()> {
    if start >= list.count || most == 0 {
        return Ok(());
    }
    let (elements, blocks) = (list.elements(), blocks(list.id));
    let mut place = list.head + start;
    let end = place + most.min(list.count - start);
    let mut block_rows = view.rows_from(&blocks, &blocks.u64(place / PLACES))?.peekable();
    // Of what lies apart each is the next one, too.
    let mut apart_rows = None;
    let mut next_apart = |place: u64, f: &mut dyn FnMut(&[u8])| -> Result<()> {
        let rows = match &mut apart_rows {
            Some(rows) => rows,
            none => none.insert(view.rows_from(&elements, &apart(list, place))?),
        };
        f(rows.next().transpose()?.map_or(&[], |(_, value)| value));
        Ok(())
    };
    while place < end {
        let (first, places) = reach(list, place);
        let until = (first + places).min(end);
        let number = place / PLACES;
        let of_block = |row: &Result<(&[u8], &[u8])>| {
            row.as_ref().map_or(true, |(key, _)| Take(&key[blocks.as_slice().len()..]).u64() == number)
        };
        match block_rows.next_if(of_block).transpose()? {
            Some((_, packed)) => {
                let entries = Entries(packed).skip(usize::try_from(place - first).unwrap_or(0));
                for (place, entry) in (place..until).zip(entries) {
                    match entry {
                        Entry::Here(value) => f(value),
                        Entry::Apart => next_apart(place, &mut f)?,
                    }
                }
            }
            None => (place..until).try_for_each(|place| next_apart(place, &mut f))?,
        }
        place = until;
    }
    Ok(())
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
    edit(tx, space, key, Kind::List, Save::Now, |tx, list| write(tx, list, index, value))?;
    Ok(true)
}

fn write(tx: &mut Tx<'_>, list: &Collection, index: u64, value: &[u8]) -> Result<()> {
    let place = list.head + index;
    let (first, _) = reach(list, place);
    let block = open(tx, list, place)?;
    let was_apart = block.get(place - first) == Some(Entry::Apart);
    let entry = Entry::of(value);
    if !(was_apart && entry == Entry::Apart) {
        block.set(place - first, entry);
    }
    if entry == Entry::Apart {
        tx.put(&apart(list, place), value)
    } else if was_apart {
        tx.delete(&apart(list, place)).map(|_| ())
    } else {
        Ok(())
    }
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
        let keep = keep.min(list.count - start);
        let behind = list.count - start - keep;
        shorten(tx, list, End::Front, start)?;
        shorten(tx, list, End::Back, behind)
    })
}

/// Removes values at an end, block by block.
fn shorten(tx: &mut Tx<'_>, list: &mut Collection, end: End, mut count: u64) -> Result<()> {
    while count > 0 {
        let place = match end {
            End::Front => list.head,
            End::Back => list.head + list.count - 1,
        };
        let (first, places) = reach(list, place);
        let gone = places.min(count);
        let from = match end {
            End::Front => first,
            End::Back => first + places - gone,
        };
        let block = open(tx, list, place)?;
        let lies_apart = |place: &u64| block.get(place - first) == Some(Entry::Apart);
        let rows: Vec<u64> = (from..from + gone).filter(lies_apart).collect();
        match end {
            End::Front => block.drop_front(gone),
            End::Back => block.keep_front(places - gone),
        }
        for place in rows {
            tx.delete(&apart(list, place))?;
        }
        list.count -= gone;
        list.head += if end == End::Front { gone } else { 0 };
        count -= gone;
    }
    Ok(())
}

/// Some values, copied, so that their places may be written.
fn copied(tx: &mut Tx<'_>, list: &Collection, start: u64, count: u64) -> Result<Vec<Vec<u8>>> {
    settle(tx)?;
    let mut values = Vec::new();
    read(&tx.view(), list, start, count, |value| values.push(value.to_vec()))?;
    Ok(values)
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
            extend(tx, list, End::Front, value)?;
            let mut at = 1;
            while at <= index {
                let moved = copied(tx, list, at, MOVED.min(index + 1 - at))?;
                for value in &moved {
                    write(tx, list, at - 1, value)?;
                    at += 1;
                }
            }
        } else {
            let mut end = list.count;
            extend(tx, list, End::Back, value)?;
            while end > index {
                let count = MOVED.min(end - index);
                for value in copied(tx, list, end - count, count)?.iter().rev() {
                    write(tx, list, end, value)?;
                    end -= 1;
                }
            }
        }
        write(tx, list, index, value)?;
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
        let end = if front < back {
            let mut gone = indexes.iter().rev().peekable();
            let (mut at, mut to) = (last + 1, last + 1);
            while at > 0 {
                let count = MOVED.min(at);
                for value in copied(tx, list, at - count, count)?.iter().rev() {
                    at -= 1;
                    if gone.next_if(|index| **index == at).is_none() {
                        to -= 1;
                        write(tx, list, to, value)?;
                    }
                }
            }
            End::Front
        } else {
            let mut gone = indexes.iter().peekable();
            let (mut at, mut to) = (*first, *first);
            while at < list.count {
                for value in &copied(tx, list, at, MOVED)? {
                    if gone.next_if(|index| **index == at).is_none() {
                        write(tx, list, to, value)?;
                        to += 1;
                    }
                    at += 1;
                }
            }
            End::Back
        };
        shorten(tx, list, end, indexes.len() as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Supervisor, WallMs};

    const KEY: &[u8] = b"list";

    /// As stores of layout 1 have it: every element in a row of its own.
    fn push_apart(tx: &mut Tx<'_>, values: &[&str]) -> Result<()> {
        edit(tx, Space::database(0), KEY, Kind::List, Save::Now, |tx, list| {
            for value in values {
                tx.put(&apart(list, list.head + list.count), value.as_bytes())?;
                list.count += 1;
            }
            Ok(())
        })
    }

    #[test]
    fn a_list_whose_small_values_lie_apart_is_read_and_changed() {
        let dir = tempfile::tempdir_in("/dev/shm").expect("memory");
        let now = WallMs(1);
        let supervisor =
            Supervisor::open(&dir.path().join("store"), &Options::default(), now).expect("a store");
        let store = supervisor.store();
        let space = Space::database(0);
        let before = supervisor.stats().rows;
        store.write(now, |tx| push_apart(tx, &["a", "b", "c", "d"])).expect("pushed");
        let all = |count| store.read(now, |view| range(view, space, KEY, 0, count)).expect("read");
        assert_eq!(all(9), ["a", "b", "c", "d"].map(|value| value.as_bytes().to_vec()));
        let changed = store.write(now, |tx| {
            assert_eq!(pop(tx, space, KEY, End::Front, Save::Later)?, Some(b"a".to_vec()));
            push(tx, space, KEY, End::Back, &[b"e"], Save::Later)?;
            tx.settle()?;
            set(tx, space, KEY, 1, b"C")?;
            insert(tx, space, KEY, 1, b"new")
        });
        assert_eq!(changed.expect("changed"), 5);
        assert_eq!(all(9), ["b", "new", "C", "d", "e"].map(|value| value.as_bytes().to_vec()));
        store.write(now, |tx| trim(tx, space, KEY, 0, 0)).expect("emptied");
        assert_eq!(supervisor.stats().rows, before, "nothing of it is left");
    }
}
