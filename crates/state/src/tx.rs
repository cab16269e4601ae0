//! What code inside of a transaction sees: rows by key, in order, and a list of whom to wake afterwards.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;

use heed::{RoTxn, RwTxn};

use crate::blocks::Block;
use crate::collection::Held;
use crate::control::Control;
use crate::engine::Db;
use crate::error::{Error, Result};
use crate::foresight::Foresight;
use crate::key::{Key, Table};
use crate::medium::Medium;
use crate::putoff::{self, PutOff};
use crate::ranks::Moves;
use crate::redo::Log;
use crate::{Owner, WallMs};

/// One transaction makes at most this many unique numbers: a script or a pipeline may make many keys at once.
const UNIQUE_BITS: u32 = 20;
/// Of these, [`Tx::try_ticket`] leaves so many.
const TICKETS_SPARED: u64 = 1 << 10;

/// A snapshot.
#[derive(Clone, Copy)]
pub struct View<'t> {
    pub(crate) txn: &'t RoTxn<'t>,
    pub(crate) db: Db,
    pub(crate) now: WallMs,
    pub(crate) control: &'t Control,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("snapshot", &self.txn.id()).field("now", &self.now).finish()
    }
}

/// A row: key and value.
pub(crate) type Row<'t> = (&'t [u8], &'t [u8]);

impl<'t> View<'t> {
    /// The moment that expiry is judged by.
    pub fn now(&self) -> WallMs {
        self.now
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<&'t [u8]>> {
        Ok(self.db.get(self.txn, key.as_slice())?)
    }

    /// The rows that begin with `prefix`, in order.
    pub(crate) fn rows(&self, prefix: &Key) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        Ok(self.db.prefix_iter(self.txn, prefix.as_slice())?.map(|row| row.map_err(Error::from)))
    }

    /// The same from the last to the first.
    pub(crate) fn rows_back(&self, prefix: &Key) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        Ok(self.db.rev_prefix_iter(self.txn, prefix.as_slice())?.map(|row| row.map_err(Error::from)))
    }

    /// The rows from `from` on (included), for as long as they begin with `prefix`.
    pub(crate) fn rows_from(
        &self,
        prefix: &Key,
        from: &Key,
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        let prefix = *prefix;
        let range = (std::ops::Bound::Included(from.as_slice()), std::ops::Bound::Unbounded);
        let rows = self.db.range(self.txn, &range)?.map(|row| row.map_err(Error::from));
        Ok(rows
            .take_while(move |row| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix.as_slice()))))
    }

    /// The rows up to `to` (included), backwards, for as long as they begin with `prefix`.
    pub(crate) fn rows_back_from(
        &self,
        prefix: &Key,
        to: &Key,
    ) -> Result<impl Iterator<Item = Result<Row<'t>>> + use<'t>> {
        let prefix = *prefix;
        let range = (std::ops::Bound::Unbounded, std::ops::Bound::Included(to.as_slice()));
        let rows = self.db.rev_range(self.txn, &range)?.map(|row| row.map_err(Error::from));
        Ok(rows
            .take_while(move |row| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix.as_slice()))))
    }

    /// The first row that begins with `prefix`.
    pub(crate) fn first(&self, prefix: &Key) -> Result<Option<Row<'t>>> {
        let row = self.db.get_greater_than_or_equal_to(self.txn, prefix.as_slice())?;
        Ok(row.filter(|(key, _)| key.starts_with(prefix.as_slice())))
    }
}

