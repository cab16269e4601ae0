//! Group commit: several transactions of one process, one after another, become one of LMDB's, which stays open between them.
//!
//! A change copies the page that it lies in, once in a transaction. Who changes rows by chance copies a page for each, unless the
//! transaction is so long that its changes meet in the same pages; and nobody can be made to wait for his answer so long. So a
//! round of changes that is done is written to a redo log ([`crate::redo`]), and counts from then on: should this process be
//! killed, the next one that gets the writer's lock does it again.
//!
//! Invariants:
//! - The control page says that something is pending before anybody is told of it, and until it is committed. Whoever is about to
//!   read and finds that said takes the writer's lock first, for which it is committed: everybody reads what was acknowledged.
//! - The lock is held for as long as the transaction is open. So whoever gets it and finds something pending knows that its
//!   writer is dead (or found no room), and does what the log says before anything else.
//! - The transaction is committed before its process sleeps, before that process does anything else with the store, and after the
//!   round in which somebody came to wait for it; and then not left open again for a while ([`Pauses`]).
//! - Only where all attached processes know of it (one of an earlier version would read past it).

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};
use std::sync::{Mutex, PoisonError, RwLockReadGuard, TryLockError};

use heed::MdbError;

use super::{Engine, Room, WriterLock};
use crate::WallMs;
use crate::error::{Error, Result};
use crate::limits::GROUP_BYTES_MAX;
use crate::redo::{self, Log};
use crate::tx::{Tx, View};
use crate::wake::{Urgency, micros};

/// Rounds that are committed one by one after somebody has waited; twice as many when that happens again.
const PAUSE_MIN: u32 = 16;
/// At most: a minute of a busy process, so that who reads all the time hardly ever waits.
const PAUSE_MAX: u32 = 1 << 16;

/// How long the lock is left to who has waited for a group, in microseconds: more than it takes to wake up on an idle processor.
const HANDOVER_US: u64 = 300;

/// When to leave a transaction open.
#[derive(Debug)]
struct Pauses {
    left: u32,
    next: u32,
}

/// What ended a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Somebody waited for it.
    Wanted,
    /// It was long enough, or there was nothing to do any more.
    Itself,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { left: 0, next: PAUSE_MIN }
    }
}

impl Pauses {
    fn are_over(&mut self) -> bool {
        let over = self.left == 0;
        self.left = self.left.saturating_sub(1);
        over
    }

    fn after(&mut self, ended: Ended) {
        match ended {
            Ended::Wanted => {
                self.left = self.next;
                self.next = (self.next * 2).min(PAUSE_MAX);
            }
            Ended::Itself => self.next = (self.next / 2).max(PAUSE_MIN),
        }
    }
}

/// How many rows a group may change: as many as make the store no larger than it may be for that.
///
/// The pages of a commit are used again by the next but one, so a store has as many more pages than it needs as two groups copy. How
/// many rows change in a page shows only there.
#[derive(Debug)]
struct Reach {
    rows: u32,
}

/// Rows of the first group.
const ROWS_FIRST: u32 = 2_048;
const ROWS_MIN: u32 = 256;
const ROWS_MAX: u32 = 1 << 20;

/// The pages of a store around a commit.
#[derive(Debug, Clone, Copy)]
struct Pages {
    /// Ever used, before and after it.
    used: [u64; 2],
    /// In which something is.
    live: u64,
    bytes: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self { rows: ROWS_FIRST }
    }
}

impl Reach {
    fn after(&mut self, rows: u32, pages: Pages) {
        let [before, after] = pages.used;
        let most = (GROUP_BYTES_MAX / pages.bytes.max(1)).max(pages.live / 2);
        let is_large = after.saturating_sub(pages.live) > most;
        if is_large && after > before {
            self.rows = (rows / 4 * 3).max(ROWS_MIN);
        } else if !is_large && rows >= self.rows {
            self.rows = (self.rows + self.rows / 4).min(ROWS_MAX);
        }
    }
}

/// The group of this process.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The thread whose it is ([`own_thread`]); 0: there is none.
    thread: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    log: Option<Log>,
    pauses: Pauses,
    reach: Reach,
}

/// A transaction that is left open. Fields in the order in which they have to go.
#[derive(Debug)]
struct Open {
    tx: Tx<'static>,
    map: RwLockReadGuard<'static, ()>,
    lock: WriterLock<'static>,
}

