//! Looking into sorted sets: by member, by rank, by score.

use super::{
    BY_SCORE, Bound, MEMBERS, Order, Scored, member_row, position, score_of, scored, sortable, unsortable,
};
use crate::collection::{find, split};
use crate::error::Result;
use crate::key::{StoredName, Take};
use crate::ranks;
use crate::record::Kind;
use crate::spaces::Space;
use crate::tx::{Row, View};

/// A member's score.
///
/// # Errors
/// See [`super::update`].
pub fn score(view: &View<'_>, space: Space, key: &[u8], member: &[u8]) -> Result<Option<f64>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(None) };
    let member = StoredName::new("member", member)?;
    Ok(score_of(view.get(&member_row(&set, &member))?))
}

/// How many members a set has.
///
/// # Errors
/// See [`super::update`].
pub fn len(view: &View<'_>, space: Space, key: &[u8]) -> Result<u64> {
    Ok(find(view, space, key, Kind::SortedSet)?.map_or(0, |set| set.count))
}

/// How many members come before this one in the given order.
///
/// # Errors
/// See [`super::update`].
pub fn rank(view: &View<'_>, space: Space, key: &[u8], member: &[u8], order: Order) -> Result<Option<u64>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(None) };
    let member = StoredName::new("member", member)?;
    let Some(score) = score_of(view.get(&member_row(&set, &member))?) else { return Ok(None) };
    let before = ranks::before(view, &set.elements(), &position(score, &member))?;
    Ok(Some(match order {
        Order::Ascending => before,
        Order::Descending => set.count - 1 - before,
    }))
}

/// Members by rank: `most` of them from rank `start` on, in the given order.
///
/// # Errors
/// See [`super::update`].
pub fn range(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    start: u64,
    most: usize,
    order: Order,
) -> Result<Vec<Scored>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    if start >= set.count {
        return Ok(Vec::new());
    }
    let by_score = set.elements().u8(BY_SCORE);
    // An end needs no rank.
    if start == 0 {
        let read = |row: Result<Row<'_>>| row.map(|row| scored(&by_score, row));
        return match order {
            Order::Ascending => view.rows(&by_score)?.take(most).map(read).collect(),
            Order::Descending => view.rows_back(&by_score)?.take(most).map(read).collect(),
        };
    }
    let count = (most as u64).min(set.count - start);
    let first = match order {
        Order::Ascending => start,
        Order::Descending => set.count - start - count,
    };
    let (begin, before) = ranks::seek(view, &set.elements(), first)?;
    let skip = usize::try_from(first - before).unwrap_or(usize::MAX);
    let take = usize::try_from(count).unwrap_or(usize::MAX);
    let rows = view.rows_from(&by_score, &by_score.push(&begin))?.skip(skip).take(take);
    let mut members: Vec<Scored> =
        rows.map(|row| row.map(|row| scored(&by_score, row))).collect::<Result<_>>()?;
    if order == Order::Descending {
        members.reverse();
    }
    Ok(members)
}

/// Members with scores between two bounds, in `order`, without the first `skip`, at most `most`.
///
/// # Errors
/// See [`super::update`].
pub fn by_score(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    (low, high): (Bound, Bound),
    order: Order,
    (skip, most): (usize, usize),
) -> Result<Vec<Scored>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    let by_score = set.elements().u8(BY_SCORE);
    let above = |score| within_low(score, low);
    let below = |score| within_high(score, high);
    let member = |row: Result<Row<'_>>| row.map(|row| scored(&by_score, row));
    match order {
        Order::Ascending => {
            let (Bound::Included(from) | Bound::Excluded(from)) = low;
            let rows = view.rows_from(&by_score, &by_score.push(&sortable(from)))?;
            between(rows.map(member), above, below, skip, most)
        }
        Order::Descending => {
            let rows = view.rows_back_from(&by_score, &by_score.push(&after(high)))?;
            between(rows.map(member), below, above, skip, most)
        }
    }
}

