//! Spaces: keyspaces beside each other. Redis's databases have fixed numbers; the SDK's maps, boards and limiters get
//! one when they are first named.

use crate::error::Result;
use crate::key::{Key, StoredName, Table, Take};
use crate::tx::{Tx, View};

/// A keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(pub(crate) u32);

/// What a named space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SpaceKind {
    /// Keys of an SDK `map`.
    Map = b'm',
    /// An SDK `leaderboard`: one sorted set under the empty key.
    Board = b'b',
    /// Keys of an SDK `limiter`.
    Limiter = b'l',
}

/// The first number of a named space; below are Redis's databases.
const NAMED: u32 = 1 << 16;
/// The row that counts named spaces. `C` counts counters (see `counters`).
const COUNT: u8 = b'S';

impl Space {
    /// One of Redis's numbered databases.
    #[must_use]
    pub fn database(number: u16) -> Self {
        Self(u32::from(number))
    }

    /// Whether it is one of the SDK's, not a database.
    pub(crate) fn is_named(self) -> bool {
        self.0 >= NAMED
    }

    /// The space of a number that [`Space::number`] told.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

fn row(kind: SpaceKind, name: &StoredName<'_>) -> Key {
    Key::new(Table::Names).u8(kind as u8).name(name)
}

pub(crate) fn find(view: &View<'_>, kind: SpaceKind, name: &[u8]) -> Result<Option<Space>> {
    let name = StoredName::new("name", name)?;
    Ok(view.get(&row(kind, &name))?.map(|bytes| Space(Take(bytes).u32())))
}

pub(crate) fn open(tx: &mut Tx<'_>, kind: SpaceKind, name: &[u8]) -> Result<Space> {
    if let Some(space) = find(&tx.view(), kind, name)? {
        return Ok(space);
    }
    let stored = StoredName::new("name", name)?;
    let count = Key::new(Table::Names).u8(COUNT);
    let used = tx.get(&count)?.map_or(0, |bytes| Take(bytes).u32());
    let number = NAMED + used;
    tx.put(&count, &(used + 1).to_be_bytes())?;
    let mut value = number.to_be_bytes().to_vec();
    value.extend_from_slice(stored.long().unwrap_or_default());
    tx.put(&row(kind, &stored), &value)?;
    Ok(Space(number))
}

/// All named spaces of a kind.
pub(crate) fn list(view: &View<'_>, kind: SpaceKind) -> Result<Vec<(Vec<u8>, Space)>> {
    let prefix = Key::new(Table::Names).u8(kind as u8);
    let spaces = view.rows(&prefix)?.map(|row| {
        let (key, value) = row?;
        let mut take = Take(value);
        let space = Space(take.u32());
        let name = if take.0.is_empty() { key[prefix.as_slice().len()..].to_vec() } else { take.0.to_vec() };
        Ok((name, space))
    });
    spaces.collect()
}
