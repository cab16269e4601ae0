//! The control page: a file that every process maps. It holds the writer's lock, the table of attached processes, the
//! counters and what must be known without a transaction.
//!
//! Invariants: the file is complete before it gets its name (`rename`), is never truncated, and every field that may
//! change is atomic. Nothing here is needed to read the data: losing it loses counters and locks, not maps.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::error::{Error, Result};
use crate::mapping::Mapping;
use crate::mutex::RobustMutex;
use crate::redo::Pending;
use crate::wanted::Wanted;
use crate::{Options, WallMs};

/// Changes with every incompatible change of the control page or of the encoding of keys and records. A store has the lowest
/// one that tells what is in it; those from 1 to this one are read.
pub const LAYOUT: u32 = LAYOUT_OF_BLOCKS;
/// What a new store has.
pub(crate) const FIRST_LAYOUT: u32 = 1;
/// Some of its lists lie in blocks ([`crate::blocks`]).
pub(crate) const LAYOUT_OF_BLOCKS: u32 = 2;

const MAGIC: [u8; 8] = *b"SKEPctl\0";
/// The first page: header and lock.
const HEADER_BYTES: usize = 4096;
const SLOT_BYTES: usize = size_of::<Slot>();
/// Microseconds since 1970 as the first fencing token: a store that is lost with the machine's memory starts above
/// every token that it ever gave, and JavaScript's safe integers last until the year 2255.
const FENCE_PER_MS: u64 = 1000;

/// Whether this library reads what has such a layout.
pub(crate) fn is_readable(layout: u32) -> bool {
    (FIRST_LAYOUT..=LAYOUT).contains(&layout)
}

/// The fixed part. Read-only fields are written once, before the file has its name.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Header {
    magic: [u8; 8],
    layout: AtomicU32,
    workers: u32,
    counters: u32,
    /// Whether somebody sleeps on the writer's lock: see `wanted`.
    pub(crate) wanted: Wanted,
    total_bytes: u64,
    pub(crate) created_ms: u64,
    pub(crate) value_bytes_max: AtomicU64,
    pub(crate) data_bytes: AtomicU64,
    pub(crate) data_bytes_max: AtomicU64,
    pub(crate) fence: AtomicU64,
    /// Added to every ticket: above all tickets of a backup that was restored here.
    pub(crate) ticket_base: AtomicU64,
    /// The earliest moment (ms) at which the maintenance has work, as far as it was told.
    pub(crate) due_ms: AtomicU64,
    /// Counter slots given out.
    pub(crate) counters_used: AtomicU32,
    /// One past the highest slot of the worker table ever used.
    pub(crate) slots_high: AtomicU32,
    /// Who holds the writer's lock; a hint for spinning and for [`Error::Busy`].
    pub(crate) writer_pid: AtomicU32,
    /// Whether somebody waits for the next change: see `watch`. 0 in stores of versions that did not know it.
    pub(crate) watched: AtomicU32,
    pub(crate) channel_floor: AtomicU64,
    pub(crate) channel_bytes: AtomicU64,
    pub(crate) stats: Totals,
    pub(crate) lock: RobustMutex,
    /// What is done and not committed yet. Nothing in stores of versions that did not know it.
    pub(crate) pending: Pending,
}

/// Running totals, for `skep state stats` and metrics.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) writes: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) wait_us: AtomicU64,
    pub(crate) wait_us_max: AtomicU64,
    pub(crate) owner_deaths: AtomicU64,
    pub(crate) growths: AtomicU64,
    pub(crate) grants: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) wakes: AtomicU64,
}

/// One attached process.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// [`crate::Owner`] as a number; 0 = free.
    pub(crate) owner: AtomicU64,
    pub(crate) pid: AtomicU32,
    /// Differs at every attachment, so that a cached descriptor of a predecessor's FIFO is not used.
    pub(crate) incarnation: AtomicU32,
    /// Whether the process has to be woken, or was: see `wake`.
    pub(crate) signalled: AtomicU32,
    /// The incarnation, if the process reads nothing while something is pending ([`Header::pending`]). Earlier versions leave
    /// it as it is.
    pub(crate) knows_groups: AtomicU32,
    /// One bit a subscribed channel (a hash of its name), so that a publisher wakes only who may care.
    pub(crate) interest: AtomicU64,
    /// The last channel message that it has read.
    pub(crate) cursor: AtomicU64,
    pub(crate) joined_ms: AtomicU64,
}

/// The mapped control file.
#[derive(Debug)]
pub(crate) struct Control {
    map: Mapping,
    path: PathBuf,
    workers: usize,
    counters: usize,
}