// SAFETY: LMDB's transaction, the lock and the guard belong to the thread that made them. Only that one touches them: whoever
// takes them out of the state has compared itself with `Group::thread` before; the last owner of an engine drops them.
unsafe impl Send for Open {}

/// A number of the calling thread that no other one has at the same time.
fn own_thread() -> u64 {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place).addr() as u64)
}

impl Engine {
    /// As [`Engine::write`]; but what it has done may be pending when it returns, which nobody notices. The caller calls
    /// [`Engine::end_group`] before it sleeps or waits for anything: others wait for it meanwhile.
    pub(crate) fn write_in_group<R>(
        &self,
        now: WallMs,
        mut f: impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<R> {
        let own = own_thread();
        let owner = self.group.thread.load(Relaxed);
        let free = owner == 0 && self.medium == crate::medium::Medium::Memory;
        if (owner == own || free)
            && let Ok(mut state) = self.group.state.try_lock()
            // Another thread may have begun one meanwhile.
            && (state.open.is_none() || self.group.thread.load(Relaxed) == own)
            && let Some(done) = self.round(&mut state, own, now, &mut f)?
        {
            return Ok(done);
        }
        self.write(now, f)
    }

    /// As [`Engine::read`], within the group of this thread if there is one, which goes on unless somebody waits for it.
    pub(crate) fn read_in_group<R>(
        &self,
        now: WallMs,
        mut f: impl FnMut(&View<'_>) -> Result<R>,
    ) -> Result<R> {
        if self.group.thread.load(Relaxed) == own_thread()
            && let Ok(mut state) = self.group.state.try_lock()
            && let Some(open) = state.open.as_mut().filter(|open| !open.tx.is_waited_for())
        {
            open.tx.begin_round(now);
            return f(&open.tx.view());
        }
        self.read(now, f)
    }

    /// Ends this thread's group if somebody waits for it.
    pub(crate) fn yield_group(&self) -> Result<()> {
        let wanted = self.group.thread.load(Relaxed) != 0 && self.control.header().wanted.is_said();
        if wanted { self.end_group() } else { Ok(()) }
    }

    /// Commits what is pending of this thread's. If that fails it stays pending, for whoever comes next.
    pub(crate) fn end_group(&self) -> Result<()> {
        self.end_own().map(|_| ())
    }

    /// Whether something of this thread's may be pending afterwards: within a round.
    fn end_own(&self) -> Result<bool> {
        if self.group.thread.load(Relaxed) != own_thread() {
            return Ok(false);
        }
        match self.group.state.try_lock() {
            Ok(mut state) => self.end(&mut state).map(|_| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            // A round that has panicked.
            Err(TryLockError::Poisoned(poisoned)) => {
                self.group.state.clear_poison();
                self.give_up(&mut poisoned.into_inner()).map(|()| false)
            }
        }
    }

    /// Has everything committed that was acknowledged before.
    pub(crate) fn see_pending(&self) -> Result<()> {
        let pending = &self.control.header().pending;
        if pending.is_some() {
            // Who looks from within a round sees what was committed before, as within any transaction.
            let within = self.end_own()?;
            if !within && pending.is_some() {
                drop(self.lock_within(self.read_patience_us.load(Relaxed))?);
            }
        }
        Ok(())
    }

    /// A round in the group, which begins with it if there is none; `None`: it is to be done in the usual way, which knows what to
    /// do about errors. Nothing of it is left then.
    fn round<R>(
        &self,
        state: &mut State,
        own: u64,
        now: WallMs,
        f: &mut impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        if state.open.is_none() {
            self.begin(state, own, now)?;
        }
        let Some(open) = &mut state.open else { return Ok(None) };
        open.tx.begin_round(now);
        match f(&mut open.tx).and_then(|done| open.tx.settle().map(|()| done)) {
            Ok(done) if goes_on(&open.tx, &state.reach) => {
                open.tx.publish();
                Ok(Some(done))
            }
            Ok(done) => Ok(self.end(state)?.then_some(done)),
            Err(_) => {
                self.give_up(state)?;
                Ok(None)
            }
        }
    }

    /// Opens the transaction, if it is the time for one.
    fn begin(&self, state: &mut State, own: u64, now: WallMs) -> Result<()> {
        if !state.pauses.are_over() || !self.could_do_again() {
            return Ok(());
        }
        let lock = self.lock()?;
        if !self.all_know_groups() {
            return Ok(());
        }
        // Where there is no room for a log, or the map is too small, the usual way says or does what is to be done.
        let log =
            state.log.take().map_or_else(|| Log::open(&self.dir), Ok).and_then(|log| log.begin(&self.dir));
        let map = self.remap.read().unwrap_or_else(PoisonError::into_inner);
        let (Ok(log), Ok(txn)) = (log, self.env.write_txn()) else { return Ok(()) };
        let mut tx = Tx::new(txn, self.db, now, &self.control, self.medium);
        tx.log = Some(log);
        // SAFETY: what they borrow is this engine's, which is not moved while it is shared (`Store` has it in an `Arc`) and ends
        // them before itself (`drop`).
        let tx = unsafe { std::mem::transmute::<Tx<'_>, Tx<'static>>(tx) };
        // SAFETY: as above.
        let map =
            unsafe { std::mem::transmute::<RwLockReadGuard<'_, ()>, RwLockReadGuard<'static, ()>>(map) };
        // SAFETY: as above.
        let lock = unsafe { std::mem::transmute::<WriterLock<'_>, WriterLock<'static>>(lock) };
        state.open = Some(Open { tx, map, lock });
        self.group.thread.store(own, Relaxed);
        Ok(())
    }

    /// Whether there is room to do what a log says in any case. What it needs beyond what its group has used is a few pages for
    /// the list of free ones: the reserve has them when the file system is full, and when the store is, the slack beyond its
    /// maximum, in which then no further group begins.
    fn could_do_again(&self) -> bool {
        let header = self.control.header();
        header.data_bytes.load(Relaxed) <= header.data_bytes_max.load(Relaxed) && self.reserve().exists()
    }

    fn all_know_groups(&self) -> bool {
        let mut attached = self.control.slots_used().iter().filter(|slot| slot.owner.load(Acquire) != 0);
        attached.all(|slot| slot.knows_groups.load(Relaxed) == slot.incarnation.load(Relaxed))
    }

    /// Commits; false: that failed, and what was pending is committed nevertheless, but not the round that was not published.
    fn end(&self, state: &mut State) -> Result<bool> {
        let Some(Open { mut tx, map, lock }) = state.open.take() else { return Ok(true) };
        self.group.thread.store(0, Relaxed);
        let ended = if tx.is_waited_for() { Ended::Wanted } else { Ended::Itself };
        state.pauses.after(ended);
        state.log = tx.log.take();
        let now = tx.now();
        let before = self.used_pages();
        let wakes = tx.commit();
        drop(map);
        match wakes {
            Ok(wakes) => {
                self.control.header().pending.clear();
                let stat = self.env.unnamed_database_stat();
                let live = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
                let pages = Pages {
                    used: [before, self.used_pages()],
                    live: live as u64,
                    bytes: stat.page_size.into(),
                };
                state.reach.after(state.log.as_ref().map_or(0, Log::records), pages);
                drop(lock);
                self.after_write(now, &wakes, None);
                if ended == Ended::Wanted {
                    self.let_others_in();
                }
                Ok(true)
            }
            Err(_) => self.recover(&lock).map(|()| false),
        }
    }

    /// Gives who sleeps on the lock the time to wake up and take it: this thread is back at it in microseconds, and would be faster
    /// again and again.
    fn let_others_in(&self) {
        let until = micros() + HANDOVER_US;
        while self.control.header().wanted.is_said() && micros() < until {
            std::thread::yield_now();
        }
    }

    /// Undoes the round that is not published.
    fn give_up(&self, state: &mut State) -> Result<()> {
        let Some(Open { mut tx, map, lock }) = state.open.take() else { return Ok(()) };
        self.group.thread.store(0, Relaxed);
        state.log = tx.log.take();
        // It may well be for want of room; then the next one would end so, too.
        state.pauses.after(Ended::Wanted);
        drop(tx);
        drop(map);
        self.recover(&lock)
    }

    /// Does what is pending and was not committed, as a transaction of its own: numbers that the log's rows have were made up for
    /// that one.
    pub(super) fn recover(&self, lock: &WriterLock<'_>) -> Result<()> {
        let pending = &self.control.header().pending;
        let Some(bytes) = pending.left(self.env.info().last_txn_id as u64) else {
            // Its writer may have been killed between the two places in which LMDB says what was committed last. Who begins to
            // write puts the one right by which readers begin (mdb.c: `mdb_mutex_failed`).
            let _map = self.remap.read().unwrap_or_else(PoisonError::into_inner);
            drop(self.env.write_txn());
            pending.clear();
            return Ok(());
        };
        let log = redo::load(&self.dir, bytes)?;
        loop {
            let done = self.attempt(WallMs(0), &mut |tx| {
                redo::read(&log, |change| match change.value {
                    Some(value) => tx.put_raw(change.key, value),
                    None => tx.delete_raw(change.key).map(|_| ()),
                })
            });
            match done {
                Ok(_) => break,
                Err(Error::Engine(heed::Error::Mdb(MdbError::MapResized))) => self.adopt_size(lock)?,
                Err(Error::Engine(heed::Error::Mdb(MdbError::MapFull))) => self.grow(lock, Room::Whatever)?,
                Err(error) => return Err(self.named(error)),
            }
        }
        pending.clear();
        // Nobody else tells of it, and when what it says will expire was noted by the transaction that is gone.
        let header = self.control.header();
        header.stats.writes.fetch_add(1, SeqCst);
        crate::watch::tell(self);
        if self.control.lower_due(WallMs(0)) {
            self.wakers.wake(&self.control, crate::workers::SUPERVISOR_SLOT, Urgency::Always);
        }
        Ok(())
    }
}

fn goes_on(tx: &Tx<'_>, reach: &Reach) -> bool {
    tx.log.as_ref().is_some_and(|log| !log.is_short() && log.records() < reach.rows)
        && !tx.has_to_tell()
        && !tx.is_waited_for()
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Nobody else has it any more, whichever thread this is; what cannot be committed stays pending.
        let panicked = self.group.state.is_poisoned();
        let mut state = std::mem::take(self.group.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        let _ = if panicked { self.give_up(&mut state) } else { self.end(&mut state).map(|_| ()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that are committed one by one before the next group.
    fn paused(pauses: &mut Pauses) -> u32 {
        (0..).take_while(|_| !pauses.are_over()).count().try_into().expect("few")
    }

    #[test]
    fn who_waits_again_and_again_waits_ever_more_rarely() {
        let mut pauses = Pauses::default();
        for _ in 0..3 {
            assert_eq!(paused(&mut pauses), 0);
            pauses.after(Ended::Itself);
        }
        let mut seen = Vec::new();
        for _ in 0..14 {
            pauses.after(Ended::Wanted);
            seen.push(paused(&mut pauses));
        }
        let expected: Vec<u32> = (0..14).map(|n| (PAUSE_MIN << n).min(PAUSE_MAX)).collect();
        assert_eq!(seen, expected);
    }

    /// Groups as long as they may be, whose rows lie by chance in so many pages of a store: how many rows they have in the end,
    /// and how many pages the store has.
    fn settled(hot: u64, live: u64) -> (u32, u64) {
        let (mut reach, mut used) = (Reach::default(), live);
        let mut copied = [0; 2];
        for _ in 0..200 {
            let rows = f64::from(reach.rows);
            let pages = (hot as f64 * (1.0 - (-rows / hot as f64).exp())) as u64;
            let before = used;
            used = used.max(live + copied[1] + pages);
            copied = [pages, copied[0].max(pages)];
            reach.after(reach.rows, Pages { used: [before, used], live, bytes: 4096 });
        }
        (reach.rows, used)
    }

    #[test]
    fn groups_are_as_long_as_the_store_may_be_large() {
        let most = GROUP_BYTES_MAX / 4096;
        let (rows, used) = settled(2_500, 2_500);
        assert!(rows > 20_000, "all of its pages have room beside it twice: {rows}");
        assert!(used <= 3 * 2_500, "{used}");
        let (rows, used) = settled(25_000, 25_000);
        assert!((2_000..9_000).contains(&rows) && used < 25_000 * 8 / 5, "{rows} {used}");
        let (rows, used) = settled(2_500, 25_000);
        assert!(rows > 20_000 && used < 25_000 + most, "few pages of a large store: {rows} {used}");
        let (rows, used) = settled(250_000, 250_000);
        assert!(rows > 20_000 && used < 250_000 * 8 / 5, "a large store: {rows} {used}");
    }

    #[test]
    fn a_group_that_nobody_waited_for_halves_the_next_pause() {
        let mut pauses = Pauses::default();
        for _ in 0..4 {
            pauses.after(Ended::Wanted);
            paused(&mut pauses);
        }
        for expected in [8 * PAUSE_MIN, 4 * PAUSE_MIN, 2 * PAUSE_MIN, PAUSE_MIN, PAUSE_MIN] {
            pauses.after(Ended::Itself);
            assert_eq!(pauses.next, expected);
        }
    }
}