/// A write transaction.
pub struct Tx<'t> {
    txn: RwTxn<'t>,
    db: Db,
    now: WallMs,
    id: u64,
    /// What tickets begin above, as it was when the transaction began.
    ticket_base: u64,
    unique: u64,
    pub(crate) control: &'t Control,
    wakes: Vec<usize>,
    /// When the maintenance has work, if it has.
    due: Option<WallMs>,
    /// A collection that is changed again and again: see [`Tx::settle`].
    pub(crate) held: Option<Held>,
    /// Members of the sorted set under change that came and went.
    pub(crate) moves: Moves,
    /// The block of the list under change that is open, and the memory of the one before.
    pub(crate) block: Option<Block>,
    pub(crate) idle_block: Block,
    /// Strings that are set again and again.
    pub(crate) put_off: PutOff,
    foresight: Option<Foresight>,
    medium: Medium,
    /// Memory for what is about to be written.
    pub(crate) scratch: Vec<u8>,
    /// Of a transaction that stays open for several rounds of changes ([`crate::engine`]'s group commit): what all of them have
    /// written, and how many there were.
    pub(crate) log: Option<Log>,
    rounds: u32,
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("id", &self.id).field("now", &self.now).finish()
    }
}

impl<'t> Tx<'t> {
    pub(crate) fn new(txn: RwTxn<'t>, db: Db, now: WallMs, control: &'t Control, medium: Medium) -> Self {
        let id = txn.id() as u64;
        let base = control.header().ticket_base.load(Relaxed);
        Self {
            txn,
            db,
            now,
            id,
            ticket_base: base,
            unique: base + (id << UNIQUE_BITS),
            control,
            wakes: Vec::new(),
            due: None,
            held: None,
            moves: Moves::default(),
            block: None,
            idle_block: Block::default(),
            put_off: PutOff::default(),
            foresight: None,
            medium,
            scratch: Vec::new(),
            log: None,
            rounds: 0,
        }
    }

