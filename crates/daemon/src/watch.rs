//! Waiting for descriptors.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime.
///
/// # Errors
/// ENOMEM or ENOSPC of epoll_ctl(2), EPERM for a file that cannot be waited for.
#[expect(
    deprecated,
    reason = "its successor is `unsafe` because of types that change their descriptor; ours are OwnedFd and Arc<OwnedFd>"
)]
pub(crate) fn watch<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, interest)
}
