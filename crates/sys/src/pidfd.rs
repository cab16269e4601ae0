//! A process by descriptor: no reuse of its number can make us signal a stranger.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

/// A handle to one process; readable (poll) when that process has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has the number `pid` now.
    ///
    /// # Errors
    /// `ESRCH` when there is none, `ENOSYS` before Linux 5.3, `EMFILE` when descriptors have run out.
    pub fn open(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(PidFd(rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Opens the process that has this number and was started at this time (`/proc/PID/stat`, in clock ticks since boot);
    /// `None` when that one has ended.
    #[must_use]
    pub fn of(pid: i32, start_time: u64) -> Option<Self> {
        let handle = PidFd::open(pid).ok()?;
        // Looked at behind the opening: if it is the one, the handle is the one's.
        let stat = crate::proc::stat(pid).ok()?;
        (stat.start_time == start_time && stat.state != 'Z').then_some(handle)
    }

    /// Takes a pidfd that the kernel gave elsewhere (`clone3`, `SO_PEERPIDFD`).
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        PidFd(fd)
    }

    /// Sends `signal` to exactly this process.
    ///
    /// # Errors
    /// `ESRCH` when it has ended, `EPERM` when we may not, `EINVAL` for a number that is no signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let fd = self.0.as_raw_fd();
        // (A raw call: the wrapper of rustix knows no realtime signals.)
        // SAFETY: the descriptor is open; the kernel reads nothing from the null siginfo.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Whether the process has ended (it may not be reaped yet).
    ///
    /// # Errors
    /// Whatever `poll` says.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.poll(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Waits (blocking) until the process has ended.
    ///
    /// # Errors
    /// Whatever `poll` says.
    pub fn wait(&self) -> io::Result<()> {
        while !self.poll(None)? {}
        Ok(())
    }

    fn poll(&self, timeout: Option<&Timespec>) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let ready = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, timeout))?;
        Ok(ready > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_signal_reaches_the_process_and_the_handle_becomes_readable() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line"]).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().expect("sh starts");
        let handle = PidFd::open(child.id().cast_signed()).expect("open");
        assert!(!handle.has_ended().expect("poll"));
        handle.signal(libc::SIGKILL).expect("signal");
        handle.wait().expect("wait");
        assert!(handle.has_ended().expect("poll"));
        child.wait().expect("reap");
        let error = handle.signal(libc::SIGTERM).expect_err("gone");
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
