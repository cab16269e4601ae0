//! Strings that a transaction sets or counts, put off until its end or until something else looks: what is written again and
//! again is written once, and the rest in the order of the tree.
//!
//! Invariant: of a collection's put-off record ([`crate::collection::Held`]) and of these at most one is there.

use crate::error::{Error, Result};
use crate::foresight::{self, Ahead};
use crate::key::{Key, StoredName};
use crate::record::{self, Kind, Record};
use crate::spaces::Space;
use crate::strings::{self, Expiry, If};
use crate::tx::Tx;

/// So many are put off at most: what is written of them takes no longer than a short transaction.
const SETS_MAX: usize = 1_024;
/// Longer values are written at once: they would only be copied.
const VALUE_BYTES_MAX: usize = 256;

/// What is to be set.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    /// Rows and records, one behind the other: no allocation for each.
    bytes: Vec<u8>,
    sets: Vec<Set>,
    counted: Counted,
}

#[derive(Debug, Clone, Copy)]
struct Set {
    /// The first bytes of its row in which those of a sort differ.
    rank: u64,
    begin: usize,
    /// Where its row ends and its record begins.
    middle: usize,
    end: usize,
}

/// The number that was counted last, of a key that never expires.
#[derive(Debug, Default)]
struct Counted {
    row: Vec<u8>,
    /// What it is now, if that is known.
    number: Option<i64>,
    /// Whether that is still to be set.
    due: bool,
}

impl PutOff {
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty() && !self.counted.due
    }

    fn row(&self, set: &Set) -> &[u8] {
        &self.bytes[set.begin..set.middle]
    }

    /// Sets a key's record behind all others, the number that was counted included.
    fn push(&mut self, row: &Key, version: u64, value: &[u8]) {
        self.push_counted(version);
        self.counted.number = None;
        self.append(row.as_slice(), version, value);
    }

    fn push_counted(&mut self, version: u64) {
        let Some(number) = self.counted.number.filter(|_| std::mem::take(&mut self.counted.due)) else {
            return;
        };
        let row = std::mem::take(&mut self.counted.row);
        self.append(&row, version, itoa::Buffer::new().format(number).as_bytes());
        self.counted.row = row;
    }

    fn append(&mut self, row: &[u8], version: u64, value: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(row);
        let middle = self.bytes.len();
        let (_, name) = record::space_and_name(row);
        record::encode_into(&mut self.bytes, version, &StoredName::Short(name), Kind::String, None, value);
        let end = self.bytes.len();
        // Again the same: only the last value counts.
        let same = self.sets.last().copied().filter(|last| self.row(last) == row);
        match same {
            Some(last) => {
                self.bytes.copy_within(middle..end, last.middle);
                let end = last.middle + (end - middle);
                self.bytes.truncate(end);
                if let Some(last) = self.sets.last_mut() {
                    last.end = end;
                }
            }
            None => self.sets.push(Set { rank: 0, begin, middle, end }),
        }
    }

    /// The number under a row, if it is known without a look.
    fn number(&self, row: &Key) -> Option<Result<i64>> {
        if let Some(number) = self.counted.number.filter(|_| self.counted.row == row.as_slice()) {
            return Some(Ok(number));
        }
        let last = self.sets.last().filter(|last| !self.counted.due && self.row(last) == row.as_slice())?;
        Some(strings::whole_number(Record::decode(&self.bytes[last.middle..last.end]).body))
    }

    /// Takes note of a number; `due`: that it is to be set. What was noted of another one is set, if it was due.
    fn count(&mut self, row: &Key, version: u64, number: i64, due: bool) {
        if self.counted.row != row.as_slice() {
            self.push_counted(version);
            self.counted.row.clear();
            self.counted.row.extend_from_slice(row.as_slice());
        }
        (self.counted.number, self.counted.due) = (Some(number), due);
    }

    /// A number that is not to be set may change now.
    pub(crate) fn forget(&mut self) {
        self.counted.number = self.counted.number.filter(|_| self.counted.due);
    }

    /// In the order of the tree, of each key the last one.
    fn sort(&mut self) {
        let Self { bytes, sets, .. } = self;
        let row = |set: &Set| &bytes[set.begin..set.middle];
        let Some(first) = sets.first().copied() else { return };
        let first = row(&first);
        let common = sets.iter().fold(first.len(), |most, set| {
            first.iter().zip(row(set)).take(most).take_while(|(a, b)| a == b).count()
        });
        for set in sets.iter_mut() {
            // Zeros behind a short one are right where it differs, and decide nothing where it does not.
            let rest = &bytes[set.begin + common..set.middle];
            let mut rank = [0; 8];
            let length = rest.len().min(rank.len());
            rank[..length].copy_from_slice(&rest[..length]);
            set.rank = u64::from_be_bytes(rank);
        }
        // The later one of two of a key begins later.
        sets.sort_unstable_by(|a, b| {
            let rows = a.rank.cmp(&b.rank).then_with(|| row(a).cmp(row(b)));
            rows.then(b.begin.cmp(&a.begin))
        });
        sets.dedup_by(|later, kept| row(later) == row(kept));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.sets.clear();
        self.counted.number = None;
    }
}

