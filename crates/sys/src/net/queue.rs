//! How many connections wait in a listener's accept queue.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `TCP_LISTEN` (net/tcp_states.h).
const TCP_LISTEN: u8 = 10;

/// State of a TCP listener's accept queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Established connections that nobody accepted yet.
    pub waiting: u32,
    /// Backlog in force: when `waiting` exceeds it the kernel drops further handshakes.
    pub limit: u32,
    /// False once someone called `shutdown(2)` on the socket: it must `listen` again.
    pub listening: bool,
}

/// Reads a TCP socket's accept queue (`TCP_INFO`: for a listener the kernel stores the queue's length in
/// `tcpi_unacked` and its limit in `tcpi_sacked`). About a microsecond, takes no lock of the socket.
///
/// # Errors
/// ENOPROTOOPT/EOPNOTSUPP: not a TCP socket.
pub fn tcp_queue(fd: BorrowedFd<'_>) -> io::Result<Queue> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` has `length` writable bytes and both pointers live across the call.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before and all-integer: every content is a valid value.
    let info = unsafe { info.assume_init() };
    let listening = info.tcpi_state == TCP_LISTEN;
    // In every other state the two fields count segments.
    let (waiting, limit) = if listening { (info.tcpi_unacked, info.tcpi_sacked) } else { (0, 0) };
    Ok(Queue { waiting, limit, listening })
}
