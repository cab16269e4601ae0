//! LMDB behind our writer's lock: short transactions, growth between them, wake-ups after them.
//!
//! Hazards designed out here: a full tmpfs is an error and no SIGBUS (the file is allocated before it is mapped, and
//! the map is exactly the file); a frozen writer is an error and no hang; a map that another process has grown is
//! taken over; nothing is woken before the transaction that it waits for is visible.

mod group;
mod pace;

use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{PoisonError, RwLock};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, MdbError, WithTls};
use rustix::io::Errno;

use crate::WallMs;
use crate::control::{Control, Header};
use crate::error::{Error, Result};
use crate::limits::{
    DISK_WAIT_US, GROW_BYTES_LEAST, GROW_BYTES_MIN, GROW_BYTES_STEP_MAX, READ_WAIT_US, READERS_MAX,
    RESERVE_BYTES, WRITE_SLICE_US, WRITE_SPINS, WRITE_WAIT_US,
};
use crate::medium::Medium;
use crate::mutex::Won;
use crate::tx::{Tx, View};
use crate::wake::{Urgency, Wakers, micros};

/// Every how many writes a writer looks whether the file should grow soon.
const GROWTH_CHECK_EVERY: u64 = 64;

pub(crate) type Db = Database<'static, Bytes, Bytes>;

/// An open store.
#[derive(Debug)]
pub(crate) struct Engine {
    group: group::Group,
    dir: PathBuf,
    pub(crate) control: Control,
    pub(crate) wakers: Wakers,
    db: Db,
    env: Env<WithTls>,
    medium: Medium,
    /// Held for reading during transactions, for writing while the map changes.
    remap: RwLock<()>,
    patience_us: AtomicU32,
    read_patience_us: AtomicU32,
    writes: AtomicU64,
    /// Asked for once: it is a system call, and LMDB must not live through a fork anyway.
    pid: u32,
}

/// How large the file may grow for a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Configured,
    /// An eighth more, for what removes rows.
    WithSlack,
    /// As large as it takes, beyond the maximum step by step: for what was acknowledged already.
    Whatever,
}

const SLACK_PART: u64 = 8;
const SLACK_BYTES_MIN: u64 = 256 * 1024;

/// Holds the writer's lock.
#[derive(Debug)]
struct WriterLock<'a>(&'a Header);

impl Drop for WriterLock<'_> {
    fn drop(&mut self) {
        self.0.writer_pid.store(0, Relaxed);
        self.0.lock.unlock();
    }
}

