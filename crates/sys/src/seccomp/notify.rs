//! The answering side: receive an intercepted `bind`, look at it, answer it once.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::target::{self, BindAddress, SocketKind};

/// Room for a `struct seccomp_notif` of a future kernel: it is 80 bytes today and the kernel copies its own.
const NOTIF_WORDS: usize = 64;

/// The notify descriptor of one child's filter. Readable when a call waits.
///
/// Keep it open as long as the child or a descendant lives: without it their `bind` fails with ENOSYS. When
/// its reader dies after [`Notifier::next`] and before the answer, the caller stays inside `bind`; a SIGSTOP
/// followed by SIGCONT to the child's process group makes the kernel send the call again, and answering it
/// twice does no harm.
#[derive(Debug)]
pub struct Notifier(OwnedFd);

/// Outcome of looking for an intercepted call.
#[derive(Debug)]
pub enum Next {
    /// A process waits inside `bind(2)`; it must get exactly one answer.
    Call(BindCall),
    /// Nothing to do now.
    Quiet,
    /// No process with this filter lives any more; the descriptor may be closed.
    Gone,
}

/// One intercepted `bind(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindCall {
    id: u64,
    /// Thread that called; may belong to a descendant of the child that installed the filter.
    pub pid: u32,
    /// Its descriptor number of the socket.
    pub fd: RawFd,
    address: u64,
    length: u64,
}

/// A socket that was put in place of the program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// Whether the program wants non-blocking calls. `O_NONBLOCK` belongs to the open file, which all holders
    /// of the socket share: after `false`, an `accept` of ours could wait for ever.
    pub nonblocking: bool,
}

// === impl Notifier ===

impl Notifier {
    /// Takes over the descriptor that `install_in_child` returned in the child.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Takes the next waiting call. Never blocks.
    ///
    /// # Errors
    /// Those of poll(2) and of `SECCOMP_IOCTL_NOTIF_RECV`.
    pub fn next(&self) -> io::Result<Next> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        let ready = fds[0].revents();
        if !ready.contains(PollFlags::IN) {
            return Ok(if ready.contains(PollFlags::HUP) { Next::Gone } else { Next::Quiet });
        }
        let mut buffer = [MaybeUninit::<u64>::zeroed(); NOTIF_WORDS];
        // SAFETY: the buffer is zeroed, as the kernel demands, larger than `seccomp_notif` and aligned for it.
        let done = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, buffer.as_mut_ptr())
        };
        if done != 0 {
            let error = io::Error::last_os_error();
            // ENOENT: the caller was killed or interrupted between poll and now.
            return if error.raw_os_error() == Some(libc::ENOENT) { Ok(Next::Quiet) } else { Err(error) };
        }
        // SAFETY: the kernel filled a `seccomp_notif`; every bit pattern of it is valid, and zeroes were
        // there before.
        let notif = unsafe { buffer.as_ptr().cast::<libc::seccomp_notif>().read() };
        Ok(Next::Call(BindCall {
            id: notif.id,
            pid: notif.pid,
            fd: notif.data.args[0] as RawFd,
            address: notif.data.args[1],
            length: notif.data.args[2],
        }))
    }

    /// Address that the caller wants.
    ///
    /// # Errors
    /// EFAULT (a bad pointer), EPERM (an outer sandbox or Yama forbids to read the process: let the call
    /// continue), ENOENT (the caller is gone).
    pub fn address(&self, call: &BindCall) -> io::Result<BindAddress> {
        let address = target::read_address(call.pid, call.address, call.length)?;
        self.still_waits(call)?;
        Ok(address)
    }

    /// Kind of the caller's socket: a UDP socket must not be replaced by a TCP one of the same port.
    ///
    /// # Errors
    /// EACCES (not allowed to look into the process), ENOENT (the caller is gone or `fd` is not open).
    pub fn socket_kind(&self, call: &BindCall) -> io::Result<SocketKind> {
        let kind = target::socket_kind(call.pid, call.fd)?;
        self.still_waits(call)?;
        Ok(kind)
    }

    /// Whether the caller's IPv6 socket refuses IPv4 (`IPV6_V6ONLY`), as programs set it that bind `[::]` and
    /// `0.0.0.0` separately.
    ///
    /// # Errors
    /// EPERM or ENOSYS where a sandbox forbids `pidfd_getfd`: assume false. ENOPROTOOPT: not an IPv6 socket.
    pub fn v6_only(&self, call: &BindCall) -> io::Result<bool> {
        let only = target::v6_only(call.pid, call.fd)?;
        self.still_waits(call)?;
        Ok(only)
    }

    /// Lets the call run as if we were not there.
    ///
    /// # Errors
    /// ENOENT: the caller is gone.
    pub fn allow(&self, call: &BindCall) -> io::Result<()> {
        self.answer(call, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32)
    }

    /// Makes the call fail with a positive `errno`.
    ///
    /// # Errors
    /// ENOENT: the caller is gone.
    pub fn refuse(&self, call: &BindCall, errno: i32) -> io::Result<()> {
        self.answer(call, -errno.abs().max(1), 0)
    }

    /// Puts a duplicate of `socket` in place of the caller's socket, under the same number, and answers 0.
    ///
    /// `O_NONBLOCK` is set on `socket` as the program had it on its own, `FD_CLOEXEC` likewise. The two steps
    /// are not one: `SECCOMP_ADDFD_FLAG_SEND` would answer with the descriptor's number instead of 0, which
    /// `if (bind(..))` takes for a failure. Between them a killed answerer leaves a replaced socket and a
    /// waiting caller, and the repeated call replaces it once more.
    ///
    /// # Errors
    /// ENOENT (the caller is gone), EINVAL/ENOTTY (kernel before 5.9), those of fcntl(2). When it fails the call
    /// is unanswered: allow or refuse it.
    pub fn replace(&self, call: &BindCall, socket: BorrowedFd<'_>) -> io::Result<Replaced> {
        let wanted = target::descriptor_flags(call.pid, call.fd)?;
        self.still_waits(call)?;
        let nonblocking = wanted & libc::O_NONBLOCK != 0;
        let flags = rustix::fs::fcntl_getfl(socket)?;
        rustix::fs::fcntl_setfl(
            socket,
            if nonblocking { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK },
        )?;
        let addfd = libc::seccomp_notif_addfd {
            id: call.id,
            flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
            srcfd: socket.as_raw_fd() as u32,
            newfd: call.fd as u32,
            newfd_flags: (wanted & libc::O_CLOEXEC) as u32,
        };
        // SAFETY: the kernel reads one `seccomp_notif_addfd`, which lives across the call.
        let done = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const addfd)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        self.answer(call, 0, 0)?;
        Ok(Replaced { nonblocking })
    }

    fn answer(&self, call: &BindCall, error: i32, flags: u32) -> io::Result<()> {
        let response = libc::seccomp_notif_resp { id: call.id, val: 0, error, flags };
        // SAFETY: the kernel reads one `seccomp_notif_resp`, which lives across the call.
        let done = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn still_waits(&self, call: &BindCall) -> io::Result<()> {
        // SAFETY: the kernel reads one u64, which lives across the call.
        let done = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const call.id)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Notifier> for OwnedFd {
    fn from(notifier: Notifier) -> Self {
        notifier.0
    }
}
