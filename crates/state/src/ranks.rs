//! How many members of a sorted set lie before one: members are counted in buckets, so that a rank costs a walk over
//! bucket counts (100,000 members: some 300) and one bucket.
//!
//! A bucket's row lies at `part(3)` + the first position that it covers; the first bucket covers from the beginning.
//! Invariant: the counts of the buckets add up to the number of members.

use crate::error::Result;
use crate::key::{Key, Take};
use crate::limits::RANK_BUCKET_MAX;
use crate::tx::{Tx, View};

/// Rows of a sorted set's members by score, and of its buckets.
pub(crate) const BY_SCORE: u8 = 2;
pub(crate) const BUCKETS: u8 = 3;

/// The bucket that covers `position` (bytes of a score and a member): its row and its count.
fn bucket(view: &View<'_>, set: &Key, position: &[u8]) -> Result<Option<(Vec<u8>, u32)>> {
    let buckets = set.u8(BUCKETS);
    let row = view.last_up_to(&buckets, &buckets.push(position))?;
    Ok(row.map(|(key, value)| (key.to_vec(), Take(value).u32())))
}

/// Whether one bucket covers both positions: then moving a member from one to the other changes no count.
pub(crate) fn one_bucket(view: &View<'_>, set: &Key, a: &[u8], b: &[u8]) -> Result<bool> {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let buckets = set.u8(BUCKETS);
    let last = view.last_up_to(&buckets, &buckets.push(high))?;
    // The bucket of the higher one covers the lower one too, if it begins before it.
    Ok(last.is_none_or(|(key, _)| &key[buckets.as_slice().len()..] <= low))
}

/// A member was put at `position`.
pub(crate) fn added(tx: &mut Tx<'_>, set: &Key, position: &[u8]) -> Result<()> {
    let counted = recount(tx, set, position, |_, count| (count < RANK_BUCKET_MAX).then(|| count + 1))?;
    if counted {
        return Ok(());
    }
    let Some((key, count)) = bucket(&tx.view(), set, position)? else {
        return tx.put(&set.u8(BUCKETS), &1u32.to_be_bytes());
    };
    let row = Key::copy(&key);
    let half = RANK_BUCKET_MAX / 2;
    let begin = &key[set.as_slice().len() + 1..];
    let by_score = set.u8(BY_SCORE);
    let middle = {
        let view = tx.view();
        let mut rows = view.rows_from(&by_score, &by_score.push(begin))?.skip(half as usize);
        rows.next().transpose()?.map(|(key, _)| key[by_score.as_slice().len()..].to_vec())
    };
    tx.put(&row, &half.to_be_bytes())?;
    match middle {
        Some(middle) => {
            let rest = count + 1 - half;
            tx.put(&set.u8(BUCKETS).push(&middle), &rest.to_be_bytes())
        }
        None => tx.put(&row, &(count + 1).to_be_bytes()),
    }
}

/// A member was taken from `position`.
pub(crate) fn removed(tx: &mut Tx<'_>, set: &Key, position: &[u8]) -> Result<()> {
    let is_first = |key: &[u8]| key.len() == set.as_slice().len() + 1;
    let stays = |key: &[u8], count: u32| (count > 1 || is_first(key)).then(|| count.saturating_sub(1));
    if !recount(tx, set, position, stays)?
        && let Some((key, _)) = bucket(&tx.view(), set, position)?
    {
        tx.delete(&Key::copy(&key))?;
    }
    Ok(())
}

/// Writes another count of the bucket that covers `position`, by one way down the tree; false if `f` gives none.
fn recount(
    tx: &mut Tx<'_>,
    set: &Key,
    position: &[u8],
    f: impl FnOnce(&[u8], u32) -> Option<u32>,
) -> Result<bool> {
    let buckets = set.u8(BUCKETS);
    tx.replace_last_up_to(&buckets, &buckets.push(position), |key, value| {
        f(key, Take(value).u32()).map(u32::to_be_bytes)
    })
}

/// How many members lie before `position`.
pub(crate) fn before(view: &View<'_>, set: &Key, position: &[u8]) -> Result<u64> {
    let buckets = set.u8(BUCKETS);
    let mut sum = 0;
    let mut last: Option<(&[u8], u64)> = None;
    for row in view.rows(&buckets)? {
        let (key, value) = row?;
        let begin = &key[buckets.as_slice().len()..];
        if begin > position {
            break;
        }
        sum += last.map_or(0, |(_, count)| count);
        last = Some((begin, u64::from(Take(value).u32())));
    }
    let Some((begin, _)) = last else { return Ok(0) };
    let by_score = set.u8(BY_SCORE);
    for row in view.rows_from(&by_score, &by_score.push(begin))? {
        if &row?.0[by_score.as_slice().len()..] >= position {
            break;
        }
        sum += 1;
    }
    Ok(sum)
}

/// The position of the bucket in which the member of rank `rank` lies, and how many members come before that bucket.
pub(crate) fn seek(view: &View<'_>, set: &Key, rank: u64) -> Result<(Vec<u8>, u64)> {
    let buckets = set.u8(BUCKETS);
    let (mut begin, mut sum) = (Vec::new(), 0);
    for row in view.rows(&buckets)? {
        let (key, value) = row?;
        begin = key[buckets.as_slice().len()..].to_vec();
        let count = u64::from(Take(value).u32());
        if sum + count > rank {
            break;
        }
        sum += count;
    }
    Ok((begin, sum))
}
