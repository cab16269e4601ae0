//! Signals: sending them, and receiving them as bytes of a descriptor instead of in handlers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How many signals one read of a [`SignalFd`] takes; pending ones of the same number are merged anyway.
const BATCH: usize = 8;

/// Sends `signal` to the process `pid`; 0 only asks whether that would be allowed.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`.
pub fn send(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 0 {
        // 0 and -1 would mean "my group" and "everybody".
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes integers only.
    result(unsafe { libc::kill(pid, signal) })
}

/// Sends `signal` to the process group `group`.
///
/// # Errors
/// `ESRCH`, `EPERM`, `EINVAL`.
pub fn send_to_group(group: i32, signal: i32) -> io::Result<()> {
    if group <= 1 {
        // kill(-1) would mean "everybody".
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes integers only.
    result(unsafe { libc::kill(-group, signal) })
}

/// Signals as a readable descriptor. While it exists they stay blocked in this thread, as they must for this to
/// work; children of [`crate::spawn`] start with none blocked.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in this thread (call it before there are others) and receives them by this descriptor,
    /// nonblocking and close-on-exec. They stay blocked when it is dropped.
    ///
    /// # Errors
    /// `EMFILE`/`ENFILE`; `EINVAL` for a number that is no signal.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: valid for writes; it gets initialised.
        result(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
        // SAFETY: sigemptyset has initialised it.
        let mut set = unsafe { set.assume_init() };
        for signal in signals {
            // SAFETY: `set` is a valid set; a bad number is an error.
            result(unsafe { libc::sigaddset(&raw mut set, *signal) })?;
        }
        // SAFETY: `set` is valid; the old mask is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: `set` is valid; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        result(fd)?;
        // SAFETY: just made, and ours alone.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The numbers of the signals that came since the last call; at most a handful, call until it is empty.
    ///
    /// # Errors
    /// Whatever `read` says but `EAGAIN`, which is an empty answer.
    pub fn read(&self) -> io::Result<Vec<i32>> {
        let mut records = [const { MaybeUninit::<libc::signalfd_siginfo>::uninit() }; BATCH];
        let room = size_of_val(&records);
        let count = loop {
            // SAFETY: `records` is valid for writes of `room` bytes.
            let count = unsafe { libc::read(self.0.as_raw_fd(), records.as_mut_ptr().cast(), room) };
            if count >= 0 {
                break usize::try_from(count).expect("not negative");
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(Vec::new()),
                _ => return Err(error),
            }
        };
        let whole = count / size_of::<libc::signalfd_siginfo>();
        let numbers = records[..whole].iter().map(|record| {
            // SAFETY: the kernel fills in whole records, and `whole` counts those.
            let record = unsafe { record.assume_init_ref() };
            record.ssi_signo.cast_signed()
        });
        Ok(numbers.collect())
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn result(value: libc::c_int) -> io::Result<()> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_arrives_as_a_number() {
        let signals = SignalFd::new(&[libc::SIGUSR1, libc::SIGUSR2]).expect("signalfd");
        assert_eq!(signals.read().expect("read"), Vec::<i32>::new());
        // To this thread, which alone is known to block it.
        // SAFETY: takes nothing.
        let me = unsafe { libc::pthread_self() };
        // SAFETY: this thread exists.
        let result = unsafe { libc::pthread_kill(me, libc::SIGUSR2) };
        assert_eq!(result, 0);
        assert_eq!(signals.read().expect("read"), [libc::SIGUSR2]);
    }

    #[test]
    fn nobody_can_signal_everybody_by_accident() {
        for pid in [0, -1, -5] {
            assert_eq!(send(pid, 0).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
        for group in [1, 0, -1] {
            assert_eq!(send_to_group(group, 0).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
