//! What the user asked for, a file at a time.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Codec, Format};

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
    /// Also rotate when this much local time has begun anew (86 400: at midnight). Seconds, aligned to local midnight.
    pub every_seconds: Option<u32>,
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
            every_seconds: None,
            count: ROTATED_COUNT,
            total_bytes: ROTATED_TOTAL_BYTES,
            compress: Some(Codec::Gzip),
        }
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
