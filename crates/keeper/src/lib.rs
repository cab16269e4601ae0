//! Parent of every worker, safe-box of every descriptor.
//!
//! The keeper is the process that must not die, so it does next to nothing: it starts programs, signals them,
//! remembers how they ended, keeps descriptors under opaque keys, and starts the daemon again whenever that ends.
//! It is single-threaded, parses nothing that a user wrote, reads no worker's channel and no listener, and never
//! waits for the daemon: a daemon that is slow, stopped or dead costs neither exits nor time.
//!
//! This crate does not know what an app is. [`wire`] is the vocabulary, [`Link`] the daemon's end of it.

mod channel;
mod entry;
pub mod fault;
pub mod home;
mod link;
mod run;
pub mod service;
pub mod wire;

use std::os::fd::RawFd;

pub use entry::entry;
pub use link::{Delivery, Link, LinkError, WAITING_REQUESTS_MAX};
pub use run::{Config, run};

/// The daemon's descriptor of its [`Link`] to the keeper.
pub const DAEMON_LINK_FD: RawFd = 3;

/// The daemon's descriptor of the control socket's listener.
pub const DAEMON_CONTROL_FD: RawFd = 4;

/// The keeper's descriptor of the control socket's listener when it is started.
pub const KEEPER_CONTROL_FD: RawFd = 3;

/// The keeper's descriptor of the home's lock when it is started.
pub const KEEPER_LOCK_FD: RawFd = 4;

/// An heir's descriptor of the link to the daemon of the keeper that died.
pub const KEEPER_LINK_FD: RawFd = 5;

/// The control socket's name in the home directory.
pub const SOCKET_FILE: &str = "skep.sock";

/// The hidden verb of the keeper: `skep __keeper --home DIR`.
pub const KEEPER_VERB: &str = "__keeper";

/// The hidden verb of the daemon: `skep __daemon --home DIR`, with [`DAEMON_LINK_FD`] and [`DAEMON_CONTROL_FD`].
pub const DAEMON_VERB: &str = "__daemon";

/// This build, for people.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// How long the keeper waits for [`wire::Request::Handled`] after it passed a signal on, in milliseconds, before it
/// takes the daemon for dead and ends all children itself. Long enough for a daemon on a machine that swaps, short
/// enough to come before a container runtime's own `SIGKILL` (10 s).
pub const SIGNAL_ANSWER_MS_MAX: u64 = 3_000;
