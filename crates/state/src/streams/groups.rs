//! Groups of consumers: who has read how far, and which entries wait for an acknowledgement.

use super::{Id, Key, Put, Result, StoredName, Stream, Take, Tx, View};
use crate::WallMs;
use crate::collection::{element, split};

/// Rows of groups, by name.
const GROUPS: u8 = 2;
/// Rows of consumers: group, name.
const CONSUMERS: u8 = 3;
/// Rows of pending entries: group, number of the entry.
const PENDING: u8 = 4;

/// A group of consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    id: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// The last entry given to one of its consumers.
    pub last: Id,
    /// How many entries it has read; `None`: not known.
    pub read: Option<u64>,
    /// How many entries wait for an acknowledgement.
    pub pending: u64,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: Vec<u8>,
    /// When it last asked.
    pub seen: WallMs,
    /// How many entries it has not acknowledged.
    pub pending: u64,
}

/// An entry that was given out and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub id: Id,
    /// Who has it.
    pub consumer: Vec<u8>,
    /// Since when.
    pub since: WallMs,
    /// How often it was given out.
    pub deliveries: u64,
}

impl Group {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        out.put_u32(self.id);
        self.last.put(&mut out);
        out.put_varint(self.read.map_or(0, |read| read + 1));
        out.put_varint(self.pending);
        out
    }

    fn decode(stored: &[u8], value: &[u8]) -> Self {
        let (name, value) = split(stored, value);
        let mut take = Take(value);
        let (id, last) = (take.u32(), Id::take(&mut take));
        let read = take.varint().checked_sub(1);
        Self { id, name: name.to_vec(), last, read, pending: take.varint() }
    }
}

/// A group by its name.
///
/// # Errors
/// [`crate::Error::KeyTooLong`], or when the store itself fails; so for all functions here.
pub fn group(view: &View<'_>, stream: &Stream, name: &[u8]) -> Result<Option<Group>> {
    let stored = StoredName::new("group", name)?;
    let row = view.get(&stream.rows(GROUPS).name(&stored))?;
    Ok(row.map(|value| Group::decode(stored.as_slice(), value)))
}

/// All groups.
///
/// # Errors
/// See [`group`].
pub fn groups(view: &View<'_>, stream: &Stream) -> Result<Vec<Group>> {
    let prefix = stream.rows(GROUPS);
    let rows = view.rows(&prefix)?;
    rows.map(|row| row.map(|(key, value)| Group::decode(&key[prefix.as_slice().len()..], value))).collect()
}

/// Makes a group that begins after `last`.
///
/// # Errors
/// See [`group`].
pub fn create_group(
    tx: &mut Tx<'_>,
    stream: &mut Stream,
    name: &[u8],
    last: Id,
    read: Option<u64>,
) -> Result<()> {
    stream.groups_made += 1;
    put_group(tx, stream, &Group { id: stream.groups_made, name: name.to_vec(), last, read, pending: 0 })
}

/// Writes a group back.
///
/// # Errors
/// See [`group`].
pub fn put_group(tx: &mut Tx<'_>, stream: &Stream, group: &Group) -> Result<()> {
    let name = StoredName::new("group", &group.name)?;
    tx.put(&stream.rows(GROUPS).name(&name), &element(&name, &group.encode()))
}

/// Removes a group with its consumers and what they had; whether it was there.
///
/// # Errors
/// See [`group`].
pub fn destroy_group(tx: &mut Tx<'_>, stream: &Stream, name: &[u8]) -> Result<bool> {
    let Some(found) = group(&tx.view(), stream, name)? else { return Ok(false) };
    for part in [CONSUMERS, PENDING] {
        for key in tx.keys(&stream.rows(part).u32(found.id), usize::MAX)? {
            tx.delete_raw(&key)?;
        }
    }
    tx.delete(&stream.rows(GROUPS).name(&StoredName::new("group", name)?))
}

fn read_consumer(stored: &[u8], value: &[u8]) -> Consumer {
    let (name, value) = split(stored, value);
    let mut take = Take(value);
    Consumer { name: name.to_vec(), seen: WallMs(take.u64()), pending: take.varint() }
}

/// A consumer by its name.
///
/// # Errors
/// See [`group`].
pub fn consumer(view: &View<'_>, stream: &Stream, group: &Group, name: &[u8]) -> Result<Option<Consumer>> {
    let stored = StoredName::new("consumer", name)?;
    let row = view.get(&stream.rows(CONSUMERS).u32(group.id).name(&stored))?;
    Ok(row.map(|value| read_consumer(stored.as_slice(), value)))
}

/// All consumers of a group.
///
/// # Errors
/// See [`group`].
pub fn consumers(view: &View<'_>, stream: &Stream, group: &Group) -> Result<Vec<Consumer>> {
    let prefix = stream.rows(CONSUMERS).u32(group.id);
    let rows = view.rows(&prefix)?;
    rows.map(|row| row.map(|(key, value)| read_consumer(&key[prefix.as_slice().len()..], value))).collect()
}

