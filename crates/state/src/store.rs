//! A store without an identity: transactions and listings, for the daemon, its Redis door and tools.

use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::counters::Counter;
use crate::engine::Engine;
use crate::error::Result;
use crate::locks::LockView;
use crate::medium::Medium;
use crate::queue::{JobPart, JobView, QueueView};
use crate::spaces::{Space, SpaceKind};
use crate::tx::{Tx, View};
use crate::{Stats, WallMs};

/// LMDB may open a file only once a process (its locks are the process's): who opens a store again shares it.
static OPEN: Mutex<Vec<(FileId, Weak<Engine>)>> = Mutex::new(Vec::new());

/// Device and inode.
type FileId = (u64, u64);

/// An open store; clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Engine>);

impl Store {
    /// Opens a store that a [`crate::Supervisor`] made.
    ///
    /// # Errors
    /// [`crate::Error::NoStore`], [`crate::Error::NotOurs`], [`crate::Error::Foreign`], [`crate::Error::Version`],
    /// [`crate::Error::Corrupt`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_on(dir, Medium::Memory)
    }

    pub(crate) fn open_on(dir: &Path, medium: Medium) -> Result<Self> {
        let identity = rustix::fs::stat(&medium.control(dir)?).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, engine)| engine.strong_count() > 0);
        let same = open.iter().find(|(of, _)| Some(*of) == identity);
        if let Some(engine) = same.and_then(|(_, engine)| engine.upgrade()) {
            return Ok(Self(engine));
        }
        let engine = Arc::new(Engine::open(dir, medium)?);
        if let Some(identity) = identity {
            open.push((identity, Arc::downgrade(&engine)));
        }
        Ok(Self(engine))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }

    /// Reads a snapshot that contains every write acknowledged before. Keep `f` short: what it sees is kept from being
    /// used again while it runs. `f` may run twice (when another process has grown the file).
    ///
    /// # Errors
    /// What `f` returns, or when the store itself fails.
    pub fn read<R>(&self, now: WallMs, f: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        self.0.read(now, f)
    }

    /// Runs a transaction: all of `f`'s changes happen at once, or none if it fails. Keep `f` to microseconds: it holds
    /// the only writer's lock. `f` may run again (when the file had to grow), so it must not keep state outside.
    ///
    /// # Errors
    /// What `f` returns; [`crate::Error::Full`], [`crate::Error::NoSpace`], [`crate::Error::Busy`]; or when the store
    /// itself fails.
    pub fn write<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.0.write(now, f)
    }

    /// As [`Store::write`], for transactions that remove: they may use slack beyond the configured size.
    ///
    /// # Errors
    /// See [`Store::write`].
    pub fn write_freeing<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.0.write_freeing(now, f)
    }

    /// As [`Store::write`], for a thread that makes many transactions, one soon after the other: several become one for the engine.
    /// Each counts when this returns (nobody reads without it, and a SIGKILL does not undo it), but others wait for this
    /// thread then. So [`Store::end_group`] is to be called before it sleeps, ends, or does anything else that takes time.
    ///
    /// # Errors
    /// See [`Store::write`].
    pub fn write_in_group<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.0.write_in_group(now, f)
    }

    /// As [`Store::read`], without ending the group of [`Store::write_in_group`].
    ///
    /// # Errors
    /// See [`Store::read`].
    pub fn read_in_group<R>(&self, now: WallMs, f: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        self.0.read_in_group(now, f)
    }

    /// Ends this thread's group, if there is one: nobody waits for the thread any more.
    ///
    /// # Errors
    /// When the store itself fails. What was acknowledged is kept, and done by whoever uses the store next.
    pub fn end_group(&self) -> Result<()> {
        self.0.end_group()
    }

    /// The same if somebody waits for it: to be called often while there is much to do.
    ///
    /// # Errors
    /// As [`Store::end_group`].
    pub fn yield_group(&self) -> Result<()> {
        self.0.yield_group()
    }

    /// The named space, made if it is not there.
    ///
    /// # Errors
    /// When the store itself fails; so for all listings here.
    pub fn space(&self, kind: SpaceKind, name: &[u8], now: WallMs) -> Result<Space> {
        if let Some(space) = self.find_space(kind, name, now)? {
            return Ok(space);
        }
        self.0.write(now, |tx| crate::spaces::open(tx, kind, name))
    }

    /// The named space, if it is there.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn find_space(&self, kind: SpaceKind, name: &[u8], now: WallMs) -> Result<Option<Space>> {
        self.0.read(now, |view| crate::spaces::find(view, kind, name))
    }

    /// All named spaces of a kind.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn spaces(&self, kind: SpaceKind, now: WallMs) -> Result<Vec<(Vec<u8>, Space)>> {
        self.0.read(now, |view| crate::spaces::list(view, kind))
    }

    /// All locks that are held or waited for.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn locks(&self, now: WallMs) -> Result<Vec<LockView>> {
        self.0.read(now, crate::locks::list)
    }

    /// The first jobs of a part of a queue, in the order in which their turn comes; `None`: there is no such queue.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn queue_peek(
        &self,
        name: &[u8],
        part: JobPart,
        most: usize,
        now: WallMs,
    ) -> Result<Option<Vec<JobView>>> {
        self.0.read(now, |view| crate::queue::peek(view, name, part, most))
    }

    /// Puts up to `most` dead jobs back; how many.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn queue_revive(&self, name: &[u8], most: usize, now: WallMs) -> Result<usize> {
        self.write(now, |tx| crate::queue::revive(tx, name, most))
    }

    /// Puts one dead job back; false if it is not among the dead.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn queue_revive_one(&self, name: &[u8], job: u64, now: WallMs) -> Result<bool> {
        self.write(now, |tx| crate::queue::revive_one(tx, name, job))
    }

    /// Removes up to `most` jobs of a part that nobody works on; how many.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn queue_purge(&self, name: &[u8], part: JobPart, most: usize, now: WallMs) -> Result<usize> {
        self.write_freeing(now, |tx| crate::queue::purge(tx, name, part, most))
    }

    /// Has consumers be given nothing, or go on; false: there is no such queue.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn queue_pause(&self, name: &[u8], paused: bool, now: WallMs) -> Result<bool> {
        self.write(now, |tx| crate::queue::set_paused(tx, name, paused))
    }

    /// All queues.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn queues(&self, now: WallMs) -> Result<Vec<QueueView>> {
        self.0.read(now, crate::queue::list)
    }

    /// All counters.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn counters(&self, now: WallMs) -> Result<Vec<Counter>> {
        self.0.read(now, crate::counters::list)
    }

    /// A counter's value, if it is there.
    ///
    /// # Errors
    /// See [`Store::space`].
    pub fn counter(&self, name: &[u8], now: WallMs) -> Result<Option<i64>> {
        let Some(place) = self.0.read(now, |view| crate::counters::find(view, name))? else {
            return Ok(None);
        };
        Ok(Some(self.counter_at(place)?.load(SeqCst)))
    }

    /// Adds to a counter, made if it is not there; its new value.
    ///
    /// # Errors
    /// [`crate::Error::TooManyCounters`], [`crate::Error::Overflow`].
    pub fn counter_add(&self, name: &[u8], by: i64, now: WallMs) -> Result<i64> {
        let place = self.counter_place(name, now)?;
        self.counter_add_at(place, by)
    }

    /// A counter's place in the row of counters, given now if it has none.
    ///
    /// # Errors
    /// [`crate::Error::TooManyCounters`].
    pub fn counter_place(&self, name: &[u8], now: WallMs) -> Result<usize> {
        match self.0.read(now, |view| crate::counters::find(view, name))? {
            Some(place) => Ok(place),
            None => self.0.write(now, |tx| crate::counters::place_of(tx, name)),
        }
    }

    /// Adds to the counter at a place that [`Store::counter_place`] told; its new value.
    ///
    /// # Errors
    /// [`crate::Error::Overflow`]; [`crate::Error::TooManyCounters`] for a place that does not exist.
    pub fn counter_add_at(&self, place: usize, by: i64) -> Result<i64> {
        let sum = crate::counters::add(self.counter_at(place)?, by)?;
        if by != 0 {
            self.changed();
        }
        Ok(sum)
    }

    /// Sets the counter at a place; its value before.
    ///
    /// # Errors
    /// [`crate::Error::TooManyCounters`] for a place that does not exist.
    pub fn counter_set_at(&self, place: usize, value: i64) -> Result<i64> {
        let before = self.counter_at(place)?.swap(value, SeqCst);
        self.changed();
        Ok(before)
    }

    fn counter_at(&self, place: usize) -> Result<&std::sync::atomic::AtomicI64> {
        let counters = self.0.control.counters();
        let max = u32::try_from(counters.len()).unwrap_or(u32::MAX);
        counters.get(place).ok_or(crate::Error::TooManyCounters { max })
    }

    /// Tells [`crate::Supervisor::watch`] of a change that was made in [`Store::counter_page`]. All others tell by themselves.
    pub fn changed(&self) {
        crate::watch::tell(&self.0);
    }

    /// Not 0 while [`Store::changed`] has somebody to tell; valid for as long as any clone of this store.
    #[must_use]
    pub fn watched(&self) -> &AtomicU32 {
        &self.0.control.header().watched
    }

    /// The row of counters in shared memory; valid for as long as any clone of this store.
    #[must_use]
    pub fn counter_page(&self) -> &[std::sync::atomic::AtomicI64] {
        self.0.control.counters()
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        crate::stats::read(&self.0)
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// Sets how large the store may become, and the longest value. Data never shrinks: what is that large already stays so.
    pub fn set_limits(&self, data_bytes_max: u64, value_bytes_max: u64) {
        let header = self.0.control.header();
        let least = header.data_bytes.load(Relaxed);
        header.data_bytes_max.store(data_bytes_max.next_multiple_of(4096).max(least), Relaxed);
        header.value_bytes_max.store(value_bytes_max.max(1), Relaxed);
    }

    /// Copies everything that lasts to a file; see [`crate::Supervisor::backup`].
    ///
    /// # Errors
    /// When the store or the file fails.
    pub fn backup(&self, file: &Path, now: WallMs) -> Result<()> {
        crate::backup::save(&[self.engine()], file, now)
    }

    /// The same with a store of durable queues in the same file, each as it is at one moment of its own.
    ///
    /// # Errors
    /// When a store or the file fails.
    pub fn backup_with(&self, durable: &Self, file: &Path, now: WallMs) -> Result<()> {
        crate::backup::save(&[self.engine(), durable.engine()], file, now)
    }

    /// Puts a backup's contents in place of everything, but for durable queues in it; see
    /// [`crate::Supervisor::restore`].
    ///
    /// # Errors
    /// [`crate::Error::BadBackup`]; [`crate::Error::Full`] if it does not fit. Nothing is changed then.
    pub fn restore(&self, file: &Path, now: WallMs) -> Result<()> {
        crate::backup::load(self.engine(), None, file, now)
    }

    /// The same with durable queues: they go to the store that `durable` opens, which is asked for one only if there are
    /// any in the file. If there are none, those that exist stay.
    ///
    /// # Errors
    /// As [`Store::restore`]; what fails for durable queues leaves them as they were, and the rest restored.
    pub fn restore_with(&self, durable: &dyn Fn() -> Result<Self>, file: &Path, now: WallMs) -> Result<()> {
        crate::backup::load(self.engine(), Some(durable), file, now)
    }

    /// How long readers of this process wait for a frozen writer to commit what it has acknowledged ([`Store::write_in_group`]) before
    /// [`crate::Error::Busy`], in microseconds.
    pub fn set_read_patience(&self, us: u32) {
        self.0.set_read_patience(us);
    }

    /// How long writers of this process wait for a frozen one before [`crate::Error::Busy`], in microseconds.
    pub fn set_patience(&self, us: u32) {
        self.0.set_patience(us);
    }
}
