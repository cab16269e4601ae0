//! An alarm on the wall clock that also tells when the clock was set.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// As far away as an alarm may be that waits only for the clock to be set: a hundred years.
const FAR_SECONDS: i64 = 100 * 366 * 86_400;

/// Becomes readable when the wall clock shows a moment, whatever it went through on the way, and when somebody sets it
/// (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)).
#[derive(Debug)]
pub struct WallTimer(OwnedFd);

impl WallTimer {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// `EMFILE`/`ENFILE` when descriptors have run out.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(fd))
    }

    /// Sets the alarm, milliseconds since 1970; `None`: it waits for the clock to be set.
    ///
    /// # Errors
    /// None that is to be expected.
    pub fn set(&self, unix_ms: Option<i64>) -> io::Result<()> {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let now = i64::try_from(crate::clock::wall_ns() / 1_000_000_000).unwrap_or(0);
        let at = match unix_ms {
            // Zero would turn it off; what has passed rings at once.
            Some(ms) => Timespec {
                tv_sec: ms.max(1).div_euclid(1_000),
                tv_nsec: ms.max(1).rem_euclid(1_000) * 1_000_000,
            },
            None => Timespec { tv_sec: now.saturating_add(FAR_SECONDS), tv_nsec: 0 },
        };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.0, flags, &Itimerspec { it_interval: zero, it_value: at }) {
            // The clock was set since the last call: the alarm is armed all the same (fs/timerfd.c).
            Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note of a ring; false when there was none.
    pub fn rang(&self) -> bool {
        let mut count = [0u8; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(_) | Err(rustix::io::Errno::CANCELED) => true,
            Err(_) => false,
        }
    }
}

impl AsRawFd for WallTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for WallTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_rings_at_once_and_what_is_far_does_not() {
        let timer = WallTimer::new().unwrap();
        timer.set(None).unwrap();
        assert!(!timer.rang());
        timer.set(Some(1)).unwrap();
        let mut poll = [rustix::event::PollFd::new(&timer, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None).unwrap();
        assert!(timer.rang());
        assert!(!timer.rang());
    }
}