/// The consumer of a name, made if it is not there (then true), seen now.
///
/// # Errors
/// See [`group`].
pub fn create_consumer(
    tx: &mut Tx<'_>,
    stream: &Stream,
    group: &Group,
    name: &[u8],
) -> Result<(Consumer, bool)> {
    let found = consumer(&tx.view(), stream, group, name)?;
    let made = found.is_none();
    let pending = found.map_or(0, |consumer| consumer.pending);
    let consumer = Consumer { name: name.to_vec(), seen: tx.now(), pending };
    put_consumer(tx, stream, group, &consumer)?;
    Ok((consumer, made))
}

/// Writes a consumer back.
///
/// # Errors
/// See [`group`].
pub fn put_consumer(tx: &mut Tx<'_>, stream: &Stream, group: &Group, consumer: &Consumer) -> Result<()> {
    let name = StoredName::new("consumer", &consumer.name)?;
    let mut out = Vec::with_capacity(16);
    out.put_u64(consumer.seen.0);
    out.put_varint(consumer.pending);
    tx.put(&stream.rows(CONSUMERS).u32(group.id).name(&name), &element(&name, &out))
}

/// Removes a consumer and what it had not acknowledged; how many entries these were.
///
/// # Errors
/// See [`group`].
pub fn remove_consumer(tx: &mut Tx<'_>, stream: &Stream, group: &mut Group, name: &[u8]) -> Result<u64> {
    let Some(_) = consumer(&tx.view(), stream, group, name)? else { return Ok(0) };
    let all =
        pending_between(&tx.view(), stream, group, (Id::MIN, Id::MAX), usize::MAX, |p| p.consumer == name)?;
    for entry in &all {
        tx.delete(&pending_row(stream, group, entry.id))?;
    }
    group.pending -= all.len() as u64;
    put_group(tx, stream, group)?;
    tx.delete(&stream.rows(CONSUMERS).u32(group.id).name(&StoredName::new("consumer", name)?))?;
    Ok(all.len() as u64)
}

fn pending_row(stream: &Stream, group: &Group, id: Id) -> Key {
    id.under(stream.rows(PENDING).u32(group.id))
}

fn read_pending(id: Id, value: &[u8]) -> Pending {
    let mut take = Take(value);
    let (since, deliveries) = (WallMs(take.u64()), take.varint());
    Pending { id, consumer: take.0.to_vec(), since, deliveries }
}

/// What is known of one pending entry.
///
/// # Errors
/// See [`group`].
pub fn pending(view: &View<'_>, stream: &Stream, group: &Group, id: Id) -> Result<Option<Pending>> {
    let row = view.get(&pending_row(stream, group, id))?;
    Ok(row.map(|value| read_pending(id, value)))
}

/// Pending entries between two numbers (both included) that `wanted` says yes to, at most `most`.
///
/// # Errors
/// See [`group`].
pub fn pending_between(
    view: &View<'_>,
    stream: &Stream,
    group: &Group,
    (from, to): (Id, Id),
    most: usize,
    wanted: impl Fn(&Pending) -> bool,
) -> Result<Vec<Pending>> {
    let prefix = stream.rows(PENDING).u32(group.id);
    let mut found = Vec::new();
    for row in view.rows_from(&prefix, &from.under(prefix))? {
        let (key, value) = row?;
        let id = Id::take(&mut Take(&key[prefix.as_slice().len()..]));
        if id > to || found.len() == most {
            break;
        }
        found.push(read_pending(id, value));
        found.pop_if(|pending| !wanted(pending));
    }
    Ok(found)
}

/// Writes a pending entry; the counts of the group and of both consumers follow. The group is written back.
///
/// # Errors
/// See [`group`].
pub fn put_pending(tx: &mut Tx<'_>, stream: &Stream, group: &mut Group, entry: &Pending) -> Result<()> {
    let before = pending(&tx.view(), stream, group, entry.id)?;
    let mut out = Vec::with_capacity(16 + entry.consumer.len());
    out.put_u64(entry.since.0);
    out.put_varint(entry.deliveries);
    out.extend_from_slice(&entry.consumer);
    tx.put(&pending_row(stream, group, entry.id), &out)?;
    match before {
        Some(before) if before.consumer == entry.consumer => return Ok(()),
        Some(before) => count(tx, stream, group, &before.consumer, false)?,
        None => group.pending += 1,
    }
    count(tx, stream, group, &entry.consumer, true)?;
    put_group(tx, stream, group)
}

/// Removes a pending entry; whether it was there. The group is written back.
///
/// # Errors
/// See [`group`].
pub fn remove_pending(tx: &mut Tx<'_>, stream: &Stream, group: &mut Group, id: Id) -> Result<bool> {
    let Some(before) = pending(&tx.view(), stream, group, id)? else { return Ok(false) };
    tx.delete(&pending_row(stream, group, id))?;
    count(tx, stream, group, &before.consumer, false)?;
    group.pending = group.pending.saturating_sub(1);
    put_group(tx, stream, group)?;
    Ok(true)
}

fn count(tx: &mut Tx<'_>, stream: &Stream, group: &Group, name: &[u8], one_more: bool) -> Result<()> {
    let Some(mut found) = consumer(&tx.view(), stream, group, name)? else { return Ok(()) };
    found.pending = if one_more { found.pending + 1 } else { found.pending.saturating_sub(1) };
    put_consumer(tx, stream, group, &found)
}
