//! The crate's errors.

use std::io;
use std::path::PathBuf;

use crate::StreamId;

/// What can go wrong outside of the pumping itself (which never fails: it retries and reports).
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The kernel refused a pipe or memfd.
    #[error("could not {doing}: {source}; check the limits on open files and memory")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Descriptors that come back from the keeper are not what [`Safe::create`](crate::Safe::create) made.
    #[error("the log journal from the keeper is not readable ({reason}); start with a fresh one")]
    Journal {
        /// What is wrong with it.
        reason: String,
    },
    /// The descriptor given as a stream is not a pipe.
    #[error("stream {stream:?} is not a pipe; create worker output as pipes")]
    NotAPipe {
        /// Which stream.
        stream: StreamId,
    },
    /// The stream is attached already.
    #[error("stream {stream:?} is attached already; detach it first")]
    Attached {
        /// Which stream.
        stream: StreamId,
    },
    /// A stream may have at most two files (its own and the combined one).
    #[error("stream {stream:?} was given {count} files; give at most {}", crate::capture::FILES_MAX)]
    TooManyFiles {
        /// Which stream.
        stream: StreamId,
        /// How many were given.
        count: usize,
    },
    /// A log file could not be read or changed.
    #[error("could not {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}
