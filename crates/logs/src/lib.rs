//! Byte-exact lines from pipes to files.
//!
//! A worker's stdout and stderr are pipes. The daemon owns their read ends, the keeper holds duplicates, so a pipe
//! outlives the daemon. [`Capture`] moves what the pipes hold into log files so that **no byte of a stream is
//! lost, duplicated or reordered even when the daemon is SIGKILLed between any two instructions**:
//!
//! - raw lines leave a pipe only by `splice(2)` straight into the file: one system call, both sides or neither;
//! - lines that are changed on the way (a date prefix, JSON) and lines that go to two files are *peeked* with
//!   `tee(2)`, written, and then consumed, under a redo record in a memfd that the keeper holds ([`Safe`]).
//!
//! Invariants, as absences: this crate has no thread, no clock (time is the input [`Moment`]), no async runtime, and
//! keeps no bytes of a log in its own memory between two calls. It does not know what a process is: it knows
//! streams (pipes), files, and who wants to follow.
//!
//! What it cannot promise: a write to a file by someone else at the same microsecond (`copytruncate` between our
//! `fstat` and our `splice`) may leave a hole; a machine that loses power loses its pipes.
//!
//! # Driving it
//!
//! ```ignore
//! let safe = Safe::create()?;                        // once; its three descriptors go to the keeper
//! let mut capture = Capture::open(safe, zone)?;      // after every (re)start
//! let id = capture.attach(source, pipe, &files)?;    // every known stream *before* the first pump or tick
//! // edge-triggered readability (tokio's AsyncFd) of a pipe:
//! match capture.pump(id, now) { Progress::More => yield_now, _ => clear_ready }
//! // one timer at capture.next_deadline(): capture.tick(now)
//! // afterwards: while let Some(event) = capture.next_event() { .. }
//! ```

mod admit;
mod capture;
mod codec;
mod compression;
mod crash;
mod date_fields;
mod dayjs;
mod error;
mod event;
mod file;
mod follow;
mod format;
mod housekeeping;
mod journal;
mod json;
mod kit;
mod line;
mod moment;
mod pipe;
mod pump;
mod rotated;
mod safe;
mod spec;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod transact;

pub use capture::{Capture, Progress};
pub use codec::Codec;
pub use error::LogsError;
pub use event::{Event, Notice};
pub use format::{DateFormat, Format};
pub use line::Line;
pub use moment::Moment;
pub use safe::Safe;
pub use spec::{Every, FileSpec, Framing, Rotation, Times, WhenFull};
pub use spec::{FILE_MODE, FULL_PATIENCE_NS, ROTATE_BYTES, ROTATED_COUNT, ROTATED_TOTAL_BYTES};
pub use stream::{Chunk, Keep, Source, Stream, StreamId, SubscriptionId};
pub use tail::{Tail, TailSource, merge};
