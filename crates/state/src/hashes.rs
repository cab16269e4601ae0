//! Hashes: fields with values.

use crate::collection::{edit, element, find, split, whole_name_and_rest};
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
    edit(tx, space, key, Kind::Hash, |tx, hash| {
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
    edit(tx, space, key, Kind::Hash, |tx, hash| {
        let was = tx.delete(&hash.elements().name(&field))?;
        hash.count -= u64::from(was);
        Ok(was)
    })
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
