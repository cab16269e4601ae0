//! How many members of a sorted set lie before one: members are counted in buckets, so that a rank costs a walk over
//! bucket counts (100,000 members: some 300) and one bucket.
//!
//! A bucket's row lies at `part(3)` + the first position that it covers; the first bucket covers from the beginning.
//! Invariant: whenever somebody looks, the counts of the buckets add up to the number of members.
//!
//! Within a transaction members that come and go are only noted. Their rows by score are written, and they are counted,
//! together at its end or before anything looks at them ([`settle`]): in the order of the tree, one way down for each bucket
//! that changes, and nothing at all for a place that a member came to and left again.

use std::ops::ControlFlow;

use crate::error::Result;
use crate::foresight::Ahead;
use crate::key::{Key, StoredName, Take};
use crate::limits::{RANK_BUCKET_MAX, RANK_MOVES_MAX};
use crate::tx::{Tx, View};
use crate::zsets::Order;

/// Rows of a sorted set's members by score, and of its buckets.
pub(crate) const BY_SCORE: u8 = 2;
pub(crate) const BUCKETS: u8 = 3;

/// A position begins with the score.
const SCORE_BYTES: usize = 8;

/// Members of one set that were put and taken since its buckets were counted.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Their positions (bytes of a score and a member), one behind the other: no allocation for each.
    bytes: Vec<u8>,
    moves: Vec<Move>,
    /// The end that all of them were taken from, one after the other, if so.
    popped: Option<Order>,
}

#[derive(Debug, Clone, Copy)]
struct Move {
    begin: usize,
    end: usize,
    /// 1: put; -1: taken.
    by: i64,
}

impl Moves {
    /// A member was put at `position`.
    pub(crate) fn added(&mut self, position: &[u8]) {
        self.note(position, 1);
    }

    /// A member was taken from `position`.
    pub(crate) fn removed(&mut self, position: &[u8]) {
        self.note(position, -1);
    }

    /// The member at this end was taken. So that the next one can be, too: see [`Moves::popped_last`].
    pub(crate) fn popped(&mut self, position: &[u8], end: Order) {
        let only = self.moves.is_empty() || self.popped == Some(end);
        self.note(position, -1);
        self.popped = only.then_some(end);
    }

    /// If nothing was noted but members that were taken from this end: the position of the last of them, if any.
    pub(crate) fn popped_last(&self, end: Order) -> Option<Option<&[u8]>> {
        match self.moves.last() {
            None => Some(None),
            Some(last) => (self.popped == Some(end)).then(|| Some(self.position(*last))),
        }
    }

    fn note(&mut self, position: &[u8], by: i64) {
        self.popped = None;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(position);
        self.moves.push(Move { begin, end: self.bytes.len(), by });
    }

    pub(crate) fn len(&self) -> usize {
        self.moves.len()
    }

    /// Whether there are as many as should be kept.
    pub(crate) fn is_full(&self) -> bool {
        self.moves.len() >= RANK_MOVES_MAX
    }

    /// Forgets what was noted after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.moves.truncate(len);
        self.bytes.truncate(self.moves.last().map_or(0, |last| last.end));
    }

    /// The last position first: whatever lies behind the beginning of its bucket is in that, too. What came and went
    /// again at one position, or the other way round, is forgotten.
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.moves.sort_unstable_by(|a, b| bytes[b.begin..b.end].cmp(&bytes[a.begin..a.end]));
        self.moves.dedup_by(|later, kept| {
            let same = bytes[later.begin..later.end] == bytes[kept.begin..kept.end];
            if same {
                kept.by += later.by;
            }
            same
        });
        self.moves.retain(|at| at.by != 0);
    }

    fn position(&self, at: Move) -> &[u8] {
        &self.bytes[at.begin..at.end]
    }
}

/// Moves what was noted of `set`, and counts it.
pub(crate) fn settle(tx: &mut Tx<'_>, set: &Key) -> Result<()> {
    let mut noted = std::mem::take(&mut tx.moves);
    noted.sort();
    apply(tx, set, &noted)?;
    let mut unusual = Vec::new();
    let mut rest = noted.moves.as_slice();
    while !rest.is_empty() {
        rest = &rest[count(tx, set, &noted, rest, &mut unusual)?..];
    }
    for (begin, count) in unusual {
        divide(tx, set, &begin, u32::try_from(count).unwrap_or(0))?;
    }
    // Its memory serves the rest of the transaction.
    noted.truncate(0);
    tx.moves = noted;
    Ok(())
}