/// The members from the first that is `begun` to the last that is not beyond `still`.
fn between(
    members: impl Iterator<Item = Result<Scored>>,
    begun: impl Fn(f64) -> bool,
    still: impl Fn(f64) -> bool,
    skip: usize,
    most: usize,
) -> Result<Vec<Scored>> {
    let mut found = Vec::new();
    let mut skipped = 0;
    for member in members {
        let member = member?;
        if !still(member.score) || found.len() == most {
            break;
        }
        if begun(member.score) && skipped < skip {
            skipped += 1;
        } else if begun(member.score) {
            found.push(member);
        }
    }
    Ok(found)
}

/// How many members have scores between two bounds.
///
/// # Errors
/// See [`super::update`].
pub fn count_by_score(view: &View<'_>, space: Space, key: &[u8], (low, high): (Bound, Bound)) -> Result<u64> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(0) };
    let until = ranks::before(view, &set.elements(), &after(high))?;
    let begin = match low {
        Bound::Included(score) => sortable(score),
        Bound::Excluded(score) => after(Bound::Included(score)),
    };
    Ok(until.saturating_sub(ranks::before(view, &set.elements(), &begin)?))
}

/// The first position behind all members that a high bound lets in.
fn after(high: Bound) -> [u8; 8] {
    match high {
        Bound::Included(score) => (Take(&sortable(score)).u64() + 1).to_be_bytes(),
        Bound::Excluded(score) => sortable(score),
    }
}

fn within_low(score: f64, low: Bound) -> bool {
    match low {
        Bound::Included(low) => score >= low,
        Bound::Excluded(low) => score > low,
    }
}

fn within_high(score: f64, high: Bound) -> bool {
    match high {
        Bound::Included(high) => score <= high,
        Bound::Excluded(high) => score < high,
    }
}

/// Members ascending for as long as `f` says true, from `from` on where all have one score (else from the first).
///
/// # Errors
/// See [`super::update`].
pub fn each_from(
    view: &View<'_>,
    space: Space,
    key: &[u8],
    from: &[u8],
    mut f: impl FnMut(Scored) -> bool,
) -> Result<()> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(()) };
    let by_score = set.elements().u8(BY_SCORE);
    let Some(first) = view.first(&by_score)? else { return Ok(()) };
    let score = unsortable(&first.0[by_score.as_slice().len()..]);
    let start = by_score.push(&position(score, &StoredName::new("member", from)?));
    for row in view.rows_from(&by_score, &start)? {
        if !f(scored(&by_score, row?)) {
            break;
        }
    }
    Ok(())
}

/// Members in the order of their bytes, from `from` on, at most `most`: for scans.
///
/// # Errors
/// See [`super::update`].
pub fn page(view: &View<'_>, space: Space, key: &[u8], from: &[u8], most: usize) -> Result<Vec<Scored>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(Vec::new()) };
    let prefix = set.elements().u8(MEMBERS);
    let from = StoredName::new("member", from)?;
    let rows = view.rows_from(&prefix, &prefix.name(&from))?.take(most);
    rows.map(|row| {
        let (key, value) = row?;
        let stored = &key[prefix.as_slice().len()..];
        let score = f64::from_bits(Take(value).u64());
        if !StoredName::is_long(stored) {
            return Ok(Scored { member: stored.to_vec(), score });
        }
        // Only the row by score keeps a long name whole.
        let by_score = set.elements().u8(BY_SCORE).push(&sortable(score)).push(stored);
        let whole = view.get(&by_score)?.map(|value| split(stored, value).0.to_vec());
        Ok(Scored { member: whole.unwrap_or_default(), score })
    })
    .collect()
}

/// A member by chance: `chance` is a random number.
///
/// # Errors
/// See [`super::update`].
pub fn sample(view: &View<'_>, space: Space, key: &[u8], chance: u64) -> Result<Option<Scored>> {
    let Some(set) = find(view, space, key, Kind::SortedSet)? else { return Ok(None) };
    Ok(range(view, space, key, chance % set.count.max(1), 1, Order::Ascending)?.pop())
}
