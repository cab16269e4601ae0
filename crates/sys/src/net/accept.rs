//! Taking connections out of a queue that others read too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

/// Outcome of [`accept`].
#[derive(Debug)]
pub enum Accepted {
    /// A connection: non-blocking, close-on-exec.
    Connection(OwnedFd),
    /// The queue is empty.
    Empty,
    /// Someone who holds this socket made it blocking, so that accepting could wait for ever. Nothing was done.
    Blocking,
}

/// Accepts one connection without ever blocking.
///
/// `O_NONBLOCK` belongs to the open file that all holders of a socket share, hence it is looked at each time.
/// Connections that their client gave up meanwhile are skipped, as accept(2) recommends.
///
/// # Errors
/// EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the queue. EINVAL: the socket does not listen.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Accepted> {
    if !rustix::fs::fcntl_getfl(listener)?.contains(OFlags::NONBLOCK) {
        return Ok(Accepted::Blocking);
    }
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => return Ok(Accepted::Connection(fd)),
            Err(Errno::AGAIN) => return Ok(Accepted::Empty),
            Err(error) if is_the_clients(error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a socket non-blocking for all its holders.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    Ok(rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}

/// Errors that belong to the connection just taken, not to the listener (accept(2), "Error handling").
fn is_the_clients(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
    )
}