/// Writes the rows by score that were put off. In the order of the tree neighbours share a page, and the pages of the
/// next ones are fetched meanwhile.
fn apply(tx: &mut Tx<'_>, set: &Key, noted: &Moves) -> Result<()> {
    let by_score = set.u8(BY_SCORE);
    let mut ahead = Ahead::new(tx.foreseen());
    let mut next = noted.moves.iter();
    for (index, at) in noted.moves.iter().enumerate() {
        ahead.fetch(index, || next.next().map(|next| by_score.push(noted.position(*next))));
        let position = noted.position(*at);
        let row = by_score.push(position);
        if at.by < 0 {
            tx.delete(&row)?;
        } else if !StoredName::is_long(&position[SCORE_BYTES..]) {
            tx.put(&row, &[])?;
        }
    }
    Ok(())
}

/// Counts what of `moves` lies in the bucket of the first of them, and in those before it up to one in which nothing does;
/// how many that were. Buckets that are new, empty or too large by now are left as they are, and told.
fn count(
    tx: &mut Tx<'_>,
    set: &Key,
    noted: &Moves,
    moves: &[Move],
    unusual: &mut Vec<(Vec<u8>, i64)>,
) -> Result<usize> {
    let sum = |moves: &[Move]| moves.iter().map(|at| at.by).sum::<i64>();
    let buckets = set.u8(BUCKETS);
    let mut counted = 0;
    tx.replace_back_from(&buckets, &buckets.push(noted.position(moves[0])), |key, value| {
        let begin = &key[buckets.as_slice().len()..];
        let rest = &moves[counted..];
        let inside = rest.partition_point(|at| noted.position(*at) >= begin);
        counted += inside;
        let by = sum(&rest[..inside]);
        let count = i64::from(Take(value).u32()) + by;
        let least = u32::from(!begin.is_empty());
        let usual = u32::try_from(count).ok().filter(|count| (least..=RANK_BUCKET_MAX).contains(count));
        if usual.is_none() && by != 0 {
            unusual.push((begin.to_vec(), count));
        }
        let new = usual.filter(|_| by != 0).map(u32::to_be_bytes);
        if inside > 0 && inside < rest.len() { ControlFlow::Continue(new) } else { ControlFlow::Break(new) }
    })?;
    if counted == 0 {
        // There is no bucket yet: the first one covers everything.
        unusual.push((Vec::new(), sum(moves)));
        counted = moves.len();
    }
    Ok(counted)
}

/// Writes the count of a bucket that is new, empty, or too large: as several ones then.
fn divide(tx: &mut Tx<'_>, set: &Key, begin: &[u8], count: u32) -> Result<()> {
    let row = set.u8(BUCKETS).push(begin);
    if count == 0 && !begin.is_empty() {
        return tx.delete(&row).map(|_| ());
    }
    let half = RANK_BUCKET_MAX / 2;
    let pieces = if count > RANK_BUCKET_MAX { count / half } else { 1 };
    let begins: Vec<Vec<u8>> = {
        let by_score = set.u8(BY_SCORE);
        let view = tx.view();
        let rows = view.rows_from(&by_score, &by_score.push(begin))?.step_by(half as usize);
        let begins = rows.take(pieces as usize).skip(1);
        begins
            .map(|row| row.map(|(key, _)| key[by_score.as_slice().len()..].to_vec()))
            .collect::<Result<_>>()?
    };
    let mut left = count;
    let mut row = row;
    for next in begins {
        tx.put(&row, &half.to_be_bytes())?;
        left -= half;
        row = set.u8(BUCKETS).push(&next);
    }
    tx.put(&row, &left.to_be_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_leaves_the_others_as_they_were() {
        let mut moves = Moves::default();
        moves.added(b"one");
        moves.removed(b"three");
        moves.added(b"two");
        moves.truncate(2);
        moves.added(b"x");
        let noted: Vec<(&[u8], i64)> = moves.moves.iter().map(|at| (moves.position(*at), at.by)).collect();
        assert_eq!(noted, [(&b"one"[..], 1), (b"three", -1), (b"x", 1)]);
        moves.truncate(9);
        assert_eq!(moves.len(), 3);
    }

    #[test]
    fn what_came_and_went_at_one_place_is_nothing() {
        let mut moves = Moves::default();
        moves.removed(b"1m");
        moves.added(b"2m");
        moves.removed(b"2m");
        moves.added(b"3m");
        moves.added(b"3n");
        moves.removed(b"3m");
        moves.added(b"1m");
        moves.removed(b"0x");
        moves.sort();
        let noted: Vec<(&[u8], i64)> = moves.moves.iter().map(|at| (moves.position(*at), at.by)).collect();
        assert_eq!(noted, [(&b"3n"[..], 1), (b"0x", -1)]);
    }
}
