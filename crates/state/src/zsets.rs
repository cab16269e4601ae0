//! Sorted sets: members with scores, in the order of score and then of the member's bytes.

mod reads;

pub use self::reads::{by_score, count_by_score, each_from, len, page, range, rank, sample, score};

use crate::collection::{Collection, Save, edit, element, find, peek, split};
use crate::error::{Error, Result};
use crate::key::{Key, StoredName, Take};
use crate::ranks::{self, BY_SCORE};
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Row, Tx};

/// Rows of members, with their scores.
const MEMBERS: u8 = 1;

/// A member and its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The member.
    pub member: Vec<u8>,
    /// Its score.
    pub score: f64,
}

/// From which end a set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest score first.
    Ascending,
    /// The highest score first.
    Descending,
}

/// A bound of a range of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// This score belongs to the range.
    Included(f64),
    /// It does not.
    Excluded(f64),
}

/// Eight bytes that sort as the scores do.
fn sortable(score: f64) -> [u8; 8] {
    // Adding zero turns -0 into 0: they are one score.
    let bits = (score + 0.0).to_bits();
    let flipped = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    flipped.to_be_bytes()
}

fn unsortable(bytes: &[u8]) -> f64 {
    let flipped = Take(bytes).u64();
    f64::from_bits(if flipped >> 63 == 1 { flipped ^ 1 << 63 } else { !flipped })
}

fn position(score: f64, member: &StoredName<'_>) -> Vec<u8> {
    let mut out = sortable(score).to_vec();
    out.extend_from_slice(member.as_slice());
    out
}

fn member_row(set: &Collection, member: &StoredName<'_>) -> Key {
    set.elements().u8(MEMBERS).name(member)
}

fn score_of(bytes: Option<&[u8]>) -> Option<f64> {
    bytes.map(|bytes| f64::from_bits(Take(bytes).u64()))
}

fn unplace(tx: &mut Tx<'_>, set: &Collection, member: &StoredName<'_>, score: f64) -> Result<()> {
    tx.moves.removed(&position(score, member));
    count_when_full(tx, set)
}

/// Moves a member, whose own row says its new score, to where that belongs.
fn place(
    tx: &mut Tx<'_>,
    set: &Collection,
    member: &StoredName<'_>,
    before: Option<f64>,
    score: f64,
) -> Result<()> {
    if let Some(before) = before {
        tx.moves.removed(&position(before, member));
    }
    let to = position(score, member);
    if member.long().is_some() {
        // Only this row keeps it whole, so it cannot be made of its position alone.
        tx.put(&set.elements().u8(BY_SCORE).push(&to), &element(member, &[]))?;
    }
    tx.moves.added(&to);
    count_when_full(tx, set)
}

fn count_when_full(tx: &mut Tx<'_>, set: &Collection) -> Result<()> {
    if tx.moves.is_full() { ranks::settle(tx, &set.elements()) } else { Ok(()) }
}

/// Gives a member the score that `f` makes of the one it has; `None` leaves it as it is. The score then, if any.
///
/// # Errors
/// [`Error::NotANumber`] for a score that is none; [`Error::WrongType`], [`Error::KeyTooLong`], or when the store itself
/// fails; so for all functions here.
pub fn update(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    member: &[u8],
    save: Save,
    f: impl FnOnce(Option<f64>) -> Option<f64>,
) -> Result<Option<f64>> {
    let member = StoredName::new("member", member)?;
    edit(tx, space, key, Kind::SortedSet, save, |tx, set| score_with(tx, set, &member, f))
}

fn score_with(
    tx: &mut Tx<'_>,
    set: &mut Collection,
    member: &StoredName<'_>,
    f: impl FnOnce(Option<f64>) -> Option<f64>,
) -> Result<Option<f64>> {
    let (mut before, mut after) = (None, None);
    let changed = tx.replace(&member_row(set, member), |row| {
        before = score_of(row);
        after = f(before);
        match after {
            Some(score) if score.is_nan() => Err(Error::NotANumber("a valid float")),
            Some(score) if before != after => Ok(Some(score.to_bits().to_be_bytes())),
            Some(_) | None => Ok(None),
        }
    })?;
    let Some(score) = after.filter(|_| changed) else { return Ok(before) };
    set.count += u64::from(before.is_none());
    place(tx, set, member, before, score)?;
    Ok(Some(score))
}

/// Has the rows of members fetched that [`update`] is about to change, in a set that it changes already. Costs them
/// nothing, and saves most of what they would wait for memory one after the other.
///
/// # Errors
/// When the store itself fails.
pub fn foresee<'a>(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    members: impl Iterator<Item = &'a [u8]>,
) -> Result<()> {
    let Some(set) = tx.held.as_ref().and_then(|held| held.of(space, key, Kind::SortedSet)) else {
        return Ok(());
    };
    let row = crate::record::row(space, &StoredName::new("key", key)?);
    let Some(foresight) = tx.foresight(&row)? else { return Ok(()) };
    let mut pages = Vec::with_capacity(16);
    for member in members {
        // One that is too long is refused when its turn comes.
        let Ok(member) = StoredName::new("member", member) else { continue };
        if let Some(page) = foresight.leaf(member_row(&set, &member).as_slice()) {
            foresight.fetch_header(page);
            pages.push(page);
        }
    }
    for page in pages {
        foresight.fetch(page);
    }
    Ok(())
}

