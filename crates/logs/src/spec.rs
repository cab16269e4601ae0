//! What the user asked for, a file at a time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::{Codec, DateFormat, Format};

/// Rotated by default at this size, as pm2-logrotate's `max_size`.
pub const ROTATE_BYTES: u64 = 10 << 20;
/// An app's rotated files together are kept to this by default: ten uncompressed files' worth.
pub const ROTATED_TOTAL_BYTES: u64 = 100 << 20;
/// Rotated files kept a log by default, as pm2-logrotate's `retain`.
pub const ROTATED_COUNT: u32 = 30;
/// How long a worker is held back by a full disk before its lines are dropped instead: long enough for a
/// rotation or a cleaning job to make room, short enough that a service does not stand still because of its logs.
pub const FULL_PATIENCE_NS: u64 = 10_000_000_000;
/// Logs hold whatever an app prints, so by default only their owner reads them.
pub const FILE_MODE: u32 = 0o600;

/// One log file. Two streams that name the same path share the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Absolute path. `/dev/stdout` and other devices work, without rotation and without tailing.
    pub path: PathBuf,
    /// What a line looks like in the file.
    pub format: Format,
    /// What happens where one stream ends and another goes on.
    pub framing: Framing,
    /// `None`: never rotated by us (logrotate may: `reopen`, renaming and `copytruncate` are all noticed).
    pub rotation: Option<Rotation>,
    /// What happens when the file cannot be written.
    pub when_full: WhenFull,
    /// Permissions of a file that is created ([`FILE_MODE`]).
    pub mode: u32,
    /// The retention group: files of one group (one app) share `Rotation::total_bytes`.
    pub group: Arc<str>,
}

impl FileSpec {
    /// A raw, exact, rotated file: the default of a worker's own file.
    #[must_use]
    pub fn new(path: PathBuf, group: Arc<str>) -> Self {
        Self {
            path,
            format: Format::Raw,
            framing: Framing::Exact,
            rotation: Some(Rotation::default()),
            when_full: WhenFull::default(),
            mode: FILE_MODE,
            group,
        }
    }

    /// Makes an empty file where there is nothing, so that whoever follows it by its path finds it before the first line
    /// (PM2's users do). That it cannot be made is told when there is a line for it.
    pub fn make(&self) {
        use std::os::unix::fs::OpenOptionsExt as _;
        if self.path.exists() {
            return;
        }
        if let Some(parent) = self.path.parent() {
            drop(std::fs::create_dir_all(parent));
        }
        let mut options = std::fs::OpenOptions::new();
        drop(options.append(true).create(true).mode(self.mode).open(&self.path));
    }
}

/// What happens where one stream ends and another goes on in the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The file is the concatenation of its streams: nothing is ever added. For a file of one slot, raw.
    Exact,
    /// Every line starts at the start of a line: a stream that ends (or stalls for a second while another waits)
    /// in the middle of a line gets its `\n` from us. For merged files; always so when the format is not raw.
    Lines,
}

/// When a file is set aside, and what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Rotate at the first line end at or after this size.
    pub max_bytes: u64,
    /// Also rotate by time.
    pub every: Option<Every>,
    /// The date in the names of rotated files, instead of pm2-logrotate's. One that cannot be read back is not used:
    /// the files could not be told apart by age.
    pub date: Option<Arc<DateFormat>>,
    /// Whose clocks name the files and tell when a day begins; the machine's without it.
    pub zone: Option<TimeZone>,
    /// Rotated files kept of one log.
    pub count: u32,
    /// Bytes (as on disk, compressed or not) kept of all rotated files of the group.
    pub total_bytes: u64,
    /// How rotated files are compressed; `None`: not at all.
    pub compress: Option<Codec>,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_bytes: ROTATE_BYTES,
            every: None,
            date: None,
            zone: None,
            count: ROTATED_COUNT,
            total_bytes: ROTATED_TOTAL_BYTES,
            compress: Some(Codec::Gzip),
        }
    }
}

/// When a file is set aside because of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Every {
    /// When so many seconds of local time have begun anew (86 400: at midnight), aligned to midnight.
    Seconds(u32),
    /// At the times of a schedule.
    Times(Times),
}

/// The times of a schedule that somebody else knows.
#[derive(Clone)]
pub struct Times(Arc<Schedule>);

struct Schedule {
    name: String,
    next_after: Box<NextAfter>,
}

type NextAfter = dyn Fn(i64) -> Option<i64> + Send + Sync;

// === impl Times ===

impl Times {
    /// `next_after` answers with the first time after a moment, both in nanoseconds since the epoch. Two schedules of
    /// one `name` are taken to be the same.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        next_after: impl Fn(i64) -> Option<i64> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Schedule { name: name.into(), next_after: Box::new(next_after) }))
    }

    pub(crate) fn next_after(&self, unix_ns: i64) -> Option<i64> {
        (self.0.next_after)(unix_ns)
    }
}

impl PartialEq for Times {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Times {}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Times").field(&self.0.name).finish()
    }
}

/// What happens when a file cannot be written: disk full, directory gone, permission lost.
///
/// In either case what the worker wrote first stays in its pipe, the failure is reported at once
/// ([`Notice::Blocked`](crate::Notice::Blocked)) and retried every second; the worker never gets SIGPIPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for ever: nothing is lost, and a worker that fills its pipe stands still.
    Block,
    /// Wait so many nanoseconds, then let lines go, count them, and write the count into the file when it
    /// can be written again.
    Drop {
        /// Patience in nanoseconds.
        after_ns: u64,
    },
}

impl Default for WhenFull {
    /// A full disk must not take a web service down: its lines wait for [`FULL_PATIENCE_NS`], then are counted and dropped.
    fn default() -> Self {
        Self::Drop { after_ns: FULL_PATIENCE_NS }
    }
}
