//! What the capture tells its driver.

use std::path::PathBuf;

use crate::StreamId;

/// Something that happened in a `pump` or a `tick`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream's writers are gone and everything it held is in its files; the stream is detached and its
    /// descriptor dropped. The keeper's duplicate may go too.
    Ended(StreamId),
    /// A word for the user.
    Notice(Notice),
}

/// A word for the user. Repetitions of the same trouble are reported once until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A log file cannot be written; its workers' lines wait in their pipes.
    Blocked {
        /// The file.
        path: PathBuf,
        /// The reason, as the system says it.
        reason: String,
    },
    /// The patience ended: lines for this file are now being dropped and counted.
    Dropping {
        /// The file.
        path: PathBuf,
    },
    /// The file can be written again.
    Resumed {
        /// The file.
        path: PathBuf,
        /// Bytes that were dropped meanwhile (their count is in the file too).
        dropped_bytes: u64,
    },
    /// A file could not be rotated, compressed or removed; logging itself goes on.
    Housekeeping {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file was set aside.
    Rotated {
        /// The live file.
        path: PathBuf,
        /// Its former content's new name.
        to: PathBuf,
    },
}