impl Control {
    fn bytes(workers: u32, counters: u32) -> usize {
        let bytes = HEADER_BYTES + workers as usize * SLOT_BYTES + counters as usize * 8;
        bytes.next_multiple_of(4096)
    }

    /// Makes the file under a temporary name and gives it its name when it is complete.
    pub(crate) fn create(path: &Path, options: &Options, now: WallMs) -> Result<()> {
        let total = Self::bytes(options.workers, options.counters);
        let temporary = path.with_extension("new");
        let file = crate::files::create(&temporary, total as u64)?;
        let map = Mapping::shared(file.as_fd(), total).map_err(|e| Error::io("cannot map", &temporary, e))?;
        let header = Header {
            magic: MAGIC,
            layout: AtomicU32::new(FIRST_LAYOUT),
            workers: options.workers,
            counters: options.counters,
            wanted: Wanted::default(),
            total_bytes: total as u64,
            created_ms: now.0,
            value_bytes_max: AtomicU64::new(options.value_bytes_max),
            data_bytes: AtomicU64::new(options.data_bytes),
            data_bytes_max: AtomicU64::new(options.data_bytes_max),
            fence: AtomicU64::new(now.0 * FENCE_PER_MS),
            ticket_base: AtomicU64::new(0),
            due_ms: AtomicU64::new(u64::MAX),
            counters_used: AtomicU32::new(0),
            slots_high: AtomicU32::new(0),
            writer_pid: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            channel_floor: AtomicU64::new(0),
            channel_bytes: AtomicU64::new(0),
            stats: Totals::default(),
            lock: RobustMutex::new().map_err(|e| Error::io("cannot make a lock in", &temporary, e))?,
            pending: Pending::default(),
        };
        map.write_at(0, header);
        rustix::fs::rename(&temporary, path).map_err(|e| Error::io("cannot rename to", path, e))
    }

    /// Maps an existing control file after checking that it is one, of a layout that is read, and whole.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, length) = crate::files::open(path)?;
        let foreign = |why: &str| Error::Foreign { path: path.to_path_buf(), why: why.to_owned() };
        if length < HEADER_BYTES as u64 {
            return Err(foreign("its control file is too short"));
        }
        let bytes = usize::try_from(length).map_err(|_| foreign("its control file is too long"))?;
        let map = Mapping::shared(file.as_fd(), bytes).map_err(|e| Error::io("cannot map", path, e))?;
        let magic: [u8; 8] = map.read_at(0);
        if magic != MAGIC {
            return Err(foreign("its control file begins with something else"));
        }
        let layout: u32 = map.read_at(8);
        if !is_readable(layout) {
            return Err(Error::Version { path: path.to_path_buf(), found: layout, ours: LAYOUT });
        }
        let workers: u32 = map.read_at(12);
        let counters: u32 = map.read_at(16);
        let sane = workers <= 1 << 20 && counters <= 1 << 24;
        if !sane || Self::bytes(workers, counters) != bytes {
            let why = format!("{bytes} bytes do not hold {workers} workers and {counters} counters");
            return Err(Error::Corrupt { path: path.to_path_buf(), why });
        }
        Ok(Self { map, path: path.to_path_buf(), workers: workers as usize, counters: counters as usize })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn header(&self) -> &Header {
        self.map.at(0)
    }

    /// The layout that who reads the store must know.
    pub(crate) fn layout(&self) -> u32 {
        self.header().layout.load(Acquire)
    }

    /// The same from now on, at least. To be said before what has this layout is committed.
    pub(crate) fn raise_layout(&self, layout: u32) {
        if self.layout() < layout {
            self.header().layout.fetch_max(layout, AcqRel);
        }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        self.map.slice_at(HEADER_BYTES, self.workers)
    }

    /// The slots that were ever used: what loops look at.
    pub(crate) fn slots_used(&self) -> &[Slot] {
        let high = self.header().slots_high.load(Relaxed) as usize;
        &self.slots()[..high.min(self.workers)]
    }

    pub(crate) fn counters(&self) -> &[AtomicI64] {
        self.map.slice_at(HEADER_BYTES + self.workers * SLOT_BYTES, self.counters)
    }

    /// A fencing token above every one given before.
    pub(crate) fn next_fence(&self) -> u64 {
        self.header().fence.fetch_add(1, Relaxed) + 1
    }

    /// Whether the maintenance was told of nothing as early as `at`.
    pub(crate) fn is_due_later(&self, at: WallMs) -> bool {
        self.header().due_ms.load(Relaxed) > at.0
    }

    /// Notes that the maintenance has work at `at`; true if it must be told, because it would wake later.
    pub(crate) fn lower_due(&self, at: WallMs) -> bool {
        self.header().due_ms.fetch_min(at.0, Relaxed) > at.0
    }
}
