//! The other door to the shared state: the Redis protocol over the same store, for clients and libraries that speak
//! nothing else.
//!
//! One process, one thread. Commands run inside of transactions of the store that workers map too; the door's databases
//! are its spaces 0 to 15. Redis 7's semantics are the truth, its texts of errors included; `tests/differential.rs`
//! compares both.
//!
//! What this crate refuses to know: apps, workers, the daemon, and where sockets come from.

mod call;
mod client;
mod cmd;
mod connection;
mod cursors;
mod door;
mod exec;
mod fault;
mod glob;
mod limits;
mod linger;
mod lua;
mod notify;
mod numbers;
mod pubsub;
mod resp;
mod server;
mod table;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What the door serves, and where.
#[derive(Debug)]
pub struct Options {
    /// The store's folder ([`skep_state::Supervisor::open`] made it).
    pub store: PathBuf,
    /// Listening Unix sockets. Whoever may connect needs no password.
    pub unix: Vec<OwnedFd>,
    /// Listening TCP sockets. A password should be given with them.
    pub tcp: Vec<OwnedFd>,
    /// What clients over TCP have to say (AUTH, HELLO … AUTH).
    pub password: Option<String>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the store cannot be opened, or the kernel refuses what nothing works without.
pub fn serve(options: Options) -> std::io::Result<()> {
    server::Server::new(options)?.run()
}
