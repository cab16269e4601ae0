//! The daemon's side: it makes the store, gives back what dead workers held, and sweeps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::tx::Tx;
use crate::wake::Urgency;
use crate::{Options, Owner, Stats, WallMs, workers};

/// Environment variable of a worker: the store's folder.
pub const ENV_STATE: &str = "SKEP_STATE";
/// Environment variable of a worker: the folder of durable queues.
pub const ENV_QUEUES: &str = "SKEP_QUEUES";
/// Environment variable of a worker: its id.
pub const ENV_WORKER: &str = "SKEP_WORKER_ID";
/// Environment variable of a worker: its generation.
pub const ENV_GENERATION: &str = "SKEP_WORKER_GEN";

/// Slices of sweeping in one call of [`Supervisor::maintain`]; then others get their turn.
const SLICES: usize = 8;

/// The one supervisor of a store. It may be killed at any instant and opened again by its successor; workers go on
/// meanwhile, only that nobody gives back what a dead one held until [`Supervisor::keep_only`] runs.
#[derive(Debug)]
pub struct Supervisor {
    store: Store,
    fifo: OwnedFd,
}

impl Supervisor {
    /// Opens the store in `dir`, or makes it there: folder 0700, files 0600, wholly allocated.
    ///
    /// `dir` should lie in memory: `/dev/shm/skep-<uid>-<hash of the home>` or `$XDG_RUNTIME_DIR`. An existing store
    /// keeps its data; its maximum size is set from `options`.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Foreign`], [`Error::Version`], [`Error::Corrupt`], [`Error::NoSpace`]: each says
    /// what to do. Nothing at the path is changed then.
    pub fn open(dir: &Path, options: &Options, now: WallMs) -> Result<Self> {
        let options = options.rounded();
        crate::files::make_folder(dir)?;
        crate::files::make_folder(&dir.join("wake"))?;
        let control = dir.join("control");
        if !control.exists() {
            create(dir, &control, &options, now)?;
        }
        let store = Store::open(dir)?;
        store.set_limits(options.data_bytes_max, options.value_bytes_max);
        store.engine().keep_reserve();
        let (_, _, fifo) = workers::attach(store.engine(), Some(Owner::SUPERVISOR), now)?;
        Ok(Self { store, fifo })
    }