/// [`strings::set`] of a key that is to hold these bytes in any case and for ever. Whoever looks at it before the transaction
/// settles does not see it yet.
///
/// # Errors
/// As there.
pub fn set_later(tx: &mut Tx<'_>, space: Space, key: &[u8], value: &[u8]) -> Result<()> {
    let name = StoredName::new("key", key)?;
    if value.len() > VALUE_BYTES_MAX || name.long().is_some() {
        tx.settle()?;
        return strings::set(tx, space, key, value, Expiry::Never, If::Always).map(|_| ());
    }
    tx.check_value(value)?;
    if tx.held.is_some() || tx.put_off.sets.len() >= SETS_MAX {
        tx.settle()?;
    }
    let (row, version) = (record::row(space, &name), tx.id());
    tx.put_off.push(&row, version, value);
    Ok(())
}

/// [`strings::add`] of a number that is about to be changed again. Whoever looks at it before the transaction settles may see
/// the one before.
///
/// # Errors
/// As there.
pub fn add_later(tx: &mut Tx<'_>, space: Space, key: &[u8], by: i64) -> Result<i64> {
    let name = StoredName::new("key", key)?;
    let (row, version) = (record::row(space, &name), tx.id());
    if tx.held.is_none()
        && name.long().is_none()
        && let Some(before) = tx.put_off.number(&row)
    {
        let sum = before?.checked_add(by).ok_or(Error::Overflow)?;
        tx.put_off.count(&row, version, sum, true);
        return Ok(sum);
    }
    tx.settle()?;
    let (sum, expires) = strings::add_told(tx, space, key, by)?;
    if expires.is_none() && name.long().is_none() {
        tx.put_off.count(&row, version, sum, false);
    }
    Ok(sum)
}

/// Writes them.
pub(crate) fn settle(tx: &mut Tx<'_>) -> Result<()> {
    let mut put_off = std::mem::take(&mut tx.put_off);
    put_off.push_counted(tx.id());
    put_off.sort();
    if let [first, more @ ..] = put_off.sets.as_slice()
        && more.len() > foresight::AHEAD
    {
        tx.foresight(&Key::copy(put_off.row(first)))?;
    }
    let mut ahead = Ahead::new(tx.foreseen());
    let mut next = put_off.sets.iter();
    for (index, set) in put_off.sets.iter().enumerate() {
        ahead.fetch(index, || next.next().map(|next| put_off.row(next)));
        let (row, record) = (put_off.row(set), &put_off.bytes[set.middle..set.end]);
        let mut plain = true;
        tx.replace(&Key::copy(row), |found| {
            let found = found.map(Record::decode);
            plain = !found.is_some_and(|found| found.kind != Kind::String || found.expires.is_some());
            Ok(plain.then_some(record))
        })?;
        if !plain {
            let ((space, name), value) = (record::space_and_name(row), Record::decode(record).body);
            strings::set(tx, space, name, value, Expiry::Never, If::Always)?;
        }
    }
    // Its memory serves the rest of the transaction.
    put_off.clear();
    tx.put_off = put_off;
    Ok(())
}
