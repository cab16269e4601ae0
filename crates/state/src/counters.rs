//! Counters: 64-bit atomics in the control page. A name gets its place once, for the life of the store; after that
//! nothing but the atomic is touched, by Rust or by JavaScript's `Atomics`.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};

use crate::control::Control;
use crate::error::{Error, Result};
use crate::key::{Key, StoredName, Table, Take};
use crate::tx::{Tx, View};

/// A counter's name, place and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: Vec<u8>,
    /// Its index in the row of counters.
    pub place: usize,
    /// Its value when it was read.
    pub value: i64,
}

/// Counters on one cache line (64 bytes).
const A_LINE: usize = 8;

/// The n-th counter's place: neighbours in time lie on different cache lines, so that they do not slow each other.
fn place(n: usize, slots: usize) -> usize {
    let lines = slots / A_LINE;
    (n % lines) * A_LINE + n / lines
}

fn row(name: &StoredName<'_>) -> Key {
    Key::new(Table::Counters).name(name)
}

pub(crate) fn find(view: &View<'_>, name: &[u8]) -> Result<Option<usize>> {
    let name = StoredName::new("counter name", name)?;
    Ok(view.get(&row(&name))?.map(|bytes| Take(bytes).u32() as usize))
}

/// The counter's place, given now if it has none.
pub(crate) fn place_of(tx: &mut Tx<'_>, name: &[u8]) -> Result<usize> {
    if let Some(place) = find(&tx.view(), name)? {
        return Ok(place);
    }
    let stored = StoredName::new("counter name", name)?;
    let control = tx.control;
    let slots = control.counters().len();
    // Counted in the table, not in the page: a restored or aborted transaction must not leave holes or doubles.
    let used = tx.get(&Key::new(Table::Names).u8(b'C'))?.map_or(0, |bytes| Take(bytes).u32());
    if used as usize >= slots {
        return Err(Error::TooManyCounters { max: u32::try_from(slots).unwrap_or(u32::MAX) });
    }
    let place = place(used as usize, slots);
    let number = u32::try_from(place).unwrap_or(u32::MAX);
    let mut value = number.to_be_bytes().to_vec();
    value.extend_from_slice(stored.long().unwrap_or_default());
    tx.put(&row(&stored), &value)?;
    tx.put(&Key::new(Table::Names).u8(b'C'), &(used + 1).to_be_bytes())?;
    control.header().counters_used.store(used + 1, std::sync::atomic::Ordering::Relaxed);
    Ok(place)
}

/// Adds, and tells the new value; refuses to leave the range of 64 bits.
pub(crate) fn add(counter: &AtomicI64, by: i64) -> Result<i64> {
    let before = counter.fetch_update(SeqCst, Acquire, |value| value.checked_add(by));
    before.map(|before| before + by).map_err(|_| Error::Overflow)
}

pub(crate) fn list(view: &View<'_>) -> Result<Vec<Counter>> {
    let table = Key::new(Table::Counters);
    let counters = view.control.counters();
    let all = view.rows(&table)?.map(|row| {
        let (key, value) = row?;
        let mut take = Take(value);
        let place = take.u32() as usize;
        let name = if take.0.is_empty() { key[1..].to_vec() } else { take.0.to_vec() };
        Ok(Counter { name, place, value: counters.get(place).map_or(0, |c| c.load(Acquire)) })
    });
    all.collect()
}

/// Sets the page's values from a restored table; all others are 0.
pub(crate) fn load(view: &View<'_>, control: &Control) -> Result<()> {
    let mut others: std::collections::BTreeSet<usize> = (0..control.counters().len()).collect();
    for row in view.rows(&Key::new(Table::SavedCounters))? {
        let (key, value) = row?;
        let place = Take(&key[1..]).u32() as usize;
        if let Some(counter) = control.counters().get(place) {
            others.remove(&place);
            counter.store(Take(value).u64().cast_signed(), Release);
        }
    }
    for place in others {
        // Most were never used: their pages stay untouched.
        if control.counters()[place].load(Acquire) != 0 {
            control.counters()[place].store(0, Release);
        }
    }
    Ok(())
}