impl Engine {
    /// Opens a store that [`crate::Supervisor::open`] or [`crate::durable::open`] made.
    pub(crate) fn open(dir: &Path, medium: Medium) -> Result<Self> {
        crate::files::check_folder(dir)?;
        let control = Control::open(&medium.control(dir)?)?;
        let pid = std::process::id();
        let data = dir.join("data.mdb");
        let patience_us = match medium {
            Medium::Memory => WRITE_WAIT_US,
            Medium::Disk => DISK_WAIT_US,
        };
        let (env, db) = {
            let _lock = lock(control.header(), pid, patience_us, control.path())?;
            let bytes = control.header().data_bytes.load(Relaxed);
            let (_file, length) = crate::files::open(&data)?;
            if length < bytes {
                let why = format!("it has {length} bytes, {bytes} are mapped");
                return Err(Error::Corrupt { path: data, why });
            }
            let (env, db) = open_lmdb(dir, bytes, medium).map_err(|error| not_lmdb(&data, error))?;
            // A page beyond the end of a file that was cut short would be a SIGBUS.
            let used = (env.info().last_page_number as u64 + 1) * 4096;
            if length < used {
                let why = format!("it has {length} bytes, {used} are in use");
                return Err(Error::Corrupt { path: data, why });
            }
            (env, db)
        };
        Ok(Self {
            group: group::Group::default(),
            dir: dir.to_path_buf(),
            control,
            wakers: Wakers::new(dir),
            db,
            env,
            medium,
            remap: RwLock::new(()),
            patience_us: AtomicU32::new(patience_us),
            read_patience_us: AtomicU32::new(READ_WAIT_US),
            writes: AtomicU64::new(0),
            pid,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn env(&self) -> &Env<WithTls> {
        &self.env
    }

    /// How long writers of this process wait for a frozen one, in microseconds.
    pub(crate) fn set_patience(&self, us: u32) {
        self.patience_us.store(us, Relaxed);
    }

    /// How long readers of this process wait for what a writer has acknowledged to be committed, in microseconds.
    pub(crate) fn set_read_patience(&self, us: u32) {
        self.read_patience_us.store(us, Relaxed);
    }

    /// Runs `f` on a snapshot: sees every write that was acknowledged before.
    pub(crate) fn read<R>(&self, now: WallMs, mut f: impl FnMut(&View<'_>) -> Result<R>) -> Result<R> {
        self.see_pending()?;
        loop {
            let result = {
                let _map = self.remap.read().unwrap_or_else(PoisonError::into_inner);
                self.env
                    .read_txn()
                    .map_err(Error::from)
                    .and_then(|txn| f(&View { txn: &txn, db: self.db, now, control: &self.control }))
            };
            match result {
                Err(Error::Engine(heed::Error::Mdb(MdbError::MapResized))) => {
                    let lock = self.lock()?;
                    self.adopt_size(&lock)?;
                }
                other => return other,
            }
        }
    }

    /// A transaction that gives something back: it may use the slack beyond the configured size, so that a full store
    /// can be emptied (LMDB needs fresh pages to remove rows, too).
    pub(crate) fn write_freeing<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.write_within(now, Room::WithSlack, None, f)
    }

    /// A transaction of the process in slot `own`, which looks for its own events afterwards without being woken: its flag
    /// is raised, no byte is written.
    pub(crate) fn write_as<R>(
        &self,
        own: usize,
        now: WallMs,
        f: impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<R> {
        self.write_within(now, Room::Configured, Some(own), f)
    }

    /// The same for a transaction that gives something back.
    pub(crate) fn write_freeing_as<R>(
        &self,
        own: usize,
        now: WallMs,
        f: impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<R> {
        self.write_within(now, Room::WithSlack, Some(own), f)
    }

    /// Runs `f` as a transaction: all of it happens, visible to everybody, before this returns `Ok`; none of it does
    /// otherwise, a SIGKILL included. `f` runs again when the file had to grow.
    pub(crate) fn write<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.write_within(now, Room::Configured, None, f)
    }

    fn write_within<R>(
        &self,
        now: WallMs,
        room: Room,
        own: Option<usize>,
        mut f: impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut recycled = false;
        loop {
            let lock = self.lock()?;
            let result = self.attempt(now, &mut f);
            match result {
                Ok((value, wakes)) => {
                    drop(lock);
                    self.after_write(now, &wakes, own);
                    return Ok(value);
                }
                Err(Error::Engine(heed::Error::Mdb(MdbError::MapResized))) => self.adopt_size(&lock)?,
                Err(Error::Engine(heed::Error::Mdb(MdbError::MapFull))) => match self.grow(&lock, room) {
                    Err(Error::Full { .. } | Error::NoSpace { .. })
                        if !recycled && room == Room::Configured =>
                    {
                        drop(lock);
                        self.recycle(now)?;
                        recycled = true;
                    }
                    grown => grown?,
                },
                Err(error) => return Err(self.named(error)),
            }
        }
    }

    /// A write that the file system had no room for, though the file was allocated (copy on write), under its name.
    fn named(&self, error: Error) -> Error {
        let Error::Engine(heed::Error::Io(errno)) = error else { return error };
        let full =
            [Errno::NOSPC, Errno::DQUOT].iter().any(|full| errno.raw_os_error() == Some(full.raw_os_error()));
        if full {
            let bytes = self.control.header().data_bytes.load(Relaxed);
            Error::NoSpace { path: self.dir.clone(), bytes, errno }
        } else {
            Error::Io { what: "cannot write to", path: self.dir.join("data.mdb"), errno }
        }
    }

    /// LMDB uses pages again that a transaction freed only two commits later, and a transaction that finds no room does
    /// not count: a full store that was emptied would stay full. Two commits of next to nothing help.
    fn recycle(&self, now: WallMs) -> Result<()> {
        let mark = crate::key::Key::new(crate::key::Table::Recycled);
        self.write_freeing(now, |tx| tx.put(&mark, &[]))?;
        self.write_freeing(now, |tx| tx.delete(&mark).map(|_| ()))
    }

    fn attempt<R>(
        &self,
        now: WallMs,
        f: &mut impl FnMut(&mut Tx<'_>) -> Result<R>,
    ) -> Result<(R, Vec<usize>)> {
        let _map = self.remap.read().unwrap_or_else(PoisonError::into_inner);
        let mut tx = Tx::new(self.env.write_txn()?, self.db, now, &self.control, self.medium);
        let value = f(&mut tx)?;
        let wakes = tx.commit()?;
        Ok((value, wakes))
    }

    fn after_write(&self, now: WallMs, wakes: &[usize], own: Option<usize>) {
        for slot in wakes {
            let urgency = if own == Some(*slot) { Urgency::Flag } else { Urgency::Usual };
            self.wakers.wake(&self.control, *slot, urgency);
        }
        self.control.header().stats.writes.fetch_add(1, SeqCst);
        crate::watch::tell(self);
        let count = self.writes.fetch_add(1, Relaxed);
        if count.is_multiple_of(GROWTH_CHECK_EVERY) && self.nearly_full() && self.control.lower_due(now) {
            self.wakers.wake(&self.control, crate::workers::SUPERVISOR_SLOT, Urgency::Usual);
        }
    }

    /// Whether over four fifths of the file have been used at one time, and it may grow.
    pub(crate) fn nearly_full(&self) -> bool {
        let header = self.control.header();
        let bytes = header.data_bytes.load(Relaxed);
        bytes < header.data_bytes_max.load(Relaxed) && self.used_bytes() > bytes / 5 * 4
    }

    /// Bytes of the file ever used.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_pages() * 4096
    }

    fn used_pages(&self) -> u64 {
        self.env.info().last_page_number as u64 + 1
    }

    /// Makes room off the workers' path. For the supervisor.
    pub(crate) fn grow_ahead(&self) -> Result<()> {
        let lock = self.lock()?;
        if self.nearly_full() { self.grow(&lock, Room::Configured) } else { Ok(()) }
    }

    fn lock(&self) -> Result<WriterLock<'_>> {
        self.lock_within(self.patience_us.load(Relaxed))
    }

    fn lock_within(&self, patience_us: u32) -> Result<WriterLock<'_>> {
        self.end_group()?;
        let header = self.control.header();
        let lock = lock(header, self.pid, patience_us, self.control.path())?;
        if header.pending.is_some() {
            self.recover(&lock)?;
        }
        Ok(lock)
    }

    /// Maps what another process has grown the file to.
    fn adopt_size(&self, _lock: &WriterLock<'_>) -> Result<()> {
        let bytes = self.control.header().data_bytes.load(Relaxed);
        self.remap(bytes)
    }

    fn grow(&self, lock: &WriterLock<'_>, room: Room) -> Result<()> {
        let header = self.control.header();
        let bytes = header.data_bytes.load(Relaxed);
        if self.env.info().map_size as u64 != bytes {
            return self.adopt_size(lock);
        }
        let configured = header.data_bytes_max.load(Relaxed);
        let usual = (bytes / 2).clamp(GROW_BYTES_MIN, GROW_BYTES_STEP_MAX).next_multiple_of(4096);
        // Beyond that step by step: what one takes of it and does not use, others may use for what it is not meant for.
        let (max, step) = match room {
            Room::WithSlack if bytes >= configured => (
                configured + (configured / SLACK_PART).next_multiple_of(4096) + SLACK_BYTES_MIN,
                GROW_BYTES_LEAST,
            ),
            Room::Whatever if bytes >= configured => (u64::MAX, GROW_BYTES_LEAST),
            Room::Configured | Room::WithSlack | Room::Whatever => (configured, usual),
        };
        let larger = (bytes + step).min(max);
        if larger <= bytes {
            return Err(Error::Full { bytes, max });
        }
        let larger = self.extend(bytes, larger, room)?;
        header.data_bytes.store(larger, Relaxed);
        header.stats.growths.fetch_add(1, Relaxed);
        self.remap(larger)
    }

    /// Makes the file longer, by as much of what is wanted as the file system has. What removes rows may use the reserve.
    fn extend(&self, bytes: u64, wanted: u64, room: Room) -> Result<u64> {
        let data = self.dir.join("data.mdb");
        let mut larger = wanted;
        loop {
            match crate::files::extend(&data, larger) {
                Ok(()) => return Ok(larger),
                Err(Error::NoSpace { .. }) if larger - bytes > GROW_BYTES_LEAST => {
                    larger = bytes + ((larger - bytes) / 2).next_multiple_of(4096);
                }
                Err(Error::NoSpace { .. })
                    if room != Room::Configured && crate::files::spend(&self.reserve()) =>
                {
                    larger = bytes + RESERVE_BYTES;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Sets space aside for the day on which the file system is full, if none is.
    pub(crate) fn keep_reserve(&self) {
        let reserve = self.reserve();
        if !reserve.exists() {
            // On a full file system there is none; the next maintenance tries again.
            if crate::files::create(&reserve, RESERVE_BYTES).is_err() {
                crate::files::spend(&reserve);
            }
        }
    }

    fn remap(&self, bytes: u64) -> Result<()> {
        let _map = self.remap.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = usize::try_from(bytes).map_err(|_| Error::Full { bytes, max: usize::MAX as u64 })?;
        // SAFETY: transactions of this process run under `remap` for reading, so none is active; other processes have
        // maps of their own. The writer's lock is held, so nobody changes the file's length meanwhile.
        unsafe { self.env.resize(bytes) }.map_err(Error::from)
    }
}

/// Spins for the length of a few transactions, then sleeps, then gives up.
fn lock<'a>(header: &'a Header, pid: u32, patience_us: u32, path: &Path) -> Result<WriterLock<'a>> {
    let failed = |errno| Error::io("cannot lock", path, errno);
    let mut won = None;
    for _ in 0..WRITE_SPINS {
        if header.writer_pid.load(Relaxed) == 0 {
            won = header.lock.try_lock().map_err(failed)?;
            if won.is_some() {
                break;
            }
        }
        std::hint::spin_loop();
    }
    let won = match won {
        Some(won) => won,
        None => sleep_on_lock(header, patience_us).map_err(failed)?.ok_or_else(|| Error::Busy {
            pid: header.writer_pid.load(Relaxed),
            waited_ms: patience_us.div_ceil(1000),
        })?,
    };
    if won == Won::FromTheDead {
        header.stats.owner_deaths.fetch_add(1, Relaxed);
    }
    header.writer_pid.store(pid, Relaxed);
    Ok(WriterLock(header))
}

/// Sleeps until the lock is free, in slices: a sleeper that is chosen to be woken and is SIGKILLed at that moment takes
/// the wake-up with it. If a spinner has taken the lock meanwhile, the kernel's robust list does not pass it on (it
/// does so only while the word is 0, `handle_futex_death` in kernel/futex/core.c), and the other sleepers would sleep
/// on beside a free lock.
fn sleep_on_lock(header: &Header, patience_us: u32) -> std::io::Result<Option<Won>> {
    let before = micros();
    let until = before + u64::from(patience_us);
    let won = loop {
        // Said again in each round: who got the lock before us has taken it back.
        header.wanted.say();
        if let Some(won) = header.lock.lock_for(WRITE_SLICE_US.min(patience_us))? {
            break Some(won);
        }
        if micros() >= until {
            break None;
        }
    };
    header.wanted.take_back();
    let waited = micros().saturating_sub(before);
    header.stats.waits.fetch_add(1, Relaxed);
    header.stats.wait_us.fetch_add(waited, Relaxed);
    header.stats.wait_us_max.fetch_max(waited, Relaxed);
    Ok(won)
}

/// Makes an empty data file: the space first, then LMDB's first pages in it, then every byte allocated.
pub(crate) fn make_lmdb(dir: &Path, data: &Path, bytes: u64, medium: Medium) -> Result<()> {
    crate::files::reserve(data, bytes)?;
    open_lmdb(dir, bytes, medium).map_err(|error| not_lmdb(data, error))?;
    crate::files::fill(data, bytes)
}

fn open_lmdb(dir: &Path, bytes: u64, medium: Medium) -> heed::Result<(Env<WithTls>, Db)> {
    let mut options = EnvOpenOptions::new().read_txn_with_tls();
    options.map_size(usize::try_from(bytes).unwrap_or(usize::MAX)).max_readers(READERS_MAX);
    // SAFETY: only what lies in memory goes without syncing (`Medium`). The map is exactly the allocated file.
    unsafe { options.flags(medium.flags()) };
    // SAFETY: only this library opens the folder's files, which are ours alone (`files`), all through this LMDB, and
    // resizing happens under the writer's lock.
    let env = unsafe { options.open(dir) }?;
    let txn = env.read_txn()?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let CommitOrAbort::Commit(Some(db)) = opened? else {
        return Err(heed::Error::Mdb(MdbError::Invalid));
    };
    // SAFETY: the handle is a number that is valid for as long as its environment is open; both live and die together
    // in `Engine`, which never hands the handle out. Only the lifetime changes.
    let db = unsafe { std::mem::transmute::<Database<'_, Bytes, Bytes>, Db>(db) };
    Ok((env, db))
}

fn not_lmdb(path: &Path, error: heed::Error) -> Error {
    match &error {
        heed::Error::Mdb(
            MdbError::Invalid | MdbError::Corrupted | MdbError::PageNotFound | MdbError::VersionMismatch,
        ) => Error::Corrupt { path: path.to_path_buf(), why: error.to_string() },
        _ => Error::Engine(error),
    }
}
