//! Parent of every worker, safe-box of every descriptor.
//!
//! The keeper is the process that must not die, so it does next to nothing: it starts programs, signals them,
//! remembers how they ended, keeps descriptors under opaque keys, and starts the daemon again whenever that ends.
//! It is single-threaded, parses nothing that a user wrote, reads no worker's channel and no listener, and never
//! waits for the daemon: a daemon that is slow, stopped or dead costs neither exits nor time.
//!
//! This crate does not know what an app is. [`wire`] is the vocabulary, [`Link`] the daemon's end of it.

mod channel;
mod link;
pub mod wire;

use std::os::fd::RawFd;

pub use link::{Delivery, Link, LinkError, WAITING_REQUESTS_MAX};

/// The daemon's descriptor of its [`Link`] to the keeper.
pub const DAEMON_LINK_FD: RawFd = 3;

/// The daemon's (and the keeper's own) descriptor of the control socket's listener is this one in the daemon…
pub const DAEMON_CONTROL_FD: RawFd = 4;

/// How long the keeper waits for [`wire::Request::Handled`] after it passed a signal on, in milliseconds, before it
/// takes the daemon for dead and ends all children itself. Long enough for a daemon on a machine that swaps, short
/// enough to come before a container runtime's own `SIGKILL` (10 s).
pub const SIGNAL_ANSWER_MS_MAX: u64 = 3_000;
