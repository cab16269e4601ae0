//! Neighbours of a list in one row: a list of small values costs a row for each sixteen, not for each one, and what comes
//! and goes at its end changes that row in memory until somebody looks.
//!
//! A list's elements lie at consecutive places. Block `b` holds those at the places from `b * 16` on, as far as the list
//! reaches, one behind the other: a byte for the length and the value, or one byte that says that the value lies apart, in a row
//! of its own under its place. A block in which all lie apart has no row.
//!
//! Invariant: whenever somebody looks, a block has an entry for each place of the list in it, and a row of its own lies under
//! a place exactly if its entry says so.

use std::ops::Range;

/// Places of a block.
pub(crate) const PLACES: u64 = 16;
/// A value up to this long lies in its block: sixteen fit into a row that lies in a page of the tree.
pub(crate) const SMALL_BYTES_MAX: usize = 100;
/// The byte of an element that lies apart.
const APART: u8 = u8::MAX;

/// An element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// Its value is here.
    Here(&'a [u8]),
    /// Its value has a row of its own.
    Apart,
}

impl<'a> Entry<'a> {
    /// That of a value.
    pub(crate) fn of(value: &'a [u8]) -> Self {
        if value.len() <= SMALL_BYTES_MAX { Self::Here(value) } else { Self::Apart }
    }

    fn head(self) -> u8 {
        match self {
            Self::Here(value) => value.len() as u8,
            Self::Apart => APART,
        }
    }

    fn value(self) -> &'a [u8] {
        match self {
            Self::Here(value) => value,
            Self::Apart => &[],
        }
    }
}

/// Goes over a block's entries.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (head, rest) = self.0.split_first()?;
        if *head == APART {
            self.0 = rest;
            return Some(Entry::Apart);
        }
        let (value, rest) = rest.split_at_checked(usize::from(*head)).unwrap_or((rest, &[]));
        self.0 = rest;
        Some(Entry::Here(value))
    }
}

/// A block under change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Of the list that it is of.
    collection: u64,
    number: u64,
    packed: Vec<u8>,
    /// Whether it has a row.
    stored: bool,
    changed: bool,
}

/// What is to be done with a block's row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    Same,
    Put(&'a [u8]),
    Delete,
}

impl Block {
    /// Becomes block `number` of a list, to which `places` of it belong; `row`: what is written of it.
    pub(crate) fn load(&mut self, (collection, number): (u64, u64), places: u64, row: Option<&[u8]>) {
        (self.collection, self.number) = (collection, number);
        self.packed.clear();
        self.stored = row.is_some();
        self.changed = false;
        match row {
            Some(row) => self.packed.extend_from_slice(row),
            None => self.packed.extend((0..places).map(|_| APART)),
        }
    }

    /// The number of its list, and its own.
    pub(crate) fn id(&self) -> (u64, u64) {
        (self.collection, self.number)
    }

    /// What its row should be. To be asked for once, and done.
    pub(crate) fn row(&mut self) -> Row<'_> {
        let changed = std::mem::take(&mut self.changed);
        let stored = self.stored;
        self.stored = Entries(&self.packed).any(|entry| entry != Entry::Apart);
        match (changed, self.stored) {
            (true, true) => Row::Put(&self.packed),
            (true, false) if stored => Row::Delete,
            _ => Row::Same,
        }
    }

    pub(crate) fn push_back(&mut self, entry: Entry<'_>) {
        self.changed = true;
        self.packed.push(entry.head());
        self.packed.extend_from_slice(entry.value());
    }

    pub(crate) fn push_front(&mut self, entry: Entry<'_>) {
        self.replace(0..0, entry);
    }

    /// Removes the first entries.
    pub(crate) fn drop_front(&mut self, count: u64) {
        self.changed = true;
        let end = self.begin(count);
        self.packed.drain(..end);
    }

    /// Leaves the first entries.
    pub(crate) fn keep_front(&mut self, count: u64) {
        self.changed = true;
        let end = self.begin(count);
        self.packed.truncate(end);
    }

    /// The entry at an index, from the block's first one on.
    pub(crate) fn get(&self, index: u64) -> Option<Entry<'_>> {
        Entries(&self.packed[self.begin(index)..]).next()
    }

    pub(crate) fn set(&mut self, index: u64, entry: Entry<'_>) {
        let (begin, end) = (self.begin(index), self.begin(index + 1));
        self.replace(begin..end, entry);
    }

    fn replace(&mut self, range: Range<usize>, entry: Entry<'_>) {
        self.changed = true;
        let new = std::iter::once(entry.head()).chain(entry.value().iter().copied());
        self.packed.splice(range, new);
    }

    /// Where an entry begins; where the last one ends, if there are fewer.
    fn begin(&self, index: u64) -> usize {
        let mut entries = Entries(&self.packed);
        (0..index).for_each(|_| {
            entries.next();
        });
        self.packed.len() - entries.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn entry(value: &[u8]) -> Option<Vec<u8>> {
        match Entry::of(value) {
            Entry::Here(value) => Some(value.to_vec()),
            Entry::Apart => None,
        }
    }

    fn all(packed: &[u8]) -> Vec<Option<Vec<u8>>> {
        let owned = |entry| match entry {
            Entry::Here(value) => Some(value.to_vec()),
            Entry::Apart => None,
        };
        Entries(packed).map(owned).collect()
    }

    proptest! {
        #[test]
        fn a_block_is_a_row_of_entries(deeds in proptest::collection::vec((0..6u8, 0..130usize), 1..60)) {
            let mut block = Block::default();
            block.load((1, 7), 2, None);
            let mut model: VecDeque<Option<Vec<u8>>> = [None, None].into();
            let mut stored = None;
            for (deed, number) in deeds {
                let value = vec![deed; number];
                let index = number as u64 % 4;
                match deed {
                    0 => { block.push_back(Entry::of(&value)); model.push_back(entry(&value)); }
                    1 => { block.push_front(Entry::of(&value)); model.push_front(entry(&value)); }
                    2 => { block.drop_front(1); model.pop_front(); }
                    3 => { block.keep_front(index); model.truncate(index as usize); }
                    4 if index < model.len() as u64 => {
                        block.set(index, Entry::of(&value));
                        model[index as usize] = entry(&value);
                    }
                    _ => match block.row() {
                        Row::Same => {}
                        Row::Put(row) => stored = Some(row.to_vec()),
                        Row::Delete => stored = None,
                    },
                }
                for (index, expected) in model.iter().enumerate() {
                    let found = block.get(index as u64).map(|entry| match entry {
                        Entry::Here(value) => Some(value.to_vec()),
                        Entry::Apart => None,
                    });
                    prop_assert_eq!(found.as_ref(), Some(expected));
                }
                prop_assert_eq!(block.get(model.len() as u64), None);
            }
            match block.row() {
                Row::Same => {}
                Row::Put(row) => stored = Some(row.to_vec()),
                Row::Delete => stored = None,
            }
            prop_assert_eq!(block.row(), Row::Same, "it is asked for once");
            prop_assert_eq!(stored.is_some(), model.iter().any(Option::is_some), "without a value here it has no row");
            let mut again = Block::default();
            again.load((1, 7), model.len() as u64, stored.as_deref());
            prop_assert_eq!(all(&again.packed), model.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn bytes_that_are_no_block_end(bytes: Vec<u8>) {
            let entries = Entries(&bytes).count();
            prop_assert!(entries <= bytes.len());
        }
    }
}