/// Sets a member's score; whether the member is new.
///
/// # Errors
/// See [`update`].
pub fn set(tx: &mut Tx<'_>, space: Space, key: &[u8], member: &[u8], score: f64) -> Result<bool> {
    let mut new = false;
    update(tx, space, key, member, Save::Now, |before| {
        new = before.is_none();
        Some(score)
    })?;
    Ok(new)
}

/// Adds to a member's score (a missing one has 0); the sum.
///
/// # Errors
/// See [`update`].
pub fn add(tx: &mut Tx<'_>, space: Space, key: &[u8], member: &[u8], by: f64) -> Result<f64> {
    let sum = update(tx, space, key, member, Save::Now, |before| Some(before.unwrap_or(0.0) + by))?;
    Ok(sum.unwrap_or(0.0))
}

/// Removes a member; whether it was there.
///
/// # Errors
/// See [`update`].
pub fn remove(tx: &mut Tx<'_>, space: Space, key: &[u8], member: &[u8]) -> Result<bool> {
    if find(&tx.view(), space, key, Kind::SortedSet)?.is_none() {
        return Ok(false);
    }
    let member = StoredName::new("member", member)?;
    edit(tx, space, key, Kind::SortedSet, Save::Now, |tx, set| {
        let row = member_row(set, &member);
        let Some(score) = score_of(tx.get(&row)?) else { return Ok(false) };
        tx.delete(&row)?;
        unplace(tx, set, &member, score)?;
        set.count -= 1;
        Ok(true)
    })
}

fn scored(prefix: &Key, row: (&[u8], &[u8])) -> Scored {
    let position = &row.0[prefix.as_slice().len()..];
    let (member, _) = split(&position[8..], row.1);
    Scored { member: member.to_vec(), score: unsortable(position) }
}

/// Removes members; how many were there.
///
/// # Errors
/// See [`update`].
pub fn remove_all(tx: &mut Tx<'_>, space: Space, key: &[u8], members: &[&[u8]]) -> Result<u64> {
    if find(&tx.view(), space, key, Kind::SortedSet)?.is_none() {
        return Ok(0);
    }
    edit(tx, space, key, Kind::SortedSet, Save::Now, |tx, set| {
        let mut removed = 0;
        for member in members {
            let member = StoredName::new("member", member)?;
            let row = member_row(set, &member);
            let Some(score) = score_of(tx.get(&row)?) else { continue };
            tx.delete(&row)?;
            unplace(tx, set, &member, score)?;
            removed += 1;
        }
        set.count -= removed;
        Ok(removed)
    })
}

/// Removes and returns up to `most` members from the end at which `order` begins.
///
/// # Errors
/// See [`update`].
pub fn pop(
    tx: &mut Tx<'_>,
    space: Space,
    key: &[u8],
    order: Order,
    most: usize,
    save: Save,
) -> Result<Vec<Scored>> {
    if peek(tx, space, key, Kind::SortedSet)?.is_none_or(|set| set.count == 0) || most == 0 {
        return Ok(Vec::new());
    }
    edit(tx, space, key, Kind::SortedSet, save, |tx, set| {
        let taken = first(tx, set, order, most)?;
        for scored in &taken {
            let member = StoredName::new("member", &scored.member)?;
            tx.delete(&member_row(set, &member))?;
            tx.moves.popped(&position(scored.score, &member), order);
            count_when_full(tx, set)?;
        }
        set.count -= taken.len() as u64;
        Ok(taken)
    })
}

/// The members from an end on. Those that were just taken from it are still in their rows.
fn first(tx: &mut Tx<'_>, set: &Collection, order: Order, most: usize) -> Result<Vec<Scored>> {
    if tx.moves.popped_last(order).is_none() {
        ranks::settle(tx, &set.elements())?;
    }
    let by_score = set.elements().u8(BY_SCORE);
    let last = tx.moves.popped_last(order).flatten().map(|last| by_score.push(last));
    let view = tx.view();
    let read = |row: Result<Row<'_>>| row.map(|row| scored(&by_score, row));
    match (order, last) {
        (Order::Ascending, None) => view.rows(&by_score)?.take(most).map(read).collect(),
        (Order::Ascending, Some(last)) => {
            view.rows_from(&by_score, &last)?.skip(1).take(most).map(read).collect()
        }
        (Order::Descending, None) => view.rows_back(&by_score)?.take(most).map(read).collect(),
        (Order::Descending, Some(last)) => {
            view.rows_back_from(&by_score, &last)?.skip(1).take(most).map(read).collect()
        }
    }
}
