//! Node.js's IPC channel and cluster protocol, sans-io.
//!
//! This crate lets a program that is not Node be the *primary* of unmodified `cluster` apps: it turns the bytes
//! (and file descriptors) of a worker's channel into [`Event`]s and answers into whole lines to write. It makes no
//! system call, owns no clock and does not know what a worker is; descriptors are opaque (`F`).
//!
//! Facts are from Node's own sources, `lib/internal/child_process.js`, `lib/internal/child_process/serialization.js`
//! and `lib/internal/cluster/*.js`, read and run in versions 18 to 26.
//!
//! # How to drive a [`Session`] (one a worker)
//!
//! 1. `recvmsg(MSG_PEEK)` up to [`WINDOW_BYTES`], descriptors included; give both to [`Session::receive`].
//! 2. Answer every [`Event::Query`] with one of the `Session::reply_*` functions.
//! 3. Write [`Session::next_frame`]s (descriptor on the first byte; only whole lines), [`Session::frame_written`].
//! 4. `recv` exactly [`Received::consumed`] bytes, so that a successor of a SIGKILLed daemon sees every line at least once.
//! 5. Only then pass on [`Received::handovers`]: a connection must never be read by two workers, so these are at most once.
//!
//! Store [`Session::state`] with the keeper before step 4 whenever [`Session::revision`] has changed.

mod address;
mod data;
mod dispatch;
mod errno;
mod frame;
mod incoming;
mod measured;
mod outgoing;
mod preload;
mod seq;
mod session;
pub mod skep;
mod v8;

pub use address::{Address, BACKLOG_DEFAULT, Query, Udp};
pub use data::ServerData;
pub use dispatch::{Assignment, Dispatcher, Policy, Verdict, WAITING_MAX, WINDOW};
pub use errno::{UvErrno, describe_errno};
pub use frame::{LINE_BYTES_MAX, SPILL_BYTES, Serialization, WINDOW_BYTES};
pub use incoming::HandleKind;
pub use measured::Measured;
pub use outgoing::SockName;
pub use preload::{PRELOAD_FILES, inject_preload, preload_allowed};
pub use seq::Generation;
pub use session::{
    ConnId, ConnectionKind, Dropped, Event, FrameRef, Handover, Listening, OUTGOING_BYTES_MAX, Received,
    Returned, SendError, Session, SessionState, Why,
};
