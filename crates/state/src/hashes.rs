//! Hashes: fields with values.

use crate::collection::{Save, edit, element, find, split, whole_name_and_rest};
use crate::error::Result;
use crate::key::StoredName;
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Tx, View};

/// The value of a field.
///
/// # Errors
/// [`crate::Error::WrongType`], [`crate::Error::KeyTooLong`], or when the store itself fails; so for all here.
pub fn get<'t>(view: &View<'t>, space: Space, key: &[u8], field: &[u8]) -> Result<Option<&'t [u8]>> {
    let Some(hash) = find(view, space, key, Kind::Hash)? else { return Ok(None) };
    let field = StoredName::new("field", field)?;
    let value = view.get(&hash.elements().name(&field))?;
    Ok(value.map(|value| if field.long().is_some() { whole_name_and_rest(value).1 } else { value }))
}

/// Sets a field; whether it is new.
///
/// # Errors
/// See [`get`].
pub fn set(tx: &mut Tx<'_>, space: Space, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool> {
    tx.check_value(value)?;
    let field = StoredName::new("field", field)?;
    edit(tx, space, key, Kind::Hash, Save::Now, |tx, hash| {
        let row = hash.elements().name(&field);
        let new = tx.get(&row)?.is_none();
        hash.count += u64::from(new);
        tx.put(&row, &element(&field, value))?;
        Ok(new)
    })
}

/// Removes a field; whether it was there.
///
/// # Errors
/// See [`get`].
pub fn remove(tx: &mut Tx<'_>, space: Space, key: &[u8], field: &[u8]) -> Result<bool> {
    if find(&tx.view(), space, key, Kind::Hash)?.is_none() {
        return Ok(false);
    }
    let field = StoredName::new("field", field)?;
    edit(tx, space, key, Kind::Hash, Save::Now, |tx, hash| {
        let was = tx.delete(&hash.elements().name(&field))?;
        hash.count -= u64::from(was);
        Ok(was)
    })
}

/// Sets fields, one after the other; how many are new.
///
/// # Errors
/// See [`get`].
pub fn set_all(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    pairs: &[(&[u8], &[u8])],
    save: Save,
) -> Result<u64> {
    // All or nothing.
    for (field, value) in pairs {
        tx.check_value(value)?;
        StoredName::check("field", field)?;
    }
    edit(tx, space, key, Kind::Hash, save, |tx, hash| {
        let mut new = 0;
        for (field, value) in pairs {
            let field = StoredName::new("field", field)?;
            tx.replace(&hash.elements().name(&field), |found| {
                new += u64::from(found.is_none());
                Ok(Some(element(&field, value)))
            })?;
        }
        hash.count += new;
        Ok(new)
    })
}

/// Removes fields; how many were there.
///
/// # Errors
/// See [`get`].
pub fn remove_all(tx: &mut Tx<'_>, space: Space, key: &[u8], fields: &[&[u8]]) -> Result<u64> {
    if find(&tx.view(), space, key, Kind::Hash)?.is_none() {
        return Ok(0);
    }
    edit(tx, space, key, Kind::Hash, Save::Now, |tx, hash| {
        let mut removed = 0;
        for field in fields {
            let field = StoredName::new("field", field)?;
            removed += u64::from(tx.delete(&hash.elements().name(&field))?);
        }
        hash.count -= removed;
        Ok(removed)
    })
}

/// Every field and value, in the order of the fields' bytes.
///
/// # Errors
/// See [`get`].
pub fn each(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    mut f: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let Some(hash) = find(view, space, key, Kind::Hash)? else { return Ok(()) };
    let prefix = hash.elements();
    for row in view.rows(&prefix)? {
        let (key, value) = row?;
        let (field, value) = split(&key[prefix.as_slice().len()..], value);
        f(field, value)?;
    }
    Ok(())
}

/// A field by chance, with its value: `chance` is a random number.
///
/// # Errors
/// See [`get`].
pub fn sample(view: &View<'_>, space: Space, key: &[u8], chance: u64) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let Some(hash) = find(view, space, key, Kind::Hash)? else { return Ok(None) };
    let row = crate::chance::row(view, &hash.elements(), hash.count, chance)?;
    Ok(row.map(|(stored, value)| {
        let (field, value) = split(stored, value);
        (field.to_vec(), value.to_vec())
    }))
}

/// How many fields a hash has.
///
/// # Errors
/// See [`get`].
pub fn len(view: &View<'_>, space: Space, key: &[u8]) -> Result<u64> {
    Ok(find(view, space, key, Kind::Hash)?.map_or(0, |hash| hash.count))
}

/// Fields and values, in the order of the fields' bytes, from `from` on, at most `most`.
///
/// # Errors
/// See [`get`].
pub fn page(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    from: &[u8],
    most: usize,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let Some(hash) = find(view, space, key, Kind::Hash)? else { return Ok(Vec::new()) };
    let from = StoredName::new("field", from)?;
    let prefix = hash.elements();
    let rows = view.rows_from(&prefix, &prefix.name(&from))?.take(most);
    rows.map(|row| {
        let (key, value) = row?;
        let (field, value) = split(&key[prefix.as_slice().len()..], value);
        Ok((field.to_vec(), value.to_vec()))
    })
    .collect()
}
