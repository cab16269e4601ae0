//! A row by chance. LMDB does not know how many rows lie before one, so a large collection is entered at a name made up
//! between its first and its last: near enough to chance for a sample, not for statistics.

use crate::error::Result;
use crate::key::{Key, LMDB_KEY_BYTES_MAX};
use crate::tx::{Row, View};

/// Up to this many rows are counted through: every one is then exactly as likely.
const COUNTED_ROWS_MAX: u64 = 256;
/// In a larger collection: rows passed over after the made-up name, so that a row after a gap is not always the one.
const STEPS_MAX: u64 = 16;

/// One of the `count` rows under `prefix` (what follows the prefix, and its value); `count` may be a guess above.
pub(crate) fn row<'t>(view: &View<'t>, prefix: &Key, count: u64, chance: u64) -> Result<Option<Row<'t>>> {
    let length = prefix.as_slice().len();
    let rest = move |(key, value): Row<'t>| (&key[length..], value);
    if count <= COUNTED_ROWS_MAX {
        let skip = usize::try_from(chance % count.max(1)).unwrap_or(0);
        return view.rows(prefix)?.nth(skip).transpose().map(|row| row.map(rest));
    }
    let Some(first) = view.first(prefix)? else { return Ok(None) };
    let Some(last) = view.rows_back(prefix)?.next().transpose()? else { return Ok(None) };
    let (first, last) = (rest(first).0, rest(last).0);
    let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let (low, high) = (number(&first[common..]), number(&last[common..]));
    let made = low + scale(chance, high.saturating_sub(low));
    let mut start = prefix.push(&first[..common]);
    if start.as_slice().len() + 8 <= LMDB_KEY_BYTES_MAX {
        start = start.push(&made.to_be_bytes());
    }
    let steps = usize::try_from(chance % STEPS_MAX).unwrap_or(0);
    let rows = view.rows_from(prefix, &start)?.chain(view.rows(prefix)?);
    for (step, row) in rows.enumerate() {
        if step == steps {
            return Ok(Some(rest(row?)));
        }
    }
    view.first(prefix).map(|row| row.map(rest))
}

/// The first eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let length = bytes.len().min(8);
    eight[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(eight)
}

/// A number from 0 to `range`, as far along as `chance` is along all numbers.
fn scale(chance: u64, range: u64) -> u64 {
    u64::try_from((u128::from(chance) * u128::from(range)) >> 64).unwrap_or(0)
}
