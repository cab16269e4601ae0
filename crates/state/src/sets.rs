//! Sets: members.

use crate::collection::{edit, element, find, split};
use crate::error::Result;
use crate::key::StoredName;
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// Adds a member; whether it is new.
///
/// # Errors
/// [`crate::Error::WrongType`], [`crate::Error::KeyTooLong`], or when the store itself fails; so for all here.
pub fn add(tx: &mut Tx<'_>, space: Space, key: &[u8], member: &[u8]) -> Result<bool> {
    let member = StoredName::new("member", member)?;
    edit(tx, space, key, Kind::Set, |tx, set| {
        let row = set.elements().name(&member);
        let new = tx.get(&row)?.is_none();
        if new {
            set.count += 1;
            tx.put(&row, &element(&member, &[]))?;
        }
        Ok(new)
    })
}

/// Removes a member; whether it was there.
///
/// # Errors
/// See [`add`].
pub fn remove(tx: &mut Tx<'_>, space: Space, key: &[u8], member: &[u8]) -> Result<bool> {
    if find(&tx.view(), space, key, Kind::Set)?.is_none() {
        return Ok(false);
    }
    let member = StoredName::new("member", member)?;
    edit(tx, space, key, Kind::Set, |tx, set| {
        let was = tx.delete(&set.elements().name(&member))?;
        set.count -= u64::from(was);
        Ok(was)
    })
}

/// Whether a member is there.
///
/// # Errors
/// See [`add`].
pub fn contains(view: &View<'_>, space: Space, key: &[u8], member: &[u8]) -> Result<bool> {
    let Some(set) = find(view, space, key, Kind::Set)? else { return Ok(false) };
    let member = StoredName::new("member", member)?;
    Ok(view.get(&set.elements().name(&member))?.is_some())
}

/// How many members a set has.
///
/// # Errors
/// See [`add`].
pub fn len(view: &View<'_>, space: Space, key: &[u8]) -> Result<u64> {
    Ok(find(view, space, key, Kind::Set)?.map_or(0, |set| set.count))
}

/// Members, in the order of their bytes, from `from` on, at most `most`.
///
/// # Errors
/// See [`add`].
pub fn page(view: &View<'_>, space: Space, key: &[u8], from: &[u8], most: usize) -> Result<Vec<Vec<u8>>> {
    let Some(set) = find(view, space, key, Kind::Set)? else { return Ok(Vec::new()) };
    let from = StoredName::new("member", from)?;
    let prefix = set.elements();
    let rows = view.rows_from(&prefix, &prefix.name(&from))?.take(most);
    rows.map(|row| row.map(|(key, value)| split(&key[prefix.as_slice().len()..], value).0.to_vec())).collect()
}
