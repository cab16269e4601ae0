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

use super::pace::{Ended, Pages, Pauses, Reach};
use super::{Engine, Room, WriterLock};
use crate::WallMs;
use crate::error::{Error, Result};
use crate::redo::{self, Log};
use crate::tx::{Tx, View};
use crate::wake::{Urgency, micros};

/// How long the lock is left to who has waited for a group, in microseconds: more than it takes to wake up on an idle processor.
const HANDOVER_US: u64 = 300;

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
    tx.log.as_ref().is_some_and(|log| !log.is_short() && log.records() < reach.rows())
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

    #[test]
    fn beside_a_process_of_an_earlier_version_every_write_is_committed() {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let now = WallMs(1);
        let supervisor = crate::Supervisor::open(&dir.path().join("store"), &crate::Options::default(), now)
            .expect("a store");
        let engine = supervisor.store().engine();
        let is_left_open = || {
            let write = |tx: &mut Tx<'_>| tx.put_raw(b"row", b"");
            engine.write_in_group(now, write).expect("written");
            let open = engine.control.header().pending.is_some();
            engine.end_group().expect("ended");
            open
        };
        assert!(is_left_open());
        // Its attaching counts on, and says no more.
        engine.control.slots()[0].incarnation.fetch_add(1, Relaxed);
        assert!(!is_left_open());
        engine.control.slots()[0].knows_groups.fetch_add(1, Relaxed);
        assert!(is_left_open());
    }

    #[test]
    fn without_a_reserve_or_beyond_the_maximum_no_group_begins() {
        let dir = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
        let options = crate::Options::default();
        let store = crate::Supervisor::open(&dir.path().join("store"), &options, WallMs(1)).expect("a store");
        let engine = store.store().engine();
        assert!(engine.could_do_again());
        let most = engine.control.header().data_bytes_max.swap(1, Relaxed);
        assert!(!engine.could_do_again());
        engine.control.header().data_bytes_max.store(most, Relaxed);
        assert!(crate::files::spend(&engine.reserve()));
        assert!(!engine.could_do_again());
    }
}