    /// Writes what was put off: a collection's changes ([`Save::Later`](crate::Save::Later)), or strings
    /// ([`set_later`](crate::strings::set_later)). To be called before anything else is done with the transaction; the commit
    /// does it, too.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn settle(&mut self) -> Result<()> {
        self.put_off.forget();
        match self.held.take() {
            Some(held) => held.save(self),
            None if self.put_off.is_empty() => Ok(()),
            None => putoff::settle(self),
        }
    }

    /// Begins a round of changes of a transaction that others have begun.
    pub(crate) fn begin_round(&mut self, now: WallMs) {
        self.now = now;
        self.rounds += 1;
        self.foresight = None;
    }

    /// All rounds so far are done, whatever becomes of this process.
    pub(crate) fn publish(&self) {
        if let Some(log) = &self.log {
            self.control.header().pending.set(self.id - 1, log.used());
        }
    }

    /// Whether its commit is to wake somebody.
    pub(crate) fn has_to_tell(&self) -> bool {
        !self.wakes.is_empty() || self.due.is_some_and(|at| self.control.is_due_later(at))
    }

    pub(crate) fn commit(mut self) -> Result<Vec<usize>> {
        self.settle()?;
        self.txn.commit()?;
        // Not before: an attempt that is given up, for the file to grow, would tell it for the next one, which then need not.
        if self.due.is_some_and(|at| self.control.lower_due(at))
            && !self.wakes.contains(&crate::workers::SUPERVISOR_SLOT)
        {
            self.wakes.push(crate::workers::SUPERVISOR_SLOT);
        }
        Ok(self.wakes)
    }

    /// What this transaction sees, its own changes included.
    pub fn view(&self) -> View<'_> {
        View { txn: &self.txn, db: self.db, now: self.now, control: self.control }
    }

    /// The moment that this transaction happens at.
    pub fn now(&self) -> WallMs {
        self.now
    }

    /// Its number: grows with every transaction that commits. The version of what it writes.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A number above all that were given before, in this transaction and in all earlier ones that wrote something. The
    /// transaction must write something, too.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.unique += 1;
        assert!(
            self.unique - self.ticket_base < (self.id + 1) << UNIQUE_BITS,
            "no operation makes this many rows"
        );
        self.unique
    }

    /// The same, for what a user can do any number of times in one transaction (a script that makes keys in a loop).
    pub(crate) fn try_ticket(&mut self) -> Result<u64> {
        // Some are left for what the transaction does beside, which asks for its tickets without a choice.
        let end = self.ticket_base + ((self.id + 1) << UNIQUE_BITS) - TICKETS_SPARED;
        if self.unique < end { Ok(self.ticket()) } else { Err(Error::TooMuch { most: 1 << UNIQUE_BITS }) }
    }

    /// A number above every ticket of earlier transactions and below every one of this and later ones. For transactions
    /// that write nothing: LMDB gives their number to the next one again.
    pub(crate) fn before_tickets(&self) -> u64 {
        self.ticket_base + (self.id << UNIQUE_BITS)
    }

    /// Whether it stays open between rounds of changes, so that who waits may have waited for long.
    pub fn is_of_group(&self) -> bool {
        self.log.is_some()
    }

    /// Whether another process, or thread, sleeps until this transaction ends.
    pub fn is_waited_for(&self) -> bool {
        self.control.header().wanted.is_said()
    }

    pub(crate) fn value_bytes_max(&self) -> u64 {
        self.control.header().value_bytes_max.load(Relaxed)
    }

    /// Refuses a value over the limit.
    pub(crate) fn check_value(&self, value: &[u8]) -> Result<()> {
        let max = self.value_bytes_max();
        if value.len() as u64 <= max { Ok(()) } else { Err(Error::ValueTooLong { bytes: value.len(), max }) }
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<&[u8]>> {
        Ok(self.db.get(&self.txn, key.as_slice())?)
    }

    pub(crate) fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.put_raw(key.as_slice(), value)
    }

    pub(crate) fn put_raw(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.db.put(&mut self.txn, key, value)?;
        if let Some(log) = &mut self.log {
            log.put(key, value);
        }
        Ok(())
    }

    /// Writes what `f` makes of a row's value, or of its absence, if it makes anything; whether it did. Costs one way
    /// down the tree where a `get` and a `put` cost two.
    pub(crate) fn replace<V: AsRef<[u8]>>(
        &mut self,
        key: &Key,
        f: impl FnOnce(Option<&[u8]>) -> Result<Option<V>>,
    ) -> Result<bool> {
        let only = (std::ops::Bound::Included(key.as_slice()), std::ops::Bound::Included(key.as_slice()));
        let mut rows = self.db.range_mut(&mut self.txn, &only)?;
        if let Some((_, value)) = rows.next().transpose()? {
            let Some(new) = f(Some(value))? else { return Ok(false) };
            // SAFETY: nothing that was read from the map is kept over this change: `f` gave us bytes of its own, and
            // the old value is not looked at any more.
            unsafe { rows.put_current(key.as_slice(), new.as_ref()) }?;
            if let Some(log) = &mut self.log {
                log.put(key.as_slice(), new.as_ref());
            }
            return Ok(true);
        }
        drop(rows);
        let Some(new) = f(None)? else { return Ok(false) };
        self.put(key, new.as_ref())?;
        Ok(true)
    }

    /// Goes over the rows from the last up to `to` (included) backwards, for as long as they begin with `prefix` and `f` says
    /// so; what `f` makes of a row (it sees key and value), if anything, becomes its value. One way down the tree for all.
    pub(crate) fn replace_back_from<V: AsRef<[u8]>>(
        &mut self,
        prefix: &Key,
        to: &Key,
        mut f: impl FnMut(&[u8], &[u8]) -> ControlFlow<Option<V>, Option<V>>,
    ) -> Result<()> {
        let range = (std::ops::Bound::Unbounded, std::ops::Bound::Included(to.as_slice()));
        let mut rows = self.db.rev_range_mut(&mut self.txn, &range)?;
        while let Some((row, value)) = rows.next().transpose()? {
            if !row.starts_with(prefix.as_slice()) {
                break;
            }
            let flow = f(row, value);
            let (ControlFlow::Continue(new) | ControlFlow::Break(new)) = &flow;
            if let Some(new) = new {
                let row = Key::copy(row);
                // SAFETY: as in `replace`; the key is a copy, too.
                unsafe { rows.put_current(row.as_slice(), new.as_ref()) }?;
                if let Some(log) = &mut self.log {
                    log.put(row.as_slice(), new.as_ref());
                }
            }
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The tree as the last commit left it, for what is to be changed soon. `row`: of one that is there, and small. Not for a
    /// transaction's further rounds, which find what the ones before have copied.
    pub(crate) fn foresight(&mut self, row: &Key) -> Result<Option<Foresight>> {
        if self.foresight.is_none() && self.medium == Medium::Memory && self.rounds <= 1 {
            let found = match self.get(row)? {
                // SAFETY: in memory all of LMDB's pages lie in the map (`Medium::flags`), and a transaction that writes
                // holds the lock, which lasts longer than what is kept in it.
                Some(value) => unsafe { Foresight::new(value, self.id - 1, rustix::param::page_size()) },
                None => None,
            };
            self.foresight = found;
        }
        Ok(self.foresight)
    }

    /// What [`Tx::foresight`] found.
    pub(crate) fn foreseen(&self) -> Option<Foresight> {
        self.foresight
    }

    /// Removes a row by one way down the tree; what it held.
    pub(crate) fn take(&mut self, key: &Key) -> Result<Option<Vec<u8>>> {
        let only = (std::ops::Bound::Included(key.as_slice()), std::ops::Bound::Included(key.as_slice()));
        let mut rows = self.db.range_mut(&mut self.txn, &only)?;
        let Some((_, value)) = rows.next().transpose()? else { return Ok(None) };
        let value = value.to_vec();
        // SAFETY: nothing that was read from the map is kept over this change.
        unsafe { rows.del_current() }?;
        if let Some(log) = &mut self.log {
            log.delete(key.as_slice());
        }
        Ok(Some(value))
    }

    /// Removes a row; whether it was there.
    pub(crate) fn delete(&mut self, key: &Key) -> Result<bool> {
        self.delete_raw(key.as_slice())
    }

    pub(crate) fn delete_raw(&mut self, key: &[u8]) -> Result<bool> {
        let found = self.db.delete(&mut self.txn, key)?;
        if let Some(log) = self.log.as_mut().filter(|_| found) {
            log.delete(key);
        }
        Ok(found)
    }

    /// Removes all rows that begin with the one byte of `table`.
    pub(crate) fn delete_range(&mut self, table: &Key) -> Result<()> {
        let end = table.as_slice()[0] + 1;
        let range = (std::ops::Bound::Included(table.as_slice()), std::ops::Bound::Excluded(&[end][..]));
        self.db.delete_range(&mut self.txn, &range)?;
        if let Some(log) = &mut self.log {
            log.fall_short();
        }
        Ok(())
    }

    /// Keys of the first rows that begin with `prefix`, copied, so that they may be changed.
    pub(crate) fn keys(&self, prefix: &Key, most: usize) -> Result<Vec<Vec<u8>>> {
        self.view().rows(prefix)?.take(most).map(|row| row.map(|(key, _)| key.to_vec())).collect()
    }

    /// Wakes the process of `owner` after the commit.
    pub(crate) fn wake(&mut self, owner: Owner) {
        let number = owner.number();
        let place = self.control.slots_used().iter().position(|slot| slot.owner.load(Relaxed) == number);
        if let Some(slot) = place {
            self.wake_slot(slot);
        }
    }

    pub(crate) fn wake_slot(&mut self, slot: usize) {
        if !self.wakes.contains(&slot) {
            self.wakes.push(slot);
        }
    }

    /// Has the maintenance run at `at` at the latest.
    pub(crate) fn due(&mut self, at: WallMs) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Puts an event into the mailbox of `owner` and wakes it.
    pub(crate) fn mail(&mut self, owner: Owner, event: &[u8]) -> Result<()> {
        let ticket = self.ticket();
        self.put(&Key::new(Table::Mail).u64(owner.number()).u64(ticket), event)?;
        self.wake(owner);
        Ok(())
    }
}
