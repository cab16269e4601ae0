//! Waking up for the first connection after a quiet time, and for no other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use skep_core::Now;

/// Events taken from the kernel at once; more of them come with the next call.
const EVENTS_MAX: usize = 64;

/// The daemon's number for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(pub u32);

/// An epoll instance over the listening sockets of all groups, and an alarm clock; itself pollable.
///
/// Each socket is armed for one event (`EPOLLONESHOT`): the first connection after a quiet time makes the
/// watcher readable, the ones behind it cost nothing, and a patrol that finds all queues empty arms again.
#[derive(Debug, Clone)]
pub struct Watcher(Arc<Descriptors>);

#[derive(Debug)]
struct Descriptors {
    epoll: OwnedFd,
    /// A timer of `CLOCK_BOOTTIME`: the steal rule counts in single milliseconds, which timer wheels (tokio's
    /// has steps of one) round up.
    alarm: OwnedFd,
}

/// What the alarm is called among the sockets' keys, which have 32 bits.
const ALARM: u64 = u64::MAX;

// === impl Watcher ===

impl Watcher {
    /// Makes an empty watcher.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let alarm = timerfd_create(TimerfdClockId::Boottime, flags)?;
        epoll::add(&epoll, &alarm, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        Ok(Self(Arc::new(Descriptors { epoll, alarm })))
    }

    /// Makes the watcher readable at `due` (`CLOCK_BOOTTIME`, past times at once); `None` switches that off. It
    /// stays so until the alarm is set anew: the earliest [`crate::Round::again`] of all groups belongs here.
    ///
    /// # Errors
    /// Those of timerfd_settime(2): none with valid arguments.
    pub fn set_alarm(&self, due: Option<Now>) -> io::Result<()> {
        // All zeroes would switch it off.
        let nanoseconds = due.map_or(0, |due| due.0.max(1));
        let at = Timespec {
            tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (nanoseconds % 1_000_000_000) as i64,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: never, it_value: at };
        timerfd_settime(&self.0.alarm, TimerfdTimerFlags::ABSTIME, &timer)?;
        Ok(())
    }

    /// The groups that got a connection since they were armed, each once. Never blocks. Empty when only the alarm
    /// has rung.
    ///
    /// # Errors
    /// Those of epoll_wait(2).
    pub fn fired(&self) -> io::Result<Vec<GroupKey>> {
        let mut keys = Vec::new();
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let n = epoll::wait(&self.0.epoll, spare_capacity(&mut events), Some(&now))?;
            let sockets = events.iter().map(|event| event.data.u64()).filter(|data| *data != ALARM);
            keys.extend(sockets.map(|data| GroupKey(data as u32)));
            if n < EVENTS_MAX {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Watches `socket` for one event from now on. A queue that is not empty fires at once.
    pub(crate) fn arm(&self, key: GroupKey, socket: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(key.0));
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        match epoll::modify(&self.0.epoll, socket, data, flags) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.0.epoll, socket, data, flags)?),
            other => Ok(other?),
        }
    }

    /// Ends the watch. Must precede the close of `socket`: the keeper holds a duplicate, hence closing ours
    /// would leave the entry behind.
    pub(crate) fn forget(&self, socket: BorrowedFd<'_>) {
        // An error means that it was not watched.
        let _ = epoll::delete(&self.0.epoll, socket);
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.epoll.as_fd()
    }
}
