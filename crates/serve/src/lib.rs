//! A worker that serves the files of one directory over HTTP/1.1.
//!
//! It is an ordinary program under skep: its listening sockets come by socket activation, it ends on SIGINT or SIGTERM
//! after it has answered what it has in hand, and several of them share an address and replace each other without a
//! lost request. What it refuses to know: skep.
//!
//! Invariants: nothing outside the directory can be read, whatever links lead out of it (`beneath`); nothing that
//! begins with a dot is shown, `.well-known` excepted; nothing is written.

mod auth;
mod beneath;
mod server;
mod site;

pub use auth::{Credentials, CredentialsError};

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;

/// What is served, and to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory. It is looked up anew for each request, so that a link may be pointed elsewhere at any time.
    pub root: PathBuf,
    /// What is not there is answered with the home page: a single-page application draws its own pages.
    pub spa: bool,
    /// The path of the page for `/`.
    pub homepage: String,
    /// Who may see it; everybody, if none.
    pub credentials: Option<Credentials>,
}

/// Serves until SIGINT or SIGTERM, then until what was begun is done.
///
/// # Errors
/// Whatever the kernel says about descriptors and memory at the start.
pub fn serve(options: Options, listeners: Vec<TcpListener>) -> io::Result<()> {
    server::run(options, listeners)
}
