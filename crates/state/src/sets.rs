//! Sets: members.

use crate::collection::{Save, edit, element, find, split};
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
    edit(tx, space, key, Kind::Set, Save::Now, |tx, set| {
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
    edit(tx, space, key, Kind::Set, Save::Now, |tx, set| {
        let was = tx.delete(&set.elements().name(&member))?;
        set.count -= u64::from(was);
        Ok(was)
    })
}

/// Adds members; how many are new.
///
/// # Errors
/// See [`add`].
pub fn add_all(tx: &mut Tx<'_>, space: Space, key: &[u8], members: &[&[u8]], save: Save) -> Result<u64> {
    // All or nothing.
    for member in members {
        StoredName::check("member", member)?;
    }
    edit(tx, space, key, Kind::Set, save, |tx, set| {
        let mut new = 0;
        for member in members {
            let member = StoredName::new("member", member)?;
            let row = set.elements().name(&member);
            if tx.get(&row)?.is_none() {
                new += 1;
                tx.put(&row, &element(&member, &[]))?;
            }
        }
        set.count += new;
        Ok(new)
    })
}

/// Removes members; how many were there.
///
/// # Errors
/// See [`add`].
pub fn remove_all(tx: &mut Tx<'_>, space: Space, key: &[u8], members: &[&[u8]]) -> Result<u64> {
    if find(&tx.view(), space, key, Kind::Set)?.is_none() {
        return Ok(0);
    }
    edit(tx, space, key, Kind::Set, Save::Now, |tx, set| {
        let mut removed = 0;
        for member in members {
            let member = StoredName::new("member", member)?;
            removed += u64::from(tx.delete(&set.elements().name(&member))?);
        }
        set.count -= removed;
        Ok(removed)
    })
}

/// Every member, in the order of their bytes.
///
/// # Errors
/// See [`add`].
pub fn each(view: &View<'_>, space: Space, key: &[u8], mut f: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let Some(set) = find(view, space, key, Kind::Set)? else { return Ok(()) };
    let prefix = set.elements();
    for row in view.rows(&prefix)? {
        let (key, value) = row?;
        f(split(&key[prefix.as_slice().len()..], value).0)?;
    }
    Ok(())
}

/// A member by chance: `chance` is a random number.
///
/// # Errors
/// See [`add`].
pub fn sample(view: &View<'_>, space: Space, key: &[u8], chance: u64) -> Result<Option<Vec<u8>>> {
    let Some(set) = find(view, space, key, Kind::Set)? else { return Ok(None) };
    let row = crate::chance::row(view, &set.elements(), set.count, chance)?;
    Ok(row.map(|(stored, value)| split(stored, value).0.to_vec()))
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