    /// Opens the store of durable queues in `dir`, on a disk, or makes it there; see [`crate::durable::open`]. It has
    /// nothing to maintain.
    ///
    /// # Errors
    /// As [`Supervisor::open`].
    pub fn open_durable(dir: &Path, options: &Options, now: WallMs) -> Result<Self> {
        let store = crate::durable::open(dir, options, now)?;
        let (_, _, fifo) = workers::attach(store.engine(), Some(Owner::SUPERVISOR), now)?;
        Ok(Self { store, fifo })
    }

    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.store.engine().dir()
    }

    /// The environment that a worker is started with.
    #[must_use]
    pub fn worker_env(&self, owner: Owner) -> [(&'static str, String); 3] {
        [
            (ENV_STATE, self.store.engine().dir().display().to_string()),
            (ENV_WORKER, owner.id.to_string()),
            (ENV_GENERATION, owner.generation.to_string()),
        ]
    }

    /// A worker's process has ended: gives back at once its locks, leases, jobs and places in lines, those of its
    /// threads too, frees what its reads pinned, and has everybody look again. How many things were given back.
    ///
    /// Safe to call for a worker that never attached, and twice.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn worker_ended(&self, owner: Owner, now: WallMs) -> Result<usize> {
        let engine = self.store.engine();
        let mut released = 0;
        // What the worker had started mostly ends with it, and nobody else says so.
        let started = workers::dead_unnumbered(&engine.control);
        for owner in workers::owners_of_process(&engine.control, owner).into_iter().chain(started) {
            released += workers::release(engine, owner, now)?;
        }
        engine.env().clear_stale_readers()?;
        self.wake_all();
        Ok(released)
    }

    /// A process that only opened the store ([`Store::open`]) has ended: frees what its reads pinned, and looks whether it
    /// left something to do.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn reader_ended(&self) -> Result<()> {
        let engine = self.store.engine();
        engine.env().clear_stale_readers()?;
        engine.wakers.wake(&engine.control, workers::SUPERVISOR_SLOT, Urgency::Always);
        Ok(())
    }

    /// Attached workers that are not among `alive`: they have ended. Takes no time, so that nobody new is among them who
    /// attaches while [`Supervisor::worker_ended`] waits for a disk.
    #[must_use]
    pub fn not_among(&self, alive: &[Owner]) -> Vec<Owner> {
        let slots = self.store.engine().control.slots_used();
        let attached = slots.iter().skip(1).map(|slot| slot.owner.load(Acquire));
        let attached = attached.filter(|number| *number != 0).map(Owner::from_number);
        attached.filter(|owner| !owner.is_unnumbered() && !alive.contains(owner)).collect()
    }

    /// After a restart of the daemon: every attached worker that is not among `alive` has ended meanwhile.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn keep_only(&self, alive: &[Owner], now: WallMs) -> Result<usize> {
        let engine = self.store.engine();
        let mut released = 0;
        for owner in self.not_among(alive) {
            released += self.worker_ended(owner, now)?;
        }
        for owner in workers::dead_unnumbered(&engine.control) {
            released += self.worker_ended(owner, now)?;
        }
        // The daemon before may have died between giving back what such a one held and telling who got it.
        self.wake_all();
        Ok(released)
    }

    /// Readable when [`Supervisor::maintain`] has something to do earlier than it said.
    #[must_use]
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }

    /// Has [`Supervisor::wake_fd`] become readable at the next change, whoever makes it: once. To be called again *before*
    /// each look at what may have changed, and [`Supervisor::unwatch`] when nobody looks any more.
    ///
    /// Writers of older versions do not tell, and on some processors a change of a counter by JavaScript may be missed in
    /// the moment of this call: look a second time soon after a change, and every few seconds.
    pub fn watch(&self) {
        crate::watch::raise(self.store.engine());
    }

    /// Nobody looks any more: a change costs its maker nothing again.
    pub fn unwatch(&self) {
        crate::watch::lower(self.store.watched());
    }

    /// Removes what has expired, takes locks back whose ttl is over, removes waste, and grows the file before it is
    /// full, all in transactions of about a millisecond. When it wants to run again; `None`: not before `wake_fd` says
    /// so. Idle, it asks for nothing.
    ///
    /// # Errors
    /// When the store itself fails.
    pub fn maintain(&self, now: WallMs) -> Result<Option<WallMs>> {
        let engine = self.store.engine();
        let mut byte = [0; 64];
        while rustix::io::read(&self.fifo, &mut byte).is_ok_and(|count| count == byte.len()) {}
        let header = engine.control.header();
        engine.control.slots()[workers::SUPERVISOR_SLOT].signalled.store(0, Relaxed);
        // From here on whoever sets an earlier time tells it again.
        header.due_ms.store(u64::MAX, Relaxed);
        engine.keep_reserve();
        match engine.nearly_full().then(|| engine.grow_ahead()) {
            // A full file system is the writer's error to report, when it needs the room.
            Some(Err(Error::NoSpace { .. } | Error::Full { .. })) | None | Some(Ok(())) => {}
            Some(Err(error)) => return Err(error),
        }
        let mut next = engine.read(now, crate::garbage::next)?;
        for _ in 0..SLICES {
            if next.is_none_or(|at| at > now) {
                break;
            }
            engine.write_freeing(now, crate::garbage::sweep)?;
            next = engine.read(now, crate::garbage::next)?;
        }
        if let Some(at) = next {
            header.due_ms.fetch_min(at.0, Relaxed);
        }
        Ok(next)
    }

    /// Has every attached process look again, the supervisor too, whatever was under way: heals a wake-up that died with its
    /// sender.
    pub fn wake_all(&self) {
        let engine = self.store.engine();
        for (index, slot) in engine.control.slots_used().iter().enumerate() {
            if index == workers::SUPERVISOR_SLOT || slot.owner.load(Acquire) != 0 {
                engine.wakers.wake(&engine.control, index, Urgency::Always);
            }
        }
    }

    /// Figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        crate::stats::read(self.store.engine())
    }

    /// The store, for transactions and listings.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Copies everything that lasts (maps, counters, boards, queues) to a file, as it is at one moment; workers go on.
    /// The file is complete or not there.
    ///
    /// # Errors
    /// When the store or the file fails.
    pub fn backup(&self, file: &Path, now: WallMs) -> Result<()> {
        self.store.backup(file, now)
    }

    /// Puts a backup's contents in place of everything in the store, as one transaction. Locks and flights of attached
    /// workers stay as they are. Durable queues in it are left out: [`Store::restore_with`] has a place for them.
    ///
    /// # Errors
    /// [`Error::BadBackup`]; [`Error::Full`] if it does not fit. Nothing is changed then.
    pub fn restore(&self, file: &Path, now: WallMs) -> Result<()> {
        self.store.restore(file, now)
    }

    /// Runs a transaction; see [`Store::write`].
    ///
    /// # Errors
    /// What `f` returns, or when the store itself fails.
    pub fn write<R>(&self, now: WallMs, f: impl FnMut(&mut Tx<'_>) -> Result<R>) -> Result<R> {
        self.store.write(now, f)
    }
}

fn create(dir: &Path, control: &Path, options: &Options, now: WallMs) -> Result<()> {
    let data: PathBuf = dir.join("data.mdb");
    if data.exists() && !dir.join("control.new").exists() {
        let why = "there is a data.mdb without a control file".to_owned();
        return Err(Error::Foreign { path: dir.to_path_buf(), why });
    }
    // The marker comes first and becomes the control file last: a creation that was cut short begins again.
    drop(crate::files::create(&dir.join("control.new"), 0)?);
    crate::engine::make_lmdb(dir, &data, options.data_bytes, crate::medium::Medium::Memory)?;
    crate::control::Control::create(control, options, now)
}
